//! Which requests may be sent again when the API is away for a moment, and for how long: a controller may be killed
//! in the middle of a push, and another one, or its successor, goes on.

use crate::output;
use reqwest::{Method, StatusCode};
use std::time::Duration;
use tokio::time::Instant;

/// How long an API that has answered this command before is waited for.
const AWAY_LIMIT: Duration = Duration::from_secs(60);
/// How long one that never has is: it may not be there at all, which should be told at once.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(1);
/// Pauses between two tries: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));

/// Whether sending a request twice is the same as sending it once, or leaves nothing that matters.
pub(crate) fn is_repeatable(method: &Method, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    match *method {
        // A package that was made twice is empty the first time, and goes with the old ones.
        Method::POST => {
            path.contains("/actions/")
                || matches!(path, "/v3/resource_matches" | "/v3/packages" | "/oauth/token")
        }
        _ => true,
    }
}

/// Whether an answer says that something behind the API is away now: routers without a controller say so, and
/// controllers without their database.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// How the API has behaved in this command.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    answered: bool,
    away_since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// The API has answered.
    pub(crate) fn answered(&mut self) {
        *self = Self { answered: true, ..Self::default() };
    }

    fn limit(&self) -> Duration {
        if self.answered { AWAY_LIMIT } else { UNKNOWN_LIMIT }
    }

    /// The API failed: pauses and says that one may try again, or not to wait any longer. The user sees one line for
    /// each time that it is away.
    pub(crate) async fn again(&mut self, why: &str) -> bool {
        let limit = self.limit();
        if self.away_since.is_none() {
            self.pause = PAUSES.0;
            if self.answered {
                let why = why.lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
                output::note(&format!("The API is away, going on for up to {} s ({why})", limit.as_secs()));
            }
        }
        let since = *self.away_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= limit {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_no_harm_is_sent_twice() {
        for (method, path) in [
            (Method::GET, "/v3/apps?names=a"),
            (Method::PATCH, "/v3/apps/a/relationships/current_droplet"),
            (Method::DELETE, "/v3/apps/a"),
            (Method::POST, "/v3/spaces/s/actions/apply_manifest"),
            (Method::POST, "/v3/apps/a/actions/restart"),
            (Method::POST, "/v3/packages"),
        ] {
            assert!(is_repeatable(&method, path), "{method} {path}");
        }
        for path in ["/v3/builds", "/v3/packages/p/upload", "/v3/organizations", "/v3/users"] {
            assert!(!is_repeatable(&Method::POST, path), "{path}");
        }
    }

    #[tokio::test]
    async fn an_api_that_answered_is_waited_for_and_one_that_never_did_is_not() {
        let mut patience = Patience::default();
        assert_eq!(patience.limit(), UNKNOWN_LIMIT);
        while patience.again("no").await {}
        patience.answered();
        assert_eq!(patience.limit(), AWAY_LIMIT);
        assert!(patience.again("no").await);
    }
}
