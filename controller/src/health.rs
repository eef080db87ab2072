//! The health manager's wishes, honoured by rule, and the news of ended instances.

use crate::{
    context::{Context, Shared},
    store::{self, AppRow, CrashRow},
};
use cupola_protocol::{
    dea::Stop,
    droplet::{ExitReason, Exited},
    health::{StartInstance, StopInstance},
    logs::Stream,
};

/// Why a start is not honoured; none when it is.
fn start_refusal(app: Option<&AppRow>, wish: &StartInstance) -> Option<&'static str> {
    match app {
        None => Some("the app is unknown"),
        Some(app) if !app.started() => Some("the app is stopped"),
        Some(app) if app.droplet_guid.is_none() => Some("the app is not staged"),
        Some(app) if app.version() != wish.version => Some("the version is another one"),
        Some(app) if wish.instance_index >= app.instances() => Some("the index is out of range"),
        Some(_) => None,
    }
}

/// Why a stop is honoured; none when it is not.
fn stop_reason(app: Option<&AppRow>, wish: &StopInstance) -> Option<&'static str> {
    match app {
        None => Some("the app is unknown"),
        Some(_) if wish.is_duplicate => Some("it is a duplicate"),
        Some(app) if !app.started() => Some("the app is stopped"),
        Some(app) if app.droplet_guid.is_none() => Some("the app is not staged"),
        Some(app) if app.version() != wish.version => Some("the version is another one"),
        Some(app) if wish.instance_index >= app.instances() => Some("the index is out of range"),
        Some(_) => None,
    }
}

impl Context {
    /// `hm9000.start`.
    pub(crate) async fn start_wished(self: &Shared, wish: &StartInstance) {
        let heard = store::now();
        let app = match store::get::<AppRow>(&self.pool, "apps", wish.droplet.as_str()).await {
            Ok(app) => app,
            // Nothing is done on missing data: the health manager asks again.
            Err(error) => return tracing::warn!(app = %wish.droplet, %error, "cannot read an app"),
        };
        match (start_refusal(app.as_ref(), wish), app) {
            (None, Some(app)) => {
                if self.standings.begin(&wish.droplet, &wish.version, wish.instance_index) {
                    tracing::info!(app = %wish.droplet, index = wish.instance_index, "starting a missing instance");
                    self.place(&app, vec![wish.instance_index], heard);
                }
            }
            (refusal, _) => {
                tracing::info!(app = %wish.droplet, index = wish.instance_index, refusal, "will not start");
            }
        }
    }

    /// `hm9000.stop`.
    pub(crate) async fn stop_wished(&self, wish: &StopInstance) {
        let app = match store::get::<AppRow>(&self.pool, "apps", wish.droplet.as_str()).await {
            Ok(app) => app,
            Err(error) => return tracing::warn!(app = %wish.droplet, %error, "cannot read an app"),
        };
        let Some(reason) = stop_reason(app.as_ref(), wish) else {
            tracing::info!(app = %wish.droplet, instance = %wish.instance_guid, "will not stop");
            return;
        };
        tracing::info!(app = %wish.droplet, instance = %wish.instance_guid, reason, "stopping an extra instance");
        let stop = Stop {
            droplet: wish.droplet.clone(),
            version: None,
            instances: Some(vec![wish.instance_guid.clone()]),
            indices: None,
            states: None,
        };
        if let Err(error) = self.bus.publish(&stop).await {
            tracing::warn!(app = %wish.droplet, %error, "could not stop an extra instance");
        }
    }

    /// `droplet.exited`.
    pub(crate) async fn exited(&self, news: &Exited) {
        let words = match news.reason {
            ExitReason::Crashed => "crashed",
            ExitReason::DeaShutdown => "ended because its node goes",
            ExitReason::DeaEvacuation => "ended because its node is being emptied",
            // As told: the line that said so is in the log already.
            ExitReason::Stopped => return,
        };
        match store::get::<AppRow>(&self.pool, "apps", news.droplet.as_str()).await {
            Ok(Some(app)) if app.version() == news.version => {}
            // A node may report what a deleted app left; nobody reads that log any more.
            Ok(_) => return,
            Err(error) => return tracing::warn!(app = %news.droplet, %error, "cannot read an app"),
        }
        if news.reason == ExitReason::Crashed {
            self.figures.crashed();
            let crash = CrashRow {
                idx: i64::from(news.index),
                version: news.version.to_string(),
                exit_status: i64::from(news.exit_status),
                description: news.exit_description.clone(),
            };
            if let Err(error) = store::record_crash(&self.pool, news.droplet.as_str(), &crash).await {
                tracing::warn!(app = %news.droplet, %error, "cannot record a crash");
            }
        }
        let line = format!(
            "Instance {} {words}, exit status {}: {}",
            news.index, news.exit_status, news.exit_description
        );
        self.log(&news.droplet, Stream::Err, line).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::tests::app;
    use cupola_protocol::{AppId, InstanceId, Version};

    fn start(version: &str, index: u32) -> StartInstance {
        let (droplet, version) = (AppId::new("a"), Version::new(version));
        StartInstance { message_id: String::new(), droplet, version, instance_index: index }
    }

    fn stop(version: &str, index: u32, is_duplicate: bool) -> StopInstance {
        StopInstance {
            message_id: String::new(),
            droplet: AppId::new("a"),
            version: Version::new(version),
            instance_guid: InstanceId::new("i"),
            instance_index: index,
            is_duplicate,
        }
    }

    #[test]
    fn a_start_is_honoured_only_for_a_wanted_index_of_this_version() {
        let good = app();
        assert_eq!(start_refusal(Some(&good), &start("v", 0)), None);
        assert!(start_refusal(None, &start("v", 0)).is_some());
        assert!(start_refusal(Some(&good), &start("w", 0)).is_some());
        assert!(start_refusal(Some(&good), &start("v", 1)).is_some());
        assert!(start_refusal(Some(&AppRow { state: "STOPPED".into(), ..app() }), &start("v", 0)).is_some());
        assert!(start_refusal(Some(&AppRow { droplet_guid: None, ..app() }), &start("v", 0)).is_some());
    }

    #[test]
    fn a_stop_is_honoured_only_for_what_is_not_wanted() {
        let good = app();
        assert_eq!(stop_reason(Some(&good), &stop("v", 0, false)), None);
        assert!(stop_reason(Some(&good), &stop("v", 0, true)).is_some());
        assert!(stop_reason(Some(&good), &stop("w", 0, false)).is_some());
        assert!(stop_reason(Some(&good), &stop("v", 1, false)).is_some());
        assert!(stop_reason(None, &stop("v", 0, false)).is_some());
        assert!(
            stop_reason(Some(&AppRow { state: "STOPPED".into(), ..app() }), &stop("v", 0, false)).is_some()
        );
    }
}
