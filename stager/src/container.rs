//! The container of one staging.

use crate::{
    failure::{Failure, Phase},
    log::Follower,
};
use cupola_protocol::{Mebibytes, dea::EgressRule, logs::Stream};
use std::{path::Path, time::Duration};
use tokio::time::timeout;
use warden_client::{
    Client, Error, Name, Output,
    message::{
        CreateRequest, InfoResponse, NetOutRequest, Protocol, ResourceLimits, RunRequest, SpawnRequest,
    },
};

/// Seconds without any call after which the warden destroys the container by itself: a stager that is gone for so long
/// does not come back for it. Between two calls lies at most an upload.
const GRACE_SECONDS: u32 = 1800;

/// Output that the warden keeps of a job while nobody reads it.
const OUTPUT_RING_BYTES: u64 = 4 << 20;

/// How often a broken stream of output is taken up again.
const RECONNECTS: u32 = 10;

/// How long making or destroying a container may take before something must be wrong with the warden.
const LIFE_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause between two tries to destroy a container.
const DESTROY_PAUSE: Duration = Duration::from_secs(1);

/// How often destroying is tried; after that the container is left to its grace time and to our next start.
const DESTROY_TRIES: u32 = 5;

/// What a container may use.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) memory: Mebibytes,
    pub(crate) disk: Mebibytes,
    pub(crate) cpu_shares: u64,
    pub(crate) processes: u64,
}

/// A container; whoever makes one destroys it.
#[derive(Debug)]
pub(crate) struct Container {
    warden: Client,
    handle: String,
    processes: u64,
}

/// How a job ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status; 255 after a signal.
    pub(crate) status: i32,
    /// Whether the kernel has killed something in the container for lack of memory.
    pub(crate) out_of_memory: bool,
}

impl Container {
    /// Makes the container; after a failure nothing of it is left.
    pub(crate) async fn create(
        warden: Client,
        handle: String,
        rootfs: &Path,
        limits: &Limits,
        egress: &[EgressRule],
    ) -> Result<Self, Failure> {
        let request = CreateRequest {
            handle: Some(handle.clone()),
            rootfs: Some(rootfs.to_string_lossy().into_owned()),
            disk_bytes: Some(limits.disk.bytes().0),
            grace_time: Some(GRACE_SECONDS),
            ..CreateRequest::default()
        };
        let container = Self { warden, handle, processes: limits.processes };
        let failure = match timeout(LIFE_TIMEOUT, container.set_up(request, limits, egress)).await {
            Ok(Ok(())) => return Ok(container),
            Ok(Err(error)) => Failure::internal(Phase::Create)(error),
            Err(late) => Failure::internal(Phase::Create)(late),
        };
        container.destroy().await;
        Err(failure)
    }

    async fn set_up(
        &self,
        request: CreateRequest,
        limits: &Limits,
        egress: &[EgressRule],
    ) -> Result<(), Error> {
        self.warden.create(request).await?;
        self.warden.limit_memory(&self.handle, Some(limits.memory.bytes().0)).await?;
        self.warden.limit_cpu(&self.handle, Some(limits.cpu_shares)).await?;
        for request in egress.iter().flat_map(|rule| net_out(&self.handle, rule)) {
            self.warden.net_out(request).await?;
        }
        Ok(())
    }

    /// Copies what is in the directory `source` of the host into the directory `target`.
    pub(crate) async fn copy_in(&self, source: &Path, target: &str) -> Result<(), Error> {
        self.warden.copy_in(&self.handle, &format!("{}/", source.display()), target).await
    }

    /// Copies what is in the directory `source` into the directory `target` of the host, for this process's user.
    pub(crate) async fn copy_out(&self, source: &str, target: &Path) -> Result<(), Error> {
        let owner = owner();
        self.warden
            .copy_out(&self.handle, &format!("{source}/"), &target.display().to_string(), Some(&owner))
            .await
    }

    /// Runs a script to its end and gives what it printed on standard output.
    pub(crate) async fn run(&self, script: &str, env: &[String]) -> Result<(Ended, String), Error> {
        let ran = self.warden.run(RunRequest::from(self.job(script, env))).await?;
        let ended = self.ended(ran.exit_status.unwrap_or(255), ran.info).await;
        Ok((ended, ran.stdout.unwrap_or_default()))
    }

