//! What is mounted and written in a container's root, before it becomes the root.

use super::root::Root;
use super::{Step, c_path, users};
use crate::sys::mount as sys_mount;
use crate::wire::{Bind, ContainerPlan, Failure, Upper, UserSpec};
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat};
use nix::unistd::symlinkat;
use std::fs::{File, Permissions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Group `tty` of every Linux distribution; owns terminals.
const TTY: u32 = 5;
/// Staging directory for the files of a root that cannot be written; a writable one has its upper layer there.
const FILES: &str = "upper";
/// Where nothing is but the container's own cgroups.
const SYS: &str = "/sys";
/// Most terminals of a container.
const TERMINALS: u32 = 64;

/// Character devices of `/dev`: name and number (Documentation/admin-guide/devices.txt).
const NODES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Files and directories of `/proc` that read as empty: they tell of the host, or reach into it.
const MASKED: [&str; 23] = [
    "kcore",
    "keys",
    "key-users",
    "timer_list",
    "timer_stats",
    "sched_debug",
    "latency_stats",
    "interrupts",
    "kallsyms",
    "kmsg",
    "sysrq-trigger",
    "kpagecount",
    "kpageflags",
    "kpagecgroup",
    "pagetypeinfo",
    "slabinfo",
    "vmallocinfo",
    "iomem",
    "ioports",
    "config.gz",
    "scsi",
    "acpi",
    "asound",
];
/// Directories of `/proc` that can be read but not written.
const READ_ONLY: [&str; 4] = ["sys", "irq", "bus", "fs"];

/// Fills the root at the staging directory `root`; gives the ordinary user as it is inside. `owners` has an entry for
/// each bind mount.
pub(super) fn furnish(plan: &ContainerPlan, owners: &[Option<File>]) -> Result<UserSpec, Failure> {
    let base = plan.uid_base;
    let root = Root::open(Path::new("root"), base).step("open the root", "")?;
    let owned = format!("uid={base},gid={base}");
    let user = match plan.upper {
        Upper::None => {
            let tmp = format!("mode=1777,size={},nr_inodes={},{owned}", plan.shm_bytes, plan.tmpfs_inodes);
            attach("tmpfs", &real(&root, "/tmp")?, MsFlags::empty(), &tmp, "/tmp")?;
            show_files(&root, plan)?;
            users::find(&root, &plan.user)?.unwrap_or_else(|| plan.user.clone())
        }
        _ => {
            let user = users::ensure(&root, &plan.user, base)?;
            for (path, contents) in &plan.files {
                root.write(path, contents).step("write a file of the container", path)?;
            }
            let tmp = real(&root, "/tmp")?;
            std::fs::set_permissions(by_descriptor(&tmp), Permissions::from_mode(0o1777))
                .step("set the mode", "/tmp")?;
            user
        }
    };
    let run = format!("mode=755,size={},nr_inodes={},{owned}", plan.run_bytes, plan.tmpfs_inodes);
    attach("tmpfs", &real(&root, "/run")?, MsFlags::empty(), &run, "/run")?;
    for (bind, owner) in plan.binds.iter().zip(owners) {
        // Who is who was decided before the image could say who its ordinary user is.
        if owner.is_some() && (user.uid, user.gid) != (plan.user.uid, plan.user.gid) {
            return Err(Failure::new(
                "write in the owner's name as the image's user",
                &bind.source,
                libc::EINVAL,
            ));
        }
        attach_bind(&root, bind, owner.as_ref())?;
    }
    devices(&root, plan, &owned)?;
    proc(&root)?;
    cgroups(&root, plan)?;
    Ok(user)
}

/// Shows the container's files in a root that cannot be written, where there is a file of that name to show them on.
fn show_files(root: &Root, plan: &ContainerPlan) -> Result<(), Failure> {
    let options = [(c"size", Some(c"256k")), (c"nr_inodes", Some(c"32")), (c"mode", Some(c"755"))];
    let memory = sys_mount::filesystem(c"tmpfs", &options).step("make a place for files", "")?;
    let place = File::open(FILES).step("open a staging directory", FILES)?;
    sys_mount::attach(memory.as_fd(), place.as_fd()).step("attach a place for files", FILES)?;
    let files = Root::open(Path::new(FILES), plan.uid_base).step("open the place for files", FILES)?;
    for (number, (path, contents)) in plan.files.iter().enumerate() {
        let Ok(target) = root.find(path, OFlag::O_PATH) else { continue };
        let name = number.to_string();
        files.write(Path::new(&name), contents).step("write a file of the container", path)?;
        let source = c_path(&Path::new(FILES).join(&name)).step("name a file", path)?;
        let tree = sys_mount::open_tree(AT_FDCWD, &source).step("open a file of the container", path)?;
        let set = sys_mount::RDONLY | sys_mount::NOSUID | sys_mount::NODEV;
        sys_mount::set_attributes(tree.as_fd(), set, None).step("protect a file of the container", path)?;
        sys_mount::attach(tree.as_fd(), target.as_fd()).step("show a file of the container", path)?;
    }
    Ok(())
}

/// Mounts on a directory by its descriptor; always nosuid, and nodev unless devices are the point.
fn attach(kind: &str, target: &OwnedFd, flags: MsFlags, options: &str, shown: &str) -> Result<(), Failure> {
    let flags = flags
        | MsFlags::MS_NOSUID
        | if shown == "/dev" || shown == "/dev/pts" { MsFlags::empty() } else { MsFlags::MS_NODEV };
    mount(Some(kind), &by_descriptor(target), Some(kind), flags, Some(options)).step("mount", shown)
}

fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// A directory of the root that is mounted on. An image in which it is a link is refused (CVE-2023-27561).
fn real(root: &Root, path: &str) -> Result<OwnedFd, Failure> {
    root.real_directory(Path::new(path)).step("find a real directory in the root", path)
}

fn attach_bind(root: &Root, bind: &Bind, owner: Option<&File>) -> Result<(), Failure> {
    let covered = ["/proc", "/dev", "/sys"].iter().any(|path| bind.target.starts_with(path));
    if !bind.target.is_absolute() || covered || bind.target == Path::new("/") {
        return Err(Failure::new("bind outside /, /proc, /dev and /sys", &bind.target, libc::EINVAL));
    }
    let tree = c_path(&bind.source).and_then(|source| sys_mount::open_tree(AT_FDCWD, &source));
    let tree = tree.step("open the source of a bind mount", &bind.source)?;
    let set = sys_mount::NOSUID | sys_mount::NODEV | if bind.read_only { sys_mount::RDONLY } else { 0 };
    sys_mount::set_attributes(tree.as_fd(), set, owner.map(AsFd::as_fd))
        .step("restrict a bind mount", &bind.source)?;
    let is_directory = std::fs::metadata(by_descriptor(&tree))
        .step("look at the source of a bind mount", &bind.source)?
        .is_dir();
    let target = match is_directory {
        true => root.directory(&bind.target).map(OwnedFd::from),
        false => root.file_place(&bind.target),
    };
    let target = target.step("make the target of a bind mount", &bind.target)?;
    // The descriptor may be of what another bind mount covers by now: the kernel attaches on top.
    sys_mount::attach(tree.as_fd(), target.as_fd()).step("attach a bind mount", &bind.target)
}

fn devices(root: &Root, plan: &ContainerPlan, owned: &str) -> Result<(), Failure> {
    let base = plan.uid_base;
    let options = format!("mode=755,size=64k,nr_inodes=64,{owned}");
    attach("tmpfs", &real(root, "/dev")?, MsFlags::MS_NOEXEC, &options, "/dev")?;
    let dev = real(root, "/dev")?;
    let dev = File::open(by_descriptor(&dev)).step("open", "/dev")?;
    for (name, major, minor) in NODES {
        let mode = Mode::from_bits_truncate(0o666);
        mknodat(&dev, name, SFlag::S_IFCHR, mode, makedev(major, minor)).step("make a device node", name)?;
    }
    for (target, name) in LINKS {
        symlinkat(target, &dev, name).step("make a link in /dev", name)?;
    }
    let pts = format!("newinstance,ptmxmode=0666,mode=0620,gid={},max={TERMINALS}", base + TTY);
    attach("devpts", &real(root, "/dev/pts")?, MsFlags::MS_NOEXEC, &pts, "/dev/pts")?;
    let shm = format!("mode=1777,size={},nr_inodes={},{owned}", plan.shm_bytes, plan.tmpfs_inodes);
    attach("tmpfs", &real(root, "/dev/shm")?, MsFlags::MS_NOEXEC, &shm, "/dev/shm")?;
    attach("mqueue", &real(root, "/dev/mqueue")?, MsFlags::MS_NOEXEC, "", "/dev/mqueue")?;
    fchown(&dev, Some(base), Some(base)).step("give away", "/dev")
}

fn proc(root: &Root) -> Result<(), Failure> {
    attach("proc", &real(root, "/proc")?, MsFlags::MS_NOEXEC, "", "/proc")?;
    let proc = real(root, "/proc")?;
    let null = root.find(Path::new("/dev/null"), OFlag::O_PATH).step("open", "/dev/null")?;
    // One empty, read-only directory serves for every masked one.
    let options = [(c"size", Some(c"4k")), (c"nr_inodes", Some(c"1")), (c"mode", Some(c"555"))];
    for name in MASKED {
        let Some((place, is_directory)) = proc_entry(&proc, name)? else { continue };
        let mask = match is_directory {
            true => sys_mount::filesystem(c"tmpfs", &options),
            false => sys_mount::open_tree(null.as_fd(), c""),
        };
        let mask = mask.step("make a mask", name)?;
        sys_mount::set_attributes(mask.as_fd(), sys_mount::RDONLY | sys_mount::NOSUID, None)
            .step("make a mask", name)?;
        sys_mount::attach(mask.as_fd(), place.as_fd()).step("mask in /proc", name)?;
    }
    for name in READ_ONLY {
        let Some((place, _)) = proc_entry(&proc, name)? else { continue };
        let tree = sys_mount::open_tree(place.as_fd(), c"").step("open in /proc", name)?;
        let set = sys_mount::RDONLY | sys_mount::NOSUID | sys_mount::NODEV;
        sys_mount::set_attributes(tree.as_fd(), set, None).step("protect in /proc", name)?;
        sys_mount::attach(tree.as_fd(), place.as_fd()).step("protect in /proc", name)?;
    }
    Ok(())
}

/// Shows the container its own cgroups, and nothing above or beside them: the sub-directories of the host's mounts are
/// attached alone, read-only. Its cgroup namespace names them `/`, so that what `/proc/self/cgroup` says is true here.
fn cgroups(root: &Root, plan: &ContainerPlan) -> Result<(), Failure> {
    // A root that nobody can write may have no place for it.
    if plan.views.is_empty() || plan.upper == Upper::None && root.find(Path::new(SYS), OFlag::O_PATH).is_err()
    {
        return Ok(());
    }
    let options = [(c"size", Some(c"4k")), (c"nr_inodes", Some(c"32")), (c"mode", Some(c"755"))];
    let sys = sys_mount::filesystem(c"tmpfs", &options).step("make a place for cgroups", SYS)?;
    sys_mount::attach(sys.as_fd(), real(root, SYS)?.as_fd()).step("attach a place for cgroups", SYS)?;
    let mode = Mode::from_bits_truncate(0o755);
    for name in ["fs", "fs/cgroup"] {
        mkdirat(&sys, name, mode).step("make a place for cgroups", name)?;
    }
    for view in &plan.views {
        let place = format!("fs/cgroup/{}", view.name);
        if !view.name.is_empty() {
            mkdirat(&sys, place.as_str(), mode).step("make a place for a cgroup", &view.source)?;
        }
        for name in view.name.split(',').filter(|name| *name != view.name) {
            let link = format!("fs/cgroup/{name}");
            symlinkat(view.name.as_str(), &sys, link.as_str()).step("name a cgroup", &view.source)?;
        }
        let tree = c_path(&view.source).and_then(|source| sys_mount::open_tree(AT_FDCWD, &source));
        let tree = tree.step("open a cgroup", &view.source)?;
        let set = sys_mount::RDONLY | sys_mount::NOSUID | sys_mount::NODEV | sys_mount::NOEXEC;
        sys_mount::set_attributes(tree.as_fd(), set, None).step("protect a cgroup", &view.source)?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let place = openat(&sys, place.as_str(), flags, Mode::empty()).step("open", SYS)?;
        sys_mount::attach(tree.as_fd(), place.as_fd()).step("show a cgroup", &view.source)?;
    }
    let set = sys_mount::RDONLY | sys_mount::NOSUID | sys_mount::NODEV | sys_mount::NOEXEC;
    sys_mount::set_attributes(sys.as_fd(), set, None).step("protect the cgroups", SYS)
}

/// An entry of the new procfs itself, and whether it is a directory; `None` where this kernel has none.
fn proc_entry(proc: &OwnedFd, name: &str) -> Result<Option<(OwnedFd, bool)>, Failure> {
    let resolve =
        ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_BENEATH;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve);
    let place = match openat2(proc, name, how) {
        Err(nix::Error::ENOENT) => return Ok(None),
        other => other.step("find in /proc", name)?,
    };
    let is_directory = File::from(place.try_clone().step("find in /proc", name)?)
        .metadata()
        .step("look at in /proc", name)?
        .is_dir();
    Ok(Some((place, is_directory)))
}
