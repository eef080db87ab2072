//! Routes and destinations.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Input, Params},
    jobs,
    page::{self, Listing, by},
    tenancy::itself,
};
use crate::{
    access::{Access, Action, Kind},
    auth::{Seen, User},
    context::{Context, Shared},
    manifest::{RouteParts, check_host_and_path},
    store::{self, DomainRow, Filter, RouteRow, SpaceRow},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, StatusCode},
};
use cupola_protocol::api::{
    CreateRoute, Destination, DestinationApp, Destinations, Link, Metadata, Page, ProcessType, Route, ToOne,
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/routes", Access::Listed, list)
        .post("/v3/routes", Access::Named(Kind::Space, Action::WriteRoutes), create)
        .get("/v3/routes/{guid}", Access::On(Kind::Route, Action::ReadSpace), one)
        .delete("/v3/routes/{guid}", Access::On(Kind::Route, Action::WriteRoutes), remove)
        .get("/v3/routes/{guid}/destinations", Access::On(Kind::Route, Action::ReadSpace), destinations)
        .post("/v3/routes/{guid}/destinations", Access::On(Kind::Route, Action::WriteRoutes), add)
        .patch("/v3/routes/{guid}/destinations", Access::On(Kind::Route, Action::WriteRoutes), replace)
        .delete(
            "/v3/routes/{guid}/destinations/{destination}",
            Access::On(Kind::Route, Action::WriteRoutes),
            remove_destination,
        )
        .get("/v3/apps/{guid}/routes", Access::On(Kind::App, Action::ReadSpace), of_app)
}

async fn show_destinations(context: &Context, route: &str) -> Result<Vec<Destination>, ApiError> {
    let rows = store::destinations(&context.pool, route).await?;
    let show = |row: store::DestinationRow| Destination {
        guid: Some(row.guid),
        app: DestinationApp { guid: row.app_guid, process: Some(ProcessType { kind: "web".to_owned() }) },
        weight: None,
        port: None,
        protocol: Some("http1".to_owned()),
    };
    Ok(rows.into_iter().map(show).collect())
}

async fn show(
    context: &Context,
    base: &Base,
    domains: &[DomainRow],
    row: RouteRow,
) -> Result<Route, ApiError> {
    let path = format!("/v3/routes/{}", row.guid);
    let mut links = itself(base, &path);
    links.insert("space".to_owned(), Link::get(base.url(&format!("/v3/spaces/{}", row.space_guid))));
    links.insert("domain".to_owned(), Link::get(base.url(&format!("/v3/domains/{}", row.domain_guid))));
    links.insert("destinations".to_owned(), Link::get(base.url(&format!("{path}/destinations"))));
    let domain = domains.iter().find(|domain| domain.guid == row.domain_guid);
    let domain = domain.map_or("", |domain| domain.name.as_str());
    Ok(Route {
        url: store::uri(&row.host, domain, &row.path),
        destinations: show_destinations(context, &row.guid).await?,
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        protocol: Some("http".to_owned()),
        host: row.host,
        path: row.path,
        port: None,
        relationships: BTreeMap::from([
            ("space".to_owned(), ToOne::new(row.space_guid)),
            ("domain".to_owned(), ToOne::new(row.domain_guid)),
        ]),
        metadata: Metadata::default(),
        links,
    })
}

async fn listed(
    context: &Context,
    base: &Base,
    path: &str,
    params: &Params,
    more: Vec<Filter>,
) -> Result<Json<Page<Route>>, ApiError> {
    let filters = [
        by(params, "guids", "guid IN (", ")"),
        by(params, "hosts", "host IN (", ")"),
        by(params, "paths", "path IN (", ")"),
        by(params, "domain_guids", "domain_guid IN (", ")"),
        by(params, "space_guids", "space_guid IN (", ")"),
        by(params, "app_guids", "guid IN (SELECT route_guid FROM destinations WHERE app_guid IN (", "))"),
        by(
            params,
            "organization_guids",
            "space_guid IN (SELECT guid FROM spaces WHERE organization_guid IN (",
            "))",
        ),
    ];
    let filters = filters.into_iter().flatten().chain(more).collect();
    let orders = &["created_at", "updated_at"];
    let listing = Listing { base, path, params, table: "routes", filters, orders };
    let mut page = page::rows::<RouteRow>(context, listing).await?;
    let domains = store::domains(&context.pool).await?;
    let mut routes = Vec::new();
    for row in std::mem::take(&mut page.rows) {
        routes.push(show(context, base, &domains, row).await?);
    }
    Ok(Json(page.of(routes)))
}

