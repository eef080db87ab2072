//! The protocol's answers as JSON: the names of the messages' fields, and nothing where the kernel does not tell.

use serde_json::{Map, Value, json};
use warden_client::message::{InfoResponse, Limits, MemoryStat, OutOfMemory, Pressure, Pressures, Property};

/// How a container is.
pub(crate) fn info(handle: &str, info: &InfoResponse) -> Value {
    let bandwidth = info.bandwidth_stat.as_ref().map(|stat| {
        object([
            ("in_rate", some(stat.in_rate)),
            ("in_burst", some(stat.in_burst)),
            ("out_rate", some(stat.out_rate)),
            ("out_burst", some(stat.out_burst)),
        ])
    });
    let cpu = info.cpu_stat.as_ref().map(|stat| {
        object([
            ("usage_ns", some(stat.usage)),
            ("user_ticks", some(stat.user)),
            ("system_ticks", some(stat.system)),
        ])
    });
    let disk = info
        .disk_stat
        .as_ref()
        .map(|stat| object([("bytes_used", some(stat.bytes_used)), ("inodes_used", some(stat.inodes_used))]));
    let network = info.network_stat.as_ref().map(|stat| {
        object([("received_bytes", some(stat.received_bytes)), ("sent_bytes", some(stat.sent_bytes))])
    });
    object([
        ("handle", Some(json!(handle))),
        ("state", some(info.state.as_ref())),
        ("created_at", some(info.created_at)),
        ("events", Some(json!(info.events))),
        ("host_ip", some(info.host_ip.as_ref())),
        ("container_ip", some(info.container_ip.as_ref())),
        ("container_path", some(info.container_path.as_ref())),
        ("ports", Some(json!(info.ports))),
        ("job_ids", Some(json!(info.job_ids))),
        ("processes", some(info.processes)),
        ("properties", Some(properties(&info.properties))),
        ("memory", info.memory_stat.as_ref().map(memory)),
        ("cpu", cpu),
        ("disk", disk),
        ("bandwidth", bandwidth),
        ("network", network),
        ("oom_kills", some(info.oom_kills)),
        ("out_of_memory", info.out_of_memory.as_ref().map(out_of_memory)),
        ("pressure", info.pressures.as_ref().map(pressures)),
        ("limits", info.limits.as_ref().map(limits)),
    ])
}

/// Memory that is in use, bytes: what cannot be dropped when it is needed elsewhere, swap included.
pub(crate) fn memory_used(info: &InfoResponse) -> Option<u64> {
    let stat = info.memory_stat.as_ref()?;
    let anonymous = stat.total_rss.or(stat.rss)?;
    Some(anonymous + stat.total_swap.or(stat.swap).unwrap_or(0))
}

/// Properties by name.
pub(crate) fn properties(properties: &[Property]) -> Value {
    let entries = properties.iter().map(|property| (property.name.clone(), json!(property.value)));
    Value::Object(entries.collect())
}

/// Limits; what is missing has none.
pub(crate) fn limits(limits: &Limits) -> Value {
    let io = limits.io.iter().map(|io| {
        object([
            ("device", Some(json!(io.device))),
            ("read_bytes", some(io.read_bytes)),
            ("write_bytes", some(io.write_bytes)),
            ("read_operations", some(io.read_operations)),
            ("write_operations", some(io.write_operations)),
        ])
    });
    object([
        ("memory_bytes", some(limits.memory_bytes)),
        ("memory_high_bytes", some(limits.memory_high_bytes)),
        ("cpu_shares", some(limits.cpu_shares)),
        ("cpu_quota_us", some(limits.cpu_quota_us)),
        ("cpu_period_us", some(limits.cpu_period_us)),
        ("cpu_burst_us", some(limits.cpu_burst_us)),
        ("pids", some(limits.pids)),
        ("io_weight", some(limits.io_weight)),
        ("io", (!limits.io.is_empty()).then(|| io.collect())),
        ("disk_bytes", some(limits.disk_bytes)),
        ("disk_inodes", some(limits.disk_inodes)),
        ("bandwidth_rate", some(limits.bandwidth_rate)),
        ("bandwidth_burst", some(limits.bandwidth_burst)),
    ])
}

fn memory(stat: &MemoryStat) -> Value {
    object([
        ("anonymous_bytes", some(stat.total_rss.or(stat.rss))),
        ("cache_bytes", some(stat.total_cache.or(stat.cache))),
        ("mapped_file_bytes", some(stat.total_mapped_file.or(stat.mapped_file))),
        ("swap_bytes", some(stat.total_swap.or(stat.swap))),
        ("unevictable_bytes", some(stat.total_unevictable.or(stat.unevictable))),
        ("page_faults", some(stat.total_pgfault.or(stat.pgfault))),
        ("major_page_faults", some(stat.total_pgmajfault.or(stat.pgmajfault))),
        ("limit_bytes", some(stat.hierarchical_memory_limit)),
    ])
}

fn out_of_memory(what: &OutOfMemory) -> Value {
    object([
        ("at", some(what.at)),
        ("limit_bytes", some(what.limit_bytes)),
        ("peak_bytes", some(what.peak_bytes)),
        ("victim", some(what.victim.as_ref())),
        ("victim_job", some(what.victim_job)),
        ("victim_bytes", some(what.victim_bytes)),
    ])
}

fn pressures(pressures: &Pressures) -> Value {
    object([
        ("cpu", pressures.cpu.as_ref().map(pressure)),
        ("memory", pressures.memory.as_ref().map(pressure)),
        ("io", pressures.io.as_ref().map(pressure)),
    ])
}

/// Shares of time in percent.
fn pressure(pressure: &Pressure) -> Value {
    let percent = |value: Option<u32>| value.map(|value| json!(f64::from(value) / 100.0));
    object([
        ("some_10", percent(pressure.some_10)),
        ("some_60", percent(pressure.some_60)),
        ("some_300", percent(pressure.some_300)),
        ("some_total_us", some(pressure.some_total_us)),
        ("full_10", percent(pressure.full_10)),
        ("full_60", percent(pressure.full_60)),
        ("full_300", percent(pressure.full_300)),
        ("full_total_us", some(pressure.full_total_us)),
    ])
}

fn some<T: serde::Serialize>(value: Option<T>) -> Option<Value> {
    value.map(|value| json!(value))
}

fn object<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    let entries = entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(entries.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_left_out() {
        let info = InfoResponse {
            state: Some("active".into()),
            properties: vec![Property { name: "app".into(), value: "web".into() }],
            limits: Some(Limits { pids: Some(5), ..Default::default() }),
            pressures: Some(Pressures {
                cpu: Some(Pressure { some_10: Some(1_250), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let expected = json!({
            "handle": "a", "state": "active", "events": [], "ports": [], "job_ids": [],
            "properties": { "app": "web" }, "limits": { "pids": 5 }, "pressure": { "cpu": { "some_10": 12.5 } },
        });
        assert_eq!(super::info("a", &info), expected);
    }

    #[test]
    fn memory_in_use_is_without_the_cache() {
        let stat = |stat| memory_used(&InfoResponse { memory_stat: Some(stat), ..Default::default() });
        let total = MemoryStat {
            rss: Some(1),
            total_rss: Some(5),
            swap: Some(2),
            cache: Some(99),
            ..Default::default()
        };
        assert_eq!((stat(total), stat(MemoryStat::default())), (Some(7), None));
    }
}
