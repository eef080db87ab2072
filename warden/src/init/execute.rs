//! From fork to a job's program. The child reports the step that failed through a pipe that closes at exec.

use super::users;
use crate::spawner::ROOT_JOB;
use crate::sys::{self, privilege, process, terminal};
use crate::wire::{Failure, JobSpec, Stdio, Wire};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{
    Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, fchown, pipe2, setgroups, setresgid,
    setresuid, setsid,
};
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Stands for `/bin/bash` in a root that has none.
const OTHER_SHELL: &CStr = c"/bin/sh";

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
    pub(super) ends: Ends,
}

/// The init's ends of what a job reads and writes.
#[derive(Default)]
pub(super) struct Ends {
    /// What is read from these is the job's standard output and error; with a terminal both are in the first.
    pub(super) output: [Option<File>; 2],
    /// What is written to it is the job's standard input.
    pub(super) input: Option<OwnedFd>,
    /// Whether `input` is a terminal.
    pub(super) terminal: bool,
}

/// Starts a job's program. When this returns, the program is executed or nothing of it is left.
pub(super) fn start(spec: &JobSpec, vcap: Vcap, given: Vec<OwnedFd>) -> Result<Started, Failure> {
    let (ends, theirs) = connect(spec.stdio, given)?;
    let (report, report_end) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe"))?;
    let child = process::fork()
        .map_err(|error| Failure::new("fork", "", error.raw_os_error().unwrap_or(libc::EAGAIN)))?;
    let Some(pid) = child else {
        let Err(failure) = execute(spec, vcap, &theirs, &report_end);
        let _ = File::from(report_end).write_all(&failure.encode());
        process::exit_now(127)
    };
    drop((theirs, report_end));
    let mut bytes = Vec::new();
    let heard = File::from(report).read_to_end(&mut bytes);
    match (heard, bytes.is_empty()) {
        (Ok(_), true) => Ok(Started { pid, ends }),
        (Ok(_), false) => {
            Err(Failure::decode(&bytes).unwrap_or_else(|_| Failure::new("start the job", "", libc::EPROTO)))
        }
        (Err(error), _) => Err(Failure::new("start the job", "", error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

fn failed(step: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| Failure::new(step, "", errno as i32)
}

/// Makes what a job reads and writes: our ends, and its standard input, output and error.
fn connect(stdio: Stdio, given: Vec<OwnedFd>) -> Result<(Ends, [OwnedFd; 3]), Failure> {
    let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe"));
    let not_blocking = |end: &OwnedFd| {
        nix::fcntl::fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed("make a pipe")).map(drop)
    };
    let mut given = given.into_iter();
    let mut ends = Ends::default();
    let stdin = match stdio {
        Stdio::Given => {
            let missing = || Failure::new("take the given descriptors", "", libc::EBADF);
            let mut next = || given.next().ok_or_else(missing);
            return Ok((ends, [next()?, next()?, next()?]));
        }
        Stdio::Terminal(window) => {
            let (ours, theirs) = terminal::pair().map_err(|error| from_io("open a terminal", error))?;
            terminal::resize(ours.as_fd(), window.columns, window.rows)
                .map_err(|error| from_io("size the terminal", error))?;
            let again = |fd: &OwnedFd| fd.try_clone().map_err(|error| from_io("open a terminal", error));
            let (output, error) = (again(&theirs)?, again(&theirs)?);
            ends.output[0] = Some(again(&ours)?.into());
            ends.input = Some(ours);
            ends.terminal = true;
            return Ok((ends, [theirs, output, error]));
        }
        Stdio::Input => {
            let (theirs, ours) = pipe()?;
            not_blocking(&ours)?;
            ends.input = Some(ours);
            theirs
        }
        Stdio::Spool => match given.next() {
            Some(fd) => fd,
            None => open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(failed("open /dev/null"))?,
        },
    };
    let ((stdout, stdout_end), (stderr, stderr_end)) = (pipe()?, pipe()?);
    not_blocking(&stdout)?;
    not_blocking(&stderr)?;
    ends.output = [Some(stdout.into()), Some(stderr.into())];
    Ok((ends, [stdin, stdout_end, stderr_end]))
}

fn execute(spec: &JobSpec, vcap: Vcap, ends: &[OwnedFd; 3], report: &OwnedFd) -> Result<Infallible, Failure> {
    setsid().map_err(failed("start a session"))?;
    let who = users::of(spec, vcap)?;
    let [stdin, stdout, stderr] = ends;
    if matches!(spec.stdio, Stdio::Terminal(_)) {
        // The terminal belongs to who works at it; its group stays `tty`.
        fchown(stdin, Some(Uid::from_raw(who.uid)), None).map_err(failed("give away the terminal"))?;
        terminal::control(stdin.as_fd()).map_err(|error| from_io("control the terminal", error))?;
    }
    dup2_stdin(stdin)
        .and_then(|()| dup2_stdout(stdout))
        .and_then(|()| dup2_stderr(stderr))
        .map_err(failed("connect standard input and output"))?;
    // Before the working directory is entered: a path through /proc/self/fd must find no descriptor of the init.
    sys::fd::close_all_but(&[report.as_fd()]).map_err(|error| from_io("close descriptors", error))?;
    for limit in &spec.rlimits {
        process::set_rlimit(limit.resource, limit.soft, limit.hard)
            .map_err(|error| from_io("set a resource limit", error))?;
    }
    // When memory runs out, the kernel takes a job before the init. A kernel that refuses has its reasons.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    become_user(who.uid, who.gid)?;
    process::reset_signals().map_err(|error| from_io("reset the signals", error))?;
    let directory = if spec.cwd.as_os_str().is_empty() { &who.home } else { &spec.cwd };
    chdir(directory)
        .map_err(|errno| Failure::new("enter the working directory", directory.clone(), errno as i32))?;
    let arguments = strings(spec.argv.iter().cloned())?;
    let environment = strings(environment(spec, &who).into_iter())?;
    let program = arguments.first().ok_or_else(|| Failure::new("read the command", "", libc::EINVAL))?;
    let path = spec.env.iter().find(|(name, _)| name == b"PATH").map_or(PATH, |(_, value)| value);
    let mut error = Errno::ENOENT;
    let mut candidates = candidates(program, path);
    if spec.shell {
        candidates.push(OTHER_SHELL.to_owned());
    }
    for candidate in candidates {
        let Err(refused) = execve(&candidate, &arguments, &environment);
        // A program that is there but cannot be executed tells more than one that is missing elsewhere.
        if refused != Errno::ENOENT && refused != Errno::ENOTDIR {
            error = refused;
        }
    }
    let shown = String::from_utf8_lossy(program.to_bytes()).into_owned();
    match spec.shell {
        true => Err(Failure::new(
            "find a shell",
            format!("{shown}, {}", OTHER_SHELL.to_string_lossy()),
            error as i32,
        )),
        false => Err(Failure::new("execute", shown, error as i32)),
    }
}

/// The environment, with what the container says of the user where nothing else is said.
fn environment(spec: &JobSpec, who: &users::Identity) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        spec.env.iter().map(|(name, value)| [name, &b"="[..], value].concat()).collect();
    for (name, value) in [(&b"HOME"[..], who.home.as_os_str().as_bytes()), (b"USER", &who.name)] {
        if !spec.env.iter().any(|(known, _)| known == name) {
            all.push([name, b"=", value].concat());
        }
    }
    all
}

/// Becomes the user that a job or a tar stream runs as, for good.
pub(super) fn become_user(uid: u32, gid: u32) -> Result<(), Failure> {
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
