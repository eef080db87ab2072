//! Apps that run, requests that go on, and the question whether all is whole.

use super::{
    super::{
        Cluster, Host,
        developer::{Developer, ended},
        load::Load,
    },
    table::{Counted, Row},
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    cell::Cell,
    fs,
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};

/// The app that the requests go to, and its instances: two for each node agent.
const APP: &str = "wave";
const INSTANCES: usize = 6;
/// The app that is scaled, to see whether that works.
const PROBE: &str = "probe";
/// The app whose push loses its controller, and bytes of it.
const LATE: &str = "late";
const LATE_BYTES: usize = 48 << 20;
/// What is pushed.
const APP_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/apps/wave");
/// The stack that it runs on.
const STACK: &str = "minimal";
/// An app that keeps numbers in its services, what is pushed, and the stack with the clients of those.
const KEEPER: &str = "keeper";
const KEEPER_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/apps/keeper");
const KEEPER_STACK: &str = "services";
/// Numbers that it keeps.
const NUMBERS: u32 = 20;
/// Units that are looked for.
pub(super) const HEALTH_MANAGER: &str = "cupola@health-manager.service";
pub(super) const CONTROLLER: &str = "cupola@controller.service";
/// What a health manager's log says of its lease.
const LEASE_NEWS: [&str; 3] = ["holds the lease uuid", "has lost the lease", "another holds the lease"];
/// How long the API may take to notice that its database is away.
const AWAY_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at a log.
const LOOK: Duration = Duration::from_millis(20);
/// How long it may take until all is whole again. Nothing is judged by it but the end of waiting.
const WHOLE_LIMIT: Duration = Duration::from_secs(150);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What the losses happen to.
pub(super) struct Scene<'a> {
    cluster: &'a Cluster,
    pub(super) developer: Developer,
    load: Load,
    /// Whether there are numbers that services keep: then they have to be there whenever all is whole.
    kept: Cell<bool>,
}

