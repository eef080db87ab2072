//! What readers see: a concurrent map from route to endpoints.

use super::{endpoint::Endpoint, uri};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Who serves one route. Replaced as a whole when the set of endpoints changes.
#[derive(Debug)]
pub(crate) struct Route {
    /// The path that session cookies are bound to.
    pub(crate) context_path: String,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    next: AtomicUsize,
}

impl Route {
    pub(crate) fn new(route: &str, endpoints: Vec<Arc<Endpoint>>, next: usize) -> Self {
        let context_path = uri::context_path(route).to_owned();
        Self { context_path, endpoints, next: AtomicUsize::new(next) }
    }

    /// Where the round stands.
    pub(crate) fn turn(&self) -> usize {
        self.next.load(Ordering::Relaxed)
    }

    /// The endpoint whose turn it is, without those in `tried`; one that failed lately only if all others did.
    pub(crate) fn pick(&self, now: u64, tried: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
        let count = self.endpoints.len();
        if count == 0 {
            return None;
        }
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let untried = || {
            (0..count)
                .map(|step| &self.endpoints[first.wrapping_add(step) % count])
                .filter(|endpoint| !tried.iter().any(|other| Arc::ptr_eq(other, endpoint)))
        };
        untried().find(|endpoint| !endpoint.failed(now)).or_else(|| untried().next()).cloned()
    }

    /// The endpoint of this instance id: a session sticks to it.
    pub(crate) fn instance(&self, id: &[u8]) -> Option<Arc<Endpoint>> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.instance.as_ref().is_some_and(|own| own.as_str().as_bytes() == id))
            .cloned()
    }

    /// The endpoint of this index of this app.
    pub(crate) fn index(&self, app: &str, index: &str) -> Option<Arc<Endpoint>> {
        self.endpoints
            .iter()
            .find(|endpoint| {
                endpoint.app.as_ref().is_some_and(|own| own.as_str() == app)
                    && endpoint.index.as_deref() == Some(index)
            })
            .cloned()
    }
}

/// What the table says about a request.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// These serve it.
    Found(Arc<Route>),
    /// The route exists, and nobody serves it now.
    NoEndpoints,
    /// There is no such route.
    Unknown,
}

/// Every route. Written by [`super::book::Book`] alone.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(super) routes: papaya::HashMap<String, Arc<Route>>,
    /// Path segments of the deepest route that ever was: how many a lookup has to look at.
    pub(super) depth: AtomicUsize,
}

impl Table {
    /// Who serves `host` and `path`: the longest path on the exact host, else on a wildcard.
    pub(crate) fn lookup(&self, host: &str, path: &str) -> Lookup {
        let routes = self.routes.pin();
        for candidate in uri::candidates(host, path, self.depth.load(Ordering::Relaxed)) {
            if let Some(route) = routes.get(&candidate) {
                return match route.endpoints.is_empty() {
                    true => Lookup::NoEndpoints,
                    false => Lookup::Found(route.clone()),
                };
            }
        }
        Lookup::Unknown
    }
}
