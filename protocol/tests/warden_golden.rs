//! Golden bytes of the warden protocol: every message with every field, as an encoder that knows nothing of
//! ours (varints and length-delimited fields written out from the historic `.proto` tags) has made them.

use bytes::{Bytes, BytesMut};
use cupola_protocol::warden::{frame, *};

/// The frame of one message; hexadecimal, without the length line and the last CR LF.
fn framed(kind: Type, message: &impl prost::Message) -> String {
    let mut buffer = BytesMut::new();
    frame::encode(&Envelope::new(kind, message), &mut buffer);
    let start = buffer.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    buffer[start..buffer.len() - 2].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_message_has_its_historic_bytes() {
    assert_eq!(
        framed(
            Type::Create,
            &CreateRequest {
                bind_mounts: vec![BindMount::new("/a", "/b", BindMode::Rw)],
                grace_time: Some(300),
                handle: Some("h".into()),
                network: Some("10.254.0.4".into()),
                rootfs: Some("/r".into()),
                disk_bytes: Some(1 << 30),
                layers: vec!["/d.erofs".into()],
                ..Default::default()
            }
        ),
        "080b12340a0a0a022f6112022f62180110ac021a0168220a31302e3235342e302e342a022f72a8068080808004b206082f642e65726f6673",
        "create"
    );
    assert_eq!(
        framed(Type::Create, &CreateResponse { handle: "h".into() }),
        "080b12030a0168",
        "create response"
    );
    assert_eq!(
        framed(Type::Stop, &StopRequest { handle: "h".into(), background: Some(true), kill: Some(true) }),
        "080c12080a01685001a00101",
        "stop"
    );
    assert_eq!(framed(Type::Destroy, &DestroyRequest { handle: "h".into() }), "080d12030a0168", "destroy");
    assert_eq!(framed(Type::Info, &InfoRequest { handle: "h".into() }), "080e12030a0168", "info");
    assert_eq!(
        framed(
            Type::Info,
            &InfoResponse {
                state: Some("active".into()),
                events: vec!["e".into()],
                host_ip: Some("1".into()),
                container_ip: Some("2".into()),
                container_path: Some("/p".into()),
                memory_stat: Some(MemoryStat {
                    cache: Some(1),
                    hierarchical_memory_limit: Some(14),
                    total_cache: Some(16),
                    total_unevictable: Some(28),
                    ..Default::default()
                }),
                cpu_stat: Some(CpuStat { usage: Some(1), user: Some(2), system: Some(3) }),
                disk_stat: Some(DiskStat { bytes_used: Some(1), inodes_used: Some(2) }),
                bandwidth_stat: Some(BandwidthStat {
                    in_rate: Some(1),
                    in_burst: Some(2),
                    out_rate: Some(3),
                    out_burst: Some(0xffff_ffff)
                }),
                job_ids: vec![7, 8],
                oom_kills: Some(9),
                processes: Some(10),
                ports: vec!["1:2".into()],
                ..Default::default()
            }
        ),
        "080e12575206616374697665a2010165f2010131fa0101328202022f70c2020a0801700e800110e0011cca0206080110021803d2020408011002da020c08011002180320ffffffff0fe00207e00208a00609a8060ab20603313a32",
        "info response"
    );
    assert_eq!(
        framed(
            Type::Spawn,
            &SpawnRequest {
                handle: "h".into(),
                script: "s".into(),
                privileged: Some(true),
                rlimits: Some(ResourceLimits {
                    r#as: Some(1),
                    nofile: Some(10),
                    stack: Some(15),
                    ..Default::default()
                }),
                discard_output: Some(true),
                log_tag: Some("t".into()),
                output_ring_bytes: Some(100),
                env: vec!["A=1".into()],
                dir: Some("/".into()),
                ..Default::default()
            }
        ),
        "081512220a0168120173180122060801500a780f2801320174a00664aa0603413d31b206012f",
        "spawn"
    );
    assert_eq!(framed(Type::Spawn, &SpawnResponse { job_id: 300 }), "0815120308ac02", "spawn response");
    assert_eq!(
        framed(Type::Link, &LinkRequest { handle: "h".into(), job_id: 1 }),
        "081612050a01681001",
        "link"
    );
    assert_eq!(
        framed(
            Type::Link,
            &LinkResponse {
                exit_status: Some(255),
                stdout: Some("o".into()),
                stderr: Some("e".into()),
                info: Some(InfoResponse::default())
            }
        ),
        "0816120b08ff0112016f1a01652200",
        "link response"
    );
    assert_eq!(
        framed(Type::Run, &RunRequest { handle: "h".into(), script: "s".into(), ..Default::default() }),
        "081712060a0168120173",
        "run"
    );
    assert_eq!(
        framed(
            Type::Run,
            &RunResponse {
                exit_status: Some(0),
                stdout: Some("o".into()),
                stderr: Some("".into()),
                info: None
            }
        ),
        "08171207080012016f1a00",
        "run response"
    );
    assert_eq!(
        framed(Type::Stream, &StreamRequest { handle: "h".into(), job_id: 1, from_offset: Some(5) }),
        "081812080a01681001a00605",
        "stream"
    );
    assert_eq!(
        framed(
            Type::Stream,
            &StreamResponse {
                name: Some("stderr".into()),
                data: Some(Bytes::from_static(b"\xff")),
                exit_status: None,
                info: None,
                offset: Some(6)
            }
        ),
        "0818120e0a067374646572721201ffa00606",
        "stream response"
    );
    assert_eq!(
        framed(
            Type::Stream,
            &StreamResponse {
                exit_status: Some(1),
                info: Some(InfoResponse::default()),
                ..Default::default()
            }
        ),
        "0818120418012200",
        "last stream response"
    );
    assert_eq!(
        framed(
            Type::NetIn,
            &NetInRequest { handle: "h".into(), container_port: Some(80), host_port: Some(61001) }
        ),
        "081f12090a0168105018c9dc03",
        "net in"
    );
    assert_eq!(
        framed(Type::NetIn, &NetInResponse { host_port: 61001, container_port: 80 }),
        "081f120608c9dc031050",
        "net in response"
    );
    assert_eq!(
        framed(
            Type::NetOut,
            &NetOutRequest {
                handle: "h".into(),
                network: Some("n".into()),
                port: Some(1),
                port_range: Some("1:2".into()),
                protocol: Some(Protocol::Icmp.into()),
                icmp_type: Some(-1),
                icmp_code: Some(0),
                log: Some(true)
            }
        ),
        "0820121e0a016812016e18012203313a32280230ffffffffffffffffff0138004001",
        "net out"
    );
    assert_eq!(
        framed(
            Type::CopyIn,
            &CopyInRequest { handle: "h".into(), src_path: "/a".into(), dst_path: "/b".into() }
        ),
        "0829120b0a016812022f611a022f62",
        "copy in"
    );
    assert_eq!(
        framed(
            Type::CopyOut,
            &CopyOutRequest {
                handle: "h".into(),
                src_path: "/a".into(),
                dst_path: "/b".into(),
                owner: Some("u:g".into())
            }
        ),
        "082a12100a016812022f611a022f622203753a67",
        "copy out"
    );
    assert_eq!(
        framed(Type::LimitMemory, &LimitMemoryRequest { handle: "h".into(), limit_in_bytes: Some(1) }),
        "083312050a01681001",
        "limit memory"
    );
    assert_eq!(
        framed(Type::LimitMemory, &LimitMemoryResponse { limit_in_bytes: Some(9_223_372_036_854_771_712) }),
        "0833120a0880e0ffffffffffff7f",
        "limit memory response"
    );
    assert_eq!(
        framed(
            Type::LimitDisk,
            &LimitDiskRequest {
                handle: "h".into(),
                block_limit: Some(10),
                block: Some(11),
                block_soft: Some(12),
                block_hard: Some(13),
                inode_limit: Some(20),
                inode: Some(21),
                inode_soft: Some(22),
                inode_hard: Some(23),
                byte_limit: Some(30),
                byte: Some(31),
                byte_soft: Some(32),
                byte_hard: Some(33)
            }
        ),
        "083412230a0168500a580b600c680da00114a80115b00116b80117f0011ef8011f800220880221",
        "limit disk"
    );
    assert_eq!(
        framed(Type::LimitBandwidth, &LimitBandwidthRequest { handle: "h".into(), rate: 1, burst: 2 }),
        "083512070a016810011802",
        "limit bandwidth"
    );
    assert_eq!(
        framed(Type::LimitCpu, &LimitCpuRequest { handle: "h".into(), limit_in_shares: Some(2) }),
        "083612050a01681002",
        "limit cpu"
    );
    assert_eq!(framed(Type::Ping, &PingRequest {}), "085b1200", "ping");
    assert_eq!(framed(Type::List, &ListRequest::default()), "085c1200", "list");
    assert_eq!(
        framed(Type::List, &ListResponse { handles: vec!["a".into(), "b".into()] }),
        "085c12060a01610a0162",
        "list response"
    );
    assert_eq!(framed(Type::Echo, &EchoRequest { message: "\u{e9}".into() }), "085d12040a02c3a9", "echo");
    assert_eq!(
        framed(
            Type::Error,
            &ErrorResponse {
                message: Some("unknown handle".into()),
                backtrace: vec!["b".into()],
                data: Some("d".into())
            }
        ),
        "08011216120e756e6b6e6f776e2068616e646c651a0162220164",
        "error"
    );
}

#[test]
fn decoded_messages_are_those_that_were_encoded() {
    let limits = ResourceLimits { nofile: Some(8192), ..Default::default() };
    let request = SpawnRequest { handle: "h\u{fc}".into(), rlimits: Some(limits), ..Default::default() };
    let mut buffer = BytesMut::new();
    frame::encode(&Envelope::new(SpawnRequest::TYPE, &request), &mut buffer);
    let envelope = frame::decode(&mut buffer).unwrap().unwrap();
    assert_eq!(envelope.kind(), Ok(Type::Spawn));
    assert_eq!(<SpawnRequest as prost::Message>::decode(envelope.payload).unwrap(), request);
}

#[test]
fn an_unknown_type_is_told_by_its_number() {
    let envelope = Envelope { r#type: 77, payload: Bytes::new() };
    assert_eq!(envelope.kind(), Err(77));
}
