//! The limit of a container's own files, in bytes and in number, by whatever method.

use crate::limits::as_root;
use crate::scene::Warden;
use std::path::Path;
use std::process::Command;
use warden_client::message::{CreateRequest, LimitDiskRequest, Limits};

/// Of a method that this host has, whichever it is: every way round the limit of bytes is closed.
async fn bytes_hold(warden: &Warden) {
    let handle = warden.create(CreateRequest { disk_bytes: Some(8 << 20), ..Default::default() }).await;
    let other = warden.container().await;
    let write = |megabytes: u32| format!("head -c {} /dev/zero > /home/vcap/file && sync", megabytes << 20);
    assert_eq!(warden.client.limit_disk(&handle, None).await.unwrap(), 8 << 20);
    assert_eq!(warden.run(&handle, &write(6)).await.exit_status, Some(0));
    let refused = warden.run(&handle, &write(10)).await;
    let text = refused.stderr.clone().unwrap_or_default();
    assert!(text.contains("No space left") || text.contains("Disk quota exceeded"), "{refused:?}");
    let full = as_root(warden, &handle, "head -c 12000000 /dev/zero > /root.file").await;
    assert_ne!(full.exit_status, Some(0), "root of the container is limited too");
    assert_eq!(warden.run(&other, &write(10)).await.exit_status, Some(0), "another container is not");
    let tricks = [
        ("sparse files", "truncate -s 1G s && dd if=/dev/zero of=s bs=1M count=12 seek=500 conv=notrunc"),
        ("space set aside", "fallocate -l 12M a"),
        ("many small files", "for i in $(seq 4000); do echo x > f$i || exit 1; done"),
        ("files that are deleted and still open", "exec 3>d; rm d; head -c 12000000 /dev/zero >&3"),
        ("hard links", "head -c 4000000 /dev/zero >h; ln h h2; ln h h3; head -c 8000000 /dev/zero >>h3"),
        ("a deep tree", "python3 -c '\nimport os\nfor i in range(4000): os.mkdir(\"d\"); os.chdir(\"d\")'"),
    ];
    for (name, script) in tricks {
        let clean = "rm -rf /root.file /home/vcap/file /home/vcap/t; mkdir /home/vcap/t; cd /home/vcap/t";
        let tried = warden.run(&handle, &format!("{clean}; {script}")).await;
        assert_ne!(tried.exit_status, Some(0), "{name}: {tried:?}");
        let used = warden.client.info(&handle).await.unwrap().disk_stat.unwrap().bytes_used.unwrap();
        assert!(used <= 8 << 20, "{name}: {used}");
    }
    let given = "rm -rf /home/vcap/t; cd /home; head -c 6000000 /dev/zero >g && chown 77:77 g && head -c 6000000 /dev/zero >g2";
    let given = as_root(warden, &handle, given).await;
    assert_ne!(given.exit_status, Some(0), "files of another user count: {given:?}");
    assert_eq!(warden.client.limit_disk(&handle, Some(64 << 20)).await.unwrap(), 64 << 20);
    let room = as_root(warden, &handle, "rm -f /home/g /home/g2 /root.file").await;
    assert_eq!(room.exit_status, Some(0));
    assert_eq!(warden.run(&handle, &write(40)).await.exit_status, Some(0));
    let used = warden.client.info(&handle).await.unwrap().disk_stat.unwrap().bytes_used.unwrap();
    assert!((40 << 20..60 << 20).contains(&used), "{used}");
    warden.client.limit_disk(&handle, Some(10 << 20)).await.unwrap();
    let more = "head -c 1000000 /dev/zero > /home/vcap/more";
    assert_ne!(warden.run(&handle, more).await.exit_status, Some(0), "below what it has it gets no more");
    let blocks = LimitDiskRequest {
        handle: handle.clone(),
        block_hard: Some(2048),
        byte: Some(1),
        ..Default::default()
    };
    assert_eq!(warden.client.call(blocks).await.unwrap().byte_limit, Some(2 << 20));
    assert_eq!(warden.run(&handle, "rm /home/vcap/file").await.exit_status, Some(0), "and can remove some");
    for handle in [handle, other] {
        warden.client.destroy(&handle).await.unwrap();
    }
}

