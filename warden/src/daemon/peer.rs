//! The process at the other end of a connection: whose it is, and what a job may be given of it.

use super::Error;
use crate::sys::process as sys_process;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{SockType, UnixAddr, getpeername, getsockname, getsockopt, sockopt};
use nix::sys::stat::{SFlag, fstat};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use tokio::net::UnixStream;

/// The process that has connected.
#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    uid: u32,
    /// Holds its number: nobody else gets it, as seen through this.
    pidfd: Option<OwnedFd>,
}

impl Process {
    /// Who has connected, as the kernel noted it then.
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = getsockopt(&stream.as_fd(), sockopt::PeerCredentials)?;
        let pidfd = match sys_process::peer_pidfd(stream.as_fd()) {
            // Before kernel 6.5: by its number, which may be another's by now. What it is used for checks the owner.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                sys_process::pidfd_open(credentials.pid())
            }
            other => other,
        };
        Ok(Process { pid: credentials.pid(), uid: credentials.uid(), pidfd: pidfd.ok() })
    }

    /// Its user.
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// Copies of its standard input, output and error. `pid` is the number that it gives as its own.
    pub(crate) fn stdio(&self, pid: u32) -> Result<[OwnedFd; 3], Error> {
        let refused = |why: &str| Error::Invalid(format!("stdio_of {pid}: {why}"));
        if i32::try_from(pid) != Ok(self.pid) {
            return Err(refused(&format!(
                "only the client's own process, {}, may lend its standard input and output",
                self.pid
            )));
        }
        let gone = || refused("the process has ended");
        let pidfd = self.pidfd.as_ref().ok_or_else(gone)?;
        // Whoever has the number by now, or has gained powers since: it must be all the client's.
        if users_of(self.pid).is_none_or(|uids| uids.iter().any(|uid| *uid != self.uid)) {
            return Err(refused("the process is no longer the client's"));
        }
        let names = ["standard input", "standard output", "standard error"];
        let mut all = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let fd = sys_process::pidfd_getfd(pidfd.as_fd(), number as i32)
                .map_err(|error| refused(&format!("its {name} cannot be taken: {error}")))?;
            usable(fd.as_fd()).map_err(|why| refused(&format!("its {name} is {why}")))?;
            all.push(fd);
        }
        <[OwnedFd; 3]>::try_from(all).map_err(|_| gone())
    }
}

/// The four uids of a process: real, effective, saved, of files (proc_pid_status(5)).
fn users_of(pid: i32) -> Option<Vec<u32>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().map(|uid| uid.parse().ok()).collect()
}

/// Refuses what would lead a job out of its container: a directory of the host is a way to all of it, a socket of the
/// host's network can be connected anew, a block device is a disk. What is left is what a shell connects.
fn usable(fd: BorrowedFd<'_>) -> Result<(), &'static str> {
    let stat = fstat(fd).map_err(|_| "no descriptor")?;
    let path = fcntl(fd, FcntlArg::F_GETFL).is_ok_and(|flags| flags & OFlag::O_PATH.bits() != 0);
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        _ if path => Err("a mere path"),
        SFlag::S_IFIFO | SFlag::S_IFREG | SFlag::S_IFCHR => Ok(()),
        SFlag::S_IFSOCK => socket_usable(fd),
        SFlag::S_IFDIR => Err("a directory of the host"),
        SFlag::S_IFBLK => Err("a block device"),
        _ => Err("neither pipe, file, terminal nor connected stream socket"),
    }
}

/// A unix stream socket that is connected stays so for good, as a pipe does; many a program gives its children a pair of
/// them in place of pipes. Any other could reach, from inside, what the host's network reaches.
fn socket_usable(fd: BorrowedFd<'_>) -> Result<(), &'static str> {
    let other = "a socket that is not a connected unix stream";
    let stream = getsockopt(&fd, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream);
    let unix = getsockname::<UnixAddr>(fd.as_raw_fd()).is_ok();
    let connected = getpeername::<UnixAddr>(fd.as_raw_fd()).is_ok();
    if stream && unix && connected { Ok(()) } else { Err(other) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    #[test]
    fn only_what_a_shell_connects_is_lent() {
        let (reading, writing) = nix::unistd::pipe().unwrap();
        assert_eq!(usable(reading.as_fd()), Ok(()));
        assert_eq!(usable(writing.as_fd()), Ok(()));
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(usable(tempfile::tempfile().unwrap().as_fd()), Ok(()));
        assert_eq!(usable(File::open("/dev/null").unwrap().as_fd()), Ok(()));
        assert!(usable(File::open(directory.path()).unwrap().as_fd()).is_err());
        let path = nix::fcntl::open("/", OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
        assert!(usable(path.as_fd()).is_err());
        let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(usable(a.as_fd()), Ok(()));
        let (a, _b) = UnixDatagram::pair().unwrap();
        assert!(usable(a.as_fd()).is_err());
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        assert!(usable(listener.as_fd()).is_err());
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        assert!(usable(connected.as_fd()).is_err());
    }
}
