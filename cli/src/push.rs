//! `push`: from a folder to a running app.

mod archive;
mod files;
mod manifest;

use crate::{
    Error,
    api::Api,
    commands::{find_app, find_app_maybe, show_app},
    output,
    wait::{self, Upload},
};
use cupola_protocol::{
    Mebibytes,
    api::{App, CreatePackage, Manifest, ManifestApp, OfApp, Package, ResourceMatches, ToOne},
    dea::HealthCheck,
};
use files::Source;
use reqwest::Method;
use std::path::{Path, PathBuf};

/// Times that an upload is sent when the platform loses it.
const UPLOAD_TRIES: u32 = 5;

/// Flags of `cupola push`.
#[derive(Debug, Default, clap::Args)]
pub struct Arguments {
    /// Name of the app; with a manifest, the one of its apps to push
    name: Option<String>,
    /// Folder or archive (.zip, .war, .jar) of the app [default: the manifest's, else this folder]
    #[arg(short, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Number of instances
    #[arg(short)]
    instances: Option<u32>,
    /// Memory of each instance, such as 256M
    #[arg(short)]
    memory: Option<String>,
    /// Disk of each instance, such as 1G
    #[arg(short = 'k', value_name = "DISK")]
    disk: Option<String>,
    /// Buildpack by name; without it each is asked in turn
    #[arg(short)]
    buildpack: Option<String>,
    /// Start command
    #[arg(short, allow_hyphen_values = true)]
    command: Option<String>,
    /// Environment variable; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// How health is found out: port, process or http
    #[arg(short = 'u', value_name = "TYPE", value_parser = health_check)]
    health_check: Option<HealthCheck>,
    /// Path of the http health check
    #[arg(long, value_name = "PATH")]
    endpoint: Option<String>,
    /// Seconds until an instance must be healthy
    #[arg(short, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Host name of its route [default: its name]
    #[arg(short = 'n', value_name = "HOST")]
    hostname: Option<String>,
    /// Stack to stage and run on
    #[arg(short)]
    stack: Option<String>,
    /// Upload, and neither stage nor start
    #[arg(long)]
    no_start: bool,
    /// Give it no route
    #[arg(long)]
    no_route: bool,
    /// Manifest [default: manifest.yml of the folder, where there is one]
    #[arg(short = 'f', value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Do not look for a manifest
    #[arg(long, conflicts_with = "manifest")]
    no_manifest: bool,
}

fn health_check(text: &str) -> Result<HealthCheck, String> {
    match text {
        "port" => Ok(HealthCheck::Port),
        "process" | "none" => Ok(HealthCheck::Process),
        "http" => Ok(HealthCheck::Http),
        _ => Err("it is port, process or http".to_owned()),
    }
}

/// Reads a size of a flag.
pub(crate) fn size(flag: &'static str, text: Option<&str>) -> Result<Option<Mebibytes>, Error> {
    text.map(str::parse).transpose().map_err(|source| Error::Size { flag, source })
}

/// Runs the command: each app of the manifest in turn.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Error> {
    size("-m", arguments.memory.as_deref())?;
    size("-k", arguments.disk.as_deref())?;
    let mut api = Api::open()?;
    api.session.space()?;
    for (app, folder) in manifest::apps(&arguments)? {
        let path = app.path.as_ref().map_or(folder.clone(), |path| folder.join(path));
        one(&mut api, &arguments, app, &path).await?;
    }
    Ok(())
}

async fn one(api: &mut Api, arguments: &Arguments, mut wish: ManifestApp, path: &Path) -> Result<(), Error> {
    // Everything that can be wrong here is found before the platform hears of it.
    let source = Source::read(path)?;
    let space = api.session.space()?.clone();
    let name = wish.name.clone();
    output::doing(&format!("Pushing app {name} to space {} ...", space.name));
    if let Some(host) = &arguments.hostname {
        let domains: Vec<cupola_protocol::api::Domain> = api.list("/v3/domains").await?;
        let Some(domain) = domains.first() else {
            return Err(Error::Usage("the platform has no domain: -n cannot be used".to_owned()));
        };
        wish.routes =
            Some(vec![cupola_protocol::api::ManifestRoute { route: format!("{host}.{}", domain.name) }]);
        wish.default_route = None;
    }
    let is_new = find_app_maybe(api, &name).await?.is_none();
    let result = push(api, arguments, wish, &source, &space.guid).await;
    if result.is_err() && is_new {
        // What never came to life is not left behind half-made, unless there is something in it to look at.
        discard_unless_staged(api, &name).await;
    }
    result
}

