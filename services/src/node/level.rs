//! What a full volume leads to. Pure.

use cupola_protocol::{Bytes, Mebibytes};

/// What an instance's apps may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Everything.
    Free,
    /// Read and delete: the volume is larger than its plan allows.
    ReadOnly,
    /// Nothing: it grew on, against what it was told.
    Closed,
}

impl Level {
    /// As the engines' scripts read it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Level::Free => "free",
            Level::ReadOnly => "read_only",
            Level::Closed => "closed",
        }
    }

    /// The level for a volume of this size. Who was stopped goes on only when a tenth of the limit is free again, or the
    /// level would change with every look.
    pub(crate) fn of(used: Bytes, limit: Mebibytes, now: Option<Level>) -> Level {
        let limit = limit.bytes().0;
        let free_again = limit - limit / 10;
        match used.0 {
            used if used > limit + limit / 2 => Level::Closed,
            used if used > limit => Level::ReadOnly,
            used if used > free_again && now.is_some_and(|now| now > Level::Free) => Level::ReadOnly,
            _ => Level::Free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_stopped_at_its_limit_and_freed_below_it() {
        let limit = Mebibytes(100);
        let of = |mebibytes: u64, now| Level::of(Mebibytes(mebibytes).bytes(), limit, now);
        assert_eq!(of(100, None), Level::Free);
        assert_eq!(of(101, Some(Level::Free)), Level::ReadOnly);
        assert_eq!(of(95, Some(Level::ReadOnly)), Level::ReadOnly);
        assert_eq!(of(95, Some(Level::Free)), Level::Free);
        assert_eq!(of(90, Some(Level::ReadOnly)), Level::Free);
        assert_eq!(of(151, Some(Level::ReadOnly)), Level::Closed);
        assert_eq!(of(120, Some(Level::Closed)), Level::ReadOnly);
    }
}
