//! A controller with its bus, in a directory of its own.

use controller::{Config, Error, Server};
use cupola_bus::Bus;
use cupola_protocol::api::Token;
use reqwest::{Client, Method, RequestBuilder, StatusCode, multipart, redirect::Policy};
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use std::{
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use testkit::PostgresServer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A nats-server that ends with the test.
pub(crate) struct Nats {
    child: Child,
    pub url: String,
}

impl Nats {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is installed");
        Self { child, url: format!("nats://127.0.0.1:{port}") }
    }

    pub(crate) async fn connect(&self) -> Bus {
        let config = cupola_bus::Config { servers: vec![self.url.clone()], ..cupola_bus::Config::default() };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Bus::connect(&config, "test").await {
                Ok(bus) => return bus,
                Err(error) if Instant::now() > deadline => panic!("no nats-server: {error:?}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running controller.
pub(crate) struct Platform {
    pub nats: std::sync::Arc<Nats>,
    pub bus: Bus,
    pub _dir: TempDir,
    /// When the rows are there.
    pub postgres: Option<PostgresServer>,
    pub config: Config,
    pub base: String,
    pub client: Client,
    pub token: String,
    pub shutdown: CancellationToken,
    pub running: Option<JoinHandle<Result<(), Error>>>,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// A platform with some keys changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let nats = std::sync::Arc::new(Nats::start());
        let bus = nats.connect().await;
        let dir = tempfile::tempdir().unwrap();
        let postgres = crate::ON_POSTGRES.then(PostgresServer::start);
        let mut config = Config {
            database: postgres.as_ref().map(|server| server.url().parse().unwrap()),
            database_password_file: postgres.as_ref().map(PostgresServer::password_file),
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: dir.path().join("controller"),
            domain: "apps.test".to_owned(),
            node_wait_seconds: 2,
            start_answer_seconds: 2,
            log_wait_ms: 100,
            find_timeout_ms: 300,
            shutdown_seconds: 2,
            lease_seconds: 2,
            ..Config::default()
        };
        change(&mut config);
        let mut platform = Self {
            nats,
            bus,
            _dir: dir,
            postgres,
            config,
            base: String::new(),
            // An answer that leads elsewhere is an answer.
            client: Client::builder().redirect(Policy::none()).build().unwrap(),
            token: String::new(),
            shutdown: CancellationToken::new(),
            running: None,
        };
        platform.run().await;
        platform.token = platform.login().await.access_token;
        platform
    }

    pub(crate) async fn run(&mut self) {
        let server: Server = controller::bind(self.config.clone(), self.nats.connect().await)
            .await
            .expect("the controller binds");
        self.base = format!("http://{}", server.addr());
        self.shutdown = CancellationToken::new();
        self.running = Some(tokio::spawn(server.run(self.shutdown.clone())));
    }

    /// Ends the controller as a signal would.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.cancel();
        let running = self.running.take().expect("it runs");
        tokio::time::timeout(PATIENCE, running)
            .await
            .expect("it ends in time")
            .unwrap()
            .expect("it ends well");
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.run().await;
    }

    /// Kills the controller where it stands.
    pub(crate) async fn kill(&mut self) {
        let running = self.running.take().expect("it runs");
        running.abort();
        let _ = running.await;
    }

    /// Kills the controller where it stands, and starts another on the same data.
    pub(crate) async fn die_and_return(&mut self) {
        self.kill().await;
        self.run().await;
    }

    pub(crate) fn password(&self) -> String {
        std::fs::read_to_string(self.config.data_dir.join("admin-password")).unwrap()
    }

    pub(crate) async fn login(&self) -> Token {
        self.login_as("admin", &self.password()).await.expect("the administrator logs in")
    }

    /// Tokens of a user, when the password is right.
    pub(crate) async fn login_as(&self, user: &str, password: &str) -> Option<Token> {
        self.grant(&[("grant_type", "password"), ("username", user), ("password", password)]).await
    }

    /// Tokens for a grant, when it is good.
    pub(crate) async fn grant(&self, form: &[(&str, &str)]) -> Option<Token> {
        let request = self.client.post(format!("{}/oauth/token", self.base)).basic_auth("cf", Some(""));
        let answer = request.form(form).send().await.unwrap();
        if answer.status().is_success() { Some(answer.json().await.unwrap()) } else { None }
    }

    /// Makes a user as the `cf` CLI does; gives the guid.
    pub(crate) async fn make_user(&self, name: &str, password: &str, groups: Value) -> String {
        let wish = json!({"userName": name, "password": password, "origin": "", "groups": groups,
            "name": {"familyName": name, "givenName": name}, "emails": [{"value": name, "primary": true}]});
        let guid = text(&self.post("/Users", wish).await, "id");
        self.post("/v3/users", json!({"guid": guid})).await;
        guid
    }

    /// Gives a role in an organization or a space; the role's guid.
    pub(crate) async fn give_role(&self, kind: &str, user: &str, place: &str) -> String {
        let side = if kind.starts_with("space_") { "space" } else { "organization" };
        let sides = json!({"user": {"data": {"guid": user}}, side: {"data": {"guid": place}}});
        text(&self.post("/v3/roles", json!({"type": kind, "relationships": sides})).await, "guid")
    }

    /// The guid of a thing by its name.
    pub(crate) async fn named(&self, path: &str, name: &str) -> String {
        let page = self.get(&format!("{path}?names={name}")).await;
        text(&page["resources"][0], "guid")
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        self.client.request(method, url).bearer_auth(&self.token)
    }

    /// A request that succeeds.
    pub(crate) async fn ok(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ok(Method::GET, path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.ok(Method::POST, path, body).await
    }

    /// A request, its status and its answer.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let mut request = self.request(method, path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let bytes = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// A request of somebody else, or of nobody; a body that is text is sent as it is.
    pub(crate) async fn send_as(
        &self,
        token: Option<&str>,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, String) {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request = match body {
            Value::Null => request,
            Value::String(text) => request.body(text.clone()),
            body => request.json(body),
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, String::from_utf8_lossy(&answer.bytes().await.unwrap()).into_owned())
    }

    /// The first error of a request that is refused with this status.
    pub(crate) async fn refused(&self, method: Method, path: &str, body: Value, status: u16) -> String {
        let (found, answer) = self.send(method.clone(), path, body).await;
        assert_eq!(found.as_u16(), status, "{method} {path}: {answer}");
        let error = &answer["errors"][0];
        assert!(error["code"].is_u64() && error["title"].is_string(), "{answer}");
        error["detail"].as_str().expect("an error has details").to_owned()
    }

    pub(crate) async fn space(&self) -> String {
        let spaces = self.get(&format!("/v3/spaces?names={}", self.config.space)).await;
        spaces["resources"][0]["guid"].as_str().expect("the first space is there").to_owned()
    }

    /// Applies a manifest; its job is done.
    pub(crate) async fn apply(&self, yaml: &str) {
        let path = format!("/v3/spaces/{}/actions/apply_manifest", self.space().await);
        let request = self.request(Method::POST, &path).header("content-type", "application/x-yaml");
        let answer = request.body(yaml.to_owned()).send().await.unwrap();
        let status = answer.status();
        let job = answer.headers().get("location").map(|job| job.to_str().unwrap().to_owned());
        assert_eq!(status.as_u16(), 202, "{}", answer.text().await.unwrap());
        self.job(&job.expect("a job has an address")).await;
    }

    pub(crate) async fn job(&self, url: &str) {
        let job = self.get(url).await;
        assert_eq!(job["state"], "COMPLETE", "{job}");
    }

    /// Deletes something, and waits for the job.
    pub(crate) async fn delete(&self, path: &str) {
        let answer = self.request(Method::DELETE, path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 202);
        let job = answer.headers()["location"].to_str().unwrap().to_owned();
        self.job(&job).await;
    }

    pub(crate) async fn app(&self, name: &str) -> String {
        let apps = self.get(&format!("/v3/apps?names={name}")).await;
        apps["resources"][0]["guid"].as_str().expect("the app is there").to_owned()
    }

    /// Makes a package of an app and uploads bits.
    pub(crate) async fn upload(
        &self,
        app: &str,
        zip: Vec<u8>,
        resources: Value,
    ) -> (String, StatusCode, Value) {
        let wish = json!({"type": "bits", "relationships": {"app": {"data": {"guid": app}}}});
        let package = self.post("/v3/packages", wish).await;
        let guid = package["guid"].as_str().unwrap().to_owned();
        let (status, answer) = self.upload_to(&guid, zip, resources).await;
        (guid, status, answer)
    }

    /// Uploads bits to a package.
    pub(crate) async fn upload_to(&self, guid: &str, zip: Vec<u8>, resources: Value) -> (StatusCode, Value) {
        let bits = multipart::Part::bytes(zip).file_name("package.zip");
        let form = multipart::Form::new().text("resources", resources.to_string()).part("bits", bits);
        let request = self.request(Method::POST, &format!("/v3/packages/{guid}/upload")).multipart(form);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap())
    }

    /// Stages a package; gives the build when it has ended.
    pub(crate) async fn stage(&self, package: &str) -> Value {
        let build = self.post("/v3/builds", json!({"package": {"guid": package}})).await;
        let path = format!("/v3/builds/{}", build["guid"].as_str().unwrap());
        self.until(&path, |build| build["state"] != "STAGING").await
    }

    /// Pushes and starts an app with the manifest's words; gives its guid.
    pub(crate) async fn push(&self, manifest: &str, name: &str) -> String {
        self.apply(manifest).await;
        let app = self.app(name).await;
        let (package, status, answer) =
            self.upload(&app, zip(&[("Procfile", b"web: ./run")]), json!([])).await;
        assert!(status.is_success(), "{answer}");
        let build = self.stage(&package).await;
        assert_eq!(build["state"], "STAGED", "{build}");
        let path = format!("/v3/apps/{app}/relationships/current_droplet");
        self.ok(Method::PATCH, &path, json!({"data": build["droplet"]})).await;
        self.post(&format!("/v3/apps/{app}/actions/restart"), Value::Null).await;
        app
    }

    /// Asks again until the answer is as wanted.
    pub(crate) async fn until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await;
            if good(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} stays {answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the instances of an app stand like this.
    pub(crate) async fn until_states(&self, app: &str, wanted: &[&str]) -> Value {
        self.until(&format!("/v3/processes/{app}/stats"), |stats| states(stats) == wanted).await
    }

    /// Lines of an app's log.
    pub(crate) async fn lines(&self, app: &str) -> Vec<String> {
        let read: cupola_protocol::api::ReadLogs =
            serde_json::from_value(self.get(&format!("/api/v1/read/{app}?limit=1000")).await).unwrap();
        read.envelopes.batch.iter().filter_map(|one| one.text()).collect()
    }

    pub(crate) async fn until_line(&self, app: &str, part: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines(app).await;
            if lines.iter().any(|line| line.contains(part)) {
                return;
            }
            assert!(Instant::now() < deadline, "no line has {part:?}: {lines:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All files of the blob store and of uploads under way.
    pub(crate) fn blobs(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut dirs = vec![self.config.data_dir.join("blobs"), self.config.data_dir.join("incoming")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path.clone());
                }
                found.push(path);
            }
        }
        found
    }

    /// A connection to the database, past the API.
    pub(crate) async fn database(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        let url = match &self.postgres {
            Some(server) => server.url_with_password(),
            None => format!("sqlite://{}", self.config.data_dir.join("controller.db").display()),
        };
        AnyConnection::connect(&url).await.unwrap()
    }

    /// Rows of a table, past the API.
    pub(crate) async fn rows(&self, table: &str) -> i64 {
        let words = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        sqlx::query_scalar(words).fetch_one(&mut self.database().await).await.unwrap()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A text of an answer.
pub(crate) fn text(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned()
}

/// The states in an answer of stats.
pub(crate) fn states(stats: &Value) -> Vec<&str> {
    stats["resources"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect()
}

/// A zip of these files.
pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The permissions of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
