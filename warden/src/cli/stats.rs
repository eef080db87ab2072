//! `warden stats`: what containers use, live.

use super::{Doing, Error, list, output, view};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use warden_client::Client;
use warden_client::message::{InfoResponse, Pressure};

/// Shows what containers use, again and again.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The containers; all when none is named
    handles: Vec<String>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    interval: f64,
    /// Look once and end
    #[arg(long)]
    once: bool,
    /// As JSON, one document for each look
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|seconds| (0.05..=86_400.0).contains(seconds));
    value.ok_or_else(|| format!("{text:?} is not a number of seconds between 0.05 and 86400"))
}

/// Cursor to the upper left, and everything after it cleared (ECMA-48).
const HOME: &str = "\x1b[H\x1b[J";

const HEAD: [&str; 10] =
    ["HANDLE", "CPU", "MEMORY", "DISK", "FILES", "PIDS", "RECEIVED/S", "SENT/S", "WAITS CPU", "MEMORY IO"];

/// What two looks at a container tell.
#[derive(Debug)]
struct Figures<'a> {
    info: &'a InfoResponse,
    /// Processors that were busy for it: 1.0 is one of them, all the time.
    processors: Option<f64>,
    /// Bytes per second that came in.
    received: Option<u64>,
    /// Bytes per second that went out.
    sent: Option<u64>,
}

/// One look at all of them.
struct Look {
    at: Instant,
    infos: BTreeMap<String, InfoResponse>,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let interval = Duration::from_secs_f64(arguments.interval);
    let screen = !arguments.json && !arguments.once && std::io::stdout().is_terminal();
    let mut before = look(client, &arguments.handles).await?;
    loop {
        tokio::time::sleep(interval).await;
        let now = look(client, &arguments.handles).await?;
        let elapsed = now.at.duration_since(before.at);
        let all = now
            .infos
            .iter()
            .map(|(handle, info)| (handle.as_str(), figures(before.infos.get(handle), info, elapsed)));
        match arguments.json {
            true => {
                output::line(Value::Array(all.map(|(handle, figures)| document(handle, &figures)).collect()))
            }
            false => {
                let rows: Vec<Vec<String>> = all.map(|(handle, figures)| row(handle, &figures)).collect();
                let home = if screen { HOME } else { "" };
                output::write(&format!("{home}{}", output::table(&HEAD, &rows)));
            }
        }
        if arguments.once {
            return Ok(());
        }
        before = now;
    }
}

async fn look(client: &Client, named: &[String]) -> Result<Look, Error> {
    let at = Instant::now();
    let infos = match named.is_empty() {
        true => {
            let handles = client.list().await.doing(|| "list the containers".to_owned())?;
            list::infos(client, handles).await?.into_iter().collect()
        }
        false => {
            let mut infos = BTreeMap::new();
            for handle in named {
                let info = client.info(handle).await.doing(|| format!("ask how {handle} is"))?;
                infos.insert(handle.clone(), info);
            }
            infos
        }
    };
    Ok(Look { at, infos })
}

fn figures<'a>(before: Option<&InfoResponse>, info: &'a InfoResponse, elapsed: Duration) -> Figures<'a> {
    let nanoseconds = (elapsed.as_nanos() as u64).max(1);
    let grown = |of: fn(&InfoResponse) -> Option<u64>| Some(of(info)?.saturating_sub(of(before?)?));
    let rate = |bytes: u64| (bytes as f64 * 1e9 / nanoseconds as f64) as u64;
    Figures {
        info,
        processors: grown(|info| info.cpu_stat.as_ref()?.usage).map(|used| used as f64 / nanoseconds as f64),
        received: grown(|info| info.network_stat.as_ref()?.received_bytes).map(rate),
        sent: grown(|info| info.network_stat.as_ref()?.sent_bytes).map(rate),
    }
}

