//! Every message on the bus against its golden JSON file: the file is the contract, in both directions.
//!
//! `UPDATE_GOLDEN=1 cargo nextest run -p cupola-protocol` rewrites the files; read the difference as a change of
//! the wire.

use cupola_protocol::{
    component, controller, dea, droplet, health, lease, logs, message::Message, router, staging, *,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::PathBuf};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The message is written as the file says, and the file is read as the message.
fn check<M: Message>(name: &str, message: M) {
    let path = directory().join(format!("{name}.json"));
    let written = serde_json::to_value(&message).expect("a message is JSON");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&written).unwrap())).unwrap();
    }
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let golden: Value = serde_json::from_str(&text).expect("the golden file is JSON");
    assert_eq!(written, golden, "{name} is not written as its golden file says");
    let read: M = serde_json::from_value(golden.clone()).expect("the golden file is read as the message");
    assert_eq!(serde_json::to_value(&read).unwrap(), golden, "{name} loses something when it is read");
}

fn app() -> AppId {
    "8c9a6a0e-3d4c-4d3e-9f0b-0d2f5a1e7c11".into()
}
fn version() -> Version {
    "1f0cbb52-40bb-4b58-9a3c-5f1d7fd1a0de".into()
}
fn instance() -> InstanceId {
    "7b1c2d3e4f".into()
}
fn agent() -> DeaId {
    "0-5a0f".into()
}
fn object(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn heartbeat() -> dea::InstanceHeartbeat {
    dea::InstanceHeartbeat {
        cc_partition: "default".into(),
        droplet: app(),
        version: version(),
        instance: instance(),
        index: 2,
        state: dea::InstanceState::Running,
        state_timestamp: 1_792_000_000.25,
    }
}

fn register() -> router::Register {
    router::Register {
        host: "10.254.0.1".into(),
        port: 61007,
        uris: vec!["hello.cupola.localhost".into(), "cupola.localhost/hello".into()],
        tags: BTreeMap::from([("component".into(), "dea-0".into())]),
        app: Some(app()),
        dea: Some(agent()),
        private_instance_id: Some(instance()),
        private_instance_index: Some("2".into()),
        stale_threshold_in_seconds: Some(120),
    }
}

#[test]
fn dea_messages() {
    check("dea.start", dea::Hello { id: agent(), ip: "192.0.2.7".into(), version: "0.1.0".into() });
    check("dea.locate", dea::Locate {});
    check(
        "dea.advertise",
        dea::Advertise {
            id: agent(),
            stacks: vec!["bookworm".into()],
            available_memory: Mebibytes(3072),
            available_disk: Mebibytes(20480),
            app_id_to_count: BTreeMap::from([(app(), 2)]),
            placement_properties: dea::Placement::default(),
            total_memory: Some(Mebibytes(4096)),
            total_disk: Some(Mebibytes(32768)),
        },
    );
    check(
        "dea.shutdown",
        dea::Shutdown {
            id: agent(),
            ip: "192.0.2.7".into(),
            version: "0.1.0".into(),
            app_id_to_count: BTreeMap::from([(app(), 2)]),
        },
    );
    check(
        "dea.ID.start",
        dea::Start {
            droplet: app(),
            name: "hello".into(),
            index: 2,
            version: version(),
            uris: vec!["hello.cupola.localhost".into()],
            stack: "bookworm".into(),
            sha1: "da39a3ee5e6b4b0d3255bfef95601890afd80709".into(),
            sha256: Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into()),
            executable_uri: "http://127.0.0.1:8081/internal/droplets/1?signature=s".into(),
            services: vec![
                json!({"name": "db", "label": "postgresql", "credentials": {"uri": "postgres://u:p@h/d"}}),
            ],
            limits: dea::Limits { mem: Mebibytes(256), disk: Mebibytes(1024), fds: 16384 },
            cc_partition: "default".into(),
            env: vec!["GREETING=hello world".into()],
            start_command: Some("python app.py".into()),
            health_check_timeout: Some(60),
            health_check_type: Some(dea::HealthCheck::Http),
            health_check_http_endpoint: Some("/health".into()),
            vcap_application: object(json!({"application_name": "hello", "space_name": "dev"})),
            egress_network_rules: vec![dea::EgressRule {
                protocol: "tcp".into(),
                destination: "203.0.113.0/24".into(),
                ports: Some("80,443".into()),
                icmp_type: None,
                icmp_code: None,
            }],
        },
    );
    check(
        "dea.ID.start.reply",
        dea::StartReply { dea: agent(), instance: None, error: Some("not enough memory".into()) },
    );
    check(
        "dea.stop",
        dea::Stop {
            droplet: app(),
            version: Some(version()),
            instances: Some(vec![instance()]),
            indices: Some(vec![2]),
            states: Some(vec![dea::InstanceState::Starting, dea::InstanceState::Running]),
        },
    );
    check(
        "dea.update",
        dea::Update { droplet: app(), uris: vec!["hi.cupola.localhost".into()], version: Some(version()) },
    );
    check("dea.heartbeat", dea::Heartbeat { dea: agent(), droplets: vec![heartbeat()] });
    check(
        "dea.find.droplet",
        dea::FindDroplet {
            droplet: app(),
            version: Some(version()),
            instances: None,
            indices: Some(vec![0, 1, 2]),
            states: None,
            include_stats: true,
            path: None,
        },
    );
    check(
        "dea.find.droplet.path",
        dea::FindDroplet {
            droplet: app(),
            version: None,
            instances: Some(vec![instance()]),
            indices: None,
            states: Some(vec![dea::InstanceState::Crashed]),
            include_stats: false,
            path: Some("logs/stderr.log".into()),
        },
    );
    check(
        "dea.find.droplet.path.reply",
        dea::FoundDroplet {
            dea: agent(),
            droplet: app(),
            version: version(),
            instance: instance(),
            index: 2,
            state: dea::InstanceState::Crashed,
            state_timestamp: 1_792_000_000.25,
            stats: None,
            exit_description: Some("app instance exited with status 3".into()),
            staged: Some("/7b1c2d3e4f".into()),
            file_uri_v2: Some(
                "http://0-5a0f.cupola.localhost/instance_paths/7b1c2d3e4f?path=logs%2Fstderr.log&timestamp=1792000000&hmac=5f"
                    .into(),
            ),
            file_uri_direct: Some(
                "http://192.0.2.7:34501/instance_paths/7b1c2d3e4f?path=logs%2Fstderr.log&timestamp=1792000000&hmac=5f"
                    .into(),
            ),
        },
    );
    check(
        "dea.find.droplet.reply",
        dea::FoundDroplet {
            dea: agent(),
            droplet: app(),
            version: version(),
            instance: instance(),
            index: 2,
            state: dea::InstanceState::Running,
            state_timestamp: 1_792_000_000.25,
            stats: Some(dea::InstanceStats {
                name: "hello".into(),
                uris: vec!["hello.cupola.localhost".into()],
                host: "10.254.0.1".into(),
                port: 61007,
                uptime: 12,
                mem_quota: Mebibytes(256).bytes(),
                disk_quota: Mebibytes(1024).bytes(),
                fds_quota: 16384,
                usage: dea::Usage {
                    time: "2026-11-23T12:00:00Z".into(),
                    cpu: 0.25,
                    mem: Bytes(33_554_432),
                    disk: Bytes(4096),
                },
            }),
            exit_description: None,
            staged: None,
            file_uri_v2: None,
            file_uri_direct: None,
        },
    );
    check("dea.status", dea::StatusRequest {});
    check(
        "dea.status.reply",
        dea::DeaStatus {
            id: agent(),
            ip: "192.0.2.7".into(),
            version: "0.1.0".into(),
            max_memory: Mebibytes(4096),
            reserved_memory: Mebibytes(1024),
            used_memory: Mebibytes(77),
        },
    );
}

