//! The clock of leases: it runs on while the machine sleeps, and nobody sets it.

use super::contender::Moment;
use rustix::time::{ClockId, clock_gettime};

/// The time since this machine was started.
pub(super) fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    Moment::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
