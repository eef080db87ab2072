//! As much of rtnetlink(7) as a container's link needs: requests with attributes, answered by an error number.

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

// Numbers of linux/netlink.h and linux/rtnetlink.h.
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
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
pub(super) const RTM_NEWNEIGH: u16 = 28;

/// Bit that marks an attribute as a container of others.
pub(super) const NESTED: u16 = 0x8000;

/// A socket in the network namespace that it was opened in, wherever it is used.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    /// Number of the last request.
    sequence: u32,
    /// Received and not looked at.
    unread: VecDeque<Answer>,
}

#[derive(Debug)]
struct Answer {
    kind: u16,
    sequence: u32,
    body: Vec<u8>,
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

    /// Appends an attribute that is itself a list.
    pub(super) fn nested(mut self, kind: u16, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        nested(&mut self.body, kind, write);
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

/// Appends an attribute that is itself a list.
pub(super) fn nested(list: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    attribute(list, kind | NESTED, &inner);
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
        Ok(Netlink { socket, sequence: 0, unread: VecDeque::new() })
    }

    /// Sends a request and waits for the kernel's verdict.
    pub(super) fn send(&mut self, request: Request) -> io::Result<()> {
        self.talk(request, NLM_F_ACK, |_, _| ())
    }

    /// Sends several requests at once, and waits for the verdict on each. All are tried; the error is the first.
    pub(super) fn send_all(&mut self, requests: &[Request]) -> io::Result<()> {
        let mut message = Vec::with_capacity(4_096);
        let first = self.sequence.wrapping_add(1);
        for request in requests {
            self.write(&mut message, request, NLM_F_ACK);
        }
        sendto(self.socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut result = Ok(());
        for sequence in 0..requests.len() as u32 {
            let answer = self.receive(first.wrapping_add(sequence), |_, _| ());
            result = result.and(answer);
        }
        result
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

    fn talk(&mut self, request: Request, flags: u16, each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let mut message = Vec::with_capacity(HEADER + request.body.len());
        self.write(&mut message, &request, flags);
        sendto(self.socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        self.receive(self.sequence, each)
    }

    /// Appends a request with the next number.
    fn write(&mut self, message: &mut Vec<u8>, request: &Request, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        message.extend_from_slice(&((HEADER + request.body.len()) as u32).to_ne_bytes());
        message.extend_from_slice(&request.kind.to_ne_bytes());
        message.extend_from_slice(&(request.flags | NLM_F_REQUEST | flags).to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0u32.to_ne_bytes());
        message.extend_from_slice(&request.body);
    }

    /// Reads answers to the request of a number until its last.
    fn receive(&mut self, sequence: u32, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        loop {
            while let Some(answer) = self.unread.pop_front() {
                // An answer to a request whose end nobody waited for.
                if answer.sequence != sequence {
                    continue;
                }
                match answer.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let code = answer.body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    kind => each(kind, &answer.body),
                }
            }
            let mut buffer = vec![0; 64 * 1024];
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            self.unread.extend(answers(buffer.get(..length).unwrap_or_default())?);
        }
    }
}

/// The messages of what was received at once.
fn answers(mut rest: &[u8]) -> io::Result<Vec<Answer>> {
    let mut all = Vec::new();
    while let Some(header) = rest.first_chunk::<HEADER>() {
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = word(0) as usize;
        let body = rest.get(HEADER..length).ok_or(io::ErrorKind::InvalidData)?.to_vec();
        all.push(Answer { kind: u16::from_ne_bytes([header[4], header[5]]), sequence: word(8), body });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(all)
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
