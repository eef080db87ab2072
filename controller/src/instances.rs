//! How the instances of an app stand, for its developer: what nodes answer, joined with what the controller
//! knows of those that no node has.

use crate::{
    context::Context,
    store::{self, AppRow, CrashRow},
};
use cupola_protocol::{
    AppId, Version,
    api::{InstancePort, InstanceStats, InstanceStatus, InstanceUsage},
    dea::{FindDroplet, FoundDroplet, InstanceState},
    message::Subject,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard},
};

/// What the controller knows of an index that no node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A node is being looked for.
    Placing,
    /// None was found, for this reason.
    NotPlaced(String),
}

/// The indices of one version of an app.
type Indices = (Version, BTreeMap<u32, Standing>);

/// [`Standing`]s by app and index, of one version each.
#[derive(Debug, Default)]
pub(crate) struct Standings(Mutex<HashMap<AppId, Indices>>);

impl Standings {
    fn all(&self) -> MutexGuard<'_, HashMap<AppId, Indices>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Marks an index as being placed; says whether it was not.
    pub(crate) fn begin(&self, app: &AppId, version: &Version, index: u32) -> bool {
        let mut all = self.all();
        let (known, indices) = all.entry(app.clone()).or_insert_with(|| (version.clone(), BTreeMap::new()));
        if known != version {
            *known = version.clone();
            indices.clear();
        }
        indices.insert(index, Standing::Placing) != Some(Standing::Placing)
    }

    /// Ends the placing of an index, well or with a reason.
    pub(crate) fn end(&self, app: &AppId, version: &Version, index: u32, problem: Option<String>) {
        let mut all = self.all();
        let Some((known, indices)) = all.get_mut(app) else { return };
        if known == version {
            match problem {
                Some(problem) => drop(indices.insert(index, Standing::NotPlaced(problem))),
                None => drop(indices.remove(&index)),
            }
            if indices.is_empty() {
                all.remove(app);
            }
        }
    }

    pub(crate) fn of(&self, app: &AppId, version: &Version) -> BTreeMap<u32, Standing> {
        match self.all().get(app) {
            Some((known, indices)) if known == version => indices.clone(),
            _ => BTreeMap::new(),
        }
    }

    pub(crate) fn forget(&self, app: &AppId) {
        self.all().remove(app);
    }

    pub(crate) fn retain(&self, apps: &HashSet<AppId>) {
        self.all().retain(|app, _| apps.contains(app));
    }
}

impl Context {
    /// How each index of an app stands.
    pub(crate) async fn instances(&self, app: &AppRow) -> store::Result<Vec<InstanceStats>> {
        let crashes = store::crashes(&self.pool, &app.guid).await?;
        let standings = self.standings.of(&app.id(), &app.version());
        let found = if app.started() { self.find(app).await } else { Vec::new() };
        Ok(join(app, found, &crashes, &standings))
    }

    async fn find(&self, app: &AppRow) -> Vec<FoundDroplet> {
        let question = FindDroplet {
            droplet: app.id(),
            version: Some(app.version()),
            instances: None,
            indices: None,
            states: None,
            include_stats: true,
            path: None,
        };
        let subject = Subject::of::<FindDroplet>();
        let replies = match self.bus.request_replies(&subject, &question).await {
            Ok(replies) => replies,
            Err(error) => {
                tracing::warn!(app = %app.guid, %error, "could not ask the nodes for instances");
                return Vec::new();
            }
        };
        let wanted = app.instances() as usize;
        let all = |found: &[FoundDroplet]| {
            let alive =
                found.iter().filter(|one| one.state != InstanceState::Crashed && one.index < app.instances());
            alive.map(|one| one.index).collect::<HashSet<_>>().len() >= wanted
        };
        if wanted == 0 {
            return Vec::new();
        }
        replies.collect(self.config.find_timeout(), all).await
    }
}

/// How good news an answer is: several nodes may answer for one index.
fn rank(state: InstanceState) -> u32 {
    match state {
        InstanceState::Running => 6,
        InstanceState::Evacuating => 5,
        InstanceState::Starting | InstanceState::Born | InstanceState::Resuming => 4,
        InstanceState::Stopping => 3,
        InstanceState::Crashed => 2,
        InstanceState::Stopped => 1,
    }
}

fn status(state: InstanceState) -> InstanceStatus {
    match state {
        InstanceState::Running | InstanceState::Evacuating => InstanceStatus::Running,
        InstanceState::Starting | InstanceState::Born | InstanceState::Resuming => InstanceStatus::Starting,
        InstanceState::Stopping => InstanceStatus::Stopping,
        InstanceState::Crashed => InstanceStatus::Crashed,
        InstanceState::Stopped => InstanceStatus::Down,
    }
}

