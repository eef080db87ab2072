//! The spawner's loop.

use super::building::Building;
use super::images::Images;
use super::namespaces::{self, Namespaces};
use super::{Step, build};
use crate::channel::{Channel, address_in};
use crate::seccomp;
use crate::sys::privilege::Instruction;
use crate::sys::process::{self, Cloned};
use crate::sys::{self, mount};
use crate::wire::{CgroupEntry, ContainerPlan, Failure, Layer, SpawnOutcome, SpawnReply, SpawnRequest, Wire};
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount as mount_by_name};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind, listen, socket};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{fchdir, pipe2, setsid};
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, fchown};
use std::time::{Duration, Instant};

/// Most containers under construction at once; further plans wait in the socket.
const MOST_BUILDING: usize = 16;
/// Most lower layers of a container.
pub(super) const MOST_LOWERS: usize = 16;
/// Where the staging directory is mounted, in the spawner's own mount namespace.
const STAGING: &str = "/proc/fs";
/// uids of a container.
pub(super) const RANGE: u32 = 65_536;

/// What every container is built with.
pub(super) struct Tools {
    /// The sealed copy of this program.
    pub(super) program: File,
    pub(super) filter: Vec<Instruction>,
}

/// Descriptors that the spawner prepares for one container.
pub(super) struct Prepared {
    pub(super) netns: OwnedFd,
    pub(super) userns: File,
    pub(super) listener: OwnedFd,
    pub(super) jobs: OwnedFd,
    /// For each bind mount whose owner the ordinary user stands for: who is who in it.
    pub(super) owners: Vec<Option<File>>,
    /// v1: the `tasks` files.
    pub(super) tasks: Vec<File>,
    /// For each lower layer, the name of the image's mount in the staging directory, or `None` for a directory.
    pub(super) images: Vec<Option<String>>,
    /// The writable layer, when it comes mounted.
    pub(super) upper: Option<OwnedFd>,
    /// Where a failure goes, or the sign that the init is ready.
    pub(super) report: File,
}

/// Runs the spawner on standard input until that closes.
pub fn serve() -> Result<(), Failure> {
    let channel = Channel::new(io::stdin().as_fd().try_clone_to_owned().step("take the socket", "")?);
    let tools = prepare()?;
    let staging = stage()?;
    let (mut images, mut namespaces, mut building) =
        (Images::new(staging), Namespaces::default(), Vec::<Building>::new());
    loop {
        match turn(&channel, &mut building, namespaces.wants_more()).step("wait for plans", "")? {
            Turn::Idle => namespaces.make_one(),
            Turn::Heard => (),
            Turn::Plan => {
                // The other end has closed, or sends what is no packet.
                let Ok(Some(packet)) = channel.receive() else { return Ok(()) };
                let mut fds = packet.fds.into_iter();
                let (Ok(request), Some(netns)) = (SpawnRequest::decode(&packet.payload), fds.next()) else {
                    return Err(Failure::new("read the plan", "", libc::EPROTO));
                };
                match spawn(&tools, &mut images, &mut namespaces, &request.plan, netns, fds.next()) {
                    Ok((pid, pidfd, report)) => {
                        building.push(Building::new(request.number, pid, pidfd, report));
                    }
                    Err(failure) => answer(&channel, request.number, SpawnOutcome::Failed(failure), None)?,
                }
            }
        }
        let now = Instant::now();
        for at in (0..building.len()).rev() {
            if let Some(outcome) = building[at].settle(now) {
                let built = building.swap_remove(at);
                answer(&channel, built.number, outcome, Some(built.pidfd.as_fd()))?;
            }
        }
    }
}

/// What there is to do.
enum Turn {
    /// Another plan.
    Plan,
    /// News of a container under construction, or none has come for a long time.
    Heard,
    /// Nothing.
    Idle,
}

