//! Requests at a fixed rate to one app, whatever becomes of those before, and which of them failed. A request has
//! failed when it is not answered 200 in time.

use super::plan::{BALANCER, DOMAIN};
use anyhow::Result;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Time from one request to the next.
const EVERY: Duration = Duration::from_millis(40);
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What became of one request.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// When it was sent.
    pub sent: Instant,
    /// How long it took.
    pub took: Duration,
    /// Why it failed.
    pub failure: Option<String>,
}

/// What was sent, and what became of it.
#[derive(Debug, Default)]
struct Record {
    sent: Vec<Instant>,
    outcomes: Vec<Outcome>,
}

/// A generator that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    record: Arc<Mutex<Record>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts to send requests to an app, through the load balancer.
    pub(crate) fn start(app: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build()?;
        let (record, stop) = (Arc::<Mutex<Record>>::default(), Arc::<AtomicBool>::default());
        let (host, all, until) = (format!("{app}.{DOMAIN}"), record.clone(), stop.clone());
        let thread = thread::spawn(move || runtime.block_on(send(client, host, all, until)));
        Ok(Self { record, stop, thread: Some(thread) })
    }

    /// Every request that was sent between two moments; waits until all of them have ended.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> Vec<Outcome> {
        let within = |sent: &Instant| *sent >= from && *sent < to;
        loop {
            {
                let record = lock(&self.record);
                let outcomes: Vec<Outcome> =
                    record.outcomes.iter().filter(|one| within(&one.sent)).cloned().collect();
                if outcomes.len() == record.sent.iter().filter(|sent| within(sent)).count() {
                    return outcomes;
                }
            }
            // Each has a time limit, so this ends.
            thread::sleep(EVERY);
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn send(client: reqwest::Client, host: String, all: Arc<Mutex<Record>>, stop: Arc<AtomicBool>) {
    let mut ticks = tokio::time::interval(EVERY);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let (client, host, all) = (client.clone(), host.clone(), all.clone());
        let sent = Instant::now();
        lock(&all).sent.push(sent);
        tokio::spawn(async move {
            let answer = client.get(format!("http://{BALANCER}/")).header("Host", host).send().await;
            let failure = match answer {
                Ok(answer) if answer.status() == 200 => {
                    answer.bytes().await.err().map(|error| reason(&error))
                }
                Ok(answer) => Some(format!("status {}", answer.status().as_u16())),
                Err(error) => Some(reason(&error)),
            };
            lock(&all).outcomes.push(Outcome { sent, took: sent.elapsed(), failure });
        });
    }
}

fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", ANSWER_LIMIT.as_secs());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
