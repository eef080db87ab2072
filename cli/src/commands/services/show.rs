//! `services` and `service`: instances as they are.

use super::{find, plans};
use crate::{Error, api::Api, output};
use cupola_protocol::api::{App, LastOperation, OperationState, ServiceBinding, ServiceInstance};
use std::collections::BTreeMap;

/// What was last done, in words: `create succeeded`.
fn last(operation: Option<&LastOperation>) -> String {
    operation.map_or(String::new(), |last| format!("{} {}", last.kind, last.state))
}

/// Names of apps by guid, of the targeted space.
async fn app_names(api: &mut Api) -> Result<BTreeMap<String, String>, Error> {
    let space = api.session.space()?.guid.clone();
    let apps: Vec<App> = api.list(&format!("/v3/apps?space_guids={space}")).await?;
    Ok(apps.into_iter().map(|app| (app.guid, app.name)).collect())
}

fn guid_of<'a>(binding: &'a ServiceBinding, of: &str) -> Option<&'a str> {
    binding.relationships.get(of).and_then(|to| to.guid())
}

/// Shows all instances of the space.
pub(super) async fn all(api: &mut Api) -> Result<(), Error> {
    let space = api.session.space()?.clone();
    let path = format!("/v3/service_instances?order_by=name&space_guids={}", space.guid);
    let instances: Vec<ServiceInstance> = api.list(&path).await?;
    if instances.is_empty() {
        output::line(format_args!(
            "no services in space {}: `cupola create-service OFFERING PLAN NAME` makes one",
            space.name
        ));
        return Ok(());
    }
    let guids: Vec<&str> = instances.iter().map(|instance| instance.guid.as_str()).collect();
    let path = format!("/v3/service_credential_bindings?type=app&service_instance_guids={}", guids.join(","));
    let bindings: Vec<ServiceBinding> = api.list(&path).await?;
    let names = app_names(api).await?;
    let plans = plans(api, &format!("&service_instance_guids={}", guids.join(","))).await?;
    let rows: Vec<_> = instances
        .iter()
        .map(|instance| {
            let plan = instance.relationships.get("service_plan").and_then(|plan| plan.guid());
            let plan = plans.iter().find(|(_, known)| Some(known.guid.as_str()) == plan);
            let (offering, plan) = match plan {
                Some((offering, plan)) => (offering.name.clone(), plan.name.clone()),
                None => (instance.kind.clone(), String::new()),
            };
            let bound: Vec<&str> = bindings
                .iter()
                .filter(|binding| guid_of(binding, "service_instance") == Some(&instance.guid))
                .filter_map(|binding| names.get(guid_of(binding, "app")?).map(String::as_str))
                .collect();
            let last = last(instance.last_operation.as_ref());
            vec![instance.name.clone(), offering, plan, bound.join(", "), last]
        })
        .collect();
    output::table(&["name", "offering", "plan", "bound apps", "last operation"], &rows);
    Ok(())
}

/// Shows one instance.
pub(super) async fn one(api: &mut Api, name: &str, guid: bool, params: bool) -> Result<(), Error> {
    let instance = find(api, name).await?;
    if guid {
        output::line(&instance.guid);
        return Ok(());
    }
    if params {
        let path = format!("/v3/service_instances/{}/parameters", instance.guid);
        let found: serde_json::Value = api.get(&path).await?;
        output::line(serde_json::to_string_pretty(&found).unwrap_or_default());
        return Ok(());
    }
    let mut rows = vec![
        ("name", instance.name.clone()),
        ("guid", instance.guid.clone()),
        ("type", instance.kind.clone()),
    ];
    if let Some((offering, plan)) =
        plans(api, &format!("&service_instance_guids={}", instance.guid)).await?.into_iter().next()
    {
        rows.push(("offering", offering.name));
        rows.push(("plan", plan.name));
    }
    let more = [
        ("tags", Some(instance.tags.join(", "))),
        ("dashboard", instance.dashboard_url.clone()),
        ("log drain", instance.syslog_drain_url.clone()),
        ("route service", instance.route_service_url.clone()),
    ];
    rows.extend(
        more.into_iter()
            .filter_map(|(label, text)| Some((label, text?)))
            .filter(|(_, text)| !text.is_empty()),
    );
    if let Some(operation) = &instance.last_operation {
        rows.push(("last operation", last(Some(operation))));
        let words = operation.description.clone().unwrap_or_default();
        if !words.is_empty() && operation.state != OperationState::Succeeded {
            rows.push(("", words));
        }
        rows.push(("since", operation.updated_at.clone()));
    }
    for (label, text) in rows {
        output::line(format_args!("{label:<15}  {text}"));
    }
    bound_to(api, &instance).await
}

async fn bound_to(api: &mut Api, instance: &ServiceInstance) -> Result<(), Error> {
    let path = format!("/v3/service_credential_bindings?service_instance_guids={}", instance.guid);
    let bindings: Vec<ServiceBinding> = api.list(&path).await?;
    output::line("");
    if bindings.is_empty() {
        output::line(format_args!("no app is bound: `cupola bind-service APP {}` does", instance.name));
        return Ok(());
    }
    let names = app_names(api).await?;
    let rows: Vec<_> = bindings
        .iter()
        .map(|binding| {
            let app = guid_of(binding, "app").and_then(|guid| names.get(guid)).cloned().unwrap_or_default();
            let name = binding.name.clone().unwrap_or_default();
            let operation = binding.last_operation.as_ref();
            let words = operation
                .filter(|operation| operation.state == OperationState::Failed)
                .and_then(|operation| operation.description.clone())
                .unwrap_or_default();
            vec![binding.kind.clone(), app, name, last(operation), words]
        })
        .collect();
    output::table(&["binding", "app", "name", "last operation", "why"], &rows);
    Ok(())
}
