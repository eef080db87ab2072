//! What a container is made of.

use super::{Malformed, Reader, Wire, Writer};
use std::path::PathBuf;

/// Everything the spawner needs to build one container. Every path is one of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPlan {
    /// Internal name, `[a-z0-9]{11}`.
    pub id: String,
    /// Host name inside.
    pub hostname: String,
    /// `<depot>/<id>`; exists, owned by root, mode 0700. `init.sock` and `jobs/` are made in it.
    pub depot: PathBuf,
    /// First host uid and gid of the container's 65,536.
    pub uid_base: u32,
    /// Where its processes are counted and limited.
    pub cgroup: CgroupEntry,
    /// Read-only layers, topmost first; at least one.
    pub lowers: Vec<Layer>,
    /// The writable layer.
    pub upper: Upper,
    /// Host directories and files shown inside.
    pub binds: Vec<Bind>,
    /// Size of `/dev/shm` in bytes.
    pub shm_bytes: u64,
    /// Size of `/run` in bytes.
    pub run_bytes: u64,
    /// Most files and directories of `/dev/shm`, `/run` and, where it is in memory, `/tmp`, each.
    pub tmpfs_inodes: u64,
    /// What of its own cgroups it sees below `/sys/fs/cgroup`, read-only.
    pub views: Vec<CgroupView>,
    /// Files written into the root before anything runs (path inside, contents), e.g. `/etc/hosts`. Mode 0644, root's.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// The ordinary user.
    pub user: UserSpec,
}

/// The cgroup that a container's first process enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupEntry {
    /// cgroup v2: the directory.
    V2 {
        /// The container's cgroup directory.
        dir: PathBuf,
    },
    /// cgroup v1: the `tasks` file of the container's directory in each hierarchy. They are entered first: a devices
    /// hierarchy must allow making (`m`) the nodes null, zero, full, random, urandom and tty.
    V1 {
        /// The files; empty means no cgroup at all.
        tasks: Vec<PathBuf>,
    },
}

/// A cgroup directory of the container that it sees, so that runtimes find what they may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupView {
    /// Name below `/sys/fs/cgroup`: the controllers of a v1 hierarchy joined by commas; empty for v2, which is all there.
    pub name: String,
    /// The directory on the host.
    pub source: PathBuf,
}

/// A read-only layer of the root. Files in it belong to the uids 0 to 65,535 of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// A directory tree of the host.
    Directory(PathBuf),
    /// An EROFS image file.
    Erofs(PathBuf),
}

/// The writable layer of the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upper {
    /// An ext4 filesystem of its own.
    Ext4 {
        /// Block device, e.g. `/dev/loop7`.
        device: PathBuf,
    },
    /// A directory on a filesystem of the host, which limits it by itself or not at all.
    Directory(PathBuf),
    /// A filesystem that is mounted but attached nowhere: its descriptor comes along, after the network namespace's.
    Mounted,
    /// None: the root cannot be written.
    None,
}

/// A host directory or file shown inside. Unless `owner` says otherwise its owners are not shifted: inside they all are
/// nobody (65534), so that what is shown is what the host lets everybody read, and a container's root makes no files of
/// the host's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Path on the host; must exist.
    pub source: PathBuf,
    /// Path inside; made when missing. Links in it are resolved inside the root.
    pub target: PathBuf,
    /// Whether writing is refused.
    pub read_only: bool,
    /// The host's uid and gid that the ordinary user stands for in it. Nobody else of the container has any there: root
    /// of the container cannot make a file in it, so there are none of the host's root.
    pub owner: Option<(u32, u32)>,
}

/// The ordinary user of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSpec {
    /// Its name, `vcap`. When the root's `/etc/passwd` has it, that entry's uid, gid and home hold instead of these.
    pub name: String,
    /// Its uid inside.
    pub uid: u32,
    /// Its gid inside.
    pub gid: u32,
    /// Its home directory.
    pub home: PathBuf,
}

