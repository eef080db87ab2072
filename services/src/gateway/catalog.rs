//! What is offered: the catalog, from the configured plans.

use super::{Config, Plan};
use crate::secret::digest;
use cupola_protocol::{
    OfferingId, PlanId,
    osb::{self, Catalog, Offering},
    services::Engine,
};
use serde_json::{Map, Value, json};

/// Seconds for which an operation in the background should be followed.
const POLLING: u64 = 600;

/// Ids are made from names, so that every gateway of one name offers the same.
fn id(parts: &[&str]) -> String {
    let text = digest(parts, 32);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// The offering of an engine.
pub(crate) fn offering_id(config: &Config, engine: Engine) -> OfferingId {
    OfferingId::from(id(&["offering", &config.broker_name, engine.name()]))
}

/// A plan.
pub(crate) fn plan_id(config: &Config, plan: &Plan) -> PlanId {
    PlanId::from(id(&["plan", &config.broker_name, plan.engine.name(), &plan.name]))
}

/// The plan of these ids.
pub(crate) fn find<'a>(config: &'a Config, service: &OfferingId, plan: &PlanId) -> Option<&'a Plan> {
    config
        .plans
        .iter()
        .find(|known| offering_id(config, known.engine) == *service && plan_id(config, known) == *plan)
}

/// Everything that is offered.
pub(crate) fn catalog(config: &Config) -> Catalog {
    let offered = |engine: &Engine| config.plans.iter().any(|plan| plan.engine == *engine);
    Catalog {
        services: Engine::ALL.into_iter().filter(offered).map(|engine| offering(config, engine)).collect(),
    }
}

fn offering(config: &Config, engine: Engine) -> Offering {
    let (title, description, tags): (_, _, &[&str]) = match engine {
        Engine::Postgresql => {
            ("PostgreSQL", "PostgreSQL, a relational database", &["postgresql", "postgres", "relational"])
        }
        Engine::Redis => (
            "Redis",
            "Redis, an in-memory store whose every write is on disk",
            &["redis", "key-value", "cache"],
        ),
    };
    Offering {
        id: offering_id(config, engine),
        name: engine.name().to_owned(),
        description: description.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        requires: vec![],
        bindable: true,
        instances_retrievable: true,
        bindings_retrievable: true,
        allow_context_updates: true,
        metadata: object(json!({"displayName": title})),
        dashboard_client: None,
        plan_updateable: false,
        plans: config
            .plans
            .iter()
            .filter(|plan| plan.engine == engine)
            .map(|plan| offer(config, plan))
            .collect(),
    }
}

fn offer(config: &Config, plan: &Plan) -> osb::Plan {
    // No parameter is known yet: what is not known is refused, and clients can see that before.
    let none = json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "additionalProperties": false});
    osb::Plan {
        id: plan_id(config, plan),
        name: plan.name.clone(),
        description: plan.description.clone(),
        metadata: Map::new(),
        free: Some(plan.free),
        bindable: None,
        binding_rotatable: None,
        plan_updateable: None,
        schemas: Some(json!({
            "service_instance": {"create": {"parameters": none}},
            "service_binding": {"create": {"parameters": none}},
        })),
        maximum_polling_duration: Some(POLLING),
        maintenance_info: None,
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_plan_is_found_by_its_ids() {
        let config = Config::default();
        let catalog = catalog(&config);
        let mut ids = BTreeSet::new();
        let mut plans = 0;
        for offering in &catalog.services {
            assert!(ids.insert(offering.id.to_string()));
            for plan in &offering.plans {
                assert!(ids.insert(plan.id.to_string()));
                let found = find(&config, &offering.id, &plan.id).unwrap();
                assert_eq!((found.engine.name(), &found.name), (offering.name.as_str(), &plan.name));
                plans += 1;
            }
        }
        assert_eq!(plans, config.plans.len());
        let (one, two) = (&catalog.services[0], &catalog.services[1]);
        assert!(find(&config, &one.id, &two.plans[0].id).is_none(), "a plan of another offering");
    }

    #[test]
    fn an_engine_without_plans_is_not_offered() {
        let mut config = Config::default();
        config.plans.retain(|plan| plan.engine == Engine::Redis);
        assert_eq!(catalog(&config).services.len(), 1);
    }
}
