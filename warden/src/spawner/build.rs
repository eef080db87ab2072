//! The first process of a container: it starts as a copy of the spawner in new namespaces, with every power that the
//! spawner has, builds the container around itself, gives its powers up one by one and becomes `warden-init init`.
//!
//! The user namespace is entered last: until then the process is root of the host, which mounting and making device
//! nodes need. All its other namespaces so belong to the host's user namespace, and root inside has no say over them.

use super::serve::{Prepared, Tools};
use super::{Step, inside, layers};
use crate::sys::{self, privilege, process};
use crate::wire::{ContainerPlan, Failure, UserSpec, Wire};
use nix::fcntl::{AtFlags, OFlag};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execveat, pivot_root, setgroups, setresgid,
    setresuid, setsid,
};
use std::convert::Infallible;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};

/// What an init writes to its report pipe when it takes connections. No [`Failure`] encodes to it.
pub(crate) const READY: &[u8] = b"ready";

/// Capabilities of root jobs (uapi linux/capability.h): CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID,
/// NET_BIND_SERVICE. All of them act on what belongs to the container's user namespace alone.
pub(crate) const ROOT_JOB: [privilege::Capability; 8] = [0, 1, 3, 4, 5, 6, 7, 10];
/// SETPCAP: the init alone has it, to empty the bounding set of the jobs that it forks.
const SETPCAP: privilege::Capability = 8;

/// Builds the container; never returns. Failures travel through the report pipe.
pub(super) fn run(tools: &Tools, plan: &ContainerPlan, prepared: Prepared) -> ! {
    let Err(failure) = build(tools, plan, &prepared);
    let mut report = &prepared.report;
    let _ = report.write_all(&failure.encode());
    process::exit_now(1)
}

fn build(tools: &Tools, plan: &ContainerPlan, prepared: &Prepared) -> Result<Infallible, Failure> {
    enter(plan, prepared)?;
    layers::mount_root(plan, prepared)?;
    let user = inside::furnish(plan, &prepared.owners)?;
    nix::unistd::sethostname(&plan.hostname).step("set the host name", &plan.hostname)?;
    change_root()?;
    become_container_root(prepared)?;
    give_up_powers()?;
    become_init(tools, prepared, &user)
}

/// Enters the container's cgroup and network namespace.
fn enter(plan: &ContainerPlan, prepared: &Prepared) -> Result<(), Failure> {
    // Writing 0 to `tasks` moves the writer alone, without the waiting that a parent's write to `cgroup.procs` costs.
    for mut tasks in &prepared.tasks {
        tasks.write_all(b"0").step("enter the cgroup", &plan.id)?;
    }
    // A daemon that is spared by the kernel's memory killer does not pass that on.
    let score = "/proc/self/oom_score_adj";
    if std::fs::read_to_string(score).step("read", score)?.trim().starts_with('-') {
        std::fs::write(score, "0").step("write", score)?;
    }
    setns(&prepared.netns, CloneFlags::CLONE_NEWNET).step("enter the network namespace", "")?;
    unshare(CloneFlags::CLONE_NEWCGROUP).step("make a cgroup namespace", "")
}

fn change_root() -> Result<(), Failure> {
    chdir("root").step("enter the root", "")?;
    pivot_root(".", ".").step("change the root", "")?;
    // The old root is now on top of the new one, at the same place.
    umount2(".", MntFlags::MNT_DETACH).step("leave the old root", "")?;
    chdir("/").step("enter the root", "/")
}

fn become_container_root(prepared: &Prepared) -> Result<(), Failure> {
    let null = nix::fcntl::open("/dev/null", OFlag::O_RDWR, Mode::empty()).step("open", "/dev/null")?;
    dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&null))
        .and_then(|()| dup2_stderr(&null))
        .step("open", "/dev/null")?;
    setns(&prepared.userns, CloneFlags::CLONE_NEWUSER).step("enter the user namespace", "")?;
    setgroups(&[]).step("leave every group", "")?;
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid).step("become the container's root group", "")?;
    setresuid(uid, uid, uid).step("become the container's root", "")?;
    setsid().step("start a session", "")?;
    privilege::new_session_keyring().step("start a keyring", "")
}

fn give_up_powers() -> Result<(), Failure> {
    let mut keep = ROOT_JOB.to_vec();
    keep.push(SETPCAP);
    privilege::bound_capabilities(&keep).step("bound the capabilities", "")?;
    privilege::set_capabilities(&keep).step("give up capabilities", "")?;
    nix::sys::prctl::set_no_new_privs().step("forbid new privileges", "")?;
    process::set_rlimit(libc::RLIMIT_CORE, 0, 0).step("forbid core files", "")?;
    nix::sys::prctl::set_dumpable(false).step("become undumpable", "")?;
    umask(Mode::from_bits_truncate(0o022));
    process::reset_signals().step("reset the signals", "")
}

/// Loads the filter and executes the sealed program. Everything is made ready before: the filter holds for this too.
fn become_init(tools: &Tools, prepared: &Prepared, user: &UserSpec) -> Result<Infallible, Failure> {
    let numbers = [prepared.listener.as_raw_fd(), prepared.jobs.as_raw_fd(), prepared.report.as_raw_fd()];
    let words = ["warden-init".to_owned(), "init".to_owned()]
        .into_iter()
        .chain(numbers.map(|fd| fd.to_string()))
        .chain([user.uid.to_string(), user.gid.to_string()]);
    let arguments: Vec<CString> = words.filter_map(|word| CString::new(word).ok()).collect();
    let keep = [prepared.listener.as_fd(), prepared.jobs.as_fd(), prepared.report.as_fd()];
    sys::fd::close_at_exec(&keep).step("close descriptors", "")?;
    privilege::load_filter(&tools.filter).step("load the filter of system calls", "")?;
    let environment: [CString; 0] = [];
    execveat(&tools.program, c"", &arguments, &environment, AtFlags::AT_EMPTY_PATH)
        .step("execute the init", "")
}
