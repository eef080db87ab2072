//! Every limit at once, processor, processes, and the rates of the disk.

use crate::scene::{Warden, eventually};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use warden_client::message::{CreateRequest, IoLimit, LimitDiskRequest, Limits, RunRequest};

/// A file of a container's cgroup: by its name on v1, or by that on v2.
pub(crate) async fn cgroup_file(warden: &Warden, handle: &str, v1: &str, v2: &str) -> String {
    std::fs::read_to_string(cgroup_path(warden, handle, v1, v2).await).unwrap().trim().to_owned()
}

async fn cgroup_path(warden: &Warden, handle: &str, v1: &str, v2: &str) -> PathBuf {
    let path = warden.client.info(handle).await.unwrap().container_path.unwrap();
    let id = Path::new(&path).file_name().unwrap().to_owned();
    let directories = crate::scene::walk(Path::new("/sys/fs/cgroup"));
    let of = |directory: &PathBuf| {
        let found = [v1, v2].into_iter().map(|name| directory.join(name)).find(|path| path.is_file());
        found.filter(|_| directory.file_name() == Some(&id))
    };
    directories.iter().find_map(of).unwrap_or_else(|| panic!("neither {v1} nor {v2} of {id:?}"))
}

/// The block device that the daemon's data is on.
fn disk_of(path: &Path) -> String {
    let device = std::fs::metadata(path).unwrap().dev();
    let number = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    // A partition has no limits of its own.
    let block = std::fs::canonicalize(format!("/sys/dev/block/{number}")).unwrap();
    match block.join("partition").exists() {
        true => std::fs::read_to_string(block.parent().unwrap().join("dev")).unwrap().trim().to_owned(),
        false => number,
    }
}

#[tokio::test]
async fn every_limit_is_set_read_and_survives_a_killed_daemon() {
    let mut warden = Warden::start().await;
    let device = disk_of(warden.path());
    let asked = Limits {
        memory_bytes: Some(200 << 20),
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(200_000),
        cpu_burst_us: Some(10_000),
        pids: Some(77),
        disk_bytes: Some(96 << 20),
        io: vec![IoLimit { device: device.clone(), read_bytes: Some(9 << 20), ..Default::default() }],
        ..Default::default()
    };
    let handle = warden.create(CreateRequest { limits: Some(asked.clone()), ..Default::default() }).await;
    let check = async |warden: &Warden, read_bytes: u64| {
        let held = warden.client.limit(&handle, None).await.unwrap();
        let expected = Limits {
            io: vec![IoLimit { device: device.clone(), read_bytes: Some(read_bytes), ..Default::default() }],
            disk_inodes: held.disk_inodes,
            ..asked.clone()
        };
        assert_eq!(held, expected);
        assert_eq!(warden.client.info(&handle).await.unwrap().limits, Some(held));
        let file = async |v1: &str, v2: &str| cgroup_file(warden, &handle, v1, v2).await;
        assert_eq!(file("memory.limit_in_bytes", "memory.max").await, (200 << 20).to_string());
        assert_eq!(file("pids.max", "pids.max").await, "77");
        assert!(["512", "20"].contains(&&*file("cpu.shares", "cpu.weight").await));
        assert!(["50000", "50000 200000"].contains(&&*file("cpu.cfs_quota_us", "cpu.max").await));
        assert_eq!(file("cpu.cfs_burst_us", "cpu.max.burst").await, "10000");
        let rates = file("blkio.throttle.read_bps_device", "io.max").await;
        let lines = [
            format!("{device} {read_bytes}"),
            format!("{device} rbps={read_bytes} wbps=max riops=max wiops=max"),
        ];
        assert!(lines.contains(&rates), "{rates}");
    };
    check(&warden, 9 << 20).await;
    let change = Limits {
        io: vec![IoLimit { device: device.clone(), read_bytes: Some(5 << 20), ..Default::default() }],
        ..Default::default()
    };
    warden.client.limit(&handle, Some(change)).await.unwrap();
    check(&warden, 5 << 20).await;
    warden.kill_and_restart().await;
    check(&warden, 5 << 20).await;
    let none = Limits {
        memory_bytes: Some(u64::MAX),
        cpu_quota_us: Some(0),
        io: vec![IoLimit { device, read_bytes: Some(0), ..Default::default() }],
        ..Default::default()
    };
    let held = warden.client.limit(&handle, Some(none)).await.unwrap();
    assert_eq!((held.memory_bytes, held.cpu_quota_us, held.cpu_burst_us), (None, None, None));
    assert_eq!((held.io.len(), held.pids), (0, Some(77)));
}

