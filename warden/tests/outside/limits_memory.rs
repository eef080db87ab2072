//! Memory: its limit, what happens at it, and that programs see it.

use crate::limits::cgroup_file;
use crate::scene::{Warden, eventually};
use std::path::Path;
use warden_client::message::{BindMode, BindMount, CreateRequest, Limits, OutOfMemory};

/// A shell that a program kills by wanting more memory than there is: `tail` keeps the last line, which never ends.
const TOO_MUCH: &str = "exec tail /dev/zero";

async fn stopped(warden: &Warden, handle: &str) -> OutOfMemory {
    eventually("the container is stopped", async || {
        let info = warden.client.info(handle).await.unwrap();
        info.state.as_deref() == Some("stopped") && info.oom_kills >= Some(1)
    })
    .await;
    let info = warden.client.info(handle).await.unwrap();
    assert_eq!(info.events, ["out of memory"]);
    info.out_of_memory.unwrap()
}

#[tokio::test]
async fn out_of_memory_stops_the_container_and_is_told() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    assert_eq!(warden.client.limit_memory(&handle, None).await.unwrap(), 9_223_372_036_854_771_712);
    for megabytes in [96, 64, 128, 64u64] {
        let bytes = megabytes << 20;
        assert_eq!(warden.client.limit_memory(&handle, Some(bytes)).await.unwrap(), bytes);
        let sum = cgroup_file(&warden, &handle, "memory.memsw.limit_in_bytes", "memory.max").await;
        assert_eq!(sum, bytes.to_string(), "with swap it is no more");
    }
    let done = warden.run(&handle, "head -c 20000000 /dev/zero | tail >/dev/null; echo $?").await;
    assert_eq!(done.stdout.as_deref(), Some("0\n"), "within the limit: {done:?}");
    assert_eq!(warden.client.info(&handle).await.unwrap().out_of_memory, None);
    let job = warden.spawn(&handle, TOO_MUCH).await;
    let done = warden.client.link(&handle, job).await.unwrap();
    assert_eq!(done.exit_status, Some(255));
    assert_eq!(done.info.unwrap().events, ["out of memory"], "whoever hears of the end hears of the reason");
    let seen = stopped(&warden, &handle).await;
    assert_eq!(seen.limit_bytes, Some(64 << 20), "{seen:?}");
    // Unless the machine is so slow that the kernel's notice is there long before the init's.
    assert!(seen.victim_job.is_none_or(|victim| victim == job), "{seen:?}");
    assert!(seen.peak_bytes.is_none_or(|peak| (32 << 20..=64 << 20).contains(&peak)), "{seen:?}");
    assert!(seen.at > Some(1_600_000_000), "{seen:?}");
    // The kernel's log says who it was, unless it has too much to say.
    assert!(seen.victim.as_deref().is_none_or(|name| name == "tail"), "{seen:?}");
    assert!(seen.victim_bytes.is_none_or(|bytes| (8 << 20..=96 << 20).contains(&bytes)), "{seen:?}");
}

#[tokio::test]
async fn a_killed_child_stops_the_container_too() {
    let warden = Warden::start().await;
    let limits = Limits { memory_bytes: Some(48 << 20), ..Default::default() };
    let handle = warden.create(CreateRequest { limits: Some(limits), ..Default::default() }).await;
    // Nobody waits for the job, and it would go on: the kernel's notice is all there is.
    warden.spawn(&handle, "tail /dev/zero; while :; do sleep 1; done").await;
    let seen = stopped(&warden, &handle).await;
    assert_eq!(seen.limit_bytes, Some(48 << 20));
}

#[tokio::test]
async fn out_of_memory_is_told_after_a_restart_and_when_nobody_was_there() {
    let mut warden = Warden::start().await;
    let handle = warden.container().await;
    warden.client.limit_memory(&handle, Some(48 << 20)).await.unwrap();
    let other = warden.container().await;
    warden.client.limit_memory(&other, Some(48 << 20)).await.unwrap();
    let wait = "until [ -e /tmp/go ]; do sleep 0.02; done; exec tail /dev/zero";
    warden.spawn(&other, &format!("(sleep 1; touch /tmp/go) & {wait}")).await;
    warden.kill();
    let state = async || cgroup_kills(&warden, "memory.oom_control", "memory.events");
    eventually("the kernel has killed it", async || state().await > 0).await;
    warden.kill_and_restart().await;
    stopped(&warden, &other).await;
    // One that was there before the restart is still watched after it.
    warden.spawn(&handle, "tail /dev/zero; sleep 1000").await;
    stopped(&warden, &handle).await;
    warden.kill_and_restart().await;
    let info = warden.client.info(&handle).await.unwrap();
    assert!(info.out_of_memory.is_some_and(|seen| seen.limit_bytes == Some(48 << 20)));
}

/// Processes that the kernel has killed in containers of this platform.
fn cgroup_kills(warden: &Warden, v1: &str, v2: &str) -> u64 {
    let name = format!("cupola-{}", warden.instance);
    let ours = crate::scene::walk(Path::new("/sys/fs/cgroup")).into_iter().filter(|directory| {
        directory.parent().and_then(Path::file_name).is_some_and(|parent| parent == name.as_str())
    });
    let kills = ours.filter_map(|directory| {
        let text = [v1, v2].iter().find_map(|file| std::fs::read_to_string(directory.join(file)).ok())?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse::<u64>().ok())
    });
    kills.sum()
}