fn row(handle: &str, figures: &Figures<'_>) -> Vec<String> {
    let info = figures.info;
    let limits = info.limits.clone().unwrap_or_default();
    let disk = info.disk_stat.clone().unwrap_or_default();
    let bytes = |limit: Option<u64>| limit.map(|limit| output::bytes(Some(limit)));
    let count = |limit: Option<u64>| limit.map(|limit| limit.to_string());
    let percent = |share: f64| format!("{:.1}%", share * 100.0);
    let waits = |pressure: Option<&Pressure>| {
        pressure
            .and_then(|pressure| pressure.some_10)
            .map_or("-".to_owned(), |some| percent(f64::from(some) / 10_000.0))
    };
    let pressures = info.pressures.clone().unwrap_or_default();
    vec![
        handle.to_owned(),
        figures.processors.map_or_else(|| "-".to_owned(), percent),
        output::of(output::bytes(view::memory_used(info)), bytes(limits.memory_bytes)),
        output::of(output::bytes(disk.bytes_used), bytes(limits.disk_bytes)),
        output::of(output::number(disk.inodes_used), count(limits.disk_inodes)),
        output::of(output::number(info.processes), count(limits.pids)),
        output::bytes(figures.received),
        output::bytes(figures.sent),
        waits(pressures.cpu.as_ref()),
        format!("{} {}", waits(pressures.memory.as_ref()), waits(pressures.io.as_ref())),
    ]
}

/// The figures that two looks give, and all of the second look.
fn document(handle: &str, figures: &Figures<'_>) -> Value {
    let mut document = view::info(handle, figures.info);
    if let Value::Object(entries) = &mut document {
        let rates = [
            ("cpu_processors", figures.processors.map(|value| json!(value))),
            ("received_bytes_per_s", figures.received.map(|value| json!(value))),
            ("sent_bytes_per_s", figures.sent.map(|value| json!(value))),
        ];
        entries.extend(rates.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use warden_client::message::{CpuStat, DiskStat, Limits, MemoryStat, NetworkStat, Pressures};

    fn info(cpu: u64, received: u64) -> InfoResponse {
        InfoResponse {
            cpu_stat: Some(CpuStat { usage: Some(cpu), ..Default::default() }),
            memory_stat: Some(MemoryStat { rss: Some(32 << 20), ..Default::default() }),
            disk_stat: Some(DiskStat { bytes_used: Some(1 << 20), inodes_used: Some(7) }),
            network_stat: Some(NetworkStat { received_bytes: Some(received), sent_bytes: Some(0) }),
            processes: Some(3),
            limits: Some(Limits { memory_bytes: Some(64 << 20), pids: Some(512), ..Default::default() }),
            pressures: Some(Pressures {
                cpu: Some(Pressure { some_10: Some(1_250), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let (before, now) = (info(1_000_000_000, 0), info(4_000_000_000, 4 << 10));
        let figures = figures(Some(&before), &now, Duration::from_secs(2));
        let expected = "\
HANDLE   CPU      MEMORY        DISK   FILES   PIDS    RECEIVED/S   SENT/S   WAITS CPU   MEMORY IO
web      150.0%   32.0M/64.0M   1.0M   7       3/512   2.0K         0B       12.5%       - -
";
        assert_eq!(output::table(&HEAD, &[row("web", &figures)]), expected);
        let document = document("web", &figures);
        assert_eq!(
            (&document["cpu_processors"], &document["received_bytes_per_s"]),
            (&json!(1.5), &json!(2048))
        );
    }

    #[test]
    fn a_container_that_was_not_there_before_has_no_rates() {
        let now = info(5, 5);
        let figures = figures(None, &now, Duration::from_secs(1));
        assert_eq!((figures.processors, figures.received), (None, None));
        assert_eq!(row("new", &figures)[1], "-");
    }

    #[test]
    fn the_interval_is_sensible() {
        assert_eq!(interval("0.5"), Ok(0.5));
        for bad in ["0", "-1", "nan", "x", "1e9"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
