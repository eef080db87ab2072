//! Containers out of memory: the kernel kills one of their processes, we end the others and say why.
//!
//! The kernel's counter of kills says whether it has happened; when to look at it the kernel tells, without a thread or a
//! timer for any container: on cgroup v1 through an eventfd of `memory.oom_control`, on v2 through one inotify for the
//! `memory.events` of all. The end of a job looks too, before its result is told. A slow round of looks remains, since a
//! notice that was lost must not leave a container half alive.

mod victim;

use super::container::Container;
use super::engine::Engine;
use super::record::Phase;
use super::stop::How;
use super::{Error, lock};
use crate::sys::watch;
use crate::wire::{Exit, JobEnd};
use cupola_protocol::warden as wire;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What it leaves in the container's events.
const OUT_OF_MEMORY: &str = "out of memory";

/// How often the counters are looked at without a notice.
const PERIOD: Duration = Duration::from_secs(10);

/// After a notice: the kernel may tell before it has killed and counted, and the end of the job that was killed comes a
/// little later and says more.
const LOOKS: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(500),
];

/// What is known of it. Kept in the container's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OutOfMemory {
    /// Bytes; `None` where the container had no limit of its own.
    limit_bytes: Option<u64>,
    peak_bytes: Option<u64>,
    victim_job: Option<u32>,
    victim: Option<String>,
    victim_bytes: Option<u64>,
    /// Seconds since the epoch.
    at: u64,
}

impl From<OutOfMemory> for wire::OutOfMemory {
    fn from(seen: OutOfMemory) -> Self {
        wire::OutOfMemory {
            limit_bytes: seen.limit_bytes,
            peak_bytes: seen.peak_bytes,
            victim_job: seen.victim_job,
            victim: seen.victim,
            victim_bytes: seen.victim_bytes,
            at: Some(seen.at),
        }
    }
}

/// The notices of cgroup v2.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    /// `None` on v1.
    inotify: Option<Inotify>,
    watched: Mutex<HashMap<WatchDescriptor, Weak<Container>>>,
}

impl MemoryWatch {
    /// Prepared to be told of containers.
    pub(crate) fn new(v2: bool) -> Result<Self, Error> {
        let make = || Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        let failed = |errno: nix::Error| {
            Error::io("watch cgroups (fs.inotify.max_user_instances)", Path::new("memory.events"))(
                errno.into(),
            )
        };
        let inotify = v2.then(make).transpose().map_err(failed)?;
        Ok(MemoryWatch { inotify, watched: Mutex::default() })
    }

    fn add(&self, inotify: &Inotify, container: &Arc<Container>, directory: &Path) -> nix::Result<()> {
        // Under the lock: a notice may come before this returns.
        let mut watched = lock(&self.watched);
        let watch = inotify.add_watch(&directory.join("memory.events"), AddWatchFlags::IN_MODIFY)?;
        watched.insert(watch, Arc::downgrade(container));
        Ok(())
    }

    /// Containers that something has happened to.
    fn told(&self, inotify: &Inotify) -> Vec<Arc<Container>> {
        let events = inotify.read_events().unwrap_or_default();
        let watched = lock(&self.watched);
        events.iter().filter_map(|event| watched.get(&event.wd)?.upgrade()).collect()
    }

    /// Forgets containers that are gone.
    fn prune(&self) {
        let Some(inotify) = &self.inotify else { return };
        lock(&self.watched).retain(|watch, container| {
            let alive = container.strong_count() > 0;
            if !alive {
                // With the file the kernel has removed most of them itself.
                let _ = inotify.rm_watch(*watch);
            }
            alive
        });
    }
}

impl Engine {
    /// Asks the kernel to tell when a container runs out of memory. When it does not, the slow round finds out.
    pub(crate) fn watch_memory_of(self: &Arc<Self>, container: &Arc<Container>) {
        let Some(directory) = container.group.memory_directory() else { return };
        let asked = match &self.memory.inotify {
            Some(inotify) => self.memory.add(inotify, container, directory).map_err(std::io::Error::from),
            None => self.watch_v1(container, directory),
        };
        if let Err(error) = asked {
            tracing::debug!(handle = container.handle, %error, "no notices of memory");
        }
    }

