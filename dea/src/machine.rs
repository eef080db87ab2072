//! What this machine has.

use crate::{Config, Error, resources::Capacity};
use cupola_protocol::{Bytes, Mebibytes};
use std::path::Path;

/// Part of the machine's memory that is handed out when nobody says how much: the rest is for the platform.
const MEMORY_SHARE: f64 = 0.8;

/// The configured capacity, or the machine's.
pub(crate) fn capacity(config: &Config, directory: &Path) -> Result<Capacity, Error> {
    let memory = match config.memory_mb {
        Some(memory) => memory,
        None => total_memory()
            .map(|memory| Mebibytes((memory.mebibytes().0 as f64 * MEMORY_SHARE) as u64))
            .ok_or(Error::Machine { what: "memory", key: "memory_mb" })?,
    };
    let disk = match config.disk_mb {
        Some(disk) => disk,
        None => free_disk(directory)
            .map(Bytes::mebibytes)
            .ok_or(Error::Machine { what: "disk", key: "disk_mb" })?,
    };
    let factors = (config.memory_overcommit_factor, config.disk_overcommit_factor);
    Ok(Capacity::overcommitted(memory, disk, factors))
}

fn total_memory() -> Option<Bytes> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes(kilobytes << 10))
}

fn free_disk(directory: &Path) -> Option<Bytes> {
    let figures = rustix::fs::statvfs(directory).ok()?;
    Some(Bytes(figures.f_bavail.saturating_mul(figures.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_disk() {
        let capacity = capacity(&Config::default(), Path::new("/")).unwrap();
        assert!(capacity.memory > Mebibytes(100) && capacity.disk > Mebibytes(100), "{capacity:?}");
    }

    #[test]
    fn what_is_configured_wins() {
        let config = Config {
            memory_mb: Some(Mebibytes(100)),
            disk_mb: Some(Mebibytes(200)),
            memory_overcommit_factor: 2.0,
            ..Config::default()
        };
        let capacity = capacity(&config, Path::new("/nowhere")).unwrap();
        assert_eq!(capacity, Capacity { memory: Mebibytes(200), disk: Mebibytes(200) });
    }
}