/// How many files a container can make in one directory.
async fn files_fit(warden: &Warden, handle: &str) -> u32 {
    let script = "rm -rf /tmp/m; mkdir /tmp/m; cd /tmp/m; python3 -c '
for number in range(10000):
    open(str(number), \"w\")
' 2>/dev/null; ls -U | wc -l";
    warden.say(handle, script).await.parse().unwrap()
}

#[tokio::test]
async fn bytes_are_limited_whatever_is_tried() {
    let warden = Warden::start_with("", "disk = { method = \"image\" }").await;
    bytes_hold(&warden).await;
}

#[tokio::test]
async fn files_are_limited_in_number() {
    let disk =
        "disk = { method = \"image\", max_bytes = 268435456, default_bytes = 268435456, inodes = 4096 }";
    let warden = Warden::start_with("", disk).await;
    let handle = warden.container().await;
    let count = files_fit(&warden, &handle).await;
    assert!((3_500..4_200).contains(&count), "{count}");
    let limits = Limits { disk_inodes: Some(1_000), ..Default::default() };
    let few = warden.create(CreateRequest { limits: Some(limits), ..Default::default() }).await;
    let count = files_fit(&warden, &few).await;
    assert!((900..1_100).contains(&count), "{count}");
    // It was made for so many; the answer says so.
    let change = Limits { disk_inodes: Some(2_000), ..Default::default() };
    let error = warden.client.limit(&few, Some(change)).await.unwrap_err().to_string();
    assert!(error.contains("disk_inodes") && error.contains("fixed when a container is made"), "{error}");
    let held = warden.client.limit(&few, None).await.unwrap().disk_inodes.unwrap();
    assert!((1_000..1_100).contains(&held), "{held}");
}

/// Blocks that a file has on the disk, in bytes: none while what was written to it waits in memory.
fn on_disk(path: &Path) -> usize {
    let map = Command::new("filefrag").arg("-v").arg(path).output().expect("filefrag of e2fsprogs runs");
    assert!(map.status.success(), "{map:?}");
    // A line for each piece; what waits has the flag.
    let text = String::from_utf8_lossy(&map.stdout).into_owned();
    text.lines()
        .filter(|line| line.contains("..") && line.contains(':') && !line.contains("delalloc"))
        .count()
}

/// A container that has written much and is destroyed: neither is that written to the host's disk, nor is what others have
/// written there at the same time. (On a filesystem that puts off where a file shall lie, ext4 and XFS.)
#[tokio::test]
async fn destroying_a_container_writes_nothing_to_the_hosts_disk() {
    let warden = Warden::start_with("", "disk = { method = \"image\" }").await;
    let handle = warden.container().await;
    let witness = warden.path().join("witness");
    std::fs::write(&witness, vec![7; 20 << 20]).unwrap();
    warden.run(&handle, "head -c 60000000 /dev/urandom > /home/vcap/file").await;
    let waits = on_disk(&witness) == 0;
    warden.client.destroy(&handle).await.unwrap();
    if waits {
        assert_eq!(on_disk(&witness), 0, "the host's disk was synced");
    }
    std::fs::File::open(&witness).unwrap().sync_all().unwrap();
    assert!(on_disk(&witness) > 0, "it is seen when it is written");
    std::fs::remove_file(&witness).unwrap();
    assert!(waits, "the host wrote the file out by itself within a moment: nothing was seen");
}

#[tokio::test]
async fn disks_made_ahead_are_used_replaced_and_removed() {
    let pool = "disk = { method = \"image\", pool = 3 }";
    let mut warden = Warden::start_with("", pool).await;
    let directory = warden.path().join("data/warden/disk");
    let ready = || std::fs::read_dir(&directory).unwrap().count();
    crate::scene::eventually("three are ready", async || ready() == 3).await;
    let mut handles = Vec::new();
    for _ in 0..5 {
        handles.push(warden.container().await);
    }
    crate::scene::eventually("three are ready again", async || ready() == 3).await;
    let data = warden.path().join("data").display().to_string();
    let loops = || {
        let devices = std::fs::read_dir("/sys/block").unwrap().flatten();
        let files = devices
            .filter_map(|device| std::fs::read_to_string(device.path().join("loop/backing_file")).ok());
        files.filter(|file| file.starts_with(&data)).count()
    };
    assert_eq!(loops(), 8);
    warden.kill();
    crate::scene::eventually("those that nobody has are free", async || loops() == 5).await;
    warden.kill_and_restart().await;
    crate::scene::eventually("there are others", async || ready() == 3).await;
    for handle in &handles {
        assert_eq!(warden.client.limit_disk(handle, Some(9 << 20)).await.unwrap(), 9 << 20);
        warden.client.destroy(handle).await.unwrap();
    }
    warden.end();
    assert_eq!(std::fs::read_dir(warden.path().join("data/warden/disk")).unwrap().count(), 0);
}

/// A filesystem with project quotas for a daemon's data, where the kernel has them; gone when dropped.
struct Quotas {
    mount: tempfile::TempDir,
    image: tempfile::NamedTempFile,
}

impl Quotas {
    /// `Err` with what the kernel says.
    fn mounted() -> Result<Self, String> {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(512 << 20).unwrap();
        let path = image.path().to_str().unwrap();
        crate::scene::output(
            "mkfs.ext4",
            &["-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota", path],
        );
        let mount = tempfile::tempdir().unwrap();
        let done = Command::new("mount")
            .args(["-o", "loop,prjquota"])
            .args([image.path(), mount.path()])
            .output()
            .expect("mount runs");
        match done.status.success() {
            true => Ok(Quotas { mount, image }),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }
}

impl Drop for Quotas {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(self.mount.path()).status();
        if !std::thread::panicking() {
            assert!(
                done.is_ok_and(|status| status.success()),
                "{} is still in use",
                self.image.path().display()
            );
        }
    }
}

/// Where the kernel has project quotas they are used, and hold; where it has none the daemon says so, and uses images.
#[tokio::test]
async fn project_quotas_are_used_where_there_are_any() {
    let quotas = match Quotas::mounted() {
        Ok(quotas) => quotas,
        Err(why) => {
            println!("this kernel has no project quotas: {why}");
            let warden = Warden::start().await;
            assert!(warden.log().contains("method=\"image\""), "{}", warden.log());
            drop(warden);
            let directory = tempfile::tempdir().unwrap();
            let config = directory.path().join("warden.toml");
            let text = format!(
                "data_dir = {:?}\nsocket = {:?}\ndisk = {{ method = \"project\" }}\ninstance = \"t{}\"\n",
                directory.path(),
                directory.path().join("socket"),
                std::process::id()
            );
            std::fs::write(&config, text).unwrap();
            let tried =
                Command::new(env!("CARGO_BIN_EXE_warden")).arg("--config").arg(&config).output().unwrap();
            let said = String::from_utf8_lossy(&tried.stderr).into_owned();
            assert!(!tried.status.success() && said.contains("disk.method"), "{said}");
            return;
        }
    };
    let mut warden = Warden::start_in(quotas.mount.path(), "", "disk = { inodes = 3000 }").await;
    assert!(warden.log().contains("method=\"project\""), "{}", warden.log());
    bytes_hold(&warden).await;
    let before = warden.inventory();
    let handle = warden.container().await;
    let count = files_fit(&warden, &handle).await;
    assert!((2_800..3_000).contains(&count), "{count}");
    let inodes = |count| Some(Limits { disk_inodes: Some(count), ..Default::default() });
    assert_eq!(warden.client.limit(&handle, inodes(1_000)).await.unwrap().disk_inodes, Some(1_000));
    assert!((800..1_000).contains(&files_fit(&warden, &handle).await));
    warden.kill_and_restart().await;
    assert_eq!(warden.client.limit(&handle, None).await.unwrap().disk_inodes, Some(1_000));
    assert_eq!(warden.client.limit(&handle, inodes(5_000)).await.unwrap().disk_inodes, Some(5_000));
    assert!((4_800..5_000).contains(&files_fit(&warden, &handle).await));
    let used = warden.client.info(&handle).await.unwrap().disk_stat.unwrap().inodes_used.unwrap();
    assert!((4_800..=5_000).contains(&used), "{used}");
    warden.client.destroy(&handle).await.unwrap();
    assert_eq!(warden.inventory(), before);
}
