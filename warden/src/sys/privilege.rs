//! Giving up what a process may do.

use super::check;
use std::io;

/// A capability's number (uapi linux/capability.h).
pub(crate) type Capability = u8;

/// Version 3 of the capability header: two 32-bit words per set.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Words {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Leaves exactly `keep` in the permitted and effective sets and nothing in the inheritable one.
pub(crate) fn set_capabilities(keep: &[Capability]) -> io::Result<()> {
    let mut words = [Words::default(); 2];
    for capability in keep {
        let word = &mut words[usize::from(capability / 32)];
        word.permitted |= 1 << (capability % 32);
        word.effective |= 1 << (capability % 32);
    }
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: version 3 reads a header and two words, and both live through the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) }).map(drop)
}

/// Takes every capability but `keep` out of the bounding set: no program that is executed can have it again.
pub(crate) fn bound_capabilities(keep: &[Capability]) -> io::Result<()> {
    for capability in 0..64 {
        if keep.contains(&capability) {
            continue;
        }
        // SAFETY: plain numbers.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) };
        match check(result.into()) {
            Ok(_) => (),
            // The first number that this kernel does not know: there are no higher ones.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Starts a session keyring of its own, so that none of the caller's keys can be reached.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name, which asks for a nameless keyring.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
    match check(result) {
        // A kernel without keyrings has none to leave.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other.map(drop),
    }
}

/// One instruction of classic BPF.
pub(crate) type Instruction = libc::sock_filter;

/// Loads a seccomp filter for this process and all that come of it; needs no_new_privs.
pub(crate) fn load_filter(program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program lives through the call, which only reads it, and its length is told.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    check(result).map(drop)
}
