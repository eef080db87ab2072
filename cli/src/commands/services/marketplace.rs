//! `marketplace`: offerings and plans.

use super::plans;
use crate::{
    Error,
    api::{Api, escape},
    output,
};
use cupola_protocol::api::{ServiceBroker, ServiceOffering, ServicePlan};
use std::collections::BTreeMap;

/// Shows what can be used in the targeted space.
pub(super) async fn run(api: &mut Api, offering: Option<&str>) -> Result<(), Error> {
    let space = match api.session.space() {
        Ok(space) => format!("&space_guids={}", space.guid),
        Err(_) => String::new(),
    };
    let query = match offering {
        Some(name) => format!("&available=true&service_offering_names={}{space}", escape(name)),
        None => format!("&available=true{space}"),
    };
    let found = plans(api, &query).await?;
    match offering {
        Some(name) if found.is_empty() => Err(Error::Unknown {
            kind: "service offering",
            name: name.to_owned(),
            list: "cupola marketplace",
        }),
        Some(_) => {
            details(&found);
            Ok(())
        }
        None if found.is_empty() => {
            output::line("nothing is offered: `cupola create-service-broker` registers who offers something");
            Ok(())
        }
        None => {
            // Only administrators see brokers.
            let brokers: Vec<ServiceBroker> = api.list("/v3/service_brokers").await.unwrap_or_default();
            overview(found, &brokers);
            Ok(())
        }
    }
}

fn price(plan: &ServicePlan) -> &'static str {
    if plan.free { "" } else { "*" }
}

fn overview(found: Vec<(ServiceOffering, ServicePlan)>, brokers: &[ServiceBroker]) {
    let mut rows: BTreeMap<(String, String), (ServiceOffering, Vec<String>)> = BTreeMap::new();
    for (offering, plan) in found {
        let key = (offering.name.clone(), offering.guid.clone());
        let shown = format!("{}{}", plan.name, price(&plan));
        rows.entry(key).or_insert_with(|| (offering, Vec::new())).1.push(shown);
    }
    let paid = rows.values().any(|(_, plans)| plans.iter().any(|plan| plan.ends_with('*')));
    let rows: Vec<_> = rows
        .into_values()
        .map(|(offering, plans)| {
            let guid = offering.relationships.get("service_broker").and_then(|broker| broker.guid());
            let broker = brokers.iter().find(|broker| Some(broker.guid.as_str()) == guid);
            let broker = broker.map_or(String::new(), |broker| broker.name.clone());
            vec![offering.name, plans.join(", "), offering.description, broker]
        })
        .collect();
    output::table(&["offering", "plans", "description", "broker"], &rows);
    output::line("");
    if paid {
        output::line("* costs something");
    }
    output::line(
        "`cupola marketplace -e OFFERING` tells more of its plans; `cupola create-service` makes an instance",
    );
}

fn details(found: &[(ServiceOffering, ServicePlan)]) {
    let rows: Vec<_> = found
        .iter()
        .map(|(offering, plan)| {
            let cost = if plan.free { "free" } else { "paid" };
            let bindable = if plan.broker_catalog.features.bindable { "yes" } else { "no" };
            vec![
                offering.name.clone(),
                plan.name.clone(),
                plan.description.clone(),
                cost.to_owned(),
                bindable.to_owned(),
            ]
        })
        .collect();
    output::table(&["offering", "plan", "description", "costs", "bindable"], &rows);
}
