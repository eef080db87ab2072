//! Who sees which plan: the administrator's.

use super::plans;
use crate::{
    Error,
    api::{Api, escape},
    commands::delete::confirmed,
    output,
};
use cupola_protocol::api::{Organization, PlanVisibility, ServicePlan, VisibleTo};
use reqwest::Method;

/// Flags of `cupola enable-service-access` and `cupola disable-service-access`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The offering
    offering: String,
    /// One plan of it [default: all]
    #[arg(short = 'p', value_name = "PLAN")]
    plan: Option<String>,
    /// One organization [default: everybody]
    #[arg(short = 'o', value_name = "ORGANIZATION")]
    organization: Option<String>,
    /// Its broker, when several have an offering of this name
    #[arg(short = 'b', value_name = "BROKER")]
    broker: Option<String>,
}

async fn visibility(api: &mut Api, plan: &ServicePlan) -> Result<PlanVisibility, Error> {
    api.get(&format!("/v3/service_plans/{}/visibility", plan.guid)).await
}

/// Runs `service-access`.
pub(super) async fn all(api: &mut Api) -> Result<(), Error> {
    let mut rows = Vec::new();
    for (offering, plan) in plans(api, "").await? {
        let visible = visibility(api, &plan).await?;
        let access = match visible.kind.as_str() {
            "public" => "all",
            "organization" => "limited",
            _ => "none",
        };
        let names: Vec<_> = visible
            .organizations
            .into_iter()
            .flatten()
            .filter_map(|organization| organization.name)
            .collect();
        rows.push(vec![offering.name, plan.name, access.to_owned(), names.join(", ")]);
    }
    rows.sort();
    output::table(&["offering", "plan", "access", "organizations"], &rows);
    Ok(())
}

/// Runs `enable-service-access` and `disable-service-access`.
pub(super) async fn set(api: &mut Api, arguments: Arguments, enable: bool) -> Result<(), Error> {
    let name = &arguments.offering;
    let mut query = format!("&service_offering_names={}", escape(name));
    if let Some(plan) = &arguments.plan {
        query.push_str(&format!("&names={}", escape(plan)));
    }
    if let Some(broker) = &arguments.broker {
        query.push_str(&format!("&service_broker_names={}", escape(broker)));
    }
    let plans = plans(api, &query).await?;
    if plans.is_empty() {
        let what = arguments.plan.as_ref().map_or(name.clone(), |plan| format!("{name} {plan}"));
        return Err(Error::Unknown { kind: "service offering", name: what, list: "cupola service-access" });
    }
    let organization = match &arguments.organization {
        Some(organization) => Some(organization_named(api, organization).await?),
        None => None,
    };
    for (_, plan) in plans {
        set_plan(api, &plan, organization.as_ref(), enable).await?;
    }
    output::ok();
    Ok(())
}

async fn organization_named(api: &mut Api, name: &str) -> Result<Organization, Error> {
    let path = format!("/v3/organizations?names={}", escape(name));
    let found = api.list::<Organization>(&path).await?.into_iter().next();
    found.ok_or_else(|| Error::Unknown { kind: "organization", name: name.to_owned(), list: "cupola orgs" })
}

async fn set_plan(
    api: &mut Api,
    plan: &ServicePlan,
    organization: Option<&Organization>,
    enable: bool,
) -> Result<(), Error> {
    let path = format!("/v3/service_plans/{}/visibility", plan.guid);
    let all = |kind: &str| PlanVisibility { kind: kind.to_owned(), organizations: None };
    match (organization, enable) {
        (None, _) => {
            let wish = all(if enable { "public" } else { "admin" });
            let _: PlanVisibility = api.call(Method::PATCH, &path, &wish).await?;
        }
        (Some(organization), true) => {
            let one = VisibleTo { guid: organization.guid.clone(), name: None };
            let wish = PlanVisibility { kind: "organization".to_owned(), organizations: Some(vec![one]) };
            let _: PlanVisibility = api.call(Method::POST, &path, &wish).await?;
        }
        (Some(organization), false) => {
            let path = format!("{path}/{}", organization.guid);
            match api.send_for_job(Method::DELETE, &path, |request| request).await {
                // It did not see it.
                Ok(_) | Err(Error::Refused { status: 404, .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Runs `purge-service-offering`.
pub(super) async fn purge(api: &mut Api, name: &str, force: bool) -> Result<(), Error> {
    let path = format!("/v3/service_offerings?names={}", escape(name));
    let found: Vec<cupola_protocol::api::ServiceOffering> = api.list(&path).await?;
    let offering = match found.len() {
        1 => &found[0],
        0 => {
            return Err(Error::Unknown {
                kind: "service offering",
                name: name.to_owned(),
                list: "cupola marketplace",
            });
        }
        _ => {
            return Err(Error::Usage(format!(
                "several brokers offer {name}: delete the broker's instances instead"
            )));
        }
    };
    let what = format!(
        "the offering {name} and the records of its instances, and leave what its broker has to the broker"
    );
    if !force && !confirmed(&what)? {
        output::line("nothing was deleted");
        return Ok(());
    }
    let path = format!("/v3/service_offerings/{}?purge=true", offering.guid);
    api.send_for_job(Method::DELETE, &path, |request| request).await?;
    output::ok();
    Ok(())
}
