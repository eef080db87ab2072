//! One staging, from its request to its last reply.
//!
//! ```text
//! create ► download ► unpack ► detect ► compile ► release ► pack ► upload ► (cache) ► done
//!     └─────────┴────────┴────────┴────────┴─────────┴────────┴──────┴──► failed
//! ```
//!
//! A stop, a time limit and a failure end it at any point; then the container is destroyed and the workspace removed,
//! as they are after a success.

use crate::{
    Config,
    buildpacks::Buildpacks,
    container::{Container, Ended, Limits},
    droplet::{self, Digests, StagingInfo},
    environment,
    failure::{Failure, Phase},
    figures::Figures,
    log::{Follower, Log},
    package::{self, Unpacked},
    processes::{Release, WEB, parse_procfile},
    reply::{self, Outcome},
    transfer::Transfer,
    workspace::Workspace,
};
use cupola_bus::{Bus, Incoming};
use cupola_protocol::{Bytes, Mebibytes, staging::Start};
use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warden_client::Client;

/// What every staging of a stager uses.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) config: Config,
    pub(crate) bus: Bus,
    pub(crate) warden: Client,
    pub(crate) http: reqwest::Client,
    pub(crate) buildpacks: Buildpacks,
    pub(crate) stacks: rootfs::Store,
    /// Beginning of the handles of this stager's containers.
    pub(crate) handle_prefix: String,
    pub(crate) figures: Figures,
    /// The stager is being shut down.
    pub(crate) closing: CancellationToken,
}

/// One staging.
struct Staging {
    tools: Arc<Tools>,
    request: Start,
    log: Log,
    stop: CancellationToken,
    limit: Duration,
    deadline: Instant,
    phase: Mutex<Phase>,
    workspace: Workspace,
}

/// Stages as asked and answers: once when the container stands, and once at the end.
pub(crate) async fn stage(tools: Arc<Tools>, incoming: Incoming<Start>, stop: CancellationToken) {
    let request = incoming.message.clone();
    let (app, task) = (request.app_id.clone(), request.task_id.clone());
    tracing::info!(%app, %task, stack = request.stack, "a staging begins");
    let (figures, begun) = (tools.clone(), Instant::now());
    let failure = match Staging::new(tools, request, stop) {
        Ok(staging) => staging.run(&incoming).await.err(),
        Err(failure) => Some(failure),
    };
    figures.figures.ended(failure.as_ref(), begun.elapsed());
    match failure {
        None => tracing::info!(%app, %task, "a staging has succeeded"),
        Some(failure) => {
            tracing::info!(%app, %task, %failure, "a staging has failed");
            reply::answer(&incoming, reply::failed(&incoming.message, &failure)).await;
        }
    }
}

impl Staging {
    fn new(tools: Arc<Tools>, request: Start, stop: CancellationToken) -> Result<Self, Failure> {
        let workspace = Workspace::new(&tools.config).map_err(Failure::internal(Phase::Create))?;
        let seconds = request.timeout.unwrap_or(u64::MAX).min(tools.config.max_duration_seconds);
        let limit = Duration::from_secs(seconds);
        Ok(Self {
            log: Log::new(tools.bus.clone(), request.app_id.clone()),
            workspace,
            deadline: Instant::now() + limit,
            phase: Mutex::new(Phase::Create),
            tools,
            request,
            stop,
            limit,
        })
    }

    async fn run(self, incoming: &Incoming<Start>) -> Result<(), Failure> {
        // Nothing is fetched for a buildpack or a stack that is not there.
        let named =
            self.tools.buildpacks.named(self.request.properties.buildpack.as_deref())?.map(str::to_owned);
        let stack = self.tools.stacks.find(&self.request.stack);
        let stack = stack.map_err(|error| Failure::StackMissing(error.to_string()))?;
        let limits = self.limits();
        let handle = format!("{}{}", self.tools.handle_prefix, self.request.task_id);
        let egress = [self.tools.config.egress.as_slice(), &self.request.egress_network_rules].concat();
        // Never given up half-way: what was begun must be known, to be destroyed.
        let container =
            Container::create(self.tools.warden.clone(), handle, &stack.path, &limits, &egress).await?;
        reply::answer(incoming, reply::begun(&self.request)).await;
        let result = self.limited(self.work(&container, named)).await;
        if let Ok(outcome) = &result {
            reply::answer(incoming, reply::succeeded(&self.request, outcome)).await;
            // The developer need not wait for what only makes the next staging quicker.
            let _ = self.limited(self.keep_cache(&container)).await;
        }
        container.destroy().await;
        result.map(drop)
    }

