//! Reads the desired state over HTTP: the bulk API, with credentials from the bus.

use crate::{Config, Error, config::seconds};
use cupola_bus::Bus;
use cupola_protocol::{
    AppId, Subject,
    controller::{BulkApps, BulkCredentials, BulkCredentialsRequest, DesiredApp},
};
use std::{collections::BTreeMap, time::Duration};

/// How long a controller may take to give out its credentials.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the desired state; keeps the credentials between two reads.
pub(crate) struct Fetcher {
    bus: Bus,
    client: reqwest::Client,
    controller_url: Option<String>,
    batch: u32,
    credentials: Option<BulkCredentials>,
}

impl Fetcher {
    pub(crate) fn new(config: &Config, bus: Bus) -> Result<Self, Error> {
        let client = reqwest::Client::builder()
            .timeout(seconds(config.fetch_timeout_seconds))
            .build()
            .map_err(Error::Client)?;
        let batch = config.fetch_batch;
        Ok(Self { bus, client, controller_url: config.controller_url.clone(), batch, credentials: None })
    }

    /// Reads every page. A read that fails anywhere gives nothing: half a desired state is a wrong one.
    pub(crate) async fn fetch(&mut self) -> Result<BTreeMap<AppId, DesiredApp>, Error> {
        let credentials = match self.credentials.take() {
            Some(credentials) => credentials,
            None => self
                .bus
                .request(
                    &Subject::of::<BulkCredentialsRequest>(),
                    &BulkCredentialsRequest {},
                    CREDENTIALS_TIMEOUT,
                )
                .await
                .map_err(Error::Credentials)?,
        };
        let base = self.controller_url.as_ref().or(credentials.url.as_ref()).ok_or(Error::NoControllerUrl)?;
        let url = format!("{}/bulk/apps", base.trim_end_matches('/'));
        let apps = self.pages(&url, &credentials).await?;
        // Kept only after a success: a controller that has new ones refuses the old, and is asked anew.
        self.credentials = Some(credentials);
        Ok(apps)
    }

    async fn pages(
        &self,
        url: &str,
        credentials: &BulkCredentials,
    ) -> Result<BTreeMap<AppId, DesiredApp>, Error> {
        let mut apps = BTreeMap::new();
        let mut token = serde_json::json!({});
        loop {
            let page = self.page(url, credentials, &token).await?;
            if page.results.is_empty() {
                return Ok(apps);
            }
            if page.bulk_token == token {
                return Err(Error::Endless { url: url.to_owned() });
            }
            apps.extend(page.results);
            token = page.bulk_token;
        }
    }

    async fn page(
        &self,
        url: &str,
        credentials: &BulkCredentials,
        token: &serde_json::Value,
    ) -> Result<BulkApps, Error> {
        let failed = |source| Error::Fetch { url: url.to_owned(), source };
        self.client
            .get(url)
            .basic_auth(&credentials.user, Some(&credentials.password))
            .query(&[("batch_size", self.batch.to_string()), ("bulk_token", token.to_string())])
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed)?
            .json()
            .await
            .map_err(failed)
    }
}