#[test]
fn droplet_messages() {
    check(
        "droplet.exited",
        droplet::Exited {
            cc_partition: "default".into(),
            droplet: app(),
            version: version(),
            instance: instance(),
            index: 2,
            reason: droplet::ExitReason::Crashed,
            exit_status: 255,
            exit_description: "out of memory".into(),
            crash_timestamp: Some(1_792_000_000.5),
        },
    );
    check("droplet.updated", droplet::Updated { droplet: app(), cc_partition: "default".into() });
    for (reason, name) in [
        (droplet::ExitReason::Stopped, "STOPPED"),
        (droplet::ExitReason::DeaShutdown, "DEA_SHUTDOWN"),
        (droplet::ExitReason::DeaEvacuation, "DEA_EVACUATION"),
    ] {
        assert_eq!(serde_json::to_value(reason).unwrap(), json!(name));
    }
}

#[test]
fn router_messages() {
    check("router.register", register());
    check("router.unregister", router::Unregister(register()));
    check(
        "router.start",
        router::Start {
            id: "router-1".into(),
            hosts: vec!["192.0.2.7".into()],
            minimum_register_interval: 20,
            prune_threshold: Some(120),
        },
    );
    check("router.greet", router::Greet {});
    check("router.known", router::KnownRoutes { uris: vec!["hello.cupola.localhost".into()] });
    // What a component of 2012 sent still registers.
    let historic = r#"{"dea":"0-5a0f","app":"x","host":"10.0.0.1","port":5000,"uris":["a.b"],"tags":{}}"#;
    assert!(serde_json::from_str::<router::Register>(historic).is_ok());
}