#[tokio::test]
async fn either_all_is_set_or_nothing() {
    let warden = Warden::start().await;
    let handle = warden.create(CreateRequest::default()).await;
    let before = warden.client.limit(&handle, None).await.unwrap();
    let refused = async |limits: Limits| {
        let error = warden.client.limit(&handle, Some(limits)).await.unwrap_err().to_string();
        assert_eq!(warden.client.limit(&handle, None).await.unwrap(), before, "{error}");
        error
    };
    // Refused before anything is told to the kernel.
    let both = Limits { memory_bytes: Some(64 << 20), pids: Some(0), ..Default::default() };
    assert!(refused(both).await.contains("pids must be from 1"));
    // Refused by the kernel, after the other was set: there is no such device.
    let device = IoLimit { device: "4000:7".into(), read_bytes: Some(1), ..Default::default() };
    let both = Limits { memory_bytes: Some(64 << 20), pids: Some(9), io: vec![device], ..Default::default() };
    let error = refused(both).await;
    assert!(error.contains("4000:7") && error.contains("No such device"), "{error}");
    assert_eq!(cgroup_file(&warden, &handle, "pids.max", "pids.max").await, "512");
    assert_ne!(
        cgroup_file(&warden, &handle, "memory.limit_in_bytes", "memory.max").await,
        (64 << 20).to_string()
    );
    let high = Limits { memory_high_bytes: Some(64 << 20), ..Default::default() };
    match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => {
            let held = warden.client.limit(&handle, Some(high)).await.unwrap();
            assert_eq!(held.memory_high_bytes, Some(64 << 20));
            assert_eq!(cgroup_file(&warden, &handle, "-", "memory.high").await, (64 << 20).to_string());
        }
        false => assert!(refused(high).await.contains("needs cgroup v2")),
    }
    let bad = CreateRequest {
        limits: Some(Limits { cpu_shares: Some(1), ..Default::default() }),
        ..Default::default()
    };
    let error = warden.client.create(bad).await.unwrap_err().to_string();
    assert!(error.contains("cpu_shares must be from 2"), "{error}");
    assert_eq!(warden.client.list().await.unwrap(), [handle]);
}

/// The container cannot make nodes of devices, and where it can write, nodes are none. So this looks at the wall behind that
/// from where it has power: with a process of the host's root in the container's group.
#[tokio::test]
async fn devices_that_are_not_listed_are_closed_to_the_containers_group() {
    let mut warden = Warden::start().await;
    let handle = warden.container().await;
    let open = |group: &Path, device: &str| {
        let script = format!("echo $$ > {}/cgroup.procs && : < {device}", group.display());
        std::process::Command::new("sh").args(["-c", &script]).output().unwrap()
    };
    let path = cgroup_path(&warden, &handle, "devices.list", "cgroup.type").await;
    let (group, platform) = (path.parent().unwrap(), path.parent().unwrap().parent().unwrap());
    let outside = platform.parent().unwrap();
    for restarted in [false, true] {
        for device in ["/dev/null", "/dev/full", "/dev/urandom"] {
            let opened = open(group, device);
            assert!(opened.status.success(), "{device}: {opened:?}");
        }
        for device in ["/dev/loop-control", "/dev/kmsg"] {
            let refused = open(group, device);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(said.contains("not permitted"), "{device}: {refused:?}");
            let control = std::process::Command::new("sh").args(["-c", &format!(": < {device}")]).status();
            assert!(control.unwrap().success(), "{device} can be opened in {}", outside.display());
        }
        if !restarted {
            warden.kill_and_restart().await;
        }
    }
}

