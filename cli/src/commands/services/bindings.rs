//! `bind-service`, `unbind-service`.

use super::{Stands, ask, find, parameters};
use crate::{Error, api::Api, commands::find_app, output};
use cupola_protocol::api::{BindingRelationships, CreateServiceBinding, ServiceBinding, ToOne};
use reqwest::Method;

/// Flags of `cupola bind-service`.
#[derive(Debug, clap::Args)]
pub struct Bind {
    /// The app
    app: String,
    /// The service instance
    name: String,
    /// Parameters for the broker: a JSON object, or a file that holds one
    #[arg(short = 'c', value_name = "JSON|FILE")]
    parameters: Option<String>,
    /// Name that the app finds it by
    #[arg(long, value_name = "NAME")]
    binding_name: Option<String>,
    /// Return when it is done, however long that takes
    #[arg(short, long)]
    wait: bool,
}

/// Flags of `cupola unbind-service`.
#[derive(Debug, clap::Args)]
pub struct Unbind {
    /// The app
    app: String,
    /// The service instance
    name: String,
    /// Return when it is done, however long that takes
    #[arg(short, long)]
    wait: bool,
}

/// Runs `bind-service`.
pub(super) async fn bind(api: &mut Api, arguments: Bind) -> Result<(), Error> {
    let wanted = parameters::read("-c", arguments.parameters.as_deref())?;
    let app = find_app(api, &arguments.app).await?;
    let instance = find(api, &arguments.name).await?;
    let request = CreateServiceBinding {
        kind: "app".to_owned(),
        name: arguments.binding_name,
        parameters: wanted,
        relationships: BindingRelationships {
            service_instance: ToOne::new(instance.guid),
            app: Some(ToOne::new(app.guid)),
        },
        metadata: None,
    };
    let (app, name) = (&app.name, &instance.name);
    output::doing(&format!("Binding service instance {name} to app {app} ..."));
    let path = "/v3/service_credential_bindings";
    let what = format!("binding {name} to {app}");
    match ask(api, Method::POST, path, Some(&request), &what, arguments.wait).await? {
        Stands::Done => {
            output::ok();
            output::line(format_args!(
                "`cupola restart {app}` lets the app see it; `cupola restage {app}` its buildpack too"
            ));
        }
        Stands::GoesOn => output::line(format_args!(
            "the broker is at work; `cupola service {name}` says how far it is, then restart the app"
        )),
    }
    Ok(())
}

/// Runs `unbind-service`.
pub(super) async fn unbind(api: &mut Api, arguments: Unbind) -> Result<(), Error> {
    let app = find_app(api, &arguments.app).await?;
    let instance = find(api, &arguments.name).await?;
    let (name, path) = (&instance.name, "/v3/service_credential_bindings");
    let query = format!("?type=app&app_guids={}&service_instance_guids={}", app.guid, instance.guid);
    let bindings: Vec<ServiceBinding> = api.list(&format!("{path}{query}")).await?;
    let Some(binding) = bindings.into_iter().next() else {
        output::line(format_args!("app {} is not bound to {name}", app.name));
        output::ok();
        return Ok(());
    };
    output::doing(&format!("Unbinding app {} from service instance {name} ...", app.name));
    let what = format!("unbinding {} from {name}", app.name);
    let path = format!("{path}/{}", binding.guid);
    match ask(api, Method::DELETE, &path, None::<&()>, &what, arguments.wait).await? {
        Stands::Done => output::ok(),
        Stands::GoesOn => {
            output::line(format_args!("the broker is at work; `cupola service {name}` says how far it is"));
        }
    }
    Ok(())
}
