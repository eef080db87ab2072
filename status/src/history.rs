//! Times as the historic components wrote them.

use std::time::Duration;
use time::{OffsetDateTime, macros::format_description};

/// A moment: `2012-06-20 10:00:00 +0000`.
pub(crate) fn moment(at: OffsetDateTime) -> String {
    let form = format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
    );
    // Formatting a valid moment with a constant form does not fail.
    at.format(form).unwrap_or_default()
}

/// How long something runs: `0d:0h:1m:2s`.
pub(crate) fn uptime(ran: Duration) -> String {
    let seconds = ran.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    format!("{days}d:{}h:{}m:{}s", hours % 24, minutes % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_historic_form() {
        assert_eq!(uptime(Duration::ZERO), "0d:0h:0m:0s");
        assert_eq!(uptime(Duration::from_millis(62_900)), "0d:0h:1m:2s");
        assert_eq!(uptime(Duration::from_secs(3 * 86400 + 4 * 3600 + 5 * 60 + 6)), "3d:4h:5m:6s");
        let at = OffsetDateTime::from_unix_timestamp(1_340_186_400).unwrap();
        assert_eq!(moment(at), "2012-06-20 10:00:00 +0000");
    }
}
