//! What may still be handed out.

use cupola_protocol::{
    Mebibytes,
    dea::InstanceState::{self, Born, Crashed, Evacuating, Resuming, Running, Starting, Stopped, Stopping},
};

/// What the agent may hand out, overcommitment included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) memory: Mebibytes,
    pub(crate) disk: Mebibytes,
}

/// What one instance has reserved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reservation {
    pub(crate) state: InstanceState,
    pub(crate) memory: Mebibytes,
    pub(crate) disk: Mebibytes,
}

/// What is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Available {
    pub(crate) memory: Mebibytes,
    pub(crate) disk: Mebibytes,
}

/// There is no room. The words go to the developer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not enough {what} on this node: {wanted} wanted, {left} of {total} left")]
pub(crate) struct NoRoom {
    what: &'static str,
    wanted: Mebibytes,
    left: Mebibytes,
    total: Mebibytes,
}

impl Capacity {
    /// What a machine's memory and disk come to with these factors.
    pub(crate) fn overcommitted(memory: Mebibytes, disk: Mebibytes, factors: (f64, f64)) -> Self {
        let times = |size: Mebibytes, factor: f64| Mebibytes((size.0 as f64 * factor) as u64);
        Self { memory: times(memory, factors.0), disk: times(disk, factors.1) }
    }

    /// What is reserved: memory from birth to the end of the process, disk from birth to the end of the
    /// container. A crashed instance has neither: its container is destroyed.
    pub(crate) fn reserved(reservations: impl Iterator<Item = Reservation>) -> Available {
        let (mut memory, mut disk) = (0u64, 0u64);
        for reservation in reservations {
            match reservation.state {
                Born | Starting | Resuming | Running | Evacuating | Stopping => {
                    memory = memory.saturating_add(reservation.memory.0);
                    disk = disk.saturating_add(reservation.disk.0);
                }
                Crashed | Stopped => {}
            }
        }
        Available { memory: Mebibytes(memory), disk: Mebibytes(disk) }
    }

    /// What is left after these.
    pub(crate) fn available(self, reservations: impl Iterator<Item = Reservation>) -> Available {
        let reserved = Self::reserved(reservations);
        Available {
            memory: Mebibytes(self.memory.0.saturating_sub(reserved.memory.0)),
            disk: Mebibytes(self.disk.0.saturating_sub(reserved.disk.0)),
        }
    }

    /// Whether that much more fits.
    pub(crate) fn admit(self, left: Available, memory: Mebibytes, disk: Mebibytes) -> Result<(), NoRoom> {
        // Disk first, as dea_ng did.
        if disk > left.disk {
            return Err(NoRoom { what: "disk", wanted: disk, left: left.disk, total: self.disk });
        }
        if memory > left.memory {
            return Err(NoRoom { what: "memory", wanted: memory, left: left.memory, total: self.memory });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATES: [InstanceState; 8] =
        [Born, Starting, Running, Stopping, Stopped, Crashed, Resuming, Evacuating];

    #[test]
    fn refusals_say_what_is_missing() {
        let capacity = Capacity { memory: Mebibytes(1024), disk: Mebibytes(2048) };
        let left = Available { memory: Mebibytes(100), disk: Mebibytes(2048) };
        let refusal = capacity.admit(left, Mebibytes(512), Mebibytes(1)).unwrap_err().to_string();
        assert_eq!(refusal, "not enough memory on this node: 512M wanted, 100M of 1G left");
    }

    #[test]
    fn overcommitment_multiplies() {
        let capacity = Capacity::overcommitted(Mebibytes(100), Mebibytes(10), (2.0, 1.5));
        assert_eq!(capacity, Capacity { memory: Mebibytes(200), disk: Mebibytes(15) });
    }

    proptest! {
        /// Whatever is admitted one after the other, and whatever ends meanwhile, never exceeds the capacity.
        #[test]
        fn what_is_admitted_fits(
            wishes in prop::collection::vec((0..600u64, 0..600u64, 0..8usize, any::<bool>()), 0..60),
            memory in 0..4096u64,
            disk in 0..4096u64,
        ) {
            let capacity = Capacity { memory: Mebibytes(memory), disk: Mebibytes(disk) };
            let mut held: Vec<Reservation> = Vec::new();
            for (memory, disk, state, end_one) in wishes {
                if end_one && let Some(last) = held.last_mut() {
                    last.state = Crashed;
                }
                let left = capacity.available(held.iter().copied());
                if capacity.admit(left, Mebibytes(memory), Mebibytes(disk)).is_ok() {
                    let state = STATES[state];
                    held.push(Reservation { state, memory: Mebibytes(memory), disk: Mebibytes(disk) });
                }
                let reserved = Capacity::reserved(held.iter().copied());
                prop_assert!(reserved.memory <= capacity.memory);
                prop_assert!(reserved.disk <= capacity.disk);
            }
        }
    }
}
