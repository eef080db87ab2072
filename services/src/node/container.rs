//! The container of an instance. It is nothing that lasts: whenever its server has ended, it is destroyed and made anew
//! around the same volume and port, so that a crash of the server, of the warden and of the host have one way back, and
//! no two servers ever have one volume.

use super::{
    engine::{self, VOLUME},
    record::Record,
    shared::Node,
};
use cupola_protocol::services::{ServiceError, error_code};
use std::{error::Error as StdError, time::Duration};
use tokio::time::{sleep, timeout};
use warden_client::{
    Output,
    message::{BindMount, CreateRequest, GRACE_NEVER, ResourceLimits, RunRequest, SpawnRequest},
};

/// Disk of the container beside its volume: for `/tmp`.
const SCRATCH_BYTES: u64 = 256 << 20;

/// Files and connections that a server may have open.
const OPEN_FILES: u64 = 16_384;

/// Output that the warden keeps of a server while nobody reads it.
const OUTPUT_RING_BYTES: u64 = 256 << 10;

/// How long a script may take.
const SCRIPT_LIMIT: Duration = Duration::from_secs(40);

/// First pause before something is tried again; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(15);

/// Makes the container, in place of one that may be there.
pub(crate) async fn create(node: &Node, record: &Record) -> Result<(), ServiceError> {
    let (handle, plan) = (node.handle(&record.name), record.plan(&node.config));
    destroy(node, &handle).await;
    let stack = node.stacks.find(&node.config.stack).map_err(|error| {
        ServiceError::new(503, error_code::UNAVAILABLE, format!("cannot find the stack: {}", chain(&error)))
    })?;
    let volume = node.volumes.join(&record.name);
    let request = CreateRequest {
        bind_mounts: vec![BindMount::volume(volume.display().to_string(), VOLUME)],
        grace_time: Some(GRACE_NEVER),
        handle: Some(handle.clone()),
        rootfs: Some(stack.path.display().to_string()),
        disk_bytes: Some(SCRATCH_BYTES),
        ..CreateRequest::default()
    };
    let warden = &node.warden;
    warden.create(request).await.map_err(|error| failed("make the container", &error))?;
    let limit = "limit the container";
    let memory = plan.memory_mb.bytes().0;
    warden.limit_memory(&handle, Some(memory)).await.map_err(|error| failed(limit, &error))?;
    let shares = (plan.memory_mb.0 / node.config.memory_to_cpu_share_ratio).max(2);
    warden.limit_cpu(&handle, Some(shares)).await.map_err(|error| failed(limit, &error))?;
    // No way out: a server has nobody to call.
    let (outside, inside) = (record.port.into(), engine::recipe(record.engine).port().into());
    warden
        .net_in(&handle, Some(outside), Some(inside))
        .await
        .map_err(|error| failed("lead the port to the container", &error))?;
    Ok(())
}

/// Destroys the container, trying for as long as it takes: what is not destroyed has the volume.
pub(crate) async fn destroy(node: &Node, handle: &str) {
    let mut pause = FIRST_PAUSE;
    loop {
        match node.warden.destroy(handle).await {
            Ok(()) => return,
            Err(error) if error.is_unknown_handle() => return,
            Err(error) => {
                let error = &error as &dyn StdError;
                tracing::warn!(handle, error, "cannot destroy a container, trying again");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Starts the server; gives its job.
pub(crate) async fn start(node: &Node, record: &Record) -> Result<u32, ServiceError> {
    let recipe = engine::recipe(record.engine);
    let request = SpawnRequest {
        handle: node.handle(&record.name),
        script: recipe.start().to_owned(),
        rlimits: Some(ResourceLimits { nofile: Some(OPEN_FILES), ..ResourceLimits::default() }),
        output_ring_bytes: Some(OUTPUT_RING_BYTES),
        env: recipe.environment(record, record.plan(&node.config)),
        ..SpawnRequest::default()
    };
    node.warden.spawn(request).await.map_err(|error| failed("start the server", &error))
}

/// Runs a script to its end; what it complained of is the error.
pub(crate) async fn run(
    node: &Node,
    record: &Record,
    what: &str,
    script: &str,
    more: Vec<String>,
) -> Result<(), ServiceError> {
    let mut env = engine::recipe(record.engine).environment(record, record.plan(&node.config));
    env.extend(more);
    let request = RunRequest {
        handle: node.handle(&record.name),
        script: script.to_owned(),
        env,
        ..RunRequest::default()
    };
    let ran = match timeout(SCRIPT_LIMIT, node.warden.run(request)).await {
        Ok(ran) => ran.map_err(|error| failed(what, &error))?,
        Err(_) => {
            let why = format!("cannot {what}: no end after {} s", SCRIPT_LIMIT.as_secs());
            return Err(ServiceError::new(500, error_code::INTERNAL, why));
        }
    };
    if ran.exit_status == Some(0) {
        return Ok(());
    }
    let said = [ran.stderr, ran.stdout].into_iter().flatten().find(|text| !text.trim().is_empty());
    let said = said.unwrap_or_else(|| format!("the script ended with {:?}", ran.exit_status));
    let last = said.trim().lines().last().unwrap_or_default();
    Err(ServiceError::new(500, error_code::INTERNAL, format!("cannot {what}: {last}")))
}

/// Follows the server to its end, whatever happens to the warden meanwhile; gives the reason in words. The container may
/// be gone as well then.
pub(crate) async fn follow(node: &Node, handle: &str, job: u32) -> String {
    let mut offset = None;
    let mut said = String::new();
    loop {
        let error = match node.warden.stream(handle, job, offset).await {
            Err(error) => error,
            Ok(mut stream) => loop {
                match stream.next().await {
                    Ok(Some(Output::Data { bytes, offset: read, .. })) => {
                        offset = Some(read);
                        for line in
                            String::from_utf8_lossy(&bytes).lines().filter(|line| !line.trim().is_empty())
                        {
                            tracing::debug!(handle, line, "a server says");
                            said = line.to_owned();
                        }
                    }
                    Ok(Some(Output::Exited { status, info })) => {
                        let killed = info.and_then(|info| info.oom_kills).is_some_and(|kills| kills > 0);
                        let memory =
                            if killed { ", and the kernel has killed for lack of memory" } else { "" };
                        return format!("ended with {status}{memory}; last words: {said}");
                    }
                    Ok(None) => return "ended".to_owned(),
                    Err(error) => break error,
                }
            },
        };
        if !error.is_disconnected() {
            return format!("cannot be followed: {}", chain(&error));
        }
        sleep(FIRST_PAUSE).await;
    }
}

/// What could not be done, as an answer.
pub(crate) fn failed(step: &str, error: &dyn StdError) -> ServiceError {
    ServiceError::new(500, error_code::WARDEN, format!("cannot {step}: {}", chain(error)))
}

/// An error with everything that led to it.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
