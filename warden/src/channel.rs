//! Packets with descriptors over a `SOCK_SEQPACKET` unix socket.
//!
//! A packet is one datagram: a byte that says where the payload is ([`HERE`], or [`FILE`]: in the file that comes along
//! as first descriptor, since a payload may be larger than a socket's buffer), then the payload.

use crate::sys;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect,
    recv, recvmsg, sendmsg, socket, socketpair,
};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

/// Payloads above this size travel in a file; under half of a socket's usual buffer (212,992 bytes).
const INLINE: usize = 64 * 1024;
/// Largest payload that is accepted at all.
const LARGEST: u64 = 64 * 1024 * 1024;
/// Most descriptors of a packet, the payload's file included.
const FDS: usize = 4;
/// First byte of a packet that holds its payload.
const HERE: u8 = 0;
/// First byte of a packet whose payload is in a file.
const FILE: u8 = 1;

/// One end of a connection.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What was received.
#[derive(Debug)]
pub struct Packet {
    /// The payload.
    pub payload: Vec<u8>,
    /// The descriptors that came along.
    pub fds: Vec<OwnedFd>,
}

impl Channel {
    /// Uses a connected `SOCK_SEQPACKET` socket.
    pub fn new(socket: OwnedFd) -> Self {
        Channel(socket)
    }

    /// Two connected ends.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Channel(a), Channel(b)))
    }

    /// Connects to a listening socket. The path may be longer than a socket address can hold (107 bytes).
    pub fn connect(path: &Path) -> io::Result<Channel> {
        let (directory, name) = split(path)?;
        let directory = File::open(directory)?;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
        connect(socket.as_raw_fd(), &address_in(directory.as_fd(), name)?)?;
        Ok(Channel(socket))
    }

    /// Sends a payload with descriptors, waiting for room.
    pub fn send(&self, payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(payload, fds, MsgFlags::MSG_NOSIGNAL)
    }

    /// Sends a payload; `WouldBlock` where there is no room for it now.
    pub fn try_send(&self, payload: &[u8]) -> io::Result<()> {
        self.try_send_with(payload, &[])
    }

    /// Sends a payload with descriptors; `WouldBlock` where there is no room for it now.
    pub fn try_send_with(&self, payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(payload, fds, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)
    }

    fn send_with(&self, payload: &[u8], fds: &[BorrowedFd<'_>], flags: MsgFlags) -> io::Result<()> {
        let mut numbers: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        let file;
        let (place, inline) = match payload.len() > INLINE {
            false => (HERE, payload),
            true => {
                let mut memory = File::from(memfd_create("packet", MFdFlags::MFD_CLOEXEC)?);
                memory.write_all(payload)?;
                memory.rewind()?;
                file = memory;
                numbers.insert(0, file.as_raw_fd());
                (FILE, &[][..])
            }
        };
        let parts = [IoSlice::new(std::slice::from_ref(&place)), IoSlice::new(inline)];
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control = if numbers.is_empty() { &[][..] } else { &rights[..] };
        retry(|| sendmsg::<()>(self.0.as_raw_fd(), &parts, control, flags, None))?;
        Ok(())
    }

    /// Waits for a packet; `None` when the other end has closed.
    pub fn receive(&self) -> io::Result<Option<Packet>> {
        self.receive_with(MsgFlags::MSG_CMSG_CLOEXEC)
    }

    /// The next packet if there is one; `WouldBlock` where there is none now, `None` when the other end has closed.
    pub fn try_receive(&self) -> io::Result<Option<Packet>> {
        self.receive_with(MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT)
    }

    fn receive_with(&self, flags: MsgFlags) -> io::Result<Option<Packet>> {
        // How long it is comes first, so that the buffer for a short one is short.
        let ask = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC | flags.intersection(MsgFlags::MSG_DONTWAIT);
        let length = retry(|| recv(self.0.as_raw_fd(), &mut [0; 1], ask))?;
        if length == 0 {
            return Ok(None);
        }
        if length > INLINE + 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet that is too long"));
        }
        let mut buffer = vec![0; length];
        let mut space = nix::cmsg_space!([RawFd; FDS]);
        let mut fds = Vec::new();
        let (length, flags) = {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let message = loop {
                match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags) {
                    Err(nix::Error::EINTR) => (),
                    other => break other?,
                }
            };
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(numbers) = control {
                    fds.extend(numbers.into_iter().filter_map(sys::fd::adopt));
                }
            }
            (message.bytes, message.flags)
        };
        if length == 0 {
            return Ok(None);
        }
        if flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a packet that is too long or has too many descriptors",
            ));
        }
        buffer.truncate(length);
        let place = buffer.remove(0);
        match place {
            HERE => Ok(Some(Packet { payload: buffer, fds })),
            FILE if !fds.is_empty() => {
                let mut file = File::from(fds.remove(0));
                file.rewind()?;
                let mut payload = Vec::new();
                (&mut file).take(LARGEST).read_to_end(&mut payload)?;
                Ok(Some(Packet { payload, fds }))
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a packet of an unknown kind")),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> OwnedFd {
        channel.0
    }
}

/// A socket address for a name in a directory, short whatever the directory's own path is.
pub(crate) fn address_in(directory: BorrowedFd<'_>, name: &std::ffi::OsStr) -> io::Result<UnixAddr> {
    let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok(UnixAddr::new(&path)?)
}

fn split(path: &Path) -> io::Result<(&Path, &std::ffi::OsStr)> {
    match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) if !directory.as_os_str().is_empty() => Ok((directory, name)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket path needs a directory and a name")),
    }
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(nix::Error::EINTR) => (),
            other => return other,
        }
    }
}
