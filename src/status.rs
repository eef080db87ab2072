//! `cupola status`: asks every component on the bus where it is, and each of them how it is.

use crate::config::{Config, Overrides};
use anyhow::{Context, Result, bail};
use cupola_bus::Bus;
use cupola_protocol::{
    Subject,
    component::{Announce, Discover},
};
use std::{fmt::Write as _, time::Duration};
use tokio::task::JoinSet;

/// How long components get to answer on the bus: how many there are, nobody knows.
const ANSWERS: Duration = Duration::from_millis(1000);

/// How long one gets to say how it is; its page itself waits up to three seconds for it.
const HEALTH: Duration = Duration::from_secs(5);

/// Flags of `cupola status`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    overrides: Overrides,
    /// Show user and password of each status page too
    #[arg(long)]
    credentials: bool,
}

/// One line of the answer.
struct Line {
    announce: Announce,
    problems: Vec<String>,
}

/// Runs the command; fails when a component is unwell or none answers.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let config = Config::load(&arguments.overrides)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let lines = runtime.block_on(ask(&config))?;
    print!("{}", table(&lines, arguments.credentials));
    let unwell = lines.iter().filter(|line| !line.problems.is_empty()).count();
    if unwell > 0 {
        bail!("{unwell} of {} components are unwell", lines.len());
    }
    Ok(())
}

async fn ask(config: &Config) -> Result<Vec<Line>> {
    let bus = Bus::connect(&config.bus, "cupola status").await?;
    let replies = bus
        .request_replies(&Subject::of::<Discover>(), &Discover {})
        .await
        .context("cannot ask the components")?;
    let announces = replies.collect(ANSWERS, |_| false).await;
    if announces.is_empty() {
        bail!(
            "no component answers on the bus ({}): start the platform with cupola up",
            config.bus.servers.join(", ")
        );
    }
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(HEALTH)
        .build()
        .context("cannot make an HTTP client")?;
    let mut asked = JoinSet::new();
    for announce in announces {
        let client = client.clone();
        asked.spawn(async move {
            let problems = problems(&client, &announce.host).await;
            Line { announce, problems }
        });
    }
    let mut lines = asked.join_all().await;
    lines.sort_by(|a, b| {
        let key = |line: &Line| (line.announce.kind.clone(), line.announce.index, line.announce.uuid.clone());
        key(a).cmp(&key(b))
    });
    Ok(lines)
}

/// What is wrong with the component whose page is there.
async fn problems(client: &reqwest::Client, host: &str) -> Vec<String> {
    if host.is_empty() {
        return vec!["it has no status page".to_owned()];
    }
    let answer = match client.get(format!("http://{host}/healthz")).send().await {
        Ok(answer) => answer,
        Err(error) => return vec![format!("its status page cannot be reached: {}", error.without_url())],
    };
    let well = answer.status().is_success();
    match answer.text().await {
        Ok(_) if well => Vec::new(),
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(error) => vec![format!("its status page breaks off: {}", error.without_url())],
    }
}

fn table(lines: &[Line], credentials: bool) -> String {
    let rows: Vec<[String; 4]> = lines
        .iter()
        .map(|line| {
            let announce = &line.announce;
            let health = if line.problems.is_empty() { "ok".to_owned() } else { line.problems.join("; ") };
            [
                format!("{}/{}", announce.kind, announce.index),
                announce.host.clone(),
                announce.uptime.clone().unwrap_or_default(),
                health,
            ]
        })
        .collect();
    let width = |column: usize, title: &str| {
        rows.iter().map(|row| row[column].chars().count()).chain([title.len()]).max().unwrap_or(0)
    };
    let widths = [width(0, "component"), width(1, "address"), width(2, "uptime")];
    let mut text = String::new();
    let mut write = |row: [&str; 4]| {
        let [a, b, c] = widths;
        // Writing to a String does not fail.
        let _ = writeln!(text, "{:<a$}   {:<b$}   {:<c$}   {}", row[0], row[1], row[2], row[3]);
    };
    write(["component", "address", "uptime", "health"]);
    for row in &rows {
        write([&row[0], &row[1], &row[2], &row[3]]);
    }
    if credentials {
        for line in lines {
            let announce = &line.announce;
            let _ = writeln!(text, "http://{}/varz   {}", announce.host, announce.credentials.join(":"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_who_where_how_long_and_why_not() {
        let line = |kind: &str, problems: &[&str]| Line {
            announce: Announce {
                kind: kind.to_owned(),
                index: 0,
                uuid: "0-a".to_owned(),
                host: "127.0.0.1:7".to_owned(),
                credentials: vec!["status".to_owned(), "secret".to_owned()],
                start: String::new(),
                uptime: Some("0d:0h:0m:1s".to_owned()),
            },
            problems: problems.iter().map(|text| (*text).to_owned()).collect(),
        };
        let lines = [line("DEA", &["the warden is away", "no stack"]), line("CloudController", &[])];
        assert_eq!(
            table(&lines, false),
            "component           address       uptime        health\n\
             DEA/0               127.0.0.1:7   0d:0h:0m:1s   the warden is away; no stack\n\
             CloudController/0   127.0.0.1:7   0d:0h:0m:1s   ok\n"
        );
        assert!(table(&lines, true).contains("http://127.0.0.1:7/varz   status:secret"));
    }
}
