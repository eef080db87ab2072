//! Making processes, and learning how they ended.

use super::{check, fd};
use crate::wire::Exit;
#[cfg(feature = "daemon")]
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
#[cfg(feature = "daemon")]
use std::time::Instant;

/// Which of the two processes this is, after a clone.
#[derive(Debug)]
pub(crate) enum Cloned {
    /// The new one.
    Child,
    /// The one that called.
    Parent {
        /// The child's number as seen by the caller.
        pid: i32,
        /// A descriptor for the child.
        pidfd: OwnedFd,
    },
}

/// Bit 33 of the flags of clone3(2) (uapi linux/sched.h); the constant of libc is too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Argument of clone3(2) up to `cgroup` (kernel 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// clone3(2) like fork, with `namespaces` (`CLONE_NEW*`) for the child, which starts in `cgroup` (v2) if one is given.
/// Only for single-threaded processes: the child then may do whatever the parent may.
pub(crate) fn clone_into(namespaces: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: namespaces as u32 as u64 | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the arguments live through the call; no stack is given and no memory is shared, so the child goes on in
    // its own copy, as after fork; callers are single-threaded, so no lock is held by a thread that the child lacks.
    let result = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })?;
    match result {
        0 => Ok(Cloned::Child),
        pid => {
            let pidfd = fd::adopt(pidfd).ok_or(io::Error::from_raw_os_error(libc::EBADF))?;
            Ok(Cloned::Parent { pid: pid as i32, pidfd })
        }
    }
}

/// fork(2) for single-threaded processes: `None` in the child.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: callers are single-threaded, so that the child may do whatever the parent may.
    let pid = check(unsafe { libc::fork() }.into())?;
    Ok((pid != 0).then_some(pid as i32))
}

/// Leaves at once, without destructors or buffers that belong to the parent.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: always safe; it does not return.
    unsafe { libc::_exit(status) }
}

/// Whether this process has one thread.
pub(crate) fn is_single_threaded() -> io::Result<bool> {
    Ok(std::fs::read_dir("/proc/self/task")?.count() == 1)
}

/// A child that was waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    pub(crate) exit: Exit,
    /// Largest resident set of it or of one of its own waited-for children, in bytes.
    pub(crate) peak_bytes: u64,
}

/// Takes the status of a child that has ended, if there is one.
pub(crate) fn reap() -> Option<Reaped> {
    let mut status = 0;
    // SAFETY: all zeroes is a valid rusage, which is plain numbers.
    let mut usage: libc::rusage = unsafe { zeroed() };
    // SAFETY: both pointers are to live values of the right type.
    let pid = unsafe { libc::wait4(-1, &mut status, libc::WNOHANG, &mut usage) };
    if pid <= 0 {
        return None;
    }
    let exit = match libc::WIFSIGNALED(status) {
        true => Exit::Signal(libc::WTERMSIG(status) as u8),
        false => Exit::Code(libc::WEXITSTATUS(status) as u8),
    };
    Some(Reaped { pid, exit, peak_bytes: usage.ru_maxrss.max(0) as u64 * 1024 })
}

/// Sets one limit of this process. A hard limit above the present one is lowered to it, unless this process may raise it.
pub(crate) fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let set = |soft: u64, hard: u64| {
        let limit = libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard };
        // SAFETY: the limit lives through the call; an unknown resource is refused by the kernel.
        check(unsafe { libc::setrlimit(resource as libc::__rlimit_resource_t, &limit) }.into()).map(drop)
    };
    let Err(error) = set(soft, hard) else { return Ok(()) };
    if error.raw_os_error() != Some(libc::EPERM) {
        return Err(error);
    }
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live value of the right type.
    check(unsafe { libc::getrlimit(resource as libc::__rlimit_resource_t, &mut now) }.into())?;
    set(soft, hard.min(now.rlim_max))
}

/// Children that end leave no zombie and need no waiting (`SA_NOCLDWAIT`); not inherited by programs that are executed.
pub(crate) fn reap_automatically() -> io::Result<()> {
    // SAFETY: all zeroes is a valid sigaction: default action, empty mask.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = libc::SIG_DFL;
    action.sa_flags = libc::SA_NOCLDWAIT;
    // SAFETY: the action lives through the call and names no handler.
    check(unsafe { libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut()) }.into()).map(drop)
}

/// Gives every signal its default action and unblocks all, as a program expects to find them.
pub(crate) fn reset_signals() -> io::Result<()> {
    // SAFETY: all zeroes is a valid sigaction: default action, empty mask.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = libc::SIG_DFL;
    for signal in (1..=libc::SIGRTMAX()).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // SAFETY: the action lives through the call and names no handler. The two signals that libc keeps for itself
        // are refused, and are at their default anyway.
        unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    Ok(())
}

/// A descriptor for a process by its number (kernel 5.3). Whether it is the process that was meant, only what is asked
/// after this call can tell.
#[cfg(feature = "daemon")]
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let number = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    fd::adopt(number as RawFd).ok_or(io::Error::from_raw_os_error(libc::EBADF))
}

/// Waits until the process of a pidfd has ended; `false` when it has not by then.
#[cfg(feature = "daemon")]
pub(crate) fn wait_ended(pidfd: BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(nix::Error::EINTR) => (),
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Kills the process of a pidfd.
pub(crate) fn kill(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain numbers and a null pointer, which the call allows.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<u8>(),
            0,
        )
    };
    check(result).map(drop)
}

/// Option of getsockopt(2), kernel 6.5 (uapi asm-generic/socket.h); libc has it not for every target.
#[cfg(feature = "daemon")]
const SO_PEERPIDFD: libc::c_int = 77;

/// A descriptor for the process at the other end of a unix stream socket; `ENOPROTOOPT` where the kernel has none.
#[cfg(feature = "daemon")]
pub(crate) fn peer_pidfd(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut pidfd: RawFd = -1;
    let mut length = size_of::<RawFd>() as libc::socklen_t;
    // SAFETY: the value and its length live through the call, and the length is that of the value.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut pidfd).cast(),
            &raw mut length,
        )
    };
    check(result.into())?;
    fd::adopt(pidfd).ok_or(io::Error::from_raw_os_error(libc::EBADF))
}

/// A descriptor for a process.
#[cfg(feature = "daemon")]
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let pidfd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    fd::adopt(pidfd as RawFd).ok_or(io::Error::from_raw_os_error(libc::EBADF))
}

/// A copy of another process's descriptor (kernel 5.6).
#[cfg(feature = "daemon")]
pub(crate) fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let copy = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) })?;
    fd::adopt(copy as RawFd).ok_or(io::Error::from_raw_os_error(libc::EBADF))
}

/// Sends a signal by number: to a process, or with -1 to all but this one.
pub(crate) fn signal(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}
