//! `routes`: the routes of the space and the apps behind them.

use crate::{Error, api::Api, output};
use cupola_protocol::api::{App, Route};
use std::collections::BTreeMap;

/// Runs the command.
pub(crate) async fn run() -> Result<(), Error> {
    let mut api = Api::open()?;
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
