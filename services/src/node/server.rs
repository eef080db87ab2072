//! The component: takes up what is there, and answers the bus.

use super::{
    Config, Error,
    answers::{self, Asked, announce, answer},
    config::seconds,
    container,
    figures::{self, Figures},
    instance::{self, Instance, Origin},
    record::{Record, Records},
    shared::{Node, lock},
};
use crate::files;
use cupola_bus::Bus;
use cupola_protocol::ServiceNodeId;
use cupola_status::{Identity, Page, Questions};
use futures::stream::{BoxStream, SelectAll, StreamExt, select_all};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warden_client::Client;

/// Pause between two looks at what keeps the node from making instances: who has just built the stack wants to use it.
const OBSTACLE_PAUSE: Duration = Duration::from_secs(2);

/// Pause between two tries to find leftovers of an earlier node.
const SWEEP_PAUSE: Duration = Duration::from_secs(2);

/// A node that can take requests.
pub struct Server {
    node: Arc<Node>,
    left: Vec<Record>,
    asked: SelectAll<BoxStream<'static, Asked>>,
    page: Page,
    questions: Questions,
}

/// Checks the configuration, opens the data directory, reads the records and subscribes. Warden and stack need not be
/// there yet: the node says so, and announces no capacity.
///
/// # Errors
/// [`Error::Config`] for a key that cannot be used, [`Error::File`] and [`Error::Record`] for the data directory,
/// [`Error::Bus`] when the bus refuses.
pub async fn bind(config: Config, bus: Bus) -> Result<Server, Error> {
    config.validate()?;
    let home = config.data_dir.clone();
    let volumes = home.join("volumes");
    for directory in [&home, &volumes] {
        files::make_directory(directory).map_err(Error::file("make", directory))?;
    }
    let id_file = home.join("id");
    let id = files::load_or_make(&id_file, || ServiceNodeId::generate().to_string())
        .map(ServiceNodeId::from)
        .map_err(Error::file("read or write", &id_file))?;
    let records = Records::open(home.join("instances"))?;
    let left = records.read()?;
    let stacks = rootfs::Store::open(&config.stacks_dir).map_err(Error::Stacks)?;
    let mut asked = Vec::new();
    for engine in &config.engines {
        asked.extend(answers::subscribe(&bus, *engine, &id).await.map_err(Error::Bus)?);
    }
    // From here on nothing that is said to this node is lost.
    bus.flush().await.map_err(Error::Bus)?;
    let identity = Identity {
        name: "service_node",
        kind: "Services-Node",
        index: config.index,
        id: id.to_string(),
        historic: figures::historic,
    };
    let (page, questions) =
        Page::bind(&config.status, identity, &config, &bus).await.map_err(Error::Status)?;
    let node = Node {
        figures: page.figures(Figures::new),
        id,
        warden: Client::new(&config.warden_socket),
        config,
        bus,
        stacks,
        records,
        volumes,
        instances: Mutex::new(BTreeMap::new()),
        changed: Notify::new(),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    tracing::info!(node = %node.id, instances = left.len(), "service node is set up");
    if let Some(obstacle) = node.obstacle() {
        tracing::warn!(obstacle, "service node takes no instances");
    }
    Ok(Server { node: Arc::new(node), left, asked: select_all(asked), page, questions })
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("id", &self.node.id).finish_non_exhaustive()
    }
}

impl Server {
    /// The node's name on the bus.
    pub fn id(&self) -> &ServiceNodeId {
        &self.node.id
    }

    /// Where its status page is.
    pub fn status_addr(&self) -> SocketAddr {
        self.page.addr()
    }

    /// Works until `shutdown`; then the servers are stopped, or left to the next node, as the configuration says.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let _status = self.page.serve();
        let node = self.node;
        for record in self.left.drain(..) {
            let name = record.name.clone();
            let (instance, commands) = Instance::new(record);
            lock(&node.instances).insert(name, instance.clone());
            node.tasks.spawn(instance::run(node.clone(), instance, commands, Origin::Left));
        }
        node.tasks.spawn(sweep(node.clone()));
        let mut tick = interval(seconds(node.config.announce_seconds));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut obstacle = node.obstacle();
        let mut look = interval(OBSTACLE_PAUSE);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let result = loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                _ = look.tick() => {
                    let now = node.obstacle();
                    if now != obstacle {
                        tracing::info!(obstacle = now, "what keeps the node from making instances has changed");
                        announce_all(&node).await;
                        obstacle = now;
                    }
                }
                () = node.changed.notified() => announce_all(&node).await,
                _ = tick.tick() => announce_all(&node).await,
                question = self.questions.next() => {
                    node.tasks.spawn(figures::answer(node.clone(), question));
                }
                asked = self.asked.next() => match asked {
                    Some(asked) => drop(node.tasks.spawn(answer(node.clone(), asked))),
                    // Without an engine there is nothing to be asked, and nothing wrong with it.
                    None if node.config.engines.is_empty() => { shutdown.cancelled().await; break Ok(()) }
                    None => break Err(Error::BusClosed),
                },
            }
        };
        node.shutdown.cancel();
        node.tasks.close();
        node.tasks.wait().await;
        result
    }
}

async fn announce_all(node: &Node) {
    for engine in &node.config.engines {
        announce(node, *engine).await;
    }
}

/// Destroys containers that no record is of: what a killed node was just making.
async fn sweep(node: Arc<Node>) {
    let prefix = node.handle_prefix();
    let handles = loop {
        match node.warden.list().await {
            Ok(handles) => break handles,
            Err(_) => tokio::select! {
                () = sleep(SWEEP_PAUSE) => {}
                () = node.shutdown.cancelled() => return,
            },
        }
    };
    for handle in handles {
        if let Some(name) = handle.strip_prefix(&prefix)
            && node.find(name).is_none()
        {
            tracing::warn!(handle, "a container that nobody knows is destroyed");
            container::destroy(&node, &handle).await;
        }
    }
}