    fn watch_v1(self: &Arc<Self>, container: &Arc<Container>, directory: &Path) -> std::io::Result<()> {
        let notices = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let control = File::open(directory.join("memory.oom_control"))?;
        let request = format!("{} {}", notices.as_fd().as_raw_fd(), control.as_raw_fd());
        fs::write(directory.join("cgroup.event_control"), request)?;
        let (engine, container, directory) = (self.clone(), Arc::downgrade(container), directory.to_owned());
        let notices = {
            let _runtime = self.runtime.enter();
            watch::descriptor(notices.into())?
        };
        self.runtime.spawn(async move {
            // The last notice is that the group was removed.
            while let Ok(mut ready) = notices.readable().await {
                if ready.try_io(|notices| Ok(nix::unistd::read(notices, &mut [0; 8])?)).is_err() {
                    continue;
                }
                match container.upgrade() {
                    Some(container) if directory.exists() => engine.look_after_notice(container),
                    _ => return,
                }
            }
        });
        Ok(())
    }

    /// Acts on the kernel's notices until the daemon ends.
    pub(crate) async fn watch_memory(self: Arc<Self>, shutdown: CancellationToken) {
        let notices = self.memory.inotify.as_ref().and_then(|inotify| {
            let descriptor = inotify.as_fd().try_clone_to_owned().and_then(watch::descriptor);
            descriptor.inspect_err(|error| tracing::warn!(%error, "no notices of memory")).ok()
        });
        let told = async || match (&notices, &self.memory.inotify) {
            (Some(notices), Some(inotify)) => {
                if let Ok(mut ready) = notices.readable().await {
                    ready.clear_ready();
                }
                self.memory.told(inotify)
            }
            _ => std::future::pending().await,
        };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                containers = told() => {
                    containers.into_iter().for_each(|container| self.look_after_notice(container));
                }
                () = tokio::time::sleep(PERIOD) => {
                    let engine = self.clone();
                    let look = move || {
                        engine.memory.prune();
                        engine.all().iter().for_each(|container| engine.check_memory(container, None));
                    };
                    if tokio::task::spawn_blocking(look).await.is_err() {
                        tracing::error!("the memory watch has panicked");
                    }
                }
            }
        }
    }

    fn look_after_notice(self: &Arc<Self>, container: Arc<Container>) {
        let engine = self.clone();
        self.runtime.spawn(async move {
            for pause in LOOKS {
                tokio::time::sleep(pause).await;
                if container.group.oom_kills() > 0 {
                    let look = move || engine.check_memory(&container, None);
                    let _ = tokio::task::spawn_blocking(look).await;
                    return;
                }
            }
        });
    }

    /// Ends a container that has run out of memory. `ended` is a job that has just ended, if that is why somebody looks.
    pub(crate) fn check_memory(self: &Arc<Self>, container: &Arc<Container>, ended: Option<(u32, &JobEnd)>) {
        let known = |container: &Container| {
            let record = container.record();
            record.phase != Phase::Active || record.events.iter().any(|event| event == OUT_OF_MEMORY)
        };
        if known(container) || container.group.oom_kills() == 0 {
            return;
        }
        let seen = describe(container, ended);
        tracing::info!(handle = container.handle, ?seen, "container out of memory");
        let noted = container.change(&self.journal, |record| {
            if record.events.iter().all(|event| event != OUT_OF_MEMORY) {
                record.events.push(OUT_OF_MEMORY.to_owned());
                record.out_of_memory = Some(seen);
            }
        });
        if let Err(error) = noted {
            tracing::error!(handle = container.handle, error = error.chain(), "event not recorded");
        }
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

fn describe(container: &Container, ended: Option<(u32, &JobEnd)>) -> OutOfMemory {
    let victim = victim::find(&container.id);
    // A shell tells of a process that was killed by SIGKILL as 128 + 9.
    let killed = |end: &JobEnd| matches!(end.exit, Exit::Signal(9) | Exit::Code(137));
    OutOfMemory {
        limit_bytes: container.record().limits.memory_bytes,
        peak_bytes: container.group.memory_peak(),
        victim_job: ended.filter(|(_, end)| killed(end)).map(|(job, _)| job),
        victim_bytes: victim.as_ref().and_then(|victim| victim.bytes),
        victim: victim.map(|victim| victim.name),
        at: super::now(),
    }
}
