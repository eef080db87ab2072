//! `rename`: another name for an app; its routes stay.

use super::find_app;
use crate::{Error, api::Api, output};
use cupola_protocol::api::{App, UpdateApp};
use reqwest::Method;

/// Runs the command.
pub(crate) async fn run(name: &str, new_name: &str) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    let body = UpdateApp { name: Some(new_name.to_owned()), ..UpdateApp::default() };
    let app: App = api.call(Method::PATCH, &format!("/v3/apps/{}", app.guid), &body).await?;
    output::line(format_args!("app {name} is {} from now on; its routes stay", app.name));
    output::ok();
    Ok(())
}