#[tokio::test]
async fn the_weight_of_disk_access_is_set_or_refused_by_its_name() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let limits = Limits { io_weight: Some(250), ..Default::default() };
    match warden.client.limit(&handle, Some(limits)).await {
        Ok(held) => {
            assert_eq!(held.io_weight, Some(250));
            let text = cgroup_file(&warden, &handle, "blkio.bfq.weight", "io.weight").await;
            assert!(["250", "default 250"].contains(&&*text), "{text}");
        }
        Err(error) => {
            let files = ["io.weight", "io.bfq.weight", "blkio.bfq.weight", "blkio.weight"];
            let group = cgroup_path(&warden, &handle, "blkio.throttle.read_bps_device", "io.max").await;
            let any = files.iter().any(|file| group.with_file_name(file).exists());
            assert!(!any && error.to_string().contains("io_weight needs"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_container_uses_no_more_than_its_quota_of_the_processor() {
    let warden = Warden::start().await;
    let limits = Limits { cpu_quota_us: Some(20_000), cpu_period_us: Some(100_000), ..Default::default() };
    let handle = warden.create(CreateRequest { limits: Some(limits), ..Default::default() }).await;
    let usage = async || warden.client.info(&handle).await.unwrap().cpu_stat.unwrap().usage.unwrap();
    let throttled = async || {
        let text = cgroup_file(&warden, &handle, "cpu.cfs_quota_us", "cpu.max").await;
        assert!(text.starts_with("20000"), "{text}");
        let stat = cgroup_file(&warden, &handle, "cpu.stat", "cpu.stat").await;
        let line = stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")).unwrap().to_owned();
        line.parse::<u64>().unwrap()
    };
    let before = usage().await;
    warden
        .run(&handle, "timeout 1 sh -c 'while :; do :; done' & timeout 1 sh -c 'while :; do :; done'; wait")
        .await;
    assert!(throttled().await > 0, "it was made to wait");
    assert!(usage().await > before);
}

#[tokio::test]
async fn processor_shares_are_set_and_read() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    assert_eq!(warden.client.limit_cpu(&handle, None).await.unwrap(), 1024);
    assert_eq!(warden.client.limit_cpu(&handle, Some(512)).await.unwrap(), 512);
    assert_eq!(warden.client.limit_cpu(&handle, None).await.unwrap(), 512);
    assert_eq!(warden.client.limit_cpu(&handle, Some(1)).await.unwrap(), 2);
}

#[tokio::test]
async fn processes_are_limited_and_can_be_given_more() {
    let warden = Warden::start_with("", "pids_limit = 40").await;
    let handle = warden.container().await;
    // Counts what can be started beside itself, and says why it was no more.
    let script = r#"python3 -c '
import os, signal
children = []
try:
    while len(children) < 100:
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
except OSError as error:
    print(error.errno, end=" ")
print(len(children))
for child in children:
    os.kill(child, signal.SIGKILL)
'"#;
    let said = warden.say(&handle, script).await;
    let count = |said: &str| said.split(' ').next_back().unwrap().parse::<u64>().unwrap();
    // The init, a shell and the program are in it too.
    assert!(said.starts_with("11 ") && (30..40).contains(&count(&said)), "{said}");
    warden.client.limit(&handle, Some(Limits { pids: Some(60), ..Default::default() })).await.unwrap();
    let said = warden.say(&handle, script).await;
    assert!(said.starts_with("11 ") && (50..60).contains(&count(&said)), "{said}");
    warden.client.limit(&handle, Some(Limits { pids: Some(200), ..Default::default() })).await.unwrap();
    assert_eq!(warden.say(&handle, script).await, "100");
}

#[tokio::test]
async fn figures_are_told() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    warden.run(&handle, "head -c 3000000 /dev/zero > /home/vcap/file").await;
    let info = warden.client.info(&handle).await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let age = now - info.created_at.unwrap();
    assert!(age < 3600, "{age}");
    assert!(info.processes >= Some(1));
    let memory = info.memory_stat.unwrap();
    assert!(memory.cache > Some(0) && memory.pgfault > Some(0) && memory.total_rss.is_some(), "{memory:?}");
    assert!(info.cpu_stat.unwrap().usage > Some(0));
    let disk = info.disk_stat.unwrap();
    assert!(disk.bytes_used > Some(2_900_000) && disk.inodes_used > Some(3), "{disk:?}");
    let tells = Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
        && std::fs::read_to_string("/proc/pressure/cpu").is_ok();
    assert_eq!(info.pressures.is_some(), tells, "by container on cgroup v2 alone");
    if let Some(pressures) = info.pressures {
        assert!(pressures.cpu.unwrap().some_total_us.is_some());
        assert!(pressures.memory.unwrap().full_10.is_some());
    }
    warden.client.destroy(&handle).await.unwrap();
    eventually("it is gone", async || warden.client.list().await.unwrap().is_empty()).await;
}

#[tokio::test]
async fn every_name_of_the_disk_limit_counts() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let ask = async |change: fn(&mut LimitDiskRequest)| {
        let mut request = LimitDiskRequest { handle: handle.clone(), ..Default::default() };
        change(&mut request);
        warden.client.call(request).await.unwrap()
    };
    let set: [fn(&mut LimitDiskRequest); 6] = [
        |r| r.block_limit = Some(20_480),
        |r| r.block = Some(21_504),
        |r| r.block_hard = Some(22_528),
        |r| r.byte_limit = Some(23 << 20),
        |r| r.byte = Some(24 << 20),
        |r| r.byte_hard = Some(25 << 20),
    ];
    for (number, change) in set.into_iter().enumerate() {
        let bytes = Some((20 + number as u64) << 20);
        let held = ask(change).await;
        assert_eq!([held.byte_limit, held.byte, held.byte_soft, held.byte_hard], [bytes; 4]);
        let blocks = bytes.map(|bytes| bytes / 1024);
        assert_eq!([held.block_limit, held.block, held.block_soft, held.block_hard], [blocks; 4]);
    }
    let held = ask(|r| (r.block, r.byte) = (Some(10_240), Some(1))).await;
    assert_eq!(held.byte, Some(10 << 20), "blocks win over bytes");
    let held = ask(|r| (r.byte_soft, r.block_soft, r.inode_soft) = (Some(1), Some(1), Some(1))).await;
    assert_eq!(held.byte, Some(10 << 20), "soft limits have no effect, and what is not given stays");
    // What the historic DEA asks for is what a container has.
    for change in [
        (|r| r.inode_limit = Some(200_000)) as fn(&mut LimitDiskRequest),
        |r| r.inode = Some(200_000),
        |r| r.inode_hard = Some(200_000),
    ] {
        let held = ask(change).await;
        assert!(held.inode_limit >= Some(200_000) && held.inode_limit < Some(205_000), "{held:?}");
        assert_eq!([held.inode, held.inode_soft, held.inode_hard], [held.inode_limit; 3]);
    }
}

/// As root of the container.
pub(crate) async fn as_root(
    warden: &Warden,
    handle: &str,
    script: &str,
) -> warden_client::message::RunResponse {
    let request = RunRequest {
        handle: handle.to_owned(),
        script: script.to_owned(),
        privileged: Some(true),
        ..Default::default()
    };
    warden.client.run(request).await.unwrap()
}
