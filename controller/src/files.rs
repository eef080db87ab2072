//! The files of instances: which node has them, and fetching them there.

use crate::{Config, Error, api::ApiError, context::Context, store::AppRow};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::Response,
};
use cupola_protocol::{
    InstanceId,
    api::Crash,
    dea::{FindDroplet, FoundDroplet, InstanceState},
    message::Subject,
};
use std::time::Duration;

/// How long a connection to a node may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The most of a node's refusal that is passed on, in bytes.
const REFUSAL_BYTES: usize = 1000;

/// What a request may say about the part it wants, and an answer about the part it is.
const ASKED: [HeaderName; 2] = [header::RANGE, header::IF_RANGE];
const ANSWERED: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::X_CONTENT_TYPE_OPTIONS,
];

/// The client that fetches files from nodes: those alone, and where they lead nobody is followed.
pub(crate) fn client(config: &Config) -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(Duration::from_secs(config.files_timeout_seconds))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| Error::Prepare { what: format!("the HTTP client for files: {error}") })
}

/// Whose files are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those of the instance with this index, or of the last that crashed there.
    Index(u32),
    /// Those of this instance.
    Instance(InstanceId),
}

impl From<String> for Which {
    fn from(text: String) -> Self {
        match text.parse() {
            Ok(index) => Self::Index(index),
            Err(_) => Self::Instance(text.into()),
        }
    }
}

/// Files cannot be had, for a reason that has nothing to do with nodes.
fn file_error(status: u16, detail: String) -> ApiError {
    ApiError::new(status, 190_001, "CF-FileError", detail)
}

/// How good an answer is, when several have files for one index: what lives before what has crashed, of the app's
/// version before others, the newest first.
fn rank(app: &AppRow, one: &FoundDroplet) -> (bool, bool, f64) {
    let lives = !matches!(one.state, InstanceState::Crashed | InstanceState::Stopped);
    (lives, one.version.as_str() == app.version, one.state_timestamp)
}

impl Context {
    async fn find_files(&self, app: &AppRow, question: FindDroplet) -> Result<Vec<FoundDroplet>, ApiError> {
        let replies = self.bus.request_replies(&Subject::of::<FindDroplet>(), &question).await?;
        // One that lives is enough; a crash may not be the last one.
        let enough = |found: &[FoundDroplet]| {
            let best = |one: &FoundDroplet| {
                let (lives, current, _) = rank(app, one);
                question.instances.is_some() || (lives && current)
            };
            question.path.is_some() && found.iter().any(best)
        };
        Ok(replies.collect(self.config.find_timeout(), enough).await)
    }

    /// Finds the node that has the files of an instance; its answer has their addresses.
    pub(crate) async fn file(
        &self,
        app: &AppRow,
        which: &Which,
        path: &str,
    ) -> Result<FoundDroplet, ApiError> {
        let name = &app.name;
        let (instances, indices) = match which {
            Which::Index(index) if *index >= app.instances() && app.started() => {
                let count = app.instances();
                let highest = count.saturating_sub(1);
                return Err(file_error(
                    400,
                    format!(
                        "App {name} has {count} instances: there is no index {index}, the highest is {highest}."
                    ),
                ));
            }
            Which::Index(index) => (None, Some(vec![*index])),
            Which::Instance(instance) => (Some(vec![instance.clone()]), None),
        };
        use InstanceState::{Born, Crashed, Evacuating, Resuming, Running, Starting, Stopping};
        let question = FindDroplet {
            droplet: app.id(),
            version: None,
            instances,
            indices,
            states: Some(vec![Running, Evacuating, Starting, Born, Resuming, Stopping, Crashed]),
            include_stats: false,
            path: Some(path.to_owned()),
        };
        let found = self.find_files(app, question).await?.into_iter().filter(|one| one.file_uri_v2.is_some());
        let best = found.max_by(|one, other| {
            let (one, other) = (rank(app, one), rank(app, other));
            (one.0, one.1).cmp(&(other.0, other.1)).then(one.2.total_cmp(&other.2))
        });
        best.ok_or_else(|| {
            let detail = match which {
                Which::Instance(instance) => {
                    format!("No node has the instance {instance} of app {name}, nor the files of its crash.")
                }
                Which::Index(_) if !app.started() => format!(
                    "App {name} is stopped, and no crash of it is kept: there are no files to read. Start it first."
                ),
                Which::Index(index) => format!(
                    "No node has instance {index} of app {name} now: it is being started, or nobody has room for \
                     it. `cupola app {name}` tells."
                ),
            };
            file_error(400, detail)
        })
    }

    /// Fetches a file from the node that has it, as it comes.
    pub(crate) async fn fetch_file(
        &self,
        found: &FoundDroplet,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        let unreachable = |why: String| {
            let dea = &found.dea;
            file_error(
                503,
                format!("The node {dea}, which has the files, cannot be reached: {why}. Try again later."),
            )
        };
        let Some(address) = &found.file_uri_direct else {
            return Err(unreachable("it tells no address of its own".to_owned()));
        };
        let mut request = self.files.get(format!("{address}{query}"));
        for name in ASKED {
            if let Some(value) = headers.get(&name) {
                request = request.header(name, value);
            }
        }
        // The address carries its authority: it stays out of errors.
        let answer = request.send().await.map_err(|error| unreachable(error.without_url().to_string()))?;
        let status = answer.status();
        if !status.is_success() && status != StatusCode::RANGE_NOT_SATISFIABLE {
            let text = answer.text().await.unwrap_or_default();
            let text: String = text.trim().chars().take(REFUSAL_BYTES).collect();
            return Err(match status.as_u16() {
                // An address that we have just been given is refused: the node is another one by now.
                401 => unreachable("it does not know the address that it gave".to_owned()),
                code => file_error(code, format!("{text}.")),
            });
        }
        let mut response = Response::builder().status(status);
        for name in ANSWERED {
            if let Some(value) = answer.headers().get(&name) {
                response = response.header(name, value);
            }
        }
        response
            .body(Body::from_stream(answer.bytes_stream()))
            .map_err(|error| unreachable(error.to_string()))
    }

    /// The crashes of an app that nodes remember, newest first.
    pub(crate) async fn crashes(&self, app: &AppRow) -> Result<Vec<Crash>, ApiError> {
        let question = FindDroplet {
            droplet: app.id(),
            version: None,
            instances: None,
            indices: None,
            states: Some(vec![InstanceState::Crashed]),
            include_stats: false,
            path: None,
        };
        let mut crashes: Vec<Crash> = self
            .find_files(app, question)
            .await?
            .into_iter()
            .map(|one| Crash {
                instance: one.instance,
                since: one.state_timestamp,
                index: one.index,
                version: Some(one.version),
                details: one.exit_description,
            })
            .collect();
        crashes.sort_by(|one, other| other.since.total_cmp(&one.since));
        Ok(crashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_an_index_and_all_else_an_instance() {
        assert_eq!(Which::from("3".to_owned()), Which::Index(3));
        assert_eq!(Which::from("-1".to_owned()), Which::Instance("-1".into()));
        assert_eq!(Which::from("7b1c".to_owned()), Which::Instance("7b1c".into()));
    }
}
