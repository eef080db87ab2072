//! What must be looked after now and then: stacks, droplets, crashes, containers that nobody owns.

use super::Core;
use crate::{
    config::seconds,
    instance::{Record, container},
    node::{self, Node},
};
use cupola_protocol::dea::InstanceState;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// How often the store of stacks is read.
const STACKS_PERIOD: Duration = Duration::from_secs(5);

/// How often the warden is asked for containers of ours that nobody owns, as in dea_ng.
const ORPHANS_PERIOD: Duration = Duration::from_secs(600);

/// How soon a warden that does not answer is asked again.
const ORPHANS_RETRY: Duration = Duration::from_secs(5);

/// Something for the owner of the instances to do.
pub(super) enum Task {
    /// The warden has these containers of ours.
    Containers(Vec<String>),
    /// Old things may go.
    Clean,
}

/// The tasks that look after things; they end with this.
pub(super) struct Housekeeping {
    tasks: mpsc::Receiver<Task>,
    stacks: watch::Receiver<Vec<String>>,
    running: [JoinHandle<()>; 3],
}

impl Housekeeping {
    pub(super) fn start(node: Arc<Node>, names: Vec<String>) -> Self {
        let (tasks_in, tasks) = mpsc::channel(1);
        let (names_in, stacks) = watch::channel(names);
        let clean = seconds(node.config.clean_seconds);
        let running = [
            tokio::spawn(watch_stacks(node.clone(), names_in)),
            tokio::spawn(list_containers(node, tasks_in.clone())),
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(clean).await;
                    if tasks_in.send(Task::Clean).await.is_err() {
                        return;
                    }
                }
            }),
        ];
        Self { tasks, stacks, running }
    }

    /// Names of the stacks that this node has, kept up to date.
    pub(super) fn stacks(&self) -> watch::Receiver<Vec<String>> {
        self.stacks.clone()
    }

    /// The next thing to do.
    pub(super) async fn next(&mut self) -> Task {
        match self.tasks.recv().await {
            Some(task) => task,
            // The senders live as long as this.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        for task in &self.running {
            task.abort();
        }
    }
}

async fn watch_stacks(node: Arc<Node>, names: watch::Sender<Vec<String>>) {
    loop {
        tokio::time::sleep(STACKS_PERIOD).await;
        let stacks = node.stacks.clone();
        let Ok(now) = tokio::task::spawn_blocking(move || stack_names(&stacks)).await else { return };
        names.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }
}

/// Names of the stacks that can be used.
pub(super) fn stack_names(stacks: &rootfs::Store) -> Vec<String> {
    match stacks.list() {
        Ok(entries) => {
            entries.into_iter().filter(|entry| entry.stack.is_ok()).map(|entry| entry.name).collect()
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot read the stacks");
            Vec::new()
        }
    }
}

async fn list_containers(node: Arc<Node>, tasks: mpsc::Sender<Task>) {
    let prefix = node.handle_prefix();
    loop {
        let pause = match node.warden.list().await {
            Ok(handles) => {
                let ours = handles.into_iter().filter(|handle| handle.starts_with(&prefix)).collect();
                if tasks.send(Task::Containers(ours)).await.is_err() {
                    return;
                }
                ORPHANS_PERIOD
            }
            Err(error) => {
                tracing::info!(error = &error as &dyn std::error::Error, "the warden does not answer");
                ORPHANS_RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

impl Core {
    pub(super) fn keep_house(&self, task: Task) {
        match task {
            Task::Containers(handles) => self.destroy_orphans(handles),
            Task::Clean => self.clean(),
        }
    }

    /// Destroys containers of ours that no instance owns. Instances are known before their containers are made,
    /// so a container in an older list that has no owner now never gets one.
    fn destroy_orphans(&self, handles: Vec<String>) {
        let owned: Vec<String> = self.instances.keys().map(|id| self.node.handle(id)).collect();
        for handle in handles.into_iter().filter(|handle| !owned.contains(handle)) {
            tracing::warn!(handle, "destroys a container that nobody owns");
            let node = self.node.clone();
            tokio::spawn(async move { container::destroy(&node, &handle).await });
        }
    }

    fn clean(&self) {
        self.readings.expire();
        let now = node::now();
        let lifetime = self.node.config.crash_lifetime_seconds;
        self.forget(|record: &Record| {
            record.state == InstanceState::Crashed && now - record.state_timestamp > lifetime
        });
        let node = self.node.clone();
        tokio::task::spawn_blocking(move || {
            let config = &node.config;
            let unused = seconds(config.droplet_unused_seconds);
            let now = SystemTime::now();
            if let Err(error) = node.droplets.collect(config.droplet_budget_mb.bytes(), unused, now) {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot collect unused droplets");
            }
            if let Err(error) = node.crashes.expire(config.crash_lifetime_seconds, node::now()) {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot remove old crashes");
            }
        });
    }
}