/// Joins what is known into one answer per index.
fn join(
    app: &AppRow,
    found: Vec<FoundDroplet>,
    crashes: &[CrashRow],
    standings: &BTreeMap<u32, Standing>,
) -> Vec<InstanceStats> {
    let mut best: BTreeMap<u32, FoundDroplet> = BTreeMap::new();
    for one in found.into_iter().filter(|one| one.version.as_str() == app.version) {
        if best.get(&one.index).is_none_or(|other| rank(other.state) < rank(one.state)) {
            best.insert(one.index, one);
        }
    }
    let crash = |index: u32| {
        crashes
            .iter()
            .find(|crash| crash.idx == i64::from(index) && crash.version == app.version)
            .map(|crash| format!("crashed with exit status {}: {}", crash.exit_status, crash.description))
    };
    (0..app.instances())
        .map(|index| {
            let one = best.remove(&index);
            let (state, details) = match (&one, standings.get(&index)) {
                (Some(one), _) if one.state != InstanceState::Crashed => (status(one.state), None),
                (_, Some(Standing::Placing)) => (InstanceStatus::Starting, None),
                (_, Some(Standing::NotPlaced(problem))) => (InstanceStatus::Down, Some(problem.clone())),
                (Some(one), None) => {
                    (InstanceStatus::Crashed, crash(index).or_else(|| one.exit_description.clone()))
                }
                // Without details: it comes, or comes back. With details, nobody found a place for it.
                (None, None) => match crash(index).filter(|_| app.started()) {
                    Some(details) => (InstanceStatus::Crashed, Some(details)),
                    None => (InstanceStatus::Down, None),
                },
            };
            present(app, index, state, details, one)
        })
        .collect()
}

fn present(
    app: &AppRow,
    index: u32,
    state: InstanceStatus,
    details: Option<String>,
    one: Option<FoundDroplet>,
) -> InstanceStats {
    let stats = one.and_then(|one| one.stats);
    InstanceStats {
        kind: "web".to_owned(),
        index,
        state,
        host: stats.as_ref().map(|stats| stats.host.clone()),
        instance_ports: stats
            .iter()
            // The port inside is the one that the app is told in PORT: nodes use the historic 8080.
            .map(|stats| InstancePort { external: stats.port, internal: 8080 })
            .collect(),
        uptime: stats.as_ref().map_or(0, |stats| stats.uptime),
        mem_quota: Some(stats.as_ref().map_or(app.memory().bytes(), |stats| stats.mem_quota)),
        disk_quota: Some(stats.as_ref().map_or(app.disk().bytes(), |stats| stats.disk_quota)),
        fds_quota: stats.as_ref().map_or(0, |stats| stats.fds_quota),
        log_rate_limit: Some(-1),
        isolation_segment: None,
        details,
        routable: Some(state == InstanceStatus::Running),
        usage: stats.map(|stats| InstanceUsage {
            time: stats.usage.time,
            cpu: stats.usage.cpu,
            mem: stats.usage.mem,
            disk: stats.usage.disk,
            log_rate: 0,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::tests::app;
    use cupola_protocol::{DeaId, InstanceId};

    fn found(index: u32, state: InstanceState) -> FoundDroplet {
        FoundDroplet {
            dea: DeaId::new("d"),
            droplet: AppId::new("a"),
            version: Version::new("v"),
            instance: InstanceId::generate(),
            index,
            state,
            state_timestamp: 0.0,
            stats: None,
            exit_description: Some("from the node".to_owned()),
            staged: None,
            file_uri_v2: None,
            file_uri_direct: None,
        }
    }

    #[test]
    fn every_index_has_one_answer_and_the_best_news_wins() {
        let app = AppRow { instances: 5, ..app() };
        let crashes = [CrashRow { idx: 3, version: "v".into(), exit_status: 1, description: "boom".into() }];
        let standings = BTreeMap::from([(2, Standing::NotPlaced("full".to_owned()))]);
        let answers = vec![
            found(0, InstanceState::Crashed),
            found(0, InstanceState::Running),
            found(1, InstanceState::Crashed),
            found(9, InstanceState::Running),
            FoundDroplet { version: Version::new("old"), ..found(4, InstanceState::Running) },
        ];
        let joined = join(&app, answers, &crashes, &standings);
        let states: Vec<_> = joined.iter().map(|one| one.state).collect();
        use InstanceStatus::{Crashed, Down, Running};
        assert_eq!(states, [Running, Crashed, Down, Crashed, Down]);
        assert_eq!(joined[1].details.as_deref(), Some("from the node"));
        assert_eq!(joined[2].details.as_deref(), Some("full"));
        assert_eq!(joined[3].details.as_deref(), Some("crashed with exit status 1: boom"));
    }

    #[test]
    fn a_standing_belongs_to_its_version() {
        let standings = Standings::default();
        let (app, old, new) = (AppId::new("a"), Version::new("1"), Version::new("2"));
        assert!(standings.begin(&app, &old, 0));
        assert!(!standings.begin(&app, &old, 0));
        assert!(standings.begin(&app, &new, 0));
        standings.end(&app, &old, 0, Some("late".to_owned()));
        assert_eq!(standings.of(&app, &new), BTreeMap::from([(0, Standing::Placing)]));
        standings.end(&app, &new, 0, None);
        assert!(standings.all().is_empty());
    }
}
