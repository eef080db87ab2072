//! What processes inside can see and do: the probes of `probes.py`, as root and as the ordinary user.

use crate::container::{Container, Draft, container, draft};
use std::collections::BTreeMap;
use std::process::Command;
use warden::wire::{Bind, Exit, JobUser};

/// The eight capabilities of root jobs, as a set of bits.
const ROOT_CAPABILITIES: &str = "00000000000004fb";
const NONE: &str = "0000000000000000";

/// Calls that are refused with `EPERM` whatever their arguments.
const REFUSED: &str = "unshare-user clone-user unshare-mnt clone-mnt unshare-net clone-net unshare-pid clone-pid \
    unshare-cgroup clone-cgroup unshare-uts clone-uts unshare-ipc clone-ipc unshare-user-mnt setns mount umount2 \
    pivot_root chroot fsopen fsconfig fsmount fspick open_tree move_mount mount_setattr bpf-load bpf-map \
    perf_event_open userfaultfd userfaultfd-user io_uring_setup io_uring_enter io_uring_register kexec_load \
    kexec_file_load init_module finit_module delete_module reboot swapon swapoff acct quotactl quotactl_fd syslog-read \
    syslog-size iopl ioperm modify_ldt personality-no-aslr personality-exec mbind set_mempolicy move_pages \
    migrate_pages fanotify_init ustat sysfs kcmp pidfd_getfd process_madvise open_by_handle_at keyctl add_key \
    request_key settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname socket-packet \
    socket-packet-dgram socket-icmp-raw socket-ip-raw socket-ip6-raw socket-vsock socket-alg socket-key socket-xdp \
    socket-can socket-bluetooth socket-tipc socket-rds socket-qipcrtr socket-netrom socket-ax25 socket-smc socket-mctp \
    socket-pppox socket-nfc socket-ib socket-netlink-netfilter socket-netlink-xfrm socket-netlink-audit \
    socket-netlink-uevent socket-netlink-connector socket-netlink-rdma socket-netlink-crypto socket-netlink-generic \
    socketpair-tipc mknod-disk mknod-mem mknod-kmsg mknod-fuse mknod-kvm capset fifo init-ptrace";

/// Calls that this kernel does not have, as far as a container can tell.
const UNKNOWN: &str =
    "clone3 i386-getpid i386-unshare i386-mount i386-socketcall x32 unknown-467 unknown-999 unknown-9999";

