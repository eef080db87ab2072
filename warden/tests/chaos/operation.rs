//! What a client can ask for, and what must be true afterwards, whether it happened or not.

use crate::scene::{eventually, with_usr};
use crate::world::{World, ask, listen, serve};
use std::fs;
use warden_client::message::{CreateRequest, NetOutRequest, SpawnRequest};
use warden_client::{Error, StopMode};

/// The container that something is done to.
pub(crate) const SUBJECT: &str = "subject";

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Spawn,
    NetIn,
    NetOut,
    CopyIn,
    CopyOut,
    LimitMemory,
    LimitCpu,
    LimitDisk,
    Stop,
    Destroy,
}

/// Every operation.
pub(crate) const ALL: [Operation; 11] = [
    Operation::Create,
    Operation::Spawn,
    Operation::NetIn,
    Operation::NetOut,
    Operation::CopyIn,
    Operation::CopyOut,
    Operation::LimitMemory,
    Operation::LimitCpu,
    Operation::LimitDisk,
    Operation::Stop,
    Operation::Destroy,
];

/// A limit that an operation sets.
const MEMORY: u64 = 96 << 20;
const SHARES: u64 = 300;
const DISK: u64 = 24 << 20;

impl Operation {
    /// Makes what the operation needs.
    pub(crate) async fn prepare(self, world: &World) {
        let warden = &world.warden;
        if self == Operation::Create {
            return;
        }
        warden.create(request()).await;
        match self {
            Operation::NetIn => listen(warden, SUBJECT).await,
            Operation::CopyIn => fs::write(warden.path().join("in"), "content").unwrap(),
            Operation::CopyOut => {
                warden.say(SUBJECT, "echo content >/tmp/out").await;
            }
            Operation::Stop => {
                warden.spawn(SUBJECT, "sleep 1000").await;
            }
            Operation::Destroy => {
                serve(warden, SUBJECT).await;
                warden.spawn(SUBJECT, "sleep 1000").await;
            }
            _ => (),
        }
    }

    /// Asks for it.
    pub(crate) async fn act(self, world: &World) -> Result<(), Error> {
        let client = &world.warden.client;
        let path = |name: &str| world.warden.path().join(name).display().to_string();
        match self {
            Operation::Create => client.create(with_usr(request())).await.map(drop),
            Operation::Spawn => {
                let script = "echo ran >>/tmp/ran".to_owned();
                let handle = SUBJECT.to_owned();
                client.spawn(SpawnRequest { handle, script, ..Default::default() }).await.map(drop)
            }
            Operation::NetIn => client.net_in(SUBJECT, None, Some(8080)).await.map(drop),
            Operation::NetOut => client.net_out(out()).await,
            Operation::CopyIn => client.copy_in(SUBJECT, &path("in"), "/tmp/in").await,
            Operation::CopyOut => client.copy_out(SUBJECT, "/tmp/out", &path("out"), None).await,
            Operation::LimitMemory => client.limit_memory(SUBJECT, Some(MEMORY)).await.map(drop),
            Operation::LimitCpu => client.limit_cpu(SUBJECT, Some(SHARES)).await.map(drop),
            Operation::LimitDisk => client.limit_disk(SUBJECT, Some(DISK)).await.map(drop),
            Operation::Stop => client.stop(SUBJECT, StopMode::Graceful).await,
            Operation::Destroy => client.destroy(SUBJECT).await,
        }
    }

