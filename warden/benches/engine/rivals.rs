//! What the warden is compared with: crun, and the floor program.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Masked and protected files of `/proc`, as in the spawner and in the floor program.
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
const READ_ONLY: [&str; 4] = ["sys", "irq", "bus", "fs"];

/// Devices of a container, as the warden's cgroups allow them.
const DEVICES: [(i64, i64); 7] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)];

/// Both rivals, ready to run.
pub(crate) struct Rivals {
    directory: PathBuf,
    cgroups: Vec<String>,
    number: u32,
}

impl Rivals {
    /// Builds the programs and the bundle in `directory`, whose `root` becomes the root filesystem of all. The calling
    /// thread gets a mount namespace of its own without the cgroup2 mount of a hybrid host, which crun 1.8 refuses.
    pub(crate) fn prepare(directory: &Path) -> Rivals {
        make_root(&directory.join("root"));
        compile("floor.c", &directory.join("floor"));
        let filter: Vec<u8> = warden::seccomp::program()
            .iter()
            .flat_map(|step| {
                let (code, k) = (step.code.to_ne_bytes(), step.k.to_ne_bytes());
                [code[0], code[1], step.jt, step.jf, k[0], k[1], k[2], k[3]]
            })
            .collect();
        fs::write(directory.join("filter"), filter).expect("write the filter");
        for (bundle, program) in [("true", "/bin/true"), ("pause", "/bin/pause")] {
            let bundle = directory.join(bundle);
            fs::create_dir_all(&bundle).expect("make the bundle");
            let config = config(&directory.join("root"), program).to_string();
            fs::write(bundle.join("config.json"), config).expect("write the bundle");
        }
        unshare(CloneFlags::CLONE_NEWNS).expect("make a mount namespace");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("make mounts private");
        let hybrid = Path::new("/sys/fs/cgroup/unified");
        if hybrid.exists() {
            umount2(hybrid, MntFlags::MNT_DETACH).expect("leave the cgroup2 mount of a hybrid host");
        }
        Rivals { directory: directory.to_owned(), cgroups: cgroups(), number: 0 }
    }

    /// One whole life of a container of the floor program.
    pub(crate) fn floor(&mut self) {
        self.number += 1;
        let name = format!("floor-{}-{}", std::process::id(), self.number);
        let mut command = Command::new(self.directory.join("floor"));
        command.arg(self.directory.join("root")).arg(self.directory.join("filter")).arg(name);
        succeed(command.args(&self.cgroups));
    }

    /// One whole life of a container of crun.
    pub(crate) fn crun(&mut self) {
        self.number += 1;
        let name = format!("bench-{}-{}", std::process::id(), self.number);
        succeed(self.crun_command().arg("run").arg("--bundle").arg(self.directory.join("true")).arg(name));
    }

    /// Starts a container of crun that stays.
    pub(crate) fn crun_start(&mut self) -> String {
        self.number += 1;
        let name = format!("bench-{}-{}", std::process::id(), self.number);
        let bundle = self.directory.join("pause");
        succeed(self.crun_command().args(["run", "--detach", "--bundle"]).arg(bundle).arg(&name));
        name
    }

    /// Runs a program in a container of crun.
    pub(crate) fn crun_exec(&mut self, name: &str) {
        succeed(self.crun_command().args(["exec", name, "/bin/true"]));
    }

    /// Ends a container of crun.
    pub(crate) fn crun_delete(&mut self, name: &str) {
        succeed(self.crun_command().args(["delete", "--force", name]));
    }

    fn crun_command(&self) -> Command {
        let mut command = Command::new("crun");
        command.arg("--root").arg(self.directory.join("crun")).args(["--cgroup-manager", "cgroupfs"]);
        command
    }
}

fn succeed(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{command:?}: {status:?}");
}

/// The program's source beside this one, as a static program.
fn compile(source: &str, program: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/engine").join(source);
    succeed(Command::new("gcc").args(["-O2", "-static", "-o"]).arg(program).arg(source));
}

