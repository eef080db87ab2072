//! `logs`: what an app and the platform said of it.

use super::find_app;
use crate::{Error, api::Api, output};
use cupola_protocol::{
    api::{Envelope, ReadLogs},
    logs::Stream,
};
use std::{collections::HashSet, time::Duration};
use time::{OffsetDateTime, macros::format_description};

/// Lines that `--recent` shows at most.
const RECENT: usize = 1000;
/// Pause between two looks; the API holds an empty answer for a moment itself.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs the command.
pub(crate) async fn run(name: &str, recent: bool) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    if recent {
        let path = format!("/api/v1/read/{}?descending=true&envelope_types=LOG&limit={RECENT}", app.guid);
        let mut batch = api.get::<ReadLogs>(&path).await?.envelopes.batch;
        batch.reverse();
        batch.iter().for_each(print);
        return Ok(());
    }
    let mut tail = Tail::new(&mut api, &app.guid).await?;
    loop {
        tail.read(&mut api).await?.iter().for_each(print);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Follows one app's log from now on, each line once.
#[derive(Debug)]
pub(crate) struct Tail {
    app: String,
    from: i64,
    /// Lines at the newest time: others of that very nanosecond may follow.
    seen: HashSet<(String, String)>,
}

impl Tail {
    /// From the newest line on. That line's time is asked for, since our clock may not be the platform's.
    pub(crate) async fn new(api: &mut Api, app: &str) -> Result<Self, Error> {
        let path = format!("/api/v1/read/{app}?descending=true&envelope_types=LOG&limit=1");
        let newest = api.get::<ReadLogs>(&path).await?.envelopes.batch;
        let mut tail = Self { app: app.to_owned(), from: 0, seen: HashSet::new() };
        if let Some(envelope) = newest.first() {
            tail.is_new(envelope);
        }
        Ok(tail)
    }

    /// What is new.
    pub(crate) async fn read(&mut self, api: &mut Api) -> Result<Vec<Envelope>, Error> {
        let path =
            format!("/api/v1/read/{}?envelope_types=LOG&limit=1000&start_time={}", self.app, self.from);
        let batch = api.get::<ReadLogs>(&path).await?.envelopes.batch;
        Ok(batch.into_iter().filter(|envelope| self.is_new(envelope)).collect())
    }

    fn is_new(&mut self, envelope: &Envelope) -> bool {
        let payload = envelope.log.as_ref().map_or(String::new(), |log| log.payload.clone());
        let key = (envelope.instance_id.clone(), payload);
        if envelope.timestamp > self.from {
            self.from = envelope.timestamp;
            self.seen.clear();
        }
        envelope.timestamp == self.from && self.seen.insert(key)
    }
}

/// Prints one line: time, source and instance, output, text.
pub(crate) fn print(envelope: &Envelope) {
    output::line(format_args!("{}", render(envelope)));
}

fn render(envelope: &Envelope) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:2]Z");
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(envelope.timestamp))
        .ok()
        .and_then(|time| time.format(&format).ok())
        .unwrap_or_default();
    let stream = match envelope.log.as_ref().map(|log| log.stream) {
        Some(Stream::Err) => "ERR",
        _ => "OUT",
    };
    let source = format!("[{}/{}]", envelope.source_type(), envelope.instance_id);
    format!("{time} {source:<18} {stream} {}", envelope.text().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_protocol::{
        AppId,
        logs::{LogLine, Source},
    };

    fn line(timestamp: i64, message: &str) -> Envelope {
        Envelope::of(&LogLine {
            app: AppId::new("a"),
            instance_id: "0".to_owned(),
            source_type: Source::App,
            stream: Stream::Err,
            timestamp,
            message: message.to_owned(),
        })
    }

    #[test]
    fn a_line_shows_when_who_and_what() {
        let shown = render(&line(1_767_225_600_390_000_000, "hello"));
        assert_eq!(shown, "2026-01-01T00:00:00.39Z [APP/PROC/WEB/0]   ERR hello");
    }

    #[test]
    fn each_line_is_new_once() {
        let mut tail = Tail { app: "a".to_owned(), from: 10, seen: HashSet::new() };
        assert!(tail.is_new(&line(11, "a")));
        assert!(!tail.is_new(&line(11, "a")));
        assert!(tail.is_new(&line(11, "b")), "another line of the same time");
        assert!(tail.is_new(&line(12, "a")), "the same text later");
        assert!(!tail.is_new(&line(11, "b")), "an old line that comes again");
    }
}
