//! How a route is spelled: `host`, `host/path`, `*.domain`.

/// The one spelling of a route: host in lower case without port and final dot, path without query and final
/// slash. `None` for what is not a route.
pub(crate) fn canonical(uri: &str) -> Option<String> {
    let uri = uri.split('?').next()?;
    let (host, path) = match uri.find('/') {
        Some(slash) => uri.split_at(slash),
        None => (uri, ""),
    };
    let host = host.split(':').next()?.trim_end_matches('.').to_ascii_lowercase();
    let labels = host.strip_prefix("*.").unwrap_or(&host);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if labels.is_empty() || !labels.bytes().all(allowed) || !path.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return None;
    }
    Some(host + path.trim_end_matches('/'))
}

/// The path part of a canonical route; `/` when it has none. Session cookies are bound to it.
pub(crate) fn context_path(route: &str) -> &str {
    route.find('/').map_or("/", |slash| &route[slash..])
}

/// How many path segments a canonical route has.
pub(crate) fn depth(route: &str) -> usize {
    route.matches('/').count()
}

/// The routes that could serve a request, best first: the exact host before `*.` in place of its first label,
/// its first two labels and so on; for each, the longest path first, cut at slashes, at most `depth` segments.
pub(crate) fn candidates(host: &str, path: &str, depth: usize) -> impl Iterator<Item = String> {
    let paths: Vec<&str> = {
        let mut cuts: Vec<usize> = path.match_indices('/').map(|(at, _)| at).skip(1).take(depth).collect();
        cuts.push(path.len());
        cuts.truncate(depth);
        cuts.dedup();
        // `/a/` and `/a` are one: a cut that leaves only a slash is no path at all.
        let mut paths: Vec<&str> = cuts
            .iter()
            .rev()
            .map(|cut| path[..*cut].trim_end_matches('/'))
            .filter(|path| !path.is_empty())
            .collect();
        paths.dedup();
        paths.push("");
        paths
    };
    let exact = std::iter::once(host.to_owned());
    let wildcards = host.match_indices('.').map(|(at, _)| format!("*{}", &host[at..])).collect::<Vec<_>>();
    exact
        .chain(wildcards)
        .flat_map(move |host| paths.iter().map(|path| format!("{host}{path}")).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_one_spelling() {
        assert_eq!(canonical("App.Example.com").as_deref(), Some("app.example.com"));
        assert_eq!(canonical("app.example.com./Foo/?x=1").as_deref(), Some("app.example.com/Foo"));
        assert_eq!(canonical("app.example.com:8080/a/b").as_deref(), Some("app.example.com/a/b"));
        assert_eq!(canonical("*.example.com").as_deref(), Some("*.example.com"));
        for bad in ["", "/a", "*", "*.", "a b", "a*b.c", "a/b c", "exa\u{e4}mple.com"] {
            assert_eq!(canonical(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn longest_path_then_wildcards() {
        let all = |host, path, depth| candidates(host, path, depth).collect::<Vec<_>>();
        assert_eq!(all("a.b.c", "/x", 0), ["a.b.c", "*.b.c", "*.c"]);
        assert_eq!(all("a.b", "/x/y/z", 2), ["a.b/x/y", "a.b/x", "a.b", "*.b/x/y", "*.b/x", "*.b"]);
        assert_eq!(all("a.b", "/x", 3), ["a.b/x", "a.b", "*.b/x", "*.b"]);
        assert_eq!(all("a.b", "/x/", 3), ["a.b/x", "a.b", "*.b/x", "*.b"]);
        assert_eq!(all("a.b", "/", 3), ["a.b", "*.b"]);
        assert_eq!(all("a", "*", 3), ["a*", "a"]);
    }
}
