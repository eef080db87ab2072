/* The floor: the least that one process can do to run one program as isolated as a container of the warden's is.
 *
 * One run of this program is one container: it makes the cgroups and their limits, clones the first process into new
 * user, pid, mount, network, ipc, uts and cgroup namespaces, mounts what a container sees, gives up capabilities, loads
 * the warden's own system call filter, executes the program, waits for its end and removes the cgroups. No journal, no
 * jobs, no output kept, no second process: nothing that an engine must do besides. An engine is measured against it.
 *
 * usage: floor ROOTFS FILTER NAME CGROUP-PARENT...
 *   FILTER         file of struct sock_filter, as the kernel takes them
 *   NAME           name of the container's directory in each parent
 *   CGROUP-PARENT  a directory of a cgroup v1 hierarchy, or one of v2
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define UID_BASE 600000000u
#define UIDS 65536u

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static void must(long result, const char *what) {
    if (result < 0) die(what);
}

/* Writes a file; one that is not there is no error: each limit is in one hierarchy alone. */
static void put(const char *directory, const char *file, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) return;
        die(path);
    }
    must(write(fd, text, strlen(text)), path);
    close(fd);
}

static const char *const allowed[] = {"c 1:3 rw", "c 1:5 rw", "c 1:7 rw",  "c 1:8 rw",
                                      "c 1:9 rw", "c 5:0 rw", "c 5:2 rw", "c 136:* rw"};

static void limit(const char *parent, const char *directory) {
    if (strstr(parent, "/memory")) put(directory, "memory.limit_in_bytes", "268435456");
    if (strstr(parent, "/pids")) put(directory, "pids.max", "512");
    if (strstr(parent, "/cpu")) put(directory, "cpu.shares", "512");
    if (strstr(parent, "/devices")) {
        put(directory, "devices.deny", "a");
        for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) put(directory, "devices.allow", allowed[i]);
    }
    char unified[512];
    snprintf(unified, sizeof unified, "%s/cgroup.controllers", directory);
    if (access(unified, F_OK) == 0) {
        put(directory, "memory.max", "268435456");
        put(directory, "pids.max", "512");
        put(directory, "cpu.weight", "20");
    }
}

static void at(const char *kind, const char *where, unsigned long flags, const char *options) {
    must(mount(kind, where, kind, flags | MS_NOSUID, options), where);
}

static void mount_all(void) {
    static const char *const nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
    static const char *const masked[] = {"kcore",      "keys",       "key-users",   "timer_list",   "timer_stats",
                                         "sched_debug", "latency_stats", "interrupts", "kallsyms",   "kmsg",
                                         "sysrq-trigger", "kpagecount", "kpageflags", "kpagecgroup", "pagetypeinfo",
                                         "slabinfo",   "vmallocinfo", "iomem",      "ioports",      "config.gz",
                                         "scsi",       "acpi",       "asound"};
    static const char *const read_only[] = {"proc/sys", "proc/irq", "proc/bus", "proc/fs"};
    char path[128], source[128];
    at("proc", "proc", MS_NODEV | MS_NOEXEC, NULL);
    at("tmpfs", "run", MS_NODEV, "mode=755,size=16m,nr_inodes=16384");
    at("tmpfs", "tmp", MS_NODEV, "mode=1777,size=64m,nr_inodes=16384");
    at("tmpfs", "dev", MS_NOEXEC, "mode=755,size=64k,nr_inodes=64");
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        /* A user namespace may make no device nodes: those of the host are shown. */
        snprintf(path, sizeof path, "dev/%s", nodes[i]);
        snprintf(source, sizeof source, "/dev/%s", nodes[i]);
        int fd = open(path, O_CREAT | O_CLOEXEC, 0666);
        must(fd, path);
        close(fd);
        must(mount(source, path, NULL, MS_BIND, NULL), path);
    }
    must(symlink("/proc/self/fd", "dev/fd"), "link");
    must(symlink("/proc/self/fd/0", "dev/stdin"), "link");
    must(symlink("/proc/self/fd/1", "dev/stdout"), "link");
    must(symlink("/proc/self/fd/2", "dev/stderr"), "link");
    must(symlink("pts/ptmx", "dev/ptmx"), "link");
    must(mkdir("dev/pts", 0755), "dev/pts");
    must(mkdir("dev/shm", 0755), "dev/shm");
    must(mkdir("dev/mqueue", 0755), "dev/mqueue");
    at("devpts", "dev/pts", MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5,max=64");
    at("tmpfs", "dev/shm", MS_NODEV | MS_NOEXEC, "mode=1777,size=64m,nr_inodes=16384");
    at("mqueue", "dev/mqueue", MS_NODEV | MS_NOEXEC, NULL);
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++) {
        struct stat found;
        snprintf(path, sizeof path, "proc/%s", masked[i]);
        if (stat(path, &found) < 0) continue;
        if (S_ISDIR(found.st_mode)) at("tmpfs", path, MS_RDONLY, "size=4k,nr_inodes=1,mode=555");
        else must(mount("dev/null", path, NULL, MS_BIND, NULL), path);
    }
    for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++) {
        if (access(read_only[i], F_OK) < 0) continue;
        must(mount(read_only[i], read_only[i], NULL, MS_BIND, NULL), read_only[i]);
        unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
        must(mount(NULL, read_only[i], NULL, flags, NULL), read_only[i]);
    }
}

