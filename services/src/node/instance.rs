//! One instance, and the task that owns its container, its volume and its record.

use super::{
    config::{OnShutdown, seconds},
    container::{self, failed},
    engine::{self, Recipe},
    level::Level,
    record::{Phase, Record},
    shared::{Node, lock},
    volume,
};
use cupola_protocol::services::{ServiceError, error_code};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant as Moment, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How often it is asked whether a server takes clients.
const READY_PAUSE: Duration = Duration::from_millis(100);

/// First pause before a server that has ended is started again; it doubles while it keeps ending.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// A server that has run this long starts with the first pause again.
const STABLE: Duration = Duration::from_secs(60);

/// How long a container may take to go when the node ends. After that the next node destroys it.
const LEAVE_LIMIT: Duration = Duration::from_secs(15);

/// Commands that may wait.
const WAITING: usize = 64;

/// Answers once.
pub(crate) type Told = oneshot::Sender<Result<(), ServiceError>>;

/// What an instance is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Make a user, or give it this password.
    Bind { username: String, password: String, told: Told },
    /// Remove a user.
    Unbind { username: String, told: Told },
}

/// An instance, as others see it.
pub(crate) struct Instance {
    /// Written by its task alone.
    pub(crate) record: Mutex<Record>,
    pub(crate) commands: mpsc::Sender<Command>,
    /// It shall be removed.
    pub(crate) abandon: CancellationToken,
    /// Nothing of it is left.
    pub(crate) ended: CancellationToken,
}

impl std::fmt::Debug for Instance {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("name", &lock(&self.record).name).finish_non_exhaustive()
    }
}

impl Instance {
    /// An instance of this record, and where its task hears of commands.
    pub(crate) fn new(record: Record) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, heard) = mpsc::channel(WAITING);
        let (abandon, ended) = (CancellationToken::new(), CancellationToken::new());
        (Arc::new(Instance { record: Mutex::new(record), commands, abandon, ended }), heard)
    }

    /// What it is now.
    pub(crate) fn now(&self) -> Record {
        lock(&self.record).clone()
    }
}

/// Where an instance comes from.
pub(crate) enum Origin {
    /// It is made now; who asked for it is told.
    New(Told),
    /// An earlier node has left it.
    Left,
}

struct Task {
    node: Arc<Node>,
    instance: Arc<Instance>,
    commands: mpsc::Receiver<Command>,
    recipe: &'static dyn Recipe,
    handle: String,
    level: Option<Level>,
}

/// Why a server is no longer served.
enum Served {
    Ended(String),
    Abandoned,
    Shutdown,
}

/// The task of an instance, from its making to its end or the node's.
pub(crate) async fn run(
    node: Arc<Node>,
    instance: Arc<Instance>,
    commands: mpsc::Receiver<Command>,
    origin: Origin,
) {
    let record = instance.now();
    let (recipe, handle) = (engine::recipe(record.engine), node.handle(&record.name));
    let mut task = Task { node, instance, commands, recipe, handle, level: None };
    match origin {
        Origin::New(told) => match task.make().await {
            Ok(job) => {
                tracing::info!(instance = record.name, engine = %record.engine, plan = record.plan.name, "made");
                task.node.changed.notify_one();
                let _ = told.send(Ok(()));
                if task.live(Some(job)).await {
                    task.remove().await;
                }
            }
            Err(error) => {
                tracing::warn!(instance = record.name, %error, "cannot make an instance");
                task.remove().await;
                let _ = told.send(Err(error));
            }
        },
        Origin::Left if record.phase != Phase::Ready => task.remove().await,
        Origin::Left => {
            let job = task.adopt(&record).await;
            if task.live(job).await {
                task.remove().await;
            }
        }
    }
}

impl Task {
    /// Changes the record, on disk first.
    fn change(&self, change: impl FnOnce(&mut Record)) -> Result<Record, ServiceError> {
        let mut record = self.instance.now();
        change(&mut record);
        self.node
            .records
            .write(&record)
            .map_err(|error| failed("write the record of the instance", &error))?;
        *lock(&self.instance.record) = record.clone();
        Ok(record)
    }