/// Waits for the next thing to do; where there is something to do meanwhile, only looks.
fn turn(channel: &Channel, building: &mut [Building], eager: bool) -> nix::Result<Turn> {
    let now = Instant::now();
    let mut fds: Vec<PollFd<'_>> =
        building.iter().map(|built| PollFd::new(built.awaited(), PollFlags::POLLIN)).collect();
    if building.len() < MOST_BUILDING {
        fds.push(PollFd::new(channel.as_fd(), PollFlags::POLLIN));
    }
    let deadline = building.iter().map(|built| built.deadline).min();
    let timeout = match (eager, deadline) {
        (true, _) => PollTimeout::ZERO,
        (false, None) => PollTimeout::NONE,
        // Rounded up, so that the deadline has passed when this returns.
        (false, Some(deadline)) => {
            let left = deadline.saturating_duration_since(now) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        }
    };
    let count = match poll(&mut fds, timeout) {
        Err(nix::Error::EINTR) => return Ok(Turn::Heard),
        other => other?,
    };
    let ready: Vec<bool> =
        fds.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty())).collect();
    for (built, ready) in building.iter_mut().zip(&ready) {
        if *ready {
            built.hear();
        }
    }
    Ok(match (count, ready.get(building.len())) {
        (0, _) if eager => Turn::Idle,
        (_, Some(true)) => Turn::Plan,
        _ => Turn::Heard,
    })
}

fn answer(
    channel: &Channel,
    number: u64,
    outcome: SpawnOutcome,
    pidfd: Option<BorrowedFd<'_>>,
) -> Result<(), Failure> {
    let fds: &[BorrowedFd<'_>] = match (&outcome, &pidfd) {
        (SpawnOutcome::Spawned { .. }, Some(pidfd)) => std::slice::from_ref(pidfd),
        _ => &[],
    };
    channel.send(&SpawnReply { number, outcome }.encode(), fds).step("answer", "")
}

fn prepare() -> Result<Tools, Failure> {
    let single = process::is_single_threaded().step("count threads", "")?;
    let program = File::open("/proc/self/exe").step("open this program", "/proc/self/exe")?;
    if !single || !sys::fd::is_sealed(program.as_fd()) {
        return Err(Failure::new("run from a sealed copy with one thread", "", libc::EPERM));
    }
    // A session of its own: what a terminal sends to the daemon's processes is not for containers.
    let _ = setsid();
    nix::sys::prctl::set_dumpable(false).step("become undumpable", "")?;
    process::reap_automatically().step("ignore ended children", "")?;
    umask(Mode::empty());
    Ok(Tools { program, filter: seccomp::program() })
}

/// Leaves the host's mount namespace, and makes a directory that only this process and its children can reach: a tmpfs
/// as working directory, of which children get a copy with their namespace. It is mounted over a directory that every
/// kernel has and no container is made from. (Over `/` it would be in nobody's way, but the kernel makes no user
/// namespace for a process whose root is covered.)
fn stage() -> Result<OwnedFd, Failure> {
    unshare(CloneFlags::CLONE_NEWNS).step("leave the host's mount namespace", "")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount_by_name(None::<&str>, "/", None::<&str>, private, None::<&str>).step("make mounts private", "/")?;
    let options = [(c"size", Some(c"1m")), (c"nr_inodes", Some(c"1024")), (c"mode", Some(c"700"))];
    let staging = mount::filesystem(c"tmpfs", &options).step("make the staging directory", "")?;
    let place = File::open(STAGING).step("open", STAGING)?;
    mount::attach(staging.as_fd(), place.as_fd()).step("attach the staging directory", STAGING)?;
    fchdir(&staging).step("enter the staging directory", "")?;
    for name in
        ["upper", "root"].into_iter().map(str::to_owned).chain((0..MOST_LOWERS).map(|n| format!("lower{n}")))
    {
        std::fs::create_dir(&name).step("make a staging directory", &name)?;
    }
    Ok(staging)
}

