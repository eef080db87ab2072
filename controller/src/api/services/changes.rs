//! Service instances: made, changed, deleted.

use super::{
    goes_on,
    instances::{instance, shown},
    invalid_plan,
    plans::is_usable,
    words,
};
use crate::{
    access::{Access, Action, Kind},
    api::{
        ApiError,
        endpoints::Endpoints,
        input::{Base, Input, Params, bad_query},
        jobs,
        tenancy::check_name,
    },
    auth::User,
    context::{Context, Shared},
    services::{InstanceChange, Wish, busy_instance, name_taken},
    store::{self, InstanceRow, Origin, SpaceRow},
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use cupola_protocol::{
    api::{CreateServiceInstance, UpdateServiceInstance},
    osb,
};
use serde_json::json;
use url::Url;

/// The most characters of all tags of an instance, as in Cloud Foundry.
const MAX_TAGS: usize = 2048;

pub(super) fn routes() -> Endpoints {
    let write = Access::On(Kind::ServiceInstance, Action::WriteServices);
    Endpoints::new()
        .post("/v3/service_instances", Access::Named(Kind::Space, Action::WriteServices), create)
        .patch("/v3/service_instances/{guid}", write, update)
        .delete("/v3/service_instances/{guid}", write, remove)
        .post("/v3/service_instances/{guid}/relationships/shared_spaces", write, share)
}

async fn share() -> ApiError {
    ApiError::unprocessable("Sharing service instances between spaces is not supported yet.")
}

fn check_tags(tags: &[String]) -> Result<(), ApiError> {
    if tags.iter().map(|tag| tag.chars().count()).sum::<usize>() > MAX_TAGS {
        return Err(ApiError::unprocessable(format!(
            "Tags must have {MAX_TAGS} characters at most, all together."
        )));
    }
    Ok(())
}

/// An address that is given, where an empty one stands for none.
fn address(name: &str, text: Option<String>, schemes: &[&str]) -> Result<Option<String>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let good = Url::parse(&text).is_ok_and(|url| url.has_host() && schemes.contains(&url.scheme()));
    if good {
        Ok(Some(text))
    } else {
        let schemes = schemes.iter().map(|scheme| format!("{scheme}://")).collect::<Vec<_>>().join(", ");
        Err(ApiError::unprocessable(format!("{name} must be an address with {schemes}, not {text:?}.")))
    }
}

const DRAINS: [&str; 4] = ["syslog", "syslog-tls", "https", "http"];
const ROUTE_SERVICES: [&str; 1] = ["https"];

async fn create(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Input(wish): Input<CreateServiceInstance>,
) -> Result<Response, ApiError> {
    let space = wish.relationships.space.guid().unwrap_or_default();
    let invalid = "Invalid space. Ensure that the space exists and you have access to it.";
    user.may_named(&context, Action::WriteServices, Kind::Space, space, invalid).await?;
    let space: Option<SpaceRow> = store::get(&context.pool, "spaces", space).await?;
    let space = space.ok_or_else(|| ApiError::unprocessable(invalid))?;
    check_name(&wish.name)?;
    check_tags(&wish.tags)?;
    let now = store::now();
    let managed = match wish.kind.as_str() {
        "managed" => true,
        "user-provided" => false,
        _ => return Err(ApiError::unprocessable("Type must be one of 'managed', 'user-provided'.")),
    };
    let row = InstanceRow {
        guid: store::new_guid(),
        name: wish.name.clone(),
        space_guid: space.guid.clone(),
        kind: wish.kind.clone(),
        plan_guid: None,
        tags: store::json(&wish.tags),
        credentials: None,
        syslog_drain_url: None,
        route_service_url: None,
        dashboard_url: None,
        maintenance_info: None,
        operation: "create".to_owned(),
        operation_state: if managed { "in progress" } else { "succeeded" }.to_owned(),
        operation_description: (!managed).then(|| "Operation succeeded".to_owned()),
        operation_created_at: now.clone(),
        operation_updated_at: now.clone(),
        created_at: now.clone(),
        updated_at: now,
    };
    // One that was never made is in nobody's way.
    let old = store::instance_named(&context.pool, &space.guid, &row.name).await?;
    if old.as_ref().is_some_and(|old| !old.never_made()) {
        return Err(ApiError::unprocessable(format!("The service instance name is taken: {}.", row.name)));
    }
    if managed {
        provision(&context, &user, &base, wish, row, &space, old).await
    } else {
        provide(&context, &base, wish, row, old).await
    }
}