/// Everything else that both users are told. More than one answer: kernels differ in what they are built with.
const EITHER: &[(&str, &[&str])] = &[
    ("status-CapInh", &[NONE]),
    ("status-CapAmb", &[NONE]),
    ("status-NoNewPrivs", &["1"]),
    ("status-Seccomp", &["2"]),
    ("status-Groups", &["none"]),
    ("fds", &["0-1-2"]),
    ("cwd", &["/"]),
    ("parent-of-root", &["same"]),
    ("session", &["own"]),
    ("processes", &["few"]),
    ("cgroup-paths", &["/"]),
    ("mounts-shared", &["no"]),
    ("mounts-name-the-host", &["no"]),
    ("dev", &["fd-full-mqueue-null-ptmx-pts-random-shm-stderr-stdin-stdout-tty-urandom-zero"]),
    ("host-process", &["ESRCH"]),
    ("init-environment", &["EACCES", "EPERM"]),
    ("init-memory", &["EACCES", "EPERM"]),
    ("init-root", &["EACCES", "EPERM"]),
    ("init-program", &["EACCES", "EPERM", "ETXTBSY"]),
    ("threads", &["OK"]),
    ("socket-sctp", &["EPROTONOSUPPORT", "EPERM"]),
    ("socket-l2tp", &["EPROTONOSUPPORT", "EPERM"]),
    ("socket-udplite", &["EPROTONOSUPPORT", "EPERM"]),
    ("socket-mptcp", &["EPROTONOSUPPORT"]),
    ("socket-dccp", &["EPROTONOSUPPORT", "EPERM"]),
    ("socket-unix", &["OK"]),
    ("socket-tcp", &["OK"]),
    ("socket-udp6", &["OK"]),
    ("socket-route", &["OK"]),
    ("dev-null", &["OK"]),
    ("dev-zero", &["OK"]),
    ("dev-full", &["OK"]),
    ("dev-random", &["OK"]),
    ("dev-urandom", &["OK"]),
    ("dev-ptmx", &["OK"]),
    ("write-sys/kernel/core_pattern", &["EROFS", "EACCES"]),
    ("write-sys/kernel/hostname", &["EROFS", "EACCES"]),
    ("write-sys/vm/overcommit_memory", &["EROFS", "EACCES"]),
    ("write-sys/net/ipv4/ip_forward", &["EROFS", "EACCES"]),
    ("write-sys/kernel/modprobe", &["EROFS", "EACCES", "ENOENT"]),
    ("write-sys/user/max_user_namespaces", &["EROFS", "EACCES"]),
    ("write-sysrq-trigger", &["null", "EROFS", "EACCES", "ENOENT"]),
    ("write-irq/default_smp_affinity", &["EROFS", "EACCES", "ENOENT"]),
    ("read-kcore", &["empty", "ENOENT", "EACCES"]),
    ("read-keys", &["empty", "ENOENT"]),
    ("read-key-users", &["empty", "ENOENT"]),
    ("read-timer_list", &["empty", "ENOENT"]),
    ("read-interrupts", &["empty"]),
    ("read-kallsyms", &["empty", "ENOENT"]),
    ("read-kpagecount", &["empty", "ENOENT"]),
    ("read-slabinfo", &["empty", "ENOENT"]),
    ("read-vmallocinfo", &["empty", "ENOENT"]),
    ("read-pagetypeinfo", &["empty", "ENOENT"]),
    ("read-latency_stats", &["empty", "ENOENT"]),
    ("read-sched_debug", &["empty", "ENOENT"]),
    ("read-kmsg", &["empty", "ENOENT"]),
    ("read-iomem", &["empty", "ENOENT"]),
    ("list-scsi", &["empty", "ENOENT"]),
    ("list-acpi", &["empty", "ENOENT"]),
    ("list-asound", &["empty", "ENOENT"]),
    ("mask-is-null", &["null", "ENOENT"]),
    ("sys", &["empty", "ENOENT"]),
    ("oom-score", &["EACCES", "EPERM"]),
    ("rlimit", &["EPERM", "EINVAL"]),
    ("nice", &["EPERM", "EACCES"]),
    ("exec-/dev/shm", &["EACCES"]),
    ("exec-/tmp", &["OK"]),
    ("nosuid-/", &["yes"]),
    ("nosuid-/proc", &["yes"]),
    ("nosuid-/dev/shm", &["yes"]),
    ("nosuid-/run", &["yes"]),
    ("nosuid-/tmp", &["yes"]),
    ("nosuid-/usr", &["yes"]),
    ("inodes-/dev/shm", &["ENOSPC"]),
    ("bind-foreign-address", &["EADDRNOTAVAIL"]),
    ("write-usr", &["EROFS", "EACCES"]),
];

fn with_probes(mut draft: Draft) -> Container {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/inside/probes.py").into();
    draft.plan.binds.push(Bind { source, target: "/probes.py".into(), read_only: true, owner: None });
    draft.build().unwrap()
}

fn probe(container: &Container, user: JobUser) -> BTreeMap<String, String> {
    let host_process = std::process::id().to_string();
    let (out, err, end) =
        container.command(user, &["/usr/bin/python3", "/probes.py", "inside", &host_process]);
    assert_eq!(end.exit, Exit::Code(0), "{err}");
    parse(&out)
}

