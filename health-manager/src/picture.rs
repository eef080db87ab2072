//! The difference of the two states in figures, as HM9000 gave them out. Pure.

use crate::{
    Config, Moment,
    actual::{Actual, Seen},
    desired::{Desired, Wanted},
};
use cupola_protocol::{
    AppId,
    dea::InstanceState::{self, Crashed, Running},
};
use std::collections::BTreeSet;

/// How many of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Picture {
    /// Apps that should run.
    pub desired_apps: u32,
    /// Instances that should run.
    pub desired_instances: u32,
    /// Instances that run, wanted or not.
    pub running_instances: u32,
    /// Wanted indices that no agent reports.
    pub missing_instances: u32,
    /// Wanted indices of which only a crash is reported.
    pub crashed_instances: u32,
    /// Reported instances that should not run.
    pub extra_instances: u32,
    /// Apps of which a wanted index is missing or crashed.
    pub incomplete_apps: u32,
}

impl Picture {
    /// The figures now; none when either state is stale, since they would be wrong.
    pub fn of(desired: &Desired, actual: &Actual, now: Moment, config: &Config) -> Option<Self> {
        if !desired.is_fresh(now, config) || !actual.is_fresh(now, config) {
            return None;
        }
        let by_app = actual.by_app();
        let apps: BTreeSet<&AppId> = desired.ids().chain(by_app.keys().copied()).collect();
        let mut picture = Self::default();
        for app in apps {
            let seen = by_app.get(app).map(Vec::as_slice).unwrap_or_default();
            picture.running_instances += count(seen, |seen| seen.beat.state == Running);
            match desired.wanted(app) {
                Wanted::Unclear => {}
                Wanted::Nothing => picture.extra_instances += count(seen, alive),
                Wanted::Run { version, instances, .. } => {
                    let current = |seen: &Seen| seen.beat.version == version && seen.beat.index < instances;
                    let states = |index: u32| -> Vec<InstanceState> {
                        let here = seen.iter().filter(|seen| current(seen) && seen.beat.index == index);
                        here.map(|seen| seen.beat.state).collect()
                    };
                    let missing = (0..instances).filter(|index| states(*index).is_empty()).count() as u32;
                    let only_crashed =
                        |states: &[InstanceState]| !states.is_empty() && states.iter().all(|s| *s == Crashed);
                    let crashed = (0..instances).filter(|index| only_crashed(&states(*index))).count() as u32;
                    picture.desired_apps += 1;
                    picture.desired_instances += instances;
                    picture.missing_instances += missing;
                    picture.crashed_instances += crashed;
                    picture.incomplete_apps += u32::from(missing + crashed > 0);
                    picture.extra_instances += count(seen, |seen| alive(seen) && !current(seen));
                }
            }
        }
        Some(picture)
    }
}

fn alive(seen: &Seen) -> bool {
    seen.beat.state != Crashed
}

fn count(seen: &[&Seen], counts: impl Fn(&Seen) -> bool) -> u32 {
    seen.iter().filter(|seen| counts(seen)).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_protocol::{
        DeaId, InstanceId, Mebibytes, Version,
        controller::{DesiredApp, DesiredState, PackageState},
        dea::{Heartbeat, InstanceHeartbeat, default_partition},
    };
    use std::time::Duration;

    fn app(id: &str, instances: u32, state: DesiredState) -> (AppId, DesiredApp) {
        let app = DesiredApp {
            id: AppId::new(id),
            version: Version::new("v"),
            instances,
            memory: Mebibytes(64),
            state,
            package_state: PackageState::Staged,
            updated_at: String::new(),
        };
        (app.id.clone(), app)
    }

    fn beat(app: &str, version: &str, index: u32, state: InstanceState) -> InstanceHeartbeat {
        InstanceHeartbeat {
            cc_partition: default_partition(),
            droplet: AppId::new(app),
            version: Version::new(version),
            instance: InstanceId::generate(),
            index,
            state,
            state_timestamp: 0.0,
        }
    }

    #[test]
    fn every_instance_is_what_it_is_once() {
        let config = Config { settle_seconds: 0.0, ..Config::default() };
        let now = Duration::from_secs(10);
        let (mut desired, mut actual) = (Desired::default(), Actual::default());
        assert_eq!(Picture::of(&desired, &actual, now, &config), None, "nothing is known yet");
        desired.replace(
            [app("a", 4, DesiredState::Started), app("stopped", 1, DesiredState::Stopped)].into(),
            now,
        );
        actual.listen(now);
        let droplets = vec![
            beat("a", "v", 0, Running),
            beat("a", "v", 1, Crashed),
            beat("a", "v", 2, InstanceState::Starting),
            beat("a", "old", 0, Running),
            beat("a", "v", 9, Running),
            beat("stopped", "v", 0, Running),
            beat("unknown", "v", 0, Running),
            beat("unknown", "v", 1, Crashed),
        ];
        actual.heartbeat(&Heartbeat { dea: DeaId::new("d"), droplets }, now);
        let picture = Picture::of(&desired, &actual, now, &config).expect("both states are fresh");
        let wanted = Picture {
            desired_apps: 1,
            desired_instances: 4,
            running_instances: 5,
            missing_instances: 1,
            crashed_instances: 1,
            extra_instances: 4,
            incomplete_apps: 1,
        };
        assert_eq!(picture, wanted);
        let later = now + Duration::from_secs(1000);
        assert_eq!(Picture::of(&desired, &actual, later, &config), None, "stale figures are none");
    }
}
