//! Organizations and spaces.

use super::{delete, find, target};
use crate::{Error, api::Api, output, session::Target};
use clap::Subcommand;
use cupola_protocol::api::{
    App, CreateOrganization, CreateSpace, InOrganization, Named, Organization, Quota, Space, ToMany, ToOne,
    UpdateOrganization, UpdateSpace, UsageSummary,
};
use reqwest::Method;

/// Organizations and spaces.
#[derive(Debug, Subcommand)]
pub enum OrganizationCommand {
    /// The organizations that you see
    #[command(visible_alias = "o")]
    Orgs,
    /// One organization: its quota, its spaces, what it uses
    Org {
        /// The organization
        name: String,
        /// Print its guid alone
        #[arg(long)]
        guid: bool,
    },
    /// Make an organization
    #[command(visible_alias = "co")]
    CreateOrg {
        /// The organization
        name: String,
        /// Its quota
        #[arg(short, value_name = "QUOTA")]
        quota: Option<String>,
    },
    /// Delete an organization with all that is in it
    DeleteOrg {
        /// The organization
        name: String,
        /// Do not ask
        #[arg(short)]
        force: bool,
    },
    /// Rename an organization
    RenameOrg {
        /// The organization
        name: String,
        /// Its new name
        new_name: String,
    },
    /// Let nobody but administrators change anything in an organization
    SuspendOrg {
        /// The organization
        name: String,
    },
    /// Undo that
    ActivateOrg {
        /// The organization
        name: String,
    },
    /// The spaces of the organization
    Spaces,
    /// One space: its quota, its apps, what it uses
    Space {
        /// The space
        name: String,
        /// Print its guid alone
        #[arg(long)]
        guid: bool,
    },
    /// Make a space
    #[command(visible_alias = "csp")]
    CreateSpace {
        /// The space
        name: String,
        /// Organization, if not the targeted one
        #[arg(short, value_name = "ORG")]
        organization: Option<String>,
        /// Its quota
        #[arg(short, value_name = "QUOTA")]
        quota: Option<String>,
    },
    /// Delete a space with all that is in it
    DeleteSpace {
        /// The space
        name: String,
        /// Organization, if not the targeted one
        #[arg(short, value_name = "ORG")]
        organization: Option<String>,
        /// Do not ask
        #[arg(short)]
        force: bool,
    },
    /// Rename a space
    RenameSpace {
        /// The space
        name: String,
        /// Its new name
        new_name: String,
    },
    /// Work in another space of the organization
    SwitchSpace {
        /// The space
        name: String,
    },
}

impl OrganizationCommand {
    pub(crate) async fn run(self) -> Result<(), Error> {
        if let Self::SwitchSpace { name } = self {
            return target::run(None, Some(name)).await;
        }
        let mut api = Api::open()?;
        match self {
            Self::Orgs => orgs(&mut api).await,
            Self::Org { name, guid } => org(&mut api, &name, guid).await,
            Self::CreateOrg { name, quota } => create_org(&mut api, name, quota).await,
            Self::DeleteOrg { name, force } => delete_org(&mut api, &name, force).await,
            Self::RenameOrg { name, new_name } => {
                let change = UpdateOrganization { name: Some(new_name), ..UpdateOrganization::default() };
                change_org(&mut api, &name, "Renaming", change).await
            }
            Self::SuspendOrg { name } => {
                let change = UpdateOrganization { suspended: Some(true), ..UpdateOrganization::default() };
                change_org(&mut api, &name, "Suspending", change).await
            }
            Self::ActivateOrg { name } => {
                let change = UpdateOrganization { suspended: Some(false), ..UpdateOrganization::default() };
                change_org(&mut api, &name, "Activating", change).await
            }
            Self::Spaces => spaces(&mut api).await,
            Self::Space { name, guid } => space(&mut api, &name, guid).await,
            Self::CreateSpace { name, organization, quota } => {
                create_space(&mut api, name, organization.as_deref(), quota).await
            }
            Self::DeleteSpace { name, organization, force } => {
                delete_space(&mut api, &name, organization.as_deref(), force).await
            }
            Self::RenameSpace { name, new_name } => rename_space(&mut api, &name, new_name).await,
            Self::SwitchSpace { .. } => Ok(()),
        }
    }
}

/// An organization by its name.
pub(super) async fn find_org(api: &mut Api, name: &str) -> Result<Organization, Error> {
    find(api, "/v3/organizations?", "organization", name, "cupola orgs").await
}

