//! `start`, `stop`, `restart`, `restage`.

use super::{find_app, show_app};
use crate::{Error, api::Api, output, wait};
use cupola_protocol::{
    api::{App, Package, PackageStatus},
    controller::DesiredState,
};

/// Starts an app, which is staged first when it never was, and waits until it runs.
pub(crate) async fn start(name: &str) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    if app.state == DesiredState::Started {
        output::line(format_args!("app {name} is started already"));
        return show_app(&mut api, &app).await;
    }
    if app.relationships.get("current_droplet").is_some_and(|droplet| droplet.guid().is_none()) {
        stage_newest(&mut api, &app).await?;
    }
    output::doing(&format!("Starting app {name} ..."));
    act(&mut api, &app, "start").await
}

/// Stops an app.
pub(crate) async fn stop(name: &str) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    output::doing(&format!("Stopping app {name} ..."));
    api.act(&format!("/v3/apps/{}/actions/stop", app.guid)).await?;
    output::ok();
    Ok(())
}

/// Restarts an app and waits until it runs.
pub(crate) async fn restart(name: &str) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    output::doing(&format!("Restarting app {name} ..."));
    act(&mut api, &app, "restart").await
}

/// Stages the newest package again and restarts the app on the droplet.
pub(crate) async fn restage(name: &str) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    stage_newest(&mut api, &app).await?;
    output::doing(&format!("Restarting app {name} ..."));
    act(&mut api, &app, "restart").await
}

/// Stages the newest package of an app; it is what the app runs from now on.
async fn stage_newest(api: &mut Api, app: &App) -> Result<(), Error> {
    let name = &app.name;
    let path = format!("/v3/packages?app_guids={}&order_by=-created_at&states=READY", app.guid);
    let packages: Vec<Package> = api.list(&path).await?;
    let Some(package) = packages.into_iter().find(|package| package.state == PackageStatus::Ready) else {
        return Err(Error::Usage(format!(
            "app {name} has no source to stage: `cupola push {name} -p PATH` gives it one"
        )));
    };
    output::doing(&format!("Staging app {name} ..."));
    let droplet = wait::stage(api, app, &package.guid).await?;
    wait::set_droplet(api, &app.guid, &droplet).await?;
    Ok(())
}

async fn act(api: &mut Api, app: &App, action: &str) -> Result<(), Error> {
    api.act(&format!("/v3/apps/{}/actions/{action}", app.guid)).await?;
    wait::instances(api, app).await?;
    output::line("");
    show_app(api, app).await
}
