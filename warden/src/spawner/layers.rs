//! The root of a container: an overlay of its lower layers and its writable layer. Works with names in the staging
//! directory, which say nothing of the host where they show in the container's list of mounts.

use super::serve::Prepared;
use super::{Step, c_path};
use crate::sys::mount as sys_mount;
use crate::wire::{ContainerPlan, Failure, Layer, Upper};
use nix::fcntl::AT_FDCWD;
use nix::mount::{MsFlags, mount};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;

/// Mounts the root on the staging directory `root`.
pub(super) fn mount_root(plan: &ContainerPlan, prepared: &Prepared) -> Result<(), Failure> {
    let userns = &prepared.userns;
    let mut lowers = Vec::new();
    for (number, (layer, image)) in plan.lowers.iter().zip(&prepared.images).enumerate() {
        let (shown, source) = match (layer, image) {
            (Layer::Directory(path) | Layer::Erofs(path), None) => (path.as_path(), path.as_path()),
            (Layer::Directory(path) | Layer::Erofs(path), Some(name)) => (path.as_path(), Path::new(name)),
        };
        let name = format!("lower{number}");
        let tree = c_path(source).and_then(|source| sys_mount::open_tree(AT_FDCWD, &source));
        let tree = tree.step("open a layer", shown)?;
        let set = sys_mount::RDONLY | sys_mount::NOSUID | sys_mount::NODEV;
        sys_mount::set_attributes(tree.as_fd(), set, Some(userns.as_fd()))
            .step("shift the owners of a layer", shown)?;
        let target = File::open(&name).step("open a staging directory", &name)?;
        sys_mount::attach(tree.as_fd(), target.as_fd()).step("attach a layer", shown)?;
        lowers.push(name);
    }
    if plan.upper == Upper::None {
        return read_only(lowers.as_slice());
    }
    mount_upper(&plan.upper, prepared.upper.as_ref())?;
    for (name, mode) in [("upper/upper", 0o755), ("upper/work", 0o700)] {
        match DirBuilder::new().mode(mode).create(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).step("make a directory of the writable layer", name);
            }
            _ => (),
        }
    }
    chown("upper/upper", Some(plan.uid_base), Some(plan.uid_base))
        .step("give away the writable layer", "upper")?;
    // volatile: no syncing of the host's disk when the container ends; nothing of it is mounted a second time.
    // No redirects, no metacopy: a layer that was not made by us must not name files of another.
    let options = format!(
        "lowerdir={},upperdir=upper/upper,workdir=upper/work,volatile,metacopy=off,redirect_dir=nofollow,index=off",
        lowers.join(":")
    );
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("overlay"), "root", Some("overlay"), flags, Some(options.as_str()))
        .step("mount the root", "overlay")
}

/// A root that nobody can write: the one layer itself, or an overlay of several without an upper one.
fn read_only(lowers: &[String]) -> Result<(), Failure> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
    if let [only] = lowers {
        return mount(Some(only.as_str()), "root", None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .step("mount the root", only);
    }
    let options = format!("lowerdir={},metacopy=off,redirect_dir=nofollow,index=off", lowers.join(":"));
    mount(Some("overlay"), "root", Some("overlay"), flags, Some(options.as_str()))
        .step("mount the root", "overlay")
}

fn mount_upper(upper: &Upper, mounted: Option<&OwnedFd>) -> Result<(), Failure> {
    match upper {
        Upper::Mounted => {
            let missing = || Failure::new("receive the writable layer", "", libc::EBADF);
            let target = File::open("upper").step("open a staging directory", "upper")?;
            sys_mount::attach(mounted.ok_or_else(missing)?.as_fd(), target.as_fd())
                .step("attach the writable layer", "upper")
        }
        Upper::Ext4 { device } => {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
            mount(Some(device.as_path()), "upper", Some("ext4"), flags, None::<&str>)
                .step("mount the writable layer", device)
        }
        Upper::None => Ok(()),
        Upper::Directory(path) => {
            let tree = c_path(path).and_then(|path| sys_mount::open_tree(AT_FDCWD, &path));
            let tree = tree.step("open the writable layer", path)?;
            sys_mount::set_attributes(tree.as_fd(), sys_mount::NOSUID | sys_mount::NODEV, None)
                .step("restrict the writable layer", path)?;
            let target = File::open("upper").step("open a staging directory", "upper")?;
            sys_mount::attach(tree.as_fd(), target.as_fd()).step("attach the writable layer", path)
        }
    }
}