async fn list(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Route>>, ApiError> {
    listed(&context, &base, uri.path(), &params, user.seen(Seen::InSpaces).into_iter().collect()).await
}

async fn of_app(
    State(context): State<Shared>,
    base: Base,
    uri: OriginalUri,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Json<Page<Route>>, ApiError> {
    context.app(&guid).await?;
    let filter =
        Filter::new("guid IN (SELECT route_guid FROM destinations WHERE app_guid IN (", vec![guid], "))");
    listed(&context, &base, uri.path(), &params, vec![filter]).await
}

async fn row(context: &Context, guid: &str) -> Result<RouteRow, ApiError> {
    store::get(&context.pool, "routes", guid).await?.ok_or_else(|| ApiError::not_found("Route"))
}

async fn one(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Route>, ApiError> {
    let domains = store::domains(&context.pool).await?;
    let row = row(&context, &guid).await?;
    Ok(Json(show(&context, &base, &domains, row).await?))
}

async fn create(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Input(wish): Input<CreateRoute>,
) -> Result<(StatusCode, Json<Route>), ApiError> {
    let sides = &wish.relationships;
    let space = sides.space.guid().unwrap_or_default();
    let invalid = "Invalid space. Ensure that the space exists and you have access.";
    user.may_named(&context, Action::WriteRoutes, Kind::Space, space, invalid).await?;
    let space: Option<SpaceRow> = store::get(&context.pool, "spaces", space).await?;
    let space = space.ok_or_else(|| ApiError::unprocessable(invalid))?;
    let domains = store::domains(&context.pool).await?;
    let wanted = sides.domain.guid().unwrap_or_default();
    let domain = domains.iter().find(|domain| domain.guid == wanted).ok_or_else(|| {
        ApiError::unprocessable("Invalid domain. Ensure that the domain exists and you have access.")
    })?;
    let host = wish.host.to_lowercase();
    let path = wish.path.trim_end_matches('/').to_owned();
    check_host_and_path(&host, &path)?;
    let parts = RouteParts { host, domain_guid: domain.guid.clone(), path };
    context.check_route_free(&space, &parts).await?;
    let row = context.make_route(&space.guid, &parts).await?;
    context.routes_changed.notify_one();
    Ok((StatusCode::CREATED, Json(show(&context, &base, &domains, row).await?)))
}

async fn remove(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    row(&context, &guid).await?;
    let apps = store::destinations(&context.pool, &guid).await?;
    store::delete(&context.pool, "routes", &guid).await?;
    context.routes_changed.notify_one();
    for destination in apps {
        context.routes_of_app_changed(&destination.app_guid).await?;
    }
    jobs::done(&context, &user, &base, "route.delete").await
}

async fn answer(context: &Context, base: &Base, guid: &str) -> Result<Json<Destinations>, ApiError> {
    let path = format!("/v3/routes/{guid}");
    let mut links = itself(base, &format!("{path}/destinations"));
    links.insert("route".to_owned(), Link::get(base.url(&path)));
    Ok(Json(Destinations { destinations: show_destinations(context, guid).await?, links }))
}

async fn destinations(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Destinations>, ApiError> {
    row(&context, &guid).await?;
    answer(&context, &base, &guid).await
}

/// The apps of the wished destinations, of which every one exists in the route's space.
async fn wished(
    context: &Context,
    user: &User,
    route: &RouteRow,
    wish: &Destinations,
) -> Result<BTreeSet<String>, ApiError> {
    let mut apps = BTreeSet::new();
    for destination in &wish.destinations {
        if destination.weight.is_some() || destination.port.is_some() {
            return Err(ApiError::unprocessable(
                "Weights and ports of destinations are not supported yet: leave them out.",
            ));
        }
        if destination.app.process.as_ref().is_some_and(|process| process.kind != "web") {
            return Err(ApiError::unprocessable("Destinations can only be the process web."));
        }
        let guid = &destination.app.guid;
        let invalid = format!("App(s) with guid(s) \"{guid}\" do not exist or you do not have access.");
        user.may_named(context, Action::ReadSpace, Kind::App, guid, &invalid).await?;
        let app = context.app(guid).await?;
        if app.space_guid != route.space_guid {
            return Err(ApiError::unprocessable(
                "Routes cannot be mapped to destinations in different spaces",
            ));
        }
        apps.insert(app.guid);
    }
    Ok(apps)
}

async fn add(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<Destinations>,
) -> Result<Json<Destinations>, ApiError> {
    let route = row(&context, &guid).await?;
    for app in wished(&context, &user, &route, &wish).await? {
        if store::insert_destination(&context.pool, &guid, &app).await? {
            context.routes_of_app_changed(&app).await?;
        }
    }
    answer(&context, &base, &guid).await
}

async fn replace(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<Destinations>,
) -> Result<Json<Destinations>, ApiError> {
    let route = row(&context, &guid).await?;
    let wished = wished(&context, &user, &route, &wish).await?;
    for old in store::destinations(&context.pool, &guid).await? {
        if !wished.contains(&old.app_guid) {
            store::delete(&context.pool, "destinations", &old.guid).await?;
            context.routes_of_app_changed(&old.app_guid).await?;
        }
    }
    for app in wished {
        if store::insert_destination(&context.pool, &guid, &app).await? {
            context.routes_of_app_changed(&app).await?;
        }
    }
    answer(&context, &base, &guid).await
}

async fn remove_destination(
    State(context): State<Shared>,
    Path((guid, destination)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    row(&context, &guid).await?;
    let all = store::destinations(&context.pool, &guid).await?;
    let found = all.into_iter().find(|one| one.guid == destination).ok_or_else(|| {
        ApiError::unprocessable(
            "Unable to unmap route from destination. Ensure the route has a destination with this guid.",
        )
    })?;
    store::delete(&context.pool, "destinations", &found.guid).await?;
    context.routes_of_app_changed(&found.app_guid).await?;
    Ok(StatusCode::NO_CONTENT)
}
