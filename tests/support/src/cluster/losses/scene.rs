//! Apps that run, requests that go on, and the question whether all is whole.

use super::{
    super::{Cluster, Host, developer::Developer, load::Load},
    table::{Counted, Row},
};
use anyhow::{Context, Result, ensure};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// The app that the requests go to, and its instances: two for each node agent.
const APP: &str = "wave";
const INSTANCES: usize = 6;
/// The app that is scaled, to see whether that works.
const PROBE: &str = "probe";
/// How long it may take until all is whole again. Nothing is judged by it but the end of waiting.
const WHOLE_LIMIT: Duration = Duration::from_secs(150);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What the losses happen to.
pub(super) struct Scene<'a> {
    cluster: &'a Cluster,
    pub(super) developer: Developer,
    load: Load,
    /// Instances that the probe should have.
    probes: usize,
}

impl<'a> Scene<'a> {
    /// Pushes the apps and starts the requests.
    pub(super) fn set(cluster: &'a Cluster) -> Result<Self> {
        let developer = cluster.developer()?;
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/apps/wave").display().to_string();
        let began = Instant::now();
        developer.cupola(&["push", APP, "-p", &folder, "-m", "64M", "-i", &INSTANCES.to_string()])?;
        developer.cupola(&["push", PROBE, "-p", &folder, "-m", "64M"])?;
        println!("two apps pushed in {:.1} s", began.elapsed().as_secs_f64());
        let mut scene = Self { cluster, load: Load::start(APP)?, developer, probes: 1 };
        scene.wait_whole()?;
        let hosts = scene.developer.instances(APP)?.hosts;
        for host in ["dea-1", "dea-2", "dea-3"] {
            let address = cluster.host(host)?.machine.address.to_string();
            ensure!(hosts.contains(&address), "no instance of {APP} is on {host}: {hosts:?}");
        }
        Ok(scene)
    }

    pub(super) fn host(&self, name: &str) -> Result<Host> {
        self.cluster.host(name).cloned()
    }

    /// Loses something, waits until all is whole, and says what that took.
    pub(super) fn measure(
        &mut self,
        name: &'static str,
        what: &'static str,
        counted: Counted,
        lose: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<Row> {
        let began = Instant::now();
        lose(self)?;
        let since = match counted {
            Counted::FromLoss => began,
            Counted::FromReturn => Instant::now(),
        };
        self.wait_whole()?;
        let whole = Instant::now();
        let outcomes = self.load.between(began, whole);
        Ok(Row::new(name, what, counted, whole - since, &outcomes))
    }

    /// Waits until everything that should run runs, answers, and can be changed.
    pub(super) fn wait_whole(&mut self) -> Result<()> {
        let deadline = Instant::now() + WHOLE_LIMIT;
        loop {
            match self.look() {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!("not whole within {} s", WHOLE_LIMIT.as_secs())));
                }
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    fn look(&mut self) -> Result<()> {
        self.runs(APP, INSTANCES)?;
        // Both routers, all instances.
        for _ in 0..2 * INSTANCES {
            self.developer.get(APP, "/")?;
        }
        self.runs(PROBE, self.probes)?;
        let other = 3 - self.probes;
        self.developer.cupola(&["scale", PROBE, "-i", &other.to_string()])?;
        self.probes = other;
        self.runs(PROBE, self.probes)
    }

    fn runs(&self, app: &str, wanted: usize) -> Result<()> {
        let instances = self.developer.instances(app)?;
        ensure!(instances.running == wanted, "{app} has {instances:?}, and should have {wanted}");
        Ok(())
    }

    /// Kills the process of one instance of the probe, from inside.
    pub(super) fn crash_an_instance(&self) -> Result<()> {
        // Its answer is the end of the connection.
        let _ = self.developer.get(PROBE, "/exit");
        Ok(())
    }

    /// The host whose health manager acts.
    pub(super) fn active_health_manager(&self) -> Result<Host> {
        self.host("control-1").context("no health manager acts")
    }
}
