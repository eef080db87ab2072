//! The lines of an instance: its process', and ours about it.

use super::{
    Exit, Kept, Record,
    output::{Limiter, Lines},
};
use crate::node::Node;
use cupola_protocol::{
    AppId, Bytes,
    dea::Limits,
    logs::{LogLine, Source, Stream, subject},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use warden_client::{Name, Output, message::InfoResponse};

/// First pause before the warden is asked again; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before the warden is asked again.
const LAST_PAUSE: Duration = Duration::from_secs(3);

/// So many refusals in a row mean that the process is gone: a warden that has just come up may not have found
/// all its containers yet.
const REFUSALS: u32 = 3;

/// How long the kernel's word about a process that it killed for lack of memory may take to reach the warden.
const LAST_WORD: Duration = Duration::from_millis(200);

/// How full a disk counts as full.
const FULL: f64 = 0.97;

/// Sends lines of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    node: Arc<Node>,
    app: AppId,
    index: String,
    kept: Arc<Kept>,
}

impl Logs {
    pub(crate) fn new(node: Arc<Node>, record: &Record) -> Self {
        let kept = node.outputs.open(&record.instance);
        Self { node, app: record.message.droplet.clone(), index: record.message.index.to_string(), kept }
    }

    /// The last output of the instance.
    pub(crate) fn kept(&self) -> Arc<Kept> {
        self.kept.clone()
    }

    /// A line of ours about the instance.
    pub(crate) async fn tell(&self, message: impl Into<String>) {
        self.send(Source::Cell, Stream::Out, message.into()).await;
    }

    async fn send(&self, source_type: Source, stream: Stream, message: String) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = LogLine {
            app: self.app.clone(),
            instance_id: self.index.clone(),
            source_type,
            stream,
            timestamp: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
            message,
        };
        self.node.publish_to(&subject(&self.app), &line).await;
    }
}

