"""What a process inside a container can see and do. Prints a line `name result` for each probe.

A result is `OK`, the name of an error, the name of a signal, or a word that says what was seen. Every call is made with
arguments that harm nobody where it is allowed (bad pointers, bad descriptors, unknown commands), and in a child
process, so that `probes.py calls` can also be run outside: there the answers must differ, or a probe proves nothing.
"""

import ctypes
import errno
import mmap
import os
import resource
import signal
import socket
import stat
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

NEW = {
    "user": 0x10000000, "mnt": 0x20000, "net": 0x40000000, "pid": 0x20000000,
    "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000,
}
BAD = 1  # a pointer to nowhere


def call(number, *arguments):
    """A system call; the name of its error, or OK."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        return errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))
    return "OK"


def in_child(work):
    """The word that `work` returns in a process of its own, or the signal that ended that."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            word = work()
        except OSError as error:
            word = errno.errorcode.get(error.errno, str(error.errno))
        os.write(writing, word.encode())
        os._exit(0)
    os.close(writing)
    word = b""
    while chunk := os.read(reading, 4096):
        word += chunk
    os.close(reading)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return word.decode()


def say(name, work):
    print(name, in_child(work), flush=True)


def int80(number, *arguments):
    """The i386 entry of the kernel, from a 64-bit process."""
    values = list(arguments) + [0] * (3 - len(arguments))
    # push rbx; mov eax, edi; mov ebx, esi; xchg ecx, edx; int 0x80; pop rbx; ret - called as f(number, a, c, b)
    code = b"\x53\x89\xf8\x89\xf3\x87\xca\xcd\x80\x5b\xc3"
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    function = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_long] * 4)(address)
    result = function(number, values[0], values[1], values[2])
    return errno.errorcode.get(-result, str(-result)) if result < 0 else "OK"


