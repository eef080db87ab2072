//! Starting jobs.

use super::engine::Engine;
use super::input::window;
use super::job::{Job, Reader};
use super::{Error, lock, rlimit};
use crate::wire::{JobSpec, JobUser, NamedUser, OutputMode, Stdio};
use cupola_protocol::warden::SpawnRequest;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What runs a script; where a container has none, its init takes `/bin/sh`.
const SHELL: &str = "/bin/bash";

/// Programs of jobs; the historic values left out the `local` directories, which stacks use.
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const USER_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

impl Engine {
    /// Starts a job and gives its number. `given` is the client's own standard input, output and error, if it lends them.
    pub(crate) fn spawn(&self, request: SpawnRequest, given: Option<[OwnedFd; 3]>) -> Result<u32, Error> {
        let container = self.find(&request.handle)?;
        container.require_active()?;
        if request.log_tag.as_ref().is_some_and(|tag| !tag.is_empty()) {
            let why = "log_tag is not supported: follow the job with a stream instead";
            return Err(Error::Invalid(why.to_owned()));
        }
        let command = Command::of(&request)?;
        let init = container.init()?;
        let id = self.job_ids.next()?;
        let spec = self.spec(id, &request, &command)?;
        let script = command.script.map(script).transpose();
        let script = script.map_err(Error::io("keep the script", Path::new("memory")))?;
        let fds: Vec<BorrowedFd<'_>> = match &given {
            Some(three) => three.iter().map(AsFd::as_fd).collect(),
            None => script.iter().map(AsFd::as_fd).collect(),
        };
        // Known before it runs: its first note may come at once.
        let job = Arc::new(Job::new(id, container.job_directory(id)));
        lock(&container.jobs).insert(id, job);
        match init.run_with(&spec, &fds) {
            Ok(_) => Ok(id),
            Err(failure) => {
                lock(&container.jobs).remove(&id);
                Err(Error::init("start the job")(failure))
            }
        }
    }

    fn spec(&self, id: u32, request: &SpawnRequest, command: &Command<'_>) -> Result<JobSpec, Error> {
        let who = Who::of(request)?;
        // Where the client does not say, home and name are what the container's own files say of the user.
        let mut env: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let base = [("PATH", who.path()), ("LANG", self.lang.as_str())].into_iter().chain(who.known());
        let own = request.env.iter().map(|pair| {
            let not = || Error::Invalid(format!("environment entry {pair:?} is not NAME=value"));
            pair.split_once('=').filter(|(name, _)| !name.is_empty() && !pair.contains('\0')).ok_or_else(not)
        });
        for pair in base.map(Ok).chain(own) {
            let (name, value) = pair?;
            env.retain(|(known, _)| known != name.as_bytes());
            env.push((name.into(), value.into()));
        }
        let output = match (request.discard_output.unwrap_or(false), request.output_ring_bytes) {
            (true, _) => OutputMode::Discard,
            (false, Some(bytes)) => OutputMode::Ring { bytes },
            (false, None) => OutputMode::Limit { bytes: self.config.job_output_limit },
        };
        let dir = request.dir.as_deref().filter(|dir| !dir.is_empty());
        Ok(JobSpec {
            id: id.into(),
            argv: command.argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
            env,
            cwd: PathBuf::from(dir.unwrap_or_else(|| who.directory())),
            user: who.user,
            rlimits: rlimit::merge(&self.config.rlimits, request.rlimits.as_ref()),
            output,
            shell: command.shell,
            stdio: command.stdio,
            named: who.named,
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

/// What a request wants to be executed, and what it is connected to.
#[derive(Debug, PartialEq, Eq)]
struct Command<'a> {
    argv: Vec<&'a str>,
    /// Whether any shell will do for the first word.
    shell: bool,
    /// What the shell reads on its standard input.
    script: Option<&'a str>,
    stdio: Stdio,
}

impl<'a> Command<'a> {
    fn of(request: &'a SpawnRequest) -> Result<Self, Error> {
        let invalid = |why: &str| Err(Error::Invalid(why.to_owned()));
        let input = request.input.unwrap_or(false);
        let stdio = match (request.tty, request.stdio_of, input) {
            (Some(_), Some(_), _) | (_, Some(_), true) => {
                return invalid(
                    "stdio_of excludes tty and input: the job has the client's own standard input",
                );
            }
            (None, Some(_), false) if request.output_ring_bytes.is_some() => {
                return invalid("stdio_of excludes output_ring_bytes: nothing of the job's output is kept");
            }
            (None, Some(_), false) => Stdio::Given,
            (Some(size), None, _) => Stdio::Terminal(window(size)?),
            (None, None, true) => Stdio::Input,
            (None, None, false) => Stdio::Spool,
        };
        if request.argv.iter().any(|word| word.contains('\0'))
            || request.argv.first().is_some_and(String::is_empty)
        {
            return invalid("a word of argv has a NUL, or the program's name is empty");
        }
        let script = Some(request.script.as_str()).filter(|script| !script.is_empty());
        match (request.argv.is_empty(), script, stdio) {
            (false, Some(_), _) => invalid("argv and script exclude each other: leave one of them empty"),
            (false, None, _) => {
                let argv = request.argv.iter().map(String::as_str).collect();
                Ok(Command { argv, shell: false, script: None, stdio })
            }
            (true, _, Stdio::Spool) => {
                Ok(Command { argv: vec![SHELL], shell: true, script: Some(&request.script), stdio })
            }
            // Its standard input is taken, so the script is a word of its command; without one it is a shell to talk to.
            (true, Some(script), _) if script.contains('\0') => invalid("the script has a NUL"),
            (true, Some(script), _) => {
                Ok(Command { argv: vec![SHELL, "-c", script], shell: true, script: None, stdio })
            }
            (true, None, _) => Ok(Command { argv: vec![SHELL], shell: true, script: None, stdio }),
        }
    }
}

/// Who a job runs as.
#[derive(Debug, PartialEq, Eq)]
struct Who {
    user: JobUser,
    named: Option<NamedUser>,
}

impl Who {
    fn of(request: &SpawnRequest) -> Result<Self, Error> {
        let named = request.user.as_deref().filter(|user| !user.is_empty());
        let Some(text) = named else {
            let user = if request.privileged.unwrap_or(false) { JobUser::Root } else { JobUser::Vcap };
            return Ok(Who { user, named: None });
        };
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        if user.is_empty() || group == Some("") || text.contains('\0') {
            return Err(Error::Invalid(format!(
                "user {text:?} is neither uid:gid nor a name of a user, or user:group"
            )));
        }
        let number = |text: &str| text.parse().ok().filter(|id| *id < super::config::UIDS);
        match (number(user), group.map(number)) {
            (Some(uid), Some(Some(gid))) => Ok(Who { user: JobUser::Ids { uid, gid }, named: None }),
            _ => {
                let named = NamedUser { user: user.into(), group: group.map(Into::into) };
                Ok(Who { user: JobUser::Vcap, named: Some(named) })
            }
        }
    }

    fn is_root(&self) -> bool {
        match &self.named {
            Some(named) => named.user == b"root" || named.user == b"0",
            None => matches!(self.user, JobUser::Root | JobUser::Ids { uid: 0, .. }),
        }
    }

    fn path(&self) -> &'static str {
        if self.is_root() { ROOT_PATH } else { USER_PATH }
    }

    /// What needs no asking inside.
    fn known(&self) -> Vec<(&'static str, &'static str)> {
        if self.user == JobUser::Root { vec![("HOME", "/root"), ("USER", "root")] } else { Vec::new() }
    }

    /// Where it starts; empty for its home.
    fn directory(&self) -> &'static str {
        // Not every root filesystem has a home for root.
        if self.user == JobUser::Root { "/" } else { "" }
    }
}

