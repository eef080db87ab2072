//! How a container is.

use super::container::Container;
use super::disk::Usage;
use super::engine::Engine;
use super::{Error, lock};
use cupola_protocol::warden::{BandwidthStat, InfoResponse};

/// A rate without limit, as the historic server writes it.
const NO_RATE: u64 = 0xffff_ffff;

impl Engine {
    /// How the container of a handle is.
    pub(crate) fn info(&self, handle: &str) -> Result<InfoResponse, Error> {
        Ok(info(&*self.find(handle)?))
    }
}

/// How a container is. What cannot be read is left out.
pub(crate) fn info(container: &Container) -> InfoResponse {
    let record = container.record().clone();
    let running =
        lock(&container.jobs).values().filter(|job| !job.has_ended()).map(|job| job.id.into()).collect();
    let no = Some(NO_RATE);
    InfoResponse {
        state: Some(record.phase.as_str().to_owned()),
        events: record.events,
        host_ip: Some(container.subnet.host().to_string()),
        container_ip: Some(container.subnet.container().to_string()),
        container_path: Some(container.directory.display().to_string()),
        memory_stat: container.group.memory_stat(),
        cpu_stat: container.group.cpu_stat(),
        disk_stat: record.init.and_then(|init| Usage::of(init.pid)).map(Usage::stat),
        bandwidth_stat: Some(BandwidthStat { in_rate: no, in_burst: no, out_rate: no, out_burst: no }),
        job_ids: running,
        oom_kills: Some(container.group.oom_kills()),
        processes: container.group.process_count(),
        ports: record.ports.iter().map(|port| format!("{}:{}", port.host, port.container)).collect(),
        properties: super::properties::message(&record.properties),
        created_at: Some(record.created_at).filter(|at| *at > 0),
        ..Default::default()
    }
}