def clone(flags):
    # As fork(2), by the bare call.
    result = libc.syscall(ctypes.c_long(56), ctypes.c_long(flags | signal.SIGCHLD), 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    if result == -1:
        return errno.errorcode.get(ctypes.get_errno(), "?")
    os.waitpid(result, 0)
    return "OK"


def calls():
    for name, flag in NEW.items():
        say(f"unshare-{name}", lambda: call(272, flag))
        say(f"clone-{name}", lambda: clone(flag))
    say("unshare-user-mnt", lambda: call(272, NEW["user"] | NEW["mnt"]))
    say("clone3", lambda: call(435, 0, 0))
    say("setns", lambda: call(308, os.open("/proc/self/ns/net", os.O_RDONLY), 0))
    say("i386-getpid", lambda: int80(20))
    say("i386-unshare", lambda: int80(310, NEW["user"]))
    say("i386-mount", lambda: int80(21, BAD, BAD, BAD))
    say("i386-socketcall", lambda: int80(102, 1, BAD))
    table = {
        "mount": (165, BAD, BAD, BAD, 0, 0), "umount2": (166, BAD, 0), "pivot_root": (155, BAD, BAD),
        "chroot": (161, BAD), "fsopen": (430, BAD, 0), "fsconfig": (431, -1, 0, 0, 0, 0), "fsmount": (432, -1, 0, 0),
        "fspick": (433, -1, BAD, 0), "open_tree": (428, -1, BAD, 1), "move_mount": (429, -1, BAD, -1, BAD, 0),
        "mount_setattr": (442, -1, BAD, 0, BAD, 0), "bpf-load": (321, 5, 0, 0), "bpf-map": (321, 0, 0, 0),
        "perf_event_open": (298, 0, 0, -1, -1, 0), "userfaultfd": (323, 0), "userfaultfd-user": (323, 1),
        "io_uring_setup": (425, 1, 0), "io_uring_enter": (426, -1, 0, 0, 0, 0, 0),
        "io_uring_register": (427, -1, 0, 0, 0), "kexec_load": (246, 0, 17, BAD, 0),
        "kexec_file_load": (320, -1, -1, 0, 0, 0), "init_module": (175, BAD, 0, BAD),
        "finit_module": (313, -1, BAD, 0), "delete_module": (176, BAD, 0), "reboot": (169, 0, 0, 0, 0),
        "swapon": (167, BAD, 0), "swapoff": (168, BAD), "acct": (163, BAD), "quotactl": (179, 0, 0, 0, 0),
        "quotactl_fd": (443, -1, 0, 0, 0), "syslog-read": (103, 3, 0, 0), "syslog-size": (103, 10, 0, 0),
        "iopl": (172, 3), "ioperm": (173, 0, 1, 0), "modify_ldt": (154, 1, 0, 0),
        "personality-no-aslr": (135, 0x0040000), "personality-exec": (135, 0x0400000), "mbind": (237, 0, 0, 99, 0, 0, 0),
        "set_mempolicy": (238, 99, 0, 0), "move_pages": (279, 0, 0, 0, 0, 0, 99), "migrate_pages": (256, 0, 0, 0, 0),
        "fanotify_init": (300, -1, 0), "ustat": (136, 0, 0), "sysfs": (139, 3), "kcmp": (312, 1, 1, 99, 0, 0),
        "pidfd_getfd": (438, -1, 0, 0), "process_madvise": (440, -1, 0, 0, 0, 0),
        "open_by_handle_at": (304, -1, BAD, 0), "keyctl": (250, 0, -3, 0), "add_key": (248, BAD, BAD, 0, 0, 0),
        "request_key": (249, BAD, BAD, 0, 0), "settimeofday": (164, BAD, 0), "clock_settime": (227, 0, BAD),
        "clock_adjtime": (305, 0, BAD), "adjtimex": (159, BAD), "sethostname": (170, BAD, 1),
        "setdomainname": (171, BAD, 1), "x32": (0x40000000 | 39,), "unknown-467": (467,), "unknown-999": (999,),
        "unknown-9999": (9999,),
    }
    for name, arguments in table.items():
        say(name, lambda: call(*arguments))
    sockets = {
        "packet": (17, 3, 0), "packet-dgram": (17, 2, 0), "icmp-raw": (2, 3, 1), "ip-raw": (2, 3, 255), "ip6-raw": (10, 3, 58),
        "vsock": (40, 1, 0), "alg": (38, 5, 0), "key": (15, 3, 2), "xdp": (44, 3, 0), "can": (29, 3, 1), "bluetooth": (31, 3, 0),
        "tipc": (30, 1, 0), "rds": (21, 5, 0), "qipcrtr": (42, 2, 0), "netrom": (6, 5, 0), "ax25": (3, 2, 0), "smc": (43, 1, 0),
        "mctp": (45, 2, 0), "pppox": (24, 1, 0), "nfc": (39, 1, 0), "ib": (27, 1, 0), "sctp": (2, 1, 132), "l2tp": (2, 2, 115),
        "udplite": (2, 2, 136), "mptcp": (2, 1, 262), "dccp": (2, 6, 33), "netlink-netfilter": (16, 3, 12),
        "netlink-xfrm": (16, 3, 6), "netlink-audit": (16, 3, 9), "netlink-uevent": (16, 3, 15), "netlink-connector": (16, 3, 11),
        "netlink-rdma": (16, 3, 20), "netlink-crypto": (16, 3, 21), "netlink-generic": (16, 3, 16),
    }
    for name, arguments in sockets.items():
        say(f"socket-{name}", lambda: call(41, *arguments))
    say("socketpair-tipc", lambda: call(53, 30, 1, 0, BAD))


def open_for(path, flags):
    """`null` for what is masked by the null device, which takes what is written and does nothing with it."""
    found = os.fstat(os.open(path, flags))
    masked = stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3) and not path.startswith("/dev")
    return "null" if masked else "OK"


def reads(path):
    with open(path, "rb") as file:
        return "content" if file.read(1) else "empty"


def thread():
    seen = []
    worker = threading.Thread(target=lambda: seen.append(1))
    worker.start()
    worker.join()
    return "OK" if seen else "lost"


def host_process():
    # The container has a handful of processes; the host's numbers are not there.
    os.kill(int(sys.argv[2]), 0)
    return "OK"


def exec_from(directory):
    path = f"{directory}/probe"
    with open(path, "w") as file:
        file.write("#!/bin/sh\nexit 0\n")
    os.chmod(path, 0o755)
    try:
        pid = os.posix_spawn(path, [path], {})
        return "OK" if os.waitpid(pid, 0)[1] == 0 else "failed"
    finally:
        os.unlink(path)


def fill_inodes(directory):
    made = 0
    try:
        for made in range(100_000):
            os.close(os.open(f"{directory}/fill{made}", os.O_CREAT | os.O_WRONLY))
        return "OK"
    finally:
        for number in range(made):
            os.unlink(f"{directory}/fill{number}")