    async fn make(&mut self) -> Result<u32, ServiceError> {
        let record = self.instance.now();
        volume::make(self.node.volumes.join(&record.name))
            .await
            .map_err(|error| failed("make the volume", &error))?;
        container::create(&self.node, &record).await?;
        self.script("fill the volume", self.recipe.prepare(), vec![]).await?;
        let job = self.start().await?;
        self.script("set the server up", self.recipe.set_up(), vec![]).await?;
        self.change(|record| record.phase = Phase::Ready)?;
        Ok(job)
    }

    async fn script(&self, what: &str, script: &str, env: Vec<String>) -> Result<(), ServiceError> {
        container::run(&self.node, &self.instance.now(), what, script, env).await
    }

    /// Starts the server in its new container, and waits until it takes clients.
    async fn start(&mut self) -> Result<u32, ServiceError> {
        self.level = None;
        let job = container::start(&self.node, &self.instance.now()).await?;
        let record = self.change(|record| record.job = Some(job))?;
        let limit = seconds(self.node.config.start_timeout_seconds);
        let begun = Moment::now();
        let mut ended = std::pin::pin!(container::follow(&self.node, &self.handle, job));
        loop {
            let why = match container::run(&self.node, &record, "ask the server", self.recipe.ready(), vec![])
                .await
            {
                Ok(()) => return Ok(job),
                Err(error) => error.msg.description,
            };
            let gone = tokio::select! {
                ended = &mut ended => Some(format!("the server did not come up: {ended}")),
                () = self.instance.abandon.cancelled() => Some("the instance is no longer wanted".to_owned()),
                () = self.node.shutdown.cancelled() => Some("the node ends".to_owned()),
                () = sleep(READY_PAUSE) => None,
            };
            let late = || {
                let s = limit.as_secs();
                (begun.elapsed() > limit).then(|| format!("the server takes no clients after {s} s: {why}"))
            };
            if let Some(why) = gone.or_else(late) {
                return Err(ServiceError::new(500, error_code::START_TIMEOUT, why));
            }
        }
    }