/// The organization with this name, or the targeted one.
pub(super) async fn org_or_target(api: &mut Api, name: Option<&str>) -> Result<Target, Error> {
    match name {
        Some(name) => {
            let found = find_org(api, name).await?;
            Ok(Target { guid: found.guid, name: found.name })
        }
        None => api.session.organization.clone().ok_or(Error::NoTarget),
    }
}

/// A space of an organization by its name.
pub(super) async fn find_space(api: &mut Api, organization: &str, name: &str) -> Result<Space, Error> {
    let list = format!("/v3/spaces?organization_guids={organization}&");
    find(api, &list, "space", name, "cupola spaces").await
}

/// A space of the targeted organization by its name.
pub(super) async fn own_space(api: &mut Api, name: &str) -> Result<Space, Error> {
    let organization = org_or_target(api, None).await?;
    find_space(api, &organization.guid, name).await
}

async fn orgs(api: &mut Api) -> Result<(), Error> {
    let all: Vec<Organization> = api.list("/v3/organizations?order_by=name").await?;
    if all.is_empty() {
        output::line("no organizations that you see: ask an administrator for a role in one");
        return Ok(());
    }
    let state = |suspended| if suspended { "suspended" } else { "" }.to_owned();
    let rows: Vec<_> = all.into_iter().map(|org| vec![org.name, state(org.suspended)]).collect();
    output::table(&["name", ""], &rows);
    Ok(())
}

/// The name of a quota; its guid when it cannot be seen.
async fn quota_name(api: &mut Api, path: &str, side: Option<&ToOne>) -> Result<String, Error> {
    let Some(guid) = side.and_then(ToOne::guid) else { return Ok("(none)".to_owned()) };
    match api.get::<Quota>(&format!("{path}/{guid}")).await {
        Ok(quota) => Ok(quota.name),
        Err(Error::Refused { .. }) => Ok(guid.to_owned()),
        Err(error) => Err(error),
    }
}

fn show_usage(usage: &UsageSummary) {
    let usage = usage.usage_summary;
    output::line(format_args!("memory     {}M", usage.memory_in_mb));
    output::line(format_args!("instances  {}", usage.started_instances));
    output::line(format_args!("routes     {}", usage.routes));
    output::line(format_args!("services   {}", usage.service_instances));
}

async fn org(api: &mut Api, name: &str, guid: bool) -> Result<(), Error> {
    let org = find_org(api, name).await?;
    if guid {
        output::line(&org.guid);
        return Ok(());
    }
    let quota = quota_name(api, "/v3/organization_quotas", org.relationships.get("quota")).await?;
    let spaces: Vec<Space> =
        api.list(&format!("/v3/spaces?order_by=name&organization_guids={}", org.guid)).await?;
    let usage: UsageSummary = api.get(&format!("/v3/organizations/{}/usage_summary", org.guid)).await?;
    let names: Vec<_> = spaces.into_iter().map(|space| space.name).collect();
    output::line(format_args!("name       {}", org.name));
    output::line(format_args!("suspended  {}", if org.suspended { "yes" } else { "no" }));
    output::line(format_args!("quota      {quota}"));
    output::line(format_args!("spaces     {}", names.join(", ")));
    show_usage(&usage);
    Ok(())
}

async fn create_org(api: &mut Api, name: String, quota: Option<String>) -> Result<(), Error> {
    // The quota is looked for first: without it nothing is made.
    let quota: Option<Quota> = match &quota {
        Some(quota) => Some(find(api, "/v3/organization_quotas?", "quota", quota, "cupola quotas").await?),
        None => None,
    };
    output::doing(&format!("Making organization {name} ..."));
    let org: Organization = api.call(Method::POST, "/v3/organizations", &CreateOrganization { name }).await?;
    if let Some(quota) = quota {
        let path = format!("/v3/organization_quotas/{}/relationships/organizations", quota.guid);
        let to = ToMany { data: vec![Named::new(org.guid)] };
        let _: ToMany = api.call(Method::POST, &path, &to).await?;
    }
    output::ok();
    output::line(format_args!("`cupola target -o {}` works in it", org.name));
    Ok(())
}

async fn delete_org(api: &mut Api, name: &str, force: bool) -> Result<(), Error> {
    let org = find_org(api, name).await?;
    if !force && !delete::confirmed(&format!("the organization {name} and all that is in it"))? {
        output::line("nothing was deleted");
        return Ok(());
    }
    output::doing(&format!("Deleting organization {name} ..."));
    delete::delete(api, &format!("/v3/organizations/{}", org.guid), name).await?;
    if api.session.organization.as_ref().is_some_and(|targeted| targeted.guid == org.guid) {
        api.session.organization = None;
        api.session.space = None;
        api.session.save()?;
    }
    output::ok();
    Ok(())
}

