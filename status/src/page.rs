//! The status page of one component.

use crate::{
    Config, Error, Gauge, Question, Questions, Snapshot, address, announce, figures::gauge, http, question,
    redact,
};
use cupola_bus::{Bus, Subscription};
use cupola_protocol::component::Discover;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;
use rand::RngExt;
use serde::Serialize;
use serde_json::Value;
use std::{
    fs,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

/// How long the component's own task may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// An answer serves everybody who asks within this time: `/healthz` has no password, and asking costs something.
const FRESH: Duration = Duration::from_millis(500);

/// How often histograms are tidied up: their samples wait in memory until then.
const UPKEEP: Duration = Duration::from_secs(5);

/// Letters and digits of a generated password, and how many: 57^32 is more than 2^186.
const ALPHABET: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const PASSWORD_LENGTH: usize = 32;

/// Bounds of a request's time, in seconds.
const REQUEST_SECONDS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// Bounds of work that takes longer, in seconds.
const WORK_SECONDS: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// Historic names of figures for `/varz`.
pub type Historic = fn(&Snapshot) -> Vec<(&'static str, Value)>;

/// Which component a page is about.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name in the names of its figures: `cupola_<name>_...`.
    pub name: &'static str,
    /// Its historic type: `DEA`, `Router`, `CloudController`.
    pub kind: &'static str,
    /// Which one of its kind.
    pub index: u32,
    /// Its id, the end of its `uuid`.
    pub id: String,
    /// Historic names of its figures for `/varz`.
    pub historic: Historic,
}

/// A page that listens, and is served once its component runs.
#[derive(Debug)]
pub struct Page {
    listener: TcpListener,
    discovers: Subscription<Discover>,
    shared: Arc<Shared>,
}

/// What serves the page; dropping it ends that.
#[derive(Debug)]
pub struct Serving(Vec<JoinHandle<()>>);

impl Drop for Serving {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// What every request works with.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    /// Beginning of the names of all the component's figures.
    pub(crate) prefix: String,
    pub(crate) host: SocketAddr,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) open_metrics: bool,
    /// The component's configuration without its secrets.
    pub(crate) config: Value,
    pub(crate) bus: Bus,
    pub(crate) start: OffsetDateTime,
    pub(crate) begun: Instant,
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// Figures of the process.
    process: Collector,
    healthy: Gauge,
    bus_connected: Gauge,
    questions: mpsc::Sender<Question>,
    /// The last answer, and when it came.
    last: Mutex<Option<(Instant, Vec<String>)>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("identity", &self.identity)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Page {
    /// Listens, makes the recorder and the password, and subscribes to `vcap.component.discover`. `section` is the
    /// component's configuration; its secrets are taken out.
    ///
    /// # Errors
    /// When the address is taken, the password file cannot be used, or the bus refuses.
    pub async fn bind(
        config: &Config,
        identity: Identity,
        section: &impl Serialize,
        bus: &Bus,
    ) -> Result<(Self, Questions), Error> {
        config.validate()?;
        let password = password(config)?;
        let failed = |source| Error::Listen { listen: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let host = address::announced(config, bound, bus.own_address())?;
        let discovers = bus.subscribe().await.map_err(Error::Bus)?;
        let (ask, questions) = question::channel();
        let recorder = recorder();
        let prefix = format!("cupola_{}_", identity.name);
        let own = |what: &str, help| gauge(format!("{prefix}{what}"), help, &[]);
        let (healthy, bus_connected, process) = metrics::with_local_recorder(&recorder, || {
            let process = Collector::default();
            process.describe();
            (
                own("healthy", "1 when /healthz says ok"),
                own("bus_connected", "1 while NATS is connected"),
                process,
            )
        });
        let shared = Shared {
            host,
            user: config.user.clone(),
            password,
            open_metrics: config.open_metrics,
            config: redact::redact(serde_json::to_value(section).map_err(Error::Config)?),
            bus: bus.clone(),
            start: OffsetDateTime::now_utc(),
            begun: Instant::now(),
            handle: recorder.handle(),
            recorder,
            process,
            healthy,
            bus_connected,
            questions: ask,
            last: Mutex::new(None),
            prefix,
            identity,
        };
        Ok((Self { listener, discovers, shared: Arc::new(shared) }, questions))
    }

    /// Makes the component's figures under the page's recorder.
    pub fn figures<T>(&self, make: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.shared.recorder, make)
    }

    /// The address of the page, as it is announced.
    pub fn addr(&self) -> SocketAddr {
        self.shared.host
    }

    /// Serves the page and answers on the bus, until what this gives is dropped.
    pub fn serve(self) -> Serving {
        let Self { listener, discovers, shared } = self;
        let app = http::router(shared.clone());
        Serving(vec![
            tokio::spawn(async move {
                if let Err(error) = axum::serve(listener, app).await {
                    tracing::error!(%error, "the status page is no longer served");
                }
            }),
            tokio::spawn(announce::run(shared.clone(), discovers)),
            tokio::spawn(upkeep(shared)),
        ])
    }
}

impl Shared {
    /// `<index>-<id>`.
    pub(crate) fn uuid(&self) -> String {
        format!("{}-{}", self.identity.index, self.identity.id)
    }

    /// What is wrong with the component; brings its gauges up to date.
    pub(crate) async fn problems(&self) -> Vec<String> {
        // Held while asking: who comes meanwhile waits for the same answer.
        let mut last = self.last.lock().await;
        if let Some((at, problems)) = &*last
            && at.elapsed() < FRESH
        {
            return problems.clone();
        }
        let connected = *self.bus.connected().borrow();
        let mut problems = Vec::new();
        if !connected {
            problems.push("the bus is away: NATS does not answer".to_owned());
        }
        problems.extend(self.ask().await);
        self.bus_connected.set(f64::from(u8::from(connected)));
        self.healthy.set(f64::from(u8::from(problems.is_empty())));
        *last = Some((Instant::now(), problems.clone()));
        problems
    }

    async fn ask(&self) -> Vec<String> {
        let (question, answered) = Question::new();
        let conversation = async {
            self.questions.send(question).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(PATIENCE, conversation).await {
            Ok(Some(problems)) => problems,
            Ok(None) => vec!["it has ended or is about to".to_owned()],
            Err(_) => {
                vec![format!("its work does not get on: no answer from within for {} s", PATIENCE.as_secs())]
            }
        }
    }

    /// All figures in Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        metrics::with_local_recorder(&self.recorder, || self.process.collect());
        self.handle.render()
    }
}

async fn upkeep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        shared.handle.run_upkeep();
    }
}

fn recorder() -> PrometheusRecorder {
    let bounds = "constant bounds, of which there are some";
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_request_seconds".to_owned()), &REQUEST_SECONDS)
        .expect(bounds)
        .set_buckets(&WORK_SECONDS)
        .expect(bounds)
        .build_recorder()
}

fn password(config: &Config) -> Result<String, Error> {
    let Some(path) = &config.password_file else {
        let mut random = rand::rng();
        let letter = |_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]);
        return Ok((0..PASSWORD_LENGTH).map(letter).collect());
    };
    let text = fs::read_to_string(path).map_err(|source| Error::Password { path: path.clone(), source })?;
    match text.trim_end() {
        "" => Err(Error::EmptyPassword { path: path.clone() }),
        password => Ok(password.to_owned()),
    }
}
