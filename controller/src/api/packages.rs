//! Packages, their bits, and the files that clients need not send.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Input, Params},
    jobs,
    page::{self, Listing, by},
    tenancy::itself,
    upload::{self, Received},
};
use crate::{
    access::{Access, Action, Kind},
    auth::{Seen, User},
    blobs::Key,
    context::{Context, Shared},
    package::{self, Found, Invalid, Limits},
    store::{self, Filter, PackageRow},
};
use axum::{
    Json,
    extract::{Multipart, OriginalUri, Path, State, multipart::MultipartError},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use cupola_protocol::api::{
    Checksum, CreatePackage, FileResource, Link, Metadata, Package, PackageData, PackageStatus, Page,
    ResourceMatches, ToOne,
};
use futures::stream;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/packages", Access::Listed, list)
        .post("/v3/packages", Access::Named(Kind::App, Action::WriteApps), create)
        .get("/v3/packages/{guid}", Access::On(Kind::Package, Action::ReadSpace), one)
        .delete("/v3/packages/{guid}", Access::On(Kind::Package, Action::WriteApps), delete)
        .post("/v3/packages/{guid}/upload", Access::On(Kind::Package, Action::WriteApps), upload_bits)
        .any_body()
        .get("/v3/packages/{guid}/download", Access::On(Kind::Package, Action::ReadSecrets), download)
        .get("/v3/apps/{guid}/packages", Access::On(Kind::App, Action::ReadSpace), of_app)
        .post("/v3/resource_matches", Access::User, matches)
}

fn show(base: &Base, row: PackageRow) -> Package {
    let path = format!("/v3/packages/{}", row.guid);
    let mut links = itself(base, &path);
    links.insert("upload".to_owned(), Link::post(base.url(&format!("{path}/upload"))));
    links.insert("download".to_owned(), Link::get(base.url(&format!("{path}/download"))));
    links.insert("app".to_owned(), Link::get(base.url(&format!("/v3/apps/{}", row.app_guid))));
    Package {
        state: match row.state.as_str() {
            "READY" => PackageStatus::Ready,
            "PROCESSING_UPLOAD" => PackageStatus::ProcessingUpload,
            "EXPIRED" => PackageStatus::Expired,
            _ => PackageStatus::AwaitingUpload,
        },
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        kind: "bits".to_owned(),
        data: PackageData {
            error: row.error,
            checksum: Checksum { kind: Some("sha256".to_owned()), value: row.sha256 },
        },
        relationships: BTreeMap::from([("app".to_owned(), ToOne::new(row.app_guid))]),
        metadata: Metadata::default(),
        links,
    }
}

async fn listed(
    context: &Context,
    base: &Base,
    path: &str,
    params: &Params,
    more: Vec<Filter>,
) -> Result<Json<Page<Package>>, ApiError> {
    let filters = [
        by(params, "app_guids", "app_guid IN (", ")"),
        by(params, "guids", "guid IN (", ")"),
        by(params, "states", "state IN (", ")"),
        by(params, "types", "'bits' IN (", ")"),
        by(params, "space_guids", "app_guid IN (SELECT guid FROM apps WHERE space_guid IN (", "))"),
    ];
    let filters = filters.into_iter().flatten().chain(more).collect();
    let orders = &["created_at", "updated_at"];
    let listing = Listing { base, path, params, table: "packages", filters, orders };
    Ok(Json(page::rows(context, listing).await?.show(|row| show(base, row))))
}

