//! Domains.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Input, Params},
    jobs,
    page::{self, Listing, by},
    tenancy::itself,
};
use crate::{
    access::{Access, Action},
    auth::User,
    config::is_domain,
    context::{Context, Shared},
    store::{self, DomainRow},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, StatusCode},
};
use cupola_protocol::api::{CreateDomain, Domain, DomainRelationships, Link, Metadata, Page};

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        // Every domain is shared: there are none of a tenant's own yet.
        .get("/v3/domains", Access::User, domains)
        .post("/v3/domains", Access::Platform(Action::Administer), create_domain)
        .get("/v3/domains/{guid}", Access::User, domain)
        .delete("/v3/domains/{guid}", Access::Platform(Action::Administer), delete_domain)
        .get("/v3/domains/{guid}/route_reservations", Access::User, reservations)
}

pub(super) fn show_domain(base: &Base, row: DomainRow) -> Domain {
    let path = format!("/v3/domains/{}", row.guid);
    let mut links = itself(base, &path);
    links.insert("route_reservations".to_owned(), Link::get(base.url(&format!("{path}/route_reservations"))));
    Domain {
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
        internal: false,
        router_group: None,
        supported_protocols: vec!["http".to_owned()],
        relationships: DomainRelationships::default(),
        metadata: Metadata::default(),
        links,
    }
}

async fn domains(
    State(context): State<Shared>,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Domain>>, ApiError> {
    let filters = [by(&params, "names", "name IN (", ")"), by(&params, "guids", "guid IN (", ")")];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "domains",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at", "name"],
    };
    Ok(Json(page::rows(&context, listing).await?.show(|row| show_domain(&base, row))))
}

async fn domain_row(context: &Context, guid: &str) -> Result<DomainRow, ApiError> {
    store::get(&context.pool, "domains", guid).await?.ok_or_else(|| ApiError::not_found("Domain"))
}

async fn domain(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Domain>, ApiError> {
    Ok(Json(show_domain(&base, domain_row(&context, &guid).await?)))
}

async fn create_domain(
    State(context): State<Shared>,
    base: Base,
    Input(wish): Input<CreateDomain>,
) -> Result<(StatusCode, Json<Domain>), ApiError> {
    let name = wish.name.to_lowercase();
    if !is_domain(&name) || !name.contains('.') {
        return Err(ApiError::unprocessable(format!(
            "{name:?} is not a domain name, such as apps.example.com."
        )));
    }
    let guid = match store::insert_domain(&context.pool, &name).await {
        Ok(guid) => guid,
        Err(error) if store::is_duplicate(&error) => {
            return Err(ApiError::unprocessable(format!("The domain name \"{name}\" is already in use")));
        }
        Err(error) => return Err(error.into()),
    };
    Ok((StatusCode::CREATED, Json(show_domain(&base, domain_row(&context, &guid).await?))))
}

async fn delete_domain(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let domain = domain_row(&context, &guid).await?;
    if domain.name == context.config.domain {
        return Err(ApiError::unprocessable("The platform's own domain cannot be deleted."));
    }
    match store::delete(&context.pool, "domains", &guid).await {
        Ok(_) => jobs::done(&context, &user, &base, "domain.delete").await,
        Err(error)
            if error
                .as_database_error()
                .is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation) =>
        {
            Err(ApiError::unprocessable("The domain has routes: delete those first."))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a route exists: `cf check-route`.
async fn reservations(
    State(context): State<Shared>,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    domain_row(&context, &guid).await?;
    let (host, path) = (params.get("host").unwrap_or_default(), params.get("path").unwrap_or_default());
    let found = store::find_route(&context.pool, host, path, &guid).await?.is_some();
    Ok(Json(serde_json::json!({"matching_route": found})))
}
