//! HTTP to a broker, with limits of time and size. What it says is data: no redirect is followed, and nothing is read
//! beyond the limit.

use super::{Answer, ServicesConfig, config::LONGEST_PAUSE};
use crate::store::BrokerRow;
use base64::{Engine, engine::general_purpose::STANDARD};
use cupola_protocol::osb::{API_VERSION, header};
use reqwest::{Client, Method, Response, redirect::Policy};
use serde_json::{Value, json};
use std::{error::Error as _, time::Duration};

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The client.
#[derive(Debug)]
pub(crate) struct Brokers {
    http: Client,
    timeout: Duration,
    max_answer: usize,
}

/// One request to a broker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub method: Method,
    pub path: String,
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Value>,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), query: Vec::new(), body: None }
    }
}

impl Brokers {
    pub(crate) fn new(config: &ServicesConfig) -> Self {
        let http = Client::builder()
            .connect_timeout(CONNECT_LIMIT.min(config.broker_timeout()))
            .redirect(Policy::none())
            .user_agent(concat!("cupola/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("the client's settings are constants");
        Self { http, timeout: config.broker_timeout(), max_answer: config.max_answer_bytes }
    }

    /// Asks a broker. `user` is whose wish it is, `request` an id that the broker may log.
    pub(crate) async fn call(&self, broker: &BrokerRow, call: Call, user: &str, request: &str) -> Answer {
        match tokio::time::timeout(self.timeout, self.exchange(broker, call, user, request)).await {
            Ok(answer) => answer,
            Err(_) => Answer::Silent(format!("did not answer within {} s", self.timeout.as_secs())),
        }
    }

    async fn exchange(&self, broker: &BrokerRow, call: Call, user: &str, request: &str) -> Answer {
        let url = format!("{}{}", broker.url.trim_end_matches('/'), call.path);
        let mut sent = self
            .http
            .request(call.method, url)
            .query(&call.query)
            .basic_auth(&broker.username, Some(&broker.password))
            .header(header::API_VERSION, API_VERSION)
            .header(header::REQUEST_IDENTITY, request);
        if !user.is_empty() {
            sent = sent.header(header::ORIGINATING_IDENTITY, identity(user));
        }
        if let Some(body) = &call.body {
            sent = sent.json(body);
        }
        let response = match sent.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => {
                return Answer::Unreached(cause(&error));
            }
            Err(error) => return Answer::Silent(format!("did not answer: {}", cause(&error))),
        };
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        match self.body(response).await {
            Ok(body) => {
                Answer::Said { status, body, retry_after: retry_after.map(|time| time.min(LONGEST_PAUSE)) }
            }
            Err(error) => Answer::Silent(format!("broke off its answer {status}: {}", cause(&error))),
        }
    }

    /// The body as a JSON object, or why it is none.
    async fn body(&self, mut response: Response) -> Result<Result<Value, String>, reqwest::Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if bytes.len() + chunk.len() > self.max_answer {
                return Ok(Err(format!("it is larger than {} bytes", self.max_answer)));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(match serde_json::from_slice::<Value>(&bytes) {
            Ok(body @ Value::Object(_)) => Ok(body),
            Ok(_) => Err("it is JSON, but no object".to_owned()),
            Err(error) => Err(format!("it is not JSON: {error}")),
        })
    }
}

/// The user in the form of the specification.
fn identity(user: &str) -> String {
    format!("cloudfoundry {}", STANDARD.encode(json!({"user_id": user}).to_string()))
}

/// The innermost cause: `connection refused` says more than that a request failed. Addresses stay out of it.
fn cause(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "it took too long".to_owned() } else { String::new() };
    let mut source = error.source();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    if text.is_empty() { "the connection broke".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_user_is_told_as_the_specification_has_it() {
        assert_eq!(super::identity("u"), "cloudfoundry eyJ1c2VyX2lkIjoidSJ9");
    }
}
