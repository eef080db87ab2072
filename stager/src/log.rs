//! What the developer sees while an app is staged.

use crate::lines::{Splitter, Tail};
use cupola_bus::Bus;
use cupola_protocol::{
    AppId,
    logs::{self, LogLine, Source, Stream},
};
use std::time::{SystemTime, UNIX_EPOCH};

/// The log of one staging.
#[derive(Debug)]
pub(crate) struct Log {
    bus: Bus,
    app: AppId,
}

impl Log {
    pub(crate) fn new(bus: Bus, app: AppId) -> Self {
        Self { bus, app }
    }

    /// A line of the stager's own.
    pub(crate) async fn say(&self, text: impl Into<String>) {
        self.send(Stream::Out, text.into()).await;
    }

    /// A log that is lost does not fail a staging.
    async fn send(&self, stream: Stream, message: String) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = LogLine {
            app: self.app.clone(),
            instance_id: "0".to_owned(),
            source_type: Source::Staging,
            stream,
            timestamp: i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX),
            message,
        };
        if let Err(error) = self.bus.publish_to(&logs::subject(&self.app), &line).await {
            tracing::debug!(app = %self.app, %error, "a line of a staging's log was lost");
        }
    }
}

/// A program's output on its way to the log.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    log: &'a Log,
    out: Splitter,
    err: Splitter,
    tail: Tail,
    answer: Option<String>,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(log: &'a Log) -> Self {
        Self { log, out: Splitter::default(), err: Splitter::default(), tail: Tail::default(), answer: None }
    }

    /// The same for a program whose standard output is an answer, and not for the log.
    pub(crate) fn with_answer(log: &'a Log) -> Self {
        Self { answer: Some(String::new()), ..Self::new(log) }
    }

    /// What the program has answered.
    pub(crate) fn answer(&self) -> &str {
        self.answer.as_deref().unwrap_or_default()
    }

    /// The program wrote.
    pub(crate) async fn push(&mut self, stream: Stream, bytes: &[u8]) {
        if let (Stream::Out, Some(answer)) = (stream, &mut self.answer) {
            answer.push_str(&String::from_utf8_lossy(bytes));
            return;
        }
        let splitter = if stream == Stream::Out { &mut self.out } else { &mut self.err };
        for line in splitter.push(bytes) {
            self.tail.push(&line);
            self.log.send(stream, line).await;
        }
    }

    /// The program has ended: gives its last lines.
    pub(crate) async fn finish(mut self) -> Vec<String> {
        for (stream, rest) in [(Stream::Out, self.out.finish()), (Stream::Err, self.err.finish())] {
            if let Some(line) = rest {
                self.tail.push(&line);
                self.log.send(stream, line).await;
            }
        }
        self.tail.into_lines()
    }
}
