//! What any client can send to the warden's socket: frames, cut anywhere, and in them every message, read as the server
//! reads it. What can be read must mean the same when it is written and read again.
#![no_main]

use bytes::{Bytes, BytesMut};
use cupola_protocol::warden::{frame, *};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|input: &[u8]| {
    // The first byte says how the rest is cut into reads.
    let Some((cut, bytes)) = input.split_first() else { return };
    let mut buffer = BytesMut::new();
    for chunk in bytes.chunks(usize::from(*cut).max(1)) {
        buffer.extend_from_slice(chunk);
        loop {
            match frame::decode(&mut buffer) {
                Ok(Some(envelope)) => message(envelope),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        // A reader keeps at most one frame and what announces it.
        assert!(buffer.len() <= frame::MAX_FRAME + 16, "{} bytes are waiting", buffer.len());
    }
});

fn message(envelope: Envelope) {
    let mut again = BytesMut::new();
    frame::encode(&envelope, &mut again);
    assert_eq!(frame::decode(&mut again), Ok(Some(envelope.clone())));
    let payload = envelope.payload.clone();
    let Ok(kind) = envelope.kind() else { return };
    // Every request that refers to a container has its handle in field 1: the server looks there first.
    let _ = InfoRequest::decode(payload.clone());
    match kind {
        Type::Error => round::<ErrorResponse>(payload),
        Type::Create => request::<CreateRequest>(payload),
        Type::Stop => request::<StopRequest>(payload),
        Type::Destroy => request::<DestroyRequest>(payload),
        Type::Info => request::<InfoRequest>(payload),
        Type::Spawn => request::<SpawnRequest>(payload),
        Type::Link => request::<LinkRequest>(payload),
        Type::Run => request::<RunRequest>(payload),
        Type::Stream => request::<StreamRequest>(payload),
        Type::NetIn => request::<NetInRequest>(payload),
        Type::NetOut => request::<NetOutRequest>(payload),
        Type::CopyIn => request::<CopyInRequest>(payload),
        Type::CopyOut => request::<CopyOutRequest>(payload),
        Type::LimitMemory => request::<LimitMemoryRequest>(payload),
        Type::LimitDisk => request::<LimitDiskRequest>(payload),
        Type::LimitBandwidth => request::<LimitBandwidthRequest>(payload),
        Type::LimitCpu => request::<LimitCpuRequest>(payload),
        Type::Ping => request::<PingRequest>(payload),
        Type::List => request::<ListRequest>(payload),
        Type::Echo => request::<EchoRequest>(payload),
        Type::Limit => request::<LimitRequest>(payload),
        Type::SetProperty => request::<SetPropertyRequest>(payload),
        Type::Inspect => request::<InspectRequest>(payload),
        Type::Signal => request::<SignalRequest>(payload),
        Type::Input => request::<InputRequest>(payload),
        Type::Resize => request::<ResizeRequest>(payload),
    }
}

/// A request as the server reads it, and the same bytes as the client would read an answer.
fn request<R: Request>(payload: Bytes) {
    round::<R>(payload.clone());
    round::<R::Response>(payload);
}

fn round<M: Message + Default>(payload: Bytes) {
    if let Ok(message) = M::decode(payload) {
        // Once written, it is always written the same: nothing is lost or made up.
        let written = message.encode_to_vec();
        let again = M::decode(Bytes::from(written.clone())).map(|again| again.encode_to_vec());
        assert_eq!(again, Ok(written));
    }
}
