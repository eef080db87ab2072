//! The container of an instance: from stack and droplet to a started process, and back to nothing.

use super::{Address, Exit, Kept, Process, Record, environment};
use crate::{
    droplets::DROPLET_FILE,
    egress,
    files::{self, Gathered},
    node::Node,
};
use serde::Deserialize;
use std::{error::Error as StdError, path::Path, sync::Arc, time::Duration};
use warden_client::{
    StopMode,
    message::{BindMode, BindMount, CreateRequest, GRACE_NEVER, ResourceLimits, RunRequest, SpawnRequest},
};

/// Where the droplet's directory is seen inside.
const DROPLET_MOUNT: &str = "/mnt/droplet";

/// Unpacks the droplet, then writes its staging information to standard output.
const UNPACK_SCRIPT: &str = r#"set -e
umask 022
cd /home/vcap
tar xzf "$DROPLET" --no-same-owner
mkdir -p app logs tmp
head -c 65536 staging_info.yml 2>/dev/null || true
"#;

/// Output of the unpacking job that is kept: staging information or complaints.
const UNPACK_OUTPUT_BYTES: u64 = 256 << 10;

/// First pause before a destruction is tried again; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause before a destruction is tried again.
const LAST_PAUSE: Duration = Duration::from_secs(15);

/// How long the log files of a crashed instance may take to be copied.
const COPY_TIMEOUT: Duration = Duration::from_secs(10);

/// What is read of `staging_info.yml`.
#[derive(Debug, Default, Deserialize)]
struct StagingInfo {
    #[serde(default)]
    start_command: Option<String>,
}

/// Makes the container and starts the process. The caller destroys what a failure leaves.
pub(crate) async fn prepare(node: &Node, record: &Record, droplet: &Path) -> Result<Process, Exit> {
    let message = &record.message;
    let limits = message.limits;
    let handle = node.handle(&record.instance);
    let stacks = node.stacks.clone();
    let name = message.stack.clone();
    let stack = match tokio::task::spawn_blocking(move || stacks.find(&name)).await {
        Ok(stack) => stack.map_err(|error| failed("find the stack", &error))?,
        Err(error) => return Err(failed("find the stack", &error)),
    };
    let request = CreateRequest {
        bind_mounts: vec![BindMount::new(droplet.display().to_string(), DROPLET_MOUNT, BindMode::Ro)],
        grace_time: Some(GRACE_NEVER),
        handle: Some(handle.clone()),
        rootfs: Some(stack.path.display().to_string()),
        disk_bytes: Some(limits.disk.bytes().0),
        ..CreateRequest::default()
    };
    let begun = std::time::Instant::now();
    node.warden.create(request).await.map_err(|error| failed("make the container", &error))?;
    let created = begun.elapsed();

    let (address, info) = tokio::try_join!(connect(node, record, &handle), unpack(node, record, &handle))?;
    let unpacked = begun.elapsed();
    // Only now: unpacking must not count against small apps.
    limit_memory(node, &handle, limits.mem.bytes().0).await?;
    node.warden
        .limit_cpu(&handle, Some(node.config.cpu_shares(limits.mem).max(2)))
        .await
        .map_err(|error| failed("limit the processor", &error))?;

    let command = message.start_command.clone().filter(|command| !command.trim().is_empty());
    let command = command.or(info.start_command).filter(|command| !command.trim().is_empty());
    let Some(command) = command else {
        return Err(Exit::without_status(
            "missing start command: the buildpack gave none; push with one (cupola push -c) or add a Procfile",
        ));
    };
    let spawn = SpawnRequest {
        handle: handle.clone(),
        script: environment::LAUNCH_SCRIPT.to_owned(),
        rlimits: Some(ResourceLimits {
            nofile: Some(limits.fds),
            nproc: Some(node.config.processes),
            ..ResourceLimits::default()
        }),
        output_ring_bytes: Some(node.config.output_ring_bytes),
        env: environment::environment(record, &address, &command),
        ..SpawnRequest::default()
    };
    let job = node.warden.spawn(spawn).await.map_err(|error| failed("start the process", &error))?;
    tracing::info!(
        instance = %record.instance,
        create_ms = created.as_millis() as u64,
        unpack_ms = (unpacked - created).as_millis() as u64,
        spawn_ms = (begun.elapsed() - unpacked).as_millis() as u64,
        "container prepared"
    );
    Ok(Process { job, address })
}

/// Opens the network: one port in, the allowed destinations out.
async fn connect(node: &Node, record: &Record, handle: &str) -> Result<Address, Exit> {
    let step = "connect the container to the network";
    for rule in node.config.egress.iter().chain(&record.message.egress_network_rules) {
        for request in egress::requests(handle, rule).map_err(|error| failed(step, &error))? {
            node.warden.net_out(request).await.map_err(|error| failed(step, &error))?;
        }
    }
    let ports = node.warden.net_in(handle, None, None).await.map_err(|error| failed(step, &error))?;
    let info = node.warden.info(handle).await.map_err(|error| failed(step, &error))?;
    let port = |port: u32| {
        u16::try_from(port).map_err(|_| Exit::without_status(format!("cannot {step}: {port} is not a port")))
    };
    let container_host = info
        .container_ip
        .ok_or_else(|| Exit::without_status(format!("cannot {step}: the warden tells no address")))?;
    let host = node.config.host.map(|host| host.to_string()).or(info.host_ip);
    Ok(Address {
        host: host.unwrap_or_else(|| container_host.clone()),
        port: port(ports.host_port)?,
        container_host,
        container_port: port(ports.container_port)?,
    })
}

