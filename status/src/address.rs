//! The address under which others reach a page.

use crate::{Config, Error};
use std::net::{IpAddr, SocketAddr};

/// What is announced for a page that listens on `bound`. `seen` is our address as NATS sees it.
pub(crate) fn announced(
    config: &Config,
    bound: SocketAddr,
    seen: Option<IpAddr>,
) -> Result<SocketAddr, Error> {
    let ip = match config.advertise_host {
        Some(ip) => ip,
        None if !bound.ip().is_unspecified() => bound.ip(),
        None => seen.ok_or(Error::NoAddress { listen: bound })?,
    };
    Ok(SocketAddr::new(ip, bound.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_announced_as_one_that_can_be_reached() {
        let of = |listen: &str, advertise: Option<&str>, seen: Option<&str>| {
            let config =
                Config { advertise_host: advertise.map(|ip| ip.parse().unwrap()), ..Config::default() };
            announced(&config, listen.parse().unwrap(), seen.map(|ip| ip.parse().unwrap()))
                .map(|address| address.to_string())
                .ok()
        };
        assert_eq!(of("127.0.0.1:7", None, Some("10.0.0.1")).as_deref(), Some("127.0.0.1:7"));
        assert_eq!(of("0.0.0.0:7", None, Some("10.0.0.1")).as_deref(), Some("10.0.0.1:7"));
        assert_eq!(of("0.0.0.0:7", Some("10.0.0.2"), Some("10.0.0.1")).as_deref(), Some("10.0.0.2:7"));
        assert_eq!(of("0.0.0.0:7", None, None), None);
        assert_eq!(of("[::]:7", None, Some("fd00::1")).as_deref(), Some("[fd00::1]:7"));
    }
}
