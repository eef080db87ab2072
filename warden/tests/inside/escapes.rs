//! Ways out that engines have left open before, and what the host sees of a container.

use crate::container::{container, draft, ended, job};
use nix::unistd::pipe;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use warden::wire::{CgroupEntry, JobUser};

/// CVE-2024-21626: a path through a descriptor that the engine forgot to close.
#[test]
fn a_path_through_the_inits_descriptors_leads_nowhere() {
    let container = container();
    for fd in 3..20 {
        for user in [JobUser::Root, JobUser::Vcap] {
            let mut job = job(&["/bin/pwd"], user);
            job.cwd = format!("/proc/self/fd/{fd}").into();
            let failure = container.client.run(&job, None).unwrap_err();
            assert_eq!(failure.step, "enter the working directory");
        }
        let (reading, writing) = pipe().unwrap();
        let path = format!("/proc/self/fd/{fd}/");
        let transfer = container.client.pack(Path::new(&path), JobUser::Root, writing).unwrap();
        File::from(reading).read_to_end(&mut Vec::new()).unwrap();
        assert!(transfer.finish().is_err(), "{path} was packed");
    }
}

#[test]
fn mounts_of_a_container_are_not_seen_outside() {
    let mounts = || {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = text.lines().filter(|line| line.contains("warden-inside") || line.contains("overlay"));
        ours.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = mounts();
    let container = container();
    assert_eq!(container.sh(JobUser::Vcap, "grep -c overlay /proc/self/mountinfo").0, "1\n");
    assert_eq!(mounts(), before);
}

#[test]
fn the_init_survives_what_jobs_do_to_it() {
    let container = container();
    for user in [JobUser::Root, JobUser::Vcap] {
        let job = job(&["/bin/sh", "-c", "kill -9 1; kill -TERM 1; kill -STOP 1; kill -9 -1; true"], user);
        let (_, mut events) = container.client.subscribe().unwrap();
        container.client.run(&job, None).unwrap();
        ended(&mut events, job.id);
    }
    assert_eq!(container.sh(JobUser::Vcap, "echo alive").0, "alive\n");
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
    assert_eq!(container.sh(JobUser::Vcap, "grep ^0:: /proc/self/cgroup").0, "0::/\n");
}
