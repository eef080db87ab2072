//! A container for a test: its directories, cgroup and network namespace, all gone when it is dropped.

use nix::sched::{CloneFlags, unshare};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use warden::init::client::{Events, InitClient};
use warden::spawner::client::{SpawnError, Spawned, Spawner};
use warden::wire::{
    Bind, CgroupEntry, ContainerPlan, Event, JobEnd, JobSpec, JobUser, Layer, OutputMode, RECORD_HEADER,
    Stdio, Upper, UserSpec,
};

/// The static init: `WARDEN_INIT`, else beside this test's own target directory, else built now.
pub(crate) fn init_program() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test builds containers and needs root: run `make test` as root"
        );
        if let Some(path) = std::env::var_os("WARDEN_INIT") {
            return PathBuf::from(path);
        }
        // target/debug/deps/<test> -> target
        let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
        let path = target.join("x86_64-unknown-linux-gnu/debug/warden-init");
        let built = match Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "warden", "--no-default-features", "--bin", "warden-init"])
            .args(["--target", "x86_64-unknown-linux-gnu"])
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
        {
            Ok(status) => status.success(),
            // A machine that has only the programs, as the tests' virtual one.
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        assert!(built && path.exists(), "the static warden-init cannot be built; try `make build`");
        path
    })
}

/// A container and what was prepared for it.
pub(crate) struct Container {
    pub(crate) plan: ContainerPlan,
    pub(crate) spawned: Spawned,
    pub(crate) client: InitClient,
    cgroups: Vec<PathBuf>,
    /// Last: removed when everything in it is free.
    _directory: tempfile::TempDir,
}

/// What a test wants of its container, before it is built.
pub(crate) struct Draft {
    pub(crate) plan: ContainerPlan,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) cgroups: Vec<PathBuf>,
    network: OwnedFd,
}

/// A container as most tests need it.
pub(crate) fn container() -> Container {
    draft().build().unwrap()
}

/// The parts of a container: a root of links into the host's `/usr`, which is shown read-only.
pub(crate) fn draft() -> Draft {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    init_program();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let id = format!("t{:05x}{:05x}", std::process::id() & 0xfffff, number);
    let directory = tempfile::Builder::new().prefix("warden-inside-").tempdir().unwrap();
    let path = directory.path();
    let root = path.join("root");
    for name in ["depot", "upper", "root/etc", "root/usr", "root/bin-extra"] {
        fs::create_dir_all(path.join(name)).unwrap();
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    let (cgroup, cgroups) = cgroup(&id);
    let plan = ContainerPlan {
        hostname: id.clone(),
        depot: path.join("depot"),
        uid_base: 300_000_000 + (std::process::id() % 1000) * 655_360 + number * 65_536,
        cgroup,
        lowers: vec![Layer::Directory(root)],
        upper: Upper::Directory(path.join("upper")),
        binds: vec![Bind { source: "/usr".into(), target: "/usr".into(), read_only: true, owner: None }],
        shm_bytes: 16 << 20,
        run_bytes: 1 << 20,
        tmpfs_inodes: 4096,
        views: Vec::new(),
        files: vec![("/etc/hosts".into(), b"127.0.0.1 localhost\n".to_vec())],
        user: UserSpec { name: "vcap".into(), uid: 1000, gid: 1000, home: "/home/vcap".into() },
        id,
    };
    Draft { plan, directory, cgroups, network: network() }
}

impl Draft {
    pub(crate) fn build(self) -> Result<Container, SpawnError> {
        // One spawner for each thread of this test binary: more than one at a time is what a restarted daemon sees too.
        thread_local!(static SPAWNER: Spawner = Spawner::start(init_program()).expect("the spawner starts"));
        let Draft { plan, directory, cgroups, network } = self;
        let spawned = SPAWNER.with(|spawner| spawner.spawn(plan.clone(), network.as_fd(), None));
        if spawned.is_err() {
            remove(&cgroups);
        }
        let spawned = spawned?;
        let client = InitClient::connect(&plan.depot.join("init.sock")).expect("the init answers");
        Ok(Container { plan, spawned, client, cgroups, _directory: directory })
    }
}

impl Container {
    /// Host path of the container's directory.
    pub(crate) fn depot(&self) -> &Path {
        &self.plan.depot
    }

    /// Runs a shell script to its end; stdout, stderr and how it ended.
    pub(crate) fn sh(&self, user: JobUser, script: &str) -> (String, String, JobEnd) {
        self.command(user, &["/bin/sh", "-c", script])
    }

    pub(crate) fn command(&self, user: JobUser, argv: &[&str]) -> (String, String, JobEnd) {
        let job = job(argv, user);
        let (_, mut events) = self.client.subscribe().unwrap();
        self.client.run(&job, None).unwrap();
        let end = ended(&mut events, job.id);
        let (_, records) = self.output(job.id);
        let text = |stream| {
            let bytes: Vec<u8> =
                records.iter().filter(|(s, _)| *s == stream).flat_map(|(_, b)| b.clone()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        (text(1), text(2), end)
    }

    /// The first offset that is kept of a job's output, and its records.
    pub(crate) fn output(&self, job: u64) -> (u64, Vec<(u8, Vec<u8>)>) {
        let directory = self.depot().join("jobs").join(job.to_string());
        let mut names: Vec<PathBuf> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("out."));
        names.sort();
        let first =
            names.first().map_or(0, |path| path.file_name().unwrap().to_str().unwrap()[4..].parse().unwrap());
        let mut records = Vec::new();
        for name in names {
            let bytes = fs::read(name).unwrap();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let length = u32::from_le_bytes(rest[1..RECORD_HEADER].try_into().unwrap()) as usize;
                records.push((rest[0], rest[RECORD_HEADER..][..length].to_vec()));
                rest = &rest[RECORD_HEADER + length..];
            }
        }
        (first, records)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        // The number cannot have been used again: the spawner's automatic reaping lets pidfds tell the end.
        let gone = |timeout: u16| {
            let mut fds = [PollFd::new(self.spawned.pidfd.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(timeout)).unwrap() == 1
        };
        if !gone(0) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(self.spawned.pid),
                nix::sys::signal::SIGKILL,
            );
        }
        let ended = gone(10_000);
        remove(&self.cgroups);
        assert!(ended || std::thread::panicking(), "the init ends when it is killed");
    }
}

