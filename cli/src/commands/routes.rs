//! `routes`, `map-route`, `unmap-route`, `create-route`, `delete-route`, `delete-orphaned-routes`.

use super::{
    delete::{confirmed, delete},
    find_app,
};
use crate::{
    Error,
    api::{Api, escape},
    output,
};
use clap::Subcommand;
use cupola_protocol::api::{
    App, CreateRoute, Destination, Destinations, Domain, InSpaceAndDomain, Route, ToOne,
};
use reqwest::Method;
use std::collections::BTreeMap;

/// Routes of the space.
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// The routes of the space
    #[command(visible_alias = "r")]
    Routes,
    /// Let an app answer at a route, which is made when it is missing
    #[command(visible_alias = "map")]
    MapRoute {
        /// The app
        name: String,
        #[command(flatten)]
        route: Address,
    },
    /// Let an app answer at a route no longer
    #[command(visible_alias = "unmap")]
    UnmapRoute {
        /// The app
        name: String,
        #[command(flatten)]
        route: Address,
    },
    /// Make a route that no app answers at yet
    CreateRoute {
        #[command(flatten)]
        route: Address,
    },
    /// Delete a route, whatever app answers at it
    DeleteRoute {
        #[command(flatten)]
        route: Address,
        /// Do not ask
        #[arg(short)]
        force: bool,
    },
    /// Delete the routes of the space that no app answers at
    DeleteOrphanedRoutes {
        /// Do not ask
        #[arg(short)]
        force: bool,
    },
}

/// Which route: all of it as one word, or its parts.
#[derive(Debug, clap::Args)]
pub struct Address {
    /// A domain, or all of the route, such as www.example.com/shop
    domain: String,
    /// The part before the domain
    #[arg(short = 'n', long, value_name = "HOST")]
    hostname: Option<String>,
    /// Path behind the domain
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
}

impl RouteCommand {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let mut api = Api::open()?;
        match self {
            Self::Routes => list(&mut api).await,
            Self::MapRoute { name, route } => map(&mut api, &name, &route).await,
            Self::UnmapRoute { name, route } => unmap(&mut api, &name, &route).await,
            Self::CreateRoute { route } => create(&mut api, &route).await,
            Self::DeleteRoute { route, force } => remove(&mut api, &route, force).await,
            Self::DeleteOrphanedRoutes { force } => remove_orphans(&mut api, force).await,
        }
    }
}

/// A route, taken apart.
#[derive(Debug, Clone, PartialEq)]
struct Parts {
    host: String,
    domain: Domain,
    path: String,
}

impl Parts {
    fn url(&self) -> String {
        let (host, domain, path) = (&self.host, &self.domain.name, &self.path);
        if host.is_empty() { format!("{domain}{path}") } else { format!("{host}.{domain}{path}") }
    }
}

/// Takes a route apart at the longest domain that is its end.
fn take_apart(address: &Address, domains: Vec<Domain>) -> Result<Parts, Error> {
    let text = address.domain.split_once("://").map_or(address.domain.as_str(), |(_, rest)| rest);
    let (name, own_path) = match text.split_once('/') {
        Some((name, path)) if !path.is_empty() => (name, format!("/{path}")),
        Some((name, _)) => (name, String::new()),
        None => (text, String::new()),
    };
    let name = name.to_lowercase();
    let host = |domain: &Domain| {
        let before = name.strip_suffix(&domain.name)?;
        if before.is_empty() { Some(String::new()) } else { before.strip_suffix('.').map(str::to_owned) }
    };
    let best = domains
        .into_iter()
        .filter_map(|domain| Some((host(&domain)?, domain)))
        .max_by_key(|(_, domain)| domain.name.len());
    let Some((host, domain)) = best else {
        return Err(Error::Unknown { kind: "domain of the route", name, list: "cupola domains" });
    };
    let host = match &address.hostname {
        Some(own) if host.is_empty() => own.to_lowercase(),
        Some(own) => format!("{}.{host}", own.to_lowercase()),
        None => host,
    };
    let path = match &address.path {
        Some(path) if own_path.is_empty() => format!("/{}", path.trim_start_matches('/')),
        Some(_) => {
            return Err(Error::Usage("the path is given twice: with --path and in the route".to_owned()));
        }
        None => own_path,
    };
    Ok(Parts { host, domain, path: path.trim_end_matches('/').to_owned() })
}

async fn parts(api: &mut Api, address: &Address) -> Result<Parts, Error> {
    let domains = api.list("/v3/domains").await?;
    take_apart(address, domains)
}

async fn find(api: &mut Api, parts: &Parts) -> Result<Option<Route>, Error> {
    let path = format!(
        "/v3/routes?domain_guids={}&hosts={}&paths={}",
        parts.domain.guid,
        escape(&parts.host),
        escape(&parts.path)
    );
    Ok(api.list::<Route>(&path).await?.into_iter().find(|route| route.url == parts.url()))
}

async fn must_find(api: &mut Api, parts: &Parts) -> Result<Route, Error> {
    let found = find(api, parts).await?;
    found.ok_or_else(|| Error::Unknown { kind: "route", name: parts.url(), list: "cupola routes" })
}

async fn make(api: &mut Api, parts: &Parts) -> Result<Route, Error> {
    let space = ToOne::new(api.session.space()?.guid.clone());
    let relationships = InSpaceAndDomain { space, domain: ToOne::new(parts.domain.guid.clone()) };
    let body = CreateRoute { host: parts.host.clone(), path: parts.path.clone(), relationships };
    api.call(Method::POST, "/v3/routes", &body).await
}

