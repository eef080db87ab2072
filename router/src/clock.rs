//! Milliseconds since the process began to ask: a number that fits an atomic and never goes back.

use std::{sync::OnceLock, time::Instant};

/// The time now. Starts above zero, so that zero can mean "never".
pub(crate) fn now() -> u64 {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let elapsed = BEGUN.get_or_init(Instant::now).elapsed().as_millis();
    u64::try_from(elapsed).unwrap_or(u64::MAX - 1) + 1
}
