//! What the agent answers to what it hears.

use super::{Core, subscriptions::News};
use crate::{
    Error,
    crashes::Crash,
    droplets,
    figures::{self, Seen},
    filters::{Candidate, Filter},
    instance::{Command, Origin, Record, container::chain},
    node::{self, Node},
    stats::Readings,
};
use cupola_bus::Incoming;
use cupola_protocol::{
    InstanceId, Mebibytes, Subject,
    dea::{
        DeaStatus, FindDroplet, FoundDroplet, InstanceState, Start, StartReply, StatusRequest, Stop, Update,
    },
    droplet::ExitReason,
    router,
};
use cupola_status::Question;
use futures::future::join_all;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// How long a router may take to tell its pace.
const GREET_TIMEOUT: Duration = Duration::from_secs(5);

impl Core {
    /// Acts on one thing heard.
    pub(super) async fn hear(&mut self, news: News) -> Result<(), Error> {
        match news {
            News::Start(start) => self.start(*start).await?,
            News::Stop(stop) => self.stop(&stop),
            News::Update(update) => self.update(&update),
            News::Find(find) => self.find(find),
            News::Status(asked) => self.status(asked),
            News::Locate => self.advertise().await,
            News::RouterStart(_) => self.register_all().await,
            News::HealthManagerStarted => self.beat().await,
        }
        Ok(())
    }

    /// Accepts an instance, or refuses with the reason; a refusal makes no instance and no exit.
    async fn start(&mut self, start: Incoming<Start>) -> Result<(), Error> {
        let dea = self.node.id.clone();
        let reply = match self.refusal(&start.message) {
            Some(error) => {
                tracing::info!(app = %start.message.droplet, index = start.message.index, error, "refuses a start");
                self.node.figures.refusals.increment(1);
                StartReply { dea, instance: None, error: Some(error) }
            }
            None => {
                let record = Record::new(start.message.clone(), node::now());
                let instance = record.instance.clone();
                tracing::info!(app = %record.message.droplet, index = record.message.index, %instance, "accepts a start");
                self.node.figures.starts.increment(1);
                self.begin(record, Origin::New);
                self.write_journal().await?;
                StartReply { dea, instance: Some(instance), error: None }
            }
        };
        warn_if_lost(start.reply(&reply).await);
        Ok(())
    }

    fn refusal(&self, message: &Start) -> Option<String> {
        let stacks = self.stacks.borrow();
        if !stacks.contains(&message.stack) {
            let known = if stacks.is_empty() { "none".to_owned() } else { stacks.join(", ") };
            let stack = &message.stack;
            return Some(format!(
                "this node has no stack {stack:?} (it has {known}): build it with cupola stack build"
            ));
        }
        if let Err(error) = droplets::check(message) {
            return Some(error.to_string());
        }
        let limits = message.limits;
        if limits.mem == Mebibytes(0) || limits.disk == Mebibytes(0) {
            return Some("an instance needs a memory and a disk limit above 0".to_owned());
        }
        for rule in &message.egress_network_rules {
            if let Err(error) = crate::egress::requests("", rule) {
                return Some(error.to_string());
            }
        }
        self.node.capacity.admit(self.available(), limits.mem, limits.disk).err().map(|error| chain(&error))
    }

    fn stop(&self, stop: &Stop) {
        let filter = Filter::from(stop);
        for instance in self.matching(filter) {
            instance.tell(Command::Stop(ExitReason::Stopped));
        }
        if filter.is_all_of_app() {
            // That is an app's end, and of what it has left.
            let (node, app) = (self.node.clone(), stop.droplet.clone());
            tokio::task::spawn_blocking(move || {
                if let Err(error) = node.crashes.forget_app(&app) {
                    tracing::warn!(%app, error = &error as &dyn std::error::Error, "cannot forget crashes");
                }
            });
        }
    }

    fn update(&self, update: &Update) {
        let all =
            Filter { app: &update.droplet, version: None, instances: None, indices: None, states: None };
        for instance in self.matching(all) {
            instance.tell(Command::Update { uris: update.uris.clone(), version: update.version.clone() });
        }
    }