async fn unpack(node: &Node, record: &Record, handle: &str) -> Result<StagingInfo, Exit> {
    let request = RunRequest {
        handle: handle.to_owned(),
        script: UNPACK_SCRIPT.to_owned(),
        output_ring_bytes: Some(UNPACK_OUTPUT_BYTES),
        env: vec![format!("DROPLET={DROPLET_MOUNT}/{DROPLET_FILE}")],
        ..RunRequest::default()
    };
    let result = node.warden.run(request).await.map_err(|error| failed("unpack the droplet", &error))?;
    let status = result.exit_status.unwrap_or(255);
    if status != 0 {
        let complaint = result.stderr.unwrap_or_default();
        if complaint.contains("No space left on device") {
            return Err(Exit::without_status(format!(
                "the droplet does not fit on the disk of the instance: limit {}; raise it with cupola scale -k",
                record.message.limits.disk
            )));
        }
        let last = complaint.lines().last().unwrap_or("no reason given").to_owned();
        return Err(Exit::without_status(format!("cannot unpack the droplet: {last}")));
    }
    let text = result.stdout.unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(StagingInfo::default());
    }
    serde_yaml_ng::from_str(&text).map_err(|error| failed("read staging_info.yml of the droplet", &error))
}

/// Sets the limit. Pages that unpacking has left must be written out before they can be given back, which the
/// kernel may not manage in one go.
async fn limit_memory(node: &Node, handle: &str, bytes: u64) -> Result<(), Exit> {
    let Err(first) = node.warden.limit_memory(handle, Some(bytes)).await else { return Ok(()) };
    tracing::debug!(handle, error = &first as &dyn StdError, "memory limit refused, writing pages out first");
    let sync = RunRequest {
        handle: handle.to_owned(),
        script: "sync -f /home/vcap".to_owned(),
        discard_output: Some(true),
        ..RunRequest::default()
    };
    node.warden.run(sync).await.map_err(|error| failed("write the unpacked droplet out", &error))?;
    node.warden
        .limit_memory(handle, Some(bytes))
        .await
        .map_err(|error| failed("limit the memory", &error))?;
    Ok(())
}

/// Ends the processes: SIGTERM, 10 s, SIGKILL, or SIGKILL at once. A failure shows again at the destruction.
pub(crate) async fn stop(node: &Node, handle: &str, mode: StopMode) {
    match node.warden.stop(handle, mode).await {
        Ok(()) => {}
        Err(error) if error.is_unknown_handle() => {}
        Err(error) => {
            tracing::warn!(handle, error = &error as &dyn StdError, "cannot stop a container");
        }
    }
}

/// Destroys the container, trying for as long as it takes: what is not destroyed is not free.
pub(crate) async fn destroy(node: &Node, handle: &str) {
    let mut pause = FIRST_PAUSE;
    loop {
        match node.warden.destroy(handle).await {
            Ok(()) => return,
            Err(error) if error.is_unknown_handle() => return,
            Err(error) => {
                tracing::warn!(
                    handle,
                    error = &error as &dyn StdError,
                    "cannot destroy a container, trying again"
                );
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Reads the files in `logs/` of a crashed instance, as far as that is possible: before its container is stopped,
/// since nothing runs in it then.
pub(crate) async fn gather_logs(node: &Arc<Node>, handle: &str) -> Vec<Gathered> {
    match tokio::time::timeout(COPY_TIMEOUT, files::gather(node, handle)).await {
        Ok(Ok(gathered)) => gathered,
        Ok(Err(problem)) => {
            tracing::debug!(handle, %problem, "cannot keep the log files of a crash");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(handle, "the log files of a crash took too long");
            Vec::new()
        }
    }
}

/// Keeps the crash with these files and the last output.
pub(crate) async fn keep_crash(node: &Arc<Node>, record: Record, gathered: Vec<Gathered>, kept: Arc<Kept>) {
    let node = node.clone();
    let keeping = tokio::task::spawn_blocking(move || {
        if let Err(error) = node.crashes.keep(&record, &gathered, &kept) {
            let instance = &record.instance;
            tracing::warn!(%instance, error = &error as &dyn StdError, "cannot keep the files of a crash");
        }
    });
    // The runtime that is being shut down keeps nothing.
    let _ = keeping.await;
}

/// An instance that could not be prepared.
fn failed(step: &str, error: &dyn StdError) -> Exit {
    Exit::without_status(format!("cannot {step}: {}", chain(error)))
}

/// An error with everything that led to it, for a sentence that people read.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_information_is_read_as_yaml_or_json() {
        for text in
            ["detected_buildpack: x\nstart_command: run it\n", r#"{"start_command": "run it", "config": {}}"#]
        {
            let info: StagingInfo = serde_yaml_ng::from_str(text).unwrap();
            assert_eq!(info.start_command.as_deref(), Some("run it"));
        }
        let info: StagingInfo = serde_yaml_ng::from_str("start_command:\n").unwrap();
        assert_eq!(info.start_command, None);
    }
}