    /// It has happened or it has not, and never half; one that was acknowledged has. What is left of the subject is
    /// then destroyed.
    pub(crate) async fn check(self, world: &World, acknowledged: bool, what: &str) {
        let warden = &world.warden;
        let there = warden.client.list().await.unwrap().iter().any(|handle| handle == SUBJECT);
        match self {
            Operation::Create => assert!(there || !acknowledged, "{what}: a container that was made is lost"),
            Operation::Destroy => assert!(!there || !acknowledged, "{what}: the container is still there"),
            _ => assert!(there, "{what}: the container is lost"),
        }
        if !there {
            return;
        }
        let info = warden.client.info(SUBJECT).await.unwrap();
        let state = info.state.clone().unwrap_or_default();
        match self {
            Operation::Stop if state == "stopped" => {
                assert!(info.job_ids.is_empty(), "{what}: a stopped container has jobs: {:?}", info.job_ids);
                assert!(info.processes.is_none_or(|count| count <= 1), "{what}: {:?}", info.processes);
            }
            Operation::Stop => {
                assert!(!acknowledged, "{what}: it is not stopped");
                self.works(world, what).await;
            }
            _ => {
                assert_eq!(state, "active", "{what}");
                self.works(world, what).await;
            }
        }
        self.effect(world, acknowledged, what).await;
        warden
            .client
            .destroy(SUBJECT)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}\n{}", warden.log()));
    }

    async fn works(self, world: &World, what: &str) {
        assert_eq!(world.warden.say(SUBJECT, "echo works").await, "works", "{what}");
    }

    async fn effect(self, world: &World, acknowledged: bool, what: &str) {
        let warden = &world.warden;
        match self {
            Operation::Spawn => {
                // It may be running yet; a result that was not asked for is kept.
                eventually("jobs have ended", async || {
                    warden.client.info(SUBJECT).await.unwrap().job_ids.is_empty()
                })
                .await;
                let times = warden.say(SUBJECT, "cat /tmp/ran 2>/dev/null | wc -l").await;
                let allowed: &[&str] = if acknowledged { &["1"] } else { &["0", "1"] };
                assert!(allowed.contains(&times.as_str()), "{what}: the job ran {times} times");
            }
            Operation::NetIn => {
                let info = warden.client.info(SUBJECT).await.unwrap();
                assert!(!info.ports.is_empty() || !acknowledged, "{what}: no port");
                for port in &info.ports {
                    let port = port.split(':').next().unwrap().parse().unwrap();
                    let said = ask(info.host_ip.as_deref().unwrap(), port);
                    assert_eq!(said, "inside", "{what}: port {port}");
                }
                self.again(world, what).await;
            }
            Operation::NetOut => self.again(world, what).await,
            Operation::CopyIn => {
                if acknowledged {
                    assert_eq!(warden.say(SUBJECT, "cat /tmp/in").await, "content", "{what}");
                }
                self.again(world, what).await;
                assert_eq!(warden.say(SUBJECT, "cat /tmp/in").await, "content", "{what}: copied again");
            }
            Operation::CopyOut => {
                let out = warden.path().join("out");
                if acknowledged {
                    assert_eq!(fs::read_to_string(&out).unwrap(), "content\n", "{what}");
                }
                self.again(world, what).await;
                assert_eq!(fs::read_to_string(&out).unwrap(), "content\n", "{what}: copied again");
                fs::remove_file(out).unwrap();
            }
            Operation::LimitMemory => {
                let said = warden.client.limit_memory(SUBJECT, None).await.unwrap();
                assert!(said == MEMORY || (said > MEMORY && !acknowledged), "{what}: {said}");
                let real = world.cgroup_number(SUBJECT, &["memory.limit_in_bytes", "memory.max"]).await;
                assert_eq!(
                    real == Some(MEMORY),
                    said == MEMORY,
                    "{what}: it says {said}, and it is {real:?}"
                );
            }
            Operation::LimitCpu => {
                let said = warden.client.limit_cpu(SUBJECT, None).await.unwrap();
                assert!(said == SHARES || !acknowledged, "{what}: {said}");
                let real = world.cgroup_number(SUBJECT, &["cpu.shares", "cpu.weight"]).await.unwrap();
                let untouched = [1_024, 100].contains(&real);
                assert_eq!(untouched, said != SHARES, "{what}: it says {said}, and it is {real}");
            }
            Operation::LimitDisk => {
                let said = warden.client.limit_disk(SUBJECT, None).await.unwrap();
                assert!(said == DISK || (said > DISK && !acknowledged), "{what}: {said}");
                let wrote = warden.run(SUBJECT, "head -c 48m /dev/zero >/tmp/big").await;
                let wrote = wrote.exit_status == Some(0);
                assert_eq!(!wrote, said == DISK, "{what}: it says {said}, and 48 MiB went in: {wrote}");
            }
            Operation::Stop => {
                let info = warden.client.info(SUBJECT).await.unwrap();
                if info.state.as_deref() == Some("active") {
                    warden.client.stop(SUBJECT, StopMode::Kill).await.unwrap();
                }
            }
            Operation::Destroy => {
                let jobs = warden.client.info(SUBJECT).await.unwrap().job_ids;
                assert!(
                    !jobs.is_empty(),
                    "{what}: a container whose destruction has not begun lost its jobs"
                );
            }
            Operation::Create => (),
        }
    }

    /// What was cut off can be done again.
    async fn again(self, world: &World, what: &str) {
        self.act(world)
            .await
            .unwrap_or_else(|error| panic!("{what}, again: {error}\n{}", world.warden.log()));
    }
}

impl World {
    /// A number in a container's cgroup, of whichever of the files there is.
    pub(crate) async fn cgroup_number(&self, handle: &str, files: &[&str]) -> Option<u64> {
        let path = self.warden.client.info(handle).await.unwrap().container_path.unwrap();
        let id = std::path::Path::new(&path).file_name().unwrap().to_owned();
        let found = self.warden.cgroups();
        let ours = found.iter().filter(|directory| directory.file_name() == Some(&id));
        let text = ours.flat_map(|directory| files.iter().map(move |file| directory.join(file)));
        let text = text.filter_map(|path| fs::read_to_string(path).ok()).next()?;
        text.trim().parse().ok()
    }
}

/// The subject as it is asked for.
fn request() -> CreateRequest {
    CreateRequest { handle: Some(SUBJECT.into()), ..Default::default() }
}

fn out() -> NetOutRequest {
    NetOutRequest {
        handle: SUBJECT.into(),
        network: Some("192.0.2.0/24".into()),
        port: Some(443),
        ..Default::default()
    }
}
