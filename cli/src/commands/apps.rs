//! `apps`: a line for each app of the space.

use crate::{Error, api::Api, output};
use cupola_protocol::{
    api::{App, InstanceStatus, Process, ProcessStats, Route},
    controller::DesiredState,
};

/// Runs the command.
pub(crate) async fn run() -> Result<(), Error> {
    let mut api = Api::open()?;
    let space = api.session.space()?.clone();
    let apps: Vec<App> = api.list(&format!("/v3/apps?order_by=name&space_guids={}", space.guid)).await?;
    if apps.is_empty() {
        output::line(format_args!("no apps in space {}: `cupola push NAME -p PATH` makes one", space.name));
        return Ok(());
    }
    let mut rows = Vec::new();
    for app in apps {
        let processes: Vec<Process> = api.list(&format!("/v3/apps/{}/processes", app.guid)).await?;
        let routes: Vec<Route> = api.list(&format!("/v3/apps/{}/routes", app.guid)).await?;
        let mut counts = Vec::new();
        for process in &processes {
            let stats: ProcessStats = api.get(&format!("/v3/processes/{}/stats", process.guid)).await?;
            counts.push(format!("{}:{}/{}", process.kind, running(&stats), process.instances));
        }
        let state = match app.state {
            DesiredState::Started => "started",
            DesiredState::Stopped => "stopped",
        };
        let urls: Vec<String> = routes.into_iter().map(|route| route.url).collect();
        rows.push(vec![app.name, state.to_owned(), counts.join(", "), urls.join(", ")]);
    }
    output::table(&["name", "requested state", "processes", "routes"], &rows);
    Ok(())
}

/// How many instances run.
pub(crate) fn running(stats: &ProcessStats) -> usize {
    stats.resources.iter().filter(|instance| instance.state == InstanceStatus::Running).count()
}
