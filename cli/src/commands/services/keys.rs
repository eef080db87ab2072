//! Service keys.

use super::{ask, find, parameters, tell};
use crate::{
    Error,
    api::{Api, escape},
    commands::delete::confirmed,
    output,
};
use cupola_protocol::api::{
    BindingDetails, BindingRelationships, CreateServiceBinding, ServiceBinding, ServiceInstance, ToOne,
};
use reqwest::Method;

/// Flags of `cupola create-service-key`.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// The service instance
    name: String,
    /// Name of the key
    key: String,
    /// Parameters for the broker: a JSON object, or a file that holds one
    #[arg(short = 'c', value_name = "JSON|FILE")]
    parameters: Option<String>,
    /// Return when it is made, however long that takes
    #[arg(short, long)]
    wait: bool,
}

/// Flags of `cupola delete-service-key`.
#[derive(Debug, clap::Args)]
pub struct Delete {
    /// The service instance
    name: String,
    /// The key
    key: String,
    /// Do not ask
    #[arg(short)]
    force: bool,
    /// Return when it is gone, however long that takes
    #[arg(short, long)]
    wait: bool,
}

async fn keys(api: &mut Api, instance: &ServiceInstance, query: &str) -> Result<Vec<ServiceBinding>, Error> {
    let guid = &instance.guid;
    api.list(&format!("/v3/service_credential_bindings?type=key&service_instance_guids={guid}{query}")).await
}

async fn key(api: &mut Api, instance: &ServiceInstance, name: &str) -> Result<ServiceBinding, Error> {
    let found = keys(api, instance, &format!("&names={}", escape(name))).await?;
    found.into_iter().next().ok_or_else(|| {
        let instance = &instance.name;
        Error::Usage(format!(
            "{instance} has no key {name:?}; `cupola service-keys {instance}` lists what there is"
        ))
    })
}

/// Runs `create-service-key`.
pub(super) async fn create(api: &mut Api, arguments: Create) -> Result<(), Error> {
    let wanted = parameters::read("-c", arguments.parameters.as_deref())?;
    let instance = find(api, &arguments.name).await?;
    let request = CreateServiceBinding {
        kind: "key".to_owned(),
        name: Some(arguments.key.clone()),
        parameters: wanted,
        relationships: BindingRelationships { service_instance: ToOne::new(instance.guid), app: None },
        metadata: None,
    };
    let (name, key) = (&instance.name, &arguments.key);
    output::doing(&format!("Creating key {key} of service instance {name} ..."));
    let path = "/v3/service_credential_bindings";
    let what = format!("creating key {key}");
    tell(ask(api, Method::POST, path, Some(&request), &what, arguments.wait).await?, name);
    Ok(())
}

/// Runs `service-keys`.
pub(super) async fn all(api: &mut Api, name: &str) -> Result<(), Error> {
    let instance = find(api, name).await?;
    let keys = keys(api, &instance, "").await?;
    if keys.is_empty() {
        output::line(format_args!("{name} has no keys: `cupola create-service-key {name} KEY` makes one"));
        return Ok(());
    }
    let rows: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let last =
                key.last_operation.map_or(String::new(), |last| format!("{} {}", last.kind, last.state));
            vec![key.name.unwrap_or_default(), last]
        })
        .collect();
    output::table(&["key", "last operation"], &rows);
    Ok(())
}

/// Runs `service-key`.
pub(super) async fn one(api: &mut Api, name: &str, of: &str, guid: bool) -> Result<(), Error> {
    let instance = find(api, name).await?;
    let key = key(api, &instance, of).await?;
    if guid {
        output::line(&key.guid);
        return Ok(());
    }
    let path = format!("/v3/service_credential_bindings/{}/details", key.guid);
    let details: BindingDetails = api.get(&path).await?;
    output::line(serde_json::to_string_pretty(&details.credentials).unwrap_or_default());
    Ok(())
}

/// Runs `delete-service-key`.
pub(super) async fn delete(api: &mut Api, arguments: Delete) -> Result<(), Error> {
    let instance = find(api, &arguments.name).await?;
    let found = keys(api, &instance, &format!("&names={}", escape(&arguments.key))).await?;
    let Some(key) = found.into_iter().next() else {
        output::line(format_args!("{} has no key {}", instance.name, arguments.key));
        output::ok();
        return Ok(());
    };
    if !arguments.force && !confirmed(&format!("the key {} of {}", arguments.key, instance.name))? {
        output::line("nothing was deleted");
        return Ok(());
    }
    let path = format!("/v3/service_credential_bindings/{}", key.guid);
    let what = format!("deleting key {}", arguments.key);
    tell(ask(api, Method::DELETE, &path, None::<&()>, &what, arguments.wait).await?, &instance.name);
    Ok(())
}
