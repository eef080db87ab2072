//! `warden list`.

use super::{Doing, Error, output, parse, view};
use std::time::{SystemTime, UNIX_EPOCH};
use warden_client::Client;
use warden_client::message::{InfoResponse, Property};

/// Lists the containers.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only those that have this property with this value; all of several
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = parse::property)]
    properties: Vec<Property>,
    /// Handles alone
    #[arg(long, short)]
    quiet: bool,
    /// As JSON
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
}

const HEAD: [&str; 7] = ["HANDLE", "STATE", "ADDRESS", "PORTS", "MEMORY", "PROCESSES", "AGE"];

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let handles = client.list_with(arguments.properties).await.doing(|| "list the containers".to_owned())?;
    if arguments.quiet {
        handles.iter().for_each(output::line);
        return Ok(());
    }
    let containers = infos(client, handles).await?;
    if arguments.json {
        let all = containers.iter().map(|(handle, info)| view::info(handle, info)).collect();
        output::json(&serde_json::Value::Array(all));
        return Ok(());
    }
    let now = now();
    let rows: Vec<Vec<String>> = containers.iter().map(|(handle, info)| row(handle, info, now)).collect();
    output::write(&output::table(&HEAD, &rows));
    Ok(())
}

/// How each container is. One that was destroyed meanwhile is left out.
pub(super) async fn infos(
    client: &Client,
    handles: Vec<String>,
) -> Result<Vec<(String, InfoResponse)>, Error> {
    let mut all = Vec::new();
    for handle in handles {
        match client.info(&handle).await {
            Ok(info) => all.push((handle, info)),
            Err(error) if error.is_unknown_handle() => (),
            Err(error) => return Err(error).doing(|| format!("ask how {handle} is")),
        }
    }
    Ok(all)
}

/// Seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn row(handle: &str, info: &InfoResponse, now: u64) -> Vec<String> {
    let dash = || "-".to_owned();
    let ports = if info.ports.is_empty() { dash() } else { info.ports.join(" ") };
    vec![
        handle.to_owned(),
        info.state.clone().unwrap_or_else(dash),
        info.container_ip.clone().unwrap_or_else(dash),
        ports,
        output::bytes(view::memory_used(info)),
        output::number(info.processes),
        info.created_at.map_or_else(dash, |created| output::span(now.saturating_sub(created))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use warden_client::message::MemoryStat;

    #[test]
    fn a_row_tells_where_and_how_much() {
        let info = InfoResponse {
            state: Some("active".into()),
            container_ip: Some("10.254.0.2".into()),
            ports: vec!["61001:8080".into(), "61002:80".into()],
            memory_stat: Some(MemoryStat { rss: Some(3 << 20), cache: Some(1 << 30), ..Default::default() }),
            processes: Some(4),
            created_at: Some(1_000),
            ..Default::default()
        };
        let rows = [row("web", &info, 4_600), row("old", &InfoResponse::default(), 0)];
        assert_eq!(
            output::table(&HEAD, &rows),
            "HANDLE   STATE    ADDRESS      PORTS                 MEMORY   PROCESSES   AGE\n\
             web      active   10.254.0.2   61001:8080 61002:80   3.0M     4           1h0m\n\
             old      -        -            -                     -        -           -\n"
        );
    }
}
