//! One request: which endpoint, how often, and what the client is told when it fails.

use super::{
    Shared,
    access::Record,
    answer::Answer,
    exchange::{self, Done, Failed, Limits, Pair, Plan, Progress},
    headers::{self, Origin},
    sticky, tunnel,
};
use crate::{
    clock,
    http::{
        body::Framing,
        request::Request,
        wire::{self, ReadError},
    },
    routes::{
        endpoint::Endpoint,
        table::{Lookup, Route},
    },
};
use bytes::BytesMut;
use rustix::net::sockopt;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio::{net::TcpStream, time::timeout};

/// The user agent with which load balancers ask whether the router lives, on any host.
const HEALTH_AGENT: &[u8] = b"HTTP-Monitor/1.1";
/// What access logs of the field write for a client that did not wait for its answer.
const CLIENT_GONE: u16 = 499;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// What was read and not used yet.
    pub(crate) buffer: BytesMut,
    pub(crate) peer: SocketAddr,
}

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It carries the next request.
    KeepAlive,
    /// It is closed, gently: the client may still be sending.
    Linger,
    /// It is closed at once.
    Close,
}

/// A request on its way.
struct Forward<'a> {
    shared: &'a Shared,
    request: &'a Request,
    id: String,
    started: OffsetDateTime,
    begun: Instant,
    progress: Progress,
    /// The endpoint that was tried last.
    endpoint: Option<Arc<Endpoint>>,
    /// When it was sent the request, by our clock.
    sent_at: u64,
}

/// Serves one request to its end.
pub(crate) async fn serve(shared: &Shared, client: &mut Client, request: &Request) -> Next {
    if request.fields.first("user-agent").is_some_and(|agent| agent == HEALTH_AGENT) {
        let answer = Answer::health(shared.draining.is_cancelled());
        return tell(shared, client, request, &answer, &request_id(request)).await;
    }
    let mut forward = Forward {
        shared,
        request,
        id: request_id(request),
        started: OffsetDateTime::now_utc(),
        begun: Instant::now(),
        progress: Progress::default(),
        endpoint: None,
        sent_at: 0,
    };
    let (next, mark) = match forward.run(client).await {
        Ok(next) => (next, None),
        Err(answer) => {
            shared.figures.own_answer(answer.status);
            let next = tell(shared, client, request, &answer, &forward.id).await;
            forward.progress.status.store(answer.status, Ordering::Relaxed);
            forward.progress.sent.store(answer.length() as u64, Ordering::Relaxed);
            (next, answer.mark)
        }
    };
    let record = forward.record(client.peer, mark);
    shared.figures.request(record.status, record.took);
    shared.access.tell(&record);
    next
}

/// The client's own id of the request, or a new one.
fn request_id(request: &Request) -> String {
    headers::given_request_id(&request.fields).unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
}

/// Sends an answer of ours.
async fn tell(shared: &Shared, client: &Client, request: &Request, answer: &Answer, id: &str) -> Next {
    // A body that was not read would be taken for the next request.
    let bodyless = matches!(request.framing, Framing::None | Framing::Length(0)) && request.upgrade.is_none();
    let keep_alive = bodyless && request.minor == 1 && request.keep_alive && !shared.draining.is_cancelled();
    let bytes = answer.write(id, request.method() == "HEAD", keep_alive);
    match wire::send(&client.stream, &[&bytes], shared.config.stall()).await {
        Ok(()) if keep_alive => Next::KeepAlive,
        Ok(()) => Next::Linger,
        Err(_) => Next::Close,
    }
}

