//! Several controllers on one PostgreSQL and one S3 store: what they do at the same time, what is left when one dies,
//! and what the loss of the database or of the blobs does.

use crate::{
    fakes::{FakeDea, FakeStager},
    platform::{PATIENCE, Platform, zip},
};
use controller::Config;
use cupola_protocol::{Version, health::StartInstance};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use testkit::{S3Server, eventually};
use tokio_util::sync::CancellationToken;

const MANIFEST: &str = "applications:\n- name: one\n  no-route: true\n  memory: 16M\n";

impl Platform {
    /// Another controller on the same rows and blobs. Its token is the first one's: both take it.
    pub(crate) async fn another(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().join("controller"), ..self.config.clone() };
        let mut platform = Self {
            nats: self.nats.clone(),
            bus: self.nats.connect().await,
            _dir: dir,
            postgres: None,
            config,
            base: String::new(),
            client: Client::new(),
            token: self.token.clone(),
            shutdown: CancellationToken::new(),
            running: None,
        };
        platform.run().await;
        platform
    }
}

async fn with_store() -> (S3Server, Platform) {
    let store = S3Server::start().await;
    let (url, file) = (store.url().parse().unwrap(), store.credentials_file());
    let platform = Platform::with(|config| {
        config.blobs = Some(url);
        config.blobs_credentials_file = Some(file);
        config.blobs_wait_seconds = 3;
        config.database_wait_seconds = 1;
    });
    (store, platform.await)
}

