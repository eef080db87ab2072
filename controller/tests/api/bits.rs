//! Uploads: what is refused, what is remembered, and that neither leaves anything.

use crate::{
    fakes::{FakeDea, FakeStager},
    platform::{Platform, zip},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    io::{Cursor, Read},
    path::PathBuf,
};

#[tokio::test]
async fn bad_uploads_are_refused_with_a_reason_and_leave_nothing() {
    let platform = Platform::with(|config| {
        config.max_package_bytes = 10_000;
        config.max_unpacked_bytes = 20_000;
    })
    .await;
    platform.apply("applications:\n- name: one\n").await;
    let app = platform.app("one").await;
    let mut link = zip::ZipWriter::new(Cursor::new(Vec::new()));
    link.add_symlink("a", "../../etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    let link = link.finish().unwrap().into_inner();
    for (bits, status, part) in [
        (zip(&[("../evil", b"x")]), 422, "must be relative"),
        (zip(&[("/etc/evil", b"x")]), 422, "must be relative"),
        (link, 422, "leads out of the app"),
        (zip(&[]), 422, "no file"),
        (zip(&[("bomb", &[0; 30_000])]), 422, "unpacks to more than 20000 bytes"),
        (b"not a zip at all".to_vec(), 422, "not a zip"),
        (
            (0..20_000u32).map(|n| n.wrapping_mul(2_654_435_761) as u8).collect(),
            413,
            "larger than 10000 bytes",
        ),
    ] {
        let (_, found, answer) = platform.upload(&app, bits, json!([])).await;
        let detail = answer["errors"][0]["detail"].as_str().unwrap_or_default();
        assert_eq!(found.as_u16(), status, "{answer}");
        assert!(detail.contains(part), "{detail}");
        assert_eq!(platform.blobs(), Vec::<PathBuf>::new());
    }
    // Those that were refused for what they hold are gone; one that broke off may be sent again.
    let packages = platform.get(&format!("/v3/apps/{app}/packages")).await;
    assert_eq!(packages["pagination"]["total_results"], 1, "{packages}");
    assert_eq!(packages["resources"][0]["state"], "AWAITING_UPLOAD");
}

#[tokio::test]
async fn a_file_that_the_platform_has_need_not_be_sent_again() {
    let platform = Platform::start().await;
    platform.apply("applications:\n- name: one\n- name: two\n").await;
    let (one, two) = (platform.app("one").await, platform.app("two").await);
    let large = vec![b'x'; 70_000];
    let (first, status, answer) =
        platform.upload(&one, zip(&[("Procfile", b"web: x"), ("large", &large)]), json!([])).await;
    assert!(status.is_success(), "{answer}");
    let file = |path: &str, sha1: &str, size: u64| json!({"path": path, "mode": "755", "checksum": {"value": sha1}, "size_in_bytes": size});
    let known = "01ca7dcf23ae60b9e9d3ae2cf0bb3e8b9b7d1ae9";
    let sha1 = {
        use sha1::{Digest, Sha1};
        hex::encode(Sha1::digest(&large))
    };
    let asked = json!({"resources": [
        file("b/large", &sha1, 70_000), file("wrong size", &sha1, 70_001), file("unknown", known, 70_000),
        file("small", "11f6ad8ec52a2984abaafd7c3b516503785c2072", 1),
    ]});
    let matched = platform.post("/v3/resource_matches", asked).await;
    assert_eq!(matched["resources"], json!([file("b/large", &sha1, 70_000)]));
    let (second, status, answer) =
        platform.upload(&two, zip(&[("Procfile", b"web: y")]), matched["resources"].clone()).await;
    assert!(status.is_success(), "{answer}");
    let bits =
        platform.request(Method::GET, &format!("/v3/packages/{second}/download")).send().await.unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(bits.bytes().await.unwrap())).unwrap();
    let mut found = Vec::new();
    archive.by_name("b/large").unwrap().read_to_end(&mut found).unwrap();
    assert_eq!(found, large);
    let (_, status, answer) =
        platform.upload(&two, zip(&[("a", b"1")]), json!([file("b", known, 70_000)])).await;
    assert_eq!(status.as_u16(), 422);
    assert!(answer["errors"][0]["detail"].as_str().unwrap().contains("push again"), "{answer}");
    // The file stays as long as one package holds it.
    platform.delete(&format!("/v3/packages/{first}")).await;
    assert!(platform.blobs().iter().any(|path| path.ends_with(&sha1)));
    platform.delete(&format!("/v3/apps/{two}")).await;
    assert_eq!(platform.blobs(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_failed_staging_says_why_and_leaves_nothing() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    platform.apply("applications:\n- name: one\n").await;
    let app = platform.app("one").await;
    for (procfile, part) in
        [(&b""[..], "NoAppDetectedError - no buildpack matches"), (b"fail", "BuildpackCompileFailed - ")]
    {
        let (package, status, answer) =
            platform.upload(&app, zip(&[("x", b"1"), ("Procfile", procfile)]), json!([])).await;
        assert!(status.is_success(), "{answer}");
        let build = platform.stage(&package).await;
        assert_eq!(build["state"], "FAILED");
        let error = build["error"].as_str().unwrap();
        assert!(
            error.starts_with(part) && error.contains("it broke") && error.contains("exit status 3"),
            "{error}"
        );
        let path = format!("/v3/packages/{package}");
        assert_eq!(platform.get(&path).await["state"], "EXPIRED");
        let again =
            platform.refused(Method::POST, "/v3/builds", json!({"package": {"guid": package}}), 422).await;
        assert!(again.contains("push the app again"), "{again}");
        let deadline = std::time::Instant::now() + crate::platform::PATIENCE;
        while !platform.blobs().is_empty() {
            assert!(std::time::Instant::now() < deadline, "{:?}", platform.blobs());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(platform.rows("droplets").await, 0);
    }
    platform.until_line(&app, "Staging failed").await;
    // Nothing to start.
    let detail =
        platform.refused(Method::POST, &format!("/v3/apps/{app}/actions/start"), Value::Null, 422).await;
    assert!(detail.contains("Assign a droplet"), "{detail}");
}

#[tokio::test]
async fn without_a_stager_a_build_fails_and_says_so() {
    let platform = Platform::with(|config| config.node_wait_seconds = 1).await;
    platform.apply("applications:\n- name: one\n").await;
    let app = platform.app("one").await;
    let (package, ..) = platform.upload(&app, zip(&[("Procfile", b"web: x")]), json!([])).await;
    let build = platform.stage(&package).await;
    let error = build["error"].as_str().unwrap();
    assert!(error.starts_with("StagerUnavailable") && error.contains("is a stager running"), "{error}");
    let _stager = FakeStager::start(&platform.bus).await;
    platform.apply("applications:\n- name: one\n  stack: unknown\n").await;
    let (package, ..) = platform.upload(&app, zip(&[("Procfile", b"web: x")]), json!([])).await;
    let build = platform.stage(&package).await;
    let error = build["error"].as_str().unwrap();
    assert!(error.starts_with("StackNotFound") && error.contains("bookworm"), "{error}");
}

#[tokio::test]
async fn addresses_of_blobs_are_good_only_as_they_were_signed() {
    let platform = Platform::start().await;
    let stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1000).await;
    platform.push("applications:\n- name: one\n  no-route: true\n", "one").await;
    let start = node.until_indices(&[0]).await.remove(0).start;
    let staging = stager.seen.lock().unwrap()[0].clone();
    let get = async |url: &str| platform.client.get(url).send().await.unwrap().status().as_u16();
    assert_eq!(get(&start.executable_uri).await, 200);
    let (path, query) = start.executable_uri.split_once('?').unwrap();
    assert_eq!(get(path).await, 403);
    assert_eq!(get(&format!("{path}?{}", query.replace("expires=", "expires=9"))).await, 403);
    let (package, _) = staging.download_uri.split_once('?').unwrap();
    assert_eq!(get(&format!("{package}?{query}")).await, 403);
    // A build that has ended takes no droplet any more.
    let late = platform.client.post(&staging.upload_uri).body("late").send().await.unwrap();
    assert_eq!(late.status().as_u16(), 404);
}