impl Wire for ContainerPlan {
    fn write(&self, out: &mut Writer) {
        out.bytes(self.id.as_bytes());
        out.bytes(self.hostname.as_bytes());
        out.path(&self.depot);
        out.u32(self.uid_base);
        self.cgroup.write(out);
        out.list(&self.lowers, |out, layer| layer.write(out));
        self.upper.write(out);
        out.list(&self.binds, |out, bind| bind.write(out));
        out.u64(self.shm_bytes);
        out.u64(self.run_bytes);
        out.u64(self.tmpfs_inodes);
        out.list(&self.views, |out, view| {
            out.bytes(view.name.as_bytes());
            out.path(&view.source);
        });
        out.list(&self.files, |out, (path, contents)| {
            out.path(path);
            out.bytes(contents);
        });
        self.user.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(ContainerPlan {
            id: from.text()?,
            hostname: from.text()?,
            depot: from.path()?,
            uid_base: from.u32()?,
            cgroup: CgroupEntry::read(from)?,
            lowers: from.list(Layer::read)?,
            upper: Upper::read(from)?,
            binds: from.list(Bind::read)?,
            shm_bytes: from.u64()?,
            run_bytes: from.u64()?,
            tmpfs_inodes: from.u64()?,
            views: from.list(|from| Ok(CgroupView { name: from.text()?, source: from.path()? }))?,
            files: from.list(|from| Ok((from.path()?, from.bytes()?)))?,
            user: UserSpec::read(from)?,
        })
    }
}

impl Wire for CgroupEntry {
    fn write(&self, out: &mut Writer) {
        match self {
            CgroupEntry::V2 { dir } => {
                out.u8(2);
                out.path(dir);
            }
            CgroupEntry::V1 { tasks } => {
                out.u8(1);
                out.list(tasks, |out, file| out.path(file));
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            1 => Ok(CgroupEntry::V1 { tasks: from.list(|from| from.path())? }),
            2 => Ok(CgroupEntry::V2 { dir: from.path()? }),
            _ => Err(Malformed("unknown kind of cgroup")),
        }
    }
}

impl Wire for Layer {
    fn write(&self, out: &mut Writer) {
        let (kind, path) = match self {
            Layer::Directory(path) => (0, path),
            Layer::Erofs(path) => (1, path),
        };
        out.u8(kind);
        out.path(path);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(Layer::Directory(from.path()?)),
            1 => Ok(Layer::Erofs(from.path()?)),
            _ => Err(Malformed("unknown kind of layer")),
        }
    }
}

impl Wire for Upper {
    fn write(&self, out: &mut Writer) {
        match self {
            Upper::Ext4 { device } => {
                out.u8(0);
                out.path(device);
            }
            Upper::Directory(path) => {
                out.u8(1);
                out.path(path);
            }
            Upper::Mounted => out.u8(3),
            Upper::None => out.u8(2),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(Upper::Ext4 { device: from.path()? }),
            1 => Ok(Upper::Directory(from.path()?)),
            2 => Ok(Upper::None),
            3 => Ok(Upper::Mounted),
            _ => Err(Malformed("unknown kind of writable layer")),
        }
    }
}

impl Wire for Bind {
    fn write(&self, out: &mut Writer) {
        out.path(&self.source);
        out.path(&self.target);
        out.u8(self.read_only.into());
        out.u8(self.owner.is_some().into());
        if let Some((uid, gid)) = self.owner {
            out.u32(uid);
            out.u32(gid);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (source, target, read_only) = (from.path()?, from.path()?, from.bool()?);
        let owner = if from.bool()? { Some((from.u32()?, from.u32()?)) } else { None };
        Ok(Bind { source, target, read_only, owner })
    }
}

impl Wire for UserSpec {
    fn write(&self, out: &mut Writer) {
        out.bytes(self.name.as_bytes());
        out.u32(self.uid);
        out.u32(self.gid);
        out.path(&self.home);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(UserSpec { name: from.text()?, uid: from.u32()?, gid: from.u32()?, home: from.path()? })
    }
}
