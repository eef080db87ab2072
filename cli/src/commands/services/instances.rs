//! `create-service`, `update-service`, `delete-service` and what is near them.

use super::{Stands, ask, find, find_maybe, parameters, plans, tell};
use crate::{
    Error,
    api::{Api, escape},
    commands::delete::confirmed,
    output,
};
use cupola_protocol::api::{
    CreateServiceInstance, InstanceRelationships, NewPlan, ServiceBroker, ServiceInstance, ServicePlan,
    ToOne, UpdateServiceInstance,
};
use reqwest::Method;

/// Flags of `cupola create-service`.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// The offering
    offering: String,
    /// The plan
    plan: String,
    /// Name of the instance
    name: String,
    /// Parameters for the broker: a JSON object, or a file that holds one
    #[arg(short = 'c', value_name = "JSON|FILE")]
    parameters: Option<String>,
    /// Words that apps find it by, with commas between
    #[arg(short = 't', value_name = "TAGS")]
    tags: Option<String>,
    /// The broker, when several have an offering of this name
    #[arg(short = 'b', value_name = "BROKER")]
    broker: Option<String>,
    /// Return when it is made, however long that takes
    #[arg(short, long)]
    wait: bool,
}

/// Flags of `cupola update-service`.
#[derive(Debug, clap::Args)]
pub struct Update {
    /// The instance
    name: String,
    /// Another plan of its offering
    #[arg(short = 'p', value_name = "PLAN")]
    plan: Option<String>,
    /// Parameters for the broker: a JSON object, or a file that holds one
    #[arg(short = 'c', value_name = "JSON|FILE")]
    parameters: Option<String>,
    /// Words that apps find it by, with commas between
    #[arg(short = 't', value_name = "TAGS")]
    tags: Option<String>,
    /// Return when it is done, however long that takes
    #[arg(short, long)]
    wait: bool,
}

/// Flags of `cupola delete-service`.
#[derive(Debug, clap::Args)]
pub struct Delete {
    /// The instance
    name: String,
    /// Do not ask
    #[arg(short)]
    force: bool,
    /// Unbind its apps and delete its keys first
    #[arg(short, long)]
    recursive: bool,
    /// Return when it is gone, however long that takes
    #[arg(short, long)]
    wait: bool,
}

/// Runs `create-service`.
pub(super) async fn create(api: &mut Api, arguments: Create) -> Result<(), Error> {
    let wanted = parameters::read("-c", arguments.parameters.as_deref())?;
    let space = api.session.space()?.clone();
    let plan = plan(api, &arguments).await?;
    let request = CreateServiceInstance {
        kind: "managed".to_owned(),
        name: arguments.name.clone(),
        tags: parameters::tags(arguments.tags.as_deref()).unwrap_or_default(),
        parameters: wanted,
        credentials: None,
        syslog_drain_url: None,
        route_service_url: None,
        relationships: InstanceRelationships {
            space: ToOne::new(space.guid),
            service_plan: Some(ToOne::new(plan.guid)),
        },
        metadata: None,
    };
    let name = &arguments.name;
    output::doing(&format!("Creating service instance {name} in space {} ...", space.name));
    let what = format!("creating {name}");
    let stands =
        ask(api, Method::POST, "/v3/service_instances", Some(&request), &what, arguments.wait).await?;
    tell(stands, name);
    if stands == Stands::Done {
        output::line(format_args!("`cupola bind-service APP {name}` gives its credentials to an app"));
    }
    Ok(())
}

async fn plan(api: &mut Api, arguments: &Create) -> Result<ServicePlan, Error> {
    let (offering, plan) = (&arguments.offering, &arguments.plan);
    let space = api.session.space()?.guid.clone();
    let broker = match &arguments.broker {
        Some(broker) => format!("&service_broker_names={}", escape(broker)),
        None => String::new(),
    };
    let query = format!("&service_offering_names={}&space_guids={space}{broker}", escape(offering));
    let found = plans(api, &query).await?;
    if found.is_empty() {
        return Err(Error::Unknown {
            kind: "service offering",
            name: offering.clone(),
            list: "cupola marketplace",
        });
    }
    let mut fitting: Vec<_> = found.into_iter().filter(|(_, known)| known.name == *plan).collect();
    match fitting.len() {
        0 => Err(Error::Usage(format!(
            "{offering} has no plan {plan:?}; `cupola marketplace -e {offering}` lists what there is"
        ))),
        1 => Ok(fitting.remove(0).1),
        _ => {
            let brokers: Vec<ServiceBroker> = api.list("/v3/service_brokers").await.unwrap_or_default();
            let names: Vec<_> = brokers.into_iter().map(|broker| broker.name).collect();
            let hint = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            Err(Error::Usage(format!("several brokers offer {offering}: name one with -b{hint}")))
        }
    }
}

