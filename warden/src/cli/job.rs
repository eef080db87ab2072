//! Following a job that uses this process's own standard input and output.

use super::stdio::Shared;
use super::{Doing, Error};
use std::io;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use warden_client::Client;
use warden_client::message::SpawnRequest;

/// How long a daemon may be away while a job is followed: it is being restarted, and the job runs on.
pub(super) const AWAY: Duration = Duration::from_secs(30);

/// Signals of this process that are passed on to a job.
#[derive(Debug)]
pub(crate) struct Forwarded(Vec<(SignalKind, Signal)>);

impl Forwarded {
    /// Listens for what ends a program by custom: SIGHUP, SIGINT, SIGQUIT, SIGTERM; and for `more`.
    pub(crate) fn listen(more: &[SignalKind]) -> Result<Self, Error> {
        let custom =
            [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
        let listen = |kind: &SignalKind| {
            let signals = signal(*kind).map_err(|source| Error::system("listen for signals", source))?;
            Ok((*kind, signals))
        };
        custom.iter().chain(more).map(listen).collect::<Result<_, _>>().map(Forwarded)
    }

    /// The next one. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> u32 {
        std::future::poll_fn(|context| {
            for (kind, signals) in &mut self.0 {
                if signals.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(kind.as_raw_value() as u32);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// Runs a job on this process's own standard input and output, passes signals on to it, and gives its exit status.
/// Without `input` it reads the end of its input at once.
pub(crate) async fn direct(
    client: &Client,
    request: SpawnRequest,
    input: bool,
    signals: &mut Forwarded,
) -> Result<u32, Error> {
    let handle = request.handle.clone();
    let what = name(&request);
    let shared = Shared::prepare(input)?;
    let request = SpawnRequest { stdio_of: Some(std::process::id()), ..request };
    let spawned = client.spawn(request).await;
    // What this program itself says goes to where it always went.
    let copies = shared.restore()?;
    let job = spawned.doing(|| format!("run {what} in {handle}"))?;
    let result = follow(client, &handle, job, signals).await;
    copies.finish().await;
    result
}

/// Waits for a job's end, passing signals on, and gives its exit status. A daemon that is restarted meanwhile is
/// waited for.
pub(crate) async fn follow(
    client: &Client,
    handle: &str,
    job: u32,
    signals: &mut Forwarded,
) -> Result<u32, Error> {
    let patient = client.clone().with_patience(AWAY);
    let mut end = std::pin::pin!(link(&patient, handle, job));
    loop {
        tokio::select! {
            status = &mut end => return status.doing(|| format!("wait for job {job} of {handle}")),
            number = signals.next() => pass_on(client, handle, job, number).await,
        }
    }
}

async fn link(client: &Client, handle: &str, job: u32) -> Result<u32, warden_client::Error> {
    let mut broken: Option<Instant> = None;
    loop {
        match client.link(handle, job).await {
            Ok(response) => return Ok(response.exit_status.unwrap_or(255)),
            Err(error) if error.is_disconnected() => {
                // Without end only if the daemon is: a connection that is refused has been tried for long already.
                if matches!(error, warden_client::Error::Connect { .. })
                    || broken.is_some_and(|since| since.elapsed() > AWAY)
                {
                    return Err(error);
                }
                broken.get_or_insert_with(Instant::now);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Sends a job a signal. That it was not sent is said, and is no reason to give the job up.
pub(super) async fn pass_on(client: &Client, handle: &str, job: u32, number: u32) {
    if let Err(error) = client.signal(handle, job, number).await {
        eprintln!("warden: signal {number} was not passed on to job {job} of {handle}: {error}");
    }
}

/// What a job is called in messages.
pub(super) fn name(request: &SpawnRequest) -> String {
    request.argv.first().map_or_else(|| "a script".to_owned(), |program| format!("{program:?}"))
}

/// An error of this process's own input or output.
pub(super) fn failed(action: &str) -> impl Fn(io::Error) -> Error {
    move |source| Error::system(action, source)
}
