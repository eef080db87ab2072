//! Messages of services against their golden JSON files: those on the bus in `golden_services/`, the bodies of the
//! Open Service Broker API in `golden_osb/`. The file is the contract, in both directions.
//!
//! `UPDATE_GOLDEN=1 cargo nextest run -p cupola-protocol` rewrites the files; read the difference as a change of
//! the wire.

use cupola_protocol::{message::Message, osb, services::*, *};
use serde_json::{Map, Value, json};
use std::{fs, path::PathBuf};

fn directory(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The message is written as the file says, and the file is read as the message.
fn check<M: Message>(folder: &str, name: &str, message: M) {
    let path = directory(folder).join(format!("{name}.json"));
    let written = serde_json::to_value(&message).expect("a message is JSON");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(directory(folder)).unwrap();
        fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&written).unwrap())).unwrap();
    }
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let golden: Value = serde_json::from_str(&text).expect("the golden file is JSON");
    assert_eq!(written, golden, "{name} is not written as its golden file says");
    let read: M = serde_json::from_value(golden.clone()).expect("the golden file is read as the message");
    assert_eq!(serde_json::to_value(&read).unwrap(), golden, "{name} loses something when it is read");
}

fn bus<M: Message>(name: &str, message: M) {
    check("golden_services", name, message);
}