/// Runs `update-service`.
pub(super) async fn update(api: &mut Api, arguments: Update) -> Result<(), Error> {
    let wanted = parameters::read("-c", arguments.parameters.as_deref())?;
    let tags = parameters::tags(arguments.tags.as_deref());
    if wanted.is_none() && tags.is_none() && arguments.plan.is_none() {
        return Err(Error::Usage(
            "nothing is to be changed: give -p PLAN, -c PARAMETERS or -t TAGS".to_owned(),
        ));
    }
    let name = &arguments.name;
    let instance = find(api, name).await?;
    let relationships = match &arguments.plan {
        Some(plan) => {
            let guid = other_plan(api, &instance, plan).await?;
            Some(NewPlan { service_plan: Some(ToOne::new(guid)) })
        }
        None => None,
    };
    let request =
        UpdateServiceInstance { tags, parameters: wanted, relationships, ..UpdateServiceInstance::default() };
    output::doing(&format!("Updating service instance {name} ..."));
    let path = format!("/v3/service_instances/{}", instance.guid);
    let what = format!("updating {name}");
    let stands = ask(api, Method::PATCH, &path, Some(&request), &what, arguments.wait).await?;
    tell(stands, name);
    Ok(())
}

/// Another plan of the offering that an instance is of.
async fn other_plan(api: &mut Api, instance: &ServiceInstance, plan: &str) -> Result<String, Error> {
    let has = plans(api, &format!("&service_instance_guids={}", instance.guid)).await?.into_iter().next();
    let Some((offering, _)) = has else {
        return Err(Error::Usage(format!("{} is provided by its user, and has no plan", instance.name)));
    };
    let query = format!("&service_offering_guids={}&names={}", offering.guid, escape(plan));
    let found = plans(api, &query).await?.into_iter().next();
    found.map(|(_, plan)| plan.guid).ok_or_else(|| {
        let name = &offering.name;
        Error::Usage(format!(
            "{name} has no plan {plan:?}; `cupola marketplace -e {name}` lists what there is"
        ))
    })
}

/// Runs `rename-service`.
pub(super) async fn rename(api: &mut Api, name: &str, new_name: &str) -> Result<(), Error> {
    let instance = find(api, name).await?;
    let request =
        UpdateServiceInstance { name: Some(new_name.to_owned()), ..UpdateServiceInstance::default() };
    let path = format!("/v3/service_instances/{}", instance.guid);
    let what = format!("renaming {name}");
    tell(ask(api, Method::PATCH, &path, Some(&request), &what, true).await?, new_name);
    Ok(())
}

/// Runs `delete-service`.
pub(super) async fn delete(api: &mut Api, arguments: Delete) -> Result<(), Error> {
    let name = &arguments.name;
    let Some(instance) = find_maybe(api, name).await? else {
        output::line(format_args!("there is no service instance {name}"));
        output::ok();
        return Ok(());
    };
    if !arguments.force && !confirmed(&format!("the service instance {name} and its data"))? {
        output::line("nothing was deleted");
        return Ok(());
    }
    output::doing(&format!("Deleting service instance {name} ..."));
    let recursive = if arguments.recursive { "?recursive=true" } else { "" };
    let path = format!("/v3/service_instances/{}{recursive}", instance.guid);
    let what = format!("deleting {name}");
    let stands = ask(api, Method::DELETE, &path, None::<&()>, &what, arguments.wait).await?;
    tell(stands, name);
    Ok(())
}

/// Runs `purge-service-instance`.
pub(super) async fn purge(api: &mut Api, name: &str, force: bool) -> Result<(), Error> {
    let instance = find(api, name).await?;
    let what = format!("the record of {name}, and leave what its broker has to the broker");
    if !force && !confirmed(&what)? {
        output::line("nothing was deleted");
        return Ok(());
    }
    let path = format!("/v3/service_instances/{}?purge=true", instance.guid);
    ask(api, Method::DELETE, &path, None::<&()>, &format!("purging {name}"), true).await?;
    output::ok();
    Ok(())
}