    /// Runs a script to its end and hands its output on as it comes. A warden that is restarted meanwhile is waited for.
    pub(crate) async fn follow(
        &self,
        script: &str,
        env: &[String],
        follower: &mut Follower<'_>,
    ) -> Result<Ended, Error> {
        let spawn = SpawnRequest { output_ring_bytes: Some(OUTPUT_RING_BYTES), ..self.job(script, env) };
        let job = self.warden.spawn(spawn).await?;
        let mut stream = self.warden.stream(&self.handle, job, None).await?;
        let mut reconnects = 0;
        loop {
            match stream.next().await {
                Ok(Some(Output::Data { name, bytes, .. })) => {
                    let name = if name == Name::Stderr { Stream::Err } else { Stream::Out };
                    follower.push(name, &bytes).await;
                }
                Ok(Some(Output::Exited { status, info })) => return Ok(self.ended(status, *info).await),
                Ok(None) => return Ok(self.ended(255, None).await),
                Err(error) if error.is_disconnected() && reconnects < RECONNECTS => {
                    reconnects += 1;
                    tracing::warn!(handle = self.handle, %error, "the output of a staging broke off and is taken up again");
                    stream = self.warden.stream(&self.handle, job, Some(stream.offset())).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn job(&self, script: &str, env: &[String]) -> SpawnRequest {
        SpawnRequest {
            handle: self.handle.clone(),
            script: script.to_owned(),
            env: env.to_vec(),
            rlimits: Some(ResourceLimits { nproc: Some(self.processes), ..ResourceLimits::default() }),
            ..SpawnRequest::default()
        }
    }

    /// A container that ran out of memory was stopped by the warden; only its events say so.
    async fn ended(&self, status: u32, info: Option<InfoResponse>) -> Ended {
        let told = |info: &InfoResponse| {
            info.events.iter().any(|event| event == "out of memory") || info.oom_kills.unwrap_or(0) > 0
        };
        let mut out_of_memory = info.as_ref().is_some_and(told);
        if status != 0 && !out_of_memory {
            out_of_memory = self.warden.info(&self.handle).await.is_ok_and(|info| told(&info));
        }
        Ended { status: i32::try_from(status).unwrap_or(255), out_of_memory }
    }

    /// Destroys the container; tried again while the warden is away.
    pub(crate) async fn destroy(self) {
        destroy(&self.warden, &self.handle).await;
    }
}

/// Destroys a container, whatever state it is in.
pub(crate) async fn destroy(warden: &Client, handle: &str) {
    for attempt in 1..=DESTROY_TRIES {
        match timeout(LIFE_TIMEOUT, warden.destroy(handle)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) if error.is_unknown_handle() => return,
            Ok(Err(error)) => {
                tracing::warn!(handle, attempt, %error, "a staging container could not be destroyed")
            }
            Err(late) => tracing::warn!(handle, attempt, %late, "a staging container could not be destroyed"),
        }
        tokio::time::sleep(DESTROY_PAUSE).await;
    }
}

/// The user and group of this process as the warden reads them.
fn owner() -> String {
    use nix::unistd::{Group, User, getegid, geteuid};
    let user = User::from_uid(geteuid()).ok().flatten().map_or(geteuid().to_string(), |user| user.name);
    let group = Group::from_gid(getegid()).ok().flatten().map_or(getegid().to_string(), |group| group.name);
    format!("{user}:{group}")
}

/// One request for each part of the rule's ports.
fn net_out(handle: &str, rule: &EgressRule) -> Vec<NetOutRequest> {
    let protocol = match rule.protocol.as_str() {
        "udp" => Protocol::Udp,
        "icmp" => Protocol::Icmp,
        "all" => Protocol::All,
        _ => Protocol::Tcp,
    };
    let request = NetOutRequest {
        handle: handle.to_owned(),
        network: Some(rule.destination.clone()),
        protocol: Some(protocol.into()),
        icmp_type: rule.icmp_type,
        icmp_code: rule.icmp_code,
        ..NetOutRequest::default()
    };
    let Some(ports) = &rule.ports else { return vec![request] };
    let part = |part: &str| NetOutRequest {
        port: part.trim().parse().ok(),
        port_range: part.split_once('-').map(|(first, last)| format!("{}:{}", first.trim(), last.trim())),
        ..request.clone()
    };
    ports.split(',').map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_with_several_ports_is_several_requests() {
        let rule = EgressRule {
            protocol: "tcp".into(),
            destination: "10.0.0.0/8".into(),
            ports: Some("80, 443,8000-9000".into()),
            icmp_type: None,
            icmp_code: None,
        };
        let found: Vec<_> = net_out("h", &rule).into_iter().map(|one| (one.port, one.port_range)).collect();
        assert_eq!(found, [(Some(80), None), (Some(443), None), (None, Some("8000:9000".into()))]);
        let all = net_out("h", &crate::Config::default().egress[0]);
        assert_eq!((all.len(), all[0].protocol, all[0].port), (1, Some(Protocol::All.into()), None));
    }
}