async fn change_org(api: &mut Api, name: &str, doing: &str, change: UpdateOrganization) -> Result<(), Error> {
    let org = find_org(api, name).await?;
    output::doing(&format!("{doing} organization {name} ..."));
    let changed: Organization =
        api.call(Method::PATCH, &format!("/v3/organizations/{}", org.guid), &change).await?;
    if let Some(targeted) = api.session.organization.as_mut().filter(|targeted| targeted.guid == org.guid) {
        targeted.name = changed.name;
        api.session.save()?;
    }
    output::ok();
    Ok(())
}

async fn spaces(api: &mut Api) -> Result<(), Error> {
    let org = org_or_target(api, None).await?;
    let path = format!("/v3/spaces?order_by=name&organization_guids={}", org.guid);
    let all: Vec<Space> = api.list(&path).await?;
    if all.is_empty() {
        output::line(format_args!("no spaces in organization {} that you see", org.name));
        return Ok(());
    }
    let rows: Vec<_> = all.into_iter().map(|space| vec![space.name]).collect();
    output::table(&["name"], &rows);
    Ok(())
}

async fn space(api: &mut Api, name: &str, guid: bool) -> Result<(), Error> {
    let space = own_space(api, name).await?;
    if guid {
        output::line(&space.guid);
        return Ok(());
    }
    let quota = quota_name(api, "/v3/space_quotas", space.relationships.get("quota")).await?;
    let apps: Vec<App> = api.list(&format!("/v3/apps?order_by=name&space_guids={}", space.guid)).await?;
    let usage: UsageSummary = api.get(&format!("/v3/spaces/{}/usage_summary", space.guid)).await?;
    let names: Vec<_> = apps.into_iter().map(|app| app.name).collect();
    output::line(format_args!("name       {}", space.name));
    output::line(format_args!("quota      {quota}"));
    output::line(format_args!("apps       {}", names.join(", ")));
    show_usage(&usage);
    Ok(())
}

async fn create_space(
    api: &mut Api,
    name: String,
    organization: Option<&str>,
    quota: Option<String>,
) -> Result<(), Error> {
    let org = org_or_target(api, organization).await?;
    let quota: Option<Quota> = match &quota {
        Some(quota) => {
            let list = format!("/v3/space_quotas?organization_guids={}&", org.guid);
            Some(find(api, &list, "space quota", quota, "cupola space-quotas").await?)
        }
        None => None,
    };
    output::doing(&format!("Making space {name} in organization {} ...", org.name));
    let relationships = InOrganization { organization: ToOne::new(org.guid) };
    let space: Space = api.call(Method::POST, "/v3/spaces", &CreateSpace { name, relationships }).await?;
    if let Some(quota) = quota {
        let path = format!("/v3/space_quotas/{}/relationships/spaces", quota.guid);
        let _: ToMany = api.call(Method::POST, &path, &ToMany { data: vec![Named::new(space.guid)] }).await?;
    }
    output::ok();
    output::line(format_args!("`cupola target -o {} -s {}` works in it", org.name, space.name));
    Ok(())
}

async fn delete_space(
    api: &mut Api,
    name: &str,
    organization: Option<&str>,
    force: bool,
) -> Result<(), Error> {
    let org = org_or_target(api, organization).await?;
    let space = find_space(api, &org.guid, name).await?;
    if !force && !delete::confirmed(&format!("the space {name} and all that is in it"))? {
        output::line("nothing was deleted");
        return Ok(());
    }
    output::doing(&format!("Deleting space {name} in organization {} ...", org.name));
    delete::delete(api, &format!("/v3/spaces/{}", space.guid), name).await?;
    if api.session.space.as_ref().is_some_and(|targeted| targeted.guid == space.guid) {
        api.session.space = None;
        api.session.save()?;
    }
    output::ok();
    Ok(())
}

async fn rename_space(api: &mut Api, name: &str, new_name: String) -> Result<(), Error> {
    let space = own_space(api, name).await?;
    output::doing(&format!("Renaming space {name} ..."));
    let change = UpdateSpace { name: Some(new_name) };
    let changed: Space = api.call(Method::PATCH, &format!("/v3/spaces/{}", space.guid), &change).await?;
    if let Some(targeted) = api.session.space.as_mut().filter(|targeted| targeted.guid == space.guid) {
        targeted.name = changed.name;
        api.session.save()?;
    }
    output::ok();
    Ok(())
}
