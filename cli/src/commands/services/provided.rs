//! Service instances that their user provides.

use super::{find, parameters};
use crate::{Error, api::Api, output};
use cupola_protocol::api::{
    CreateServiceInstance, InstanceRelationships, ServiceInstance, ToOne, UpdateServiceInstance,
};
use reqwest::Method;
use serde_json::{Map, Value};

/// Flags of `cupola create-user-provided-service` and `cupola update-user-provided-service`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the instance
    name: String,
    /// Credentials: a JSON object, a file that holds one, or names to be asked for with commas between
    #[arg(short = 'p', value_name = "JSON|FILE|NAMES")]
    credentials: Option<String>,
    /// Where the logs of its apps go; an empty one removes it
    #[arg(short = 'l', value_name = "URL")]
    log_drain: Option<String>,
    /// Where requests for its routes go first; an empty one removes it
    #[arg(short = 'r', value_name = "URL")]
    route_service: Option<String>,
    /// Words that apps find it by, with commas between
    #[arg(short = 't', value_name = "TAGS")]
    tags: Option<String>,
}

/// Credentials of the flag. Names are asked for, so that secrets stand on no command line.
fn credentials(text: Option<&str>) -> Result<Option<Map<String, Value>>, Error> {
    let Some(text) = text else { return Ok(None) };
    let is_names = |text: &str| {
        text.split(',').all(|name| {
            let name = name.trim();
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        })
    };
    if text.trim_start().starts_with('{') || std::path::Path::new(text).is_file() || !is_names(text) {
        return parameters::read("-p", Some(text));
    }
    let mut asked = Map::new();
    for name in text.split(',').map(str::trim) {
        asked.insert(name.to_owned(), Value::String(ask(name)?));
    }
    Ok(Some(asked))
}

fn ask(name: &str) -> Result<String, Error> {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoTerminal { what: "credentials", flag: "-p '{\"name\": \"value\"}'" });
    }
    rpassword::prompt_password(format!("{name}: ")).map_err(|source| Error::File {
        action: "read",
        path: "standard input".into(),
        source,
    })
}

/// Runs `create-user-provided-service`.
pub(super) async fn create(api: &mut Api, arguments: Arguments) -> Result<(), Error> {
    let given = credentials(arguments.credentials.as_deref())?;
    let space = api.session.space()?.clone();
    let request = CreateServiceInstance {
        kind: "user-provided".to_owned(),
        name: arguments.name.clone(),
        tags: parameters::tags(arguments.tags.as_deref()).unwrap_or_default(),
        parameters: None,
        credentials: Some(given.unwrap_or_default()),
        syslog_drain_url: arguments.log_drain,
        route_service_url: arguments.route_service,
        relationships: InstanceRelationships { space: ToOne::new(space.guid), service_plan: None },
        metadata: None,
    };
    let name = &arguments.name;
    output::doing(&format!("Creating user provided service {name} in space {} ...", space.name));
    let _: ServiceInstance = api.call(Method::POST, "/v3/service_instances", &request).await?;
    output::ok();
    output::line(format_args!("`cupola bind-service APP {name}` gives its credentials to an app"));
    Ok(())
}

/// Runs `update-user-provided-service`.
pub(super) async fn update(api: &mut Api, arguments: Arguments) -> Result<(), Error> {
    let instance = find(api, &arguments.name).await?;
    if instance.kind != "user-provided" {
        return Err(Error::Usage(format!(
            "{} is not user provided: `cupola update-service` changes it",
            instance.name
        )));
    }
    let request = UpdateServiceInstance {
        tags: parameters::tags(arguments.tags.as_deref()),
        credentials: credentials(arguments.credentials.as_deref())?,
        syslog_drain_url: arguments.log_drain,
        route_service_url: arguments.route_service,
        ..UpdateServiceInstance::default()
    };
    if request == UpdateServiceInstance::default() {
        return Err(Error::Usage("nothing is to be changed: give -p, -l, -r or -t".to_owned()));
    }
    output::doing(&format!("Updating user provided service {} ...", instance.name));
    let path = format!("/v3/service_instances/{}", instance.guid);
    let _: ServiceInstance = api.call(Method::PATCH, &path, &request).await?;
    output::ok();
    output::line("`cupola restart APP` lets an app that is bound see it");
    Ok(())
}
