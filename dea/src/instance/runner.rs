//! The task that owns an instance: carries out what the machine says, and feeds it with what happens.

use super::{
    Command, Exit, Instance, Process, Record, container,
    health::Check,
    logs::{self, Logs},
    state::{Action, Event, State},
};
use crate::{config::seconds, droplets::Droplet, node::Node};
use cupola_protocol::{
    InstanceId, Version,
    dea::default_partition,
    droplet::{ExitReason, Exited},
    router::{Register, Unregister},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use warden_client::StopMode;

/// How long the last output may take after the processes have ended.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// How often a warden that is away is asked for a container that should be there.
const FIND_PAUSE: Duration = Duration::from_millis(500);

/// Where an instance comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was just accepted.
    New,
    /// An earlier agent has left it behind.
    Journal,
}

/// What an operation came to.
enum Outcome {
    Fetched(Droplet),
    Prepared(Process),
    Plain(Event),
}

/// Starts the task of an instance. `changes` hears of
/// everything that others can see.
pub(crate) fn start(
    node: Arc<Node>,
    record: Record,
    origin: Origin,
    changes: mpsc::UnboundedSender<InstanceId>,
) -> Instance {
    let (commands_in, commands) = mpsc::unbounded_channel();
    let (outcomes_in, outcomes) = mpsc::unbounded_channel();
    let offset = Arc::new(AtomicU64::new(record.offset));
    let (state, actions) = match origin {
        Origin::New => State::Born.on(Event::Begin),
        Origin::Journal => State::restored(record.state, record.exit.clone()),
    };
    let (published, seen) = watch::channel(record.clone());
    let runner = Runner {
        logs: Logs::new(node.clone(), &record),
        handle: node.handle(&record.instance),
        node,
        record,
        state,
        published,
        offset: offset.clone(),
        changes,
        outcomes_in,
        stop_reason: ExitReason::Stopped,
        begun: Instant::now(),
        droplet: None,
        fetching: None,
        following: None,
        checking: None,
    };
    tokio::spawn(runner.run(actions, commands, outcomes));
    Instance { record: seen, offset, commands: commands_in }
}

struct Runner {
    node: Arc<Node>,
    handle: String,
    record: Record,
    state: State,
    logs: Logs,
    published: watch::Sender<Record>,
    offset: Arc<AtomicU64>,
    changes: mpsc::UnboundedSender<InstanceId>,
    outcomes_in: mpsc::UnboundedSender<Outcome>,
    stop_reason: ExitReason,
    begun: Instant,
    /// Held while the container lives, so that the droplet is not collected.
    droplet: Option<Droplet>,
    fetching: Option<JoinHandle<()>>,
    following: Option<JoinHandle<()>>,
    checking: Option<JoinHandle<()>>,
}

impl Runner {
    async fn run(
        mut self,
        first: Vec<Action>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut outcomes: mpsc::UnboundedReceiver<Outcome>,
    ) {
        self.publish();
        self.act(first).await;
        while !self.state.is_over() {
            tokio::select! {
                biased;
                // Commands first: a stop must not wait behind news that it makes needless.
                command = commands.recv() => match command {
                    Some(Command::Stop(reason)) => {
                        self.stop_reason = reason;
                        self.happened(Event::Stop).await;
                    }
                    Some(Command::Update { uris, version }) => self.update(uris, version).await,
                    Some(Command::Register) => self.register().await,
                    Some(Command::Detach) | None => break,
                },
                outcome = outcomes.recv() => match outcome {
                    Some(Outcome::Fetched(droplet)) => {
                        self.droplet = Some(droplet);
                        self.happened(Event::Fetched).await;
                    }
                    Some(Outcome::Prepared(process)) => {
                        self.record.process = Some(process);
                        self.happened(Event::Prepared).await;
                    }
                    Some(Outcome::Plain(event)) => self.happened(event).await,
                    None => break,
                },
            }
        }
        for task in [self.fetching.take(), self.following.take(), self.checking.take()].into_iter().flatten()
        {
            task.abort();
        }
        self.node.outputs.close(&self.record.instance);
        // Closing the commands says that it is over; the owner looks once more.
        drop(commands);
        let _ = self.changes.send(self.record.instance.clone());
    }