impl<'a> Scene<'a> {
    /// Pushes the apps and starts the requests.
    pub(super) fn set(cluster: &'a Cluster) -> Result<Self> {
        let developer = cluster.developer()?;
        let began = Instant::now();
        developer.cupola(&[
            "push",
            APP,
            "-p",
            APP_FOLDER,
            "-s",
            STACK,
            "-m",
            "64M",
            "-i",
            &INSTANCES.to_string(),
        ])?;
        developer.cupola(&["push", PROBE, "-p", APP_FOLDER, "-s", STACK, "-m", "64M"])?;
        println!("two apps pushed in {:.1} s", began.elapsed().as_secs_f64());
        let scene = Self { cluster, load: Load::start(APP)?, developer, kept: Cell::new(false) };
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
        &self,
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
    pub(super) fn wait_whole(&self) -> Result<()> {
        let (began, mut reasons) = (Instant::now(), Vec::new());
        loop {
            let Err(error) = self.look() else { return Ok(()) };
            let reason = format!("{error:#}");
            if reasons.last().is_none_or(|(_, last)| *last != reason) {
                reasons.push((began.elapsed(), reason));
            }
            if began.elapsed() > WHOLE_LIMIT {
                let all: Vec<String> =
                    reasons.iter().map(|(at, why)| format!("  {:>6.1} s  {why}", at.as_secs_f64())).collect();
                bail!("not whole within {} s:\n{}", WHOLE_LIMIT.as_secs(), all.join("\n"));
            }
            thread::sleep(PAUSE);
        }
    }

    fn look(&self) -> Result<()> {
        self.runs(APP, INSTANCES)?;
        // Both routers, all instances.
        for _ in 0..2 * INSTANCES {
            self.developer.get(APP, "/")?;
        }
        if self.kept.get() {
            self.keeps()?;
        }
        let probe = self.developer.instances(PROBE)?;
        ensure!(probe.running == probe.wanted, "{PROBE} has {probe:?}");
        let other = if probe.wanted == 1 { 2 } else { 1 };
        self.developer.cupola(&["scale", PROBE, "-i", &other.to_string()])?;
        self.runs(PROBE, other)
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

    /// The host whose health manager acts: the one whose log says last that it holds the lease.
    pub(super) fn active_health_manager(&self) -> Result<Host> {
        let acts = |host: &&Host| {
            let log = fs::read_to_string(host.log(HEALTH_MANAGER)).unwrap_or_default();
            let news = log.lines().rfind(|line| LEASE_NEWS.iter().any(|news| line.contains(news)));
            news.is_some_and(|line| line.contains(LEASE_NEWS[0]))
        };
        let hosts = self.cluster.hosts().iter().filter(|host| host.machine.units.contains(&HEALTH_MANAGER));
        hosts.filter(|host| host.is_up()).find(acts).cloned().context("no health manager holds the lease")
    }

    /// Makes a database and a cache, and an app that keeps numbers in both.
    pub(super) fn keep_numbers(&self) -> Result<()> {
        let cupola = |arguments: &[&str]| self.developer.cupola(arguments);
        for (engine, name) in [("postgresql", "db"), ("redis", "cache")] {
            // The gateway registers itself, and the node takes its stack up, some time after the start.
            self.eventually(|| cupola(&["create-service", engine, "small", name]).map(drop))?;
        }
        cupola(&["push", KEEPER, "-p", KEEPER_FOLDER, "-s", KEEPER_STACK, "-m", "128M", "--no-start"])?;
        for service in ["db", "cache"] {
            cupola(&["bind-service", KEEPER, service])?;
        }
        cupola(&["start", KEEPER])?;
        for number in 1..=NUMBERS {
            let said = self.developer.get(KEEPER, &format!("/write/{number}"))?;
            ensure!(said == number.to_string(), "the app did not write {number}: {said}");
        }
        self.kept.set(true);
        self.keeps()
    }

    /// Every number that was acknowledged is there.
    fn keeps(&self) -> Result<()> {
        let all: Vec<String> = (1..=NUMBERS).map(|number| number.to_string()).collect();
        let all = all.join(",");
        let said = self.developer.get(KEEPER, "/read")?;
        ensure!(said == format!("postgresql {all} redis {all}"), "numbers are lost: {said}");
        Ok(())
    }

    fn eventually(&self, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + WHOLE_LIMIT;
        loop {
            match attempt() {
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(PAUSE),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Begins a push that takes some seconds to stage.
    pub(super) fn begin_push(&self) -> Result<Push> {
        let folder = self.developer.home().join("late");
        fs::create_dir_all(&folder)?;
        for name in ["Procfile", "app.py"] {
            fs::copy(Path::new(APP_FOLDER).join(name), folder.join(name))?;
        }
        // What cannot be compressed makes the staging long enough to lose its controller.
        let noise: Vec<u8> = (0..LATE_BYTES / 8).flat_map(|_| rand::random::<[u8; 8]>()).collect();
        fs::write(folder.join("noise"), noise)?;
        let path = folder.display().to_string();
        let child = self.developer.command(&["push", LATE, "-p", &path, "-s", STACK, "-m", "64M"]).spawn()?;
        Ok(Push { child })
    }

    /// The controller that stages now.
    pub(super) fn staging_controller(&self) -> Result<Host> {
        let staged = |host: &Host| {
            let log = fs::read_to_string(host.log(CONTROLLER)).unwrap_or_default();
            log.lines().filter(|line| line.contains("stages a build")).count()
        };
        let hosts: Vec<Host> = self
            .cluster
            .hosts()
            .iter()
            .filter(|host| host.machine.units.contains(&CONTROLLER))
            .cloned()
            .collect();
        let before: Vec<usize> = hosts.iter().map(&staged).collect();
        let deadline = Instant::now() + WHOLE_LIMIT;
        loop {
            let now = hosts.iter().map(&staged).zip(&before);
            if let Some((host, _)) = hosts.iter().zip(now).find(|(_, (now, before))| now > before) {
                return Ok(host.clone());
            }
            ensure!(Instant::now() < deadline, "no controller begins to stage");
            thread::sleep(LOOK);
        }
    }

    /// Waits until a push has ended well, and its app answers.
    pub(super) fn end_push(&self, push: Push) -> Result<()> {
        ended("push", push.child)?;
        self.developer.get(LATE, "/")?;
        self.developer.cupola(&["delete", LATE, "-f", "-r"]).map(drop)
    }

    /// The API says that it cannot serve now, while apps do: 503, and nothing else.
    pub(super) fn refuses_for_now(&self) -> Result<()> {
        let deadline = Instant::now() + AWAY_LIMIT;
        loop {
            let status = self.developer.api_status("/v3/apps");
            match status {
                Ok(503) => return Ok(()),
                _ if Instant::now() > deadline => bail!("the API does not say 503 but {status:?}"),
                _ => thread::sleep(PAUSE),
            }
        }
    }
}

/// A push that goes on.
pub(super) struct Push {
    child: Child,
}
