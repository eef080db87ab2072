//! The one task that owns the instances: answers the bus, advertises, beats, keeps the journal.

mod answers;
mod housekeeping;
mod setup;
mod subscriptions;

use crate::{
    Error, OnShutdown,
    config::seconds,
    files,
    filters::Filter,
    instance::{self, Command, Instance, Origin, Record},
    journal::Journal,
    node::Node,
    resources::{Available, Capacity},
    stats::Readings,
};
use cupola_protocol::{
    AppId, DeaId, InstanceId,
    dea::{Advertise, Heartbeat, Hello, InstanceState, Placement, Shutdown},
    droplet::ExitReason,
    router,
};
use cupola_status::{Page, Questions};
use housekeeping::Housekeeping;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use subscriptions::{News, Subscriptions};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

pub use setup::bind;

/// How long instances may take to end with the agent: SIGTERM's 10 s, and some for the destruction.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(20);

/// How long the output of instances that are kept may take to be noted.
const DETACH_PATIENCE: Duration = Duration::from_secs(2);

/// The shortest pace of registrations that a router may ask for.
const SHORTEST_PACE: Duration = Duration::from_secs(1);

/// An agent that listens, ready to run.
pub struct Server {
    node: Arc<Node>,
    journal: Journal,
    subscriptions: Subscriptions,
    left_behind: Vec<Record>,
    stacks: Vec<String>,
    page: Page,
    questions: Questions,
    /// Of the file server.
    listener: TcpListener,
}

impl Server {
    /// Which agent this is.
    pub fn id(&self) -> &DeaId {
        &self.node.id
    }

    /// Where its status page is.
    pub fn status_addr(&self) -> SocketAddr {
        self.page.addr()
    }

    /// Runs until `shutdown`, then ends or leaves its instances as configured.
    ///
    /// # Errors
    /// [`Error::BusClosed`] when the bus is gone for good; [`Error::File`] when the journal cannot be written.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { node, journal, mut subscriptions, left_behind, stacks, listener, page, mut questions } =
            self;
        let _status = page.serve();
        let config = node.config.clone();
        let (changes_in, mut changes) = mpsc::unbounded_channel();
        let (paces_in, mut paces) = mpsc::channel(1);
        let mut housekeeping = Housekeeping::start(node.clone(), stacks);
        let mut core = Core {
            node,
            journal,
            instances: BTreeMap::new(),
            changes: changes_in,
            readings: Arc::new(Readings::default()),
            stacks: housekeeping.stacks(),
            offsets_written: 0,
        };
        for record in left_behind {
            core.begin(record, Origin::Journal);
        }
        let mut files = JoinSet::new();
        // Ends with this function, however that ends.
        files.spawn(files::serve(core.node.clone(), listener));
        let mut heartbeat = every(seconds(config.heartbeat_seconds));
        let mut advertise = every(seconds(config.advertise_seconds));
        let mut register = every(seconds(config.register_seconds));
        let mut note_offsets = every(Duration::from_secs(1));
        let mut connected = core.node.bus.connected();
        connected.mark_changed();
        core.hello().await;

        let result = loop {
            tokio::select! {
                biased;
                // The end comes before all else.
                () = shutdown.cancelled() => break Ok(()),
                // What has changed is written down and told before anything new is taken on.
                change = changes.recv() => {
                    let mut ids: Vec<InstanceId> = change.into_iter().collect();
                    while let Ok(id) = changes.try_recv() {
                        ids.push(id);
                    }
                    core.changed(ids).await?;
                    advertise.reset();
                    heartbeat.reset();
                }
                change = connected.changed() => {
                    if change.is_err() {
                        break Err(Error::BusClosed);
                    }
                    if *connected.borrow_and_update() {
                        core.announce_all().await;
                        answers::ask_for_pace(&core.node, &paces_in);
                    }
                }
                news = subscriptions.next() => match news {
                    None => break Err(Error::BusClosed),
                    Some(News::RouterStart(start)) => {
                        core.register_all().await;
                        set_pace(&mut register, &start);
                    }
                    Some(news) => core.hear(news).await?,
                },
                Some(start) = paces.recv() => set_pace(&mut register, &start),
                _ = heartbeat.tick() => core.beat().await,
                _ = advertise.tick() => core.advertise().await,
                _ = register.tick() => core.register_all().await,
                _ = note_offsets.tick() => core.note_offsets().await?,
                task = housekeeping.next() => core.keep_house(task),
                question = questions.next() => core.examine(question),
            }
        };
        core.end(&mut changes).await?;
        result
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn set_pace(register: &mut Interval, start: &router::Start) {
    let pace = Duration::from_secs(start.minimum_register_interval).max(SHORTEST_PACE);
    if register.period() != pace {
        *register = every(pace);
    }
}

/// What the task owns.
struct Core {
    node: Arc<Node>,
    journal: Journal,
    instances: BTreeMap<InstanceId, Instance>,
    changes: mpsc::UnboundedSender<InstanceId>,
    readings: Arc<Readings>,
    stacks: tokio::sync::watch::Receiver<Vec<String>>,
    /// Sum of the offsets in the journal: offsets only grow, so a sum that has not changed means that none has.
    offsets_written: u64,
}

impl Core {
    fn begin(&mut self, record: Record, origin: Origin) {
        let id = record.instance.clone();
        let instance = instance::start(self.node.clone(), record, origin, self.changes.clone());
        self.instances.insert(id, instance);
    }

