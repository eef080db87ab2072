//! `warden info`.

use super::{Doing, Error, limit, list, output, view};
use warden_client::Client;
use warden_client::message::InfoResponse;

/// Shows how a container is.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The container
    handle: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let handle = arguments.handle;
    let info = client.info(&handle).await.doing(|| format!("ask how {handle} is"))?;
    match arguments.json {
        true => output::json(&view::info(&handle, &info)),
        false => output::write(&text(&handle, &info, list::now())),
    }
    Ok(())
}

fn text(handle: &str, info: &InfoResponse, now: u64) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: Option<String>| {
        lines.extend(value.filter(|value| !value.is_empty()).map(|value| format!("{name:<12} {value}\n")));
    };
    let bytes = |value: Option<u64>| value.map(|value| output::bytes(Some(value)));
    line("handle", Some(handle.to_owned()));
    line("state", info.state.clone());
    line("age", info.created_at.map(|created| output::span(now.saturating_sub(created))));
    line("address", info.container_ip.clone());
    line("host side", info.host_ip.clone());
    line("ports", Some(info.ports.join(" ")));
    line("directory", info.container_path.clone());
    line("memory", bytes(view::memory_used(info)));
    line("cache", bytes(info.memory_stat.as_ref().and_then(|stat| stat.total_cache.or(stat.cache))));
    let seconds = |usage: u64| format!("{:.2}s", usage as f64 / 1e9);
    line("cpu time", info.cpu_stat.as_ref().and_then(|stat| stat.usage).map(seconds));
    line("disk", bytes(info.disk_stat.as_ref().and_then(|stat| stat.bytes_used)));
    line("files", info.disk_stat.as_ref().and_then(|stat| stat.inodes_used).map(|count| count.to_string()));
    line("received", bytes(info.network_stat.as_ref().and_then(|stat| stat.received_bytes)));
    line("sent", bytes(info.network_stat.as_ref().and_then(|stat| stat.sent_bytes)));
    line("processes", info.processes.map(|count| count.to_string()));
    let jobs: Vec<String> = info.job_ids.iter().map(u64::to_string).collect();
    line("jobs", Some(jobs.join(" ")));
    for row in info.limits.as_ref().map(limit::rows).unwrap_or_default() {
        line("limit", Some(row.join(" ")));
    }
    for property in &info.properties {
        line("property", Some(format!("{}={}", property.name, property.value)));
    }
    for event in &info.events {
        line("event", Some(event.clone()));
    }
    if let Some(what) = &info.out_of_memory {
        let victim = what.victim.clone().unwrap_or_else(|| "a process".to_owned());
        let job = what.victim_job.map_or(String::new(), |job| format!(" of job {job}"));
        let (peak, limit) = (output::bytes(what.peak_bytes), output::bytes(what.limit_bytes));
        line("memory gone", Some(format!("{victim}{job} was killed: {peak} of {limit} in use")));
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use warden_client::message::{CpuStat, Limits, OutOfMemory, Property};

    #[test]
    fn lines_are_aligned_and_what_is_missing_is_left_out() {
        let info = InfoResponse {
            state: Some("active".into()),
            created_at: Some(40),
            job_ids: vec![3, 4],
            cpu_stat: Some(CpuStat { usage: Some(1_500_000_000), ..Default::default() }),
            limits: Some(Limits { pids: Some(9), ..Default::default() }),
            properties: vec![Property { name: "app".into(), value: "web".into() }],
            events: vec!["out of memory".into()],
            out_of_memory: Some(OutOfMemory {
                victim: Some("java".into()),
                victim_job: Some(3),
                limit_bytes: Some(64 << 20),
                peak_bytes: Some(64 << 20),
                ..Default::default()
            }),
            ..Default::default()
        };
        let expected = "\
handle       web
state        active
age          1m0s
cpu time     1.50s
jobs         3 4
limit        pids 9
property     app=web
event        out of memory
memory gone  java of job 3 was killed: 64.0M of 64.0M in use
";
        assert_eq!(text("web", &info, 100), expected);
    }
}
