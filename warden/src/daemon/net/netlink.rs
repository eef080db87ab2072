//! As much of rtnetlink(7) as a container's link needs: requests with attributes, answered by an error number.

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

// Numbers of linux/netlink.h and linux/rtnetlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
/// Fail when it exists.
pub(super) const EXCLUSIVE: u16 = 0x200 | 0x400;
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_GETROUTE: u16 = 26;

/// Bit that marks an attribute as a container of others.
pub(super) const NESTED: u16 = 0x8000;

/// A socket in the network namespace that it was opened in, wherever it is used.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// A request that is being written: header, the family's structure, attributes.
#[derive(Debug)]
pub(super) struct Request {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Request {
    /// A request with the structure that its kind begins with.
    pub(super) fn new(kind: u16, flags: u16, structure: &[u8]) -> Self {
        let mut body = structure.to_vec();
        pad(&mut body);
        Request { kind, flags, body }
    }

    /// Appends an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        attribute(&mut self.body, kind, value);
        self
    }
}

/// Appends an attribute to a list of attributes.
pub(super) fn attribute(list: &mut Vec<u8>, kind: u16, value: &[u8]) {
    list.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
    list.extend_from_slice(&kind.to_ne_bytes());
    list.extend_from_slice(value);
    pad(list);
}

fn pad(list: &mut Vec<u8>) {
    list.resize(list.len().next_multiple_of(4), 0);
}

/// The attributes of a list: kind and value.
pub(super) fn attributes(mut list: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while list.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([list[0], list[1]]));
        let kind = u16::from_ne_bytes([list[2], list[3]]);
        let Some(value) = list.get(4..length) else { break };
        all.push((kind & !NESTED, value));
        list = list.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Sends a request and waits for the kernel's verdict.
    pub(super) fn send(&mut self, request: Request) -> io::Result<()> {
        self.talk(request, NLM_F_ACK, |_, _| ())
    }

    /// Asks for everything of a kind: message kind and body of each answer.
    pub(super) fn dump(&mut self, request: Request) -> io::Result<Vec<(u16, Vec<u8>)>> {
        let mut all = Vec::new();
        self.talk(request, NLM_F_DUMP, |kind, body| all.push((kind, body.to_vec())))?;
        Ok(all)
    }

    /// Asks for one thing: the body of the answer.
    pub(super) fn get(&mut self, request: Request) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        // With an acknowledgement after it, so that the end of the answer is known.
        self.talk(request, NLM_F_ACK, |_, body| found = body.to_vec())?;
        Ok(found)
    }

    fn talk(&mut self, request: Request, flags: u16, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        self.sequence += 1;
        let mut message = Vec::with_capacity(16 + request.body.len());
        message.extend_from_slice(&(16 + request.body.len() as u32).to_ne_bytes());
        message.extend_from_slice(&request.kind.to_ne_bytes());
        message.extend_from_slice(&(request.flags | NLM_F_REQUEST | flags).to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0u32.to_ne_bytes());
        message.extend_from_slice(&request.body);
        sendto(self.socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = &buffer[..length];
            while rest.len() >= 16 {
                let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                let kind = u16::from_ne_bytes([rest[4], rest[5]]);
                let Some(body) = rest.get(16..length) else { return Err(io::ErrorKind::InvalidData.into()) };
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let code = body
                            .get(..4)
                            .map_or(0, |code| i32::from_ne_bytes([code[0], code[1], code[2], code[3]]));
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    kind => each(kind, body),
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let mut list = Vec::new();
        attribute(&mut list, 3, b"abc\0\0");
        attribute(&mut list, 4 | NESTED, &[1]);
        assert_eq!(list.len(), 12 + 8);
        assert_eq!(attributes(&list), [(3, &b"abc\0\0"[..]), (4, &[1][..])]);
        assert!(attributes(&[9, 0, 0, 0]).is_empty(), "cut off");
    }

    #[test]
    fn the_loopback_address_is_there() {
        let mut netlink = Netlink::open().unwrap();
        let request = Request::new(RTM_GETADDR, 0, &[libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0]);
        let answers = netlink.dump(request).unwrap();
        let has = |body: &[u8]| attributes(&body[8..]).iter().any(|(_, value)| *value == [127, 0, 0, 1]);
        assert!(answers.iter().any(|(_, body)| has(body)));
    }
}
