//! Giving a job this process's own standard input and output. Pipes and files are given as they are: no byte of theirs
//! passes through anybody. A terminal is not given to a container, which could change its modes and read what is typed
//! afterwards: there the job gets a pipe, and this process copies.

use super::Error;
use super::job::failed;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, pipe2};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Which of the three, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Input = 0,
    Output = 1,
    Error = 2,
}

impl Stream {
    const ALL: [Stream; 3] = [Stream::Input, Stream::Output, Stream::Error];

    fn put(self, fd: impl AsFd) -> io::Result<()> {
        match self {
            Stream::Input => dup2_stdin(fd),
            Stream::Output => dup2_stdout(fd),
            Stream::Error => dup2_stderr(fd),
        }
        .map_err(Into::into)
    }

    fn own(self) -> io::Result<OwnedFd> {
        match self {
            Stream::Input => io::stdin().as_fd().try_clone_to_owned(),
            Stream::Output => io::stdout().as_fd().try_clone_to_owned(),
            Stream::Error => io::stderr().as_fd().try_clone_to_owned(),
        }
    }
}

/// Standard input and output as a job may have them, from [`Shared::prepare`] to [`Shared::restore`].
#[derive(Debug)]
pub(super) struct Shared(Vec<Replaced>);

/// One that was replaced.
#[derive(Debug)]
struct Replaced {
    stream: Stream,
    /// What it was.
    own: OwnedFd,
    /// This process's end of the pipe in its place; none for input that is at its end.
    pipe: Option<OwnedFd>,
}

/// What is copied between pipes of a job and this process's terminal.
#[derive(Debug)]
pub(super) struct Copies {
    threads: Vec<std::thread::JoinHandle<()>>,
    /// Closed when the job has ended.
    running: OwnedFd,
}

impl Shared {
    /// Replaces what a job cannot have. Without `input` its input is at its end.
    pub(super) fn prepare(input: bool) -> Result<Self, Error> {
        let mut shared = Shared(Vec::new());
        for stream in Stream::ALL {
            let own = stream.own().map_err(failed("look at standard input and output"))?;
            let mut replace = |with: OwnedFd, pipe: Option<OwnedFd>| {
                stream.put(&with).map_err(failed("replace standard input and output"))?;
                shared.0.push(Replaced {
                    stream,
                    own: own.try_clone().map_err(failed("keep a descriptor"))?,
                    pipe,
                });
                Ok::<_, Error>(())
            };
            if stream == Stream::Input && !input {
                let null = File::open("/dev/null").map_err(failed("open /dev/null"))?;
                replace(null.into(), None)?;
            } else if needs_pipe(own.as_fd()) {
                let (reading, writing) =
                    pipe2(OFlag::O_CLOEXEC).map_err(|errno| Error::system("make a pipe", errno))?;
                match stream {
                    Stream::Input => replace(reading, Some(writing))?,
                    _ => replace(writing, Some(reading))?,
                }
            }
        }
        Ok(shared)
    }

    /// Puts back what was replaced, and begins to copy: the job has its ends of the pipes by now.
    pub(super) fn restore(mut self) -> Result<Copies, Error> {
        let (waiting, running) =
            pipe2(OFlag::O_CLOEXEC).map_err(|errno| Error::system("make a pipe", errno))?;
        let mut threads = Vec::new();
        for replaced in std::mem::take(&mut self.0) {
            replaced.stream.put(&replaced.own).map_err(failed("restore standard input and output"))?;
            let Some(pipe) = replaced.pipe else { continue };
            match replaced.stream {
                // Waits for what is typed, perhaps for ever: nobody waits for it.
                Stream::Input => drop(std::thread::spawn(|| copy_in(replaced.own, pipe))),
                _ => {
                    let waiting = waiting.try_clone().map_err(failed("keep a descriptor"))?;
                    threads.push(std::thread::spawn(move || copy_out(pipe, replaced.own, waiting)));
                }
            }
        }
        Ok(Copies { threads, running })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for replaced in &self.0 {
            let _ = replaced.stream.put(&replaced.own);
        }
    }
}

impl Copies {
    /// The job has ended: copies what it has left in the pipes. What its detached children write later is theirs.
    pub(super) async fn finish(self) {
        drop(self.running);
        let join = move || self.threads.into_iter().for_each(|thread| drop(thread.join()));
        let _ = tokio::task::spawn_blocking(join).await;
    }
}

/// Whether a container is not given this: a terminal, or a socket, which cannot be opened a second time.
fn needs_pipe(fd: BorrowedFd<'_>) -> bool {
    let socket = || {
        fstat(fd).is_ok_and(|stat| {
            SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFSOCK
        })
    };
    fd.is_terminal() || socket()
}

fn copy_in(own: OwnedFd, pipe: OwnedFd) {
    // Ends with the input or with the job, whose end closes the pipe.
    let _ = io::copy(&mut File::from(own), &mut File::from(pipe));
}

/// Copies until the pipe is closed, or is empty after the job's end.
fn copy_out(pipe: OwnedFd, own: OwnedFd, waiting: OwnedFd) {
    if fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_err() {
        return;
    }
    let (mut pipe, mut own) = (File::from(pipe), File::from(own));
    let mut buffer = vec![0; 1 << 16];
    let mut running = true;
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                // Nobody reads any more: the job will find the pipe closed.
                if own.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && running => {
                let readable = PollFlags::POLLIN;
                let mut both = [PollFd::new(pipe.as_fd(), readable), PollFd::new(waiting.as_fd(), readable)];
                if matches!(poll(&mut both, PollTimeout::NONE), Err(errno) if errno != nix::Error::EINTR) {
                    return;
                }
                // One more look after the end: what was written before it is there by then.
                running = !both[1].any().unwrap_or(true);
            }
            Err(_) => return,
        }
    }
}
