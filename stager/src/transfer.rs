//! Packages, droplets and caches over HTTP. Addresses carry their own authority, so no message shows one.

use crate::failure::{Failure, Phase, with_causes};
use cupola_protocol::Mebibytes;
use futures::StreamExt;
use reqwest::{Body, Client, Response, StatusCode};
use std::{path::Path, time::Duration};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

/// How often a transfer is tried.
const TRIES: u32 = 3;

/// Pause before the second try; the third waits twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// One transfer, for its messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) phase: Phase,
    /// What is tried, as a verb and its object: "download the package".
    pub(crate) action: &'static str,
}

/// Why one try failed.
enum Trouble {
    /// Another try may succeed.
    Passing(String),
    /// None will.
    Lasting(Failure),
}

impl Transfer<'_> {
    /// Fetches `url` into the file `target`; gives its size, or nothing when there is no such thing (404).
    pub(crate) async fn download(
        &self,
        url: &str,
        target: &Path,
        limit: Mebibytes,
    ) -> Result<Option<u64>, Failure> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            match self.try_download(url, target, limit).await {
                Ok(found) => return Ok(found),
                Err(Trouble::Lasting(failure)) => return Err(failure),
                Err(Trouble::Passing(reason)) if attempt == TRIES => return Err(self.failure(reason)),
                Err(Trouble::Passing(reason)) => {
                    tracing::info!(action = self.action, reason, "a transfer is tried again")
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last try has returned")
    }

    async fn try_download(&self, url: &str, target: &Path, limit: Mebibytes) -> Result<Option<u64>, Trouble> {
        let response = self.client.get(url).send().await.map_err(passing)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = self.accepted(response).await?;
        let own = |error: std::io::Error| Trouble::Lasting(Failure::internal(self.phase)(error));
        let mut file = tokio::fs::File::create(target).await.map_err(own)?;
        let mut body = response.bytes_stream();
        let mut size = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(passing)?;
            size += piece.len() as u64;
            if size > limit.bytes().0 {
                return Err(Trouble::Lasting(Failure::PackageTooLarge { limit }));
            }
            file.write_all(&piece).await.map_err(own)?;
        }
        file.flush().await.map_err(own)?;
        Ok(Some(size))
    }

    /// Sends the file `source` as the body of a POST.
    pub(crate) async fn upload(
        &self,
        url: &str,
        source: &Path,
        headers: &[(&str, &str)],
    ) -> Result<(), Failure> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            match self.try_upload(url, source, headers).await {
                Ok(()) => return Ok(()),
                Err(Trouble::Lasting(failure)) => return Err(failure),
                Err(Trouble::Passing(reason)) if attempt == TRIES => return Err(self.failure(reason)),
                Err(Trouble::Passing(reason)) => {
                    tracing::info!(action = self.action, reason, "a transfer is tried again")
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last try has returned")
    }

    async fn try_upload(&self, url: &str, source: &Path, headers: &[(&str, &str)]) -> Result<(), Trouble> {
        let own = |error: std::io::Error| Trouble::Lasting(Failure::internal(self.phase)(error));
        let file = tokio::fs::File::open(source).await.map_err(own)?;
        let size = file.metadata().await.map_err(own)?.len();
        let mut request =
            self.client.post(url).header("content-type", "application/gzip").header("content-length", size);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            request.body(Body::wrap_stream(ReaderStream::new(file))).send().await.map_err(passing)?;
        self.accepted(response).await.map(drop)
    }

    /// Tells a refusal, which stays, from a server in trouble, which may pass.
    async fn accepted(&self, response: Response) -> Result<Response, Trouble> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let words: String = response.text().await.unwrap_or_default().chars().take(200).collect();
        let reason = format!("the controller answered {status} {}", words.trim());
        Err(if status.is_server_error() {
            Trouble::Passing(reason)
        } else {
            Trouble::Lasting(self.failure(reason))
        })
    }

    fn failure(&self, reason: String) -> Failure {
        Failure::Transfer { phase: self.phase, action: self.action, reason }
    }
}

fn passing(error: reqwest::Error) -> Trouble {
    Trouble::Passing(with_causes(&error.without_url()))
}