    /// Instances have changed: forgets those that are over, then writes the journal and tells.
    async fn changed(&mut self, ids: Vec<InstanceId>) -> Result<(), Error> {
        for id in ids {
            let Some(instance) = self.instances.get(&id) else { continue };
            let record = instance.record().clone();
            if instance.is_over() {
                self.instances.remove(&id);
            } else if record.state == InstanceState::Running {
                // The news of an earlier crash in its place is no longer of use.
                self.forget(|other| other.state == InstanceState::Crashed && other.same_slot(&record));
            }
        }
        self.write_journal().await?;
        self.beat().await;
        self.advertise().await;
        Ok(())
    }

    /// Ends the instances that are meant, as stopped.
    fn forget(&self, meant: impl Fn(&Record) -> bool) {
        for instance in self.instances.values() {
            if meant(&instance.record()) {
                instance.tell(Command::Stop(ExitReason::Stopped));
            }
        }
    }

    fn matching(&self, filter: Filter<'_>) -> Vec<&Instance> {
        self.instances.values().filter(|instance| filter.matches(instance.record().candidate())).collect()
    }

    async fn write_journal(&mut self) -> Result<(), Error> {
        let records: Vec<Record> = self.instances.values().map(Instance::snapshot).collect();
        self.offsets_written = records.iter().map(|record| record.offset).sum();
        let journal = self.journal.clone();
        match tokio::task::spawn_blocking(move || journal.write(records)).await {
            Ok(result) => result,
            // The runtime is being shut down.
            Err(_) => Ok(()),
        }
    }

    /// Writes the journal when output was passed on since it was written.
    async fn note_offsets(&mut self) -> Result<(), Error> {
        let offsets: u64 = self.instances.values().map(Instance::offset).sum();
        if offsets == self.offsets_written { Ok(()) } else { self.write_journal().await }
    }

    fn available(&self) -> Available {
        self.node.capacity.available(self.instances.values().map(|instance| instance.record().reservation()))
    }

    fn reserved(&self) -> Available {
        Capacity::reserved(self.instances.values().map(|instance| instance.record().reservation()))
    }

    fn counts(&self) -> BTreeMap<AppId, u32> {
        let mut counts = BTreeMap::new();
        for instance in self.instances.values() {
            let record = instance.record();
            if record.heartbeat().is_some() && record.state != InstanceState::Crashed {
                *counts.entry(record.message.droplet.clone()).or_default() += 1;
            }
        }
        counts
    }

    async fn beat(&self) {
        let droplets = self.instances.values().filter_map(|instance| instance.record().heartbeat()).collect();
        self.node.publish(&Heartbeat { dea: self.node.id.clone(), droplets }).await;
    }

    async fn advertise(&self) {
        let available = self.available();
        let advertise = Advertise {
            id: self.node.id.clone(),
            stacks: self.stacks.borrow().clone(),
            available_memory: available.memory,
            available_disk: available.disk,
            app_id_to_count: self.counts(),
            placement_properties: Placement { zone: self.node.config.zone.clone() },
            total_memory: Some(self.node.capacity.memory),
            total_disk: Some(self.node.capacity.disk),
        };
        self.node.publish(&advertise).await;
    }

    async fn register_all(&self) {
        self.node.publish(self.node.directory.registration()).await;
        for instance in self.instances.values() {
            instance.tell(Command::Register);
        }
    }

    /// The bus is there, again: everything that others may have missed.
    async fn announce_all(&self) {
        self.advertise().await;
        self.beat().await;
        self.register_all().await;
    }

    fn ip(&self) -> String {
        self.node.config.host.map_or_else(|| "127.0.0.1".to_owned(), |host| host.to_string())
    }

    async fn hello(&self) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.node.publish(&Hello { id: self.node.id.clone(), ip: self.ip(), version }).await;
    }

    /// Says goodbye, and ends or leaves the instances.
    async fn end(&mut self, changes: &mut mpsc::UnboundedReceiver<InstanceId>) -> Result<(), Error> {
        let goodbye = Shutdown {
            id: self.node.id.clone(),
            ip: self.ip(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            app_id_to_count: self.counts(),
        };
        self.node.publish(&goodbye).await;
        self.node.publish(&router::Unregister(self.node.directory.registration().clone())).await;
        let stop = self.node.config.on_shutdown == OnShutdown::Stop;
        let (command, patience) = if stop {
            (Command::Stop(ExitReason::DeaShutdown), SHUTDOWN_PATIENCE)
        } else {
            (Command::Detach, DETACH_PATIENCE)
        };
        for instance in self.instances.values() {
            instance.tell(command.clone());
        }
        let deadline = tokio::time::Instant::now() + patience;
        while self.instances.values().any(|instance| !instance.is_over()) {
            if tokio::time::timeout_at(deadline, changes.recv()).await.is_err() {
                tracing::warn!("some instances have not ended in time, the next start deals with them");
                break;
            }
        }
        if stop {
            self.instances.retain(|_, instance| !instance.is_over());
        }
        self.write_journal().await?;
        // Goodbyes must be on the wire before the process ends; a bus that is away is not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.node.bus.flush()).await;
        Ok(())
    }
}
