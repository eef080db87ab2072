//! What processes inside can and cannot do, tried from inside.

use crate::container::{container, draft, ended, job};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use warden::wire::{Bind, JobUser, Layer};

/// Inode numbers of the host's namespaces.
fn host_namespaces() -> String {
    let kinds = ["pid", "mnt", "net", "ipc", "uts", "user", "cgroup"];
    let inode = |kind| fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino().to_string();
    kinds.map(inode).join(",")
}

fn probe(user: JobUser) {
    let mut draft = draft();
    draft.plan.files.push(("/probes.py".into(), include_bytes!("probes.py").to_vec()));
    let container = draft.build().unwrap();
    let (out, err, end) =
        container.command(user, &["python3", "/probes.py", "inside", &host_namespaces(), "warden-inside-"]);
    let holes: Vec<&str> = out.lines().filter(|line| line.starts_with("HOLE")).collect();
    assert!(holes.is_empty(), "{}", holes.join("\n"));
    assert!(out.ends_with("end\n"), "the probes did not reach their end ({:?}): {err}", end.exit);
    let passed = out.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(passed > 250, "only {passed} probes ran");
}

#[test]
fn probes_as_the_ordinary_user() {
    probe(JobUser::Vcap);
}

#[test]
fn probes_as_root() {
    probe(JobUser::Root);
}

#[test]
fn two_containers_share_no_namespace_and_no_uid() {
    let (one, two) = (container(), container());
    let script = "for n in pid mnt net ipc uts user cgroup; do readlink /proc/self/ns/$n; done";
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = (lines(one.sh(JobUser::Vcap, script).0), lines(two.sh(JobUser::Vcap, script).0));
    assert_eq!((a.len(), b.len()), (7, 7));
    assert!(a.iter().all(|namespace| !b.contains(namespace)), "{a:?} {b:?}");
    assert!(one.plan.uid_base.abs_diff(two.plan.uid_base) >= 65_536);
}

#[test]
fn the_host_sees_the_containers_own_uids() {
    let container = container();
    let (_, err, _) = container.sh(JobUser::Vcap, "touch /tmp/mine");
    assert_eq!(err, "");
    container.sh(JobUser::Root, "touch /root-made; chmod 4755 /root-made");
    let upper = container.depot().parent().unwrap().join("upper/upper");
    let base = container.plan.uid_base;
    assert_eq!(fs::metadata(upper.join("tmp/mine")).unwrap().uid(), base + 1000);
    assert_eq!(fs::metadata(upper.join("root-made")).unwrap().uid(), base);
    let init = fs::metadata(format!("/proc/{}", container.spawned.pid)).unwrap();
    assert!(init.uid() == base || init.uid() == 0, "the init is not root of the host: {}", init.uid());
    let status = fs::read_to_string(format!("/proc/{}/status", container.spawned.pid)).unwrap();
    assert!(status.contains(&format!("Uid:\t{base}\t{base}\t{base}\t{base}\n")), "{status}");
}

#[test]
fn mounts_of_a_container_are_not_seen_outside() {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let container = container();
    assert_eq!(container.sh(JobUser::Vcap, "echo up").0, "up\n");
    let now = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours: Vec<&str> =
        now.lines().filter(|line| line.contains("warden-inside") || line.contains("overlay")).collect();
    let was: Vec<&str> =
        before.lines().filter(|line| line.contains("warden-inside") || line.contains("overlay")).collect();
    assert_eq!(ours, was);
}

#[test]
fn a_set_uid_program_gives_nothing() {
    let container = container();
    container.sh(JobUser::Root, "cp /usr/bin/id /home/vcap/id; chmod 4755 /home/vcap/id");
    assert_eq!(container.sh(JobUser::Vcap, "/home/vcap/id -u").0, "1000\n");
}

#[test]
fn a_working_directory_cannot_be_a_descriptor_of_the_init() {
    let container = container();
    for fd in 3..20 {
        for user in [JobUser::Root, JobUser::Vcap] {
            let mut job = job(&["/bin/pwd"], user);
            job.cwd = format!("/proc/self/fd/{fd}").into();
            let failure = container.client.run(&job, None).unwrap_err();
            assert_eq!(failure.step, "enter the working directory");
        }
    }
}

#[test]
fn an_image_whose_proc_or_dev_is_a_link_is_refused() {
    for name in ["proc", "dev", "run", "tmp"] {
        let draft = draft();
        let outside = draft.directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let Layer::Directory(root) = &draft.plan.lowers[0] else { unreachable!() };
        symlink(format!("../../..{}", outside.display()), root.join(name)).unwrap();
        let kept = draft.directory.path().to_owned();
        let error = match draft.build() {
            Ok(_) => panic!("an image with a link at /{name} was taken"),
            Err(error) => error,
        };
        assert_eq!(error.step, "find a real directory in the root", "{error}");
        assert!(!kept.join("outside/null").exists() && !kept.join("outside/shm").exists());
    }
}

#[test]
fn a_bind_target_that_is_a_link_stays_in_the_root() {
    let mut draft = draft();
    let shown = draft.directory.path().join("shown");
    let victim = draft.directory.path().join("victim");
    fs::create_dir(&shown).unwrap();
    fs::create_dir(&victim).unwrap();
    fs::write(shown.join("file"), "contents").unwrap();
    let Layer::Directory(root) = &draft.plan.lowers[0] else { unreachable!() };
    symlink(&victim, root.join("link")).unwrap();
    draft.plan.binds.push(Bind { source: shown.clone(), target: "/link/deep/place".into(), read_only: true });
    draft.plan.binds.push(Bind {
        source: shown.join("file"),
        target: "/etc/one-file".into(),
        read_only: true,
    });
    for directory in [draft.directory.path(), &shown] {
        fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    // The link leads to a path that the container does not have: it is made inside, or refused, but never outside.
    match draft.build() {
        Ok(container) => {
            assert_eq!(container.sh(JobUser::Vcap, "cat /etc/one-file").0, "contents");
            assert!(container.sh(JobUser::Root, "echo x > /etc/one-file").1.contains("Read-only"));
        }
        Err(error) => assert_eq!(error.step, "make the target of a bind mount", "{error}"),
    }
}

#[test]
fn a_failed_start_leaves_nothing() {
    let mut draft = draft();
    draft.plan.binds.push(Bind { source: "/no/such/path".into(), target: "/x".into(), read_only: true });
    let id = draft.plan.id.clone();
    let error = draft.build().map(|_| ()).unwrap_err();
    assert_eq!((error.step.as_str(), error.errno), ("open the source of a bind mount", 2));
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let cgroup = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        assert!(!cgroup.contains(&id), "a process is left: {}", entry.path().display());
    }
}

#[test]
fn the_init_survives_what_jobs_do_to_it() {
    let container = container();
    let script = "kill -9 1; kill -TERM 1; kill -STOP 1; kill -9 -1; true";
    for user in [JobUser::Root, JobUser::Vcap] {
        let job = job(&["/bin/sh", "-c", script], user);
        let (_, mut events) = container.client.subscribe().unwrap();
        container.client.run(&job, None).unwrap();
        ended(&mut events, job.id);
    }
    assert_eq!(container.sh(JobUser::Vcap, "echo alive").0, "alive\n");
}
