//! The commands: what each takes, and which file runs it.

mod app;
mod apps;
mod crashes;
mod delete;
mod domains;
mod env;
mod files;
mod instances;
mod lifecycle;
mod login;
mod logs;
mod organizations;
mod platform;
mod quotas;
mod rename;
mod routes;
mod scale;
mod services;
mod target;
mod users;

use crate::{Error, api::Api, push, session::Session};
use clap::Subcommand;
use cupola_protocol::api::App;

/// A command of the developer.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set or show the address of the API
    Api {
        /// Its address, such as http://127.0.0.1:8081
        url: Option<String>,
    },
    /// Log in
    Login(login::Arguments),
    /// Forget the login
    Logout,
    /// Set or show the organization and the space that commands work in
    #[command(visible_alias = "t")]
    Target {
        /// Organization
        #[arg(short)]
        organization: Option<String>,
        /// Space
        #[arg(short)]
        space: Option<String>,
    },
    /// Push an app: upload it, stage it, run it
    #[command(visible_aliases = ["p", "update"])]
    Push(push::Arguments),
    /// The apps of the space
    #[command(visible_alias = "a")]
    Apps,
    /// One app and its instances
    App {
        /// The app
        name: String,
        /// Print its guid alone
        #[arg(long)]
        guid: bool,
    },
    /// Rename an app
    Rename {
        /// The app
        name: String,
        /// Its name from now on
        new_name: String,
    },
    /// Follow an app's log, or show the last of it
    Logs {
        /// The app
        name: String,
        /// Show what there is, and return
        #[arg(long)]
        recent: bool,
    },
    /// Show or set the number of instances, memory and disk
    Scale(scale::Arguments),
    /// Start an app
    #[command(visible_alias = "st")]
    Start {
        /// The app
        name: String,
    },
    /// Stop an app
    #[command(visible_alias = "sp")]
    Stop {
        /// The app
        name: String,
    },
    /// Stop an app and start it again
    #[command(visible_alias = "rs")]
    Restart {
        /// The app
        name: String,
    },
    /// Stage an app again, with its last pushed source, and restart it
    #[command(visible_alias = "rg")]
    Restage {
        /// The app
        name: String,
    },
    /// Delete an app
    #[command(visible_alias = "d")]
    Delete(delete::Arguments),
    /// The environment of an app
    #[command(visible_alias = "e")]
    Env {
        /// The app
        name: String,
    },
    /// Set an environment variable of an app
    #[command(visible_aliases = ["se", "env-add"])]
    SetEnv {
        /// The app
        name: String,
        /// The variable, or variable and value as NAME=VALUE
        variable: String,
        /// Its value
        #[arg(allow_hyphen_values = true)]
        value: Option<String>,
    },
    /// Remove an environment variable of an app
    #[command(visible_aliases = ["ue", "env-del"])]
    UnsetEnv {
        /// The app
        name: String,
        /// The variable
        variable: String,
    },
    /// Instances of an app
    #[command(flatten)]
    Instances(instances::InstanceCommand),
    /// Routes of the space
    #[command(flatten)]
    Routes(routes::RouteCommand),
    /// Domains of the platform
    #[command(flatten)]
    Domains(domains::DomainCommand),
    /// Services
    #[command(flatten)]
    Services(services::ServiceCommand),
    /// The platform and the session
    #[command(flatten)]
    Platform(platform::PlatformCommand),
    /// Organizations and spaces
    #[command(flatten)]
    Organizations(organizations::OrganizationCommand),
    /// Users and their roles
    #[command(flatten)]
    Users(users::UserCommand),
    /// Quotas
    #[command(flatten)]
    Quotas(quotas::QuotaCommand),
}

impl Command {
    pub(crate) async fn run(self) -> Result<(), Error> {
        match self {
            Self::Api { url } => target::api(url).await,
            Self::Login(arguments) => login::run(arguments).await,
            Self::Logout => logout(),
            Self::Target { organization, space } => target::run(organization, space).await,
            Self::Push(arguments) => push::run(arguments).await,
            Self::Apps => apps::run().await,
            Self::App { name, guid } => app::run(&name, guid).await,
            Self::Rename { name, new_name } => rename::run(&name, &new_name).await,
            Self::Logs { name, recent } => logs::run(&name, recent).await,
            Self::Scale(arguments) => scale::run(arguments).await,
            Self::Start { name } => lifecycle::start(&name).await,
            Self::Stop { name } => lifecycle::stop(&name).await,
            Self::Restart { name } => lifecycle::restart(&name).await,
            Self::Restage { name } => lifecycle::restage(&name).await,
            Self::Delete(arguments) => delete::run(arguments).await,
            Self::Env { name } => env::show(&name).await,
            Self::SetEnv { name, variable, value } => {
                let (variable, value) = env::pair(variable, value)?;
                env::set(&name, &variable, Some(value)).await
            }
            Self::UnsetEnv { name, variable } => env::set(&name, &variable, None).await,
            Self::Instances(command) => command.run().await,
            Self::Routes(command) => command.run().await,
            Self::Domains(command) => command.run().await,
            Self::Services(command) => command.run().await,
            Self::Platform(command) => command.run().await,
            Self::Organizations(command) => command.run().await,
            Self::Users(command) => command.run().await,
            Self::Quotas(command) => command.run().await,
        }
    }
}

fn logout() -> Result<(), Error> {
    let session = Session::load()?;
    session.forgotten(session.api.clone()).save()?;
    crate::output::ok();
    Ok(())
}

/// Finds an app of the targeted space by its name.
pub(crate) async fn find_app(api: &mut Api, name: &str) -> Result<App, Error> {
    find_app_maybe(api, name).await?.ok_or_else(|| Error::Unknown {
        kind: "app",
        name: name.to_owned(),
        list: "cupola apps",
    })
}

/// The same, when it may be missing.
pub(crate) async fn find_app_maybe(api: &mut Api, name: &str) -> Result<Option<App>, Error> {
    let space = api.session.space()?.guid.clone();
    let path = format!("/v3/apps?names={}&space_guids={space}", crate::api::escape(name));
    Ok(api.list::<App>(&path).await?.into_iter().next())
}

#[cfg(test)]
mod tests;

/// Finds a thing by its name in a list whose address ends with `?` or `&`.
async fn find<T: serde::de::DeserializeOwned>(
    api: &mut Api,
    list: &str,
    kind: &'static str,
    name: &str,
    command: &'static str,
) -> Result<T, Error> {
    let found: Vec<T> = api.list(&format!("{list}names={}", crate::api::escape(name))).await?;
    found.into_iter().next().ok_or_else(|| Error::Unknown { kind, name: name.to_owned(), list: command })
}

pub(crate) use app::show as show_app;
pub(crate) use logs::Tail;
