//! `env`, `set-env`, `unset-env`.

use super::find_app;
use crate::{Error, api::Api, output};
use cupola_protocol::api::{AppEnv, EnvVars};
use reqwest::Method;
use std::collections::BTreeMap;

/// Shows the environment of an app.
pub(crate) async fn show(name: &str) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    let env: AppEnv = api.get(&format!("/v3/apps/{}/env", app.guid)).await?;
    output::line(format_args!("System-provided:"));
    for (variable, value) in env.system_env_json.iter().chain(&env.application_env_json) {
        output::line(format_args!("{variable}: {}", serde_json::to_string_pretty(value).unwrap_or_default()));
    }
    output::line("");
    output::line(format_args!("User-provided:"));
    if env.environment_variables.is_empty() {
        output::line(format_args!("nothing is set; `cupola set-env {name} NAME VALUE` does"));
    }
    for (variable, value) in &env.environment_variables {
        output::line(format_args!("{variable}: {value}"));
    }
    Ok(())
}

/// A variable and its value: in two words, or in one as `NAME=VALUE`.
pub(crate) fn pair(variable: String, value: Option<String>) -> Result<(String, String), Error> {
    match (value, variable.split_once('=')) {
        (Some(value), _) => Ok((variable, value)),
        (None, Some((name, value))) => Ok((name.to_owned(), value.to_owned())),
        (None, None) => Err(Error::Usage(format!(
            "{variable} has no value: write {variable} VALUE or {variable}=VALUE, or remove it with unset-env"
        ))),
    }
}

/// Sets a variable, or removes it.
pub(crate) async fn set(name: &str, variable: &str, value: Option<String>) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    let change = EnvVars { var: BTreeMap::from([(variable.to_owned(), value)]), links: BTreeMap::new() };
    let path = format!("/v3/apps/{}/environment_variables", app.guid);
    let _: EnvVars = api.call(Method::PATCH, &path, &change).await?;
    output::ok();
    output::line(format_args!(
        "`cupola restart {name}` lets the app see it; `cupola restage {name}` its buildpack too"
    ));
    Ok(())
}
