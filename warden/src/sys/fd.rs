//! Descriptors.

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::{Duration, Instant};

/// How long the pages of a new file may be busy before it cannot be sealed.
const SEAL_LIMIT: Duration = Duration::from_secs(5);
/// The pause before it is tried again.
const SEAL_PAUSE: Duration = Duration::from_millis(10);

/// Takes over descriptors that the kernel has just installed for this process (`SCM_RIGHTS`, `clone3`).
/// `None` for a number that cannot be a descriptor.
pub(crate) fn adopt(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: callers pass numbers that the kernel returned from the call that made the descriptor, each once.
    (number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// An anonymous file with a program in it that nobody can change any more, whatever they hold (CVE-2019-5736).
pub(crate) fn sealed_program(program: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Kernels since 6.3 want to hear that the file is to be executed; older ones refuse the flag.
    let file = match memfd_create("warden-init", flags | MFdFlags::from_bits_retain(libc::MFD_EXEC)) {
        Err(nix::Error::EINVAL) => memfd_create("warden-init", flags)?,
        other => other?,
    };
    let mut file = File::from(file);
    file.write_all(program)?;
    seal(&file)?;
    // Opened anew for reading: a file that somebody holds open for writing cannot be executed (ETXTBSY).
    let reading = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(reading.into())
}

/// Seals a file that was just written. The kernel refuses as busy while anything else holds one of its pages, and that
/// may be the kernel itself, which moves new pages about; it lets go of them soon.
fn seal(file: &File) -> io::Result<()> {
    let deadline = Instant::now() + SEAL_LIMIT;
    loop {
        match fcntl(file, FcntlArg::F_ADD_SEALS(seals())) {
            Err(nix::Error::EBUSY) if Instant::now() < deadline => thread::sleep(SEAL_PAUSE),
            other => return Ok(other.map(drop)?),
        }
    }
}

/// Whether nobody can change a file any more.
pub(crate) fn is_sealed(file: BorrowedFd<'_>) -> bool {
    fcntl(file, FcntlArg::F_GET_SEALS).is_ok_and(|bits| SealFlag::from_bits_truncate(bits).contains(seals()))
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL
}

/// Takes over a descriptor that this program was started with, by its number on the command line.
/// `None` where no such descriptor is open. To be asked once per number, before anything else is opened.
pub(crate) fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: asks about a number, touches nothing.
    let open = number > 2 && unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    open.then(|| adopt(number)).flatten()
}

/// Closes every descriptor but standard input, output and error and `keep`.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().map(|fd| fd.as_raw_fd()).filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
    close_range(first, RawFd::MAX, 0)
}

/// Every descriptor but standard input, output and error closes when a program is executed, except `keep`.
pub(crate) fn close_at_exec(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    close_range(3, RawFd::MAX, libc::CLOSE_RANGE_CLOEXEC)?;
    for fd in keep {
        fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    }
    Ok(())
}

fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: plain numbers. Callers are about to leave or to execute another program, so that no owner of a closed
    // descriptor lives on to close it again.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, last as libc::c_uint, flags) };
    super::check(result).map(drop)
}

/// Takes over what accept4(2) returned.
pub(crate) fn accepted(number: RawFd) -> Option<OwnedFd> {
    adopt(number)
}
