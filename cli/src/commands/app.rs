//! `app`: one app, its processes and instances.

use super::{apps::running, find_app};
use crate::{Error, api::Api, output};
use cupola_protocol::{
    Bytes,
    api::{App, Droplet, InstanceStats, InstanceStatus, Process, ProcessStats, Route},
    controller::DesiredState,
};

/// Runs the command.
pub(crate) async fn run(name: &str, guid: bool) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    if guid {
        output::line(&app.guid);
        return Ok(());
    }
    show(&mut api, &app).await
}

/// Shows the app as it is now.
pub(crate) async fn show(api: &mut Api, app: &App) -> Result<(), Error> {
    // What was asked for may just have changed.
    let app: App = api.get(&format!("/v3/apps/{}", app.guid)).await?;
    let routes: Vec<Route> = api.list(&format!("/v3/apps/{}/routes", app.guid)).await?;
    let droplet = match api.get::<Droplet>(&format!("/v3/apps/{}/droplets/current", app.guid)).await {
        Ok(droplet) => Some(droplet),
        Err(Error::Refused { status: 404, .. }) => None,
        Err(error) => return Err(error),
    };
    output::line(format_args!("name             {}", app.name));
    output::line(format_args!(
        "requested state  {}",
        if app.state == DesiredState::Started { "started" } else { "stopped" }
    ));
    let urls: Vec<String> = routes.into_iter().map(|route| route.url).collect();
    output::line(format_args!("routes           {}", urls.join(", ")));
    if let Some(droplet) = droplet {
        output::line(format_args!("stack            {}", droplet.stack.unwrap_or_default()));
        let buildpacks = droplet.buildpacks.unwrap_or_default();
        let names: Vec<String> = buildpacks.into_iter().map(|b| b.buildpack_name.unwrap_or(b.name)).collect();
        output::line(format_args!("buildpacks       {}", names.join(", ")));
    }
    let processes: Vec<Process> = api.list(&format!("/v3/apps/{}/processes", app.guid)).await?;
    for process in processes {
        let stats: ProcessStats = api.get(&format!("/v3/processes/{}/stats", process.guid)).await?;
        output::line("");
        output::line(format_args!("type             {}", process.kind));
        output::line(format_args!("instances        {}/{}", running(&stats), process.instances));
        output::line(format_args!("memory           {}", process.memory_in_mb));
        output::line(format_args!("disk             {}", process.disk_in_mb));
        if app.state == DesiredState::Started && !stats.resources.is_empty() {
            let rows: Vec<_> = stats.resources.iter().map(row).collect();
            output::table(&["", "state", "since", "cpu", "memory", "disk", "details"], &rows);
        }
    }
    Ok(())
}

/// What is used of what may be.
pub(super) fn of(used: Option<Bytes>, quota: Option<Bytes>) -> String {
    match (used, quota) {
        (Some(used), Some(quota)) => format!("{used} of {quota}"),
        (Some(used), None) => used.to_string(),
        (None, _) => String::new(),
    }
}

fn row(instance: &InstanceStats) -> Vec<String> {
    let usage = instance.usage.as_ref();
    vec![
        format!("#{}", instance.index),
        word(instance.state).to_owned(),
        if instance.uptime > 0 { duration(instance.uptime) } else { String::new() },
        usage.map_or(String::new(), |usage| format!("{:.1}%", usage.cpu * 100.0)),
        of(usage.map(|u| u.mem), instance.mem_quota),
        of(usage.map(|u| u.disk), instance.disk_quota),
        instance.details.clone().unwrap_or_default(),
    ]
}

/// A state in words.
pub(crate) fn word(state: InstanceStatus) -> &'static str {
    match state {
        InstanceStatus::Running => "running",
        InstanceStatus::Starting => "starting",
        InstanceStatus::Crashed => "crashed",
        InstanceStatus::Down => "down",
        InstanceStatus::Stopping => "stopping",
    }
}

/// A time span in words.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}
