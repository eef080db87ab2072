//! Stacks and buildpacks, as nodes and stagers advertise them now.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Params},
    page,
    tenancy::itself,
};
use crate::{
    access::Access,
    context::{Context, Shared},
    store,
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
};
use cupola_protocol::api::{Buildpack, Metadata, Page, Stack};
use std::collections::BTreeSet;
use time::OffsetDateTime;

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/stacks", Access::User, stacks)
        .get("/v3/stacks/{guid}", Access::User, stack)
        .get("/v3/buildpacks", Access::User, buildpacks)
        .get("/v3/buildpacks/{guid}", Access::User, buildpack)
}

/// Since when they are known: they have no rows, so it is since the controller runs.
fn since(context: &Context) -> String {
    store::stamp(OffsetDateTime::now_utc() - context.begun.elapsed())
}

fn all_stacks(context: &Context, base: &Base) -> Vec<Stack> {
    let ttl = context.config.advertisement_timeout();
    let mut names: BTreeSet<String> = context.nodes.fresh(ttl).into_iter().flat_map(|ad| ad.stacks).collect();
    names.extend(context.stagers.fresh(ttl).into_iter().flat_map(|ad| ad.stacks));
    let show = |name: String| {
        // The name is the guid: it is unique, and the same on every controller.
        let guid = format!("stack-{name}");
        Stack {
            links: itself(base, &format!("/v3/stacks/{guid}")),
            guid,
            created_at: since(context),
            updated_at: since(context),
            description: None,
            default: name == context.config.default_stack,
            name,
            metadata: Metadata::default(),
        }
    };
    names.into_iter().map(show).collect()
}

fn named<T>(params: &Params, all: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    match params.list("names") {
        Some(names) => all.into_iter().filter(|one| names.iter().any(|wanted| wanted == name(one))).collect(),
        None => all,
    }
}

async fn stacks(
    State(context): State<Shared>,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Stack>>, ApiError> {
    let all = named(&params, all_stacks(&context, &base), |stack| &stack.name);
    page::whole(&base, uri.path(), &params, all).map(Json)
}

async fn stack(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Stack>, ApiError> {
    let found = all_stacks(&context, &base).into_iter().find(|stack| stack.guid == guid);
    found.map(Json).ok_or_else(|| ApiError::not_found("Stack"))
}

fn all_buildpacks(context: &Context, base: &Base) -> Vec<Buildpack> {
    let mut names: Vec<String> = Vec::new();
    for name in
        context.stagers.fresh(context.config.advertisement_timeout()).into_iter().flat_map(|ad| ad.buildpacks)
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let show = |(position, name): (u32, String)| {
        let guid = format!("buildpack-{name}");
        Buildpack {
            links: itself(base, &format!("/v3/buildpacks/{guid}")),
            guid,
            created_at: since(context),
            updated_at: since(context),
            name,
            stack: None,
            position,
            state: "READY".to_owned(),
            filename: None,
            lifecycle: "buildpack".to_owned(),
            enabled: true,
            locked: true,
            metadata: Metadata::default(),
        }
    };
    (1..).zip(names).map(show).collect()
}

async fn buildpacks(
    State(context): State<Shared>,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Buildpack>>, ApiError> {
    let all = named(&params, all_buildpacks(&context, &base), |buildpack| &buildpack.name);
    page::whole(&base, uri.path(), &params, all).map(Json)
}

async fn buildpack(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Buildpack>, ApiError> {
    let found = all_buildpacks(&context, &base).into_iter().find(|buildpack| buildpack.guid == guid);
    found.map(Json).ok_or_else(|| ApiError::not_found("Buildpack"))
}
