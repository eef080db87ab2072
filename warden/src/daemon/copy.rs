//! Files in and out: a tar stream between the daemon, which sees the host alone, and a process of the container, which
//! sees the container alone. No path of one is ever looked up in the other.

use super::engine::{Engine, Peer};
use super::record::Phase;
use super::{Error, tree};
use crate::fault;
use crate::wire::JobUser;
use cupola_protocol::warden::{CopyInRequest, CopyOutRequest};
use nix::unistd::{Gid, Group, Uid, User};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

impl Engine {
    /// From the host into the container.
    pub(crate) fn copy_in(&self, request: &CopyInRequest, peer: Peer) -> Result<(), Error> {
        let container = self.find(&request.handle)?;
        container.require_active()?;
        let source = tree::Source::of(&request.src_path, |path| self.host_path(path, peer))?;
        let (ours, theirs) = pipe()?;
        let transfer = container
            .init()?
            .unpack(Path::new(&request.dst_path), JobUser::Vcap, ours)
            .map_err(Error::init("copy into the container"))?;
        fault::point("copy_in.begun");
        let written = source.write(File::from(theirs));
        fault::point("copy_in.written");
        // What the other side says is the reason, and a broken pipe here only its echo.
        transfer.finish().map_err(Error::init("copy into the container"))?;
        written
    }

    /// From the container to the host.
    pub(crate) fn copy_out(&self, request: &CopyOutRequest, peer: Peer) -> Result<(), Error> {
        let container = self.find(&request.handle)?;
        container.require(&[Phase::Active, Phase::Stopped], "active, stopped")?;
        let owner = match request.owner.as_deref().filter(|owner| !owner.is_empty()) {
            Some(owner) => ids(owner)?,
            // Files of another user would be of no use to the client.
            None => (
                peer.uid,
                User::from_uid(Uid::from_raw(peer.uid)).ok().flatten().map_or(0, |user| user.gid.as_raw()),
            ),
        };
        if peer.uid != 0 && owner.0 != peer.uid {
            return Err(Error::Invalid("only root may give copies to another user".to_owned()));
        }
        let target = tree::Target::of(&request.dst_path, owner, |path| self.host_path(path, peer))?;
        let (ours, theirs) = pipe()?;
        let transfer = container
            .init()?
            .pack(Path::new(&request.src_path), JobUser::Root, theirs)
            .map_err(Error::init("copy out of the container"))?;
        fault::point("copy_out.begun");
        let read = target.read(File::from(ours));
        fault::point("copy_out.read");
        transfer.finish().map_err(Error::init("copy out of the container"))?;
        read
    }
}

/// Read end and write end.
fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    let made = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(std::io::Error::from);
    made.map_err(Error::io("make a pipe", Path::new("tar stream")))
}

/// uid and gid of `user:group` or `user`, by name or number.
fn ids(owner: &str) -> Result<(u32, u32), Error> {
    let unknown = || Error::Invalid(format!("owner {owner:?} is not a user:group of this host"));
    let (user, group) = owner.split_once(':').map_or((owner, None), |(user, group)| (user, Some(group)));
    let by_name = User::from_name(user).ok().flatten();
    let uid =
        by_name.as_ref().map(|user| user.uid.as_raw()).or_else(|| user.parse().ok()).ok_or_else(unknown)?;
    let gid = match group {
        Some(group) => Group::from_name(group)
            .ok()
            .flatten()
            .map(|group| group.gid)
            .or(group.parse().ok().map(Gid::from_raw)),
        None => by_name.map(|user| user.gid).or(Some(Gid::from_raw(uid))),
    };
    Ok((uid, gid.ok_or_else(unknown)?.as_raw()))
}
