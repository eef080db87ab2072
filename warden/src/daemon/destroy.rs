//! Ending a container for good. Every step makes sure that something is absent, the processes first and the journal entry
//! last: it can be begun again at any point, by a later daemon too.

use super::container::Container;
use super::engine::Engine;
use super::net::link;
use super::record::Phase;
use super::stop::How;
use super::{END_TIMEOUT, Error, lock};
use crate::sys::process;
use std::fs;
use std::io;
use std::os::fd::AsFd;
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
        let _turn = match container.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                // Whatever is going on in it comes to an end first.
                container.group.kill(container.init_pid(), Duration::ZERO);
                lock(&container.turn)
            }
        };
        if !Arc::ptr_eq(&self.find(handle)?, &container) {
            return Err(Error::UnknownHandle(handle.to_owned()));
        }
        self.tear_down(&container)
    }

    /// Removes everything of a container. The caller has its turn.
    ///
    /// That it is being destroyed is written down by its first step alone, the end of its init: no daemon takes over a
    /// container without one. Only what cannot be finished now is journaled, to be tried again.
    pub(crate) fn tear_down(&self, container: &Container) -> Result<(), Error> {
        let begun = Instant::now();
        container.record().phase = Phase::Destroyed;
        let removed = self.remove_all(container);
        if let Err(error) = removed {
            if let Err(unwritten) = container.change(&self.journal, |record| record.phase = Phase::Destroyed)
            {
                tracing::warn!(handle = container.handle, error = unwritten.chain(), "journal not written");
            }
            return Err(error);
        }
        self.unregister(container);
        let ms = begun.elapsed().as_millis() as u64;
        tracing::info!(handle = container.handle, id = container.id, ms, "container destroyed");
        Ok(())
    }

    fn remove_all(&self, container: &Container) -> Result<(), Error> {
        self.end_container(container)?;
        container.with_member(|member| self.firewall.remove(member))?;
        if container.subnet.is_some() {
            link::remove(&link::name(&container.id))?;
        }
        container.group.remove(END_TIMEOUT)?;
        let disk = container.record().disk;
        if let Some(disk) = disk {
            self.disks.give_back(disk, &container.directory)?;
        }
        match fs::remove_dir_all(&container.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove the container's directory", &container.directory)(error));
            }
            _ => (),
        }
        self.journal.remove(&container.id)
    }

    /// Ends every process, the init with them.
    fn end_container(&self, container: &Container) -> Result<(), Error> {
        // Clients that wait for a job get its result, which the init must still write, and fetch its output.
        let is_read = || lock(&container.jobs).values().any(|job| job.is_read());
        if is_read() && container.init().is_ok() {
            self.end_processes(container, How::Kill)?;
            let deadline = Instant::now() + READERS;
            while Instant::now() < deadline && is_read() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        container.set_init(None);
        let disk = container.record().disk;
        if let Some(disk) = disk {
            disk.abandon(&container.directory, container.init_pid());
        }
        let deadline = Instant::now() + END_TIMEOUT;
        if let Some(process) = container.process() {
            // With the first process of its pid namespace the kernel ends all others, and it ends last.
            let failed = || Error::io("end the container's init", &container.directory);
            match process::kill(process.as_fd()) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(failed()(error)),
                _ => (),
            }
            if !process::wait_ended(process.as_fd(), deadline).map_err(failed())? {
                return Err(Error::Left("its init does not end".to_owned()));
            }
            container.set_process(None);
        }
        // Without an init that is known, what is in the groups; with one, what may have been put into them from outside.
        match container.group.kill(None, deadline.saturating_duration_since(Instant::now())) {
            0 => Ok(()),
            left => Err(Error::Left(format!("{left} processes do not end"))),
        }
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
