//! Containers out of memory: the kernel kills one of their processes, we end the others and say why.

use super::container::Container;
use super::engine::Engine;
use super::record::Phase;
use super::stop::How;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What it leaves in the container's events.
const OUT_OF_MEMORY: &str = "out of memory";

/// How often the kernel's counters are looked at. A job's end looks at once.
const PERIOD: Duration = Duration::from_millis(500);

impl Engine {
    /// Looks at every container until the daemon ends.
    pub(crate) async fn watch_memory(self: Arc<Self>, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
            let engine = self.clone();
            let look = move || engine.all().iter().for_each(|container| engine.check_memory(container));
            if tokio::task::spawn_blocking(look).await.is_err() {
                tracing::error!("the memory watch has panicked");
            }
        }
    }

    /// Ends a container that has run out of memory.
    pub(crate) fn check_memory(self: &Arc<Self>, container: &Arc<Container>) {
        let seen =
            |container: &Container| container.record().events.iter().any(|event| event == OUT_OF_MEMORY);
        if container.record().phase != Phase::Active || seen(container) || container.group.oom_kills() == 0 {
            return;
        }
        tracing::info!(handle = container.handle, "container out of memory");
        container.event(&self.journal, OUT_OF_MEMORY);
        let (engine, container) = (self.clone(), container.clone());
        self.runtime.spawn_blocking(move || {
            if let Err(error) = engine.stop_container(&container, How::Kill) {
                tracing::warn!(
                    handle = container.handle,
                    error = error.chain(),
                    "container out of memory not stopped"
                );
            }
        });
    }
}