#[test]
fn staging_messages() {
    check("staging.locate", staging::Locate {});
    check(
        "staging.advertise",
        staging::Advertise {
            id: "stager-1".into(),
            stacks: vec!["bookworm".into()],
            available_memory: Mebibytes(4096),
            available_disk: Mebibytes(16384),
            buildpacks: vec!["python".into(), "binary".into()],
        },
    );
    check(
        "staging.ID.start",
        staging::Start {
            app_id: app(),
            task_id: "build-1".into(),
            properties: staging::Properties {
                services: vec![],
                environment: vec!["A=b".into()],
                meta: staging::Meta { command: Some("python app.py".into()) },
                buildpack: Some("python".into()),
                vcap_application: object(json!({"application_name": "hello"})),
            },
            stack: "bookworm".into(),
            download_uri: "http://127.0.0.1:8081/internal/packages/1?signature=s".into(),
            upload_uri: "http://127.0.0.1:8081/internal/droplets/1?signature=s".into(),
            buildpack_cache_download_uri: Some("http://127.0.0.1:8081/internal/caches/1?signature=s".into()),
            buildpack_cache_upload_uri: Some("http://127.0.0.1:8081/internal/caches/1?signature=s".into()),
            memory_limit: Mebibytes(1024),
            disk_limit: Mebibytes(4096),
            app_disk_limit: Some(Mebibytes(1024)),
            timeout: Some(900),
            egress_network_rules: vec![],
        },
    );
    check(
        "staging.ID.start.reply",
        staging::Reply {
            task_id: "build-1".into(),
            app_id: Some(app()),
            done: true,
            detected_buildpack: Some("Python".into()),
            buildpack_key: Some("python".into()),
            detected_start_command: Some("python app.py".into()),
            procfile: Some(BTreeMap::from([("web".into(), "python app.py".into())])),
            droplet_sha1: Some("da39a3ee5e6b4b0d3255bfef95601890afd80709".into()),
            droplet_sha256: Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into()),
            error: None,
            error_info: None,
        },
    );
    check(
        "staging.ID.start.reply.failed",
        staging::Reply {
            task_id: "build-1".into(),
            app_id: Some(app()),
            done: true,
            detected_buildpack: None,
            buildpack_key: None,
            detected_start_command: None,
            procfile: None,
            droplet_sha1: None,
            droplet_sha256: None,
            error: Some("the buildpack python failed to compile the app".into()),
            error_info: Some(staging::ErrorInfo {
                kind: "BuildpackCompileFailed".into(),
                message: "the buildpack python failed to compile the app".into(),
                phase: Some("compile".into()),
                exit_status: Some(1),
                last_lines: vec!["ERROR: no matching distribution".into()],
            }),
        },
    );
    check("staging.stop", staging::Stop { app_id: app() });
}

