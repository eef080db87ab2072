//! The root's layers: EROFS images shared by containers, a writable layer of its own size.

use crate::container::{Container, draft};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use warden::wire::{CgroupEntry, JobUser, Layer, Upper};

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{program} cannot be run ({error}): run `make test`, which installs it")
    });
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn image(directory: &Path, name: &str, file: &str) -> std::path::PathBuf {
    let tree = directory.join(format!("{name}.tree"));
    fs::create_dir_all(tree.join("opt")).unwrap();
    fs::write(tree.join("opt").join(file), name).unwrap();
    let image = directory.join(format!("{name}.erofs"));
    run("mkfs.erofs", &["-zlz4", image.to_str().unwrap(), tree.to_str().unwrap()]);
    image
}

#[test]
fn images_are_layers_and_belong_to_the_containers_root() {
    let images = tempfile::tempdir().unwrap();
    let (one, two) = (image(images.path(), "one", "same"), image(images.path(), "two", "same"));
    let build = || -> Container {
        let mut draft = draft();
        draft.plan.lowers.insert(0, Layer::Erofs(two.clone()));
        draft.plan.lowers.insert(0, Layer::Erofs(one.clone()));
        draft.build().unwrap()
    };
    let (a, b) = (build(), build());
    for container in [&a, &b] {
        let (out, err, _) =
            container.sh(JobUser::Root, "cat /opt/same; stat -c ' %u:%g' /opt/same; rm /opt/same");
        assert_eq!(out, "one 0:0\n", "{err}");
    }
    // An image that is replaced is seen as it is now by the next container.
    fs::remove_file(&one).unwrap();
    image(images.path(), "one", "new");
    assert_eq!(build().sh(JobUser::Vcap, "cat /opt/new").0, "one");
}

#[test]
fn an_ext4_image_bounds_what_is_written() {
    let mut draft = draft();
    let path = draft.directory.path().join("upper.ext4");
    File::create(&path).unwrap().set_len(64 << 20).unwrap();
    run("mkfs.ext4", &["-q", "-O", "^has_journal", path.to_str().unwrap()]);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let device =
        warden::sys::loopdev::attach(std::os::fd::AsFd::as_fd(&file), false, b"warden-inside-test").unwrap();
    draft.plan.upper = Upper::Ext4 { device: device.path.clone() };
    let container = draft.build().unwrap();
    drop(device);
    let (out, _, _) = container.sh(JobUser::Vcap, "dd if=/dev/zero of=/tmp/full bs=1M count=200 2>&1");
    assert!(out.contains("No space left"), "{out}");
    assert_eq!(container.sh(JobUser::Vcap, "rm /tmp/full; echo x > /tmp/y; cat /tmp/y").0, "x\n");
}

#[test]
fn the_ordinary_user_of_the_image_is_kept() {
    let draft = draft();
    let Layer::Directory(root) = &draft.plan.lowers[0] else { unreachable!() };
    fs::write(root.join("etc/passwd"), "vcap:x:2000:2001::/srv/app:/bin/sh\n").unwrap();
    let container = draft.build().unwrap();
    let (out, err, _) = container.sh(JobUser::Vcap, "id -u; id -g; stat -c %u /srv/app");
    assert_eq!(out, "2000\n2001\n2000\n", "{err}");
}

#[test]
fn a_layer_that_is_missing_is_named() {
    for layer in [Layer::Directory("/no/such".into()), Layer::Erofs("/no/such".into())] {
        let mut draft = draft();
        draft.plan.lowers = vec![layer];
        let error = draft.build().map(|_| ()).unwrap_err();
        assert_eq!((error.path.as_path(), error.errno), (Path::new("/no/such"), 2), "{error}");
    }
    let mut draft = draft();
    let bad = draft.directory.path().join("bad.erofs");
    fs::write(&bad, vec![7; 8192]).unwrap();
    draft.plan.lowers = vec![Layer::Erofs(bad)];
    assert_eq!(draft.build().map(|_| ()).unwrap_err().step, "mount the image");
}

#[test]
fn a_container_starts_in_a_cgroup_of_version_2() {
    let mut draft = draft();
    let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    let root =
        root.into_iter().find(|path| path.join("cgroup.procs").exists()).expect("cgroup v2 is mounted");
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
    let directory = root.join(own).join(format!("cupola-{}-v2", draft.plan.id));
    fs::create_dir(&directory).unwrap();
    draft.plan.cgroup = CgroupEntry::V2 { dir: directory.clone() };
    draft.cgroups.push(directory.clone());
    let container = draft.build().unwrap();
    let inside = fs::read_to_string(directory.join("cgroup.procs")).unwrap();
    assert_eq!(inside, format!("{}\n", container.spawned.pid));
    let (out, _, _) = container.sh(JobUser::Vcap, "grep ^0:: /proc/self/cgroup");
    assert_eq!(out, "0::/\n");
}

/// Prints what a start costs; asserts only what no machine should miss.
#[test]
fn starting_is_quick() {
    let mut times = Vec::new();
    for _ in 0..20 {
        let draft = draft();
        let netns = crate::container::network();
        let begin = Instant::now();
        let container = draft.build_in(netns).unwrap();
        times.push(begin.elapsed());
        let begin = Instant::now();
        container.sh(JobUser::Vcap, ":");
        let job = begin.elapsed();
        if times.len() == 20 {
            times.sort();
            eprintln!("create to ready: median {:?}, worst {:?}; last job {job:?}", times[10], times[19]);
        }
    }
    assert!(times[10].as_millis() < 1000);
}