fn http<M: Message>(name: &str, message: M) {
    check("golden_osb", name, message);
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

const NAME: &str = "d0c9a6a0e3d4c4d3e9f0b0d2f5a1e7c1";
const USER: &str = "u1f0cbb5240bb4b589a3c5f1d7fd1a0de";

fn handle() -> BindingHandle {
    BindingHandle { name: NAME.into(), username: USER.into() }
}

#[test]
fn nodes() {
    bus("S.discover", Discover {});
    bus(
        "S.announce",
        Announce {
            id: "0-77aa".into(),
            plan: "small".into(),
            supported_versions: vec!["15".into()],
            available_capacity: 12,
            capacity_unit: 1,
            error: Some("the stack services is missing".into()),
        },
    );
    bus(
        "S.provision.NODE",
        Provision {
            plan: "small".into(),
            credentials: Some(WantedInstance { name: NAME.into() }),
            version: Some("15".into()),
        },
    );
    bus(
        "S.provision.NODE.reply",
        Provisioned {
            success: true,
            credentials: Some(InstanceCredentials {
                name: NAME.into(),
                node_id: "0-77aa".into(),
                host: "192.0.2.7".into(),
                hostname: "192.0.2.7".into(),
                port: 61010,
            }),
            error: None,
        },
    );
    bus(
        "S.provision.NODE.reply.failed",
        Provisioned {
            success: false,
            credentials: None,
            error: Some(ServiceError::new(503, error_code::UNAVAILABLE, "no room")),
        },
    );
    bus("S.unprovision.NODE", Unprovision { name: NAME.into(), bindings: vec![handle()] });
    bus("S.unprovision.NODE.reply", Done { success: true, error: None });
    bus(
        "S.bind.NODE",
        Bind {
            name: NAME.into(),
            bind_opts: object(json!({"read_only": false})),
            credentials: Some(WantedBinding { username: USER.into(), password: "generated".into() }),
        },
    );
    bus(
        "S.bind.NODE.reply",
        Bound {
            success: true,
            credentials: Some(BindingCredentials {
                name: NAME.into(),
                host: "192.0.2.7".into(),
                hostname: "192.0.2.7".into(),
                port: 61010,
                user: USER.into(),
                username: USER.into(),
                password: "generated".into(),
                uri: format!("postgres://{USER}:generated@192.0.2.7:61010/{NAME}"),
                database: Some(NAME.into()),
                jdbc_url: Some(format!("jdbc:postgresql://192.0.2.7:61010/{NAME}")),
            }),
            error: None,
        },
    );
    bus("S.unbind.NODE", Unbind { credentials: handle() });
    bus("S.check_orphan", CheckOrphan {});
    bus(
        "S.node_handles",
        NodeHandles {
            instances_list: vec![NAME.into()],
            bindings_list: vec![handle()],
            node_id: "0-77aa".into(),
        },
    );
    bus(
        "S.purge_orphan.NODE",
        PurgeOrphan { orphan_ins_list: vec![NAME.into()], orphan_binding_list: vec![handle()] },
    );
}

#[test]
fn registration() {
    bus(
        "cloudcontroller.broker.register",
        RegisterBroker {
            name: "cupola".into(),
            url: "http://192.0.2.7:8082".into(),
            username: "cupola".into(),
            password: "generated".into(),
        },
    );
    bus(
        "cloudcontroller.broker.register.reply",
        BrokerRegistered { error: Some("the catalog has no plan".into()) },
    );
}

#[test]
fn the_open_service_broker_api() {
    http(
        "catalog",
        osb::Catalog {
            services: vec![osb::Offering {
                id: "6f0a".into(),
                name: "postgresql".into(),
                description: "PostgreSQL 15".into(),
                tags: vec!["postgresql".into(), "relational".into()],
                requires: vec!["syslog_drain".into()],
                bindable: true,
                instances_retrievable: true,
                bindings_retrievable: true,
                allow_context_updates: true,
                metadata: object(json!({"displayName": "PostgreSQL"})),
                dashboard_client: Some(osb::DashboardClient {
                    id: "client".into(),
                    secret: "generated".into(),
                    redirect_uri: Some("http://dashboard.example".into()),
                }),
                plan_updateable: true,
                plans: vec![osb::Plan {
                    id: "6f0a-1".into(),
                    name: "small".into(),
                    description: "256M of memory, 1G of disk".into(),
                    metadata: object(json!({"bullets": ["shared by nobody"]})),
                    free: Some(true),
                    bindable: Some(true),
                    binding_rotatable: Some(true),
                    plan_updateable: Some(false),
                    schemas: Some(
                        json!({"service_instance": {"create": {"parameters": {"type": "object"}}}}),
                    ),
                    maximum_polling_duration: Some(600),
                    maintenance_info: Some(maintenance()),
                }],
            }],
        },
    );
    http(
        "provision",
        osb::ProvisionRequest {
            service_id: "6f0a".into(),
            plan_id: "6f0a-1".into(),
            context: object(json!({"platform": "cloudfoundry", "space_guid": "s"})),
            organization_guid: "o".into(),
            space_guid: "s".into(),
            parameters: Some(object(json!({"extensions": ["hstore"]}))),
            maintenance_info: Some(maintenance()),
        },
    );
    http(
        "provision.reply",
        osb::ProvisionResponse {
            dashboard_url: Some("http://dashboard.example/1".into()),
            operation: Some("provision-1".into()),
            metadata: Some(object(json!({"labels": {"k": "v"}}))),
        },
    );
    http(
        "update",
        osb::UpdateRequest {
            service_id: "6f0a".into(),
            plan_id: Some("6f0a-2".into()),
            context: object(json!({"platform": "cloudfoundry"})),
            parameters: Some(object(json!({"a": 1}))),
            previous_values: Some(osb::PreviousValues {
                plan_id: Some("6f0a-1".into()),
                maintenance_info: Some(maintenance()),
            }),
            maintenance_info: Some(maintenance()),
        },
    );
    http(
        "instance",
        osb::FetchInstanceResponse {
            service_id: Some("6f0a".into()),
            plan_id: Some("6f0a-1".into()),
            dashboard_url: Some("http://dashboard.example/1".into()),
            parameters: Some(object(json!({"a": 1}))),
            maintenance_info: Some(maintenance()),
            metadata: None,
        },
    );
    http(
        "bind",
        osb::BindRequest {
            service_id: "6f0a".into(),
            plan_id: "6f0a-1".into(),
            context: object(json!({"platform": "cloudfoundry"})),
            app_guid: Some("a".into()),
            bind_resource: Some(osb::BindResource { app_guid: Some("a".into()), route: None }),
            parameters: Some(object(json!({"a": 1}))),
            predecessor_binding_id: Some("b0".into()),
        },
    );
    http(
        "bind.reply",
        osb::BindResponse {
            credentials: Some(object(json!({"uri": "postgres://u:p@h/d"}))),
            syslog_drain_url: Some("syslog://logs.example:514".into()),
            route_service_url: Some("https://route.example".into()),
            volume_mounts: vec![osb::VolumeMount {
                driver: "nfs".into(),
                container_dir: "/data".into(),
                mode: "rw".into(),
                device_type: "shared".into(),
                device: object(json!({"volume_id": "v"})),
            }],
            endpoints: vec![osb::Endpoint {
                host: "192.0.2.7".into(),
                ports: vec!["61010".into(), "1024-2048".into()],
                protocol: Some("tcp".into()),
            }],
            metadata: Some(object(json!({"expires_at": "2026-11-26T00:00:00Z"}))),
            operation: Some("bind-1".into()),
            parameters: None,
        },
    );
    http("deletion.reply", osb::Accepted { operation: Some("deprovision-1".into()) });
    http(
        "last_operation",
        osb::LastOperation {
            state: osb::OperationState::InProgress,
            description: Some("the node makes it".into()),
            instance_usable: Some(true),
            update_repeatable: Some(true),
        },
    );
    http(
        "refusal",
        osb::Refusal {
            error: Some("ConcurrencyError".into()),
            description: Some("another operation goes on".into()),
            instance_usable: Some(true),
            update_repeatable: Some(true),
        },
    );
}

fn maintenance() -> osb::MaintenanceInfo {
    osb::MaintenanceInfo { version: "15.0.0".into(), description: Some("PostgreSQL 15".into()) }
}

#[test]
fn brokers_in_other_words_are_understood() {
    let catalog: osb::Catalog = serde_json::from_value(json!({
        "services": [{
            "id": "1", "name": "n", "description": "d", "bindable": true, "tags": null, "requires": null,
            "metadata": null, "plan_updateable": null, "unknown": {"a": 1},
            "plans": [{"id": "2", "name": "p", "description": "d", "metadata": null, "free": null}]
        }],
        "more": []
    }))
    .unwrap();
    let offering = &catalog.services[0];
    assert!(offering.plans[0].is_bindable(offering) && offering.plans[0].is_free());
    assert!(!offering.plans[0].is_updateable(offering));
    serde_json::from_value::<osb::ProvisionResponse>(json!({})).unwrap();
    let bound: osb::BindResponse =
        serde_json::from_value(json!({"credentials": {"a": 1}, "volume_mounts": null, "endpoints": null}))
            .unwrap();
    assert!(bound.endpoints.is_empty());
    assert!(!format!("{bound:?}").contains('1'), "credentials are not shown");
    let refusal: osb::Refusal = serde_json::from_value(json!({"error": "AsyncRequired", "x": 1})).unwrap();
    assert_eq!(refusal.code(), Some(osb::Code::AsyncRequired));
}

#[test]
fn what_is_no_answer_does_not_parse() {
    assert!(serde_json::from_value::<osb::Catalog>(json!({})).is_err());
    assert!(serde_json::from_value::<osb::BindResponse>(json!({"credentials": "text"})).is_err());
    assert!(serde_json::from_value::<osb::ProvisionResponse>(json!("created")).is_err());
    assert!(serde_json::from_value::<osb::LastOperation>(json!({"state": "done"})).is_err());
}

/// A golden file without a message would be a contract that nobody keeps.
#[test]
fn every_golden_file_has_its_check() {
    let source = include_str!("services_golden.rs");
    for (folder, least) in [("golden_services", 15), ("golden_osb", 9)] {
        let mut files = 0;
        for entry in fs::read_dir(directory(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let name = name.strip_suffix(".json").expect("only JSON files live here");
            assert!(source.contains(&format!("{name:?}")), "{name}.json has no check");
            files += 1;
        }
        assert!(files >= least, "golden files are missing: only {files} found in {folder}");
    }
}

#[test]
fn subjects_and_paths_are_the_known_ones() {
    let node = ServiceNodeId::from("0-77aa");
    assert_eq!(Engine::Postgresql.discover().as_str(), "AuaaS.discover");
    assert_eq!(Engine::Redis.announce().as_str(), "RaaS.announce");
    assert_eq!(Engine::Redis.provision(&node).as_str(), "RaaS.provision.0-77aa");
    assert_eq!(Engine::Redis.unprovision(&node).as_str(), "RaaS.unprovision.0-77aa");
    assert_eq!(Engine::Postgresql.bind(&node).as_str(), "AuaaS.bind.0-77aa");
    assert_eq!(Engine::Postgresql.unbind(&node).as_str(), "AuaaS.unbind.0-77aa");
    assert_eq!(Engine::Redis.check_orphan().as_str(), "RaaS.check_orphan");
    assert_eq!(Engine::Redis.node_handles().as_str(), "RaaS.node_handles");
    assert_eq!(Engine::Redis.purge_orphan(&node).as_str(), "RaaS.purge_orphan.0-77aa");
    assert_eq!(
        osb::binding_operation_path(&"i".into(), &"b".into()),
        "/v2/service_instances/i/service_bindings/b/last_operation"
    );
    assert_eq!(osb::instance_operation_path(&"i".into()), "/v2/service_instances/i/last_operation");
}