/// A root filesystem with two static programs: `true`, and `pause`, which waits for ever.
fn make_root(root: &Path) {
    for name in ["bin", "proc", "dev", "sys", "tmp", "run", "root", "home", "etc"] {
        fs::create_dir_all(root.join(name)).expect("make the root filesystem");
    }
    for name in ["hosts", "hostname", "resolv.conf"] {
        fs::write(root.join("etc").join(name), "").expect("make the root filesystem");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/true\nvcap:x:1000:1000::/:/bin/true\n")
        .expect("make the root filesystem");
    for name in ["true", "pause"] {
        compile(&format!("{name}.c"), &root.join("bin").join(name));
    }
}

/// Where the floor program makes its groups: this process's own group in each hierarchy that the warden uses.
fn cgroups() -> Vec<String> {
    let own = fs::read_to_string("/proc/self/cgroup").expect("read the process's cgroups");
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controller), Some(group)) = (parts.next(), parts.next()) else { continue };
        let used = ["memory", "cpu", "cpuacct", "pids", "devices", "freezer", "blkio"];
        if controller.split(',').any(|name| used.contains(&name)) {
            found.push(format!("/sys/fs/cgroup/{controller}{}", group.trim_end_matches('/')));
        }
    }
    if found.is_empty() { vec!["/sys/fs/cgroup".to_owned()] } else { found }
}

/// The same limits, mounts, capabilities and system calls as a container of the warden has, in crun's words.
fn config(root: &Path, program: &str) -> Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_NET_BIND_SERVICE",
    ];
    let under = |names: &[&str]| names.iter().map(|name| format!("/proc/{name}")).collect::<Vec<_>>();
    let mount = |to: &str, kind: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": kind, "options": options });
    let mapping = json!([{ "containerID": 0, "hostID": 600_000_000, "size": 65_536 }]);
    let namespaces: Vec<Value> = ["pid", "mount", "network", "ipc", "uts", "cgroup", "user"]
        .iter()
        .map(|kind| json!({ "type": kind }))
        .collect();
    let mut devices = vec![json!({ "allow": false, "access": "rwm" })];
    devices.extend(DEVICES.iter().map(|(major, minor)| {
        json!({ "allow": true, "type": "c", "major": major, "minor": minor, "access": "rw" })
    }));
    devices.push(json!({ "allow": true, "type": "c", "major": 136, "access": "rw" }));
    json!({
        "ociVersion": "1.0.2",
        "hostname": "bench",
        "process": {
            "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": [program], "env": ["PATH=/bin"], "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                "inheritable": [], "ambient": []
            },
            "rlimits": [{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]
        },
        "root": { "path": root, "readonly": true },
        "mounts": [
            mount("/proc", "proc", &["nosuid", "nodev", "noexec"]),
            mount("/dev", "tmpfs", &["nosuid", "noexec", "mode=755", "size=64k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec", "mode=1777", "size=64m"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]),
            mount("/run", "tmpfs", &["nosuid", "nodev", "mode=755", "size=16m"]),
            mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777", "size=64m"]),
        ],
        "linux": {
            "namespaces": namespaces, "uidMappings": mapping, "gidMappings": mapping,
            "maskedPaths": under(&MASKED), "readonlyPaths": under(&READ_ONLY),
            "resources": {
                "devices": devices, "memory": { "limit": 256 << 20 }, "cpu": { "shares": 512 }, "pids": { "limit": 512 }
            },
            "seccomp": seccomp()
        }
    })
}

/// The warden's own policy as a profile of libseccomp. Its sockets are not looked at closer, which only saves crun work.
fn seccomp() -> Value {
    let policy = include_str!("../../src/seccomp/policy.rs");
    let list = |begin: &str| -> Vec<String> {
        let text = policy.split(begin).nth(1).and_then(|rest| rest.split("];").next()).unwrap_or_default();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        words.filter_map(|word| word.strip_prefix("SYS_")).map(str::to_lowercase).collect()
    };
    let (allowed, refused) = (list("ALLOWED: &[c_long] = &["), list("REFUSED: &[c_long] = &["));
    assert!(allowed.len() > 250 && refused.len() > 40, "the policy is written in another way now");
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            { "names": allowed, "action": "SCMP_ACT_ALLOW" },
            { "names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
            { "names": ["socket", "socketpair", "ioctl", "personality"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
                { "index": 0, "value": 0x7e02_0000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }
            ] }
        ]
    })
}
