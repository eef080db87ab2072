//! What should run.

use crate::{Config, Moment, config::seconds};
use cupola_protocol::{
    AppId, Version,
    controller::{DesiredApp, DesiredState, PackageState},
};
use std::collections::BTreeMap;

/// The desired state of all apps, as of the last complete read.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    apps: BTreeMap<AppId, Entry>,
    as_of: Option<Moment>,
}

/// One app.
#[derive(Debug, Clone)]
struct Entry {
    app: DesiredApp,
    changed: Moment,
}

/// What is wanted of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// No instance: it is stopped, scaled to nothing, or not known.
    Nothing,
    /// It should run, but has no droplet now: neither start nor stop anything.
    Unclear,
    /// Instances 0 to `instances` − 1 of this version.
    Run {
        /// The version.
        version: Version,
        /// How many.
        instances: u32,
        /// Since when this is wanted, as far as we know.
        since: Moment,
    },
}

impl Desired {
    /// Takes a complete read, which began at `as_of`.
    pub fn replace(&mut self, apps: BTreeMap<AppId, DesiredApp>, as_of: Moment) {
        let old = std::mem::take(&mut self.apps);
        self.apps = apps
            .into_iter()
            .map(|(id, app)| {
                let changed = match old.get(&id) {
                    Some(entry) if same_wish(&entry.app, &app) => entry.changed,
                    _ => as_of,
                };
                (id, Entry { app, changed })
            })
            .collect();
        self.as_of = Some(as_of);
    }

    /// Whether it may be acted on.
    pub fn is_fresh(&self, now: Moment, config: &Config) -> bool {
        self.as_of.is_some_and(|as_of| now.saturating_sub(as_of) <= seconds(config.desired_freshness_seconds))
    }

    /// When the last complete read began.
    pub fn as_of(&self) -> Option<Moment> {
        self.as_of
    }

    /// Whether the last read began after this moment: what was first seen later may be newer than the read.
    pub fn read_after(&self, moment: Moment) -> bool {
        self.as_of.is_some_and(|as_of| as_of > moment)
    }

    /// The apps that are known.
    pub fn ids(&self) -> impl Iterator<Item = &AppId> {
        self.apps.keys()
    }

    /// What is wanted of one app.
    pub fn wanted(&self, app: &AppId) -> Wanted {
        let Some(Entry { app, changed }) = self.apps.get(app) else { return Wanted::Nothing };
        match (app.state, app.package_state, app.instances) {
            (DesiredState::Stopped, _, _) | (DesiredState::Started, _, 0) => Wanted::Nothing,
            (DesiredState::Started, PackageState::Staged, instances) => {
                Wanted::Run { version: app.version.clone(), instances, since: *changed }
            }
            (DesiredState::Started, PackageState::Pending | PackageState::Failed, _) => Wanted::Unclear,
        }
    }
}

fn same_wish(a: &DesiredApp, b: &DesiredApp) -> bool {
    a.version == b.version
        && a.instances == b.instances
        && a.state == b.state
        && a.package_state == b.package_state
}
