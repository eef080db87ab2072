//! What brokers offer: a user sees what has a plan for him.

use super::{
    included::{self, WithIncluded},
    plans::{VISIBLE_PLANS, sees_all},
};
use crate::{
    access::{Access, Action},
    api::{
        ApiError,
        endpoints::Endpoints,
        input::{Base, Params, bad_query},
        page::{self, Listing, by},
        tenancy::itself,
    },
    auth::User,
    context::{Context, Shared},
    store::{self, Filter, OfferingRow, Selection},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::StatusCode,
};
use cupola_protocol::api::{
    Link, Metadata, OfferingCatalog, OfferingFeatures, Relationships, ServiceOffering, ToOne,
};
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/service_offerings", Access::Listed, list)
        .get("/v3/service_offerings/{guid}", Access::User, one)
        .delete("/v3/service_offerings/{guid}", Access::Platform(Action::Administer), remove)
}

pub(super) fn show(base: &Base, row: OfferingRow) -> ServiceOffering {
    let catalog = row.catalog();
    let mut links = itself(base, &format!("/v3/service_offerings/{}", row.guid));
    let plans = format!("/v3/service_plans?service_offering_guids={}", row.guid);
    links.insert("service_plans".to_owned(), Link::get(base.url(&plans)));
    let broker = format!("/v3/service_brokers/{}", row.broker_guid);
    links.insert("service_broker".to_owned(), Link::get(base.url(&broker)));
    ServiceOffering {
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
        description: row.description,
        available: row.available,
        documentation_url: catalog
            .metadata
            .get("documentationUrl")
            .and_then(Value::as_str)
            .map(str::to_owned),
        shareable: false,
        broker_catalog: OfferingCatalog {
            id: row.catalog_id,
            features: OfferingFeatures {
                plan_updateable: catalog.plan_updateable,
                bindable: catalog.bindable,
                instances_retrievable: catalog.instances_retrievable,
                bindings_retrievable: catalog.bindings_retrievable,
                allow_context_updates: catalog.allow_context_updates,
            },
            metadata: catalog.metadata,
        },
        tags: catalog.tags,
        requires: catalog.requires,
        relationships: Relationships::from([(
            "service_broker".to_owned(),
            ToOne::new(row.broker_guid),
        )]),
        metadata: Metadata::default(),
        links,
    }
}

/// The condition that leaves of offerings what a user sees; none for who sees everything.
fn seen(user: &User) -> Option<Filter> {
    const BEFORE: &str = const_format_before();
    (!sees_all(user)).then(|| Filter::new(BEFORE, vec![user.guid().to_owned()], ")))))"))
}

/// `VISIBLE_PLANS` is the condition on plans; this is the one on their offerings.
const fn const_format_before() -> &'static str {
    // The two are compared by a test.
    "guid IN (SELECT offering_guid FROM service_plans WHERE (visibility = 'public' OR (visibility = 'organization' \
     AND service_plans.guid IN (SELECT plan_guid FROM service_plan_organizations JOIN visible_organizations ON \
     visible_organizations.organization_guid = service_plan_organizations.organization_guid \
     WHERE visible_organizations.user_guid IN ("
}