async fn list(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Package>>, ApiError> {
    listed(&context, &base, uri.path(), &params, user.seen(Seen::OfApps).into_iter().collect()).await
}

async fn of_app(
    State(context): State<Shared>,
    base: Base,
    uri: OriginalUri,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Json<Page<Package>>, ApiError> {
    context.app(&guid).await?;
    listed(&context, &base, uri.path(), &params, vec![Filter::new("app_guid IN (", vec![guid], ")")]).await
}

async fn row(context: &Context, guid: &str) -> Result<PackageRow, ApiError> {
    store::get(&context.pool, "packages", guid).await?.ok_or_else(|| ApiError::not_found("Package"))
}

async fn one(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Package>, ApiError> {
    Ok(Json(show(&base, row(&context, &guid).await?)))
}

async fn create(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Input(wish): Input<CreatePackage>,
) -> Result<(StatusCode, Json<Package>), ApiError> {
    if wish.kind != "bits" {
        let detail = format!("Package type must be bits; {:?} is not supported.", wish.kind);
        return Err(ApiError::unprocessable(detail));
    }
    let app = wish.relationships.app.guid().unwrap_or_default();
    let invalid = "App is invalid. Ensure it exists and you have access to it.";
    user.may_named(&context, Action::WriteApps, Kind::App, app, invalid).await?;
    let row = store::insert_package(&context.pool, app).await?;
    Ok((StatusCode::CREATED, Json(show(&base, row))))
}

async fn delete(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let package = row(&context, &guid).await?;
    let staging = store::staging_builds(&context.pool, &package.app_guid).await?;
    if staging.iter().any(|build| build.package_guid == guid) {
        return Err(ApiError::unprocessable(
            "The package is being staged: wait for that to end, then delete it.",
        ));
    }
    context.delete_package(&guid).await?;
    jobs::done(&context, &user, &base, "package.delete").await
}

async fn download(State(context): State<Shared>, Path(guid): Path<String>) -> Result<Response, ApiError> {
    row(&context, &guid).await?;
    upload::send(&context, &Key::package(&guid), "application/zip", "Package bits").await
}

/// Files that the user has access to already, in some package: of other tenants' files nothing is told, and nothing
/// can be had by naming its digest.
async fn matches(
    State(context): State<Shared>,
    user: User,
    Input(mut wish): Input<ResourceMatches>,
) -> Result<(StatusCode, Json<ResourceMatches>), ApiError> {
    let range = context.config.resource_min_bytes..=context.config.resource_max_bytes;
    let mut known = Vec::new();
    for resource in wish.resources.drain(..) {
        let Some(sha1) = sha1_of(&resource) else { continue };
        let size = resource.size_in_bytes;
        if range.contains(&size)
            && store::has_file(&context.pool, sha1, store::number(size), user.reader()).await?
        {
            known.push(resource);
        }
    }
    Ok((StatusCode::CREATED, Json(ResourceMatches { resources: known })))
}

/// The digest of a file, when it is one.
fn sha1_of(resource: &FileResource) -> Option<&str> {
    let value = resource.checksum.value.as_deref()?;
    (value.len() == 40 && value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))).then_some(value)
}

fn invalid(error: &Invalid) -> ApiError {
    if matches!(error, Invalid::Io(_)) {
        tracing::error!(error = error as &dyn std::error::Error, "a package cannot be handled");
        return ApiError::new(
            503,
            10001,
            "CF-ServiceUnavailable",
            "The platform cannot store files now. Try again later.",
        );
    }
    ApiError::new(422, 160_001, "CF-AppBitsUploadInvalid", format!("The app upload is invalid: {error}."))
}

async fn upload_bits(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    mut parts: Multipart,
) -> Result<Json<Package>, ApiError> {
    let package = row(&context, &guid).await?;
    if package.state != "AWAITING_UPLOAD" {
        return Err(ApiError::unprocessable(
            "Bits may be uploaded only once. Create a new package to upload different bits.",
        ));
    }
    let broken = |error: MultipartError| {
        ApiError::new(
            error.status().as_u16(),
            10004,
            "CF-InvalidRequest",
            format!("The upload cannot be read: {}", error.body_text()),
        )
    };
    let (mut bits, mut resources) = (None, Vec::new());
    while let Some(field) = parts.next_field().await.map_err(broken)? {
        match field.name() {
            Some("bits") => {
                let chunks = stream::try_unfold(field, |mut field| async move {
                    Ok::<_, MultipartError>(field.chunk().await?.map(|chunk| (chunk, field)))
                });
                bits =
                    Some(upload::receive(&context.incoming, chunks, context.config.max_package_bytes).await?);
            }
            Some("resources") => {
                let text = field.text().await.map_err(broken)?;
                resources = serde_json::from_str(&text).map_err(|error| {
                    ApiError::unprocessable(format!(
                        "The part resources of the upload is not a list of files: {error}."
                    ))
                })?;
            }
            _ => {}
        }
    }
    if bits.is_none() && resources.is_empty() {
        return Err(ApiError::unprocessable("Upload must include either resources or bits"));
    }
    if !store::move_package(
        &context.pool,
        &guid,
        "AWAITING_UPLOAD",
        "PROCESSING_UPLOAD",
        Some(&context.lease()),
    )
    .await?
    {
        return Err(ApiError::unprocessable(
            "Bits may be uploaded only once. Create a new package to upload different bits.",
        ));
    }
    // A task of its own: a client that goes away does not leave a package half done.
    let task = context.tasks.spawn({
        let (context, guid) = (context.clone(), guid.clone());
        async move {
            let outcome = process(&context, &user, &guid, bits, resources).await;
            if outcome.is_err() {
                context.delete_package(&guid).await?;
            }
            outcome
        }
    });
    task.await.map_err(|error| {
        tracing::error!(%error, "the handling of a package ended badly");
        ApiError::new(500, 10001, "UnknownError", "The upload could not be handled: push again.")
    })??;
    Ok(Json(show(&base, row(&context, &guid).await?)))
}

/// Checks, completes and stores the bits of a package.
async fn process(
    context: &Shared,
    user: &User,
    guid: &str,
    bits: Option<Received>,
    resources: Vec<FileResource>,
) -> Result<(), ApiError> {
    let scratch = tempfile::tempdir_in(&context.incoming)?;
    let mut known: Vec<(FileResource, PathBuf)> = Vec::new();
    let mut fetched = BTreeSet::new();
    for resource in resources {
        let unknown = || invalid(&Invalid::Unknown(resource.path.clone()));
        let sha1 = sha1_of(&resource).ok_or_else(unknown)?.to_owned();
        let at = scratch.path().join(&sha1);
        let size = store::number(resource.size_in_bytes);
        if !store::has_file(&context.pool, &sha1, size, user.reader()).await?
            || (fetched.insert(sha1.clone())
                && !upload::fetch(&context.blobs, &Key::resource(&sha1), &at).await?)
        {
            return Err(unknown());
        }
        known.push((resource, at));
    }
    let zip = match &bits {
        Some(bits) => bits.file.to_path_buf(),
        None => scratch.path().join("package.zip"),
    };
    let limits = Limits {
        unpacked_bytes: context.config.max_unpacked_bytes,
        entries: context.config.max_package_entries,
        resource_min: context.config.resource_min_bytes,
        resource_max: context.config.resource_max_bytes,
    };
    let (at, into) = (zip.clone(), scratch.path().to_owned());
    let inspected = tokio::task::spawn_blocking(move || {
        package::complete(&at, &known)?;
        let found = package::inspect(&at, limits, &into)?;
        let (sha256, size) = package::digest(&at)?;
        Ok::<_, Invalid>((found, sha256, size))
    });
    let (found, sha256, size) = inspected
        .await
        .map_err(|error| ApiError::from(std::io::Error::other(error)))?
        .map_err(|error| invalid(&error))?;
    let sha1s: Vec<_> = found.iter().map(|found| found.sha1.clone()).collect();
    let stored = keep(context, guid, &zip, found, &sha256, size).await;
    if stored.is_err() {
        context.blobs.remove(&Key::package(guid)).await?;
        context.remove_unnamed(&[], &sha1s).await?;
    }
    stored
}

/// Stores the bits and the files worth remembering; their rows come first, so that no blob is without one.
async fn keep(
    context: &Shared,
    guid: &str,
    zip: &std::path::Path,
    found: Vec<Found>,
    sha256: &str,
    size: u64,
) -> Result<(), ApiError> {
    for file in found {
        let _lock = context.locks.blob(&file.sha1).await?;
        store::insert_package_file(&context.pool, guid, &file.sha1, store::number(file.size)).await?;
        let key = Key::resource(&file.sha1);
        if !context.blobs.exists(&key).await? {
            context.blobs.put(&key, &file.at).await?;
        }
    }
    let _lock = context.locks.blob(guid).await?;
    context.blobs.put(&Key::package(guid), zip).await?;
    if store::package_ready(&context.pool, guid, sha256, store::number(size), &context.id).await? {
        Ok(())
    } else {
        Err(ApiError::not_found("Package"))
    }
}
