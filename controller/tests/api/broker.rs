//! A service broker that behaves, and that can be told not to.

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// Name and password of the platform at the broker.
pub(crate) const USER: &str = "platform";
pub(crate) const PASSWORD: &str = "between-us";

/// How it answers one kind of request.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// This status and text, after having done it.
    DoneAndSays(u16, &'static str),
    /// This status and text, with nothing done.
    Says(u16, &'static str),
    /// It is done, and no answer comes.
    DoneAndSilent,
    /// Nothing is done, and no answer comes.
    Silent,
    /// 202; the state comes from asking for it, after so many questions.
    Later(u32, &'static str),
    /// It never stops talking.
    Endless,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub line: String,
    pub query: String,
    pub headers: HashMap<String, String>,
    pub body: Value,
}

#[derive(Debug, Default)]
pub(crate) struct Brain {
    pub catalog: Value,
    pub seen: Vec<Seen>,
    pub instances: BTreeMap<String, Value>,
    pub bindings: BTreeMap<String, Value>,
    /// By verb: `catalog`, `provision`, `update`, `deprovision`, `bind`, `unbind`, `poll`, `fetch`; with how often.
    switches: HashMap<&'static str, (Behaviour, u32)>,
    /// What goes on by itself, by path: questions until it ends, and how.
    under_way: HashMap<String, (u32, &'static str)>,
}

/// The broker.
#[derive(Clone)]
pub(crate) struct Broker {
    brain: Arc<Mutex<Brain>>,
    pub address: SocketAddr,
}

/// A catalog with a database and a cache.
pub(crate) fn catalog() -> Value {
    json!({"services": [
        {"id": "db-id", "name": "db", "description": "A database", "bindable": true, "tags": ["sql", "relational"],
         "plan_updateable": true, "instances_retrievable": true, "bindings_retrievable": true,
         "metadata": {"displayName": "DB"},
         "plans": [
            {"id": "db-small", "name": "small", "description": "A small one"},
            {"id": "db-large", "name": "large", "description": "A large one", "free": false},
         ]},
        {"id": "cache-id", "name": "cache", "description": "A cache", "bindable": true,
         "plans": [
            {"id": "cache-one", "name": "one", "description": "The only one"},
            {"id": "cache-raw", "name": "raw", "description": "Cannot be bound", "bindable": false},
         ]},
    ]})
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let brain = Arc::new(Mutex::new(Brain { catalog: catalog(), ..Brain::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(brain.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { brain, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn brain(&self) -> MutexGuard<'_, Brain> {
        self.brain.lock().unwrap()
    }

    /// From now on it answers a verb like this.
    pub(crate) fn switch(&self, verb: &'static str, behaviour: Behaviour) {
        self.brain().switches.insert(verb, (behaviour, u32::MAX));
    }

    /// The same for so many times.
    pub(crate) fn switch_times(&self, verb: &'static str, behaviour: Behaviour, times: u32) {
        self.brain().switches.insert(verb, (behaviour, times));
    }

    /// It behaves again.
    pub(crate) fn behave(&self) {
        self.brain().switches.clear();
    }

    /// Instances and bindings that it has.
    pub(crate) fn has(&self) -> (usize, usize) {
        let brain = self.brain();
        (brain.instances.len(), brain.bindings.len())
    }

    /// Requests so far that begin like this.
    pub(crate) fn count(&self, line: &str) -> usize {
        self.brain().seen.iter().filter(|seen| seen.line.starts_with(line)).count()
    }

    /// The last request that begins like this.
    pub(crate) fn last(&self, line: &str) -> Seen {
        let brain = self.brain();
        let found = brain.seen.iter().rev().find(|seen| seen.line.starts_with(line));
        found.unwrap_or_else(|| panic!("nobody asked {line}")).clone()
    }

    /// Waits until its state is as wanted.
    pub(crate) async fn until(&self, what: &str, good: impl Fn(&Brain) -> bool) {
        let deadline = Instant::now() + super::platform::PATIENCE;
        loop {
            if good(&self.brain()) {
                return;
            }
            let lines: Vec<_> = self.brain().seen.iter().map(|seen| seen.line.clone()).collect();
            assert!(Instant::now() < deadline, "never: {what}; asked were {lines:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Brain {
    /// How a verb is to be answered now, if not as it should.
    fn behaviour(&mut self, verb: &'static str) -> Option<Behaviour> {
        let (behaviour, times) = self.switches.get_mut(verb)?;
        let behaviour = behaviour.clone();
        *times -= 1;
        if *times == 0 {
            self.switches.remove(verb);
        }
        Some(behaviour)
    }

    /// Everything that goes on by itself ends well with the next question.
    pub(crate) fn finish(&mut self) {
        self.under_way.values_mut().for_each(|(left, _)| *left = 0);
    }

    fn credentials(binding: &str) -> Value {
        json!({
            "uri": format!("postgres://u{}:secret@10.20.30.40:5432/d1", &binding[..4]),
            "host": "10.20.30.40", "port": 5432, "password": "secret",
        })
    }

    /// Does what a verb says; status and answer.
    fn act(&mut self, verb: &'static str, instance: &str, binding: &str, body: &Value) -> (u16, Value) {
        match verb {
            "catalog" => (200, self.catalog.clone()),
            "provision" => match self.instances.get(instance) {
                Some(known) if known == body => (200, json!({})),
                Some(_) => (409, json!({})),
                None => {
                    self.instances.insert(instance.to_owned(), body.clone());
                    (201, json!({"dashboard_url": format!("http://dashboard/{instance}")}))
                }
            },
            "update" => match self.instances.get_mut(instance) {
                Some(known) => {
                    for key in ["plan_id", "parameters"] {
                        if let Some(value) = body.get(key) {
                            known[key] = value.clone();
                        }
                    }
                    (200, json!({}))
                }
                None => (404, json!({"description": "no such instance"})),
            },
            "deprovision" => match self.instances.remove(instance) {
                Some(_) => (200, json!({})),
                None => (410, json!({})),
            },
            "bind" => match self.bindings.get(binding) {
                Some(known) if known == body => (200, json!({"credentials": Self::credentials(binding)})),
                Some(_) => (409, json!({})),
                None => {
                    self.bindings.insert(binding.to_owned(), body.clone());
                    (201, json!({"credentials": Self::credentials(binding)}))
                }
            },
            "unbind" => match self.bindings.remove(binding) {
                Some(_) => (200, json!({})),
                None => (410, json!({})),
            },
            "fetch" if binding.is_empty() => match self.instances.get(instance) {
                Some(known) => {
                    (200, json!({"parameters": known.get("parameters").cloned().unwrap_or(json!({}))}))
                }
                None => (404, json!({})),
            },
            "fetch" => match self.bindings.get(binding) {
                Some(known) => (
                    200,
                    json!({"credentials": Self::credentials(binding),
                           "parameters": known.get("parameters").cloned().unwrap_or(json!({}))}),
                ),
                None => (404, json!({})),
            },
            _ => (400, json!({"description": "what is this?"})),
        }
    }

    /// The state of what goes on by itself.
    fn poll(&mut self, path: &str) -> (u16, Value) {
        let key = path.trim_end_matches("/last_operation").to_owned();
        let Some((left, end)) = self.under_way.get_mut(&key) else { return (410, json!({})) };
        if *left > 0 {
            *left -= 1;
            return (200, json!({"state": "in progress", "description": format!("{left} to go")}));
        }
        let end = *end;
        (200, json!({"state": end, "description": format!("it {end}")}))
    }
}

fn said(status: u16, body: impl Into<String>) -> Response {
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "application/json")], body.into())
        .into_response()
}

fn verb(method: &Method, uri: &Uri) -> (&'static str, String, String) {
    let parts: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    let part = |index: usize| parts.get(index).copied().unwrap_or_default().to_owned();
    let binding = if parts.get(3) == Some(&"service_bindings") { part(4) } else { String::new() };
    let of_binding = !binding.is_empty();
    let verb = match (method.as_str(), uri.path()) {
        ("GET", "/v2/catalog") => "catalog",
        ("GET", path) if path.ends_with("/last_operation") => "poll",
        ("GET", _) => "fetch",
        ("PUT", _) if of_binding => "bind",
        ("PUT", _) => "provision",
        ("PATCH", _) => "update",
        ("DELETE", _) if of_binding => "unbind",
        ("DELETE", _) => "deprovision",
        _ => "unknown",
    };
    (verb, part(2), binding)
}

async fn answer(State(brain): State<Arc<Mutex<Brain>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (verb, instance, binding) = verb(&parts.method, &parts.uri);
    let path = parts.uri.path().to_owned();
    let behaviour = {
        let mut brain = brain.lock().unwrap();
        brain.seen.push(Seen {
            line: format!("{} {path}", parts.method),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
                .collect(),
            body: body.clone(),
        });
        let wanted = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        if header("authorization") != Some(wanted) {
            return said(401, "{}");
        }
        if !header("x-broker-api-version").is_some_and(|version| version.starts_with("2.")) {
            return said(412, "{}");
        }
        brain.behaviour(verb)
    };
    let act = || brain.lock().unwrap().act(verb, &instance, &binding, &body);
    match behaviour {
        None if verb == "poll" => {
            let (status, answer) = brain.lock().unwrap().poll(&path);
            said(status, answer.to_string())
        }
        None => {
            let (status, answer) = act();
            said(status, answer.to_string())
        }
        Some(Behaviour::Says(status, text)) => said(status, text),
        Some(Behaviour::DoneAndSays(status, text)) => {
            act();
            said(status, text)
        }
        Some(Behaviour::DoneAndSilent) => {
            act();
            std::future::pending().await
        }
        Some(Behaviour::Silent) => std::future::pending().await,
        Some(Behaviour::Later(questions, end)) => {
            act();
            brain.lock().unwrap().under_way.insert(path, (questions, end));
            said(202, json!({"operation": format!("task of {verb}")}).to_string())
        }
        Some(Behaviour::Endless) => {
            let chunks =
                futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 4096])));
            axum::body::Body::from_stream(chunks).into_response()
        }
    }
}
