//! Ending a container for good. Every step makes sure that something is absent, in the reverse order of creation, the
//! journal entry last: it can be begun again at any point, by a later daemon too.

use super::container::Container;
use super::engine::Engine;
use super::net::link;
use super::record::Phase;
use super::stop::How;
use super::{END_TIMEOUT, Error, lock};
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long clients that wait for a job may take to fetch its output before it is removed.
const READERS: Duration = Duration::from_secs(1);

/// How often what could not be destroyed is tried again.
const RETRY: Duration = Duration::from_secs(10);

impl Engine {
    /// Destroys a container. When that fails it stays registered, and is tried again.
    pub(crate) fn destroy(&self, handle: &str) -> Result<(), Error> {
        let container = self.find(handle)?;
        // Whatever is going on in it comes to an end first.
        container.group.kill(container.init_pid(), Duration::ZERO);
        let _turn = lock(&container.turn);
        if !Arc::ptr_eq(&self.find(handle)?, &container) {
            return Err(Error::UnknownHandle(handle.to_owned()));
        }
        self.tear_down(&container)
    }

    /// Removes everything of a container. The caller has its turn.
    pub(crate) fn tear_down(&self, container: &Container) -> Result<(), Error> {
        let begun = Instant::now();
        container.change(&self.journal, |record| record.phase = Phase::Destroyed)?;
        // The jobs get their results while the init can still write them, and clients that wait get them from there.
        self.end_processes(container, How::Kill)?;
        let deadline = Instant::now() + READERS;
        while Instant::now() < deadline && lock(&container.jobs).values().any(|job| job.is_read()) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let disk = container.record().disk;
        if let Some(disk) = disk {
            disk.abandon(&container.directory, container.init_pid());
        }
        container.set_init(None);
        let left = container.group.kill(None, END_TIMEOUT);
        if left > 0 {
            return Err(Error::Left(format!("{left} processes do not end")));
        }
        container.with_member(|member| self.firewall.remove(member))?;
        link::remove(&link::name(&container.id))?;
        container.group.remove(END_TIMEOUT)?;
        // With the last process went its mounts, and with them the loop device; the kernel does that a moment later.
        if let Some(disk) = disk {
            disk.wait_released(&container.directory, END_TIMEOUT)?;
        }
        match fs::remove_dir_all(&container.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove the container's directory", &container.directory)(error));
            }
            _ => (),
        }
        self.journal.remove(&container.id)?;
        self.unregister(container);
        let ms = begun.elapsed().as_millis() as u64;
        tracing::info!(handle = container.handle, id = container.id, ms, "container destroyed");
        Ok(())
    }

    /// Tries again what could not be destroyed, until the daemon ends.
    pub(crate) async fn retry_destroys(self: Arc<Self>, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_some() {
            let engine = self.clone();
            let retry = move || {
                let half = |container: &Arc<Container>| container.record().phase == Phase::Destroyed;
                for container in engine.all().into_iter().filter(half) {
                    // Somebody has the turn: it is being destroyed right now.
                    let Ok(_turn) = container.turn.try_lock() else { continue };
                    if let Err(error) = engine.tear_down(&container) {
                        tracing::warn!(
                            handle = container.handle,
                            error = error.chain(),
                            "destroy failed again"
                        );
                    }
                }
            };
            if tokio::task::spawn_blocking(retry).await.is_err() {
                tracing::error!("the retry of failed destroys has panicked");
            }
        }
    }
}
