//! What the table's one writer knows: who registered what, and when it was last repeated.

use super::{
    endpoint::Endpoint,
    table::{Route, Table},
    uri,
};
use cupola_protocol::router::Register;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

/// The table's writer. Times are milliseconds of any one clock.
#[derive(Debug)]
pub(crate) struct Book {
    table: Arc<Table>,
    /// Milliseconds after which a registration that says nothing else is stale.
    stale_after: u64,
    entries: HashMap<String, Entry>,
    known: HashSet<String>,
}

/// One address.
#[derive(Debug)]
struct Entry {
    endpoint: Arc<Endpoint>,
    /// The last registration, without its routes: what is written to disk.
    registration: Register,
    routes: BTreeMap<String, Seen>,
}

/// A route of an address, as last registered.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: u64,
    stale_after: u64,
}

impl Book {
    pub(crate) fn new(table: Arc<Table>, stale_after: u64) -> Self {
        Self { table, stale_after, entries: HashMap::new(), known: HashSet::new() }
    }

    /// Takes a registration; whether the table changed. `grace`, in milliseconds, replaces the time that it
    /// lasts: what comes from disk has to be confirmed soon.
    pub(crate) fn register(&mut self, registration: &Register, now: u64, grace: Option<u64>) -> bool {
        if registration.port == 0 || registration.host.is_empty() {
            tracing::warn!(
                host = registration.host,
                port = registration.port,
                "registration without an address"
            );
            return false;
        }
        let routes = routes_of(registration);
        if routes.is_empty() {
            return false;
        }
        let address = format!("{}:{}", registration.host, registration.port);
        let mut changed = false;
        if self.entries.get(&address).is_some_and(|entry| !entry.endpoint.is(registration)) {
            // The address belongs to another instance now: under its old routes it would serve the wrong app.
            self.remove(&address);
            changed = true;
        }
        let stale_after = grace.unwrap_or_else(|| {
            registration
                .stale_threshold_in_seconds
                .map_or(self.stale_after, |seconds| seconds.saturating_mul(1000))
        });
        let entry = self.entries.entry(address).or_insert_with(|| Entry {
            endpoint: Arc::new(Endpoint::new(registration)),
            registration: Register { uris: Vec::new(), ..registration.clone() },
            routes: BTreeMap::new(),
        });
        let endpoint = entry.endpoint.clone();
        let new: Vec<String> = routes
            .into_iter()
            .filter(|route| entry.routes.insert(route.clone(), Seen { at: now, stale_after }).is_none())
            .collect();
        for route in &new {
            self.join(route, &endpoint);
        }
        changed || !new.is_empty()
    }

    /// Takes an unregistration; whether the table changed. One that speaks of another instance than the one
    /// at this address comes late, and is ignored.
    pub(crate) fn unregister(&mut self, registration: &Register) -> bool {
        let address = format!("{}:{}", registration.host, registration.port);
        let Some(entry) = self.entries.get_mut(&address) else { return false };
        if registration.private_instance_id.is_some() && !entry.endpoint.is(registration) {
            return false;
        }
        let gone: Vec<String> = routes_of(registration)
            .into_iter()
            .filter(|route| entry.routes.remove(route).is_some())
            .collect();
        self.left(&address, &gone);
        !gone.is_empty()
    }

    /// Drops what was not repeated in time; how many (route, endpoint) pairs went.
    pub(crate) fn prune(&mut self, now: u64) -> usize {
        let mut stale = Vec::new();
        for (address, entry) in &mut self.entries {
            entry.endpoint.sweep(now);
            let gone: Vec<String> = entry
                .routes
                .iter()
                .filter(|(_, seen)| now.saturating_sub(seen.at) > seen.stale_after)
                .map(|(route, _)| route.clone())
                .collect();
            if !gone.is_empty() {
                entry.routes.retain(|route, _| !gone.contains(route));
                stale.push((address.clone(), gone));
            }
        }
        stale.iter().for_each(|(address, gone)| self.left(address, gone));
        stale.iter().map(|(_, gone)| gone.len()).sum()
    }