fn parse(out: &str) -> BTreeMap<String, String> {
    out.lines().filter_map(|line| line.split_once(' ')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[test]
fn nothing_that_is_not_the_containers_is_seen_or_done() {
    let container = with_probes(draft());
    let set_up = container.sh(JobUser::Root, "cp /usr/bin/id /tmp/setuid-id && chmod 4755 /tmp/setuid-id");
    assert_eq!(set_up.2.exit, Exit::Code(0), "{}", set_up.1);
    let base = container.plan.uid_base;
    let map = format!("0-{base}-65536");
    // (whose, capabilities that it has, that it can have, answers of a setuid program, of killing the init)
    for (user, capabilities, id, kill) in
        [(JobUser::Root, ROOT_CAPABILITIES, "0", "OK"), (JobUser::Vcap, NONE, "1000", "EPERM")]
    {
        let mut found = probe(&container, user);
        let mut wrong = Vec::new();
        let mut check = |name: &str, expected: &[&str]| {
            let seen = found.remove(name);
            if !seen.as_deref().is_some_and(|seen| expected.contains(&seen)) {
                wrong.push(format!("{user:?} {name}: {seen:?}, not one of {expected:?}"));
            }
        };
        REFUSED.split_whitespace().for_each(|name| check(name, &["EPERM"]));
        // A kernel without the 32-bit entry kills instead of answering.
        UNKNOWN.split_whitespace().for_each(|name| check(name, &["ENOSYS", "SIGSEGV"]));
        EITHER.iter().for_each(|(name, expected)| check(name, expected));
        for set in ["status-CapPrm", "status-CapEff", "status-CapBnd"] {
            check(set, &[capabilities]);
        }
        check("uid_map", &[&map]);
        check("gid_map", &[&map]);
        check("setuid-program", &[id]);
        // The signal is taken and has no effect: the first process of a pid namespace is not killed from inside.
        check("init-kill", &[kill]);
        for kind in ["pid", "mnt", "net", "ipc", "uts", "user", "cgroup"] {
            let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            let theirs = found.remove(&format!("namespace-{kind}"));
            if theirs.is_none() || theirs.as_deref() == ours.to_str() {
                wrong.push(format!("{user:?} namespace {kind}: {theirs:?} is the host's {ours:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(found.is_empty(), "probes that nobody judges: {found:?}");
    }
}

/// The same calls outside: were they refused there too, for reasons of their own, the probes would prove nothing.
#[test]
fn the_probes_have_power() {
    crate::container::init_program();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/inside/probes.py");
    let output = Command::new("/usr/bin/python3").args([script, "calls"]).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outside = parse(&String::from_utf8_lossy(&output.stdout));
    let refused =
        REFUSED.split_whitespace().filter(|name| outside.get(*name).is_some_and(|word| word == "EPERM"));
    let vacuous: Vec<&str> = refused.collect();
    let total = REFUSED.split_whitespace().filter(|name| outside.contains_key(*name)).count();
    assert!(vacuous.len() * 5 < total, "{} of {total} are refused outside too: {vacuous:?}", vacuous.len());
}

#[test]
fn containers_share_nothing() {
    let (one, two) = (container(), container());
    let script = "readlink /proc/self/ns/*; cat /proc/self/uid_map";
    let lines = |container: &Container| -> Vec<String> {
        container.sh(JobUser::Vcap, script).0.lines().map(str::to_owned).collect()
    };
    let (a, b) = (lines(&one), lines(&two));
    assert!(a.len() >= 8, "{a:?}");
    for line in a.iter().filter(|line| !line.starts_with("time")) {
        assert!(!b.contains(line), "both have {line}");
    }
    // Files and IPC objects of one are not in the other.
    one.sh(JobUser::Vcap, "echo secret > /tmp/secret; echo secret > /dev/shm/secret; ipcmk -Q");
    assert_eq!(
        two.sh(JobUser::Root, "ls /tmp /dev/shm; ipcs -q | grep -c 0x; true").0,
        "/dev/shm:\n\n/tmp:\n0\n"
    );
    assert_eq!(one.sh(JobUser::Root, "ipcs -q | grep -c 0x").0, "1\n", "the probe sees its own");
}

#[test]
fn what_a_container_makes_belongs_to_its_uids() {
    use std::os::unix::fs::MetadataExt;
    let container = container();
    container.sh(JobUser::Root, "touch /by-root; mkdir /var; touch /var/x");
    container.sh(JobUser::Vcap, "touch /home/vcap/by-vcap");
    let (upper, base) = (container.plan.depot.with_file_name("upper").join("upper"), container.plan.uid_base);
    for (path, uid) in [("by-root", base), ("var/x", base), ("home/vcap/by-vcap", base + 1000)] {
        let metadata = std::fs::symlink_metadata(upper.join(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (uid, uid), "{path}");
    }
    // What the lower layer's files belong to on the host (0) they belong to inside, shifted.
    assert_eq!(
        container.sh(JobUser::Vcap, "stat -c %u:%g /bin-extra /etc/hosts /home/vcap").0,
        "0:0\n0:0\n1000:1000\n"
    );
    // What is bound from the host belongs to nobody inside.
    assert_eq!(container.sh(JobUser::Vcap, "stat -c %u /usr/bin/env").0, "65534\n");
}

#[test]
fn a_crash_writes_nothing() {
    let container = container();
    let (out, _, end) =
        container.sh(JobUser::Vcap, "ulimit -c unlimited 2>&1; cd /tmp; sh -c 'kill -SEGV $$'; ls -A /tmp");
    assert_eq!(end.exit, Exit::Code(0));
    assert!(!out.contains("core."), "{out}");
    assert_eq!(container.sh(JobUser::Vcap, "ls -A /tmp | wc -l").0, "0\n");
}

#[test]
fn the_init_cannot_be_reached_from_inside() {
    let container = container();
    // Its listening socket has no name inside, and its directory is not there.
    let script = "grep -c init.sock /proc/net/unix; find / -xdev -name 'init.sock' 2>/dev/null; true";
    assert_eq!(container.sh(JobUser::Root, script).0, "0\n");
}
