//! Which paths are in an instance's home.

use super::Refusal;

/// The path without detours: no `.`, no `..`, no doubled `/`, relative to the home; empty for the home itself.
/// Where links lead is not seen here: they are followed inside of the container, and nowhere else.
pub(super) fn inside(path: &str) -> Result<String, Refusal> {
    let outside = || Refusal::Outside(path.to_owned());
    if path.contains('\0') {
        return Err(outside());
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or_else(outside)?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn detours_are_taken_out_and_ways_out_are_refused() {
        for (path, expected) in
            [("", ""), ("/", ""), (".", ""), ("app/", "app"), ("./a//b/../c", "a/c"), ("/logs", "logs")]
        {
            assert_eq!(inside(path).as_deref(), Ok(expected), "{path}");
        }
        for path in ["..", "../etc", "a/../../etc/passwd", "/..", "a\0b"] {
            assert_eq!(inside(path), Err(Refusal::Outside(path.to_owned())), "{path}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_passes_can_climb(path in "[a/.]{0,24}") {
            if let Ok(path) = inside(&path) {
                prop_assert!(!path.starts_with('/') && !path.ends_with('/'));
                prop_assert!(path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "." | "..")));
                let again = inside(&path);
                prop_assert_eq!(again.as_deref(), Ok(path.as_str()));
            }
        }
    }
}
