//! Service credential bindings: of apps, and keys.

use super::{
    goes_on,
    included::{self, WithIncluded},
    instances,
};
use crate::{
    access::{Access, Action, Kind},
    api::{
        ApiError, apps,
        endpoints::Endpoints,
        input::{Base, Input, Params},
        jobs,
        page::{self, Listing, by},
        tenancy::{check_name, itself},
    },
    auth::{Seen, User},
    context::{Context, Shared},
    services::{
        Call, NewBinding, already_bound, busy_binding, busy_instance, check_bindable, fetched, key_taken,
    },
    store::{self, AppRow, BindingRow, InstanceRow, Origin},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use cupola_protocol::{
    ServiceBindingId, ServiceInstanceId,
    api::{BindingDetails, CreateServiceBinding, Link, Metadata, Relationships, ServiceBinding, ToOne},
    osb,
};
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Endpoints {
    let path = "/v3/service_credential_bindings/{guid}";
    let secrets = Access::On(Kind::ServiceBinding, Action::ReadSecrets);
    Endpoints::new()
        .get("/v3/service_credential_bindings", Access::Listed, list)
        .post(
            "/v3/service_credential_bindings",
            Access::Named(Kind::ServiceInstance, Action::WriteServices),
            create,
        )
        .get(path, Access::On(Kind::ServiceBinding, Action::ReadSpace), one)
        .delete(path, Access::On(Kind::ServiceBinding, Action::WriteServices), remove)
        .get("/v3/service_credential_bindings/{guid}/details", secrets, details)
        .get("/v3/service_credential_bindings/{guid}/parameters", secrets, parameters)
}

fn show(base: &Base, row: BindingRow) -> ServiceBinding {
    let path = format!("/v3/service_credential_bindings/{}", row.guid);
    let mut links = itself(base, &path);
    links.insert("details".to_owned(), Link::get(base.url(&format!("{path}/details"))));
    links.insert("parameters".to_owned(), Link::get(base.url(&format!("{path}/parameters"))));
    let instance = format!("/v3/service_instances/{}", row.instance_guid);
    links.insert("service_instance".to_owned(), Link::get(base.url(&instance)));
    let mut relationships =
        Relationships::from([("service_instance".to_owned(), ToOne::new(row.instance_guid.clone()))]);
    if let Some(app) = &row.app_guid {
        links.insert("app".to_owned(), Link::get(base.url(&format!("/v3/apps/{app}"))));
        relationships.insert("app".to_owned(), ToOne::new(app.clone()));
    }
    ServiceBinding {
        last_operation: Some(row.last_operation()),
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
        kind: row.kind,
        relationships,
        metadata: Metadata::default(),
        links,
    }
}

async fn list(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<WithIncluded<ServiceBinding>>, ApiError> {
    let of_instance = |name, before| by(&params, name, before, "))");
    let of_plan = |name, before| by(&params, name, before, ")))");
    let filters = [
        by(&params, "names", "name IN (", ")"),
        by(&params, "guids", "guid IN (", ")"),
        by(&params, "type", "kind IN (", ")"),
        by(&params, "service_instance_guids", "instance_guid IN (", ")"),
        of_instance(
            "service_instance_names",
            "instance_guid IN (SELECT guid FROM service_instances WHERE name IN (",
        ),
        by(&params, "app_guids", "app_guid IN (", ")"),
        of_instance("app_names", "app_guid IN (SELECT guid FROM apps WHERE name IN ("),
        of_instance(
            "service_plan_guids",
            "instance_guid IN (SELECT guid FROM service_instances WHERE plan_guid IN (",
        ),
        of_plan(
            "service_plan_names",
            "instance_guid IN (SELECT guid FROM service_instances WHERE plan_guid IN \
             (SELECT guid FROM service_plans WHERE name IN (",
        ),
        of_plan(
            "service_offering_guids",
            "instance_guid IN (SELECT guid FROM service_instances WHERE plan_guid IN \
             (SELECT guid FROM service_plans WHERE offering_guid IN (",
        ),
        of_plan(
            "service_offering_names",
            "instance_guid IN (SELECT guid FROM service_instances WHERE plan_guid IN \
             (SELECT service_plans.guid FROM service_plans JOIN service_offerings \
             ON service_offerings.guid = service_plans.offering_guid WHERE service_offerings.name IN (",
        ),
        user.seen(Seen::OfServiceInstances),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "service_bindings",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at", "name"],
    };
    let page = page::rows::<BindingRow>(&context, listing).await?;
    let included = along(&context, &base, &params, &page.rows).await?;
    Ok(Json(WithIncluded { page: page.show(|row| show(&base, row)), included }))
}

/// Apps and instances of bindings, when they are asked for.
async fn along(
    context: &Context,
    base: &Base,
    params: &Params,
    rows: &[BindingRow],
) -> Result<Map<String, Value>, ApiError> {
    let mut included = Map::new();
    for word in included::wanted(params) {
        match word.as_str() {
            "app" => {
                let guids = rows.iter().filter_map(|row| row.app_guid.clone());
                let found: Vec<AppRow> = included::rows(context, "apps", guids).await?;
                let shown: Vec<_> = found.into_iter().map(|row| apps::show(base, row)).collect();
                included.insert("apps".to_owned(), json!(shown));
            }
            "service_instance" => {
                let guids = rows.iter().map(|row| row.instance_guid.clone());
                let found: Vec<InstanceRow> = included::rows(context, "service_instances", guids).await?;
                let shown: Vec<_> = found.into_iter().map(|row| instances::show(base, row, None)).collect();
                included.insert("service_instances".to_owned(), json!(shown));
            }
            _ => {}
        }
    }
    Ok(included)
}

async fn binding(context: &Context, guid: &str) -> Result<BindingRow, ApiError> {
    store::get(&context.pool, "service_bindings", guid)
        .await?
        .ok_or_else(|| ApiError::not_found("Service credential binding"))
}

async fn one(
    State(context): State<Shared>,
    base: Base,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let row = binding(&context, &guid).await?;
    let included = along(&context, &base, &params, std::slice::from_ref(&row)).await?;
    let mut shown = json!(show(&base, row));
    if !included.is_empty() {
        shown["included"] = Value::Object(included);
    }
    Ok(Json(shown))
}

/// Plan, offering and broker of an instance; none when its user provides it.
async fn origin_of(context: &Context, instance: &InstanceRow) -> Result<Option<Origin>, ApiError> {
    match &instance.plan_guid {
        Some(plan) => Ok(store::origin(&context.pool, plan).await?),
        None => Ok(None),
    }
}

async fn create(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Input(wish): Input<CreateServiceBinding>,
) -> Result<Response, ApiError> {
    let guid = wish.relationships.service_instance.guid().unwrap_or_default().to_owned();
    let invalid = format!("The service instance could not be found: '{guid}'.");
    user.may_named(&context, Action::WriteServices, Kind::ServiceInstance, &guid, &invalid).await?;
    let instance: Option<InstanceRow> = store::get(&context.pool, "service_instances", &guid).await?;
    let instance = instance.ok_or_else(|| ApiError::unprocessable(invalid))?;
    let origin = origin_of(&context, &instance).await?;
    if let Some(name) = &wish.name {
        check_name(name)?;
    }
    // So that the app is not deleted meanwhile.
    let app = wish.relationships.app.as_ref().and_then(|app| app.guid()).unwrap_or_default().to_owned();
    let _lock = context.locks.app(&app).await?;
    let (app, old) = match wish.kind.as_str() {
        "app" => {
            let app = app_of(&context, &app, &instance).await?;
            let old = store::binding_of(&context.pool, &guid, &app.guid).await?;
            (Some(app.guid), old)
        }
        "key" => (None, key_of(&context, &wish, &instance).await?),
        _ => return Err(ApiError::unprocessable("Type must be one of 'app', 'key'.")),
    };
    if let Some(old) = &old {
        match &wish.name {
            _ if old.in_progress() => return Err(busy_binding(&instance.name)),
            _ if old.never_made() => {}
            _ if old.operation == "delete" => {
                return Err(ApiError::unprocessable(
                    "The binding is getting deleted or its deletion failed: delete it again first.",
                ));
            }
            Some(name) if app.is_none() => return Err(key_taken(name)),
            _ => return Err(already_bound()),
        }
    }
    check_bindable(&instance, origin.as_ref())?;
    let row = BindingRow::new(&instance, app, wish.name);
    let new = NewBinding { row, instead_of: old.map(|old| old.guid), parameters: wish.parameters };
    match origin {
        Some(origin) => {
            let begun = context.begin_bind(&new, &instance, &origin, user.guid()).await?;
            Ok(goes_on(&base, &begun).into_response())
        }
        None if new.parameters.is_some() => Err(ApiError::unprocessable(
            "Binding parameters are not supported for user-provided service instances.",
        )),
        None => {
            context.bind_at_once(&new).await?;
            Ok((StatusCode::CREATED, Json(show(&base, new.row))).into_response())
        }
    }
}

/// The app that is to be bound: it must be there, and in the space of the instance.
async fn app_of(context: &Context, guid: &str, instance: &InstanceRow) -> Result<AppRow, ApiError> {
    let app: Option<AppRow> = store::get(&context.pool, "apps", guid).await?;
    let app = app.ok_or_else(|| ApiError::unprocessable(format!("The app could not be found: '{guid}'.")))?;
    if app.space_guid != instance.space_guid {
        return Err(ApiError::unprocessable("The service instance and the app are in different spaces."));
    }
    Ok(app)
}

/// The key that has the name of a key that is to be made.
async fn key_of(
    context: &Context,
    wish: &CreateServiceBinding,
    instance: &InstanceRow,
) -> Result<Option<BindingRow>, ApiError> {
    if !instance.is_managed() {
        return Err(ApiError::unprocessable(
            "Service credential bindings of type 'key' are not supported for user-provided service instances.",
        ));
    }
    if wish.relationships.app.as_ref().is_some_and(|app| app.data.is_some()) {
        return Err(ApiError::unprocessable("Relationships of a key must not have an app."));
    }
    let Some(name) = &wish.name else {
        return Err(ApiError::unprocessable("Name can't be blank: a key has one."));
    };
    Ok(store::key_named(&context.pool, &instance.guid, name).await?)
}

async fn remove(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Response, ApiError> {
    let row = binding(&context, &guid).await?;
    let instance = instances::instance(&context, &row.instance_guid).await?;
    if row.in_progress() {
        return Err(busy_binding(&instance.name));
    }
    let Some(origin) = origin_of(&context, &instance).await? else {
        store::delete(&context.pool, "service_bindings", &guid).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    if instance.in_progress() {
        return Err(busy_instance(&instance.name));
    }
    // Its broker is being cleaned up already: nothing is left to wait for.
    let operations = store::operations_of_instance(&context.pool, &instance.guid).await?;
    if row.never_made() && operations.iter().any(|one| one.binding_guid.as_ref() == Some(&guid)) {
        store::delete(&context.pool, "service_bindings", &guid).await?;
        return Ok(jobs::done(&context, &user, &base, "service_bindings.delete").await?.into_response());
    }
    let begun = context.begin_unbind(&row, &instance, &origin, user.guid()).await?;
    Ok(goes_on(&base, &begun).into_response())
}

async fn details(
    State(context): State<Shared>,
    Path(guid): Path<String>,
) -> Result<Json<BindingDetails>, ApiError> {
    let row = binding(&context, &guid).await?;
    let instance = instances::instance(&context, &row.instance_guid).await?;
    if !row.is_made() {
        let detail = if row.in_progress() {
            "Creation of service credential binding in progress."
        } else {
            "Creation of service credential binding failed."
        };
        return Err(ApiError::new(404, 10010, "CF-ResourceNotFound", detail));
    }
    let (credentials, drain) = if instance.is_managed() {
        (row.credentials(), row.syslog_drain_url.clone())
    } else {
        (instance.credentials(), instance.syslog_drain_url.clone())
    };
    Ok(Json(BindingDetails { credentials, syslog_drain_url: drain, volume_mounts: row.volume_mounts() }))
}

async fn parameters(
    State(context): State<Shared>,
    user: User,
    Path(guid): Path<String>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    let not_supported =
        |why: &str| ApiError::new(400, 90007, "CF-ServiceFetchBindingParametersNotSupported", why);
    let row = binding(&context, &guid).await?;
    let instance = instances::instance(&context, &row.instance_guid).await?;
    let Some(origin) = origin_of(&context, &instance).await? else {
        return Err(not_supported("Bindings of user-provided service instances have no parameters."));
    };
    if !origin.offering.catalog().bindings_retrievable {
        return Err(not_supported("This service does not support fetching service binding parameters."));
    }
    if !row.is_made() {
        return Err(busy_binding(&instance.name));
    }
    let path =
        osb::binding_path(&ServiceInstanceId::new(instance.guid.clone()), &ServiceBindingId::new(guid));
    let query =
        vec![("service_id", origin.offering.catalog_id.clone()), ("plan_id", origin.plan.catalog_id.clone())];
    let call = Call { query, ..Call::get(path) };
    let answer = context.services.brokers.call(&origin.broker, call, user.guid(), &store::new_guid()).await;
    let found: osb::BindResponse = fetched(&origin.broker, &answer)?;
    Ok(Json(found.parameters.unwrap_or_default()))
}