#[test]
fn health_messages() {
    check("healthmanager.start", health::Started {});
    check(
        "hm9000.start",
        health::StartInstance {
            message_id: "m1".into(),
            droplet: app(),
            version: version(),
            instance_index: 2,
        },
    );
    check(
        "hm9000.stop",
        health::StopInstance {
            message_id: "m2".into(),
            droplet: app(),
            version: version(),
            instance_guid: instance(),
            instance_index: 2,
            is_duplicate: true,
        },
    );
    check("app.state", health::AppStateRequest { droplet: app(), version: version() });
    check(
        "app.state.reply",
        health::AppState {
            droplet: Some(app()),
            version: Some(version()),
            instance_heartbeats: vec![heartbeat()],
            crash_counts: vec![health::CrashCount {
                droplet: app(),
                version: version(),
                instance_index: 2,
                crash_count: 3,
                created_at: 1_792_000_000.5,
            }],
        },
    );
}

#[test]
fn controller_messages() {
    check("cloudcontroller.bulk.credentials.default", controller::BulkCredentialsRequest {});
    check(
        "cloudcontroller.bulk.credentials.default.reply",
        controller::BulkCredentials {
            user: "bulk".into(),
            password: "generated".into(),
            url: Some("http://127.0.0.1:8081".into()),
        },
    );
    check(
        "bulk.apps",
        controller::BulkApps {
            results: BTreeMap::from([(
                app(),
                controller::DesiredApp {
                    id: app(),
                    version: version(),
                    instances: 3,
                    memory: Mebibytes(256),
                    state: controller::DesiredState::Started,
                    package_state: controller::PackageState::Staged,
                    updated_at: "2026-11-23T12:00:00Z".into(),
                },
            )]),
            bulk_token: json!({"id": 7}),
        },
    );
}

#[test]
fn component_and_log_messages() {
    check("lease", lease::Holder { uuid: "0-5a0f".into() });
    check("vcap.component.discover", component::Discover {});
    check(
        "vcap.component.announce",
        component::Announce {
            kind: "DEA".into(),
            index: 0,
            uuid: "0-5a0f".into(),
            host: "192.0.2.7:8090".into(),
            credentials: vec!["user".into(), "generated".into()],
            start: "2026-11-23 12:00:00 +0000".into(),
            uptime: Some("0d:0h:1m:2s".into()),
        },
    );
    check(
        "logs.APP",
        logs::LogLine {
            app: app(),
            instance_id: "2".into(),
            source_type: logs::Source::App,
            stream: logs::Stream::Out,
            timestamp: 1_792_000_000_250_000_000,
            message: "GET / 200".into(),
        },
    );
}

/// A golden file without a message would be a contract that nobody keeps.
#[test]
fn every_golden_file_has_its_check() {
    let source = include_str!("golden.rs");
    let mut files = 0;
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.strip_suffix(".json").expect("only JSON files live here");
        assert!(source.contains(&format!("{name:?}")), "{name}.json has no check");
        files += 1;
    }
    assert!(files > 30, "golden files are missing: only {files} found");
}

#[test]
fn subjects_are_the_historic_ones() {
    use cupola_protocol::message::Event;
    assert_eq!(dea::start_subject(&agent()).as_str(), "dea.0-5a0f.start");
    assert_eq!(staging::start_subject(&"s".into()).as_str(), "staging.s.start");
    assert_eq!(logs::subject(&"a".into()).as_str(), "logs.a");
    assert_eq!(logs::all().as_str(), "logs.*");
    assert_eq!(dea::FindDroplet::SUBJECT, "dea.find.droplet");
    assert_eq!(health::Started::SUBJECT, "healthmanager.start");
}
