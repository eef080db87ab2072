//! What clients do to a job that runs: bytes to its standard input, the size of its terminal, signals.

use super::Error;
use super::connection::Replies;
use super::engine::Engine;
use super::job::Job;
use super::record::Phase;
use super::stream::blocking;
use crate::init::client::JobInput;
use crate::sys::watch;
use crate::wire::{Target, Window};
use cupola_protocol::warden::{
    InputRequest, InputResponse, ResizeRequest, ResizeResponse, SignalRequest, SignalResponse, WindowSize,
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::termios::{SpecialCharacterIndices, tcgetattr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::io::unix::AsyncFd;

/// Most bytes of one request: a pipe's capacity.
const MOST: usize = 64 * 1024;
/// The end of input at a terminal that does not say otherwise: control-D.
const END: u8 = 4;
/// Highest signal number (`_NSIG`).
const SIGNALS: u32 = 64;

/// What the daemon has of a job's standard input.
#[derive(Debug, Default)]
pub(crate) enum Input {
    /// Not asked of the init yet.
    #[default]
    Unknown,
    /// A way to it.
    Open { fd: AsyncFd<OwnedFd>, terminal: bool },
    /// Nothing more comes.
    Ended,
}

impl Input {
    fn open(input: JobInput) -> io::Result<Self> {
        // Whatever the init has sent must not hold up the daemon.
        fcntl(&input.fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let fd = watch::writable(input.fd)?;
        Ok(Input::Open { fd, terminal: input.terminal })
    }
}

impl Engine {
    /// Sends a signal to a job's processes.
    pub(crate) fn signal(&self, request: &SignalRequest) -> Result<SignalResponse, Error> {
        let container = self.find(&request.handle)?;
        container.require(&[Phase::Active, Phase::Stopped], "active, stopped")?;
        if !(1..=SIGNALS).contains(&request.signal) {
            return Err(Error::Invalid(format!(
                "signal {} is not between 1 and {SIGNALS}; see signal(7)",
                request.signal
            )));
        }
        let job = container.job(request.job_id)?;
        if !job.has_ended() {
            let target = Target::Job(job.id.into());
            container.init()?.signal(target, request.signal as i32).map_err(Error::init("signal the job"))?;
        }
        Ok(SignalResponse {})
    }

    /// Gives a job's terminal another size.
    pub(crate) fn resize(&self, request: &ResizeRequest) -> Result<ResizeResponse, Error> {
        let container = self.find(&request.handle)?;
        container.require(&[Phase::Active, Phase::Stopped], "active, stopped")?;
        let job = container.job(request.job_id)?;
        if !job.has_ended() {
            let window = window(request.size)?;
            let init = container.init()?;
            init.resize(job.id.into(), window).map_err(Error::init("resize the terminal"))?;
        }
        Ok(ResizeResponse {})
    }
}

/// A terminal's size as the kernel has it.
pub(crate) fn window(size: WindowSize) -> Result<Window, Error> {
    let fits = |number: u32| {
        let why = || Error::Invalid(format!("a terminal of {} by {} is too large", size.columns, size.rows));
        u16::try_from(number).map_err(|_| why())
    };
    Ok(Window { columns: fits(size.columns)?, rows: fits(size.rows)? })
}

/// Writes to a job's standard input; answers when the job can read all of it, or when nobody waits for the answer.
pub(crate) async fn input(
    engine: &Arc<Engine>,
    request: InputRequest,
    replies: &Replies,
) -> Result<InputResponse, Error> {
    let data = request.data.unwrap_or_default();
    if data.len() > MOST {
        return Err(Error::Invalid(format!("{} bytes of input are more than {MOST} at once", data.len())));
    }
    let container = engine.find(&request.handle)?;
    container.require_active()?;
    let job = container.job(request.job_id)?;
    // Until then others wait: pieces of several clients do not mix.
    let Some(mut input) = replies.unless_closed(job.input.lock()).await else { return Ok(InputResponse {}) };
    if matches!(*input, Input::Unknown) {
        let (init, id) = (container.init()?, job.id);
        let asked = blocking(move || init.input(id.into())).await?;
        let asked = asked.map_err(|failure| match failure.errno {
            libc::EPIPE | libc::ESRCH => Error::Invalid(format!(
                "job {} takes no input: it has ended, or was started without `input` and `tty`",
                job.id
            )),
            _ => Error::init("bring input to the job")(failure),
        })?;
        *input = Input::open(asked).map_err(Error::io("open the job's input", &container.directory))?;
    }
    let ended = || Error::Invalid(format!("job {} takes no more input", job.id));
    let Input::Open { fd, terminal } = &*input else { return Err(ended()) };
    let end = request.end.unwrap_or(false);
    let mut bytes = data.to_vec();
    if end && *terminal {
        bytes.push(end_of(fd.get_ref()));
    }
    let work = async {
        tokio::select! {
            biased;
            () = job.until_end() => Err(io::ErrorKind::BrokenPipe.into()),
            written = write(fd, &bytes) => written,
        }
    };
    match replies.unless_closed(work).await {
        // The client has gone. What it has sent so far stays sent.
        None => return Ok(InputResponse {}),
        Some(Ok(())) => (),
        Some(Err(_)) => {
            *input = Input::Ended;
            return Err(ended());
        }
    }
    if end && !*terminal {
        *input = Input::Ended;
        let (init, id) = (container.init()?, job.id);
        blocking(move || init.end_input(id.into())).await?.map_err(Error::init("end the job's input"))?;
    }
    Ok(InputResponse {})
}

async fn write(fd: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = fd.writable().await?;
        match ready.try_io(|fd| Ok(nix::unistd::write(fd.get_ref(), bytes)?)) {
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => (),
            Ok(written) => bytes = bytes.get(written?..).unwrap_or_default(),
            Err(_would_block) => (),
        }
    }
    Ok(())
}

/// The character that means the end of input at a terminal.
fn end_of(terminal: &OwnedFd) -> u8 {
    let set = tcgetattr(terminal.as_fd()).ok();
    set.and_then(|set| set.control_chars.get(SpecialCharacterIndices::VEOF as usize).copied())
        .filter(|character| *character != 0)
        .unwrap_or(END)
}

impl Job {
    /// Its input is nobody's any more; a write that is under way sees the end itself.
    pub(crate) fn close_input(&self) {
        if let Ok(mut input) = self.input.try_lock() {
            *input = Input::Ended;
        }
    }
}