    /// Answers once for each matching instance. Figures are read beside: the warden may take its time.
    fn find(&self, find: Incoming<FindDroplet>) {
        let filter = Filter::from(&find.message);
        let records: Vec<Record> =
            self.matching(filter).into_iter().map(|instance| instance.record().clone()).collect();
        // Those whose place was taken again are news for nobody but who asks for them.
        let asked = find.message.instances.is_some()
            || find.message.states.as_ref().is_some_and(|states| states.contains(&InstanceState::Crashed));
        let crashes = self.node.crashes.matching(|crash| {
            asked && filter.matches(crash.candidate()) && !self.instances.contains_key(&crash.instance)
        });
        let (node, readings) = (self.node.clone(), self.readings.clone());
        tokio::spawn(async move {
            for crash in &crashes {
                warn_if_lost(find.reply(&found_crash(&node, &find.message, crash)).await);
            }
            join_all(records.iter().map(|record| async {
                let stats = match find.message.include_stats {
                    true => readings.stats(&node, record).await,
                    false => None,
                };
                let found = FoundDroplet {
                    stats,
                    state: record.state,
                    state_timestamp: record.state_timestamp,
                    exit_description: record.exit.as_ref().map(|exit| exit.description.clone()),
                    ..found(&node, &find.message, &record.instance, &record.candidate())
                };
                warn_if_lost(find.reply(&found).await);
            }))
            .await;
        });
    }

    /// Answers the status page.
    pub(super) fn examine(&self, question: Question) {
        let seen = Seen {
            records: self.instances.values().map(|instance| instance.record().clone()).collect(),
            reserved: self.reserved(),
            stacks: self.stacks.borrow().len(),
        };
        tokio::spawn(figures::answer(self.node.clone(), self.readings.clone(), seen, question));
    }

    fn status(&self, asked: Incoming<StatusRequest>) {
        let (node, readings, ip) = (self.node.clone(), self.readings.clone(), self.ip());
        let reserved_memory = self.reserved().memory;
        let records: Vec<Record> =
            self.instances.values().map(|instance| instance.record().clone()).collect();
        tokio::spawn(async move {
            let status = DeaStatus {
                id: node.id.clone(),
                ip,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                max_memory: node.capacity.memory,
                reserved_memory,
                used_memory: used_memory(&node, &readings, &records).await,
            };
            warn_if_lost(asked.reply(&status).await);
        });
    }
}

/// What is the same for every answer: who, and where its files are.
fn found(node: &Node, asked: &FindDroplet, instance: &InstanceId, candidate: &Candidate<'_>) -> FoundDroplet {
    let addresses = asked.path.as_ref().map(|path| node.directory.addresses(instance, path, node::now()));
    FoundDroplet {
        dea: node.id.clone(),
        droplet: candidate.app.clone(),
        version: candidate.version.clone(),
        instance: instance.clone(),
        index: candidate.index,
        state: candidate.state,
        state_timestamp: 0.0,
        stats: None,
        exit_description: None,
        staged: asked.path.as_ref().map(|_| format!("/{instance}")),
        file_uri_v2: addresses.as_ref().map(|addresses| addresses.public.clone()),
        file_uri_direct: addresses.map(|addresses| addresses.direct),
    }
}

fn found_crash(node: &Node, asked: &FindDroplet, crash: &Crash) -> FoundDroplet {
    FoundDroplet {
        state_timestamp: crash.timestamp,
        exit_description: Some(crash.exit.description.clone()),
        ..found(node, asked, &crash.instance, &crash.candidate())
    }
}

async fn used_memory(node: &Node, readings: &Readings, records: &[Record]) -> Mebibytes {
    let stats = join_all(records.iter().map(|record| readings.stats(node, record))).await;
    let bytes = stats.into_iter().flatten().map(|stats| stats.usage.mem.0).sum();
    cupola_protocol::Bytes(bytes).mebibytes()
}

/// Asks the routers for their pace; without routers there is no answer, and they tell it when they come.
pub(super) fn ask_for_pace(node: &Arc<Node>, paces: &mpsc::Sender<router::Start>) {
    let (node, paces) = (node.clone(), paces.clone());
    tokio::spawn(async move {
        let subject = Subject::of::<router::Greet>();
        if let Ok(start) = node.bus.request(&subject, &router::Greet {}, GREET_TIMEOUT).await {
            // The agent that has ended needs no pace.
            let _ = paces.send(start).await;
        }
    });
}

fn warn_if_lost(sent: Result<(), cupola_bus::Error>) {
    if let Err(error) = sent {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot answer");
    }
}
