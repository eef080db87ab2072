"""What a process in a container can do: one line per probe, `ok NAME` or `HOLE NAME: got RESULT, wanted WANTED`.

Every call is made with arguments for which an allowed call fails in another way (EFAULT, EBADF, EINVAL) than a refused
one (EPERM, ENOSYS), so that "refused by us" and "failed by luck" are told apart. Nothing here harms a host on which it
is run by mistake, but it refuses to: first argument is the word `inside`. Second: the inodes of the host's namespaces.
Third: a word that stands in the host's paths of this container.
"""

import ctypes
import errno
import os
import signal
import stat
import struct
import sys

assert sys.argv[1] == "inside", "only for use in a container"
HOST_NAMESPACES = set(sys.argv[2].split(","))
SECRET = sys.argv[3]
ROOT = os.getuid() == 0

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p

EIGHT = sum(1 << n for n in (0, 1, 3, 4, 5, 6, 7, 10))
NEW = {"ns": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000,
       "net": 0x40000000}


def probe(name, got, *wanted):
    print(f"ok {name}" if got in wanted else f"HOLE {name}: got {got}, wanted one of {', '.join(map(str, wanted))}")


def call(number, *arguments):
    """A system call's result: `0` or above, or the name of its error."""
    ctypes.set_errno(0)
    arguments = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]


def attempt(action):
    """`fine`, or the name of the error that Python saw."""
    try:
        result = action()
        if isinstance(result, int) and not isinstance(result, bool) and result > 2:
            os.close(result)
        return "fine"
    except OSError as error:
        return errno.errorcode[error.errno]


def opened(path, flags=os.O_RDONLY):
    return attempt(lambda: os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))


def status():
    with open("/proc/self/status") as file:
        return {k: v.strip() for k, v in (line.split(":", 1) for line in file)}


def text(path):
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError as error:
        return errno.errorcode[error.errno].encode()


# --- identity and namespaces
me = status()
allowed = EIGHT if ROOT else 0
for field in ("CapEff", "CapPrm", "CapBnd"):
    probe(f"5 {field}", int(me[field], 16), allowed)
for field in ("CapInh", "CapAmb"):
    probe(f"5 {field}", int(me[field], 16), 0)
probe("6 no new privileges", me["NoNewPrivs"], "1")
probe("7 filter", me["Seccomp"], "2")
probe("8 groups", me["Groups"], "")
probe("1 processes", sum(name.isdigit() for name in os.listdir("/proc")) < 10, True)
for kind in ("pid", "mnt", "net", "ipc", "uts", "user", "cgroup"):
    probe(f"2 namespace {kind}", str(os.stat(f"/proc/self/ns/{kind}").st_ino) in HOST_NAMESPACES, False)
for name in ("uid_map", "gid_map"):
    inside, outside, count = map(int, text(f"/proc/self/{name}").split())
    probe(f"3 {name}", (inside, count, outside >= 65536), (0, 65536, True))
fds = [int(name) for name in os.listdir("/proc/self/fd")]
probe("9 descriptors", sorted(fds)[:3] == [0, 1, 2] and len(fds) <= 4, True)
probe("11 above the root", os.stat("/..").st_ino, os.stat("/").st_ino)
probe("11 the root is all", sorted(os.listdir("/..")) == sorted(os.listdir("/")), True)
probe("12 environment of the init", text("/proc/1/environ"), b"", b"EACCES", b"EPERM")
probe("13 host name", call(170, b"x", 1), "EPERM")
probe("13 domain name", call(171, b"x", 1), "EPERM")
probe("14 clock_settime", call(227, 0, 0), "EPERM")
probe("14 settimeofday", call(164, 0, 0), "EPERM")
probe("14 clock_adjtime", call(305, 0, 0), "EPERM")
for name in ("exe", "mem", "fd/3", "root", "cwd", "maps"):
    probe(f"15 init's {name}", opened(f"/proc/1/{name}"), "EACCES", "EPERM")