async fn provision(
    context: &Shared,
    user: &User,
    base: &Base,
    wish: CreateServiceInstance,
    row: InstanceRow,
    space: &SpaceRow,
    old: Option<InstanceRow>,
) -> Result<Response, ApiError> {
    if wish.credentials.is_some() || wish.syslog_drain_url.is_some() || wish.route_service_url.is_some() {
        return Err(ApiError::unprocessable(
            "Credentials and addresses are for user-provided service instances: a broker gives them.",
        ));
    }
    let plan = wish.relationships.service_plan.as_ref().and_then(|plan| plan.guid()).unwrap_or_default();
    let origin = usable(context, user, plan, space).await?;
    let maintenance_info = origin.plan.catalog().maintenance_info.map(|info| store::json(&info));
    let row = InstanceRow { plan_guid: Some(origin.plan.guid.clone()), maintenance_info, ..row };
    if let Some(old) = old {
        context.make_way(&old).await?;
    }
    let begun = context.begin_provision(&row, &origin, wish.parameters, user.guid()).await?;
    Ok(goes_on(base, &begun).into_response())
}

/// A plan of which the user can have an instance in a space.
async fn usable(context: &Context, user: &User, plan: &str, space: &SpaceRow) -> Result<Origin, ApiError> {
    let origin = store::origin(&context.pool, plan).await?.ok_or_else(invalid_plan)?;
    if !is_usable(context, user, &origin.plan, space).await? {
        return Err(invalid_plan());
    }
    if !(origin.plan.available && origin.offering.available) {
        let detail = format!(
            "Invalid service plan. The service plan {} of {} is no longer offered by its broker.",
            origin.plan.name, origin.offering.name
        );
        return Err(ApiError::unprocessable(detail));
    }
    Ok(origin)
}

async fn provide(
    context: &Shared,
    base: &Base,
    wish: CreateServiceInstance,
    row: InstanceRow,
    old: Option<InstanceRow>,
) -> Result<Response, ApiError> {
    if wish.parameters.is_some() || wish.relationships.service_plan.is_some() {
        return Err(ApiError::unprocessable(
            "User-provided service instances have no plan and no parameters: give their credentials.",
        ));
    }
    let row = InstanceRow {
        credentials: Some(store::json(&wish.credentials.unwrap_or_default())),
        syslog_drain_url: address("Syslog drain url", wish.syslog_drain_url, &DRAINS)?,
        route_service_url: address("Route service url", wish.route_service_url, &ROUTE_SERVICES)?,
        ..row
    };
    if let Some(old) = old {
        context.make_way(&old).await?;
    }
    let mut change = context.pool.begin().await?;
    store::insert_instance(&mut change, &row).await.map_err(|error| name_taken(error, &row.name))?;
    change.commit().await?;
    Ok((StatusCode::CREATED, Json(shown(context, base, &row.guid).await?)).into_response())
}