/// Passes the output of a process on until it ends, over any number of restarts of the warden, and says how it
/// ended. While the bus is away nothing is read: the warden keeps the newest output.
pub(crate) async fn follow(
    logs: Logs,
    handle: String,
    job: u32,
    offset: Arc<AtomicU64>,
    limits: Limits,
) -> Exit {
    let node = logs.node.clone();
    let mut connected = node.bus.connected();
    let mut lines = Lines::after(offset.load(Ordering::Relaxed));
    // Some of what was passed on already is read again, as the last output that is kept.
    let mut read = lines.read().saturating_sub(2 * node.outputs.limit());
    let mut limiter =
        Limiter::new(node.config.log_lines_per_second, node.config.log_bytes_per_second, Instant::now());
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pause = FIRST_PAUSE;
    let mut refusals = 0;
    loop {
        let error = match node.warden.stream(&handle, job, Some(read)).await {
            Ok(mut stream) => loop {
                // A bus that is closed for good is the end of the agent, which ends this task too.
                let _ = connected.wait_for(|connected| *connected).await;
                let next = tokio::select! {
                    next = stream.next() => next,
                    _ = tick.tick() => {
                        tell_dropped(&logs, &mut limiter).await;
                        continue;
                    }
                };
                match next {
                    Ok(Some(Output::Data { name, bytes, offset: end })) => {
                        refusals = 0;
                        pause = FIRST_PAUSE;
                        let stream = match name {
                            Name::Stdout => Stream::Out,
                            Name::Stderr => Stream::Err,
                        };
                        logs.kept.push(stream, &bytes);
                        read = end;
                        let new = end.saturating_sub(lines.read()).min(bytes.len() as u64);
                        let seen = bytes.len() - new as usize;
                        if new == 0 {
                            continue;
                        }
                        for line in lines.push(stream, &bytes[seen..], end) {
                            send_limited(&logs, &mut limiter, stream, line).await;
                        }
                        offset.store(lines.given_out(), Ordering::Relaxed);
                    }
                    Ok(Some(Output::Exited { status, info })) => {
                        for (stream, line) in lines.finish() {
                            send_limited(&logs, &mut limiter, stream, line).await;
                        }
                        offset.store(lines.given_out(), Ordering::Relaxed);
                        return end(&node, &handle, status, *info, limits).await;
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            },
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            if !error.is_disconnected() {
                refusals += 1;
                if refusals >= REFUSALS {
                    tracing::warn!(%handle, error = &error as &dyn std::error::Error, "a process is gone");
                    return Exit {
                        status: 255,
                        description: "the container of the instance is gone".to_owned(),
                    };
                }
            }
            tracing::info!(%handle, error = &error as &dyn std::error::Error, "the output is interrupted");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

async fn send_limited(logs: &Logs, limiter: &mut Limiter, stream: Stream, line: String) {
    tell_dropped(logs, limiter).await;
    if limiter.admit(line.len(), Instant::now()) {
        logs.send(Source::App, stream, line).await;
    }
}

async fn tell_dropped(logs: &Logs, limiter: &mut Limiter) {
    if let Some(dropped) = limiter.take_dropped(Instant::now()) {
        let rate = logs.node.config.log_lines_per_second;
        logs.tell(format!("{dropped} lines were dropped: an instance may log {rate} lines per second")).await;
    }
}

/// How a process ended, with the kernel's word on memory even when it comes late.
async fn end(node: &Node, handle: &str, status: u32, info: Option<InfoResponse>, limits: Limits) -> Exit {
    let mut info = info;
    if status != 0 && !info.as_ref().is_some_and(out_of_memory) {
        tokio::time::sleep(LAST_WORD).await;
        if let Ok(later) = node.warden.info(handle).await {
            info = Some(later);
        }
    }
    Exit {
        status: i32::try_from(status).unwrap_or(255),
        description: describe(status, info.as_ref(), limits),
    }
}

fn out_of_memory(info: &InfoResponse) -> bool {
    info.oom_kills.unwrap_or(0) > 0 || info.events.iter().any(|event| event == "out of memory")
}

/// The historic precedence: what the container saw, then the bare end.
fn describe(status: u32, info: Option<&InfoResponse>, limits: Limits) -> String {
    if let Some(info) = info {
        if out_of_memory(info) {
            return format!("out of memory: limit {}; raise it with cupola scale -m", limits.mem);
        }
        if let Some(event) = info.events.last() {
            return event.clone();
        }
        let used = info.disk_stat.as_ref().and_then(|disk| disk.bytes_used).unwrap_or(0);
        if status != 0 && used as f64 >= FULL * limits.disk.bytes().0 as f64 {
            return format!(
                "app instance exited with status {status}; its disk is full ({} of {}): raise it with cupola \
                 scale -k",
                Bytes(used),
                limits.disk
            );
        }
    }
    match status {
        255 => "app instance exited: it was killed by a signal, or exited with status 255".to_owned(),
        status => format!("app instance exited with status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_protocol::Mebibytes;
    use warden_client::message::DiskStat;

    const LIMITS: Limits = Limits { mem: Mebibytes(64), disk: Mebibytes(100), fds: 1 };

    #[test]
    fn ends_are_told_in_words_that_help() {
        let info = |events: &[&str], oom_kills, used| InfoResponse {
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            oom_kills: Some(oom_kills),
            disk_stat: Some(DiskStat { bytes_used: Some(used), inodes_used: None }),
            ..InfoResponse::default()
        };
        let memory = "out of memory: limit 64M; raise it with cupola scale -m";
        let describe = |status, info| describe(status, Some(&info), LIMITS);
        assert_eq!(describe(255, info(&["out of memory"], 0, 0)), memory);
        assert_eq!(describe(1, info(&[], 1, 0)), memory);
        assert_eq!(
            describe(255, info(&["command exceeded maximum output"], 0, 0)),
            "command exceeded maximum output"
        );
        let full = describe(1, info(&[], 0, 100 << 20));
        assert!(full.contains("cupola scale -k"), "{full}");
        assert_eq!(describe(3, info(&[], 0, 1)), "app instance exited with status 3");
    }
}