static void give_up_powers(const char *filter) {
    static const int kept[] = {0, 1, 3, 4, 5, 6, 7, 10};
    uint64_t keep = 0;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) keep |= 1ull << kept[i];
    for (int i = 0; i < 64; i++)
        if (!(keep >> i & 1) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) break;
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct words[2] = {{keep, keep, 0}, {keep >> 32, keep >> 32, 0}};
    must(syscall(SYS_capset, &header, words), "capset");
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    struct rlimit none = {0, 0};
    must(setrlimit(RLIMIT_CORE, &none), "rlimit");
    static struct sock_filter program[4096];
    int fd = open(filter, O_RDONLY | O_CLOEXEC);
    must(fd, filter);
    ssize_t length = read(fd, program, sizeof program);
    must(length, filter);
    (void)length;
    close(fd);
    struct sock_fprog loaded = {(unsigned short)(length / sizeof *program), program};
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &loaded), "seccomp");
}

/* The filter is read before the root is left, and its file is named by descriptor afterwards. */
static void child(const char *rootfs, const char *filter, int go, const int *tasks, int count) {
    char byte, by_descriptor[64];
    for (int i = 0; i < count; i++)
        if (tasks[i] >= 0) must(write(tasks[i], "0", 1), "enter a cgroup");
    int held = open(filter, O_RDONLY);
    must(held, filter);
    snprintf(by_descriptor, sizeof by_descriptor, "/proc/self/fd/%d", held);
    if (read(go, &byte, 1) != 1) _exit(125);
    must(syscall(SYS_setresgid, 0, 0, 0), "setresgid");
    must(syscall(SYS_setresuid, 0, 0, 0), "setresuid");
    must(unshare(CLONE_NEWCGROUP), "unshare");
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
    must(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL), rootfs);
    must(chdir(rootfs), rootfs);
    mount_all();
    must(mount(NULL, ".", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL), "read-only root");
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(control, "socket");
    must(ioctl(control, SIOCSIFFLAGS, &loopback), "lo");
    close(control);
    must(sethostname("floor", 5), "sethostname");
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "umount");
    must(chdir("/"), "/");
    must(setsid(), "setsid");
    give_up_powers(by_descriptor);
    syscall(SYS_close_range, 3, ~0u, 0);
    char *const arguments[] = {"/bin/true", NULL};
    char *const environment[] = {"PATH=/bin", NULL};
    execve("/bin/true", arguments, environment);
    _exit(127);
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    char directories[16][512];
    int tasks[16], go[2], count = argc - 4, into = -1;
    if (count > 16) return 2;
    for (int i = 0; i < count; i++) {
        char path[600];
        snprintf(directories[i], sizeof directories[i], "%s/%s", argv[4 + i], argv[3]);
        must(mkdir(directories[i], 0755), directories[i]);
        limit(argv[4 + i], directories[i]);
        snprintf(path, sizeof path, "%s/tasks", directories[i]);
        tasks[i] = open(path, O_WRONLY | O_CLOEXEC);
        if (tasks[i] < 0) into = open(directories[i], O_PATH | O_CLOEXEC);
    }
    must(pipe2(go, O_CLOEXEC), "pipe");
    struct clone_args args = {
        .flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
        .exit_signal = SIGCHLD,
    };
    if (into >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)into;
    }
    long pid = syscall(SYS_clone3, &args, sizeof args);
    must(pid, "clone3");
    if (pid == 0) child(argv[1], argv[2], go[0], tasks, count);
    char path[64], map[64];
    snprintf(map, sizeof map, "0 %u %u\n", UID_BASE, UIDS);
    static const char *const maps[] = {"uid_map", "gid_map"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/proc/%ld", pid);
        put(path, maps[i], map);
    }
    must(write(go[1], "", 1), "go");
    int status;
    must(waitpid((pid_t)pid, &status, 0), "wait");
    for (int i = 0; i < count; i++)
        /* A process that has ended is counted a moment longer. */
        while (rmdir(directories[i]) < 0)
            if (errno != EBUSY) die(directories[i]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}
