//! Figures of running instances.

use crate::{instance::Record, node::Node};
use cupola_protocol::{
    Bytes,
    dea::{InstanceState, InstanceStats, Usage},
};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use warden_client::message::{InfoResponse, MemoryStat};

/// A reading older than this says little about now.
const FRESH: Duration = Duration::from_secs(60);

/// The shortest time over which a share of the processor is measured.
const SPAN: Duration = Duration::from_millis(100);

/// How long a warden that is away is waited for: whoever asked waits not much longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// The last reading of each container, by handle.
#[derive(Debug, Default)]
pub(crate) struct Readings(Mutex<HashMap<String, Reading>>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    usage_ns: u64,
}

impl Readings {
    /// Figures of one instance; none when it does not run or the warden does not answer.
    pub(crate) async fn stats(&self, node: &Node, record: &Record) -> Option<InstanceStats> {
        let process = record.process.as_ref().filter(|_| record.state == InstanceState::Running)?;
        let handle = node.handle(&record.instance);
        let warden = node.warden.clone().with_patience(PATIENCE);
        let earlier = match self.get(&handle) {
            Some(reading) => reading,
            None => {
                let first = reading(&warden.info(&handle).await.ok()?);
                tokio::time::sleep(SPAN).await;
                first
            }
        };
        let info = warden.info(&handle).await.ok()?;
        let later = reading(&info);
        let cpu = share(earlier, later);
        self.put(handle, earlier, later);
        let message = &record.message;
        Some(InstanceStats {
            name: message.name.clone(),
            uris: message.uris.clone(),
            host: process.address.host.clone(),
            port: process.address.port,
            uptime: (crate::node::now() - record.state_timestamp).max(0.0) as u64,
            mem_quota: message.limits.mem.bytes(),
            disk_quota: message.limits.disk.bytes(),
            fds_quota: message.limits.fds,
            usage: Usage {
                time: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
                cpu,
                mem: memory(info.memory_stat.as_ref()),
                disk: Bytes(info.disk_stat.and_then(|disk| disk.bytes_used).unwrap_or(0)),
            },
        })
    }

    fn get(&self, handle: &str) -> Option<Reading> {
        let readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readings.get(handle).copied().filter(|reading| {
            let age = reading.at.elapsed();
            age >= SPAN && age <= FRESH
        })
    }

    fn put(&self, handle: String, earlier: Reading, later: Reading) {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if later.at.duration_since(earlier.at) >= SPAN {
            readings.insert(handle, later);
        }
    }

    /// Forgets containers that nobody asks about any more.
    pub(crate) fn expire(&self) {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readings.retain(|_, reading| reading.at.elapsed() <= FRESH);
    }
}

fn reading(info: &InfoResponse) -> Reading {
    let usage_ns = info.cpu_stat.as_ref().and_then(|cpu| cpu.usage).unwrap_or(0);
    Reading { at: Instant::now(), usage_ns }
}

/// Share of one core between two readings.
fn share(earlier: Reading, later: Reading) -> f64 {
    let wall = later.at.duration_since(earlier.at).as_nanos() as f64;
    let used = later.usage_ns.saturating_sub(earlier.usage_ns) as f64;
    if wall > 0.0 { used / wall } else { 0.0 }
}

/// Memory without the cache that the kernel can give back, as dea_ng counted it.
fn memory(stat: Option<&MemoryStat>) -> Bytes {
    let Some(stat) = stat else { return Bytes(0) };
    let sum = |total: Option<u64>, own: Option<u64>| total.or(own).unwrap_or(0);
    let rss = sum(stat.total_rss, stat.rss);
    let cache = sum(stat.total_cache, stat.cache);
    let inactive = sum(stat.total_inactive_file, stat.inactive_file);
    Bytes((rss + cache).saturating_sub(inactive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_time_used_of_time_passed() {
        let at = Instant::now();
        let earlier = Reading { at, usage_ns: 1_000_000_000 };
        let later = Reading { at: at + Duration::from_secs(2), usage_ns: 2_000_000_000 };
        assert!((share(earlier, later) - 0.5).abs() < 1e-9);
        assert!(share(later, Reading { usage_ns: 0, ..later }).abs() < 1e-9);
    }

    #[test]
    fn memory_leaves_out_what_can_be_given_back() {
        let stat = MemoryStat {
            total_rss: Some(10),
            total_cache: Some(7),
            total_inactive_file: Some(5),
            ..MemoryStat::default()
        };
        assert_eq!(memory(Some(&stat)), Bytes(12));
    }
}
