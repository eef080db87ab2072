//! The files of instances, on a real bus and over HTTP, with a warden that keeps its containers in memory.

#[path = "bus/fake_warden.rs"]
#[expect(dead_code, reason = "the warden has more than these tests use")]
mod fake_warden;
#[path = "bus/world.rs"]
#[expect(dead_code, reason = "the world has more than these tests look at")]
mod world;

use cupola_protocol::{
    InstanceId, Subject,
    dea::{FindDroplet, FoundDroplet, InstanceState, Stop},
};
use futures::StreamExt;
use reqwest::{Client, Response, StatusCode};
use std::time::Duration;
use world::World;

fn find(app: &str, path: Option<&str>) -> FindDroplet {
    FindDroplet {
        droplet: app.into(),
        version: None,
        instances: None,
        indices: None,
        states: None,
        include_stats: false,
        path: path.map(str::to_owned),
    }
}

/// What the agent answers first.
async fn ask(world: &World, question: &FindDroplet) -> FoundDroplet {
    let replies = world.bus.request_replies(&Subject::of::<FindDroplet>(), question).await.unwrap();
    let mut found = replies.collect(Duration::from_secs(10), |found| !found.is_empty()).await;
    assert!(!found.is_empty(), "nobody has {question:?}");
    found.remove(0)
}

/// The address of a path of an instance, straight at the agent.
async fn address(world: &World, app: &str, instance: &InstanceId, path: &str) -> String {
    let question = FindDroplet { instances: Some(vec![instance.clone()]), ..find(app, Some(path)) };
    ask(world, &question).await.file_uri_direct.unwrap()
}

async fn get(url: &str) -> Response {
    Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap()
}

async fn part(url: &str, range: &str) -> Response {
    Client::builder().no_proxy().build().unwrap().get(url).header("range", range).send().await.unwrap()
}

