//! Links made ready ahead of time, numbers of networks, and what is left of neither.

use crate::scene::{Warden, eventually, output};
use std::collections::BTreeSet;
use warden_client::message::{CreateRequest, NetOutRequest};

/// First addresses of the networks that links of the host have in the pool of this test.
fn networks() -> BTreeSet<String> {
    let pool = format!("10.251.{}.", std::process::id() % 240);
    let addresses = output("ip", &["-o", "-4", "address"]);
    let of_pool = |line: &str| Some(line.split_once(&pool)?.1.split_once('/')?.0.parse::<u8>().ok()?);
    addresses.lines().filter_map(of_pool).map(|host| format!("{pool}{}", host - 1)).collect()
}

/// The first address of a container's network.
async fn network(warden: &Warden, handle: &str) -> String {
    let host = warden.client.info(handle).await.unwrap().host_ip.unwrap();
    let (net, last) = host.rsplit_once('.').unwrap();
    format!("{net}.{}", last.parse::<u8>().unwrap() - 1)
}

#[tokio::test]
async fn links_are_made_ready_used_once_and_leave_nothing() {
    let mut warden = Warden::start_with("ready = 3", "").await;
    eventually("three links are ready", async || networks().len() == 3).await;
    let ready = networks();
    let handle = warden.container().await;
    let first = network(&warden, &handle).await;
    assert!(ready.contains(&first), "the container has one that was ready");
    eventually("another is made", async || networks().len() == 4).await;

    // One that is named is given, whether it is ready or not.
    let named = networks().into_iter().find(|network| *network != first).unwrap();
    for wanted in [named, format!("10.251.{}.252/30", std::process::id() % 240)] {
        let request = CreateRequest { network: Some(wanted.clone()), ..Default::default() };
        let other = warden.create(request.clone()).await;
        assert_eq!(network(&warden, &other).await, wanted.trim_end_matches("/30"));
        let error = warden.client.create(request.clone()).await.unwrap_err().to_string();
        assert!(error.contains("in use by another container"), "{error}");
        warden.client.destroy(&other).await.unwrap();
        // At once again: the link may still be going.
        let again = warden.create(request).await;
        warden.client.destroy(&again).await.unwrap();
    }
    let outside = CreateRequest { network: Some("10.9.9.0/30".into()), ..Default::default() };
    let error = warden.client.create(outside).await.unwrap_err().to_string();
    assert!(error.contains("10.9.9.0/30") && error.contains("is not a /30 of"), "{error}");

    // A killed daemon's ready links are nobody's; the next one makes its own.
    warden.kill_and_restart().await;
    eventually("three are ready beside the container's", async || networks().len() == 4).await;
    assert!(networks().contains(&first));
    warden.client.destroy(&handle).await.unwrap();
    eventually("its link is gone", async || !networks().contains(&first)).await;
    warden.end();
    assert_eq!(networks(), BTreeSet::new(), "nothing is left when the daemon has ended");
}

#[tokio::test]
async fn a_container_without_a_network_has_loopback_alone() {
    let warden = Warden::start_with("ready = 2", "").await;
    eventually("two links are ready", async || networks().len() == 2).await;
    for _ in 0..3 {
        let handle = warden.create(CreateRequest { no_network: Some(true), ..Default::default() }).await;
        let links = warden.say(&handle, "ip -o link show up | cut -d: -f2").await;
        assert_eq!(links.trim(), "lo");
        assert_eq!(warden.say(&handle, "ip -o -6 address show up | grep -c ::1/128").await, "1");
        let server = "import socket\nfor family,address in ((socket.AF_INET,'127.0.0.1'),(socket.AF_INET6,'::1')):\n \
                      s=socket.socket(family);s.bind((address,80));s.listen()\n \
                      c=socket.create_connection((address,80));print(c.getpeername()[0])";
        assert_eq!(warden.say(&handle, &format!("python3 -c \"{server}\"")).await, "127.0.0.1\n::1");
        let info = warden.client.info(&handle).await.unwrap();
        assert_eq!((info.host_ip, info.container_ip), (None, None));
        let refused = [
            warden.client.net_in(&handle, None, None).await.unwrap_err(),
            warden
                .client
                .net_out(NetOutRequest { handle: handle.clone(), port: Some(1), ..Default::default() })
                .await
                .unwrap_err(),
        ];
        for error in refused {
            assert!(error.to_string().contains("without a network"), "{error}");
        }
        warden.client.destroy(&handle).await.unwrap();
    }
    assert_eq!(networks().len(), 2, "no network was taken");
    let both = CreateRequest {
        no_network: Some(true),
        network: Some(format!("10.251.{}.0", std::process::id() % 240)),
        ..Default::default()
    };
    assert!(warden.client.create(both).await.unwrap_err().to_string().contains("no_network"));
}