probe("15 init's exe for writing", opened("/proc/1/exe", os.O_WRONLY), "EACCES", "EPERM")
probe("16 ptrace of the init", call(101, 0x4206, 1, 0, 0), "EPERM")
probe("18 TIOCSTI", call(16, 0, 0x5412, 0), "EPERM")
probe("18 TIOCLINUX", call(16, 0, 0x541C, 0), "EPERM")
probe("19 keyctl", call(250, 0, -3, 0), "EPERM")
probe("19 add_key", call(248, 0, 0, 0, 0, 0), "EPERM")
probe("19 request_key", call(249, 0, 0, 0, 0), "EPERM")
probe("19 /proc/keys", text("/proc/keys"), b"", b"ENOENT")
probe("20 FIFO scheduling", call(144, 0, 1, struct.pack("i", 1)), "EPERM")
probe("20 nice -20", attempt(lambda: os.nice(-20)), "EPERM", "EACCES")

# --- mounts and namespaces again
for name, flag in NEW.items():
    probe(f"21 unshare {name}", call(272, flag), "EPERM")
    probe(f"26 clone {name}", call(56, flag | signal.SIGCHLD, 0, 0, 0, 0), "EPERM")
probe("21 unshare user and ns", call(272, NEW["user"] | NEW["ns"]), "EPERM")
probe("27 clone3", call(435, 0, 0), "ENOSYS")
code = bytes.fromhex("53" "4889f8" "4889f3" "4889d1" "4c89c2" "cd80" "5b" "c3")  # (nr, ebx, ecx, -, edx) by int 0x80
page = libc.mmap(ctypes.c_void_p(0), ctypes.c_size_t(4096), 7, 0x62, -1, ctypes.c_long(0))  # below 4 GiB
ctypes.memmove(page, code, len(code))
legacy = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_long] * 5)(page)


def old(number, ebx=0, ecx=0, edx=0):
    result = legacy(number, ebx, ecx, 0, edx)
    return result if result >= 0 else errno.errorcode[-result]


probe("28 int 0x80 getpid", old(20), "ENOSYS")
probe("28 int 0x80 unshare", old(310, NEW["user"]), "ENOSYS")
probe("28 int 0x80 mount", old(21), "ENOSYS")
for name, family in (("vsock", 40), ("packet", 17), ("alg", 38)):
    ctypes.memmove(page + 256, struct.pack("III", family, 1, 0), 12)
    probe(f"29b int 0x80 socketcall {name}", old(102, 1, page + 256), "ENOSYS")
probe("29 x32", call(0x40000000 | 39), "ENOSYS")
own_net = os.open("/proc/self/ns/net", os.O_RDONLY)
probe("30 setns", call(308, own_net, 0), "EPERM")
os.close(own_net)
probe("31 mount tmpfs", call(165, b"t", b"/tmp", b"tmpfs", 0, 0), "EPERM")
probe("32 mount proc", call(165, b"p", b"/tmp", b"proc", 0, 0), "EPERM")
probe("33 remount", call(165, 0, b"/", 0, 32, 0), "EPERM")
probe("35 umount /proc/sys", call(166, b"/proc/sys", 2), "EPERM")
probe("36 umount a mask", call(166, b"/proc/kcore", 2), "EPERM")
for name, number in (("fsopen", 430), ("fsconfig", 431), ("fsmount", 432), ("fspick", 433), ("open_tree", 428),
                     ("move_mount", 429), ("mount_setattr", 442)):
    probe(f"37 {name}", call(number, -1, 0, 0, 0, 0), "EPERM")
probe("43 pivot_root", call(155, b".", b"."), "EPERM")
with open("/proc/self/mountinfo") as file:
    mounts = file.read()
probe("44 shared mounts", "shared:" in mounts or "master:" in mounts, False)
probe("45 host paths", SECRET in mounts, False)
for line in mounts.splitlines():
    path, options = line.split()[4:6]
    probe(f"47 nosuid {path}", "nosuid" in options, True)
    if not (path == "/dev" or path == "/dev/pts" or path.startswith("/proc/")):
        probe(f"47 nodev {path}", "nodev" in options, True)
