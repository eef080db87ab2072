//! `api` and `target`: where commands go, and which space they work in.

use crate::{
    Error,
    api::{Api, escape},
    output,
    session::{Session, Target},
};
use cupola_protocol::api::{Organization, Space};

/// Sets or shows the API's address. Another address ends the login: its tokens are another platform's.
pub(crate) async fn api(url: Option<String>) -> Result<(), Error> {
    let session = Session::load()?;
    let Some(url) = url else {
        output::line(format_args!("{}", session.api_address()));
        return Ok(());
    };
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    if url.starts_with("https://") {
        return Err(Error::Usage(
            "this command does not speak HTTPS yet: give the http:// address of the API".to_owned(),
        ));
    }
    let api = Api::at(session, &url);
    api.probe().await?;
    let base = api.base().to_owned();
    let session =
        if api.session.api.as_ref() == Some(&base) { api.session } else { api.session.forgotten(None) };
    Session { api: Some(base.clone()), ..session }.save()?;
    output::line(format_args!("API {base}"));
    Ok(())
}

/// The APIs that were logged in to from here.
pub(crate) fn known() -> Result<(), Error> {
    let session = Session::load()?;
    let current = session.api_address();
    let mut rows: Vec<Vec<String>> = vec![vec!["*".to_owned(), current.clone()]];
    let others = session.known.iter().filter(|known| **known != current);
    rows.extend(others.map(|known| vec![String::new(), known.clone()]));
    output::table(&["", "API"], &rows);
    Ok(())
}

/// Sets or shows the organization and the space.
pub(crate) async fn run(organization: Option<String>, space: Option<String>) -> Result<(), Error> {
    let mut api = Api::open()?;
    if organization.is_some() || space.is_some() {
        choose(&mut api, organization.as_deref(), space.as_deref()).await?;
    }
    show(&api);
    Ok(())
}

/// Shows what is targeted.
pub(crate) fn show(api: &Api) {
    let name = |target: &Option<Target>| target.as_ref().map_or("(none)".to_owned(), |t| t.name.clone());
    output::line(format_args!("API    {}", api.base()));
    output::line(format_args!("user   {}", api.session.user.as_deref().unwrap_or("(not logged in)")));
    output::line(format_args!("org    {}", name(&api.session.organization)));
    output::line(format_args!("space  {}", name(&api.session.space)));
}

/// Targets what is named, and what is the only one.
pub(crate) async fn choose(
    api: &mut Api,
    organization: Option<&str>,
    space: Option<&str>,
) -> Result<(), Error> {
    if organization.is_some() || api.session.organization.is_none() {
        let query = organization.map_or(String::new(), |name| format!("?names={}", escape(name)));
        let found: Vec<Organization> = api.list(&format!("/v3/organizations{query}")).await?;
        api.session.organization = match (&found[..], organization) {
            ([only], _) => Some(Target { guid: only.guid.clone(), name: only.name.clone() }),
            (_, Some(name)) => {
                return Err(Error::Unknown {
                    kind: "organization",
                    name: name.to_owned(),
                    list: "cupola target",
                });
            }
            _ => None,
        };
        api.session.space = None;
    }
    let Some(organization) = api.session.organization.clone() else {
        return if space.is_some() {
            Err(Error::Usage("name the organization as well: cupola target -o ORG -s SPACE".to_owned()))
        } else {
            api.session.save()
        };
    };
    if space.is_some() || api.session.space.is_none() {
        let query = space.map_or(String::new(), |name| format!("&names={}", escape(name)));
        let path = format!("/v3/spaces?organization_guids={}{query}", organization.guid);
        let found: Vec<Space> = api.list(&path).await?;
        api.session.space = match (&found[..], space) {
            ([only], _) => Some(Target { guid: only.guid.clone(), name: only.name.clone() }),
            (_, Some(name)) => {
                return Err(Error::Unknown {
                    kind: "space",
                    name: name.to_owned(),
                    list: "cupola target -o ORG",
                });
            }
            _ => None,
        };
    }
    api.session.save()
}
