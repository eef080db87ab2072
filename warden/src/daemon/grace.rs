//! Grace: a container that no open connection has referred to for some time is destroyed.

use super::container::Container;
use super::engine::Engine;
use super::{Error, lock};
use cupola_protocol::warden::GRACE_NEVER;
use std::sync::Arc;
use std::time::Duration;

/// A connection's hold on a container.
#[derive(Debug)]
pub(crate) struct Reference {
    engine: Arc<Engine>,
    container: Arc<Container>,
}

impl Reference {
    /// Which container.
    pub(crate) fn handle(&self) -> &str {
        &self.container.handle
    }

    /// Whether the container is still registered.
    pub(crate) fn is_current(&self) -> bool {
        self.engine.find(&self.container.handle).is_ok_and(|found| Arc::ptr_eq(&found, &self.container))
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let left = {
            let mut references = lock(&self.container.references);
            references.0 -= 1;
            references.1 += 1;
            references.0
        };
        if left == 0 {
            self.engine.start_grace(&self.container);
        }
    }
}

impl Engine {
    /// Holds a container for a connection.
    pub(crate) fn refer(self: &Arc<Self>, handle: &str) -> Option<Reference> {
        let container = self.find(handle).ok()?;
        let mut references = lock(&container.references);
        references.0 += 1;
        references.1 += 1;
        drop(references);
        Some(Reference { engine: self.clone(), container })
    }

    /// Destroys the container when its grace time has passed without a new reference.
    pub(crate) fn start_grace(self: &Arc<Self>, container: &Arc<Container>) {
        let grace = container.record().grace_time;
        if grace == GRACE_NEVER {
            return;
        }
        let begun = lock(&container.references).1;
        let (engine, container) = (self.clone(), container.clone());
        self.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_secs(grace.into())).await;
            if *lock(&container.references) != (0, begun) {
                return;
            }
            let destroy = move || {
                // Another container may have the handle by now.
                let same = engine.find(&container.handle).is_ok_and(|found| Arc::ptr_eq(&found, &container));
                match same.then(|| engine.destroy(&container.handle)) {
                    None | Some(Ok(()) | Err(Error::UnknownHandle(_))) => (),
                    Some(Err(error)) => {
                        tracing::warn!(
                            handle = container.handle,
                            error = error.chain(),
                            "destroy after grace failed"
                        );
                    }
                }
            };
            let _ = tokio::task::spawn_blocking(destroy).await;
        });
    }
}
