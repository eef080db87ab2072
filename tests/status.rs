//! The contract of every component's status page, over a real nats-server: `/healthz`, `/varz`, `/metrics`, and the
//! answer to `vcap.component.discover`. The same for all: a new component is one more line in `Everyone`.

use cupola_bus::Bus;
use cupola_protocol::{
    Subject,
    component::{Announce, Discover},
};
use cupola_status::Snapshot;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use testkit::{NatsServer, eventually};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);
/// Every secret of every configuration contains this.
const SECRET: &str = "S3CRET";

/// A component that runs.
struct Component {
    name: &'static str,
    kind: &'static str,
    address: SocketAddr,
    /// What `/healthz` says of one that has no warden, no stack, or no controller here; none when it is well.
    problem: Option<&'static str>,
}

/// Every component, as in one process.
struct Everyone {
    nats: NatsServer,
    bus: Bus,
    components: Vec<Component>,
    shutdown: CancellationToken,
    running: JoinSet<()>,
    client: reqwest::Client,
    _data: TempDir,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

async fn connect(nats: &NatsServer) -> Bus {
    let config = cupola_bus::Config { servers: vec![nats.url().to_owned()], ..Default::default() };
    eventually(PATIENCE, async || Bus::connect(&config, "test").await).await
}

impl Everyone {
    async fn start() -> Self {
        let nats = NatsServer::start();
        let data = tempfile::tempdir().expect("a directory");
        let at = |name: &str| data.path().join(name);
        let password = at("status-password");
        fs::write(&password, format!("{SECRET}-status\n")).expect("write a password");
        let status = |open_metrics| cupola_status::Config {
            password_file: Some(password.clone()),
            open_metrics,
            ..Default::default()
        };
        let mut everyone = Self {
            bus: connect(&nats).await,
            components: Vec::new(),
            shutdown: CancellationToken::new(),
            running: JoinSet::new(),
            client: reqwest::Client::builder().no_proxy().build().expect("an HTTP client"),
            nats,
            _data: data,
        };
        let at = |name: &str| everyone._data.path().join(name);
        let free: SocketAddr = "127.0.0.1:0".parse().expect("an address");

        let config = router::Config {
            listen: free,
            data_dir: at("router"),
            status: status(true),
            ..Default::default()
        };
        let server = router::bind(config, connect(&everyone.nats).await).await.expect("the router binds");
        everyone.components.push(Component {
            name: "router",
            kind: "Router",
            address: server.status_addr(),
            problem: None,
        });
        let shutdown = everyone.shutdown.clone();
        everyone.running.spawn(async move { server.run(shutdown).await.expect("the router ends well") });

        let config = controller::Config {
            listen: free,
            data_dir: at("controller"),
            internal_url: Some(
                format!("http://user:{SECRET}@127.0.0.1:9/?token={SECRET}").parse().expect("a URL"),
            ),
            status: status(false),
            ..Default::default()
        };
        let server =
            controller::bind(config, connect(&everyone.nats).await).await.expect("the controller binds");
        everyone.components.push(Component {
            name: "controller",
            kind: "CloudController",
            address: server.status_addr(),
            problem: None,
        });
        let shutdown = everyone.shutdown.clone();
        everyone.running.spawn(async move { server.run(shutdown).await.expect("the controller ends well") });

        let config = stager::Config {
            data_dir: at("stager"),
            stacks_dir: at("stacks"),
            warden_socket: at("no-warden"),
            buildpacks_dir: root().join("buildpacks"),
            environment: BTreeMap::from([("PIP_INDEX_URL".to_owned(), SECRET.to_owned())]),
            status: status(false),
            ..Default::default()
        };
        fs::create_dir_all(at("stager")).expect("a directory");
        let server = stager::bind(config, connect(&everyone.nats).await).await.expect("the stager binds");
        everyone.components.push(Component {
            name: "stager",
            kind: "Stager",
            address: server.status_addr(),
            problem: Some("warden"),
        });
        let shutdown = everyone.shutdown.clone();
        everyone.running.spawn(async move { server.run(shutdown).await.expect("the stager ends well") });

        let config = dea::Config {
            data_dir: at("node"),
            warden_socket: at("no-warden"),
            status: status(false),
            ..Default::default()
        };
        let server = dea::bind(config, connect(&everyone.nats).await).await.expect("the node agent binds");
        everyone.components.push(Component {
            name: "dea",
            kind: "DEA",
            address: server.status_addr(),
            problem: Some("cupola stack build"),
        });
        let shutdown = everyone.shutdown.clone();
        everyone.running.spawn(async move { server.run(shutdown).await.expect("the agent ends well") });

        let config = services::gateway::Config {
            data_dir: at("gateway"),
            listen: free,
            status: status(false),
            ..Default::default()
        };
        let server =
            services::gateway::bind(config, connect(&everyone.nats).await).await.expect("the gateway binds");
        everyone.components.push(Component {
            name: "service_gateway",
            kind: "Services-Provisioner",
            address: server.status_addr(),
            problem: None,
        });
        let shutdown = everyone.shutdown.clone();
        everyone.running.spawn(async move { server.run(shutdown).await.expect("the gateway ends well") });

        let config = services::node::Config {
            data_dir: at("service-node"),
            stacks_dir: at("stacks"),
            warden_socket: at("no-warden"),
            status: status(false),
            ..Default::default()
        };
        let server = services::node::bind(config, connect(&everyone.nats).await)
            .await
            .expect("the service node binds");
        everyone.components.push(Component {
            name: "service_node",
            kind: "Services-Node",
            address: server.status_addr(),
            problem: Some("cupola stack build services"),
        });
        let shutdown = everyone.shutdown.clone();
        everyone.running.spawn(async move { server.run(shutdown).await.expect("the node ends well") });

        let config = health_manager::Config {
            // Nobody is there.
            controller_url: Some(format!("http://user:{SECRET}@127.0.0.1:9")),
            status: status(false),
            ..Default::default()
        };
        let server = health_manager::bind(config, connect(&everyone.nats).await)
            .await
            .expect("a health manager binds");
        everyone.components.push(Component {
            name: "health_manager",
            kind: "HealthManager",
            address: server.status_addr(),
            problem: Some("the desired state was never read"),
        });
        let shutdown = everyone.shutdown.clone();
        everyone.running.spawn(async move { server.run(shutdown).await.expect("it ends well") });
        everyone
    }