#[tokio::test]
async fn memory_filesystems_count_and_are_bounded_in_bytes_and_files() {
    let warden = Warden::start_with("", "shm_bytes = 8388608\nrun_bytes = 2097152\ntmpfs_inodes = 500").await;
    let handle = warden.container().await;
    assert_eq!(warden.run(&handle, "head -c 4000000 /dev/zero > /dev/shm/a").await.exit_status, Some(0));
    assert_ne!(warden.run(&handle, "head -c 16000000 /dev/zero > /dev/shm/b").await.exit_status, Some(0));
    let run = crate::limits::as_root(&warden, &handle, "head -c 4000000 /dev/zero > /run/a").await;
    assert_ne!(run.exit_status, Some(0));
    let many = "cd /dev/shm; for i in $(seq 1000); do : > f$i || break; done 2>/dev/null; ls | wc -l";
    let count: u64 = warden.say(&handle, many).await.parse().unwrap();
    assert!((400..=500).contains(&count), "{count}");
    // A root that nobody can write must have the places for what is in memory.
    for name in ["tmp", "run", "proc", "dev", "sys", "home/vcap"] {
        std::fs::create_dir_all(warden.path().join("root").join(name)).unwrap();
    }
    let read_only = CreateRequest { read_only: Some(true), ..Default::default() };
    let bare = warden.create(read_only).await;
    let many = many.replace("/dev/shm", "/tmp");
    let count: u64 = warden.say(&bare, &many).await.parse().unwrap();
    assert!((400..=500).contains(&count), "{count}");
}

#[tokio::test]
async fn files_in_memory_count_as_memory() {
    let warden = Warden::start_with("", "shm_bytes = 268435456").await;
    let limits = Limits { memory_bytes: Some(24 << 20), ..Default::default() };
    let handle = warden.create(CreateRequest { limits: Some(limits), ..Default::default() }).await;
    warden.spawn(&handle, "head -c 200000000 /dev/zero > /dev/shm/file; sleep 1000").await;
    stopped(&warden, &handle).await;
}

/// Programs that size themselves, where this host has them: how to ask, and the most that the answer may be.
fn runtimes(limit: u64) -> Vec<(&'static str, String, u64)> {
    let file = "[p for p in ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes') if __import__('os').path.exists(p)][0]";
    let mut all = vec![("python3", format!("python3 -c \"print(open({file}).read())\""), limit)];
    if Path::new("/usr/bin/node").exists() {
        let ask = "node -e \"console.log(require('v8').getHeapStatistics().heap_size_limit)\"";
        all.push(("node", ask.to_owned(), limit));
    }
    let virtual_machines = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    for home in virtual_machines.map(|entry| entry.path()) {
        let java = home.join("bin/java");
        if java.is_file() && !home.is_symlink() {
            let java = java.display();
            let ask = format!(
                "{java} -XX:+PrintFlagsFinal -version 2>/dev/null | awk '$2 == \"MaxHeapSize\" {{ print $4 }}'"
            );
            all.push(("java", ask, limit / 2));
        }
    }
    all
}

#[tokio::test]
async fn programs_size_themselves_to_the_limit() {
    const LIMIT: u64 = 512 << 20;
    let warden = Warden::start().await;
    let limits = Limits {
        memory_bytes: Some(LIMIT),
        cpu_quota_us: Some(100_000),
        cpu_period_us: Some(100_000),
        ..Default::default()
    };
    // Debian's Java keeps its configuration there.
    let places = std::fs::read_dir("/etc").unwrap().flatten().map(|entry| entry.path());
    let places = places.filter(|path| {
        path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with("java-") || name == "alternatives"
        })
    });
    let bind = |path: std::path::PathBuf| {
        let text = path.display().to_string();
        BindMount::new(&text, &text, BindMode::Ro)
    };
    let request =
        CreateRequest { limits: Some(limits), bind_mounts: places.map(bind).collect(), ..Default::default() };
    let handle = warden.create(request).await;
    for (name, ask, most) in runtimes(LIMIT) {
        let said = warden.say(&handle, &ask).await;
        println!("{name}: {said}");
        let bytes: u64 = said.parse().unwrap_or_else(|_| panic!("{name}: {said:?}"));
        assert!(bytes > 0 && bytes <= most, "{name} takes {bytes} for its own, of {LIMIT}");
    }
}

#[tokio::test]
async fn a_container_sees_its_own_cgroups_alone_and_cannot_write_them() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let other = warden.container().await;
    let id =
        |path: Option<String>| Path::new(&path.unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
    let other = id(warden.client.info(&other).await.unwrap().container_path);
    let files = warden.say(&handle, "find /sys -xdev; find /sys/fs/cgroup; cat /proc/self/mountinfo").await;
    assert!(!files.contains(&other) && !files.contains("cupola-"), "{files}");
    assert!(files.contains("memory."), "{files}");
    let shown = crate::limits::as_root(
        &warden,
        &handle,
        "cd /sys/fs/cgroup; for f in $(find -L . -maxdepth 2 -type f -perm /222) cgroup.kill; do \
         (echo 1 > $f) 2>/dev/null && echo wrote $f; done; mkdir x memory/x 2>/dev/null && echo made; \
         cat cgroup.procs memory/cgroup.procs 2>/dev/null | wc -l; find /sys/fs/cgroup/.. /sys/.. -maxdepth 1 | wc -l",
    )
    .await;
    let shown = shown.stdout.unwrap();
    assert!(!shown.contains("wrote") && !shown.contains("made"), "{shown}");
    // Its init and its shells, by their numbers inside, and no process of anybody else's, which would be 0.
    let pids = warden
        .say(
            &handle,
            "cat /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/memory/cgroup.procs 2>/dev/null || true",
        )
        .await;
    assert!(pids.lines().any(|pid| pid == "1") && pids.lines().all(|pid| pid != "0"), "{pids}");
}