for path in ("/etc", "/tmp", "/home/vcap", "/etc/passwd"):
    probe(f"48 owner of {path}", os.stat(path).st_uid in (0, 1000), True)

# --- the kernel's surface
for name, number, arguments in (
    ("49 bpf", 321, (5, 0, 0)), ("50 perf_event_open", 298, (0, 0, -1, -1, 0)), ("51 userfaultfd", 323, (0,)),
    ("51 userfaultfd user", 323, (1,)), ("52 io_uring_setup", 425, (1, 0)), ("52 io_uring_enter", 426, (-1,)),
    ("52 io_uring_register", 427, (-1,)), ("53 kexec_load", 246, (0, 0, 0, 0)), ("53 kexec_file_load", 320, (-1, -1)),
    ("54 init_module", 175, (0, 0, 0)), ("54 finit_module", 313, (-1, 0, 0)), ("54 delete_module", 176, (0, 0)),
    ("55 reboot", 169, (0, 0, 0, 0)), ("55 swapon", 167, (0, 0)), ("55 acct", 163, (b"/none",)),
    ("55 quotactl", 179, (0, 0, 0, 0)), ("55 quotactl_fd", 443, (-1, 0, 0, 0)), ("56 syslog", 103, (10, 0, 0)),
    ("59 kcmp", 312, (1, 1, 0, 0, 0)), ("59 pidfd_getfd", 438, (-1, 0, 0)), ("59 process_madvise", 440, (-1, 0, 0, 0, 0)),
    ("60 open_by_handle_at", 304, (-1, 0, 0)), ("61 iopl", 172, (3,)), ("61 ioperm", 173, (0, 1, 1)),
    ("61 modify_ldt", 154, (1, 0, 0)), ("62 personality ADDR_NO_RANDOMIZE", 135, (0x40000,)), ("62 personality READ_IMPLIES_EXEC", 135, (0x400000,)), ("63 mbind", 237, (0, 0, 0, 0, 0, 0)),
    ("63 set_mempolicy", 238, (0, 0, 0)), ("63 move_pages", 279, (0, 0, 0, 0, 0, 0)), ("63 migrate_pages", 256, (0, 0, 0, 0)),
    ("64 fanotify_init", 300, (0, 0)), ("64 lookup_dcookie", 212, (0, 0, 0)), ("64 uselib", 134, (b"/none",)),
    ("64 ustat", 136, (0, 0)), ("64 sysfs", 139, (3,)), ("64 vhangup", 153, ()), ("67 chroot", 161, (b"/",)),
):
    probe(name, call(number, *arguments), "EPERM")
for number in (457, 458, 459, 470, 999, 9999):
    probe(f"65 unknown call {number}", call(number, 0, 0, 0, 0), "ENOSYS")
probe("56 /proc/kmsg", text("/proc/kmsg"), b"", b"ENOENT", b"EACCES", b"EPERM")
probe("66 oom_score_adj", attempt(lambda: os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"-1000") and None), "EACCES", "EPERM")
probe("68 kernel addresses", text("/proc/kallsyms"), b"", b"ENOENT")
everything = struct.pack("6I", *[0xFFFFFFFF] * 3, *[0x1FF] * 3)
probe("69 capset", call(126, struct.pack("Ii", 0x20080522, 0), everything), "EPERM")

# --- devices, proc, sys
for name, device in (("disk", (stat.S_IFBLK, 254, 0)), ("mem", (stat.S_IFCHR, 1, 1)), ("kmsg", (stat.S_IFCHR, 1, 11)),
                     ("fuse", (stat.S_IFCHR, 10, 229)), ("kvm", (stat.S_IFCHR, 10, 232))):
    kind, major, minor = device
    probe(f"71 mknod {name}", attempt(lambda: os.mknod(f"/tmp/{name}", kind | 0o600, os.makedev(major, minor))), "EPERM")
