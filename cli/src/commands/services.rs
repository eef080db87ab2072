//! Services: the marketplace, instances, bindings, keys, brokers.

mod access;
mod bindings;
mod brokers;
mod instances;
mod keys;
mod marketplace;
mod parameters;
mod provided;
mod show;

use crate::{
    Error,
    api::{Api, escape},
    output, wait,
};
use clap::Subcommand;
use cupola_protocol::api::{ServiceInstance, ServiceOffering, ServicePlan};
use reqwest::Method;
use serde::Serialize;

/// Services.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// What service brokers offer
    #[command(visible_alias = "m")]
    Marketplace {
        /// One offering, with what its plans are
        #[arg(short = 'e', value_name = "OFFERING")]
        offering: Option<String>,
    },
    /// The service instances of the space
    #[command(visible_alias = "s")]
    Services,
    /// One service instance, and what was last done to it
    Service {
        /// The instance
        name: String,
        /// Print its guid alone
        #[arg(long)]
        guid: bool,
        /// Print the parameters that it was made with alone
        #[arg(long, conflicts_with = "guid")]
        params: bool,
    },
    /// Make a service instance
    #[command(visible_alias = "cs")]
    CreateService(instances::Create),
    /// Change a service instance: its plan, parameters, tags
    UpdateService(instances::Update),
    /// Delete a service instance and its data
    #[command(visible_alias = "ds")]
    DeleteService(instances::Delete),
    /// Rename a service instance
    RenameService {
        /// The instance
        name: String,
        /// Its name from now on
        new_name: String,
    },
    /// Forget a service instance without asking its broker (as an administrator)
    PurgeServiceInstance {
        /// The instance
        name: String,
        /// Do not ask
        #[arg(short)]
        force: bool,
    },
    /// Give an app the credentials of a service instance
    #[command(visible_alias = "bs")]
    BindService(bindings::Bind),
    /// Take them back
    #[command(visible_alias = "us")]
    UnbindService(bindings::Unbind),
    /// Make credentials that are for no app
    #[command(visible_alias = "csk")]
    CreateServiceKey(keys::Create),
    /// The keys of a service instance
    #[command(visible_alias = "sk")]
    ServiceKeys {
        /// The instance
        name: String,
    },
    /// The credentials of a key
    ServiceKey {
        /// The instance
        name: String,
        /// The key
        key: String,
        /// Print its guid alone
        #[arg(long)]
        guid: bool,
    },
    /// Delete a key
    #[command(visible_alias = "dsk")]
    DeleteServiceKey(keys::Delete),
    /// Make a service instance of credentials that you have
    #[command(visible_alias = "cups")]
    CreateUserProvidedService(provided::Arguments),
    /// Change its credentials
    #[command(visible_alias = "uups")]
    UpdateUserProvidedService(provided::Arguments),
    /// The service brokers (as an administrator)
    ServiceBrokers,
    /// Register a service broker (as an administrator)
    #[command(visible_alias = "csb")]
    CreateServiceBroker(brokers::Arguments),
    /// Give a service broker another address or other credentials, and fetch its catalog (as an administrator)
    UpdateServiceBroker(brokers::Arguments),
    /// Rename a service broker (as an administrator)
    RenameServiceBroker {
        /// The broker
        name: String,
        /// Its name from now on
        new_name: String,
    },
    /// Remove a service broker of which there is no instance (as an administrator)
    DeleteServiceBroker {
        /// The broker
        name: String,
        /// Do not ask
        #[arg(short)]
        force: bool,
    },
    /// Who sees which plan (as an administrator)
    ServiceAccess,
    /// Let everybody, or one organization, see the plans of an offering (as an administrator)
    EnableServiceAccess(access::Arguments),
    /// Let nobody but administrators, or one organization less, see them (as an administrator)
    DisableServiceAccess(access::Arguments),
    /// Forget an offering with its instances, without asking its broker (as an administrator)
    PurgeServiceOffering {
        /// The offering
        offering: String,
        /// Do not ask
        #[arg(short)]
        force: bool,
    },
}

