//! `warden limit`, and the limits that `create` and `run` take too.

use super::{Doing, Error, output, parse, view};
use warden_client::Client;
use warden_client::message::{IoLimit, Limits};

/// Limits by flags.
#[derive(Debug, Default, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitFlags {
    /// Memory and swap together, such as 512M
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    memory: Option<u64>,
    /// Memory above which the container is slowed down (cgroup v2)
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    memory_high: Option<u64>,
    /// Most processors, such as 0.5 or 2; 0 for no limit
    #[arg(long, value_name = "NUMBER", value_parser = parse::processors)]
    cpus: Option<u64>,
    /// Microseconds of unused processor time that one period of 100 ms may have more
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_burst: Option<u64>,
    /// Share of the processor against other containers; 1024 is usual
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(2..=262_144))]
    cpu_shares: Option<u64>,
    /// Most processes and threads
    #[arg(long, value_name = "NUMBER")]
    pids: Option<u64>,
    /// Most bytes of disk, such as 2G
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    disk: Option<u64>,
    /// Most files and directories
    #[arg(long, value_name = "NUMBER")]
    inodes: Option<u64>,
    /// Weight of disk access against other containers; 100 is usual
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    io_weight: Option<u64>,
    /// Rates of a block device: MAJOR:MINOR,rbps=SIZE,wbps=SIZE,riops=N,wiops=N
    #[arg(long, value_name = "RATES", value_parser = parse::io)]
    io: Vec<IoLimit>,
    /// Network bytes per second, each way, and bytes at once; 0 for no limit
    #[arg(long, value_name = "RATE[:BURST]", value_parser = parse::bandwidth)]
    bandwidth: Option<(u64, u64)>,
}

impl LimitFlags {
    /// The limits that were given; `None` where there is none.
    pub(crate) fn limits(self) -> Option<Limits> {
        let limits = Limits {
            memory_bytes: self.memory,
            memory_high_bytes: self.memory_high,
            cpu_shares: self.cpu_shares,
            cpu_quota_us: self.cpus,
            cpu_period_us: None,
            cpu_burst_us: self.cpu_burst,
            pids: self.pids,
            io_weight: self.io_weight,
            io: self.io,
            disk_bytes: self.disk,
            disk_inodes: self.inodes,
            bandwidth_rate: self.bandwidth.map(|(rate, _)| rate),
            bandwidth_burst: self.bandwidth.map(|(_, burst)| burst),
        };
        (limits != Limits::default()).then_some(limits)
    }
}

/// Sets limits of a container, and shows all.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The container
    handle: String,
    #[command(flatten)]
    flags: LimitFlags,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let Arguments { handle, flags, json } = arguments;
    let limits = client.limit(&handle, flags.limits()).await.doing(|| format!("limit {handle}"))?;
    match json {
        true => output::json(&view::limits(&limits)),
        false => output::write(&output::table(&["LIMIT", "VALUE"], &rows(&limits))),
    }
    Ok(())
}

/// What is limited, a line each.
pub(super) fn rows(limits: &Limits) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: Option<String>| {
        rows.extend(value.map(|value| vec![name.to_owned(), value]));
    };
    let bytes = |value: Option<u64>| value.map(|value| output::bytes(Some(value)));
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    row("memory", bytes(limits.memory_bytes));
    row("memory-high", bytes(limits.memory_high_bytes));
    let period = limits.cpu_period_us.unwrap_or(100_000).max(1);
    let quota = limits.cpu_quota_us.filter(|quota| *quota > 0);
    row("cpus", quota.map(|quota| format!("{:.2}", quota as f64 / period as f64)));
    row("cpu-burst", limits.cpu_burst_us.filter(|burst| *burst > 0).map(|burst| format!("{burst}us")));
    row("cpu-shares", number(limits.cpu_shares));
    row("pids", number(limits.pids));
    row("disk", bytes(limits.disk_bytes));
    row("inodes", number(limits.disk_inodes));
    row("io-weight", number(limits.io_weight));
    for io in &limits.io {
        let rates = [
            ("rbps", bytes(io.read_bytes)),
            ("wbps", bytes(io.write_bytes)),
            ("riops", number(io.read_operations)),
            ("wiops", number(io.write_operations)),
        ];
        let rates = rates.into_iter().filter_map(|(name, value)| Some(format!(",{name}={}", value?)));
        row("io", Some(format!("{}{}", io.device, rates.collect::<String>())));
    }
    let rate = limits.bandwidth_rate.filter(|rate| *rate > 0);
    row(
        "bandwidth",
        rate.map(|rate| format!("{}:{}", output::bytes(Some(rate)), output::bytes(limits.bandwidth_burst))),
    );
    rows
}