for name in ("mem", "kmem", "kmsg", "kvm", "fuse", "loop-control", "net/tun", "vsock", "port", "hwrng", "autofs", "console"):
    probe(f"73 /dev/{name}", opened(f"/dev/{name}"), "ENOENT")
for name in ("null", "zero", "full", "random", "urandom", "ptmx"):
    probe(f"73 /dev/{name} works", opened(f"/dev/{name}", os.O_RDWR), "fine")
for name in ("kernel/core_pattern", "kernel/hostname", "vm/overcommit_memory", "net/ipv4/ip_forward", "kernel/modprobe",
             "fs/binfmt_misc/register", "user/max_user_namespaces"):
    probe(f"74 /proc/sys/{name}", opened(f"/proc/sys/{name}", os.O_WRONLY), "EROFS", "EACCES", "ENOENT")
probe("75 sysrq-trigger", os.path.exists("/proc/sysrq-trigger") and os.stat("/proc/sysrq-trigger").st_rdev, False, os.makedev(1, 3))
for name in ("kcore", "keys", "key-users", "timer_list", "sched_debug", "latency_stats", "interrupts", "kpagecount",
             "kpageflags", "kpagecgroup", "pagetypeinfo", "slabinfo", "vmallocinfo", "iomem"):
    probe(f"77 /proc/{name}", text(f"/proc/{name}"), b"", b"ENOENT")
for name in ("scsi", "acpi", "asound"):
    probe(f"77 /proc/{name}", os.path.isdir(f"/proc/{name}") and os.listdir(f"/proc/{name}"), False, [])
probe("79 the mask is the null device", os.stat("/proc/timer_list").st_rdev, os.makedev(1, 3))
for path in ("/sys/kernel/uevent_helper", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/power/state", "/sys/fs/cgroup",
             "/sys/fs/bpf"):
    probe(f"81 {path}", opened(path), "ENOENT")
for line in text("/proc/self/cgroup").decode().splitlines():
    # Where the test made no cgroup of its own for a controller, the namespace begins at that of the spawner.
    probe(f"84 cgroup {line.split(':')[1]}", line.split(":", 2)[2], "/")

# --- sockets, each by socket() alone
for name, arguments in (("packet raw", (17, 3, 3)), ("packet dgram", (17, 2, 3)), ("inet raw icmp", (2, 3, 1)),
                        ("inet raw", (2, 3, 255)), ("inet6 raw", (10, 3, 58))):
    probe(f"87 {name}", call(41, *arguments), "EPERM")
for family in (40, 38, 15, 44, 29, 31, 30, 21, 42, 6, 3, 43, 45, 24, 39, 27):
    for kind in (1, 2, 3, 5):
        probe(f"88 family {family} type {kind}", call(41, family, kind, 0), "EPERM")
for name, arguments in (("sctp", (2, 1, 132)), ("udplite", (2, 2, 136)), ("mptcp", (2, 1, 262)), ("dccp", (2, 6, 33))):
    probe(f"89 {name}", call(41, *arguments), "EPROTONOSUPPORT", "EPERM")
for protocol in (12, 6, 9, 15, 11, 20, 21, 16, 4):
    probe(f"90 netlink {protocol}", call(41, 16, 3, protocol), "EPERM")
for name, arguments in (("unix", (1, 1, 0)), ("tcp", (2, 1, 0)), ("udp", (2, 2, 0)), ("tcp6", (10, 1, 0)), ("route", (16, 3, 0))):
    result = call(41, *arguments)
    probe(f"sockets of {name} work", isinstance(result, int), True)

# --- resources
def fill():
    made = 0
    try:
        while made < 100_000:
            os.close(os.open(f"/dev/shm/{made}", os.O_CREAT | os.O_WRONLY))
            made += 1
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        for number in range(made):
            os.unlink(f"/dev/shm/{number}")
    return "fine"


probe("105 files in /dev/shm", fill(), "ENOSPC")
print("end")
