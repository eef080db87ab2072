//! `vcap.component.*`: says that the component is there, and answers who asks.

use crate::{
    history::{moment, uptime},
    page::Shared,
};
use cupola_bus::Subscription;
use cupola_protocol::component::{Announce, Discover};
use std::sync::Arc;

impl Shared {
    /// What is said at the start; answers say the uptime besides.
    fn announcement(&self) -> Announce {
        Announce {
            kind: self.identity.kind.to_owned(),
            index: self.identity.index,
            uuid: self.uuid(),
            host: self.host.to_string(),
            credentials: vec![self.user.clone(), self.password.clone()],
            start: moment(self.start),
            uptime: None,
        }
    }
}

/// Announces the component whenever the bus is there, and answers questions; until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>, mut discovers: Subscription<Discover>) {
    let mut connected = shared.bus.connected();
    connected.mark_changed();
    loop {
        tokio::select! {
            change = connected.changed() => {
                if change.is_err() {
                    return;
                }
                if *connected.borrow_and_update() {
                    warn_if_lost(shared.bus.publish(&shared.announcement()).await);
                }
            }
            asked = discovers.next() => {
                let Some(asked) = asked else { return };
                let uptime = Some(uptime(shared.begun.elapsed()));
                warn_if_lost(asked.reply(&Announce { uptime, ..shared.announcement() }).await);
            }
        }
    }
}

fn warn_if_lost(sent: Result<(), cupola_bus::Error>) {
    if let Err(error) = sent {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot announce a component");
    }
}
