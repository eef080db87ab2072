//! One connection of the daemon.

use crate::channel::{Channel, Packet};
use crate::wire::{Event, InitReply, JobState, Wire};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// A connection, and the notes that it still has to bring.
pub(super) struct Connection {
    channel: Channel,
    subscribed: bool,
    /// The newest state of jobs that the subscriber has not heard of.
    news: BTreeMap<u64, JobState>,
    /// Nothing more can be sent or received.
    pub(super) broken: bool,
}

impl Connection {
    pub(super) fn new(channel: Channel) -> Self {
        Connection { channel, subscribed: false, news: BTreeMap::new(), broken: false }
    }

    /// The next request, if there is one.
    pub(super) fn next(&mut self) -> Option<Packet> {
        match self.channel.try_receive() {
            Ok(Some(packet)) => Some(packet),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Ok(None) | Err(_) => {
                self.broken = true;
                None
            }
        }
    }

    /// Answers. A daemon that does not read its answers loses the connection: the init waits for nobody.
    pub(super) fn reply(&mut self, reply: &InitReply) {
        self.reply_with(reply, None);
    }

    /// Answers with a descriptor.
    pub(super) fn reply_with(&mut self, reply: &InitReply, fd: Option<BorrowedFd<'_>>) {
        if self.channel.try_send_with(&reply.encode(), fd.as_slice()).is_err() {
            self.broken = true;
        }
    }

    pub(super) fn subscribe(&mut self) {
        self.subscribed = true;
    }

    /// Remembers what is new about a job.
    pub(super) fn note(&mut self, state: JobState) {
        if self.subscribed {
            self.news.insert(state.id, state);
        }
    }

    /// Whether notes wait for room in the socket.
    pub(super) fn wants_to_write(&self) -> bool {
        !self.news.is_empty()
    }

    /// Sends the notes, as many as there is room for.
    pub(super) fn flush(&mut self) {
        while let Some((job, state)) = self.news.first_key_value() {
            let job = *job;
            let event = match state.end {
                Some(end) => Event::Ended { job, end },
                None => Event::Output { job, offset: state.offset },
            };
            match self.channel.try_send(&InitReply::Event(event).encode()) {
                Ok(()) => drop(self.news.remove(&job)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
    }

    /// Gives up the socket: what becomes of it is somebody else's.
    pub(super) fn into_channel(self) -> Channel {
        self.channel
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