    /// The job of a server that runs on from before.
    async fn adopt(&self, record: &Record) -> Option<u32> {
        let job = record.job?;
        loop {
            match self.node.warden.info(&self.handle).await {
                Ok(info) => {
                    let runs = info.job_ids.contains(&u64::from(job));
                    tracing::info!(instance = record.name, runs, "an instance of before is taken up");
                    return runs.then_some(job);
                }
                Err(error) if error.is_disconnected() => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "waiting for the warden");
                }
                Err(_) => return None,
            }
            tokio::select! {
                () = sleep(LAST_PAUSE / 10) => {}
                () = self.node.shutdown.cancelled() => return None,
            }
        }
    }

    /// Keeps the server running; true when the instance shall be removed, false when the node ends.
    async fn live(&mut self, mut job: Option<u32>) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Moment::now();
            let started = match job.take() {
                Some(job) => Ok(job),
                None => {
                    let record = self.instance.now();
                    match container::create(&self.node, &record).await {
                        Ok(()) => self.start().await,
                        Err(error) => Err(error),
                    }
                }
            };
            let why = match started {
                Err(error) => error.msg.description,
                Ok(job) => match self.serve(job).await {
                    Served::Abandoned => return true,
                    Served::Shutdown => return self.leave().await,
                    Served::Ended(why) => why,
                },
            };
            if begun.elapsed() > STABLE {
                pause = FIRST_PAUSE;
            }
            if self.instance.abandon.is_cancelled() {
                return true;
            }
            if self.node.shutdown.is_cancelled() {
                return self.leave().await;
            }
            self.node.figures.restarts.increment(1);
            tracing::warn!(instance = self.instance.now().name, why, pause = ?pause, "a server is started again");
            tokio::select! {
                () = sleep(pause) => {}
                () = self.instance.abandon.cancelled() => return true,
                () = self.node.shutdown.cancelled() => return self.leave().await,
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn serve(&mut self, job: u32) -> Served {
        let (node, handle) = (self.node.clone(), self.handle.clone());
        let mut ended = std::pin::pin!(container::follow(&node, &handle, job));
        let mut look = interval(seconds(node.config.volume_check_seconds));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.instance.abandon.cancelled() => return Served::Abandoned,
                () = node.shutdown.cancelled() => return Served::Shutdown,
                why = &mut ended => return Served::Ended(why),
                Some(command) = self.commands.recv() => self.obey(command).await,
                _ = look.tick() => self.look().await,
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Bind { username, password, told } => {
                let result = self.bind(&username, &password).await;
                let _ = told.send(result);
            }
            Command::Unbind { username, told } => {
                let result = self.unbind(&username).await;
                let _ = told.send(result);
            }
        }
    }

    async fn bind(&mut self, username: &str, password: &str) -> Result<(), ServiceError> {
        self.change(|record| _ = record.users.insert(username.to_owned()))?;
        let env = engine::user(username, password);
        let made = self.script("make the credentials", self.recipe.bind(), env).await;
        if made.is_err() {
            // Half of it may have been done.
            if let Err(error) = self.unbind(username).await {
                tracing::warn!(username, %error, "cannot take failed credentials back; the next check of orphans does");
            }
        }
        made
    }

    async fn unbind(&mut self, username: &str) -> Result<(), ServiceError> {
        let env = engine::user(username, "");
        self.script("take the credentials back", self.recipe.unbind(), env).await?;
        self.change(|record| _ = record.users.remove(username)).map(drop)
    }

    /// Looks at the size of the volume, and puts into force what it leads to.
    async fn look(&mut self) {
        let record = self.instance.now();
        let limit = record.plan(&self.node.config).disk_mb;
        let used = match volume::size(self.node.volumes.join(&record.name)).await {
            Ok(used) => used,
            Err(error) => return tracing::warn!(instance = record.name, %error, "cannot measure a volume"),
        };
        let level = Level::of(used, limit, self.level);
        if level > Level::Free
            && let Err(error) = self.script("give disk back", self.recipe.reclaim(), vec![]).await
        {
            tracing::warn!(instance = record.name, %error, "disk of what was deleted is not given back");
        }
        if self.level == Some(level) {
            return;
        }
        if level > Level::Free || self.level.is_some() {
            tracing::warn!(instance = record.name, %used, %limit, level = level.as_str(), "a volume's level changes");
        }
        match self.script("restrict the server", self.recipe.restrict(), engine::level(level)).await {
            Ok(()) => self.level = Some(level),
            Err(error) => {
                tracing::warn!(instance = record.name, %error, "cannot put a volume's level into force")
            }
        }
    }

    /// The node ends: the server as well, unless it is to run on. Gives false, for who waits for the end of life.
    async fn leave(&self) -> bool {
        if self.node.config.on_shutdown == OnShutdown::Stop {
            let name = self.instance.now().name;
            if let Err(error) = self.script("stop the server", self.recipe.stop(), vec![]).await {
                tracing::warn!(instance = name, %error, "a server is ended by force");
            }
            if timeout(LEAVE_LIMIT, container::destroy(&self.node, &self.handle)).await.is_err() {
                tracing::warn!(instance = name, "a container is left to the next node");
            }
            if let Err(error) = self.change(|record| record.job = None) {
                tracing::warn!(instance = name, %error, "a record is out of date");
            }
        }
        false
    }

    /// Removes everything, trying for as long as it takes.
    async fn remove(&mut self) {
        let mut pause = FIRST_PAUSE;
        let name = self.instance.now().name;
        while let Err(why) = self.try_remove(&name).await {
            tracing::warn!(instance = name, why, "cannot remove an instance, trying again");
            tokio::select! {
                () = sleep(pause) => {}
                // The next node finds its record.
                () = self.node.shutdown.cancelled() => return,
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
        lock(&self.node.instances).remove(&name);
        self.node.changed.notify_one();
        self.instance.ended.cancel();
        tracing::info!(instance = name, "removed");
    }

    async fn try_remove(&mut self, name: &str) -> Result<(), String> {
        self.change(|record| record.phase = Phase::Deleting).map_err(|error| error.to_string())?;
        container::destroy(&self.node, &self.handle).await;
        volume::remove(self.node.volumes.join(name)).await.map_err(|error| error.to_string())?;
        self.node.records.remove(name).map_err(|error| error.to_string())
    }
}
