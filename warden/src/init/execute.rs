//! From fork to a job's program. The child reports the step that failed through a pipe that closes at exec.

use crate::spawner::ROOT_JOB;
use crate::sys::{self, privilege, process};
use crate::wire::{Failure, JobSpec, JobUser, Wire};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{
    Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, pipe2, setgroups, setresgid, setresuid,
    setsid,
};
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Where programs are looked for when the job's environment has no `PATH`.
const PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Added to what the kernel's memory killer thinks of a job, in thousandths of the memory limit.
const OOM_SCORE: &str = "200";

/// The container's ordinary user.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vcap {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// A job that runs.
pub(super) struct Started {
    pub(super) pid: i32,
    pub(super) stdout: File,
    pub(super) stderr: File,
}

/// Starts a job's program. When this returns, the program is executed or nothing of it is left.
pub(super) fn start(spec: &JobSpec, vcap: Vcap, stdin: Option<OwnedFd>) -> Result<Started, Failure> {
    let failed = |step: &str| {
        let step = step.to_owned();
        move |errno: Errno| Failure::new(step, "", errno as i32)
    };
    let stdin = match stdin {
        Some(fd) => fd,
        None => open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(failed("open /dev/null"))?,
    };
    let (stdout, stdout_end) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe"))?;
    let (stderr, stderr_end) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe"))?;
    let (report, report_end) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe"))?;
    for end in [&stdout, &stderr] {
        nix::fcntl::fcntl(end, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(failed("make a pipe"))?;
    }
    let child = process::fork()
        .map_err(|error| Failure::new("fork", "", error.raw_os_error().unwrap_or(libc::EAGAIN)))?;
    let Some(pid) = child else {
        let Err(failure) = execute(spec, vcap, [&stdin, &stdout_end, &stderr_end], &report_end);
        let _ = File::from(report_end).write_all(&failure.encode());
        process::exit_now(127)
    };
    drop((stdout_end, stderr_end, report_end));
    let mut bytes = Vec::new();
    let heard = File::from(report).read_to_end(&mut bytes);
    match (heard, bytes.is_empty()) {
        (Ok(_), true) => Ok(Started { pid, stdout: stdout.into(), stderr: stderr.into() }),
        (Ok(_), false) => {
            Err(Failure::decode(&bytes).unwrap_or_else(|_| Failure::new("start the job", "", libc::EPROTO)))
        }
        (Err(error), _) => Err(Failure::new("start the job", "", error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

fn execute(spec: &JobSpec, vcap: Vcap, ends: [&OwnedFd; 3], report: &OwnedFd) -> Result<Infallible, Failure> {
    let failed = |step: &'static str, path: &Path| {
        let path = path.to_owned();
        move |errno: Errno| Failure::new(step, path, errno as i32)
    };
    let none = Path::new("");
    setsid().map_err(failed("start a session", none))?;
    let [stdin, stdout, stderr] = ends;
    dup2_stdin(stdin)
        .and_then(|()| dup2_stdout(stdout))
        .and_then(|()| dup2_stderr(stderr))
        .map_err(failed("connect standard input and output", none))?;
    // Before the working directory is entered: a path through /proc/self/fd must find no descriptor of the init.
    sys::fd::close_all_but(&[report.as_fd()]).map_err(|error| from_io("close descriptors", error))?;
    for limit in &spec.rlimits {
        process::set_rlimit(limit.resource, limit.soft, limit.hard)
            .map_err(|error| from_io("set a resource limit", error))?;
    }
    // When memory runs out, the kernel takes a job before the init. A kernel that refuses has its reasons.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    become_user(spec.user, vcap)?;
    process::reset_signals().map_err(|error| from_io("reset the signals", error))?;
    chdir(&spec.cwd).map_err(failed("enter the working directory", &spec.cwd))?;
    let arguments = strings(spec.argv.iter().cloned())?;
    let environment = strings(spec.env.iter().map(|(name, value)| [name, &b"="[..], value].concat()))?;
    let program = arguments.first().ok_or_else(|| Failure::new("read the command", "", libc::EINVAL))?;
    let path = spec.env.iter().find(|(name, _)| name == b"PATH").map_or(PATH, |(_, value)| value);
    let mut error = Errno::ENOENT;
    for candidate in candidates(program, path) {
        let Err(refused) = execve(&candidate, &arguments, &environment);
        // A program that is there but cannot be executed tells more than one that is missing elsewhere.
        if refused != Errno::ENOENT && refused != Errno::ENOTDIR {
            error = refused;
        }
    }
    Err(Failure::new("execute", String::from_utf8_lossy(program.to_bytes()).into_owned(), error as i32))
}

/// Becomes the user that a job or a tar stream runs as, for good.
pub(super) fn become_user(user: JobUser, vcap: Vcap) -> Result<(), Failure> {
    let (uid, gid) = match user {
        JobUser::Root => (0, 0),
        JobUser::Vcap => (vcap.uid, vcap.gid),
        JobUser::Ids { uid, gid } => (uid, gid),
    };
    let failed = |step: &'static str| move |errno: Errno| Failure::new(step, "", errno as i32);
    // Root keeps the eight; anybody else has none, and no program can give any back.
    let keep: &[privilege::Capability] = if uid == 0 { &ROOT_JOB } else { &[] };
    privilege::bound_capabilities(keep).map_err(|error| from_io("bound the capabilities", error))?;
    setgroups(&[]).map_err(failed("leave every group"))?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setresgid(gid, gid, gid).map_err(failed("become the user's group"))?;
    setresuid(uid, uid, uid).map_err(failed("become the user"))?;
    privilege::set_capabilities(keep).map_err(|error| from_io("give up capabilities", error))
}

fn strings(words: impl Iterator<Item = Vec<u8>>) -> Result<Vec<CString>, Failure> {
    words
        .map(|word| CString::new(word).map_err(|_| Failure::new("read the command", "", libc::EINVAL)))
        .collect()
}

/// The files that a program's name may mean: itself if it has a `/`, else one in each directory of the path.
fn candidates(program: &CStr, path: &[u8]) -> Vec<CString> {
    let name = program.to_bytes();
    if name.contains(&b'/') || name.is_empty() {
        return vec![program.to_owned()];
    }
    let directories = path.split(|byte| *byte == b':').filter(|directory| !directory.is_empty());
    directories.filter_map(|directory| CString::new([directory, b"/", name].concat()).ok()).collect()
}

fn from_io(step: &str, error: std::io::Error) -> Failure {
    Failure::new(step, "", error.raw_os_error().unwrap_or(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn names_are_looked_for_in_the_path() {
        assert_eq!(candidates(c"sh", b"/a::/b"), [c"/a/sh".to_owned(), c"/b/sh".to_owned()]);
        assert_eq!(candidates(c"./sh", b"/a"), [c"./sh".to_owned()]);
        assert_eq!(candidates(c"", b"/a"), [c"".to_owned()]);
    }
}
