//! A job on a terminal: what is typed here goes to it, what it writes comes here, and its window has this one's size.

use super::job::{AWAY, Forwarded, name};
use super::terminal::{Raw, window_size};
use super::{Doing, Error};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use warden_client::message::SpawnRequest;
use warden_client::{Client, Output};

/// Output that is kept while this terminal is slower than the job, bytes.
const KEPT: u64 = 64 << 20;

/// What is read from the keyboard at once, bytes; the protocol takes 64 KiB.
const TYPED: usize = 16 << 10;

/// Reads of the keyboard that are held back while the job takes no input.
const AHEAD: usize = 4;

/// Runs a job on a terminal of its own, which this process's terminal becomes a view of; gives its exit status. The
/// job's `tty` is this terminal's size.
pub(crate) async fn relayed(
    client: &Client,
    request: SpawnRequest,
    signals: &mut Forwarded,
) -> Result<u32, Error> {
    let (handle, what) = (request.handle.clone(), name(&request));
    let request =
        SpawnRequest { tty: Some(window_size(io::stdin())), output_ring_bytes: Some(KEPT), ..request };
    let mut resized =
        signal(SignalKind::window_change()).map_err(|source| Error::system("listen for signals", source))?;
    let job = client.spawn(request).await.doing(|| format!("run {what} in {handle}"))?;
    // From here on, until it is dropped, all that is typed is the job's.
    let raw = Raw::enter()?;
    let typing = tokio::spawn(type_on(client.clone(), handle.clone(), job, keyboard()));
    let mut output = tokio::spawn(show(client.clone(), handle.clone(), job));
    let status = loop {
        tokio::select! {
            shown = &mut output => break shown.unwrap_or_else(|error| Err(Error::system("show the output", io::Error::other(error)))),
            Some(()) = resized.recv() => {
                // A job that has just ended has no window.
                let _ = client.resize(&handle, job, window_size(io::stdin())).await;
            }
            number = signals.next() => {
                // The terminal is gone, or somebody wants this process to end: so does the job.
                let _ = client.signal(&handle, job, number).await;
                if number != libc::SIGINT as u32 && number != libc::SIGQUIT as u32 {
                    output.abort();
                    break Ok(128 + number);
                }
            }
        }
    };
    typing.abort();
    drop(raw);
    status
}

/// What is typed. The thread waits for the keyboard until this process ends.
fn keyboard() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut keyboard = io::stdin().lock();
        let mut buffer = vec![0; TYPED];
        loop {
            match keyboard.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(_) => return,
            }
        }
    });
    receiver
}

async fn type_on(client: Client, handle: String, job: u32, mut keyboard: mpsc::Receiver<Vec<u8>>) {
    let client = client.with_patience(AWAY);
    while let Some(typed) = keyboard.recv().await {
        // A job that takes no more input will end by itself, or be ended.
        if let Err(error) = client.input(&handle, job, &typed, false).await
            && !error.is_disconnected()
        {
            return;
        }
    }
    // The keyboard is at its end: so is the job's input.
    let _ = client.input(&handle, job, &[], true).await;
}

/// Shows what the job writes, to its end; gives its exit status. Goes on where it was when the daemon is restarted.
async fn show(client: Client, handle: String, job: u32) -> Result<u32, Error> {
    let client = client.with_patience(AWAY);
    let follow = || format!("follow job {job} of {handle}");
    let (mut offset, mut broken): (u64, Option<Instant>) = (0, None);
    loop {
        let error = match piece_by_piece(&client, &handle, job, &mut offset).await {
            Ok(status) => return status,
            Err(error) => error,
        };
        let lost = matches!(error, warden_client::Error::Connect { .. }) || !error.is_disconnected();
        if lost || broken.is_some_and(|since| since.elapsed() > AWAY) {
            return Err(error).doing(follow);
        }
        broken.get_or_insert_with(Instant::now);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn piece_by_piece(
    client: &Client,
    handle: &str,
    job: u32,
    offset: &mut u64,
) -> Result<Result<u32, Error>, warden_client::Error> {
    let mut stream = client.stream(handle, job, Some(*offset)).await?;
    while let Some(piece) = stream.next().await? {
        match piece {
            Output::Data { bytes, .. } => {
                *offset = stream.offset();
                let mut out = io::stdout().lock();
                if let Err(source) = out.write_all(&bytes).and_then(|()| out.flush()) {
                    return Ok(Err(Error::system("write to the terminal", source)));
                }
            }
            Output::Exited { status, .. } => return Ok(Ok(status)),
        }
    }
    Ok(Ok(255))
}
