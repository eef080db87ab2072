//! Starting jobs.

use super::engine::Engine;
use super::job::{Job, Reader};
use super::{Error, lock, rlimit};
use crate::wire::{JobSpec, JobUser, OutputMode};
use cupola_protocol::warden::SpawnRequest;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What runs a script.
const SHELL: &str = "/bin/bash";

/// Programs of jobs; the historic values left out the `local` directories, which stacks use.
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const USER_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

impl Engine {
    /// Starts a job and gives its number.
    pub(crate) fn spawn(&self, request: SpawnRequest) -> Result<u32, Error> {
        let container = self.find(&request.handle)?;
        container.require_active()?;
        if request.log_tag.as_ref().is_some_and(|tag| !tag.is_empty()) {
            let why = "log_tag is not supported: follow the job with a stream instead";
            return Err(Error::Invalid(why.to_owned()));
        }
        let init = container.init()?;
        let id = self.job_ids.next()?;
        let spec = self.spec(id, &request)?;
        let stdin = match request.argv.is_empty() {
            true => Some(script(&request.script).map_err(Error::io("keep the script", Path::new("memory")))?),
            false => None,
        };
        // Known before it runs: its first note may come at once.
        let job = Arc::new(Job::new(id, container.job_directory(id)));
        lock(&container.jobs).insert(id, job);
        match init.run(&spec, stdin.as_ref().map(AsFd::as_fd)) {
            Ok(_) => Ok(id),
            Err(failure) => {
                lock(&container.jobs).remove(&id);
                Err(Error::init("start the job")(failure))
            }
        }
    }

    fn spec(&self, id: u32, request: &SpawnRequest) -> Result<JobSpec, Error> {
        let privileged = request.privileged.unwrap_or(false);
        let (name, home, path, user) = match privileged {
            true => ("root", "/root", ROOT_PATH, JobUser::Root),
            false => ("vcap", "/home/vcap", USER_PATH, JobUser::Vcap),
        };
        let mut env: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let base = [("HOME", home), ("USER", name), ("PATH", path), ("LANG", "en_US.UTF-8")];
        let own = request.env.iter().map(|pair| {
            let not = || Error::Invalid(format!("environment entry {pair:?} is not NAME=value"));
            pair.split_once('=').filter(|(name, _)| !name.is_empty() && !pair.contains('\0')).ok_or_else(not)
        });
        for pair in base.into_iter().map(Ok).chain(own) {
            let (name, value) = pair?;
            env.retain(|(known, _)| known != name.as_bytes());
            env.push((name.into(), value.into()));
        }
        let output = match (request.discard_output.unwrap_or(false), request.output_ring_bytes) {
            (true, _) => OutputMode::Discard,
            (false, Some(bytes)) => OutputMode::Ring { bytes },
            (false, None) => OutputMode::Limit { bytes: self.config.job_output_limit },
        };
        if !request.argv.is_empty() && !request.script.is_empty() {
            return Err(Error::Invalid("a job has either a script or a program with arguments".to_owned()));
        }
        let argv = match request.argv.is_empty() {
            true => vec![SHELL.into()],
            false => request.argv.iter().map(|word| word.clone().into_bytes()).collect(),
        };
        // Not every root filesystem has a home for root.
        let dir = request.dir.clone().unwrap_or_else(|| if privileged { "/" } else { home }.to_owned());
        Ok(JobSpec {
            id: id.into(),
            argv,
            env,
            cwd: PathBuf::from(dir),
            user,
            rlimits: rlimit::merge(&self.config.rlimits, request.rlimits.as_ref()),
            output,
        })
    }

    /// A reader of a job.
    pub(crate) fn attach(&self, handle: &str, job: u32) -> Result<Reader, Error> {
        self.find(handle)?.job(job)?.attach().ok_or(Error::NoSuchJob(job))
    }

    /// Removes a job whose result has been given, and which nobody reads any more.
    pub(crate) fn forget(&self, handle: &str, job: u32) {
        let Ok(container) = self.find(handle) else { return };
        lock(&container.jobs).remove(&job);
        // A stopped container's init still answers; one that is gone has nothing to forget.
        if let Ok(init) = container.init()
            && let Err(error) = init.forget(job.into())
        {
            // Its container is being destroyed, most likely, and the job with it.
            tracing::debug!(handle, job, %error, "job not forgotten");
        }
    }
}

/// A file in memory that the shell reads.
fn script(text: &str) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("script", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