    /// Waits for `work`, unless the staging is stopped or its time is over.
    async fn limited<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            // A stop comes first: work that would end in the same moment must not win over it.
            () = self.stop.cancelled() => {
                Err(if self.tools.closing.is_cancelled() { Failure::ShuttingDown } else { Failure::Stopped })
            }
            () = tokio::time::sleep_until(self.deadline) => {
                Err(Failure::TimeExpired { limit: self.limit, phase: self.phase() })
            }
            done = work => done,
        }
    }

    fn enter(&self, phase: Phase) {
        *self.phase.lock().expect("nobody panics while holding it") = phase;
    }

    fn phase(&self) -> Phase {
        *self.phase.lock().expect("nobody panics while holding it")
    }

    fn limits(&self) -> Limits {
        let config = &self.tools.config;
        Limits {
            memory: config.staging_memory(self.request.memory_limit),
            disk: config.staging_disk(self.request.disk_limit),
            cpu_shares: config.staging_cpu_shares,
            processes: config.staging_processes,
        }
    }

    fn transfer(&self, phase: Phase, action: &'static str) -> Transfer<'_> {
        Transfer { client: &self.tools.http, phase, action }
    }

    /// Brings together on the host what goes into the container: `app/` and, as `in/`, buildpacks, variables,
    /// certificates and cache.
    async fn prepare(&self, named: Option<&str>) -> Result<Unpacked, Failure> {
        self.enter(Phase::Download);
        let config = &self.tools.config;
        let limit = Mebibytes(config.max_package_mb);
        let package = self.workspace.path("package.zip");
        let download = self.transfer(Phase::Download, "download the package");
        let found = download.download(&self.request.download_uri, &package, limit).await?;
        let size = found.ok_or_else(|| Failure::Transfer {
            phase: Phase::Download,
            action: "download the package",
            reason: "the controller does not have it: push again".to_owned(),
        })?;
        self.log.say(format!("Downloaded the app's package ({})", Bytes(size))).await;

        let inside = self.workspace.path("in");
        self.workspace
            .blocking(Phase::Download, {
                let inside = inside.clone();
                move |_| fs::create_dir(inside)
            })
            .await?;
        if let Some(url) = &self.request.buildpack_cache_download_uri {
            let cache = self.transfer(Phase::Download, "download the buildpack cache");
            let limit = Mebibytes(config.max_cache_mb);
            let target = inside.join(droplet::CACHE_FILE);
            if let Err(failure) = cache.download(url, &target, limit).await {
                tracing::info!(task = %self.request.task_id, %failure, "a staging goes on without its cache");
                let _ = tokio::fs::remove_file(&target).await;
            }
        }

        self.enter(Phase::Unpack);
        let limits = package::Limits { unpacked: Mebibytes(config.max_unpacked_mb), files: config.max_files };
        let (app, stop) = (self.workspace.path("app"), self.stop.clone());
        let unpacked = self
            .workspace
            .blocking(Phase::Unpack, move |_| {
                fs::create_dir(&app)?;
                let unpacked = package::unpack(&package, &app, limits, &stop);
                fs::remove_file(&package)?;
                Ok(unpacked)
            })
            .await??;

        let names =
            named.map_or_else(|| self.tools.buildpacks.names().to_vec(), |name| vec![name.to_owned()]);
        let tools = self.tools.clone();
        let variables: Vec<(String, String)> = environment::of_developer(&self.request)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        self.workspace
            .blocking(Phase::Unpack, move |_| {
                tools.buildpacks.copy(&names, &inside.join("buildpacks"))?;
                fs::create_dir(inside.join("env"))?;
                for (name, value) in variables {
                    fs::write(inside.join("env").join(name), value)?;
                }
                if let Some(bundle) = tools.config.ca_bundle.as_ref().filter(|bundle| bundle.is_file()) {
                    fs::copy(bundle, inside.join(droplet::ca_file_name()))?;
                }
                Ok(())
            })
            .await?;
        Ok(unpacked)
    }

    /// Everything that happens in the container, up to the uploaded droplet.
    async fn work(&self, container: &Container, named: Option<String>) -> Result<Outcome, Failure> {
        let unpacked = self.prepare(named.as_deref()).await?;
        let phase = Phase::Unpack;
        container
            .copy_in(&self.workspace.path("app"), "/home/vcap/app")
            .await
            .map_err(Failure::internal(phase))?;
        container
            .copy_in(&self.workspace.path("in"), "/tmp/staging")
            .await
            .map_err(Failure::internal(phase))?;
        let env = self.environment();
        container.run(droplet::RESTORE_CACHE, &env).await.map_err(Failure::internal(phase))?;

        self.enter(Phase::Detect);
        let (buildpack, detected) = self.detect(container, named, &env).await?;
        self.log.say(format!("-----> Staging with the buildpack {buildpack} ({detected})")).await;

        self.enter(Phase::Compile);
        let script = program(&buildpack, "compile", "/home/vcap/app /tmp/cache /tmp/staging/env");
        let mut follower = Follower::new(&self.log);
        let ended = container
            .follow(&script, &env, &mut follower)
            .await
            .map_err(Failure::internal(Phase::Compile))?;
        let last_lines = follower.finish().await;
        self.check(Phase::Compile, &buildpack, &ended, last_lines)?;

        self.enter(Phase::Release);
        let release = self.release(container, &buildpack, &env).await?;
        let procfile = container.run("head -c 65536 /home/vcap/app/Procfile 2>/dev/null || true", &env).await;
        let (_, procfile) = procfile.map_err(Failure::internal(Phase::Release))?;
        let mut processes = release.processes.clone();
        processes.extend(parse_procfile(&procfile));
        let wish =
            self.request.properties.meta.command.as_deref().filter(|command| !command.trim().is_empty());
        let start_command = wish.or(processes.get(WEB).map(String::as_str));
        if start_command.is_none() && processes.is_empty() {
            return Err(Failure::NoStartCommand);
        }

        self.enter(Phase::Pack);
        let info = StagingInfo {
            detected_buildpack: &detected,
            buildpack_path: &buildpack,
            start_command,
            effective_procfile: &processes,
        };
        let digests = self.pack(container, &buildpack, &info, &release, unpacked, &env).await?;

        self.enter(Phase::Upload);
        self.log.say(format!("-----> Uploading the droplet ({})", Bytes(digests.bytes))).await;
        let file = self.workspace.path("out").join(droplet::FILE);
        self.transfer(Phase::Upload, "upload the droplet")
            .upload(&self.request.upload_uri, &file, &[("x-droplet-sha256", &digests.sha256)])
            .await?;
        self.log.say("Staging complete").await;
        Ok(Outcome { buildpack, detected, processes, digests })
    }

    fn environment(&self) -> Vec<String> {
        let with_ca_bundle = self.workspace.path("in").join(droplet::ca_file_name()).is_file();
        let memory = self.limits().memory;
        environment::variables(&self.tools.config, &self.request, memory, self.limit, with_ca_bundle)
    }

    /// The buildpack, and what it calls the app.
    async fn detect(
        &self,
        container: &Container,
        named: Option<String>,
        env: &[String],
    ) -> Result<(String, String), Failure> {
        if let Some(named) = named {
            return Ok((named.clone(), named));
        }
        for name in self.tools.buildpacks.names() {
            let script = program(name, "detect", "/home/vcap/app");
            let (ended, printed) =
                container.run(&script, env).await.map_err(Failure::internal(Phase::Detect))?;
            if ended.status == 0 {
                let words = printed.lines().next().map(str::trim).filter(|words| !words.is_empty());
                return Ok((name.clone(), words.unwrap_or(name).to_owned()));
            }
            // Other numbers say no as well; but a script that cannot be run is not asked.
            if matches!(ended.status, 126 | 127) || ended.out_of_memory {
                let last_lines = printed.lines().map(str::to_owned).collect();
                self.check(Phase::Detect, name, &ended, last_lines)?;
            }
        }
        Err(Failure::NoAppDetected { asked: self.tools.buildpacks.names().join(", ") })
    }

    async fn release(
        &self,
        container: &Container,
        buildpack: &str,
        env: &[String],
    ) -> Result<Release, Failure> {
        // Many real buildpacks have no bin/release at all.
        let script = format!(
            "[ -e /tmp/staging/buildpacks/{buildpack}/bin/release ] || exit 0\n{}",
            program(buildpack, "release", "/home/vcap/app")
        );
        let (ended, printed) =
            container.run(&script, env).await.map_err(Failure::internal(Phase::Release))?;
        self.check(Phase::Release, buildpack, &ended, printed.lines().map(str::to_owned).collect())?;
        Release::parse(&printed)
            .map_err(|reason| Failure::ReleaseInvalid { buildpack: buildpack.to_owned(), reason })
    }

    async fn pack(
        &self,
        container: &Container,
        buildpack: &str,
        info: &StagingInfo<'_>,
        release: &Release,
        unpacked: Unpacked,
        env: &[String],
    ) -> Result<Digests, Failure> {
        let info = serde_json::to_string(info).map_err(Failure::internal(Phase::Pack))?;
        let mut env = env.to_vec();
        env.push(format!("DROPLET_INFO={info}"));
        env.push(format!("DROPLET_PROFILE={}", release.profile().unwrap_or_default()));
        env.push(format!("DROPLET_TIME={}", unpacked.newest));
        let mut follower = Follower::with_answer(&self.log);
        let ended = container
            .follow(droplet::PACK, &env, &mut follower)
            .await
            .map_err(Failure::internal(Phase::Pack))?;
        let size = follower.answer().trim().parse();
        let last_lines = follower.finish().await;
        self.check(Phase::Pack, buildpack, &ended, last_lines)?;
        if let (Ok(size), Some(limit)) = (size, self.request.app_disk_limit)
            && Bytes(size) > limit.bytes()
        {
            return Err(Failure::DropletTooLarge { size: Bytes(size), limit });
        }
        self.fetch_out(container, Phase::Pack).await?;
        let file = self.workspace.path("out").join(droplet::FILE);
        self.workspace.blocking(Phase::Pack, move |_| Ok(droplet::digests(&file))).await?
    }

    /// Copies what a script has put into its directory for results.
    async fn fetch_out(&self, container: &Container, phase: Phase) -> Result<(), Failure> {
        let out = self.workspace.path("out");
        let fresh = out.clone();
        self.workspace
            .blocking(phase, move |_| {
                let _ = fs::remove_dir_all(&fresh); // there is none the first time
                fs::create_dir(&fresh)
            })
            .await?;
        container.copy_out(droplet::OUT, &out).await.map_err(Failure::internal(phase))
    }

    /// Keeps the buildpack's cache for the next staging, as well as it goes.
    async fn keep_cache(&self, container: &Container) -> Result<(), Failure> {
        let Some(url) = &self.request.buildpack_cache_upload_uri else { return Ok(()) };
        let mut env = self.environment();
        env.push(format!("CACHE_LIMIT={}", Mebibytes(self.tools.config.max_cache_mb).bytes().0));
        let (ended, _) =
            container.run(droplet::PACK_CACHE, &env).await.map_err(Failure::internal(Phase::Upload))?;
        if ended.status != 0 {
            return Ok(());
        }
        self.fetch_out(container, Phase::Upload).await?;
        let file = self.workspace.path("out").join(droplet::CACHE_FILE);
        if !file.is_file() {
            return Ok(());
        }
        let kept = self.transfer(Phase::Upload, "upload the buildpack cache").upload(url, &file, &[]).await;
        if let Err(failure) = &kept {
            tracing::info!(task = %self.request.task_id, %failure, "a buildpack cache is not kept");
        }
        kept
    }

    /// A program's end as a failure, unless it ended well.
    fn check(
        &self,
        phase: Phase,
        buildpack: &str,
        ended: &Ended,
        last_lines: Vec<String>,
    ) -> Result<(), Failure> {
        if ended.status == 0 {
            return Ok(());
        }
        let limits = self.limits();
        let buildpack = buildpack.to_owned();
        let full =
            |line: &String| ["No space left on device", "ENOSPC"].iter().any(|words| line.contains(words));
        Err(if ended.out_of_memory {
            Failure::OutOfMemory { phase, buildpack, limit: limits.memory, last_lines }
        } else if last_lines.iter().any(full) {
            Failure::DiskFull { phase, limit: limits.disk, last_lines }
        } else if phase == Phase::Pack {
            Failure::Internal {
                phase,
                reason: format!("packing ended with {}: {}", ended.status, last_lines.join("; ")),
            }
        } else {
            Failure::Buildpack { phase, buildpack, status: ended.status, last_lines }
        })
    }
}

/// A script that runs one of a buildpack's programs. The script comes on standard input: the program must not read it.
fn program(buildpack: &str, program: &str, arguments: &str) -> String {
    format!(
        "cd /home/vcap/app\nexec /tmp/staging/buildpacks/{buildpack}/bin/{program} {arguments} </dev/null\n"
    )
}
