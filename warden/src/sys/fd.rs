//! Descriptors.

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

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
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals()))?;
    // Opened anew for reading: a file that somebody holds open for writing cannot be executed (ETXTBSY).
    let reading = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(reading.into())
}

/// Whether nobody can change a file any more.
pub(crate) fn is_sealed(file: BorrowedFd<'_>) -> bool {
    fcntl(file, FcntlArg::F_GET_SEALS).is_ok_and(|bits| SealFlag::from_bits_truncate(bits).contains(seals()))
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL
}