impl ServiceCommand {
    pub(crate) async fn run(self) -> Result<(), Error> {
        let mut api = Api::open()?;
        let api = &mut api;
        match self {
            Self::Marketplace { offering } => marketplace::run(api, offering.as_deref()).await,
            Self::Services => show::all(api).await,
            Self::Service { name, guid, params } => show::one(api, &name, guid, params).await,
            Self::CreateService(arguments) => instances::create(api, arguments).await,
            Self::UpdateService(arguments) => instances::update(api, arguments).await,
            Self::DeleteService(arguments) => instances::delete(api, arguments).await,
            Self::RenameService { name, new_name } => instances::rename(api, &name, &new_name).await,
            Self::PurgeServiceInstance { name, force } => instances::purge(api, &name, force).await,
            Self::BindService(arguments) => bindings::bind(api, arguments).await,
            Self::UnbindService(arguments) => bindings::unbind(api, arguments).await,
            Self::CreateServiceKey(arguments) => keys::create(api, arguments).await,
            Self::ServiceKeys { name } => keys::all(api, &name).await,
            Self::ServiceKey { name, key, guid } => keys::one(api, &name, &key, guid).await,
            Self::DeleteServiceKey(arguments) => keys::delete(api, arguments).await,
            Self::CreateUserProvidedService(arguments) => provided::create(api, arguments).await,
            Self::UpdateUserProvidedService(arguments) => provided::update(api, arguments).await,
            Self::ServiceBrokers => brokers::all(api).await,
            Self::CreateServiceBroker(arguments) => brokers::create(api, arguments).await,
            Self::UpdateServiceBroker(arguments) => brokers::update(api, arguments).await,
            Self::RenameServiceBroker { name, new_name } => brokers::rename(api, &name, &new_name).await,
            Self::DeleteServiceBroker { name, force } => brokers::delete(api, &name, force).await,
            Self::ServiceAccess => access::all(api).await,
            Self::EnableServiceAccess(arguments) => access::set(api, arguments, true).await,
            Self::DisableServiceAccess(arguments) => access::set(api, arguments, false).await,
            Self::PurgeServiceOffering { offering, force } => access::purge(api, &offering, force).await,
        }
    }
}

/// Finds a service instance of the targeted space by its name.
async fn find(api: &mut Api, name: &str) -> Result<ServiceInstance, Error> {
    find_maybe(api, name).await?.ok_or_else(|| Error::Unknown {
        kind: "service instance",
        name: name.to_owned(),
        list: "cupola services",
    })
}

/// The same, when it may be missing.
async fn find_maybe(api: &mut Api, name: &str) -> Result<Option<ServiceInstance>, Error> {
    let space = api.session.space()?.guid.clone();
    let path = format!("/v3/service_instances?names={}&space_guids={space}", escape(name));
    Ok(api.list::<ServiceInstance>(&path).await?.into_iter().next())
}

/// Plans that can be used in the targeted space, each with its offering.
async fn plans(api: &mut Api, query: &str) -> Result<Vec<(ServiceOffering, ServicePlan)>, Error> {
    let plans: Vec<ServicePlan> = api.list(&format!("/v3/service_plans?per_page=5000{query}")).await?;
    let offerings: Vec<ServiceOffering> = api.list("/v3/service_offerings?per_page=5000").await?;
    let with_offering = |plan: ServicePlan| {
        let guid = plan.relationships.get("service_offering")?.guid()?;
        let offering = offerings.iter().find(|offering| offering.guid == guid)?.clone();
        Some((offering, plan))
    };
    Ok(plans.into_iter().filter_map(with_offering).collect())
}

/// How a request that a broker has to carry out stands when a command returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Done,
    GoesOn,
}

/// Sends what a broker has to carry out. It waits until that is done, or, without `wait`, until the broker has taken
/// it.
async fn ask(
    api: &mut Api,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
    what: &str,
    wait: bool,
) -> Result<Stands, Error> {
    let job = api
        .send_for_job(method, path, |request| match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await?;
    let Some(job) = job else { return Ok(Stands::Done) };
    if wait {
        wait::long_job(api, &job, what).await?;
        return Ok(Stands::Done);
    }
    Ok(if wait::job_taken(api, &job, what).await? { Stands::Done } else { Stands::GoesOn })
}

/// Says how it stands.
fn tell(stands: Stands, name: &str) {
    match stands {
        Stands::Done => output::ok(),
        Stands::GoesOn => {
            output::line(format_args!("the broker is at work; `cupola service {name}` says how far it is"))
        }
    }
}
