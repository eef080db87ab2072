//! Blobs in an S3-compatible store, over HTTP or HTTPS.

use crate::{Config, Error};
use futures::{StreamExt, TryStreamExt};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector as Tcp},
    rt::TokioExecutor,
};
use object_store::{
    ClientOptions, ObjectStore, RetryConfig,
    aws::AmazonS3Builder,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
        HttpResponseBody, HttpService,
    },
    path::Path,
    prefix::PrefixStore,
};
use std::{collections::BTreeMap, fs, io, sync::Arc, time::Duration};
use tokio::time::timeout;
use url::Url;

/// Region of stores that have none.
const REGION: &str = "us-east-1";
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Tries of one request.
const TRIES: usize = 3;

/// Opens the store, and asks it once, so that a wrong key or bucket is told at the start.
pub(super) async fn open(config: &Config, url: &Url) -> Result<Arc<dyn ObjectStore>, Error> {
    let wrong = |reason: &str| Error::Config { key: "blobs", reason: reason.to_owned() };
    let bucket = url.host_str().filter(|host| !host.is_empty());
    let bucket = bucket.ok_or_else(|| wrong("must name a bucket: s3://bucket"))?;
    let mut parameters: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let (id, secret, token) = credentials(config)?;
    let patience = Duration::from_secs(config.blobs_wait_seconds);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(parameters.remove("region").unwrap_or_else(|| REGION.to_owned()))
        .with_access_key_id(id)
        .with_secret_access_key(secret)
        .with_http_connector(Connector { patience })
        .with_retry(RetryConfig { max_retries: TRIES, retry_timeout: patience, ..RetryConfig::default() });
    if let Some(token) = token {
        builder = builder.with_token(token);
    }
    if let Some(endpoint) = parameters.remove("endpoint") {
        let plain = endpoint.starts_with("http://");
        if !plain && !endpoint.starts_with("https://") {
            return Err(wrong("has an endpoint that is neither http:// nor https://"));
        }
        builder = builder.with_endpoint(endpoint).with_allow_http(plain);
    }
    if let Some(name) = parameters.keys().next() {
        return Err(wrong(&format!("has the parameter {name:?}; there are endpoint and region")));
    }
    let failed = |source| Error::Blobs { place: shown(url), source };
    let store = builder.build().map_err(failed)?;
    let folder = url.path().trim_matches('/');
    let store: Arc<dyn ObjectStore> = match folder {
        "" => Arc::new(store),
        folder => Arc::new(PrefixStore::new(store, Path::from(folder))),
    };
    let mut first = store.list(None).boxed();
    first.try_next().await.map_err(failed)?;
    drop(first);
    Ok(store)
}

/// Where the blobs are, without the parameters.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// Key id, secret and session token, of the file or the environment.
fn credentials(config: &Config) -> Result<(String, String, Option<String>), Error> {
    let names = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];
    let found = match &config.blobs_credentials_file {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|source| Error::File {
                action: "read the blob store's credentials in",
                path: path.clone(),
                source,
            })?;
            let values: BTreeMap<_, _> = text
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
                .collect();
            names.map(|name| values.get(name).cloned())
        }
        None => names.map(|name| std::env::var(name.to_uppercase()).ok()),
    };
    match found {
        [Some(id), Some(secret), token] => Ok((id, secret, token)),
        _ => Err(Error::Config {
            key: "blobs",
            reason: "needs credentials: aws_access_key_id and aws_secret_access_key in \
                     blobs_credentials_file, or in the environment in capitals"
                .to_owned(),
        }),
    }
}

/// Makes the HTTP client of the store: one that trusts the certificates that this machine trusts.
#[derive(Debug)]
struct Connector {
    patience: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let generic = |source: io::Error| object_store::Error::Generic { store: "S3", source: source.into() };
        let mut tcp = Tcp::new();
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(generic)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(HttpClient::new(Service { client, patience: self.patience }))
    }
}

/// The HTTP client of the store.
#[derive(Debug)]
struct Service {
    client: Client<HttpsConnector<Tcp>, HttpRequestBody>,
    /// Until an answer begins.
    patience: Duration,
}

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = timeout(self.patience, self.client.request(request))
            .await
            .map_err(|error| HttpError::new(HttpErrorKind::Timeout, error))?
            .map_err(|error| HttpError::new(kind(&error), error))?;
        let (parts, body) = answer.into_parts();
        let body =
            http_body_util::BodyExt::map_err(body, |error| HttpError::new(HttpErrorKind::Interrupted, error));
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// Says which failures may be tried again whatever the request was: those before it was taken.
fn kind(error: &ClientError) -> HttpErrorKind {
    if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str, credentials: Option<&str>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        if let Some(text) = credentials {
            fs::write(&file, text).unwrap();
        }
        let config = Config { blobs_credentials_file: Some(file), ..Config::default() };
        let error = open(&config, &url.parse().unwrap()).await.unwrap_err();
        format!("{error} {:?}", std::error::Error::source(&error))
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let good = "[default]\naws_access_key_id = a\naws_secret_access_key = b/c=\n";
        assert!(refusal("s3://b", None).await.contains("read the blob store's credentials"));
        assert!(refusal("s3://b", Some("aws_access_key_id = a")).await.contains("aws_secret_access_key"));
        assert!(refusal("s3://b?endpont=x", Some(good)).await.contains("endpont"));
        assert!(refusal("s3://b?endpoint=ftp://x", Some(good)).await.contains("https://"));
    }
}