    async fn get(&self, component: &Component, path: &str, password: Option<&str>) -> (u16, String) {
        let mut request = self.client.get(format!("http://{}{path}", component.address));
        if let Some(password) = password {
            request = request.basic_auth("status", Some(password));
        }
        let answer = request.send().await.expect("the status page answers");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }

    fn password() -> String {
        format!("{SECRET}-status")
    }

    async fn varz(&self, component: &Component) -> Value {
        let (status, body) = self.get(component, "/varz", Some(&Self::password())).await;
        assert_eq!(status, 200, "{}: {body}", component.name);
        serde_json::from_str(&body).expect("varz is JSON")
    }

    async fn metrics(&self, component: &Component) -> String {
        let (status, body) = self.get(component, "/metrics", Some(&Self::password())).await;
        assert_eq!(status, 200, "{}: {body}", component.name);
        body
    }

    async fn end(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.expect("a component ends without a panic");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_component_answers_discover_with_its_own_place_and_uptime() {
    let everyone = Everyone::start().await;
    let discover = || async {
        let replies =
            everyone.bus.request_replies(&Subject::of::<Discover>(), &Discover {}).await.expect("a request");
        replies.collect(PATIENCE, |replies: &[Announce]| replies.len() == everyone.components.len()).await
    };
    let replies = discover().await;
    assert_eq!(replies.len(), everyone.components.len());
    for component in &everyone.components {
        let announce = replies.iter().find(|reply| reply.kind == component.kind);
        let announce = announce.unwrap_or_else(|| panic!("{} does not answer", component.kind));
        assert_eq!(announce.host, component.address.to_string());
        assert!(announce.uuid.starts_with("0-") && announce.uuid.len() > 8, "{}", announce.uuid);
        assert_eq!(announce.credentials, ["status".to_owned(), Everyone::password()]);
        let uptime = announce.uptime.as_deref().expect("answers say the uptime");
        assert!(uptime.starts_with("0d:0h:") && uptime.ends_with('s'), "{uptime}");
        assert!(announce.start.ends_with(" +0000"), "{}", announce.start);
    }
    let uuids: BTreeSet<&str> = replies.iter().map(|reply| reply.uuid.as_str()).collect();
    assert_eq!(uuids.len(), replies.len(), "each has a uuid of its own");
    everyone.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn healthz_says_ok_or_why_not_without_a_password() {
    let everyone = Everyone::start().await;
    for component in &everyone.components {
        eventually(PATIENCE, async || {
            let (status, body) = everyone.get(component, "/healthz", None).await;
            match component.problem {
                None if (status, body.as_str()) == (200, "ok\n") => Ok(()),
                Some(problem) if status == 503 && body.contains(problem) => Ok(()),
                _ => Err(format!("{}: {status} {body}", component.name)),
            }
        })
        .await;
    }
    everyone.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_bus_is_told_by_every_component_and_passes() {
    let mut everyone = Everyone::start().await;
    everyone.nats.kill();
    for component in &everyone.components {
        eventually(PATIENCE, async || {
            let (status, body) = everyone.get(component, "/healthz", None).await;
            match status == 503 && body.contains("NATS does not answer") {
                true => Ok(()),
                false => Err(format!("{}: {status} {body}", component.name)),
            }
        })
        .await;
        let figures = Snapshot::parse(&everyone.metrics(component).await);
        let name = |what: &str| format!("cupola_{}_{what}", component.name);
        assert_eq!(figures.value(&name("bus_connected"), &[]), Some(0.0));
        assert_eq!(figures.value(&name("healthy"), &[]), Some(0.0));
    }
    everyone.nats.start_again();
    for component in &everyone.components {
        eventually(PATIENCE, async || {
            let (_, body) = everyone.get(component, "/healthz", None).await;
            if body.contains("NATS") { Err(format!("{}: {body}", component.name)) } else { Ok(()) }
        })
        .await;
    }
    everyone.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn varz_has_the_historic_part_and_no_secret_and_asks_for_the_password() {
    let everyone = Everyone::start().await;
    for component in &everyone.components {
        for (path, open) in [("/varz", false), ("/metrics", component.name == "router")] {
            for wrong in [None, Some("wrong")] {
                let (status, body) = everyone.get(component, path, wrong).await;
                assert_eq!(status, if open { 200 } else { 401 }, "{}{path}: {body}", component.name);
            }
        }
        let varz = everyone.varz(component).await;
        assert_eq!(varz["type"], component.kind);
        assert_eq!(varz["index"], 0);
        assert_eq!(varz["host"], component.address.to_string());
        for number in ["num_cores", "mem", "cpu"] {
            assert!(varz[number].is_number(), "{}: {number} is {}", component.name, varz[number]);
        }
        assert!(varz["mem"].as_u64().is_some_and(|kilobytes| kilobytes > 1000), "{}", varz["mem"]);
        assert!(varz["config"].as_object().is_some_and(|config| config.len() > 5), "{}", varz["config"]);
        assert!(
            varz["uptime"].as_str().is_some_and(|uptime| uptime.starts_with("0d:")),
            "{}",
            varz["uptime"]
        );
        assert_eq!(varz["healthy"], u32::from(component.problem.is_none()), "{}: {varz}", component.name);
        assert!(!varz.to_string().contains(SECRET), "{} shows a secret: {varz}", component.name);
    }
    // The secrets that components make themselves: small files that only their owner reads.
    let mut secrets = Vec::new();
    for folder in ["controller", "gateway"] {
        for entry in fs::read_dir(everyone._data.path().join(folder)).expect("a data directory") {
            let entry = entry.expect("an entry");
            let figures = entry.metadata().expect("its figures");
            if figures.is_file() && figures.len() < 256 && figures.mode() & 0o077 == 0 {
                let text = fs::read_to_string(entry.path()).unwrap_or_default().trim().to_owned();
                if text.len() > 8 {
                    secrets.push(text);
                }
            }
        }
    }
    assert!(secrets.len() >= 2, "where are the secrets?");
    for component in &everyone.components {
        let varz = everyone.varz(component).await.to_string();
        assert!(!secrets.iter().any(|secret| varz.contains(secret)), "{}: {varz}", component.name);
    }
    everyone.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn varz_and_metrics_give_the_same_figures() {
    let everyone = Everyone::start().await;
    let router = &everyone.components[0];
    // The controller registers its four names at one address, the node agent its directory server.
    let varz = eventually(PATIENCE, async || {
        let varz = everyone.varz(router).await;
        if varz["urls"] == 5 && varz["droplets"] == 2 { Ok(varz) } else { Err(varz.to_string()) }
    })
    .await;
    for historic in ["requests", "bad_requests", "bad_gateways", "responses_2xx", "responses_xxx"] {
        assert_eq!(varz[historic], 0, "{historic}");
    }
    assert_eq!(varz["requests_total"]["2xx"], 0);
    assert_eq!(varz["latency"]["samples"], 0);
    for component in &everyone.components {
        let figures = Snapshot::parse(&everyone.metrics(component).await);
        let varz = everyone.varz(component).await;
        let prefix = format!("cupola_{}_", component.name);
        for name in figures.names() {
            let Some(short) = name.strip_prefix(&prefix).filter(|short| !short.ends_with("_bucket")) else {
                continue;
            };
            assert!(!varz[short].is_null(), "{short} of {} is not in varz", component.name);
        }
    }
    everyone.end().await;
}

/// The figures that `docs/metrics.md` names for a component: the first cell of each row of its table.
fn documented(name: &str) -> BTreeSet<String> {
    let path: PathBuf = root().join("docs/metrics.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split(['`', '{']).next())
        .filter(|metric| metric.starts_with(&format!("cupola_{name}_")) || metric.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_figures_names_what_is_served_and_nothing_else() {
    let everyone = Everyone::start().await;
    for component in &everyone.components {
        let text = everyone.metrics(component).await;
        let served: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .map(str::to_owned)
            .collect();
        assert_eq!(served, documented(component.name), "docs/metrics.md and {} differ", component.name);
        for name in served.iter().filter(|name| name.starts_with("cupola_")) {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} is not explained");
        }
    }
    everyone.end().await;
}