def everything():
    with open("/proc/self/status") as file:
        status = dict(line.rstrip().split(":", 1) for line in file)
    for key in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Groups"]:
        print(f"status-{key}", status[key].strip() or "none")
    for kind in ["uid_map", "gid_map"]:
        with open(f"/proc/self/{kind}") as file:
            print(kind, "-".join(file.read().split()))
    for kind in ["pid", "mnt", "net", "ipc", "uts", "user", "cgroup"]:
        print(f"namespace-{kind}", os.readlink(f"/proc/self/ns/{kind}"))
    # The one beyond the three is that of the listing itself.
    fds = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    print("fds", "-".join(map(str, fds[:-1])))
    print("cwd", os.getcwd())
    print("parent-of-root", "same" if os.stat("/..").st_ino == os.stat("/").st_ino else "other")
    print("session", "own" if os.getsid(0) != 1 else "init's")
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    print("processes", "few" if len(pids) < 10 else len(pids))
    with open("/proc/self/cgroup") as file:
        paths = {line.rstrip().split(":", 2)[2] for line in file}
    print("cgroup-paths", "-".join(sorted(paths)))
    with open("/proc/self/mountinfo") as file:
        mounts = file.read()
    print("mounts-shared", "yes" if "shared:" in mounts or "master:" in mounts else "no")
    print("mounts-name-the-host", "yes" if "warden-inside" in mounts else "no")
    print("dev", "-".join(sorted(os.listdir("/dev"))))
    say("host-process", host_process)
    say("init-environment", lambda: reads("/proc/1/environ"))
    say("init-memory", lambda: open_for("/proc/1/mem", os.O_RDWR))
    say("init-root", lambda: "OK" if os.listdir("/proc/1/root") else "empty")
    say("init-program", lambda: open_for("/proc/1/exe", os.O_WRONLY))
    say("init-ptrace", lambda: call(101, 0x4206, 1, 0, 0))
    say("init-kill", lambda: call(62, 1, signal.SIGKILL))
    say("threads", thread)
    calls()

    for name in ["null", "zero", "full", "random", "urandom", "ptmx"]:
        say(f"dev-{name}", lambda: open_for(f"/dev/{name}", os.O_RDWR if name in ("null", "ptmx") else os.O_RDONLY))
    for name, kind, major, minor in [("disk", stat.S_IFBLK, 254, 0), ("mem", stat.S_IFCHR, 1, 1), ("kmsg", stat.S_IFCHR, 1, 11),
                                     ("fuse", stat.S_IFCHR, 10, 229), ("kvm", stat.S_IFCHR, 10, 232)]:
        say(f"mknod-{name}", lambda: os.mknod(f"/tmp/{name}", kind | 0o666, os.makedev(major, minor)) or "OK")
    write = os.O_WRONLY
    for path in ["sys/kernel/core_pattern", "sys/kernel/hostname", "sys/vm/overcommit_memory", "sys/net/ipv4/ip_forward",
                 "sys/kernel/modprobe", "sys/user/max_user_namespaces", "sysrq-trigger", "irq/default_smp_affinity"]:
        say(f"write-{path}", lambda: open_for(f"/proc/{path}", write))
    for path in ["kcore", "keys", "key-users", "timer_list", "interrupts", "kallsyms", "kpagecount", "slabinfo", "vmallocinfo",
                 "pagetypeinfo", "latency_stats", "sched_debug", "kmsg", "iomem"]:
        say(f"read-{path}", lambda: reads(f"/proc/{path}"))
    for path in ["scsi", "acpi", "asound"]:
        say(f"list-{path}", lambda: "content" if os.listdir(f"/proc/{path}") else "empty")
    say("mask-is-null", lambda: "null" if os.stat("/proc/timer_list").st_rdev in (0, os.makedev(1, 3)) else "other")
    say("sys", lambda: "content" if os.listdir("/sys") else "empty")
    say("oom-score", lambda: os.write(os.open("/proc/self/oom_score_adj", write), b"-1000") and "OK")
    say("rlimit", lambda: call(160, resource.RLIMIT_CORE, ctypes.byref((ctypes.c_uint64 * 2)(1, 1))))
    say("nice", lambda: os.nice(-20) and "OK")
    say("fifo", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) or "OK")
    say("capset", lambda: call(126, ctypes.byref((ctypes.c_uint32 * 2)(0x20080522, 0)),
                               ctypes.byref((ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6))))
    for directory in ["/dev/shm", "/tmp"]:
        say(f"exec-{directory}", lambda: exec_from(directory))
    for path in ["/", "/proc", "/dev/shm", "/run", "/tmp", "/usr"]:
        flags = os.statvfs(path).f_flag
        print(f"nosuid-{path}", "yes" if flags & os.ST_NOSUID else "no")
    say("inodes-/dev/shm", lambda: fill_inodes("/dev/shm"))
    for name, arguments in {"unix": (1, 1, 0), "tcp": (2, 1, 0), "udp6": (10, 2, 0), "route": (16, 3, 0)}.items():
        say(f"socket-{name}", lambda: call(41, *arguments))
    say("bind-foreign-address", lambda: socket.socket().bind(("10.254.0.1", 0)) or "OK")
    say("setuid-program", lambda: os.popen("/tmp/setuid-id -u").read().strip() or "none")
    say("write-usr", lambda: open_for("/usr/probe", os.O_CREAT | write))


if sys.argv[1] == "calls":
    calls()
else:
    everything()
