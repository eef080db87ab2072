//! The plans that there are when nobody configures any.

use cupola_protocol::{Mebibytes, services::Engine};

/// One plan, for the gateway and for nodes.
pub(crate) struct Known {
    pub(crate) engine: Engine,
    pub(crate) name: &'static str,
    pub(crate) memory: Mebibytes,
    pub(crate) disk: Mebibytes,
    pub(crate) connections: u32,
    /// Whether it is made in the background alone.
    pub(crate) asynchronous: bool,
}

/// The plans that there are when nobody configures any.
pub(crate) const KNOWN: [Known; 4] = [
    known(Engine::Postgresql, "small", (256, 1024), 20, false),
    known(Engine::Postgresql, "large", (1024, 8192), 80, true),
    known(Engine::Redis, "small", (64, 512), 50, false),
    known(Engine::Redis, "large", (512, 4096), 500, true),
];

const fn known(
    engine: Engine,
    name: &'static str,
    (memory, disk): (u64, u64),
    connections: u32,
    asynchronous: bool,
) -> Known {
    let (memory, disk) = (Mebibytes(memory), Mebibytes(disk));
    Known { engine, name, memory, disk, connections, asynchronous }
}