/// A job with a new number.
pub(crate) fn job(argv: &[&str], user: JobUser) -> JobSpec {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    JobSpec {
        id: NEXT.fetch_add(1, Ordering::Relaxed).into(),
        argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec()), (b"HOME".to_vec(), b"/home/vcap".to_vec())],
        cwd: "/".into(),
        user,
        rlimits: Vec::new(),
        output: OutputMode::Limit { bytes: 10 << 20 },
        shell: false,
        stdio: Stdio::Spool,
        named: None,
    }
}

/// Waits for the end of a job.
pub(crate) fn ended(events: &mut Events, id: u64) -> JobEnd {
    loop {
        match events.wait().unwrap().expect("the init lives") {
            Event::Ended { job, end } if job == id => return end,
            _ => (),
        }
    }
}

/// Asks until the answer is yes.
pub(crate) fn wait_for(what: &str, mut ask: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A new network namespace with the loopback link alone.
fn network() -> OwnedFd {
    let made = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip runs (iproute2)");
        assert!(up.success());
        OwnedFd::from(File::open("/proc/thread-self/ns/net").unwrap())
    });
    made.join().unwrap()
}

/// A cgroup below this process's own: in each v1 hierarchy that matters, or in v2.
fn cgroup(id: &str) -> (CgroupEntry, Vec<PathBuf>) {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mut directories = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap(), fields.next().unwrap().trim_start_matches('/'));
        if ["memory", "pids", "cpu", "devices"].contains(&controllers) {
            directories
                .push(Path::new("/sys/fs/cgroup").join(controllers).join(path).join(format!("cupola-{id}")));
        }
    }
    if !directories.is_empty() {
        let tasks = directories.iter().map(|directory| {
            fs::create_dir(directory).unwrap();
            directory.join("tasks")
        });
        return (CgroupEntry::V1 { tasks: tasks.collect() }, directories);
    }
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    let dir = Path::new("/sys/fs/cgroup").join(path).join(format!("cupola-{id}"));
    fs::create_dir(&dir).unwrap();
    (CgroupEntry::V2 { dir: dir.clone() }, vec![dir])
}

fn remove(cgroups: &[PathBuf]) {
    for cgroup in cgroups {
        // Busy until the last process is really gone.
        let deadline = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(cgroup).is_err() && cgroup.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
