//! Every message comes back as it went, and no bytes make a reader panic.

use super::*;
use proptest::prelude::*;

fn path() -> impl Strategy<Value = PathBuf> {
    // Paths are bytes: not every one is UTF-8.
    prop::collection::vec(1u8.., 0..12).prop_map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..12)
}

fn layer() -> impl Strategy<Value = Layer> {
    prop_oneof![path().prop_map(Layer::Directory), path().prop_map(Layer::Erofs)]
}

fn bind() -> impl Strategy<Value = Bind> {
    let owner = proptest::option::of((any::<u32>(), any::<u32>()));
    (path(), path(), any::<bool>(), owner).prop_map(|(source, target, read_only, owner)| Bind {
        source,
        target,
        read_only,
        owner,
    })
}

fn plan() -> impl Strategy<Value = ContainerPlan> {
    let cgroup = prop_oneof![
        path().prop_map(|dir| CgroupEntry::V2 { dir }),
        prop::collection::vec(path(), 0..4).prop_map(|tasks| CgroupEntry::V1 { tasks }),
    ];
    let upper = prop_oneof![
        path().prop_map(|device| Upper::Ext4 { device }),
        path().prop_map(Upper::Directory),
        Just(Upper::Mounted),
        Just(Upper::None)
    ];
    let user = (".{0,8}", any::<u32>(), any::<u32>(), path()).prop_map(|(name, uid, gid, home)| UserSpec {
        name,
        uid,
        gid,
        home,
    });
    let names = (".{0,12}", ".{0,12}", path(), any::<u32>());
    let lists = (
        prop::collection::vec(layer(), 0..4),
        prop::collection::vec(bind(), 0..4),
        prop::collection::vec((path(), bytes()), 0..4),
        prop::collection::vec(
            (".{0,8}", path()).prop_map(|(name, source)| CgroupView { name, source }),
            0..4,
        ),
    );
    (names, cgroup, lists, upper, any::<(u64, u64, u64)>(), user).prop_map(
        |(names, cgroup, lists, upper, sizes, user)| {
            let (id, hostname, depot, uid_base) = names;
            let (lowers, binds, files, views) = lists;
            let (shm_bytes, run_bytes, tmpfs_inodes) = sizes;
            ContainerPlan {
                id,
                hostname,
                depot,
                uid_base,
                cgroup,
                lowers,
                upper,
                binds,
                shm_bytes,
                run_bytes,
                tmpfs_inodes,
                views,
                files,
                user,
            }
        },
    )
}

fn job_user() -> impl Strategy<Value = JobUser> {
    prop_oneof![
        Just(JobUser::Root),
        Just(JobUser::Vcap),
        any::<(u32, u32)>().prop_map(|(uid, gid)| JobUser::Ids { uid, gid }),
    ]
}

fn job_spec() -> impl Strategy<Value = JobSpec> {
    let output = prop_oneof![
        any::<u64>().prop_map(|bytes| OutputMode::Limit { bytes }),
        any::<u64>().prop_map(|bytes| OutputMode::Ring { bytes }),
        Just(OutputMode::Discard),
    ];
    let rlimit = any::<(u32, u64, u64)>().prop_map(|(resource, soft, hard)| Rlimit { resource, soft, hard });
    let lists = (
        prop::collection::vec(bytes(), 0..4),
        prop::collection::vec((bytes(), bytes()), 0..4),
        prop::collection::vec(rlimit, 0..4),
    );
    let stdio = prop_oneof![
        Just(Stdio::Spool),
        Just(Stdio::Input),
        window().prop_map(Stdio::Terminal),
        Just(Stdio::Given),
    ];
    let named = prop::option::of((bytes(), prop::option::of(bytes())));
    let named = named.prop_map(|named| named.map(|(user, group)| NamedUser { user, group }));
    (any::<u64>(), lists, path(), job_user(), output, any::<bool>(), stdio, named).prop_map(
        |(id, (argv, env, rlimits), cwd, user, output, shell, stdio, named)| JobSpec {
            id,
            argv,
            env,
            cwd,
            user,
            rlimits,
            output,
            shell,
            stdio,
            named,
        },
    )
}

fn window() -> impl Strategy<Value = Window> {
    any::<(u16, u16)>().prop_map(|(columns, rows)| Window { columns, rows })
}

fn job_end() -> impl Strategy<Value = JobEnd> {
    let exit = prop_oneof![any::<u8>().prop_map(Exit::Code), any::<u8>().prop_map(Exit::Signal)];
    (exit, any::<(bool, u64, u64)>()).prop_map(|(exit, (output_limit, offset, peak_bytes))| JobEnd {
        exit,
        output_limit,
        offset,
        peak_bytes,
    })
}

