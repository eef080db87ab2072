//! The last lines of each app, in memory.

use cupola_protocol::{AppId, logs::LogLine};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::Notify;

/// The last lines of each app.
#[derive(Debug)]
pub(crate) struct Logs {
    rings: Mutex<HashMap<AppId, Ring>>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Ring {
    /// In the order of their times, no two with the same.
    lines: VecDeque<LogLine>,
    news: Arc<Notify>,
}

/// Which lines a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// From this time on, in nanoseconds since 1970.
    pub start: i64,
    /// Before this time.
    pub end: i64,
    /// At most so many.
    pub limit: usize,
    /// The newest, newest first; else the oldest, oldest first.
    pub descending: bool,
}

impl Logs {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { rings: Mutex::default(), capacity }
    }

    fn rings(&self) -> MutexGuard<'_, HashMap<AppId, Ring>> {
        self.rings.lock().expect("no holder of this lock panics")
    }

    /// Takes a line in. Lines of several senders come out of order: each is put where its time belongs. A reader
    /// asks for what is newer than its last line, so two lines never get the same time.
    pub(crate) fn push(&self, mut line: LogLine) {
        let mut rings = self.rings();
        let ring = rings.entry(line.app.clone()).or_default();
        let mut place = ring.lines.partition_point(|other| other.timestamp < line.timestamp);
        while ring.lines.get(place).is_some_and(|other| other.timestamp == line.timestamp) {
            line.timestamp += 1;
            place += 1;
        }
        ring.lines.insert(place, line);
        while ring.lines.len() > self.capacity {
            ring.lines.pop_front();
        }
        ring.news.notify_waiters();
    }

    pub(crate) fn read(&self, app: &AppId, range: Range) -> Vec<LogLine> {
        let rings = self.rings();
        let Some(ring) = rings.get(app) else { return Vec::new() };
        let first = ring.lines.partition_point(|line| line.timestamp < range.start);
        let last = ring.lines.partition_point(|line| line.timestamp < range.end).max(first);
        let lines = ring.lines.range(first..last);
        if range.descending {
            lines.rev().take(range.limit).cloned().collect()
        } else {
            lines.take(range.limit).cloned().collect()
        }
    }

    /// As [`Logs::read`], but waits for a first line when there is none.
    pub(crate) async fn read_or_wait(&self, app: &AppId, range: Range, wait: Duration) -> Vec<LogLine> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let news = {
                let mut rings = self.rings();
                rings.entry(app.clone()).or_default().news.clone()
            };
            // Registered before the look, so that no line falls between the look and the wait.
            let notified = news.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let lines = self.read(app, range);
            if !lines.is_empty() || tokio::time::timeout_at(deadline, notified).await.is_err() {
                return lines;
            }
        }
    }

    pub(crate) fn forget(&self, app: &AppId) {
        self.rings().remove(app);
    }

    /// Forgets the lines of apps that are no more: a last line may come after the app was deleted.
    pub(crate) fn retain(&self, apps: &HashSet<AppId>) {
        self.rings().retain(|app, _| apps.contains(app));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_protocol::logs::{Source, Stream};

    fn line(at: i64, message: &str) -> LogLine {
        LogLine {
            app: AppId::new("a"),
            instance_id: "0".to_owned(),
            source_type: Source::App,
            stream: Stream::Out,
            timestamp: at,
            message: message.to_owned(),
        }
    }

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.message.as_str()).collect()
    }

    const ALL: Range = Range { start: i64::MIN, end: i64::MAX, limit: 100, descending: false };

    #[test]
    fn lines_are_ordered_by_time_and_the_oldest_go_first() {
        let logs = Logs::new(3);
        for (at, text) in [(5, "c"), (1, "a"), (3, "b"), (5, "d")] {
            logs.push(line(at, text));
        }
        let app = AppId::new("a");
        assert_eq!(texts(&logs.read(&app, ALL)), ["b", "c", "d"]);
        assert_eq!(texts(&logs.read(&app, Range { start: 6, ..ALL })), ["d"]);
        assert_eq!(texts(&logs.read(&app, Range { end: 5, ..ALL })), ["b"]);
        assert_eq!(texts(&logs.read(&app, Range { limit: 1, descending: true, ..ALL })), ["d"]);
        logs.retain(&HashSet::new());
        assert!(logs.read(&app, ALL).is_empty());
    }

    #[tokio::test]
    async fn a_reader_is_woken_by_the_first_new_line() {
        let logs = Arc::new(Logs::new(3));
        let app = AppId::new("a");
        let reader = {
            let (logs, app) = (logs.clone(), app.clone());
            tokio::spawn(async move { logs.read_or_wait(&app, ALL, Duration::from_secs(60)).await })
        };
        tokio::task::yield_now().await;
        logs.push(line(1, "a"));
        assert_eq!(texts(&reader.await.unwrap()), ["a"]);
        let none = logs.read_or_wait(&app, Range { start: 2, ..ALL }, Duration::from_millis(10)).await;
        assert!(none.is_empty());
    }
}
