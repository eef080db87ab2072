//! A job as the daemon sees it: how far it is, who reads it, and that its result is given once.

use super::input::Input;
use super::lock;
use super::spool::Spool;
use crate::wire::{JobEnd, JobState};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Bytes of output so far.
    pub(crate) offset: u64,
    /// Set when it has ended.
    pub(crate) end: Option<End>,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its init has said how.
    Known(JobEnd),
    /// Its container has gone, and nobody has seen how.
    Lost,
}

impl End {
    /// The exit status of the protocol.
    pub(crate) fn status(self) -> u32 {
        match self {
            End::Known(end) if end.output_limit => 255,
            End::Known(end) => end.exit.status(),
            End::Lost => 255,
        }
    }
}

/// A job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: u32,
    directory: PathBuf,
    progress: watch::Sender<Progress>,
    readers: Mutex<Readers>,
    pub(crate) input: tokio::sync::Mutex<Input>,
}

#[derive(Debug, Default)]
struct Readers {
    now: usize,
    /// One of them has had the end: the job is not given to another.
    delivered: bool,
}

/// What remains to be done when a reader has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing: it is still wanted.
    Keep,
    /// Its result has been given and nobody reads any more.
    Forget,
}

impl Job {
    /// A job that is about to run; its output will be in `directory`.
    pub(crate) fn new(id: u32, directory: PathBuf) -> Self {
        let (progress, readers, input) = Default::default();
        Job { id, directory, progress, readers, input }
    }

    /// A job that an init has told of.
    pub(crate) fn known(state: JobState, directory: PathBuf) -> Option<Self> {
        let job = Job::new(u32::try_from(state.id).ok()?, directory);
        job.progress.send_replace(Progress { offset: state.offset, end: state.end.map(End::Known) });
        Some(job)
    }

    /// More output.
    pub(crate) fn wrote(&self, offset: u64) {
        self.progress.send_if_modified(|progress| std::mem::replace(&mut progress.offset, offset) != offset);
    }

    /// It has ended. Only the first end counts.
    pub(crate) fn ended(&self, end: End) {
        self.progress.send_if_modified(|progress| {
            let first = progress.end.is_none();
            if first {
                progress.end = Some(end);
            }
            first
        });
        self.close_input();
    }

    /// Waits for its end.
    pub(crate) async fn until_end(&self) {
        // The sender lives in this job.
        let _ = self.progress.subscribe().wait_for(|progress| progress.end.is_some()).await;
    }

    /// Waits until it has ended.
    pub(crate) async fn until_ended(&self) {
        // The sender is this job's own: it is there.
        let _ = self.progress.subscribe().wait_for(|progress| progress.end.is_some()).await;
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.progress.borrow().end.is_some()
    }

    /// Whether somebody is reading it.
    pub(crate) fn is_read(&self) -> bool {
        lock(&self.readers).now > 0
    }

    /// A new reader; `None` when the result has been given.
    pub(crate) fn attach(self: &Arc<Self>) -> Option<Reader> {
        let mut readers = lock(&self.readers);
        if readers.delivered {
            return None;
        }
        readers.now += 1;
        Some(Reader { job: self.clone(), progress: self.progress.subscribe() })
    }
}

/// Somebody who waits for a job's output or end. It must be ended with [`Reader::leave`].
#[derive(Debug)]
pub(crate) struct Reader {
    job: Arc<Job>,
    progress: watch::Receiver<Progress>,
}

impl Reader {
    /// The job.
    pub(crate) fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// How far it is now; a later change wakes [`Reader::changed`].
    pub(crate) fn progress(&mut self) -> Progress {
        *self.progress.borrow_and_update()
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&mut self) {
        // The sender lives in the job that this reader holds.
        let _ = self.progress.changed().await;
    }

    /// Waits for the job's end.
    pub(crate) async fn end(&mut self) -> End {
        loop {
            if let Some(end) = self.progress().end {
                return end;
            }
            self.changed().await;
        }
    }

    /// Where its output is.
    pub(crate) fn directory(&self) -> PathBuf {
        self.job.directory.clone()
    }

    /// Reads its output from an offset.
    pub(crate) fn spool(&self, from: u64) -> Spool {
        Spool::new(self.job.directory.clone(), from)
    }

    /// Says whether the end has reached the client. It is said to have before it is sent, and taken back when that
    /// fails: a client that has its answer must not find the job again.
    pub(crate) fn deliver(&self, delivered: bool) {
        lock(&self.job.readers).delivered = delivered;
    }

    /// Leaves.
    pub(crate) fn leave(self) -> After {
        let mut readers = lock(&self.job.readers);
        readers.now -= 1;
        if readers.delivered && readers.now == 0 { After::Forget } else { After::Keep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_given_once_but_to_all_who_were_waiting() {
        let job = Arc::new(Job::new(1, PathBuf::new()));
        let (a, b) = (job.attach().unwrap(), job.attach().unwrap());
        a.deliver(true);
        assert_eq!(a.leave(), After::Keep);
        assert!(job.attach().is_none());
        assert_eq!(b.leave(), After::Forget);
    }

    #[test]
    fn a_reader_that_breaks_off_keeps_the_job() {
        let job = Arc::new(Job::new(1, PathBuf::new()));
        let reader = job.attach().unwrap();
        reader.deliver(true);
        reader.deliver(false);
        assert_eq!(reader.leave(), After::Keep);
        assert!(job.attach().is_some());
    }

    #[test]
    fn only_the_first_end_counts() {
        let job = Arc::new(Job::new(1, PathBuf::new()));
        job.ended(End::Lost);
        let exit = crate::wire::Exit::Code(0);
        job.ended(End::Known(JobEnd { exit, output_limit: false, offset: 0, peak_bytes: 0 }));
        assert_eq!(job.attach().unwrap().progress().end, Some(End::Lost));
    }
}