fn job_state() -> impl Strategy<Value = JobState> {
    (any::<(u64, i32, u64)>(), prop::option::of(job_end())).prop_map(|((id, pid, offset), end)| JobState {
        id,
        pid,
        offset,
        end,
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    (".{0,12}", path(), any::<i32>()).prop_map(|(step, path, errno)| Failure { step, path, errno })
}

fn request() -> impl Strategy<Value = InitRequest> {
    let target = prop_oneof![any::<u64>().prop_map(Target::Job), Just(Target::All)];
    prop_oneof![
        Just(InitRequest::Hello),
        job_spec().prop_map(InitRequest::Run),
        (target, any::<i32>()).prop_map(|(target, signal)| InitRequest::Signal { target, signal }),
        Just(InitRequest::Jobs),
        any::<u64>().prop_map(InitRequest::Forget),
        Just(InitRequest::Subscribe),
        (path(), job_user()).prop_map(|(dir, user)| InitRequest::Unpack { dir, user }),
        (path(), job_user()).prop_map(|(path, user)| InitRequest::Pack { path, user }),
        any::<u64>().prop_map(InitRequest::Input),
        any::<u64>().prop_map(InitRequest::EndInput),
        (any::<u64>(), window()).prop_map(|(job, window)| InitRequest::Resize { job, window }),
    ]
}

fn reply() -> impl Strategy<Value = InitReply> {
    prop_oneof![
        any::<u32>().prop_map(|version| InitReply::Hello { version }),
        any::<i32>().prop_map(|pid| InitReply::Started { pid }),
        Just(InitReply::Done),
        prop::collection::vec(job_state(), 0..4).prop_map(InitReply::Jobs),
        failure().prop_map(InitReply::Failed),
        any::<(u64, u64)>().prop_map(|(job, offset)| InitReply::Event(Event::Output { job, offset })),
        (any::<u64>(), job_end()).prop_map(|(job, end)| InitReply::Event(Event::Ended { job, end })),
        any::<bool>().prop_map(|terminal| InitReply::Input { terminal }),
    ]
}

fn spawn_reply() -> impl Strategy<Value = SpawnReply> {
    let outcome = prop_oneof![
        any::<i32>().prop_map(|pid| SpawnOutcome::Spawned { pid }),
        failure().prop_map(SpawnOutcome::Failed)
    ];
    (any::<u64>(), outcome).prop_map(|(number, outcome)| SpawnReply { number, outcome })
}

/// A value comes back, and neither a shorter nor a longer row of bytes is taken for it.
fn there_and_back<T: Wire + PartialEq + std::fmt::Debug>(value: &T) -> Result<(), TestCaseError> {
    let mut bytes = value.encode();
    prop_assert_eq!(&T::decode(&bytes).unwrap(), value);
    for length in 0..bytes.len() {
        prop_assert!(T::decode(&bytes[..length]).is_err(), "cut to {}", length);
    }
    bytes.push(0);
    prop_assert!(T::decode(&bytes).is_err());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn messages_come_back(plan in plan(), request in request(), reply in reply(), spawned in spawn_reply()) {
        there_and_back(&plan)?;
        there_and_back(&request)?;
        there_and_back(&reply)?;
        there_and_back(&spawned)?;
    }

    #[test]
    fn status_files_come_back(end in job_end()) {
        prop_assert_eq!(JobEnd::from_text(&end.to_text()), Ok(end));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,60}") {
        let _ = ContainerPlan::decode(&bytes);
        let _ = InitRequest::decode(&bytes);
        let _ = InitReply::decode(&bytes);
        let _ = SpawnReply::decode(&bytes);
        let _ = JobEnd::from_text(&text);
    }
}

#[test]
fn a_large_count_reserves_nothing() {
    // Kind "jobs", then a count of four thousand million and no job.
    assert_eq!(InitReply::decode(&[3, 255, 255, 255, 255]), Err(Malformed("32-bit number")));
}

#[test]
fn a_failure_says_what_and_why() {
    let failure = Failure::new("mount the image", "/store/x", libc::ENOENT);
    assert_eq!(failure.to_string(), "mount the image (/store/x): No such file or directory (os error 2)");
    assert_eq!(
        Failure::new("fork", "", libc::EAGAIN).to_string(),
        "fork: Resource temporarily unavailable (os error 11)"
    );
}

#[test]
fn an_init_of_version_1_reads_what_it_knows() {
    let spec = JobSpec {
        id: 7,
        argv: vec![b"sh".to_vec()],
        env: vec![(b"A".to_vec(), b"b".to_vec())],
        cwd: "/".into(),
        user: JobUser::Vcap,
        rlimits: vec![Rlimit { resource: 1, soft: 2, hard: 3 }],
        output: OutputMode::Discard,
        shell: true,
        stdio: Stdio::Input,
        named: None,
    };
    // Kind "run"; id; one word; one pair; directory; user; one limit of 4 + 8 + 8 bytes; output. Nothing more.
    let mut bytes = vec![1, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, b's', b'h'];
    bytes.extend([1, 0, 0, 0, 1, 0, 0, 0, b'A', 1, 0, 0, 0, b'b', 1, 0, 0, 0, b'/', 1, 1, 0, 0, 0]);
    bytes.extend([1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(InitRequest::run_1(&spec), bytes);
}