async fn update(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<UpdateServiceInstance>,
) -> Result<Response, ApiError> {
    let mut row = instance(&context, &guid).await?;
    if row.in_progress() {
        return Err(busy_instance(&row.name));
    }
    let old_name = row.name.clone();
    if let Some(name) = &wish.name {
        check_name(name)?;
        let other = store::instance_named(&context.pool, &row.space_guid, name).await?;
        if other.is_some_and(|other| other.guid != guid) {
            return Err(ApiError::unprocessable(format!("The service instance name is taken: {name}.")));
        }
        row.name.clone_from(name);
    }
    if let Some(tags) = &wish.tags {
        check_tags(tags)?;
        row.tags = store::json(tags);
    }
    if row.is_managed() {
        if wish.credentials.is_some() || wish.syslog_drain_url.is_some() || wish.route_service_url.is_some() {
            return Err(ApiError::unprocessable(
                "Credentials and addresses are for user-provided service instances: a broker gives them.",
            ));
        }
        if let Some((origin, asked)) = broker_update(&context, &user, &row, &old_name, &wish).await? {
            let begun = context.begin_update(&row, &origin, &asked, user.guid()).await?;
            return Ok(goes_on(&base, &begun).into_response());
        }
    } else {
        if wish.parameters.is_some() || wish.relationships.is_some() || wish.maintenance_info.is_some() {
            return Err(ApiError::unprocessable(
                "User-provided service instances have no plan and no parameters: change their credentials.",
            ));
        }
        if let Some(credentials) = &wish.credentials {
            row.credentials = Some(store::json(credentials));
        }
        if wish.syslog_drain_url.is_some() {
            row.syslog_drain_url = address("Syslog drain url", wish.syslog_drain_url, &DRAINS)?;
        }
        if wish.route_service_url.is_some() {
            row.route_service_url = address("Route service url", wish.route_service_url, &ROUTE_SERVICES)?;
        }
    }
    let mut change = context.pool.begin().await?;
    let written = store::update_instance(&mut change, &row).await;
    if !written.map_err(|error| name_taken(error, &row.name))? {
        return Err(busy_instance(&row.name));
    }
    change.commit().await?;
    Ok(Json(shown(&context, &base, &guid).await?).into_response())
}

/// What the broker has to be asked for to change an instance; nothing when only the platform knows the difference.
async fn broker_update(
    context: &Context,
    user: &User,
    row: &InstanceRow,
    old_name: &str,
    wish: &UpdateServiceInstance,
) -> Result<Option<(Origin, Wish)>, ApiError> {
    let plan = row.plan_guid.as_deref().unwrap_or_default();
    let origin = store::origin(&context.pool, plan).await?.ok_or_else(invalid_plan)?;
    let offering = origin.offering.catalog();
    let wanted = wish.relationships.as_ref().and_then(|plan| plan.service_plan.as_ref()?.guid());
    let new_plan = wanted.filter(|guid| *guid != origin.plan.guid);
    let renamed = row.name != old_name && offering.allow_context_updates;
    if new_plan.is_none() && wish.parameters.is_none() && wish.maintenance_info.is_none() && !renamed {
        return Ok(None);
    }
    if row.never_made() {
        return Err(ApiError::unprocessable(format!(
            "The service instance {old_name} was never made, and cannot be changed: delete it and create it anew."
        )));
    }
    let mut target = origin.plan.clone();
    if let Some(guid) = new_plan {
        if !origin.plan.catalog().is_updateable(&offering) {
            return Err(ApiError::unprocessable("The service does not support changing plans."));
        }
        let space: Option<SpaceRow> = store::get(&context.pool, "spaces", &row.space_guid).await?;
        let space = space.ok_or_else(|| ApiError::not_found("Space"))?;
        let to = usable(context, user, guid, &space).await?;
        if to.offering.guid != origin.offering.guid {
            return Err(ApiError::unprocessable(
                "Invalid service plan. It belongs to another service offering.",
            ));
        }
        target = to.plan;
    }
    let latest = target.catalog().maintenance_info;
    let version = |info: &osb::MaintenanceInfo| json!(info.version);
    if let Some(wished) = &wish.maintenance_info
        && wished.get("version") != latest.as_ref().map(version).as_ref()
    {
        let detail = "maintenance_info.version requested is invalid: it must be that of the service plan.";
        return Err(ApiError::unprocessable(detail));
    }
    let upgrade = new_plan.is_some() || wish.maintenance_info.is_some();
    let old = row.maintenance_info.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let body = osb::UpdateRequest {
        service_id: offering.id.clone(),
        plan_id: Some(target.catalog_id.as_str().into()),
        context: context.broker_context(&row.space_guid, &row.name).await?,
        parameters: wish.parameters.clone(),
        previous_values: Some(osb::PreviousValues {
            plan_id: Some(origin.plan.catalog_id.as_str().into()),
            maintenance_info: old,
        }),
        maintenance_info: if upgrade { latest.clone() } else { None },
    };
    let instance = InstanceChange {
        name: row.name.clone(),
        tags: row.tags.clone(),
        plan_guid: Some(target.guid.clone()),
        maintenance_info: if upgrade {
            latest.map(|info| store::json(&info))
        } else {
            row.maintenance_info.clone()
        },
    };
    let asked = Wish { body: json!(body), instance: Some(instance), ..Wish::about(&origin) };
    Ok(Some((origin, asked)))
}