    async fn happened(&mut self, event: Event) {
        let healthy = event == Event::Healthy && self.state == State::Checking;
        let state = std::mem::replace(&mut self.state, State::Stopped);
        let (state, actions) = state.on(event);
        self.state = state;
        match &self.state {
            State::Crashing(exit) | State::Crashed(exit) => self.record.exit = Some(exit.clone()),
            _ => {}
        }
        if !matches!(self.state, State::Checking)
            && let Some(checking) = self.checking.take()
        {
            checking.abort();
        }
        self.publish();
        if healthy {
            let seconds = self.begun.elapsed().as_secs_f64();
            self.node.figures.start_seconds.record(seconds);
            tracing::info!(instance = %self.record.instance, seconds, "instance is healthy");
            self.logs
                .tell(format!("Instance {} is healthy after {seconds:.1} s", self.record.message.index))
                .await;
        }
        self.act(actions).await;
        if matches!(self.state, State::Crashed(_)) {
            self.droplet = None;
        }
    }

    /// Lets others see what is so now.
    fn publish(&mut self) {
        let state = self.state.on_the_bus();
        if self.record.state != state {
            self.record.state = state;
            self.record.state_timestamp = crate::node::now();
        }
        self.record.offset = self.offset.load(Ordering::Relaxed);
        let record = self.record.clone();
        let changed = self.published.send_if_modified(|seen| {
            let changed = *seen != record;
            *seen = record;
            changed
        });
        if changed {
            // The owner that is gone needs no news.
            let _ = self.changes.send(self.record.instance.clone());
        }
    }