/// A file in memory that the shell reads.
fn script(text: &str) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("script", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_protocol::warden::WindowSize;

    fn spawn(change: impl FnOnce(&mut SpawnRequest)) -> SpawnRequest {
        let mut request = SpawnRequest::default();
        change(&mut request);
        request
    }

    #[test]
    fn a_script_is_read_or_is_a_word() {
        let request = spawn(|r| r.script = "ls".into());
        let command = Command::of(&request).unwrap();
        assert_eq!((command.argv, command.script, command.stdio), (vec![SHELL], Some("ls"), Stdio::Spool));
        let request = spawn(|r| (r.script, r.input) = ("ls".into(), Some(true)));
        let command = Command::of(&request).unwrap();
        assert_eq!((command.argv, command.script), (vec![SHELL, "-c", "ls"], None));
        let request = spawn(|r| r.tty = Some(WindowSize { columns: 80, rows: 24 }));
        let command = Command::of(&request).unwrap();
        assert_eq!((command.argv, command.shell, command.script), (vec![SHELL], true, None));
        let request = spawn(|r| r.argv = vec!["ls".into()]);
        let command = Command::of(&request).unwrap();
        assert_eq!((command.argv, command.shell, command.script), (vec!["ls"], false, None));
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        let refused = |change: fn(&mut SpawnRequest)| Command::of(&spawn(change)).unwrap_err().to_string();
        assert!(
            refused(|r| (r.script, r.argv) = ("ls".into(), vec!["ls".into()])).contains("argv and script")
        );
        assert!(refused(|r| (r.stdio_of, r.input) = (Some(1), Some(true))).contains("stdio_of"));
        assert!(refused(|r| (r.stdio_of, r.output_ring_bytes) = (Some(1), Some(1))).contains("stdio_of"));
        assert!(refused(|r| r.tty = Some(WindowSize { columns: 70_000, rows: 1 })).contains("70000"));
        assert!(refused(|r| r.argv = vec![String::new()]).contains("argv"));
    }

    #[test]
    fn users_are_ids_or_names() {
        let who = |user: &str| Who::of(&spawn(|r| r.user = Some(user.into())));
        assert_eq!(who("3:4").unwrap().user, JobUser::Ids { uid: 3, gid: 4 });
        let named =
            |user: &str, group: Option<&str>| NamedUser { user: user.into(), group: group.map(Into::into) };
        assert_eq!(who("web").unwrap().named, Some(named("web", None)));
        assert_eq!(who("3").unwrap().named, Some(named("3", None)));
        assert_eq!(who("3:staff").unwrap().named, Some(named("3", Some("staff"))));
        assert_eq!(who("root").unwrap().path(), ROOT_PATH);
        for wrong in [":", "a:", ":3"] {
            assert!(who(wrong).is_err(), "{wrong}");
        }
        assert_eq!(who("").unwrap().user, JobUser::Vcap);
    }
}