/// Starts the first process of a container; gives its number, a descriptor for it, and where it reports.
fn spawn(
    tools: &Tools,
    images: &mut Images,
    namespaces: &mut Namespaces,
    plan: &ContainerPlan,
    netns: OwnedFd,
    upper: Option<OwnedFd>,
) -> Result<(i32, OwnedFd, File), Failure> {
    check(plan)?;
    images.drop_stale();
    let mut names = Vec::new();
    for layer in &plan.lowers {
        names.push(match layer {
            Layer::Erofs(path) => Some(images.mounted(path)?),
            Layer::Directory(_) => None,
        });
    }
    let userns = namespaces.take(plan.uid_base)?;
    let mut owners = Vec::new();
    for bind in &plan.binds {
        let map = |id: u32, inside: u32| format!("{id} {} 1\n", plan.uid_base + inside);
        owners.push(match bind.owner {
            Some((uid, gid)) => Some(namespaces::make(&map(uid, plan.user.uid), &map(gid, plan.user.gid))?),
            None => None,
        });
    }
    let (listener, jobs) = depot(plan)?;
    let (mut tasks, mut cgroup) = (Vec::new(), None);
    match &plan.cgroup {
        CgroupEntry::V2 { dir } => cgroup = Some(File::open(dir).step("open the cgroup", dir)?),
        CgroupEntry::V1 { tasks: files } => {
            for file in files {
                tasks.push(File::options().write(true).open(file).step("open the cgroup", file)?);
            }
        }
    }
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC).step("make a pipe", "")?;
    let report_to = File::from(writing);
    let prepared =
        Prepared { netns, userns, owners, listener, jobs, tasks, images: names, upper, report: report_to };
    let namespaces = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
    let cloned = process::clone_into(namespaces, cgroup.as_ref().map(|dir| dir.as_fd()));
    match cloned.step("start the first process", "")? {
        Cloned::Child => build::run(tools, plan, prepared),
        Cloned::Parent { pid, pidfd } => Ok((pid, pidfd, File::from(reading))),
    }
}

fn check(plan: &ContainerPlan) -> Result<(), Failure> {
    let id = plan.id.len() == 11 && plan.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let base = plan.uid_base >= RANGE && plan.uid_base.checked_add(RANGE - 1).is_some();
    let checks = [
        (id, "check the id"),
        (base, "check the uid range"),
        ((1..=MOST_LOWERS).contains(&plan.lowers.len()), "check the number of layers"),
        (plan.user.uid > 0 && plan.user.uid < RANGE && plan.user.gid < RANGE, "check the user"),
        (plan.shm_bytes > 0 && plan.run_bytes > 0 && plan.tmpfs_inodes > 0, "check the sizes"),
    ];
    match checks.into_iter().find(|(holds, _)| !holds) {
        Some((_, step)) => Err(Failure::new(step, &plan.id, libc::EINVAL)),
        None => Ok(()),
    }
}

/// Makes `init.sock` and `jobs/` in the container's depot directory.
fn depot(plan: &ContainerPlan) -> Result<(OwnedFd, OwnedFd), Failure> {
    let path = &plan.depot;
    let directory = File::open(path).step("open the depot", path)?;
    // The socket in it obeys whoever can reach it.
    directory.set_permissions(Permissions::from_mode(0o700)).step("close the depot to others", path)?;
    let jobs = path.join("jobs");
    match DirBuilder::new().mode(0o700).create(&jobs) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).step("make the depot", &jobs);
        }
        _ => (),
    }
    let jobs_fd = File::open(&jobs).step("open the depot", &jobs)?;
    fchown(&jobs_fd, Some(plan.uid_base), Some(plan.uid_base)).step("give away the depot", &jobs)?;
    let socket_path = path.join("init.sock");
    match std::fs::remove_file(&socket_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).step("remove", &socket_path);
        }
        _ => (),
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).step("make a socket", "")?;
    let address =
        address_in(directory.as_fd(), OsStr::new("init.sock")).step("name the socket", &socket_path)?;
    bind(listener.as_raw_fd(), &address).step("bind the socket", &socket_path)?;
    listen(&listener, Backlog::MAXALLOWABLE).step("listen", &socket_path)?;
    Ok((listener, jobs_fd.into()))
}
