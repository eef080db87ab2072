//! `scale`: instances, memory, disk.

use super::{find_app, show_app};
use crate::{Error, api::Api, output, push::size, wait};
use cupola_protocol::{
    api::{Process, Scale},
    controller::DesiredState,
};
use reqwest::Method;

/// Flags of `cupola scale`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The app
    pub(super) name: String,
    /// Number of instances
    #[arg(short)]
    pub(super) instances: Option<u32>,
    /// Memory of each instance, such as 256M; restarts the app
    #[arg(short)]
    pub(super) memory: Option<String>,
    /// Disk of each instance, such as 1G; restarts the app
    #[arg(short = 'k')]
    pub(super) disk: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, &arguments.name).await?;
    let scale = Scale {
        instances: arguments.instances,
        memory_in_mb: size("-m", arguments.memory.as_deref())?,
        disk_in_mb: size("-k", arguments.disk.as_deref())?,
        log_rate_limit_in_bytes_per_second: None,
    };
    let nothing = scale.instances.is_none() && scale.memory_in_mb.is_none() && scale.disk_in_mb.is_none();
    if nothing {
        return show_app(&mut api, &app).await;
    }
    output::doing(&format!("Scaling app {} ...", app.name));
    let resizes = scale.memory_in_mb.is_some() || scale.disk_in_mb.is_some();
    let path = format!("/v3/apps/{}/processes/web/actions/scale", app.guid);
    let _: Process = api.call(Method::POST, &path, &scale).await?;
    if app.state == DesiredState::Started {
        if resizes {
            api.act(&format!("/v3/apps/{}/actions/restart", app.guid)).await?;
        }
        wait::instances(&mut api, &app).await?;
    }
    output::ok();
    show_app(&mut api, &app).await
}
