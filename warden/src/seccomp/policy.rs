//! The policy, by number. Constants of libc, so that a misspelt name does not compile.

use libc::*;

/// A decision on arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Allowed without [`NAMESPACE_FLAGS`].
    CloneWithoutNamespaces,
    /// By family, type and protocol.
    Socket,
    /// `AF_UNIX` alone.
    SocketPair,
    /// Allowed unless the argument of this index is one of these.
    NotThese(u32, &'static [u32]),
    /// Allowed if the argument of this index is one of these.
    OnlyThese(u32, &'static [u32]),
}

// Numbers that libc does not have yet (arch/x86/entry/syscalls/syscall_64.tbl).
const SYS_IO_PGETEVENTS: c_long = 333;
const SYS_CACHESTAT: c_long = 451;

/// Every `CLONE_NEW*` of clone(2). `CLONE_NEWTIME` is not among them: there its bit is part of the exit signal.
pub(super) const NAMESPACE_FLAGS: u32 = (CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET) as u32;

/// Protocols of internet sockets: by the type alone, TCP, UDP, echo.
pub(super) const INET_PROTOCOLS: &[u32] =
    &[0, IPPROTO_TCP as u32, IPPROTO_UDP as u32, IPPROTO_ICMP as u32, IPPROTO_ICMPV6 as u32];

/// Calls decided by their arguments.
pub(super) const CHECKED: &[(c_long, Check)] = &[
    (SYS_clone, Check::CloneWithoutNamespaces),
    (SYS_socket, Check::Socket),
    (SYS_socketpair, Check::SocketPair),
    // Typing into a terminal (TIOCSTI), the console's side calls (TIOCLINUX).
    (SYS_ioctl, Check::NotThese(1, &[TIOCSTI as u32, TIOCLINUX as u32])),
    // PER_LINUX, PER_LINUX32, UNAME26, both, and asking. Not ADDR_NO_RANDOMIZE, not READ_IMPLIES_EXEC.
    (SYS_personality, Check::OnlyThese(0, &[0, 8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF])),
];

/// Calls that a container has no business with. They are known, so the answer is `EPERM`.
/// clone3 is in no list: its flags are in memory, which a filter cannot read; `ENOSYS` makes C libraries use clone.
#[rustfmt::skip]
pub(super) const REFUSED: &[c_long] = &[
    // namespaces and mounts
    SYS_unshare, SYS_setns, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_fsopen, SYS_fsconfig, SYS_fsmount,
    SYS_fspick, SYS_open_tree, SYS_move_mount, SYS_mount_setattr,
    // the kernel itself
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
    SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module,
    SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl, SYS_quotactl_fd,
    SYS_syslog, SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_lookup_dcookie, SYS_uselib, SYS_ustat, SYS_sysfs,
    SYS_nfsservctl, SYS__sysctl, SYS_vhangup, SYS_fanotify_init, SYS_fanotify_mark, SYS_open_by_handle_at,
    // time, names
    SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname, SYS_setdomainname,
    // other processes, keys
    SYS_kcmp, SYS_pidfd_getfd, SYS_process_madvise, SYS_add_key, SYS_request_key, SYS_keyctl,
    // placement of memory
    SYS_mbind, SYS_set_mempolicy, SYS_get_mempolicy, SYS_move_pages, SYS_migrate_pages, SYS_set_mempolicy_home_node,
];

/// Calls that ordinary programs make.
#[rustfmt::skip]
pub(super) const ALLOWED: &[c_long] = &[
    // files
    SYS_read, SYS_write, SYS_open, SYS_close, SYS_stat, SYS_fstat, SYS_lstat, SYS_lseek, SYS_pread64, SYS_pwrite64,
    SYS_readv, SYS_writev, SYS_preadv, SYS_pwritev, SYS_preadv2, SYS_pwritev2, SYS_access, SYS_pipe, SYS_pipe2, SYS_dup,
    SYS_dup2, SYS_dup3, SYS_fcntl, SYS_flock, SYS_fsync, SYS_fdatasync, SYS_truncate, SYS_ftruncate, SYS_getdents,
    SYS_getdents64, SYS_getcwd, SYS_chdir, SYS_fchdir, SYS_rename, SYS_renameat, SYS_renameat2, SYS_mkdir, SYS_mkdirat,
    SYS_rmdir, SYS_creat, SYS_link, SYS_linkat, SYS_unlink, SYS_unlinkat, SYS_symlink, SYS_symlinkat, SYS_readlink,
    SYS_readlinkat, SYS_chmod, SYS_fchmod, SYS_fchmodat, SYS_chown, SYS_fchown, SYS_lchown, SYS_fchownat, SYS_umask,
    SYS_utime, SYS_utimes, SYS_utimensat, SYS_futimesat, SYS_mknod, SYS_mknodat, SYS_statfs, SYS_fstatfs, SYS_sync,
    SYS_syncfs, SYS_sync_file_range, SYS_sendfile, SYS_splice, SYS_tee, SYS_vmsplice, SYS_copy_file_range,
    SYS_fallocate, SYS_fadvise64, SYS_readahead, SYS_openat, SYS_openat2, SYS_newfstatat, SYS_faccessat,
    SYS_faccessat2, SYS_statx, SYS_name_to_handle_at, SYS_close_range, SYS_fchmodat2, SYS_CACHESTAT,
    SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_listxattr,
    SYS_llistxattr, SYS_flistxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr,
    SYS_inotify_init, SYS_inotify_init1, SYS_inotify_add_watch, SYS_inotify_rm_watch,
    SYS_io_setup, SYS_io_destroy, SYS_io_getevents, SYS_IO_PGETEVENTS, SYS_io_submit, SYS_io_cancel,
    // waiting
    SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_create, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait,
    SYS_epoll_pwait, SYS_epoll_pwait2, SYS_epoll_ctl_old, SYS_epoll_wait_old, SYS_eventfd, SYS_eventfd2, SYS_signalfd,
    SYS_signalfd4, SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime,
    // memory
    SYS_mmap, SYS_mprotect, SYS_munmap, SYS_brk, SYS_mremap, SYS_msync, SYS_mincore, SYS_madvise, SYS_mlock, SYS_mlock2,
    SYS_munlock, SYS_mlockall, SYS_munlockall, SYS_remap_file_pages, SYS_memfd_create, SYS_memfd_secret,
    SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect, SYS_membarrier, SYS_mseal,
    SYS_shmget, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_semget, SYS_semop, SYS_semctl, SYS_semtimedop, SYS_msgget,
    SYS_msgsnd, SYS_msgrcv, SYS_msgctl, SYS_mq_open, SYS_mq_unlink, SYS_mq_timedsend, SYS_mq_timedreceive,
    SYS_mq_notify, SYS_mq_getsetattr,
    // processes, threads, signals
    SYS_fork, SYS_vfork, SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_kill,
    SYS_tkill, SYS_tgkill, SYS_getpid, SYS_getppid, SYS_gettid, SYS_getpgrp, SYS_getpgid, SYS_setpgid, SYS_getsid,
    SYS_setsid, SYS_prctl, SYS_arch_prctl, SYS_set_tid_address, SYS_set_robust_list, SYS_get_robust_list, SYS_futex,
    SYS_futex_waitv, SYS_rseq, SYS_sched_yield, SYS_pause, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
    SYS_pidfd_open, SYS_pidfd_send_signal, SYS_process_mrelease, SYS_restart_syscall, SYS_seccomp,
    SYS_landlock_create_ruleset, SYS_landlock_add_rule, SYS_landlock_restrict_self,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigtimedwait,
    SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_rt_sigsuspend, SYS_sigaltstack,
    SYS_sched_setparam, SYS_sched_getparam, SYS_sched_setscheduler, SYS_sched_getscheduler, SYS_sched_setattr,
    SYS_sched_getattr, SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_sched_rr_get_interval,
    SYS_sched_setaffinity, SYS_sched_getaffinity, SYS_getcpu, SYS_ioprio_set, SYS_ioprio_get, SYS_getpriority,
    SYS_setpriority, SYS_set_thread_area, SYS_get_thread_area,
    // who
    SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getgroups, SYS_getresuid, SYS_getresgid, SYS_setuid,
    SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid, SYS_setfsgid, SYS_setgroups,
    SYS_capget, SYS_capset, SYS_uname, SYS_sysinfo, SYS_times, SYS_getrusage, SYS_getrlimit, SYS_setrlimit,
    SYS_prlimit64, SYS_getrandom,
    // time
    SYS_time, SYS_gettimeofday, SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep,
    SYS_getitimer, SYS_setitimer, SYS_alarm, SYS_timer_create, SYS_timer_settime, SYS_timer_gettime,
    SYS_timer_getoverrun, SYS_timer_delete,
    // network
    SYS_connect, SYS_accept, SYS_accept4, SYS_bind, SYS_listen, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg,
    SYS_sendmmsg, SYS_recvmmsg, SYS_shutdown, SYS_getsockname, SYS_getpeername, SYS_setsockopt, SYS_getsockopt,
];