/// Deletes an app that this push made and that has no droplet: a failed push leaves nothing.
async fn discard_unless_staged(api: &mut Api, name: &str) {
    let Ok(Some(app)) = find_app_maybe(api, name).await else { return };
    let droplet = api.get::<serde_json::Value>(&format!("/v3/apps/{}/droplets/current", app.guid)).await;
    if droplet.is_ok() {
        return;
    }
    let routes = api.list::<cupola_protocol::api::Route>(&format!("/v3/apps/{}/routes", app.guid)).await;
    let mut paths = vec![format!("/v3/apps/{}", app.guid)];
    paths.extend(routes.into_iter().flatten().map(|route| format!("/v3/routes/{}", route.guid)));
    for path in paths {
        if let Ok(Some(job)) = api.send_for_job(Method::DELETE, &path, |request| request).await {
            let _ = wait::job(api, &job, "deleting what the push made").await;
        }
    }
}

async fn push(
    api: &mut Api,
    arguments: &Arguments,
    wish: ManifestApp,
    source: &Source,
    space: &str,
) -> Result<(), Error> {
    let name = wish.name.clone();
    let manifest = Manifest { version: None, applications: vec![ManifestApp { path: None, ..wish }] };
    let yaml = serde_yaml_ng::to_string(&manifest)
        .map_err(|error| Error::Manifest { path: "(flags)".into(), why: error.to_string() })?;
    let path = format!("/v3/spaces/{space}/actions/apply_manifest");
    let job = api
        .send_for_job(Method::POST, &path, |request| {
            request.header("Content-Type", "application/x-yaml").body(yaml.clone())
        })
        .await?;
    if let Some(job) = job {
        wait::job(api, &job, "applying the manifest").await?;
    }
    let app = find_app(api, &name).await?;
    let package = upload(api, &app, source).await?;
    if arguments.no_start {
        api.act(&format!("/v3/apps/{}/actions/stop", app.guid)).await?;
        output::line(format_args!("uploaded; `cupola start {name}` stages and starts it"));
        return show_app(api, &app).await;
    }
    output::doing("Staging ...");
    let droplet = wait::stage(api, &app, &package).await?;
    wait::set_droplet(api, &app.guid, &droplet).await?;
    output::doing("Starting ...");
    api.act(&format!("/v3/apps/{}/actions/restart", app.guid)).await?;
    wait::instances(api, &app).await?;
    output::line("");
    show_app(api, &app).await
}

/// Sends what the platform lacks; gives the package's guid.
async fn upload(api: &mut Api, app: &App, source: &Source) -> Result<String, Error> {
    let wanted = ResourceMatches { resources: source.resources() };
    let known: ResourceMatches = if wanted.resources.is_empty() {
        wanted
    } else {
        api.call(Method::POST, "/v3/resource_matches", &wanted).await?
    };
    let request =
        CreatePackage { kind: "bits".to_owned(), relationships: OfApp { app: ToOne::new(app.guid.clone()) } };
    let (archive, matched) = source.archive(known)?;
    let mut package: Package = api.call(Method::POST, "/v3/packages", &request).await?;
    let mut tries = 1;
    loop {
        let path = format!("/v3/packages/{}/upload", package.guid);
        let form = || archive::form(&archive, &matched, source.describe());
        let sent = api.upload::<Package>(&path, form).await;
        if let Err(error) = sent
            && (tries >= UPLOAD_TRIES || !api.goes_on(&error).await)
        {
            return Err(error);
        }
        match wait::package(api, &package.guid).await? {
            Upload::Ready => return Ok(package.guid),
            Upload::Lost | Upload::Gone if tries >= UPLOAD_TRIES => {
                let detail = format!("the platform has lost it {tries} times");
                return Err(Error::Job { what: "the upload".to_owned(), detail });
            }
            Upload::Lost => {}
            Upload::Gone => package = api.call(Method::POST, "/v3/packages", &request).await?,
        }
        tries += 1;
    }
}
