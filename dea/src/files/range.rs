//! The part of a file that a request asks for, by its header `Range`.

/// Bytes from the first to before the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A part that the file does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoSuchPart;

/// Reads the header against a file that has the bytes from `begin` to before `size`. None means all of it: a
/// header that is not understood, or asks for several parts, counts as none (RFC 9110 §14.2).
pub(super) fn part(header: &str, begin: u64, size: u64) -> Result<Option<Part>, NoSuchPart> {
    let Some(set) = header.trim().strip_prefix("bytes=") else { return Ok(None) };
    let Some((first, last)) = set.split_once('-') else { return Ok(None) };
    let number = |text: &str| text.trim().parse::<u64>();
    let (from, to) = match (number(first), number(last)) {
        (Ok(from), Ok(last)) if from <= last => (from, last.saturating_add(1).min(size)),
        (Ok(from), Err(_)) if last.trim().is_empty() => (from, size),
        (Err(_), Ok(count)) if first.trim().is_empty() => (size.saturating_sub(count), size),
        _ => return Ok(None),
    };
    let from = from.max(begin);
    if from < to { Ok(Some(Part { from, to })) } else { Err(NoSuchPart) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_http_writes_them() {
        let some = |from, to| Ok(Some(Part { from, to }));
        for (header, expected) in [
            ("bytes=0-0", some(0, 1)),
            ("bytes=2-5", some(2, 6)),
            ("bytes=7-", some(7, 10)),
            ("bytes=-3", some(7, 10)),
            ("bytes=-99", some(0, 10)),
            ("bytes=8-99", some(8, 10)),
            ("bytes=10-", Err(NoSuchPart)),
            ("bytes=-0", Err(NoSuchPart)),
            ("bytes=5-2", Ok(None)),
            ("bytes=0-1,3-4", Ok(None)),
            ("lines=0-1", Ok(None)),
            ("bytes=x", Ok(None)),
        ] {
            assert_eq!(part(header, 0, 10), expected, "{header}");
        }
    }

    #[test]
    fn what_is_gone_is_not_given() {
        assert_eq!(part("bytes=0-7", 5, 10), Ok(Some(Part { from: 5, to: 8 })));
        assert_eq!(part("bytes=0-4", 5, 10), Err(NoSuchPart));
        assert_eq!(part("bytes=0-", 0, 0), Err(NoSuchPart));
    }
}
