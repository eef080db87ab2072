//! Loses one thing after the other while requests go on, and waits each time until all is whole again: every instance
//! that there should be runs and answers, the API answers, and a scaling works. What is lost is lost as in real life:
//! a host's cable falls silent before its processes are gone, so that nobody is told.

mod scene;
mod table;

use self::{
    scene::{CONTROLLER, HEALTH_MANAGER, Scene},
    table::{Counted, Row},
};
use super::{Cluster, Host};
use anyhow::{Result, ensure};
use std::{path::Path, thread, time::Duration};

/// How long what is lost as a whole (every NATS server, the database) stays away.
const AWAY: Duration = Duration::from_secs(6);

/// Lines of each log that are shown when something is not survived.
const LOG_LINES: usize = 30;

/// One thing to lose: its name in the figures, what it is, and how.
type Loss = (&'static str, fn(&Scene) -> Result<Row>);

const LOSSES: [Loss; 8] = [
    ("dea", dea),
    ("health_manager", health_manager),
    ("router", router),
    ("nats_server", nats_server),
    ("nats_all", nats_all),
    ("controller", controller),
    ("database", database),
    ("service_node", service_node),
];

/// Brings a cluster up by `start`, loses what `only` names (everything when it names nothing), prints the table, and
/// ends the cluster again.
///
/// # Errors
/// When something does not become whole again, when requests fail that must not, or when anything is left behind. With
/// `keep`, the cluster is then left running for a look.
pub fn test(
    directory: &Path,
    only: &[String],
    keep: bool,
    start: impl FnOnce() -> Result<Cluster>,
) -> Result<()> {
    for name in only {
        ensure!(LOSSES.iter().any(|(known, _)| known == name), "there is no loss {name}");
    }
    let before = crate::Inventory::take(crate::Scope {
        cgroup_prefixes: vec!["cupola-".to_owned()],
        directories: vec![directory.to_owned()],
        ..crate::Scope::default()
    });
    let tested = start().and_then(|cluster| lose_all(&cluster, only));
    if tested.is_err() {
        eprintln!("{}", Cluster::at(directory).log_tails(LOG_LINES));
    }
    if tested.is_err() && keep {
        eprintln!("the cluster is left running in {0}; `cluster down {0}` ends it", directory.display());
        return tested;
    }
    Cluster::at(directory).down()?;
    tested?;
    before.assert_no_difference();
    println!("nothing is left behind: no namespace, link, mount, cgroup, loop device or file");
    Ok(())
}

fn lose_all(cluster: &Cluster, only: &[String]) -> Result<()> {
    let scene = Scene::set(cluster)?;
    let mut rows = Vec::new();
    for (name, lose) in LOSSES.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|o| o == name)) {
        let row = lose(&scene).map_err(|error| error.context(format!("after the loss of {name}")))?;
        println!("{}", row.line());
        rows.push(row);
        scene.wait_whole()?;
    }
    table::print(&rows);
    rows.iter().try_for_each(Row::check)
}

fn dea(scene: &Scene) -> Result<Row> {
    let host = scene.host("dea-2")?;
    let row = scene.measure("dea", "a node agent's host", Counted::FromLoss, |_| host.crash())?;
    host.boot()?;
    Ok(row)
}

fn health_manager(scene: &Scene) -> Result<Row> {
    let host = scene.active_health_manager()?;
    let row =
        scene.measure("health_manager", "the health manager that acts", Counted::FromLoss, |scene| {
            host.kill(HEALTH_MANAGER)?;
            // Somebody has to notice.
            scene.crash_an_instance()
        })?;
    host.start(HEALTH_MANAGER)?;
    Ok(row.must_not_fail())
}

fn router(scene: &Scene) -> Result<Row> {
    let host = scene.host("router-1")?;
    let row = scene.measure("router", "a router's host", Counted::FromLoss, |_| host.crash())?;
    host.boot()?;
    Ok(row)
}

fn nats_server(scene: &Scene) -> Result<Row> {
    let host = scene.host("nats-1")?;
    let row = scene.measure("nats_server", "a NATS server's host", Counted::FromLoss, |_| host.crash())?;
    host.boot()?;
    Ok(row.must_not_fail())
}

fn nats_all(scene: &Scene) -> Result<Row> {
    let hosts: Vec<Host> =
        ["nats-1", "nats-2", "nats-3"].iter().map(|name| scene.host(name)).collect::<Result<_>>()?;
    let row = scene.measure("nats_all", "every NATS server's host", Counted::FromReturn, |_| {
        hosts.iter().try_for_each(Host::crash)?;
        thread::sleep(AWAY);
        hosts.iter().try_for_each(Host::boot)
    })?;
    Ok(row.must_not_fail())
}

fn controller(scene: &Scene) -> Result<Row> {
    let push = scene.begin_push()?;
    let host = scene.staging_controller()?;
    let row = scene.measure("controller", "a controller, during a push", Counted::FromLoss, |scene| {
        host.kill(CONTROLLER)?;
        scene.end_push(push)
    })?;
    host.start(CONTROLLER)?;
    Ok(row.must_not_fail())
}

fn database(scene: &Scene) -> Result<Row> {
    let host = scene.host("data-1")?;
    let row = scene.measure("database", "database and blobs", Counted::FromReturn, |scene| {
        host.crash()?;
        scene.refuses_for_now()?;
        host.boot()
    })?;
    Ok(row.must_not_fail())
}

fn service_node(scene: &Scene) -> Result<Row> {
    scene.keep_numbers()?;
    let host = scene.host("service-1")?;
    let row = scene.measure("service_node", "a service node's host", Counted::FromReturn, |_| {
        host.crash()?;
        thread::sleep(AWAY);
        host.boot()
    })?;
    Ok(row.must_not_fail())
}