/// Objects in the store, without what the server itself notes about them.
fn objects(store: &S3Server) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![store.objects()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with('.') {
                found.push(path.strip_prefix(store.objects()).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Version and index of every instance of all nodes.
fn instances(nodes: &[FakeDea]) -> Vec<(Version, u32)> {
    let mut all: Vec<_> = nodes
        .iter()
        .flat_map(FakeDea::instances)
        .map(|one| (one.start.version.clone(), one.start.index))
        .collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_do_to_one_app_ends_in_one_version() {
    let (_store, first) = with_store().await;
    let second = first.another().await;
    let _stager = FakeStager::start(&first.bus).await;
    let nodes =
        [FakeDea::start(&first.bus, "dea-1", 4096).await, FakeDea::start(&first.bus, "dea-2", 4096).await];
    let app = first.push(MANIFEST, "one").await;
    let change = async |platform: &Platform, seed: usize| {
        for step in 0..12 {
            let (path, body) = match (step * 7 + seed * 3) % 5 {
                0 => ("actions/stop", Value::Null),
                1 => ("actions/start", Value::Null),
                2 => ("actions/restart", Value::Null),
                count => ("processes/web/actions/scale", json!({"instances": count + seed % 2 - 1})),
            };
            platform.post(&format!("/v3/apps/{app}/{path}"), body).await;
        }
    };
    tokio::join!(change(&first, 1), change(&second, 2), change(&first, 3), change(&second, 4));
    // Nobody heals here: what stands at the end, the controllers have done by themselves.
    second.post(&format!("/v3/apps/{app}/actions/start"), Value::Null).await;
    first.post(&format!("/v3/apps/{app}/processes/web/actions/scale"), json!({"instances": 3})).await;
    first.until_states(&app, &["RUNNING"; 3]).await;
    second.until_states(&app, &["RUNNING"; 3]).await;
    let version: String =
        sqlx::query_scalar("SELECT version FROM apps").fetch_one(&mut first.database().await).await.unwrap();
    let wanted: Vec<_> = (0..3).map(|index| (Version::new(version.clone()), index)).collect();
    eventually(PATIENCE, async || {
        let found = instances(&nodes);
        if found == wanted { Ok(()) } else { Err(format!("{found:?} is not {wanted:?}")) }
    })
    .await;
}

#[tokio::test]
async fn they_agree_on_secrets_first_rows_and_blobs() {
    let (store, first) = with_store().await;
    let others = [first.another().await, first.another().await];
    for other in &others {
        // The first one's token is good here, and there is one administrator and one of each row.
        assert_eq!(other.get("/v3/organizations").await["pagination"]["total_results"], 1);
        assert!(!other.config.data_dir.join("admin-password").exists());
    }
    assert_eq!(
        (first.rows("users").await, first.rows("spaces").await, first.rows("domains").await),
        (1, 1, 1)
    );
    let _stager = FakeStager::start(&first.bus).await;
    let node = FakeDea::start(&first.bus, "dea-1", 1000).await;
    // Uploaded to one, staged by another, started by a third.
    first.apply(MANIFEST).await;
    let app = first.app("one").await;
    let large = vec![7; 6 << 20];
    let (package, status, answer) =
        first.upload(&app, zip(&[("Procfile", b"web: ./run"), ("large", &large)]), json!([])).await;
    assert!(status.is_success(), "{answer}");
    let build = others[0].stage(&package).await;
    let path = format!("/v3/apps/{app}/relationships/current_droplet");
    others[1].ok(Method::PATCH, &path, json!({"data": build["droplet"]})).await;
    others[1].post(&format!("/v3/apps/{app}/actions/start"), Value::Null).await;
    node.until_indices(&[0]).await;
    let kinds: BTreeSet<String> =
        objects(&store).iter().filter_map(|path| path.split('/').nth(1).map(str::to_owned)).collect();
    assert_eq!(kinds, ["caches", "droplets", "packages", "resources"].map(str::to_owned).into());
    let bits = others[0].request(Method::GET, &format!("/v3/packages/{package}/download")).send().await;
    assert_eq!(bits.unwrap().bytes().await.unwrap().len(), usize::try_from(answer_size(&store)).unwrap());
    first.delete(&format!("/v3/apps/{app}")).await;
    assert_eq!(objects(&store), Vec::<String>::new());
}

/// Bytes of the one package in the store.
fn answer_size(store: &S3Server) -> u64 {
    let package = objects(store).into_iter().find(|path| path.contains("packages/")).unwrap();
    std::fs::metadata(store.objects().join(package)).unwrap().len()
}

#[tokio::test]
async fn a_build_whose_controller_dies_is_staged_by_another() {
    let (_store, mut first) = with_store().await;
    let second = first.another().await;
    let stager = FakeStager::start(&first.bus).await;
    first.apply(MANIFEST).await;
    let app = first.app("one").await;
    let (package, ..) = first.upload(&app, zip(&[("Procfile", b"hang once")]), json!([])).await;
    let build = first.post("/v3/builds", json!({"package": {"guid": package}})).await;
    let path = format!("/v3/builds/{}", build["guid"].as_str().unwrap());
    eventually(PATIENCE, async || stager.starts(1)).await;
    first.kill().await;
    let build = second.until(&path, |build| build["state"] != "STAGING").await;
    assert_eq!(build["state"], "STAGED", "{build}");
    second.until_line(&app, "staging it again").await;
    eventually(PATIENCE, async || stager.starts(2)).await;
}

#[tokio::test]
async fn a_controller_that_ends_gives_its_builds_up() {
    let (_store, mut first) = with_store().await;
    let second = first.another().await;
    let stager = FakeStager::start(&first.bus).await;
    first.apply(MANIFEST).await;
    let app = first.app("one").await;
    let (package, ..) = first.upload(&app, zip(&[("Procfile", b"hang once")]), json!([])).await;
    let build = first.post("/v3/builds", json!({"package": {"guid": package}})).await;
    eventually(PATIENCE, async || stager.starts(1)).await;
    first.stop().await;
    let path = format!("/v3/builds/{}", build["guid"].as_str().unwrap());
    let build = second.until(&path, |build| build["state"] != "STAGING").await;
    assert_eq!(build["state"], "STAGED", "{build}");
}

#[tokio::test]
async fn a_text_that_postgresql_cannot_hold_is_refused() {
    let platform = Platform::start().await;
    let detail = platform.refused(Method::GET, "/v3/apps?names=a%00b", Value::Null, 400).await;
    assert!(detail.contains("NUL"), "{detail}");
}

#[tokio::test]
async fn a_build_of_a_controller_that_lives_is_left_alone() {
    let (_store, first) = with_store().await;
    let stager = FakeStager::start(&first.bus).await;
    first.apply(MANIFEST).await;
    let app = first.app("one").await;
    let (package, ..) = first.upload(&app, zip(&[("Procfile", b"hang")]), json!([])).await;
    let build = first.post("/v3/builds", json!({"package": {"guid": package}})).await;
    let path = format!("/v3/builds/{}", build["guid"].as_str().unwrap());
    let second = first.another().await;
    // Longer than two leases: the first renews, the second looks.
    let until = tokio::time::Instant::now() + 2 * Duration::from_secs(first.config.lease_seconds);
    while tokio::time::Instant::now() < until {
        assert_eq!(second.get(&path).await["state"], "STAGING");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stager.starts(1).unwrap();
}

#[tokio::test]
async fn an_upload_whose_controller_dies_may_be_sent_again() {
    let (store, first) = with_store().await;
    first.apply(MANIFEST).await;
    let app = first.app("one").await;
    let large = vec![1; 100_000];
    let (package, ..) = first.upload(&app, zip(&[("large", &large)]), json!([])).await;
    let before = objects(&store);
    // As a controller leaves it that dies between the blobs and the row.
    let taken = "UPDATE packages SET state = 'PROCESSING_UPLOAD', owner = 'gone', lease_until = '2020'";
    sqlx::query(taken).execute(&mut first.database().await).await.unwrap();
    let path = format!("/v3/packages/{package}");
    first.until(&path, |package| package["state"] == "AWAITING_UPLOAD").await;
    assert_eq!(objects(&store), Vec::<String>::new());
    let (status, answer) = first.upload_to(&package, zip(&[("large", &large)]), json!([])).await;
    assert!(status.is_success(), "{answer}");
    assert_eq!(first.get(&path).await["state"], "READY");
    assert_eq!(objects(&store), before);
}

#[tokio::test]
async fn a_start_whose_controller_dies_is_done_by_another() {
    let (_store, mut first) = with_store().await;
    let second = first.another().await;
    let _stager = FakeStager::start(&first.bus).await;
    // No node yet: the controller dies while it waits for one.
    let app = first.push(MANIFEST, "one").await;
    first.kill().await;
    let node = FakeDea::start(&second.bus, "dea-1", 1000).await;
    let version: String =
        sqlx::query_scalar("SELECT version FROM apps").fetch_one(&mut first.database().await).await.unwrap();
    // The health manager misses it, and asks whoever hears.
    let wish = StartInstance {
        message_id: "m".to_owned(),
        droplet: app.as_str().into(),
        version: Version::new(version),
        instance_index: 0,
    };
    second.bus.publish(&wish).await.unwrap();
    second.until_states(&app, &["RUNNING"]).await;
    node.until_indices(&[0]).await;
}

#[tokio::test]
async fn a_lost_database_is_a_503_and_everything_goes_on_when_it_is_back() {
    let (_store, mut first) = with_store().await;
    let second = first.another().await;
    let _stager = FakeStager::start(&first.bus).await;
    let node = FakeDea::start(&first.bus, "dea-1", 1000).await;
    let app = first.push(MANIFEST, "one").await;
    node.until_indices(&[0]).await;
    let other = first.push(&MANIFEST.replace("one", "two"), "two").await;
    node.until_indices(&[0, 0]).await;
    let mut server = first.postgres.take().unwrap();
    server.stop();
    for platform in [&first, &second] {
        let path = format!("/v3/apps/{app}");
        let detail = platform.refused(Method::GET, &path, Value::Null, 503).await;
        assert!(detail.contains("database") && detail.contains("later"), "{detail}");
        let restart = format!("{path}/actions/restart");
        let detail = platform.refused(Method::POST, &restart, Value::Null, 503).await;
        assert!(detail.contains("database"), "{detail}");
        let form = [("grant_type", "password"), ("username", "admin"), ("password", &first.password())];
        let login = platform.client.post(format!("{}/oauth/token", platform.base));
        let login = login.basic_auth("cf", Some("")).form(&form).send().await.unwrap();
        assert_eq!(login.status().as_u16(), 503);
        let health = platform.client.get(format!("{}/healthz", platform.base)).send().await.unwrap();
        assert_eq!(health.status().as_u16(), 503);
    }
    // A crash meanwhile changes nothing for the other instance, and nothing is stopped.
    node.crash(0).await;
    assert_eq!(node.instances().len(), 2);
    server.start_again();
    first.postgres = Some(server);
    for platform in [&first, &second] {
        eventually(PATIENCE, async || {
            let (status, answer) = platform.send(Method::GET, &format!("/v3/apps/{app}"), Value::Null).await;
            if status.is_success() { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
        platform.post(&format!("/v3/apps/{other}/actions/restart"), Value::Null).await;
    }
    second.until_states(&other, &["RUNNING"]).await;
}

#[tokio::test]
async fn lost_blobs_are_a_503_and_everything_goes_on_when_they_are_back() {
    let (mut store, platform) = with_store().await;
    platform.apply(MANIFEST).await;
    let app = platform.app("one").await;
    store.stop();
    let (_, status, answer) = platform.upload(&app, zip(&[("a", b"1")]), json!([])).await;
    assert_eq!(status.as_u16(), 503, "{answer}");
    let detail = answer["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("blob store"), "{detail}");
    store.start_again().await;
    let (_, status, answer) = platform.upload(&app, zip(&[("a", b"1")]), json!([])).await;
    assert!(status.is_success(), "{answer}");
}

#[tokio::test]
async fn a_sweep_leaves_what_is_being_added_and_removes_what_nothing_names() {
    let (store, first) = with_store().await;
    let orphan = store.objects().join("platform/droplets/0123");
    std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, "left behind").unwrap();
    let foreign = store.objects().join("platform/invoices/2026");
    std::fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    std::fs::write(&foreign, "not ours").unwrap();
    first.apply(MANIFEST).await;
    let app = first.app("one").await;
    let large = vec![3; 200_000];
    // Starts look at everything while uploads go on.
    let upload = async {
        for _ in 0..5 {
            let (_, status, answer) = first.upload(&app, zip(&[("large", &large)]), json!([])).await;
            assert!(status.is_success(), "{answer}");
        }
    };
    let starts = async {
        let mut others = Vec::new();
        for _ in 0..3 {
            others.push(first.another().await);
        }
        others
    };
    let ((), _others) = tokio::join!(upload, starts);
    eventually(PATIENCE, async || if orphan.exists() { Err("the orphan is there") } else { Ok(()) }).await;
    assert!(foreign.exists());
    let packages = first.get(&format!("/v3/apps/{app}/packages?states=READY")).await;
    for package in packages["resources"].as_array().unwrap() {
        let path = format!("/v3/packages/{}/download", package["guid"].as_str().unwrap());
        let bits = first.request(Method::GET, &path).send().await.unwrap();
        assert!(bits.status().is_success(), "{package}");
    }
    assert!(objects(&store).iter().any(|path| path.contains("/resources/")));
}
