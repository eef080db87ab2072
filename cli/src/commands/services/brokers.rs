//! Service brokers: the administrator's.

use super::ask;
use crate::{
    Error,
    api::{Api, escape},
    commands::delete::confirmed,
    output,
};
use cupola_protocol::api::{
    BrokerAuthentication, CreateServiceBroker, Relationships, ServiceBroker, UpdateServiceBroker,
};
use reqwest::Method;
use std::io::IsTerminal;

/// The variable that can hold a broker's password, as with the `cf` CLI.
const PASSWORD: &str = "CF_BROKER_PASSWORD";

/// Flags of `cupola create-service-broker` and `cupola update-service-broker`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the broker
    name: String,
    /// User name of the platform at the broker
    username: String,
    /// Its password, then the broker's address, such as http://broker.example:8080. Better without the password, which
    /// other users of this machine could see: then it is taken from CF_BROKER_PASSWORD, or asked for
    #[arg(num_args = 1..=2, required = true, value_names = ["PASSWORD", "URL"])]
    password_and_url: Vec<String>,
}

impl Arguments {
    fn url_and_authentication(&self) -> Result<(String, BrokerAuthentication), Error> {
        let (password, url) = match &self.password_and_url[..] {
            [password, url] => (password.clone(), url.clone()),
            [url] => (password()?, url.clone()),
            _ => return Err(Error::Usage("give the password and the address of the broker".to_owned())),
        };
        Ok((url, BrokerAuthentication::basic(&self.username, password)))
    }
}

fn password() -> Result<String, Error> {
    if let Ok(password) = std::env::var(PASSWORD) {
        return Ok(password);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoTerminal {
            what: "password of the broker",
            flag: "the variable CF_BROKER_PASSWORD",
        });
    }
    rpassword::prompt_password("password of the broker: ").map_err(|source| Error::File {
        action: "read",
        path: "standard input".into(),
        source,
    })
}

async fn find_maybe(api: &mut Api, name: &str) -> Result<Option<ServiceBroker>, Error> {
    let path = format!("/v3/service_brokers?names={}", escape(name));
    Ok(api.list::<ServiceBroker>(&path).await?.into_iter().next())
}

async fn find(api: &mut Api, name: &str) -> Result<ServiceBroker, Error> {
    find_maybe(api, name).await?.ok_or_else(|| Error::Unknown {
        kind: "service broker",
        name: name.to_owned(),
        list: "cupola service-brokers",
    })
}

/// Runs `service-brokers`.
pub(super) async fn all(api: &mut Api) -> Result<(), Error> {
    let brokers: Vec<ServiceBroker> = api.list("/v3/service_brokers?order_by=name").await?;
    if brokers.is_empty() {
        output::line("no service brokers, or you may not see them: only administrators do");
        return Ok(());
    }
    let rows: Vec<_> = brokers.into_iter().map(|broker| vec![broker.name, broker.url]).collect();
    output::table(&["name", "url"], &rows);
    Ok(())
}

/// Runs `create-service-broker`.
pub(super) async fn create(api: &mut Api, arguments: Arguments) -> Result<(), Error> {
    let (url, authentication) = arguments.url_and_authentication()?;
    let name = arguments.name;
    let request = CreateServiceBroker {
        name: name.clone(),
        url,
        authentication,
        relationships: Relationships::new(),
        metadata: None,
    };
    output::doing(&format!("Creating service broker {name} ..."));
    let what = format!("fetching the catalog of {name}");
    ask(api, Method::POST, "/v3/service_brokers", Some(&request), &what, true).await?;
    output::ok();
    output::line(
        "`cupola enable-service-access OFFERING` lets others than administrators see what it offers",
    );
    Ok(())
}

/// Runs `update-service-broker`.
pub(super) async fn update(api: &mut Api, arguments: Arguments) -> Result<(), Error> {
    let (url, authentication) = arguments.url_and_authentication()?;
    let request = UpdateServiceBroker {
        url: Some(url),
        authentication: Some(authentication),
        ..UpdateServiceBroker::default()
    };
    change(api, &arguments.name, &request).await
}

/// Runs `rename-service-broker`.
pub(super) async fn rename(api: &mut Api, name: &str, new_name: &str) -> Result<(), Error> {
    let request = UpdateServiceBroker { name: Some(new_name.to_owned()), ..UpdateServiceBroker::default() };
    change(api, name, &request).await
}

async fn change(api: &mut Api, name: &str, request: &UpdateServiceBroker) -> Result<(), Error> {
    let broker = find(api, name).await?;
    output::doing(&format!("Updating service broker {name} ..."));
    let path = format!("/v3/service_brokers/{}", broker.guid);
    ask(api, Method::PATCH, &path, Some(request), &format!("fetching the catalog of {name}"), true).await?;
    output::ok();
    Ok(())
}

/// Runs `delete-service-broker`.
pub(super) async fn delete(api: &mut Api, name: &str, force: bool) -> Result<(), Error> {
    let Some(broker) = find_maybe(api, name).await? else {
        output::line(format_args!("there is no service broker {name}"));
        output::ok();
        return Ok(());
    };
    if !force && !confirmed(&format!("the service broker {name}"))? {
        output::line("nothing was deleted");
        return Ok(());
    }
    let path = format!("/v3/service_brokers/{}", broker.guid);
    ask(api, Method::DELETE, &path, None::<&()>, &format!("deleting {name}"), true).await?;
    output::ok();
    Ok(())
}