    async fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Fetch => self.fetch().await,
                Action::CancelFetch => {
                    if let Some(fetching) = self.fetching.take() {
                        fetching.abort();
                    }
                }
                Action::Prepare => self.prepare(),
                Action::Follow => self.follow(),
                Action::Check => self.check(),
                Action::Find => self.find(),
                Action::Register => self.register().await,
                Action::Unregister => self.unregister(self.record.message.uris.clone()).await,
                Action::TellCrash(exit) => self.tell_crash(&exit).await,
                Action::TellStop => self.tell_stop().await,
                Action::StopContainer => {
                    self.logs.tell(format!("Stopping instance {}", self.record.message.index)).await;
                    self.destroy(Some(StopMode::Graceful), false);
                }
                Action::CleanUp => self.destroy(Some(StopMode::Kill), true),
                Action::Destroy => self.destroy(None, false),
            }
        }
    }

    /// Runs an operation beside the task and feeds what it comes to.
    fn beside(&self, operation: impl Future<Output = Outcome> + Send + 'static) -> JoinHandle<()> {
        let outcomes = self.outcomes_in.clone();
        tokio::spawn(async move {
            let outcome = operation.await;
            // A task that has ended needs no outcome.
            let _ = outcomes.send(outcome);
        })
    }

    async fn fetch(&mut self) {
        self.logs.tell(format!("Starting instance {}", self.record.message.index)).await;
        let (node, message) = (self.node.clone(), self.record.message.clone());
        self.fetching = Some(self.beside(async move {
            match node.droplets.fetch(&message).await {
                Ok(droplet) => Outcome::Fetched(droplet),
                Err(error) => {
                    let why = format!("cannot get the droplet: {}", container::chain(&error));
                    Outcome::Plain(Event::Failed(Exit::without_status(why)))
                }
            }
        }));
    }

    fn prepare(&self) {
        let (node, record) = (self.node.clone(), self.record.clone());
        let directory =
            self.droplet.as_ref().map(|droplet| droplet.directory().to_owned()).unwrap_or_default();
        self.beside(async move {
            match container::prepare(&node, &record, &directory).await {
                Ok(process) => Outcome::Prepared(process),
                Err(exit) => Outcome::Plain(Event::Failed(exit)),
            }
        });
    }

    fn follow(&mut self) {
        let Some(process) = &self.record.process else { return };
        let (logs, handle, job) = (self.logs.clone(), self.handle.clone(), process.job);
        let (offset, limits) = (self.offset.clone(), self.record.message.limits);
        self.following = Some(self.beside(async move {
            Outcome::Plain(Event::Ended(logs::follow(logs, handle, job, offset, limits).await))
        }));
    }

    fn check(&mut self) {
        let Some(process) = &self.record.process else { return };
        let check = Check::of(&self.record.message);
        let limit = self
            .record
            .message
            .health_check_timeout
            .map_or(seconds(self.node.config.health_check_timeout_seconds), Duration::from_secs);
        let address = process.address.clone();
        self.checking = Some(self.beside(async move {
            Outcome::Plain(match check.wait(&address, limit).await {
                Ok(()) => Event::Healthy,
                Err(why) => Event::Unhealthy(Exit::without_status(why)),
            })
        }));
    }

    /// Asks for as long as the warden is away: an instance is not dead because nobody answers.
    fn find(&self) {
        let (node, handle) = (self.node.clone(), self.handle.clone());
        let has_process = self.record.process.is_some();
        self.beside(async move {
            let gone =
                || Event::Ended(Exit::without_status("its container was gone when the node agent came back"));
            Outcome::Plain(loop {
                match node.warden.info(&handle).await {
                    Ok(_) if has_process => break Event::Found,
                    Ok(_) => break gone(),
                    Err(error) if error.is_unknown_handle() => break gone(),
                    Err(error) => {
                        tracing::info!(
                            handle,
                            error = &error as &dyn std::error::Error,
                            "the warden is asked again"
                        );
                    }
                }
                tokio::time::sleep(FIND_PAUSE).await;
            })
        });
    }

    fn destroy(&mut self, stop: Option<StopMode>, keep: bool) {
        let (node, record, handle) = (self.node.clone(), self.record.clone(), self.handle.clone());
        let (following, kept) = (self.following.take(), self.logs.kept());
        self.beside(async move {
            let gathered = if keep { container::gather_logs(&node, &handle).await } else { Vec::new() };
            if let Some(mode) = stop {
                container::stop(&node, &handle, mode).await;
            }
            if let Some(mut following) = following
                && tokio::time::timeout(LAST_OUTPUT, &mut following).await.is_err()
            {
                following.abort();
            }
            if keep {
                container::keep_crash(&node, record, gathered, kept).await;
            }
            container::destroy(&node, &handle).await;
            Outcome::Plain(Event::Destroyed)
        });
    }

    async fn update(&mut self, uris: Vec<String>, version: Option<Version>) {
        let removed: Vec<String> =
            self.record.message.uris.iter().filter(|uri| !uris.contains(uri)).cloned().collect();
        let registered = self.state == State::Running;
        self.record.message.uris = uris;
        if let Some(version) = version {
            self.record.message.version = version;
        }
        self.publish();
        if registered {
            self.unregister(removed).await;
            self.register().await;
        }
    }

    async fn register(&self) {
        if self.state == State::Running
            && let Some(message) = self.route(self.record.message.uris.clone())
        {
            self.node.publish(&message).await;
        }
    }

    async fn unregister(&self, uris: Vec<String>) {
        if let Some(message) = self.route(uris) {
            self.node.publish(&Unregister(message)).await;
        }
    }

    fn route(&self, uris: Vec<String>) -> Option<Register> {
        let address = &self.record.process.as_ref()?.address;
        if uris.is_empty() {
            return None;
        }
        Some(Register {
            host: address.host.clone(),
            port: address.port,
            uris,
            tags: BTreeMap::from([("component".to_owned(), format!("dea-{}", self.node.config.index))]),
            app: Some(self.record.message.droplet.clone()),
            dea: Some(self.node.id.clone()),
            private_instance_id: Some(self.record.instance.clone()),
            private_instance_index: Some(self.record.message.index.to_string()),
            stale_threshold_in_seconds: None,
        })
    }

    async fn tell_crash(&self, exit: &Exit) {
        self.node.figures.crashes.increment(1);
        tracing::info!(
            instance = %self.record.instance,
            app = %self.record.message.droplet,
            status = exit.status,
            description = exit.description,
            "instance crashed"
        );
        self.node.publish(&self.exited(ExitReason::Crashed, exit)).await;
        let status = if exit.status >= 0 { format!(" (status {})", exit.status) } else { String::new() };
        let index = self.record.message.index;
        self.logs.tell(format!("Instance {index} crashed{status}: {}", exit.description)).await;
    }

    async fn tell_stop(&self) {
        let exit = Exit::without_status("stopped");
        self.node.publish(&self.exited(self.stop_reason, &exit)).await;
        self.logs.tell(format!("Instance {} is stopped", self.record.message.index)).await;
    }

    fn exited(&self, reason: ExitReason, exit: &Exit) -> Exited {
        let crashed = reason == ExitReason::Crashed;
        Exited {
            cc_partition: default_partition(),
            droplet: self.record.message.droplet.clone(),
            version: self.record.message.version.clone(),
            instance: self.record.instance.clone(),
            index: self.record.message.index,
            reason,
            exit_status: exit.status,
            exit_description: exit.description.clone(),
            crash_timestamp: crashed.then_some(self.record.state_timestamp),
        }
    }
}