impl Forward<'_> {
    /// Passes the request to an endpoint and the answer to the client. An answer of ours comes back when the
    /// client has not been sent any yet.
    async fn run(&mut self, client: &mut Client) -> Result<Next, Answer> {
        let (shared, request) = (self.shared, self.request);
        let route = match shared.table.lookup(&request.host, request.path()) {
            Lookup::Found(route) => route,
            Lookup::NoEndpoints => return Err(Answer::no_endpoints(&request.host)),
            Lookup::Unknown => return Err(Answer::unknown_route(&request.host)),
        };
        let targeted = self.targeted(&route)?;
        let session = sticky::wanted(&request.fields, &shared.config.sticky_cookies);
        let stuck = session.as_deref().and_then(|id| route.instance(id));
        let moved = session.is_some() && stuck.is_none();
        let only = targeted.is_some();
        let mut next = targeted.or(stuck);
        let mut tried = Vec::new();
        let mut fresh = false;
        loop {
            let now = clock::now();
            let Some(endpoint) = next.take().or_else(|| route.pick(now, &tried)) else { break };
            self.endpoint = Some(endpoint.clone());
            let (upstream, reused) = match self.connection(&endpoint, fresh).await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::info!(endpoint = endpoint.address(), %error, "cannot connect to an endpoint");
                    self.avoid(&endpoint);
                    tried.push(endpoint);
                    if only || self.over_budget() {
                        break;
                    }
                    continue;
                }
            };
            match self.exchange(client, &route, &endpoint, upstream, moved).await {
                Ok(next) => return Ok(next),
                Err(Failed::NoAnswer(error)) if !matches!(error, ReadError::Timeout) => {
                    tracing::info!(endpoint = endpoint.address(), %error, reused, "an endpoint closed without an answer");
                    let silent = !self.progress.heard.load(Ordering::Relaxed);
                    // A kept connection that was closed says nothing about the endpoint: once more, on a new one. One
                    // that nobody acknowledges says that its host is lost.
                    let again = reused && !error.is_silence();
                    if !again {
                        self.avoid(&endpoint);
                    }
                    if !silent || !request.repeatable() || self.over_budget() || (only && !again) {
                        break;
                    }
                    fresh = again;
                    match again {
                        true => next = Some(endpoint),
                        false => tried.push(endpoint),
                    }
                    self.progress = Progress::default();
                }
                Err(failed) => return self.failed(failed),
            }
        }
        Err(Answer::endpoint_failure("Registered endpoint failed to handle the request."))
    }

    /// The endpoint that `X-CF-App-Instance` names.
    fn targeted(&self, route: &Route) -> Result<Option<Arc<Endpoint>>, Answer> {
        let Some(value) = self.request.fields.first("x-cf-app-instance") else { return Ok(None) };
        let parts = std::str::from_utf8(value).ok().and_then(|value| value.split_once(':'));
        let Some((app, index)) = parts.filter(|(app, index)| !app.is_empty() && index.parse::<u32>().is_ok())
        else {
            return Err(Answer::bad_instance_header());
        };
        route.index(app, index).map(Some).ok_or_else(Answer::no_such_instance)
    }

    /// A connection to an endpoint, and whether it was used before.
    async fn connection(&self, endpoint: &Endpoint, fresh: bool) -> io::Result<(TcpStream, bool)> {
        let config = &self.shared.config;
        if !fresh {
            let now = clock::now();
            // An endpoint may close an idle connection at the very moment of its use. What cannot be repeated
            // uses only one that was busy a moment ago.
            let not_before = match self.request.repeatable() {
                true => 0,
                false => now.saturating_sub(config.unsafe_reuse_seconds * 1000),
            };
            if let Some(stream) = endpoint.take(now, not_before) {
                return Ok((stream, true));
            }
        }
        let connecting = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
        let stream = timeout(Duration::from_secs(config.connect_timeout_seconds), connecting)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        // A host that lost power says nothing; only its silence tells.
        let silence = Duration::from_secs(config.unacknowledged_seconds).as_millis();
        sockopt::set_tcp_user_timeout(&stream, u32::try_from(silence).unwrap_or(u32::MAX))?;
        Ok((stream, false))
    }

    async fn exchange(
        &mut self,
        client: &mut Client,
        route: &Route,
        endpoint: &Arc<Endpoint>,
        upstream: TcpStream,
        moved: bool,
    ) -> Result<Next, Failed> {
        let config = &self.shared.config;
        let origin = Origin {
            peer: client.peer.ip(),
            request_id: &self.id,
            started: u128::try_from(self.started.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
            forwarded: config.forwarded,
        };
        let head = headers::request(self.request, endpoint, &origin);
        let cookie = |response: &_| {
            let instance = endpoint.instance.as_ref()?.as_str();
            sticky::cookie(response, &config.sticky_cookies, instance, &route.context_path, moved)
        };
        let plan = Plan {
            request: self.request,
            head: &head,
            request_id: &self.id,
            keep_alive: self.request.keep_alive && !self.shared.draining.is_cancelled(),
            cookie: &cookie,
        };
        let limits = Limits {
            stall: config.stall(),
            answer: config.answer_timeout(),
            stream_idle: config.stream_idle(),
            max_head: config.max_head_bytes,
            max_headers: config.max_headers,
        };
        let mut upstream_buffer = BytesMut::new();
        self.sent_at = clock::now();
        let pair = Pair {
            client: &client.stream,
            client_buffer: &mut client.buffer,
            upstream: &upstream,
            upstream_buffer: &mut upstream_buffer,
        };
        match exchange::run(pair, &plan, &limits, &self.progress).await? {
            Done::Answered { reusable, keep_alive } => {
                if let Some(promised) = reusable {
                    self.keep(endpoint, upstream, promised);
                }
                Ok(if keep_alive { Next::KeepAlive } else { Next::Linger })
            }
            Done::Switched => {
                let idle = Duration::from_secs(config.tunnel_idle_seconds);
                tunnel::run(
                    (&client.stream, &mut client.buffer, &self.progress.received),
                    (&upstream, &mut upstream_buffer, &self.progress.sent),
                    idle,
                )
                .await;
                Ok(Next::Close)
            }
        }
    }

    /// Keeps an endpoint's connection for other requests, a little shorter than the endpoint itself does.
    fn keep(&self, endpoint: &Endpoint, upstream: TcpStream, promised: Option<Duration>) {
        let config = &self.shared.config;
        let own = Duration::from_secs(config.endpoint_idle_seconds);
        let lasts = promised.map_or(own, |promised| own.min(promised.saturating_sub(Duration::from_secs(1))));
        let now = clock::now();
        endpoint.keep(upstream, now, now + lasts.as_millis() as u64, config.max_idle_per_endpoint);
    }

    /// What the client gets when an exchange failed and is not tried again.
    fn failed(&self, failed: Failed) -> Result<Next, Answer> {
        let answered = self.progress.status.load(Ordering::Relaxed) != 0;
        let broken = |text: String| {
            let text = format!("Registered endpoint failed to handle the request: {text}.");
            if answered { Ok(Next::Close) } else { Err(Answer::endpoint_failure(&text)) }
        };
        match failed {
            Failed::NoAnswer(_) => {
                broken(format!("no answer within {} s", self.shared.config.answer_timeout_seconds))
            }
            Failed::BadAnswer(bad) => broken(format!("its answer is not valid HTTP ({bad})")),
            Failed::BadSwitch => broken("it changed the protocol in a way that was not asked for".to_owned()),
            Failed::Truncated => Ok(Next::Close),
            Failed::ClientGone => {
                self.progress
                    .status
                    .compare_exchange(0, CLIENT_GONE, Ordering::Relaxed, Ordering::Relaxed)
                    .ok();
                Ok(Next::Close)
            }
            Failed::ClientTimeout if answered => Ok(Next::Close),
            Failed::ClientTimeout => Err(Answer::timeout()),
            Failed::ClientBody(_) if answered => Ok(Next::Close),
            Failed::ClientBody(bad) => Err(Answer::bad_request(&format!("{bad}."))),
        }
    }

    fn avoid(&self, endpoint: &Endpoint) {
        self.shared.figures.endpoint_failures.increment(1);
        endpoint.avoid(clock::now() + self.shared.config.failed_endpoint_seconds * 1000);
    }

    fn over_budget(&self) -> bool {
        self.begun.elapsed() >= Duration::from_secs(self.shared.config.retry_budget_seconds)
    }

    fn record(&self, peer: SocketAddr, mark: Option<&'static str>) -> Record {
        let text =
            |name| String::from_utf8_lossy(self.request.fields.first(name).unwrap_or_default()).into_owned();
        let took = self.begun.elapsed();
        let answered_at = self.progress.answered_at.load(Ordering::Relaxed);
        let endpoint = self.endpoint.as_deref();
        Record {
            host: self.request.host.clone(),
            started: self.started,
            method: self.request.method().to_owned(),
            target: self.request.target().to_owned(),
            minor: self.request.minor,
            status: self.progress.status.load(Ordering::Relaxed),
            received: self.progress.received.load(Ordering::Relaxed),
            sent: self.progress.sent.load(Ordering::Relaxed),
            referer: text("referer"),
            user_agent: text("user-agent"),
            peer: peer.to_string(),
            backend: endpoint.map(Endpoint::address).unwrap_or_default(),
            forwarded_for: text("x-forwarded-for"),
            forwarded_proto: text("x-forwarded-proto"),
            request_id: self.id.clone(),
            took,
            router_took: took.saturating_sub(Duration::from_millis(answered_at.saturating_sub(self.sent_at))),
            app: endpoint.and_then(|endpoint| endpoint.app.clone()),
            index: endpoint.and_then(|endpoint| endpoint.index.clone()),
            instance: endpoint.and_then(|endpoint| endpoint.instance.as_ref()).map(ToString::to_string),
            mark,
        }
    }
}
