//! Waiting: for jobs, packages, stagings and instances, with what the developer wants to see meanwhile.

use crate::{Error, api::Api, commands::Tail, output};
use cupola_protocol::api::{
    App, Build, BuildStatus, CreateBuild, Droplet, InstanceStatus, Job, JobStatus, Named, Package,
    PackageStatus, Process, ProcessStats, ToOne,
};
use reqwest::Method;
use std::time::Duration;
use tokio::time::Instant;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A job is given up after this time.
const JOB_LIMIT: Duration = Duration::from_secs(120);
/// The same for what a service broker carries out by itself: a week, as long as the platform follows it.
const BROKER_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Staging has a limit of its own on the platform; this is for a platform that says nothing any more.
const STAGING_LIMIT: Duration = Duration::from_secs(3600);
/// The same for instances, whose health check has a limit of its own.
const INSTANCES_LIMIT: Duration = Duration::from_secs(600);
/// How long no node may want an instance before that is an error.
const DOWN_LIMIT: Duration = Duration::from_secs(15);
/// Lines of the log that an error carries.
const LAST_LINES: usize = 15;

/// Waits for a job.
pub(crate) async fn job(api: &mut Api, path: &str, what: &str) -> Result<(), Error> {
    job_until(api, path, what, JOB_LIMIT).await
}

/// The same for one that a service broker may take very long for.
pub(crate) async fn long_job(api: &mut Api, path: &str, what: &str) -> Result<(), Error> {
    job_until(api, path, what, BROKER_LIMIT).await
}

/// Waits until a service broker has taken a job; says whether it is done already.
pub(crate) async fn job_taken(api: &mut Api, path: &str, what: &str) -> Result<bool, Error> {
    let deadline = Instant::now() + JOB_LIMIT;
    while Instant::now() < deadline {
        let job: Job = match api.get(path).await {
            Err(Error::Refused { status: 404, .. }) => return Ok(true),
            other => other?,
        };
        match job.state {
            JobStatus::Processing => tokio::time::sleep(LOOK_EVERY).await,
            JobStatus::Polling => return Ok(false),
            JobStatus::Complete | JobStatus::Failed => {
                return job_until(api, path, what, JOB_LIMIT).await.map(|()| true);
            }
        }
    }
    Ok(false)
}

