//! Which instances a message means.

use cupola_protocol::{
    AppId, InstanceId, Version,
    dea::{FindDroplet, InstanceState, Stop},
};

/// What all given parts of must match.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) app: &'a AppId,
    pub(crate) version: Option<&'a Version>,
    pub(crate) instances: Option<&'a [InstanceId]>,
    pub(crate) indices: Option<&'a [u32]>,
    pub(crate) states: Option<&'a [InstanceState]>,
}

/// What is looked at in an instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) app: &'a AppId,
    pub(crate) version: &'a Version,
    pub(crate) instance: &'a InstanceId,
    pub(crate) index: u32,
    pub(crate) state: InstanceState,
}

impl<'a> From<&'a Stop> for Filter<'a> {
    fn from(stop: &'a Stop) -> Self {
        Self {
            app: &stop.droplet,
            version: stop.version.as_ref(),
            instances: stop.instances.as_deref(),
            indices: stop.indices.as_deref(),
            states: stop.states.as_deref(),
        }
    }
}

impl<'a> From<&'a FindDroplet> for Filter<'a> {
    fn from(find: &'a FindDroplet) -> Self {
        Self {
            app: &find.droplet,
            version: find.version.as_ref(),
            instances: find.instances.as_deref(),
            indices: find.indices.as_deref(),
            states: find.states.as_deref(),
        }
    }
}

impl Filter<'_> {
    /// Whether everything of the app is meant.
    pub(crate) fn is_all_of_app(&self) -> bool {
        self.version.is_none() && self.instances.is_none() && self.indices.is_none() && self.states.is_none()
    }

    /// Whether the instance is meant. A list that is given but empty means none.
    pub(crate) fn matches(&self, candidate: Candidate<'_>) -> bool {
        self.app == candidate.app
            && self.version.is_none_or(|version| version == candidate.version)
            && self.instances.is_none_or(|instances| instances.contains(candidate.instance))
            && self.indices.is_none_or(|indices| indices.contains(&candidate.index))
            && self.states.is_none_or(|states| states.contains(&candidate.state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_given_filters_must_match() {
        let (app, version, instance) = (AppId::new("a"), Version::new("v"), InstanceId::new("i"));
        let candidate = Candidate {
            app: &app,
            version: &version,
            instance: &instance,
            index: 3,
            state: InstanceState::Running,
        };
        let all = Stop { droplet: app.clone(), version: None, instances: None, indices: None, states: None };
        assert!(Filter::from(&all).matches(candidate) && Filter::from(&all).is_all_of_app());
        let good = Stop {
            droplet: app.clone(),
            version: Some(version.clone()),
            instances: Some(vec![instance.clone()]),
            indices: Some(vec![1, 3]),
            states: Some(vec![InstanceState::Running]),
        };
        assert!(Filter::from(&good).matches(candidate) && !Filter::from(&good).is_all_of_app());
        for bad in [
            Stop { droplet: AppId::new("b"), ..good.clone() },
            Stop { version: Some(Version::new("w")), ..good.clone() },
            Stop { instances: Some(vec![]), ..good.clone() },
            Stop { indices: Some(vec![1]), ..good.clone() },
            Stop { states: Some(vec![InstanceState::Crashed]), ..good.clone() },
        ] {
            assert!(!Filter::from(&bad).matches(candidate), "{bad:?}");
        }
    }
}