/// A path of an instance: status and content.
async fn read(world: &World, app: &str, instance: &InstanceId, path: &str) -> (u16, String) {
    let answer = get(&address(world, app, instance, path).await).await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_directories_are_read_at_signed_addresses() {
    let mut world = World::new().await;
    world.config.files.domain = "apps.test".to_owned();
    world.config.files.url_port = Some(8080);
    world.end_agent().await;
    world.start_agent().await;
    let instance = world.run(&world.message("hello")).await;
    let large: Vec<u8> = (0..3_000_000u32).map(|nth| (nth % 251) as u8).collect();
    world.warden.look(&world.handle(&instance), |container| {
        container.files.insert("app/index.html".to_owned(), b"<b>0123456789</b>".to_vec());
        container.files.insert("app/inner/x".to_owned(), b"x".to_vec());
        container.files.insert("app/large".to_owned(), large.clone());
    });

    // Without a path nobody gets an address.
    let found = ask(&world, &find("hello", None)).await;
    assert_eq!((found.staged, found.file_uri_v2, found.file_uri_direct), (None, None, None));
    let found = ask(&world, &find("hello", Some("app/index.html"))).await;
    assert_eq!(found.staged, Some(format!("/{instance}")));
    let (public, direct) = (found.file_uri_v2.unwrap(), found.file_uri_direct.unwrap());
    let begin =
        format!("http://{}.apps.test:8080/instance_paths/{instance}?path=app%2Findex.html&", found.dea);
    assert!(public.starts_with(&begin), "{public}");
    // Routers know the name of the public address, and lead to the direct one.
    let name = format!("{}.apps.test", found.dea);
    world
        .wait("its registration", |heard| heard.directories.iter().any(|one| one.uris == [name.clone()]))
        .await;
    let route = world.heard(|heard| heard.directories.last().cloned()).unwrap();
    assert_eq!(route.tags["component"], "directory-server-0");
    assert!(direct.starts_with(&format!("http://{}:{}/", route.host, route.port)), "{direct}");

    let answer = get(&direct).await;
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert_eq!(answer.text().await.unwrap(), "<b>0123456789</b>");
    let answer = part(&direct, "bytes=3-6").await;
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(answer.headers()["content-range"], "bytes 3-6/17");
    assert_eq!(answer.text().await.unwrap(), "0123");
    assert_eq!(part(&direct, "bytes=-4").await.text().await.unwrap(), "</b>");
    let none = part(&direct, "bytes=17-").await;
    assert_eq!(
        (none.status().as_u16(), &none.headers()["content-range"]),
        (416, &"bytes */17".parse().unwrap())
    );

    let url = address(&world, "hello", &instance, "app/large").await;
    assert_eq!(get(&url).await.bytes().await.unwrap(), large);
    assert_eq!(part(&url, "bytes=999999-2100000").await.bytes().await.unwrap(), large[999_999..=2_100_000]);

    let (status, listing) = read(&world, "hello", &instance, "/app/").await;
    let line = |name: &str, size: &str| format!("{name:<35} {size:>10}\n");
    assert_eq!(status, 200);
    assert_eq!(listing, line("index.html", "17B") + &line("inner/", "-") + &line("large", "2.9M"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_refused_with_the_reason() {
    let mut world = World::new().await;
    let instance = world.run(&world.message("hello")).await;
    let url = address(&world, "hello", &instance, "app").await;
    for altered in [
        url.replace("path=app", "path=app%2Fx"),
        url.replace("timestamp=", "timestamp=1"),
        url.replace("hmac=", "hmac=00"),
        url.split("&hmac").next().unwrap().to_owned(),
        url.replace(instance.as_str(), "another"),
    ] {
        let answer = get(&altered).await;
        assert_eq!(answer.status().as_u16(), 401, "{altered}");
        assert!(answer.text().await.unwrap().contains("not signed"), "{altered}");
    }
    for (path, status) in [("../etc/passwd", 403), ("app/../../x", 403), ("app/nothing", 404)] {
        let (found, text) = read(&world, "hello", &instance, path).await;
        assert_eq!(found, status, "{path}: {text}");
    }
    let directory = get(&format!("{url}&tail")).await;
    assert_eq!(directory.status().as_u16(), 400, "a directory does not grow");

    world.warden.go_away();
    let answer = get(&url).await;
    assert_eq!(answer.status().as_u16(), 503);
    world.warden.come_back();
    assert_eq!(get(&url).await.status().as_u16(), 200);

    let stop = Stop { droplet: "hello".into(), version: None, instances: None, indices: None, states: None };
    world.bus.publish(&stop).await.unwrap();
    world.wait("it has stopped", |heard| !heard.exits.is_empty()).await;
    world.wait_until("it is gone", || world.warden.handles().is_empty()).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while get(&url).await.status().as_u16() != 404 {
        assert!(tokio::time::Instant::now() < deadline, "a stopped instance still has files");
    }

    // Another run has another key; an address lives so long as is configured.
    world.config.files.url_seconds = 1;
    world.end_agent().await;
    world.start_agent().await;
    let instance = world.run(&world.message("hello")).await;
    let url = address(&world, "hello", &instance, "app").await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let answer = get(&url).await;
        if answer.status().as_u16() == 400 {
            assert!(answer.text().await.unwrap().contains("expired"));
            break;
        }
        assert_eq!(answer.status().as_u16(), 200);
        assert!(tokio::time::Instant::now() < deadline, "an address does not expire");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows_is_followed() {
    let mut world = World::new().await;
    world.config.files.tail_poll_seconds = 0.02;
    world.config.files.tail_idle_seconds = 2.0;
    world.config.files.tails = 1;
    world.end_agent().await;
    world.start_agent().await;
    let instance = world.run(&world.message("hello")).await;
    let handle = world.handle(&instance);
    let append = |text: &str| {
        world.warden.look(&handle, |container| {
            container.files.entry("logs/a.log".to_owned()).or_default().extend_from_slice(text.as_bytes());
        });
    };
    append("before ");
    let url = address(&world, "hello", &instance, "logs/a.log").await;
    let answer = get(&format!("{url}&tail&tail_offset=3")).await;
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(get(&format!("{url}&tail")).await.status().as_u16(), 503, "one at a time is configured");
    let mut stream = answer.bytes_stream();
    let mut seen = String::new();
    let mut more = async |until: &str| {
        while !seen.ends_with(until) {
            let piece = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
            let piece = piece.expect("no more comes").expect("it has ended").unwrap();
            seen.push_str(std::str::from_utf8(&piece).unwrap());
        }
        seen.clone()
    };
    assert_eq!(more("ore ").await, "ore ");
    append("and after");
    assert_eq!(more("after").await, "ore and after");
    // Emptied, it is followed from its beginning.
    world
        .warden
        .look(&handle, |container| drop(container.files.insert("logs/a.log".to_owned(), b"new".to_vec())));
    assert_eq!(more("new").await, "ore and afternew");
    // Nothing more comes: it ends by itself.
    let end = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("it does not end");
    assert!(end.is_none());

    // What it says itself is followed as well.
    world.warden.write(&handle, "stdout", "said\n");
    let url = address(&world, "hello", &instance, "logs/stdout.log").await;
    let mut stream = get(&format!("{url}&tail&tail_offset=0")).await.bytes_stream();
    let piece = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(piece, "said\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_files_of_a_crash_outlive_the_container_and_the_agent_until_they_are_old() {
    let mut world = World::new().await;
    world.config.clean_seconds = 0.05;
    world.end_agent().await;
    world.start_agent().await;
    let instance = world.run(&world.message("hello")).await;
    let handle = world.handle(&instance);
    world
        .warden
        .look(&handle, |container| drop(container.files.insert("logs/own.log".to_owned(), b"own".to_vec())));
    world.warden.write(&handle, "stdout", "last words\n");
    world.warden.write(&handle, "stderr", "a trace\n");
    world.wait("the lines", |heard| heard.lines.contains(&"a trace".to_owned())).await;
    let expected =
        [("logs/stdout.log", "last words\n"), ("logs/stderr.log", "a trace\n"), ("logs/own.log", "own")];
    for (path, content) in expected {
        assert_eq!(
            read(&world, "hello", &instance, path).await,
            (200, content.to_owned()),
            "{path} while it runs"
        );
    }
    let (_, listing) = read(&world, "hello", &instance, "logs").await;
    let names: Vec<&str> = listing.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["own.log", "stderr.log", "stdout.log"]);

    // An agent that was killed knows again what was said.
    world.kill_agent().await;
    world.start_agent().await;
    world.wait_for_state(&instance, InstanceState::Running).await;
    world.warden.exit(&handle, 3);
    world.wait("the exit", |heard| !heard.exits.is_empty()).await;
    world.wait_until("the container is destroyed", || world.warden.handles().is_empty()).await;
    for (path, content) in expected {
        assert_eq!(
            read(&world, "hello", &instance, path).await,
            (200, content.to_owned()),
            "{path} of the crash"
        );
    }

    // Its place is taken: it is still found by those who ask for crashes, and by nobody else.
    let next = world.run(&world.message("hello")).await;
    let crashed = FindDroplet { states: Some(vec![InstanceState::Crashed]), ..find("hello", Some("logs")) };
    let found = ask(&world, &crashed).await;
    assert_eq!((found.instance, found.state), (instance.clone(), InstanceState::Crashed));
    assert_eq!(found.exit_description.as_deref(), Some("app instance exited with status 3"));
    assert_eq!(ask(&world, &find("hello", None)).await.instance, next);

    world.kill_agent().await;
    world.start_agent().await;
    for (path, content) in expected {
        assert_eq!(read(&world, "hello", &instance, path).await, (200, content.to_owned()), "{path} later");
    }

    // Of a place only the last crash is kept.
    world.warden.exit(&world.handle(&next), 4);
    world.wait("the second exit", |heard| heard.exits.len() == 2).await;
    world.wait_until("the container is destroyed", || world.warden.handles().is_empty()).await;
    let crashes = world.config.data_dir.join("dea/crashes");
    let names = || {
        let entries = std::fs::read_dir(&crashes).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    world.wait_until("only the last is kept", || names() == [next.to_string(), format!("{next}.json")]).await;
    assert_eq!(ask(&world, &crashed).await.instance, next);

    // Old, it goes.
    world.config.crash_lifetime_seconds = 0.1;
    world.end_agent().await;
    world.start_agent().await;
    world.wait_until("it is forgotten", || names().is_empty()).await;
}
