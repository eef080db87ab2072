//! The access log: one line for each request, in gorouter's form.

use super::relay;
use crate::Error;
use cupola_protocol::AppId;
use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{BufWriter, Write as _},
    path::Path,
    time::Duration,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Lines that wait for the disk; more are dropped and counted.
const WAITING: usize = 8192;
/// How long a line may stay in memory.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// What is told about one request.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) host: String,
    pub(crate) started: OffsetDateTime,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) minor: u8,
    pub(crate) status: u16,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) referer: String,
    pub(crate) user_agent: String,
    pub(crate) peer: String,
    pub(crate) backend: String,
    pub(crate) forwarded_for: String,
    pub(crate) forwarded_proto: String,
    pub(crate) request_id: String,
    /// The whole time.
    pub(crate) took: Duration,
    /// The part of it that the app did not need.
    pub(crate) router_took: Duration,
    pub(crate) app: Option<AppId>,
    pub(crate) index: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) mark: Option<&'static str>,
}

impl Record {
    /// The line. Quotes, backslashes and control characters of clients cannot end a field or the line.
    pub(crate) fn line(&self) -> String {
        let started = self.started.format(&Rfc3339).unwrap_or_default();
        let mut line = String::with_capacity(512);
        let status = if self.status == 0 { "-".to_owned() } else { self.status.to_string() };
        // Writing to a String does not fail.
        let _ = write!(
            line,
            "{} - [{started}] {} {status} {} {} {} {} {} {} x_forwarded_for:{} x_forwarded_proto:{} \
             vcap_request_id:{} response_time:{:.6} gorouter_time:{:.6} app_id:{} app_index:{} instance_id:{} \
             x_cf_routererror:{}",
            self.host,
            quoted(&format!("{} {} HTTP/1.{}", self.method, self.target, self.minor)),
            self.received,
            self.sent,
            quoted(&self.referer),
            quoted(&self.user_agent),
            quoted(&self.peer),
            quoted(&self.backend),
            quoted(&self.forwarded_for),
            quoted(&self.forwarded_proto),
            quoted(&self.request_id),
            self.took.as_secs_f64(),
            self.router_took.as_secs_f64(),
            quoted(self.app.as_ref().map_or("", |app| app.as_str())),
            quoted(self.index.as_deref().unwrap_or("")),
            quoted(self.instance.as_deref().unwrap_or("")),
            quoted(self.mark.unwrap_or("")),
        );
        line
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() {
        return "\"-\"".to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            letter if letter.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", letter as u32);
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<mpsc::Sender<String>>,
    relay: Option<relay::Relay>,
}

impl Log {
    /// Lines go to `file`, or else to the program's log; to the apps as well when there is a relay.
    pub(crate) fn new(file: Option<mpsc::Sender<String>>, relay: Option<relay::Relay>) -> Self {
        Self { file, relay }
    }

    /// Tells about a request. Never waits: a full queue drops.
    pub(crate) fn tell(&self, record: &Record) {
        let line = record.line();
        if let (Some(relay), Some(app)) = (&self.relay, &record.app) {
            relay.tell(app, record.index.as_deref(), record.started, line.clone());
        }
        match &self.file {
            None => tracing::info!(target: "access", "{line}"),
            Some(file) => {
                if file.try_send(line).is_err() {
                    tracing::warn!("access log line dropped: the disk is too slow");
                }
            }
        }
    }
}

/// Writes lines to a file.
pub(crate) struct Writer {
    file: BufWriter<File>,
    lines: mpsc::Receiver<String>,
}

impl Writer {
    /// Opens the file for appending.
    pub(crate) fn open(path: &Path) -> Result<(Self, mpsc::Sender<String>), Error> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| Error::AccessLog { path: path.to_owned(), source })?;
        let (sender, lines) = mpsc::channel(WAITING);
        Ok((Self { file: BufWriter::with_capacity(64 * 1024, file), lines }, sender))
    }

    /// Writes until `shutdown`, and then what still waits.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        let mut failing = false;
        loop {
            let result = tokio::select! {
                () = shutdown.cancelled() => break,
                _ = flush.tick() => self.file.flush(),
                line = self.lines.recv() => match line {
                    Some(line) => writeln!(self.file, "{line}"),
                    None => break,
                },
            };
            // A full disk is told once, not at every line.
            match (result, failing) {
                (Err(error), false) => {
                    tracing::warn!(%error, "cannot write the access log");
                    failing = true;
                }
                (Ok(()), true) => failing = false,
                _ => {}
            }
        }
        while let Ok(line) = self.lines.try_recv() {
            let _ = writeln!(self.file, "{line}");
        }
        if let Err(error) = self.file.flush() {
            tracing::warn!(%error, "cannot write the end of the access log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_gorouters_form_and_cannot_be_broken() {
        let record = Record {
            host: "app.example.com".to_owned(),
            started: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
            method: "GET".to_owned(),
            target: "/a?b=c".to_owned(),
            minor: 1,
            status: 200,
            received: 0,
            sent: 5,
            referer: String::new(),
            user_agent: "a\"b\n\u{1b}[31m\\".to_owned(),
            peer: "192.0.2.1:5000".to_owned(),
            backend: "10.0.0.1:80".to_owned(),
            forwarded_for: "192.0.2.1".to_owned(),
            forwarded_proto: "http".to_owned(),
            request_id: "id".to_owned(),
            took: Duration::from_micros(1500),
            router_took: Duration::from_micros(300),
            app: Some("app".into()),
            index: Some("0".to_owned()),
            instance: Some("inst".to_owned()),
            mark: None,
        };
        assert_eq!(
            record.line(),
            "app.example.com - [2023-11-14T22:13:20Z] \"GET /a?b=c HTTP/1.1\" 200 0 5 \"-\" \
             \"a\\\"b\\u{a}\\u{1b}[31m\\\\\" \"192.0.2.1:5000\" \"10.0.0.1:80\" x_forwarded_for:\"192.0.2.1\" \
             x_forwarded_proto:\"http\" vcap_request_id:\"id\" response_time:0.001500 gorouter_time:0.000300 \
             app_id:\"app\" app_index:\"0\" instance_id:\"inst\" x_cf_routererror:\"-\""
        );
    }
}
