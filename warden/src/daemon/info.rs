//! How a container is.

use super::container::Container;
use super::engine::Engine;
use super::{Error, lock};
use cupola_protocol::warden::{BandwidthStat, InfoResponse, NetworkStat};

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
        host_ip: container.subnet.map(|subnet| subnet.host().to_string()),
        container_ip: container.subnet.map(|subnet| subnet.container().to_string()),
        container_path: Some(container.directory.display().to_string()),
        memory_stat: container.group.memory_stat(),
        cpu_stat: container.group.cpu_stat(),
        disk_stat: record.disk.and_then(|disk| disk.stat(&container.directory, container.init_pid())),
        bandwidth_stat: Some(BandwidthStat { in_rate: no, in_burst: no, out_rate: no, out_burst: no }),
        job_ids: running,
        oom_kills: Some(container.group.oom_kills()),
        processes: container.group.process_count(),
        ports: record.ports.iter().map(|port| format!("{}:{}", port.host, port.container)).collect(),
        network_stat: record.init.and_then(|init| traffic(init.pid)),
        pressures: container.group.pressures(),
        out_of_memory: record.out_of_memory.map(Into::into),
        limits: Some(super::limits::current(container)),
        properties: super::properties::message(&record.properties),
        created_at: Some(record.created_at).filter(|at| *at > 0),
        ..Default::default()
    }
}

/// What has gone over the links of a process's network namespace, but for its loopback link (proc_pid_net(5)).
fn traffic(pid: i32) -> Option<NetworkStat> {
    counted(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?)
}

/// The sums of a `net/dev` file; `None` without a link.
fn counted(text: &str) -> Option<NetworkStat> {
    let links = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    let figures = links.map(|(_, figures)| {
        let figure = |at: usize| figures.split_whitespace().nth(at)?.parse::<u64>().ok();
        (figure(0).unwrap_or(0), figure(8).unwrap_or(0))
    });
    figures
        .reduce(|(received, sent), (more_received, more_sent)| (received + more_received, sent + more_sent))
        .map(|(received, sent)| NetworkStat { received_bytes: Some(received), sent_bytes: Some(sent) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_that_of_every_link_but_the_loopback() {
        let head = "Inter-|   Receive                |  Transmit\n face |bytes    packets errs |bytes\n";
        let lo = "    lo:  900      9    0    0    0     0          0         0   900     9 0 0 0 0 0 0\n";
        let link = "  eth0: 1000     10    0    0    0     0          0         0    70     7 0 0 0 0 0 0\n";
        let expected = NetworkStat { received_bytes: Some(1_000), sent_bytes: Some(70) };
        assert_eq!(counted(&[head, lo, link].concat()), Some(expected));
        assert_eq!(counted(&[head, lo].concat()), None);
    }
}