/// Whether a flag of the query is set.
fn flag(params: &Params, name: &str) -> Result<bool, ApiError> {
    match params.get(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(bad_query(&format!("{name} must be true or false"))),
    }
}

/// Deletes an instance. With `purge=true` an administrator has the platform forget it without asking its broker; with
/// `recursive=true` its bindings go first; else it must have none.
async fn remove(
    State(context): State<Shared>,
    user: User,
    base: Base,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Response, ApiError> {
    let row = instance(&context, &guid).await?;
    let (purge, recursive) = (flag(&params, "purge")?, flag(&params, "recursive")?);
    if purge {
        user.may_on_platform(Action::Administer)?;
        store::purge_instance(&context.pool, &guid).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if row.in_progress() {
        return Err(busy_instance(&row.name));
    }
    let bindings = store::bindings_of_instance(&context.pool, &guid).await?;
    if !bindings.is_empty() && !recursive {
        return Err(in_use(&context, &row).await?);
    }
    let origin = match &row.plan_guid {
        Some(plan) => store::origin(&context.pool, plan).await?,
        None => None,
    };
    let Some(origin) = origin else {
        store::purge_instance(&context.pool, &guid).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    // Its broker is being cleaned up already: nothing is left to wait for.
    if row.never_made() && !store::operations_of_instance(&context.pool, &guid).await?.is_empty() {
        context.forget_rows_of_instance(&row).await?;
        return Ok(jobs::done(&context, &user, &base, "service_instance.delete").await?.into_response());
    }
    let begun = context.begin_deprovision(&row, &origin, recursive, user.guid()).await?;
    Ok(goes_on(&base, &begun).into_response())
}

/// Why an instance that has bindings is not deleted: it names them.
async fn in_use(context: &Context, row: &InstanceRow) -> Result<ApiError, ApiError> {
    let mut apps = Vec::new();
    let mut keys = Vec::new();
    for binding in store::bindings_of_instance(&context.pool, &row.guid).await? {
        match &binding.app_guid {
            Some(app) => apps.push(context.app(app).await.map(|app| app.name).unwrap_or_default()),
            None => keys.push(binding.name.unwrap_or_default()),
        }
    }
    let mut kinds = Vec::new();
    let mut uses = Vec::new();
    if !apps.is_empty() {
        kinds.push("service_bindings");
        uses.push(format!("is bound to {}", words(&apps)));
    }
    if !keys.is_empty() {
        kinds.push("service_keys");
        uses.push(format!("has the keys {}", words(&keys)));
    }
    let detail = format!(
        "Please delete the {} associations for your service_instances: {} {}. Unbind and delete them first, or delete \
         the service instance recursively.",
        kinds.join(" and "),
        row.name,
        uses.join(" and ")
    );
    Ok(ApiError::new(422, 10006, "CF-AssociationNotEmpty", detail))
}
