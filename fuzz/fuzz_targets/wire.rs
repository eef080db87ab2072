//! What daemon, spawner and init read from each other. The init is inside, with processes that are not trusted: the
//! daemon must bear whatever it says. The format has one way to write each value, so what is read must be written as the
//! very same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warden::wire::{ContainerPlan, Event, Failure, InitReply, InitRequest, SpawnReply, Wire};

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 6 {
        0 => same::<InitRequest>(bytes),
        1 => same::<InitReply>(bytes),
        2 => same::<SpawnReply>(bytes),
        3 => same::<ContainerPlan>(bytes),
        4 => same::<Event>(bytes),
        _ => same::<Failure>(bytes),
    }
});

fn same<W: Wire>(bytes: &[u8]) {
    if let Ok(value) = W::decode(bytes) {
        assert_eq!(value.encode(), bytes, "another writing of the same value");
    }
}
