//! `crashes` and `crashlogs`: instances that have ended by themselves, and what they left.

use super::{files, find_app};
use crate::{Error, api::Api, output};
use cupola_protocol::api::{App, Crash};
use time::{OffsetDateTime, macros::format_description};

/// The directory that nodes keep of a crashed instance.
const LOGS: &str = "logs";

/// Directories below it that are looked into.
const DEEPEST: usize = 4;

async fn list(api: &mut Api, app: &App) -> Result<Vec<Crash>, Error> {
    let crashes: Vec<Crash> = api.get(&format!("/v2/apps/{}/crashes", app.guid)).await?;
    if crashes.is_empty() {
        output::line(format_args!("app {} has not crashed lately", app.name));
    }
    Ok(crashes)
}

fn when(crash: &Crash) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    OffsetDateTime::from_unix_timestamp(crash.since as i64)
        .ok()
        .and_then(|time| time.format(&format).ok())
        .unwrap_or_default()
}

/// Runs `crashes`.
pub(crate) async fn run(name: &str) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    let crashes = list(&mut api, &app).await?;
    if crashes.is_empty() {
        return Ok(());
    }
    let row = |crash: &Crash| {
        let details = crash.details.clone().unwrap_or_default();
        vec![format!("#{}", crash.index), crash.instance.to_string(), when(crash), details]
    };
    let rows: Vec<_> = crashes.iter().map(row).collect();
    output::table(&["", "instance", "crashed", "details"], &rows);
    Ok(())
}

/// Runs `crashlogs`.
pub(crate) async fn logs(name: &str) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    for crash in list(&mut api, &app).await? {
        let details = crash.details.as_deref().unwrap_or("crashed");
        output::line(format_args!(
            "instance #{} {} at {}: {details}",
            crash.index,
            crash.instance,
            when(&crash)
        ));
        let mut shown = 0;
        let mut directories = vec![LOGS.to_owned()];
        while let Some(directory) = directories.pop() {
            let listing = match files::text(&mut api, &app, crash.instance.as_str(), &directory).await {
                Ok(listing) => listing,
                Err(Error::Refused { status: 404, .. }) => continue,
                Err(error) => return Err(error),
            };
            for entry in entries(&String::from_utf8_lossy(&listing)) {
                let path = format!("{directory}/{}", entry.trim_end_matches('/'));
                if entry.ends_with('/') {
                    if path.split('/').count() <= DEEPEST {
                        directories.push(path);
                    }
                    continue;
                }
                let text = files::text(&mut api, &app, crash.instance.as_str(), &path).await?;
                if !text.is_empty() {
                    shown += 1;
                    output::line(format_args!("==> {path} <=="));
                    output::bytes(&text);
                    if !text.ends_with(b"\n") {
                        output::line("");
                    }
                }
            }
        }
        if shown == 0 {
            output::line("it has left no log files");
        }
        output::line("");
    }
    Ok(())
}

/// Names in a directory's listing; those of directories end with `/`.
fn entries(listing: &str) -> Vec<&str> {
    listing.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.trim_end()).collect()
}

#[cfg(test)]
mod tests {
    use super::entries;

    #[test]
    fn names_are_read_with_their_spaces() {
        let line = |name: &str, size: &str| format!("{name:<35} {size:>10}\n");
        let listing = line("a b.log", "12B") + &line("deep/", "-") + &line(&"x".repeat(50), "1.0K");
        assert_eq!(entries(&listing), ["a b.log", "deep/", &"x".repeat(50)]);
    }
}
