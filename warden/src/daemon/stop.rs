//! Ending a container's processes.

use super::container::Container;
use super::engine::Engine;
use super::record::Phase;
use super::{END_TIMEOUT, Error, lock};
use crate::wire::Target;
use nix::sys::signal::Signal;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often processes that have been asked to end are looked at again.
const POLL: Duration = Duration::from_millis(20);

/// How long the init may take to tell of the ends of jobs whose processes are gone. It waits a second itself for pipes
/// that somebody may still hold.
const TELL: Duration = Duration::from_secs(3);

/// How processes are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// SIGTERM, some time, SIGKILL.
    Ask,
    /// SIGKILL at once.
    Kill,
}

impl Engine {
    /// Ends every process of a container. A second stop does nothing.
    pub(crate) fn stop(&self, handle: &str, how: How) -> Result<(), Error> {
        let container = self.find(handle)?;
        container.require(&[Phase::Active, Phase::Stopped], "active, stopped")?;
        self.stop_container(&container, how)
    }

    /// Ends every process of a container but its init, and waits until every job has its result.
    pub(crate) fn stop_container(&self, container: &Arc<Container>, how: How) -> Result<(), Error> {
        if how == How::Kill {
            // Not behind another stop that is waiting for processes to end by themselves.
            container.group.kill(container.init_pid(), Duration::ZERO);
        }
        let _turn = lock(&container.turn);
        if container.record().phase != Phase::Active {
            return Ok(());
        }
        // First, so that nothing new is started.
        container.change(&self.journal, |record| record.phase = Phase::Stopped)?;
        self.end_processes(container, how)
    }

    /// The processes alone; the caller has the container's turn.
    pub(crate) fn end_processes(&self, container: &Container, how: How) -> Result<(), Error> {
        let spare = container.init_pid();
        if how == How::Ask
            && let Ok(init) = container.init()
        {
            // An init that does not answer is no reason not to go on.
            if let Err(error) = init.signal(Target::All, Signal::SIGTERM as i32) {
                tracing::warn!(handle = container.handle, %error, "cannot ask processes to end");
            }
            let deadline = Instant::now() + Duration::from_secs(self.config.stop_timeout);
            while Instant::now() < deadline
                && container.group.processes().iter().any(|pid| Some(*pid) != spare)
            {
                std::thread::sleep(POLL);
            }
        }
        let left = container.group.kill(spare, END_TIMEOUT);
        if left > 0 {
            return Err(Error::Left(format!("{left} processes do not end")));
        }
        let jobs: Vec<_> = lock(&container.jobs).values().cloned().collect();
        let told = async {
            for job in jobs {
                job.until_ended().await;
            }
        };
        // One that is not told of keeps nobody from going on.
        let _ = self.runtime.block_on(async { tokio::time::timeout(TELL, told).await });
        Ok(())
    }
}
