//! Answers that take as long as a job: link, run and stream.

use super::Error;
use super::connection::Replies;
use super::engine::Engine;
use super::info::info;
use super::job::{After, End, Reader};
use super::spool::{self, Piece};
use cupola_protocol::warden::{InfoResponse, LinkResponse, StreamRequest, StreamResponse, Type};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A spool read goes on for this many pieces before others get their turn.
const BATCH: usize = 64;

/// A reader that is given back whatever happens to the client.
struct Attached {
    engine: Arc<Engine>,
    handle: String,
    /// `None` only while being given back.
    reader: Option<Reader>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        let job = reader.job().id;
        if reader.leave() == After::Forget {
            let (engine, handle) = (self.engine.clone(), std::mem::take(&mut self.handle));
            self.engine.runtime.spawn_blocking(move || engine.forget(&handle, job));
        }
    }
}

impl Attached {
    fn new(engine: &Arc<Engine>, handle: &str, job: u32) -> Result<Self, Error> {
        let reader = engine.attach(handle, job)?;
        Ok(Attached { engine: engine.clone(), handle: handle.to_owned(), reader: Some(reader) })
    }

    fn reader(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("only drop takes the reader")
    }

    /// Sends the answer that has the job's end.
    async fn deliver(&mut self, kind: Type, answer: &impl prost::Message, replies: &mut Replies) {
        self.reader().deliver(true);
        if replies.send(kind, answer).await.is_err() {
            self.reader().deliver(false);
        }
    }
}

/// Waits for a job and sends its whole output and its end, as the answer of a link or of a run.
pub(crate) async fn link(
    engine: &Arc<Engine>,
    handle: &str,
    job: u32,
    kind: Type,
    replies: &mut Replies,
) -> Result<(), Error> {
    // Held, so that a destroyed container can still be told of.
    let container = engine.find(handle)?;
    let mut attached = Attached::new(engine, handle, job)?;
    let reader = attached.reader();
    let Some(end) = replies.unless_closed(reader.end()).await else { return Ok(()) };
    let directory = reader.directory();
    let read = move || (spool::read_all(&directory), info(&container));
    let (output, info) = blocking(read).await?;
    let (stdout, stderr) =
        output.map_err(Error::io("read the job's output", &attached.reader().directory()))?;
    let text = |bytes: Vec<u8>| Some(String::from_utf8_lossy(&bytes).into_owned());
    let response = LinkResponse {
        exit_status: Some(end.status()),
        stdout: text(stdout),
        stderr: text(stderr),
        info: Some(info),
    };
    attached.deliver(kind, &response, replies).await;
    Ok(())
}

/// Sends a job's output as it comes, and its end.
pub(crate) async fn stream(
    engine: &Arc<Engine>,
    request: &StreamRequest,
    replies: &mut Replies,
) -> Result<(), Error> {
    let container = engine.find(&request.handle)?;
    let mut attached = Attached::new(engine, &request.handle, request.job_id)?;
    let mut spool = Some(attached.reader().spool(request.from_offset.unwrap_or(0)));
    let end = loop {
        // Before reading: what is written after this is seen by the next round.
        let progress = attached.reader().progress();
        let mut reading = spool.take().expect("given back below");
        let read = move || {
            let mut pieces = Vec::new();
            while pieces.len() < BATCH
                && let Some(piece) = reading.next()?
            {
                pieces.push(piece);
            }
            Ok::<_, std::io::Error>((pieces, reading))
        };
        let directory = attached.reader().directory();
        let (pieces, reading) =
            blocking(read).await?.map_err(Error::io("read the job's output", &directory))?;
        spool = Some(reading);
        let some = !pieces.is_empty();
        for piece in pieces {
            if replies.send(Type::Stream, &response(piece)).await.is_err() {
                return Ok(());
            }
        }
        match progress.end {
            _ if some => (),
            Some(end) => break end,
            None => {
                if replies.unless_closed(attached.reader().changed()).await.is_none() {
                    return Ok(());
                }
            }
        }
    };
    let info = blocking(move || info(&container)).await?;
    attached.deliver(Type::Stream, &last(end, info), replies).await;
    Ok(())
}

fn response(piece: Piece) -> StreamResponse {
    let name = if piece.stream == 1 { "stdout" } else { "stderr" };
    StreamResponse {
        name: Some(name.to_owned()),
        data: Some(piece.bytes.into()),
        offset: Some(piece.offset),
        ..Default::default()
    }
}

fn last(end: End, info: InfoResponse) -> StreamResponse {
    StreamResponse { exit_status: Some(end.status()), info: Some(info), ..Default::default() }
}

/// Runs what waits for the kernel on this very thread, whose other tasks go on in another: a request that is answered
/// soon then costs no change of threads, which takes longer than most of them.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::block_in_place(|| catch_unwind(AssertUnwindSafe(work)));
    done.map_err(|_| Error::Invalid("the server failed at this request; its log says where".to_owned()))
}