    /// Takes every registration as repeated now: nobody could repeat one while the bus was away.
    pub(crate) fn refresh(&mut self, now: u64) {
        self.entries.values_mut().flat_map(|entry| entry.routes.values_mut()).for_each(|seen| seen.at = now);
    }

    /// Takes the controller's list of all routes; whether the table changed.
    pub(crate) fn know(&mut self, uris: &[String]) -> bool {
        let known: HashSet<String> = uris.iter().filter_map(|uri| uri::canonical(uri)).collect();
        let changed: Vec<String> = self.known.symmetric_difference(&known).cloned().collect();
        self.known = known;
        for route in &changed {
            let old = self.table.routes.pin().get(route).cloned();
            let (endpoints, turn) = old.map_or((Vec::new(), 0), |old| (old.endpoints.clone(), old.turn()));
            self.publish(route, endpoints, turn);
        }
        !changed.is_empty()
    }

    /// Routes that an endpoint serves, and endpoints.
    pub(crate) fn size(&self) -> (usize, usize) {
        let routes: HashSet<&String> = self.entries.values().flat_map(|entry| entry.routes.keys()).collect();
        (routes.len(), self.entries.len())
    }

    /// All registrations, for the disk.
    pub(crate) fn registrations(&self) -> Vec<Register> {
        let mut all: Vec<Register> = self
            .entries
            .values()
            .map(|entry| Register {
                uris: entry.routes.keys().cloned().collect(),
                ..entry.registration.clone()
            })
            .collect();
        all.sort_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
        all
    }

    /// The controller's list, for the disk.
    pub(crate) fn known(&self) -> Vec<String> {
        let mut known: Vec<String> = self.known.iter().cloned().collect();
        known.sort();
        known
    }

    /// Takes an address off all its routes.
    fn remove(&mut self, address: &str) {
        if let Some(entry) = self.entries.get_mut(address) {
            let gone: Vec<String> = std::mem::take(&mut entry.routes).into_keys().collect();
            self.left(address, &gone);
        }
    }

    /// An address has left these routes; without any it is forgotten.
    fn left(&mut self, address: &str, gone: &[String]) {
        let Some(entry) = self.entries.get(address) else { return };
        let endpoint = entry.endpoint.clone();
        if entry.routes.is_empty() {
            self.entries.remove(address);
            endpoint.retire();
        }
        for route in gone {
            let old = self.table.routes.pin().get(route).cloned();
            if let Some(old) = old {
                let others =
                    old.endpoints.iter().filter(|other| !Arc::ptr_eq(other, &endpoint)).cloned().collect();
                self.publish(route, others, old.turn());
            }
        }
    }

    fn join(&self, route: &str, endpoint: &Arc<Endpoint>) {
        let old = self.table.routes.pin().get(route).cloned();
        let (mut endpoints, turn) = old.map_or((Vec::new(), 0), |old| (old.endpoints.clone(), old.turn()));
        endpoints.push(endpoint.clone());
        self.publish(route, endpoints, turn);
    }

    fn publish(&self, route: &str, endpoints: Vec<Arc<Endpoint>>, turn: usize) {
        let known = self.known.contains(route);
        let routes = self.table.routes.pin();
        if endpoints.is_empty() && !known {
            routes.remove(route);
        } else {
            self.table.depth.fetch_max(uri::depth(route), Ordering::Relaxed);
            routes.insert(route.to_owned(), Arc::new(Route::new(route, endpoints, turn)));
        }
    }
}

/// The routes of a registration in their one spelling, each once.
fn routes_of(registration: &Register) -> Vec<String> {
    let mut routes: Vec<String> = registration
        .uris
        .iter()
        .filter_map(|uri| {
            let route = uri::canonical(uri);
            if route.is_none() {
                tracing::warn!(uri, host = registration.host, "what was registered is not a route");
            }
            route
        })
        .collect();
    routes.sort();
    routes.dedup();
    routes
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
