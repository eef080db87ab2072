//! A node with a real warden, real PostgreSQL and real Redis: what was acknowledged is read back after anything, what was
//! taken back is of no more use, and what was removed is gone. Clients run in a container that stands for an app: their
//! way to the server is that of apps.

mod scene;

use cupola_protocol::{
    Mebibytes,
    services::{CheckOrphan, Done, Engine, NodeHandles, PurgeOrphan, error_code},
};
use scene::{PATIENCE, Scene};
use testkit::eventually;
use warden_client::message::RunRequest;

const PSQL: &str = r#"psql -X -q -A -t -v ON_ERROR_STOP=1 "$URI" -c"#;
const REDIS: &str = r#"redis-cli -e --no-auth-warning -u "$URI""#;

fn sql(text: &str) -> String {
    format!("{PSQL} \"{text}\"")
}

fn redis(command: &str) -> String {
    format!("{REDIS} {command}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_from_its_making_to_its_end() {
    let mut scene = Scene::set(|_| ()).await;
    let engine = Engine::Postgresql;
    assert_eq!(scene.announced(engine).await.available_capacity, 4);
    let made = scene.provision(engine, "d1").await.unwrap();
    assert_eq!((made.name.as_str(), &made.node_id), ("d1", &scene.id));
    assert_eq!(scene.announced(engine).await.available_capacity, 3);
    assert_eq!(
        scene.provision(engine, "d1").await.unwrap(),
        made,
        "the same again is answered as the first time"
    );

    let one = scene.bind(engine, "d1", "u1").await.unwrap();
    let two = scene.bind(engine, "d1", "u2").await.unwrap();
    assert_eq!((one.port, one.database.as_deref()), (made.port, Some("d1")));
    scene.start_app(&[&one]).await;
    scene.says(&one, &sql("CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (1)")).await;
    // What one binding makes is the other's as well, to the last right.
    scene
        .says(
            &two,
            &sql("INSERT INTO t VALUES (2); ALTER TABLE t ADD COLUMN x text; CREATE EXTENSION hstore"),
        )
        .await;
    assert_eq!(scene.says(&one, &sql("SELECT string_agg(n::text, ',' ORDER BY n) FROM t")).await, "1,2");
    // A binding is no administrator, and has no other database.
    for refused in [
        "CREATE ROLE x",
        "CREATE DATABASE x",
        "COPY t TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
    ] {
        assert_ne!(scene.client(&one, &sql(refused)).await.exit_status, Some(0), "{refused}");
    }
    let elsewhere = r#"psql -X -q "${URI%/*}/postgres" -c "SELECT 1""#;
    assert_ne!(scene.client(&one, elsewhere).await.exit_status, Some(0));
    let admin = r#"psql -X -q "postgres://cupola@${URI##*@}" -c "SELECT 1""#;
    assert_ne!(scene.client(&one, admin).await.exit_status, Some(0));

    // An open connection ends with its binding.
    let held = r#"psql -X -q "$URI" -c "SELECT pg_sleep(600)""#.to_owned();
    let (warden, app, uri) = (scene.warden.clone(), scene.app.clone(), one.uri.clone());
    let sleeper = tokio::spawn(async move {
        let env = vec![format!("URI={uri}")];
        warden.run(RunRequest { handle: app, script: held, env, ..Default::default() }).await.unwrap()
    });
    scene.will_say(&two, &sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'u1'"), "1").await;
    scene.unbind(engine, "d1", "u1").await;
    assert_ne!(sleeper.await.unwrap().exit_status, Some(0));
    assert_ne!(
        scene.client(&one, &sql("SELECT 1")).await.exit_status,
        Some(0),
        "its credentials are of no use"
    );
    scene.unbind(engine, "d1", "u1").await;
    assert_eq!(scene.says(&two, &sql("SELECT count(*) FROM t")).await, "2", "its data stays");

    scene.unprovision(engine, "d1").await;
    scene.nothing_is_left().await;
    assert_ne!(scene.client(&two, &sql("SELECT 1")).await.exit_status, Some(0));
    scene.unprovision(engine, "d1").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_from_its_making_to_its_end() {
    let mut scene = Scene::set(|_| ()).await;
    let engine = Engine::Redis;
    scene.provision(engine, "d1").await.unwrap();
    let one = scene.bind(engine, "d1", "u1").await.unwrap();
    let two = scene.bind(engine, "d1", "u2").await.unwrap();
    scene.start_app(&[&one]).await;
    assert_eq!(scene.says(&one, &redis("SET k v")).await, "OK");
    assert_eq!(scene.says(&two, &redis("GET k")).await, "v");
    for refused in
        ["CONFIG GET dir", "ACL LIST", "SHUTDOWN NOSAVE", "DEBUG SLEEP 0", "MONITOR", "REPLICAOF 127.0.0.1 1"]
    {
        let ran = scene.client(&one, &redis(refused)).await;
        assert!(ran.exit_status != Some(0), "{refused}: {ran:?}");
    }
    let nobody = r#"redis-cli -e -u "redis://${URI##*@}" GET k"#;
    assert_ne!(scene.client(&one, nobody).await.exit_status, Some(0), "without credentials");
    scene.unbind(engine, "d1", "u1").await;
    assert_ne!(
        scene.client(&one, &redis("GET k")).await.exit_status,
        Some(0),
        "its credentials are of no use"
    );
    assert_eq!(scene.says(&two, &redis("GET k")).await, "v");
    scene.unprovision(engine, "d1").await;
    scene.nothing_is_left().await;
    scene.end().await;
}

/// Everything that can be lost, one after the other; what was acknowledged before is read back after each.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives() {
    let mut scene = Scene::set(|_| ()).await;
    let mut bound = Vec::new();
    for engine in Engine::ALL {
        let name = format!("d{engine}");
        scene.provision(engine, &name).await.unwrap();
        bound.push(scene.bind(engine, &name, "u1").await.unwrap());
    }
    let [database, cache] = &bound[..] else { panic!("two engines") };
    scene.start_app(&[database, cache]).await;
    scene.says(database, &sql("CREATE TABLE t (n int)")).await;
    let mut written = 0;
    let mut write = async |scene: &Scene| {
        written += 1;
        scene.says(database, &sql(&format!("INSERT INTO t VALUES ({written})"))).await;
        scene.says(cache, &redis("INCR n")).await;
        written.to_string()
    };
    let all = sql("SELECT count(*) FROM t");
    let both = async |scene: &Scene, expected: &str| {
        scene.will_say(database, &all, expected).await;
        scene.will_say(cache, &redis("GET n"), expected).await;
    };

    // The server processes.
    let count = write(&scene).await;
    for (instance, program) in [("dpostgresql", "postgres"), ("dredis", "redis-server")] {
        let handle = scene.handle(instance);
        let script = format!("pkill -KILL -x {program}");
        let ran = scene.warden.run(RunRequest { handle, script, ..Default::default() }).await.unwrap();
        assert_eq!(ran.exit_status, Some(0), "{ran:?}");
    }
    both(&scene, &count).await;

    // The node, and a server while it is away.
    let count = write(&scene).await;
    scene.kill_node().await;
    both(&scene, &count).await;
    let count = write(&scene).await;
    let handle = scene.handle("dredis");
    scene.warden.destroy(&handle).await.unwrap();
    scene.start_node().await;
    both(&scene, &count).await;
    assert!(
        scene.bind(Engine::Postgresql, "dpostgresql", "u2").await.is_ok(),
        "it is taken up, not only left"
    );

    // The warden.
    let count = write(&scene).await;
    scene.kill_warden();
    scene.start_warden().await;
    both(&scene, &count).await;
    assert!(scene.bind(Engine::Redis, "dredis", "u2").await.is_ok());

    // Everything at once: as after a restart of the host, no container is there.
    let count = write(&scene).await;
    scene.kill_node().await;
    for engine in Engine::ALL {
        scene.warden.destroy(&scene.handle(&format!("d{engine}"))).await.unwrap();
    }
    scene.start_node().await;
    both(&scene, &count).await;

    // An operator's restart.
    let count = write(&scene).await;
    scene.end_node().await;
    assert_eq!(scene.warden.list().await.unwrap(), [scene.app.clone()], "its servers have ended with it");
    scene.start_node().await;
    both(&scene, &count).await;

    for engine in Engine::ALL {
        scene.unprovision(engine, &format!("d{engine}")).await;
    }
    scene.nothing_is_left().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_volume_takes_no_more_until_some_is_deleted() {
    let mut scene = Scene::set(|_| ()).await;
    let mut bound = Vec::new();
    for engine in Engine::ALL {
        let name = format!("d{engine}");
        scene.provision(engine, &name).await.unwrap();
        bound.push(scene.bind(engine, &name, "u1").await.unwrap());
    }
    let [database, cache] = &bound[..] else { panic!("two engines") };
    scene.start_app(&[database, cache]).await;

    // A step is less than half of what separates the limit from where apps are locked out.
    let fill = "INSERT INTO t SELECT repeat(md5(n::text), 240) FROM generate_series(1, 5000) n";
    scene
        .says(database, &sql("CREATE UNLOGGED TABLE t (x text); ALTER TABLE t ALTER x SET STORAGE EXTERNAL"))
        .await;
    scene.says(database, &sql("CREATE TABLE small (n int)")).await;
    let full = async |scene: &Scene| scene.client(database, &sql("INSERT INTO small VALUES (1)")).await;
    eventually(PATIENCE, async || {
        let ran = full(&scene).await;
        if ran.exit_status != Some(0) && ran.stderr.clone().unwrap_or_default().contains("read-only") {
            return Ok(());
        }
        let filled = scene.client(database, &sql(fill)).await;
        Err(format!("{ran:?} {filled:?}"))
    })
    .await;
    assert_eq!(scene.says(database, &sql("SELECT count(*) >= 0 FROM small")).await, "t", "reading goes on");
    scene
        .says(database, &format!("PGOPTIONS='-c default_transaction_read_only=off' {}", sql("DROP TABLE t")))
        .await;
    eventually(PATIENCE, async || {
        let ran = full(&scene).await;
        if ran.exit_status == Some(0) { Ok(()) } else { Err(format!("{ran:?}")) }
    })
    .await;

    let fill = format!(
        "for n in $(seq 1 90); do head -c 1000000 /dev/urandom | base64 -w0 | {REDIS} -x SET k$n || exit 7; done"
    );
    let ran = scene.client(cache, &fill).await;
    assert_eq!(ran.exit_status, Some(7), "it was stopped: {ran:?}");
    assert!(scene.client(cache, &redis("SET more 1")).await.exit_status != Some(0));
    assert_eq!(scene.says(cache, &redis("EXISTS k1")).await, "1", "reading goes on");
    scene.says(cache, &redis("FLUSHALL")).await;
    eventually(PATIENCE, async || {
        let ran = scene.client(cache, &redis("SET more 1")).await;
        if ran.exit_status == Some(0) { Ok(()) } else { Err(format!("{ran:?}")) }
    })
    .await;
    for engine in Engine::ALL {
        scene.unprovision(engine, &format!("d{engine}")).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_stack_a_node_says_so_and_has_no_room() {
    let scene = Scene::set(|config| config.stacks_dir = config.data_dir.join("stacks")).await;
    let announced = scene.announced(Engine::Redis).await;
    assert_eq!(announced.available_capacity, 0);
    assert!(
        announced.error.as_deref().is_some_and(|why| why.contains("cupola stack build services")),
        "{announced:?}"
    );
    let error = scene.provision(Engine::Redis, "d1").await.unwrap_err();
    assert_eq!((error.status, error.msg.code), (503, error_code::UNAVAILABLE));
    scene.nothing_is_left().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_late_is_taken_back() {
    let mut scene = Scene::set(|config| config.op_time_limit_seconds = 0.001).await;
    // Names of their own: the first is the node's until the last of it is forgotten, a moment after its files.
    for (engine, name) in Engine::ALL.into_iter().zip(["d1", "d2"]) {
        let error = scene.provision(engine, name).await.unwrap_err();
        assert_eq!(error.msg.code, error_code::NODE_TIMEOUT, "{error:?}");
        scene.nothing_is_left().await;
    }
    scene.end_node().await;
    scene.config.op_time_limit_seconds = 60.0;
    scene.start_node().await;
    scene.provision(Engine::Redis, "d1").await.unwrap();
    scene.end_node().await;
    scene.config.op_time_limit_seconds = 0.001;
    scene.start_node().await;
    let error = scene.bind(Engine::Redis, "d1", "u1").await.unwrap_err();
    assert_eq!(error.msg.code, error_code::NODE_TIMEOUT);
    eventually(PATIENCE, async || {
        let handles = handles(&scene, Engine::Redis).await;
        if handles.bindings_list.is_empty() { Ok(()) } else { Err(format!("{handles:?}")) }
    })
    .await;
    scene.end_node().await;
    scene.config.op_time_limit_seconds = 60.0;
    scene.start_node().await;
    scene.unprovision(Engine::Redis, "d1").await;
    scene.end().await;
}

async fn handles(scene: &Scene, engine: Engine) -> NodeHandles {
    let mut heard = scene.bus.subscribe_to::<NodeHandles>(&engine.node_handles()).await.unwrap();
    scene.bus.flush().await.unwrap();
    scene.bus.publish_to(&engine.check_orphan(), &CheckOrphan {}).await.unwrap();
    tokio::time::timeout(PATIENCE, heard.next()).await.expect("handles").unwrap().message
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_and_leave_nothing() {
    let scene = Scene::set(|config| config.memory_mb = Mebibytes(400)).await;
    let engine = Engine::Redis;
    for name in ["../d1", "D1", "d'1", ""] {
        let error = scene.provision(engine, name).await.unwrap_err();
        assert_eq!(error.msg.code, error_code::MALFORMED, "{name}: {error:?}");
    }
    assert_eq!(scene.bind(engine, "d9", "u1").await.unwrap_err().msg.code, error_code::NOT_FOUND);
    scene.provision(engine, "d1").await.unwrap();
    for user in ["cupola", "U", "u\"", "default;"] {
        assert_eq!(
            scene.bind(engine, "d1", user).await.unwrap_err().msg.code,
            error_code::MALFORMED,
            "{user}"
        );
    }
    let error = scene.provision(Engine::Postgresql, "d1").await.unwrap_err();
    assert_eq!(error.status, 409, "the name is another engine's");
    scene.provision(engine, "d2").await.unwrap();
    let error = scene.provision(engine, "d3").await.unwrap_err();
    assert_eq!(error.msg.code, error_code::UNAVAILABLE, "no room");
    assert_eq!(scene.announced(engine).await.available_capacity, 0);

    scene.bind(engine, "d1", "u1").await.unwrap();
    let known = handles(&scene, engine).await;
    assert_eq!(
        (known.instances_list, known.bindings_list.len()),
        (vec!["d1".to_owned(), "d2".to_owned()], 1)
    );
    let purge = PurgeOrphan {
        orphan_ins_list: vec!["d1".into(), "d2".into()],
        orphan_binding_list: known.bindings_list,
    };
    let done: Done = scene.bus.request(&engine.purge_orphan(&scene.id), &purge, PATIENCE).await.unwrap();
    assert!(done.success, "{done:?}");
    scene.nothing_is_left().await;
    scene.end().await;
}