async fn list(api: &mut Api) -> Result<(), Error> {
    let space = api.session.space()?.clone();
    let routes: Vec<Route> = api.list(&format!("/v3/routes?space_guids={}", space.guid)).await?;
    let apps: Vec<App> = api.list(&format!("/v3/apps?space_guids={}", space.guid)).await?;
    let names: BTreeMap<String, String> = apps.into_iter().map(|app| (app.guid, app.name)).collect();
    let rows: Vec<_> = routes
        .into_iter()
        .map(|route| {
            let to: Vec<&str> = route
                .destinations
                .iter()
                .filter_map(|d| names.get(&d.app.guid).map(String::as_str))
                .collect();
            vec![route.url, to.join(", ")]
        })
        .collect();
    output::table(&["route", "apps"], &rows);
    Ok(())
}

async fn map(api: &mut Api, name: &str, address: &Address) -> Result<(), Error> {
    let app = find_app(api, name).await?;
    let parts = parts(api, address).await?;
    let route = match find(api, &parts).await? {
        Some(route) => route,
        None => make(api, &parts).await?,
    };
    let body = Destinations { destinations: vec![Destination::to_app(app.guid)], ..Destinations::default() };
    let path = format!("/v3/routes/{}/destinations", route.guid);
    let _: Destinations = api.call(Method::POST, &path, &body).await?;
    output::line(format_args!("app {name} answers at {}", route.url));
    output::ok();
    Ok(())
}

async fn unmap(api: &mut Api, name: &str, address: &Address) -> Result<(), Error> {
    let app = find_app(api, name).await?;
    let parts = parts(api, address).await?;
    let route = must_find(api, &parts).await?;
    let destination = route.destinations.iter().find(|one| one.app.guid == app.guid);
    let Some(guid) = destination.and_then(|destination| destination.guid.clone()) else {
        return Err(Error::Usage(format!(
            "app {name} does not answer at {}: nothing was changed",
            route.url
        )));
    };
    let path = format!("/v3/routes/{}/destinations/{guid}", route.guid);
    api.send_for_job(Method::DELETE, &path, |request| request).await?;
    output::line(format_args!("app {name} no longer answers at {}; the route stays", route.url));
    output::ok();
    Ok(())
}

async fn create(api: &mut Api, address: &Address) -> Result<(), Error> {
    let parts = parts(api, address).await?;
    let route = make(api, &parts).await?;
    output::line(format_args!("route {}: `cupola map-route APP {}` gives it an app", route.url, route.url));
    output::ok();
    Ok(())
}

async fn remove(api: &mut Api, address: &Address, force: bool) -> Result<(), Error> {
    let parts = parts(api, address).await?;
    let Some(route) = find(api, &parts).await? else {
        output::line(format_args!("there is no route {}", parts.url()));
        output::ok();
        return Ok(());
    };
    if !force && !confirmed(&format!("the route {}", route.url))? {
        output::line("nothing was deleted");
        return Ok(());
    }
    delete(api, &format!("/v3/routes/{}", route.guid), &route.url).await?;
    output::ok();
    Ok(())
}

async fn remove_orphans(api: &mut Api, force: bool) -> Result<(), Error> {
    let space = api.session.space()?.clone();
    let routes: Vec<Route> = api.list(&format!("/v3/routes?space_guids={}", space.guid)).await?;
    let orphans: Vec<Route> = routes.into_iter().filter(|route| route.destinations.is_empty()).collect();
    if orphans.is_empty() {
        output::line(format_args!("every route in space {} has an app", space.name));
        return Ok(());
    }
    let names: Vec<&str> = orphans.iter().map(|route| route.url.as_str()).collect();
    if !force && !confirmed(&format!("the routes {}", names.join(", ")))? {
        output::line("nothing was deleted");
        return Ok(());
    }
    for route in &orphans {
        delete(api, &format!("/v3/routes/{}", route.guid), &route.url).await?;
        output::line(format_args!("deleted {}", route.url));
    }
    output::ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Vec<Domain> {
        ["test", "apps.test", "other.org"]
            .map(|name| {
                serde_json::from_value(serde_json::json!({
                    "guid": name, "name": name, "created_at": "", "updated_at": "",
                }))
                .unwrap()
            })
            .to_vec()
    }

    fn apart(
        domain: &str,
        hostname: Option<&str>,
        path: Option<&str>,
    ) -> Result<(String, String, String), String> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let address = Address { domain: domain.to_owned(), hostname: own(hostname), path: own(path) };
        let parts = take_apart(&address, domains()).map_err(|error| error.to_string())?;
        Ok((parts.host, parts.domain.name, parts.path))
    }

    #[test]
    fn a_route_is_one_word_or_its_parts() {
        let is =
            |host: &str, domain: &str, path: &str| Ok((host.to_owned(), domain.to_owned(), path.to_owned()));
        assert_eq!(apart("apps.test", Some("Www"), None), is("www", "apps.test", ""));
        assert_eq!(apart("www.apps.test", None, None), is("www", "apps.test", ""));
        assert_eq!(apart("http://www.apps.test/a/b/", None, None), is("www", "apps.test", "/a/b"));
        assert_eq!(apart("apps.test", Some("www"), Some("a")), is("www", "apps.test", "/a"));
        assert_eq!(apart("apps.test/", None, None), is("", "apps.test", ""));
        assert_eq!(apart("a.b.test", None, None), is("a.b", "test", ""));
        assert!(apart("myother.org", None, None).unwrap_err().contains("cupola domains"));
        assert!(apart("www.apps.test/a", None, Some("/b")).unwrap_err().contains("twice"));
    }
}
