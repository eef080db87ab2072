//! What the router counts. Each is one atomic operation, where it happens.

use cupola_status::{
    Counter, Gauge, Histogram, Snapshot,
    figures::{StatusClasses, counter, gauge, histogram},
};
use serde_json::{Value, json};
use std::time::Duration;

/// Every figure of the router.
pub(crate) struct Figures {
    requests: StatusClasses,
    request_seconds: Histogram,
    bad_requests: Counter,
    not_found: Counter,
    bad_gateway: Counter,
    unavailable: Counter,
    connections: Counter,
    /// Client connections that are open.
    pub(crate) open_connections: Gauge,
    /// Endpoints that could not be connected to, or closed without an answer.
    pub(crate) endpoint_failures: Counter,
    /// Registrations heard.
    pub(crate) registrations: Counter,
    /// When the last one was heard.
    pub(crate) last_registration: Gauge,
    /// Routes that somebody serves.
    pub(crate) routes: Gauge,
    /// Addresses that serve them.
    pub(crate) endpoints: Gauge,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Figures {
    /// Made under the recorder of the status page.
    pub(crate) fn new() -> Self {
        let own = |status| {
            let help = "Answers that the router gave itself, by status";
            counter("cupola_router_own_answers_total", help, &[("status", status)])
        };
        Self {
            requests: StatusClasses::new(
                "cupola_router_requests_total",
                "Requests, by class of their status",
            ),
            request_seconds: histogram(
                "cupola_router_request_seconds",
                "Time from a request's head to the end of its answer",
                &[],
            ),
            bad_requests: counter(
                "cupola_router_bad_requests_total",
                "What clients sent that is no request",
                &[],
            ),
            not_found: own("404"),
            bad_gateway: own("502"),
            unavailable: own("503"),
            connections: counter("cupola_router_connections_total", "Client connections accepted", &[]),
            open_connections: gauge(
                "cupola_router_open_connections",
                "Client connections that are open",
                &[],
            ),
            endpoint_failures: counter(
                "cupola_router_endpoint_failures_total",
                "Endpoints that could not be connected to, or closed without an answer",
                &[],
            ),
            registrations: counter("cupola_router_registrations_total", "Registrations of routes heard", &[]),
            last_registration: gauge(
                "cupola_router_last_registration_timestamp_seconds",
                "When the last registration was heard, in seconds since 1970; 0 before the first",
                &[],
            ),
            routes: gauge("cupola_router_routes", "Routes that an endpoint serves", &[]),
            endpoints: gauge("cupola_router_endpoints", "Endpoints that serve a route", &[]),
        }
    }

    /// A request has ended with this status, 0 for none, after this time.
    pub(crate) fn request(&self, status: u16, took: Duration) {
        self.requests.count(status);
        self.request_seconds.record(took.as_secs_f64());
    }

    /// The router has answered a request itself.
    pub(crate) fn own_answer(&self, status: u16) {
        match status {
            404 => self.not_found.increment(1),
            502 => self.bad_gateway.increment(1),
            503 => self.unavailable.increment(1),
            _ => {}
        }
    }

    /// What came was no request.
    pub(crate) fn bad_request(&self) {
        self.bad_requests.increment(1);
    }

    /// A client has connected; its connection is open until what this gives is dropped.
    pub(crate) fn connected(self: &std::sync::Arc<Self>) -> Open {
        self.connections.increment(1);
        self.open_connections.increment(1.0);
        Open(self.clone())
    }
}

/// An open connection.
pub(crate) struct Open(std::sync::Arc<Figures>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_connections.decrement(1.0);
    }
}

/// gorouter's names.
pub(crate) fn historic(figures: &Snapshot) -> Vec<(&'static str, Value)> {
    let of = |name: &str, labels: &[(&str, &str)]| {
        figures.value(&format!("cupola_router_{name}"), labels).unwrap_or(0.0)
    };
    let whole = |name: &str, labels: &[(&str, &str)]| Value::from(of(name, labels) as u64);
    let class = |class| whole("requests_total", &[("class", class)]);
    let quantile = |share| figures.quantile("cupola_router_request_seconds", share);
    let samples = of("request_seconds_count", &[]);
    let average = if samples > 0.0 { of("request_seconds_sum", &[]) / samples } else { 0.0 };
    let last = of("last_registration_timestamp_seconds", &[]);
    let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e9;
    let since = if last > 0.0 { ((now - last) * 1000.0).max(0.0) as i64 } else { -1 };
    vec![
        ("requests", whole("requests_total", &[])),
        ("bad_requests", whole("bad_requests_total", &[])),
        ("bad_gateways", whole("own_answers_total", &[("status", "502")])),
        ("responses_2xx", class("2xx")),
        ("responses_3xx", class("3xx")),
        ("responses_4xx", class("4xx")),
        ("responses_5xx", class("5xx")),
        (
            "responses_xxx",
            Value::from(
                (of("requests_total", &[("class", "1xx")]) + of("requests_total", &[("class", "other")]))
                    as u64,
            ),
        ),
        ("urls", whole("routes", &[])),
        ("droplets", whole("endpoints", &[])),
        ("ms_since_last_registry_update", since.into()),
        (
            "latency",
            json!({
                "50": quantile(0.5),
                "75": quantile(0.75),
                "90": quantile(0.9),
                "95": quantile(0.95),
                "99": quantile(0.99),
                "samples": samples as u64,
                "value": average,
            }),
        ),
    ]
}