async fn job_until(api: &mut Api, path: &str, what: &str, limit: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + limit;
    loop {
        let job: Job = match api.get(path).await {
            // The job is forgotten once it has been complete for a while.
            Err(Error::Refused { status: 404, .. }) => return Ok(()),
            other => other?,
        };
        match job.state {
            JobStatus::Complete => return Ok(()),
            JobStatus::Failed => {
                let details: Vec<String> = job.errors.into_iter().map(|error| error.detail).collect();
                return Err(Error::Job { what: what.to_owned(), detail: details.join("; ") });
            }
            JobStatus::Processing | JobStatus::Polling if Instant::now() >= deadline => {
                let detail = format!("it is not done after {} s", limit.as_secs());
                return Err(Error::Job { what: what.to_owned(), detail });
            }
            JobStatus::Processing | JobStatus::Polling => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upload {
    /// The package can be staged.
    Ready,
    /// The platform has lost it: it may be sent again.
    Lost,
    /// The package itself is gone.
    Gone,
}

/// Waits until the platform has handled an upload.
pub(crate) async fn package(api: &mut Api, guid: &str) -> Result<Upload, Error> {
    let deadline = Instant::now() + JOB_LIMIT;
    loop {
        let package: Package = match api.get(&format!("/v3/packages/{guid}")).await {
            Err(Error::Refused { status: 404, .. }) => return Ok(Upload::Gone),
            other => other?,
        };
        match package.state {
            PackageStatus::Ready => return Ok(Upload::Ready),
            PackageStatus::AwaitingUpload => return Ok(Upload::Lost),
            PackageStatus::Failed | PackageStatus::Expired => {
                let detail = package.data.error.unwrap_or_else(|| "the platform does not say why".to_owned());
                return Err(Error::Job { what: "the upload".to_owned(), detail });
            }
            _ if Instant::now() >= deadline => {
                return Err(Error::Job {
                    what: "the upload".to_owned(),
                    detail: "the platform does not take it".to_owned(),
                });
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Stages a package, shows what the stager says meanwhile, and gives the droplet.
pub(crate) async fn stage(api: &mut Api, app: &App, package: &str) -> Result<String, Error> {
    let mut tail = Tail::new(api, &app.guid).await?;
    let request = CreateBuild {
        package: Named::new(package),
        lifecycle: None,
        staging_memory_in_mb: None,
        staging_disk_in_mb: None,
    };
    let mut build = begin(api, &request).await?;
    let deadline = Instant::now() + STAGING_LIMIT;
    loop {
        staging_lines(api, &mut tail).await?;
        match build.state {
            BuildStatus::Staging if Instant::now() >= deadline => {
                return Err(Error::TooLong {
                    what: "staging",
                    seconds: STAGING_LIMIT.as_secs(),
                    app: app.name.clone(),
                });
            }
            BuildStatus::Staging => tokio::time::sleep(LOOK_EVERY).await,
            BuildStatus::Staged => {
                let Some(droplet) = build.droplet else {
                    return Err(Error::Staging { detail: "the platform names no droplet".to_owned() });
                };
                return Ok(droplet.guid);
            }
            BuildStatus::Failed => {
                // The last lines may still be on their way.
                tokio::time::sleep(LOOK_EVERY).await;
                staging_lines(api, &mut tail).await?;
                let detail = build.error.unwrap_or_else(|| "the platform does not say why".to_owned());
                return Err(Error::Staging { detail });
            }
        }
        build = api.get(&format!("/v3/builds/{}", build.guid)).await?;
    }
}

/// Begins a build. When its answer was lost, it may have begun all the same: then that one is taken.
async fn begin(api: &mut Api, request: &CreateBuild) -> Result<Build, Error> {
    loop {
        let error = match api.call(Method::POST, "/v3/builds", request).await {
            Ok(build) => return Ok(build),
            Err(error) => error,
        };
        if !api.goes_on(&error).await {
            return Err(error);
        }
        let path = format!("/v3/builds?package_guids={}&states=STAGING", request.package.guid);
        if let Some(build) = api.list::<Build>(&path).await?.into_iter().next() {
            return Ok(build);
        }
    }
}

async fn staging_lines(api: &mut Api, tail: &mut Tail) -> Result<(), Error> {
    for envelope in tail.read(api).await? {
        if envelope.source_type() == "STG" {
            output::doing(&format!("   {}", envelope.text().unwrap_or_default()));
        }
    }
    Ok(())
}

/// Makes a droplet the one that the app runs.
pub(crate) async fn set_droplet(api: &mut Api, app: &str, droplet: &str) -> Result<(), Error> {
    let path = format!("/v3/apps/{app}/relationships/current_droplet");
    let _: serde_json::Value = api.call(Method::PATCH, &path, &ToOne::new(droplet)).await?;
    let _: Droplet = api.get(&format!("/v3/apps/{app}/droplets/current")).await?;
    Ok(())
}

/// Waits until every instance of every process runs, and says what changes. When an instance crashes before it ever
/// ran, its reason and the last lines of its log are the error.
pub(crate) async fn instances(api: &mut Api, app: &App) -> Result<(), Error> {
    let deadline = Instant::now() + INSTANCES_LIMIT;
    let mut down_since = None;
    let mut said = String::new();
    loop {
        let processes: Vec<Process> = api.list(&format!("/v3/apps/{}/processes", app.guid)).await?;
        let (mut wanted, mut running, mut starting, mut crashed, mut down) = (0, 0, 0, 0, 0);
        let mut details = Vec::new();
        for process in processes.iter().filter(|process| process.instances > 0) {
            let stats: ProcessStats = api.get(&format!("/v3/processes/{}/stats", process.guid)).await?;
            wanted += process.instances as usize;
            for instance in stats.resources {
                match instance.state {
                    InstanceStatus::Running => running += 1,
                    InstanceStatus::Crashed => crashed += 1,
                    InstanceStatus::Down => down += 1,
                    _ => starting += 1,
                }
                if matches!(instance.state, InstanceStatus::Crashed | InstanceStatus::Down) {
                    details.extend(instance.details);
                }
            }
        }
        let mut line = format!("{running} of {wanted} instances running");
        for (count, word) in [(starting, "starting"), (crashed, "crashed"), (down, "down")] {
            if count > 0 {
                line.push_str(&format!(", {count} {word}"));
            }
        }
        if line != said {
            output::doing(&line);
            said = line;
        }
        if running >= wanted {
            return Ok(());
        }
        if crashed > 0 {
            let reason = details.into_iter().next().unwrap_or_else(|| "an instance crashed".to_owned());
            return Err(Error::NotRunning { detail: with_last_lines(api, app, reason).await });
        }
        // Nothing starts, and somebody has said why: more waiting would not help.
        let stuck = down > 0 && starting == 0 && !details.is_empty();
        let since = *down_since.get_or_insert_with(Instant::now);
        if !stuck {
            down_since = None;
        } else if since.elapsed() >= DOWN_LIMIT {
            return Err(Error::NotRunning { detail: details.swap_remove(0) });
        }
        if Instant::now() >= deadline {
            let seconds = INSTANCES_LIMIT.as_secs();
            return Err(Error::TooLong { what: "starting the app", seconds, app: app.name.clone() });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn with_last_lines(api: &mut Api, app: &App, reason: String) -> String {
    let path = format!("/api/v1/read/{}?descending=true&envelope_types=LOG&limit={LAST_LINES}", app.guid);
    let mut text = reason;
    if let Ok(read) = api.get::<cupola_protocol::api::ReadLogs>(&path).await {
        text.push_str("\nThe last lines of its log:");
        for envelope in read.envelopes.batch.iter().rev() {
            text.push_str(&format!(
                "\n   [{}] {}",
                envelope.source_type(),
                envelope.text().unwrap_or_default()
            ));
        }
    }
    text.push_str(&format!("\n`cupola logs {} --recent` shows more", app.name));
    text
}
