//! What comes in, what goes out.

use crate::scene::{Warden, eventually, output};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use warden_client::message::{NetOutRequest, Protocol};

/// A rule for one TCP port of one address.
pub(crate) fn to(handle: &str, network: &str, port: u32) -> NetOutRequest {
    NetOutRequest {
        handle: handle.into(),
        network: Some(network.into()),
        port: Some(port),
        ..Default::default()
    }
}

/// A neighbour of the host: a network namespace behind a link of the test's own, with servers that say `outside`.
struct Outside {
    name: String,
    address: String,
    servers: Vec<std::process::Child>,
}

impl Outside {
    fn make(ports: &[u16]) -> Self {
        let number = std::process::id() % 240;
        let (name, link) =
            (format!("cupola-test-{}", std::process::id()), format!("ct{}", std::process::id()));
        let (host, address) = (format!("10.250.{number}.1"), format!("10.250.{number}.2"));
        let ip = |arguments: &[&str]| drop(output("ip", arguments));
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "out0", "netns", &name]);
        ip(&["address", "add", &format!("{host}/24"), "dev", &link]);
        ip(&["link", "set", &link, "up"]);
        ip(&["-n", &name, "address", "add", &format!("{address}/24"), "dev", "out0"]);
        ip(&["-n", &name, "link", "set", "out0", "up"]);
        let server = "import socket,sys\ns=socket.create_server((sys.argv[1],int(sys.argv[2])))\nprint(flush=True)\n\
                      while True:\n c,a=s.accept();c.sendall(('outside '+a[0]+'\\n').encode());c.close()";
        let servers = ports
            .iter()
            .map(|port| {
                let mut child = std::process::Command::new("ip")
                    .args(["netns", "exec", &name, "python3", "-c", server, &address, &port.to_string()])
                    .stdout(std::process::Stdio::piped())
                    .spawn()
                    .unwrap();
                child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
                child
            })
            .collect();
        Outside { name, address, servers }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        drop(output("ip", &["netns", "delete", &self.name]));
    }
}

/// A script that connects and prints what it gets; it fails when it cannot within two seconds.
fn connect(address: &str, port: u16) -> String {
    format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/{port}; head -1 <&3'")
}

#[tokio::test]
async fn a_port_of_the_host_leads_in() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let ports = warden.client.net_in(&handle, None, Some(8080)).await.unwrap();
    assert_eq!(ports.container_port, 8080);
    let server = "import socket\ns=socket.create_server(('0.0.0.0',8080))\nprint('up',flush=True)\n\
                  while True:\n c,_=s.accept();c.sendall(b'inside\\n'+c.recv(9));c.close()";
    let job = warden.spawn(&handle, &format!("exec python3 -c \"{server}\"")).await;
    warden.client.stream(&handle, job, None).await.unwrap().next().await.unwrap();
    let info = warden.client.info(&handle).await.unwrap();
    let ask = |address: &str, port: u32| {
        let mut stream = TcpStream::connect((address, port as u16)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let host = info.host_ip.unwrap();
    let asked = tokio::task::spawn_blocking(move || {
        (ask(&host, ports.host_port), ask(&info.container_ip.unwrap(), 8080))
    });
    let (through, direct) = asked.await.unwrap();
    assert_eq!((through.as_str(), direct.as_str()), ("inside\nhello", "inside\nhello"));

    let same = warden.client.net_in(&handle, None, None).await.unwrap();
    assert_eq!(same.host_port, same.container_port);
    assert_ne!(same.host_port, ports.host_port);
    let error = warden.client.net_in(&handle, Some(ports.host_port), None).await.unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
    let given = warden.client.net_in(&handle, Some(19_999), Some(1)).await.unwrap();
    assert_eq!((given.host_port, given.container_port), (19_999, 1));
}

#[tokio::test]
async fn outside_is_closed_until_it_is_allowed() {
    let warden = Warden::start().await;
    let outside = Outside::make(&[4000, 4001]);
    let handle = warden.container().await;
    let other = warden.container().await;
    let address = outside.address.clone();
    assert_ne!(warden.run(&handle, &connect(&address, 4000)).await.exit_status, Some(0), "closed at first");
    warden.client.net_out(to(&handle, &address, 4000)).await.unwrap();
    // It comes from the host's address: nobody outside has heard of ours.
    let answer = warden.say(&handle, &connect(&address, 4000)).await;
    assert_eq!(answer, format!("outside 10.250.{}.1", std::process::id() % 240));
    assert_ne!(
        warden.run(&handle, &connect(&address, 4001)).await.exit_status,
        Some(0),
        "another port stays closed"
    );
    assert_ne!(
        warden.run(&other, &connect(&address, 4000)).await.exit_status,
        Some(0),
        "for others it stays closed"
    );
    let range = NetOutRequest {
        handle: other.clone(),
        network: Some(format!("{address}-{address}")),
        port_range: Some("4000:4001".into()),
        protocol: Some(Protocol::All.into()),
        ..Default::default()
    };
    warden.client.net_out(range).await.unwrap();
    warden.say(&other, &connect(&address, 4001)).await;
    let none = NetOutRequest { handle: handle.clone(), ..Default::default() };
    assert!(warden.client.net_out(none).await.unwrap_err().to_string().contains("specify network"));
}

#[tokio::test]
async fn host_neighbours_and_metadata_stay_closed_whatever_is_allowed() {
    let warden = Warden::start().await;
    let (one, two) = (warden.container().await, warden.container().await);
    let all = NetOutRequest {
        handle: one.clone(),
        network: Some("0.0.0.0/0".into()),
        protocol: Some(Protocol::All.into()),
        ..Default::default()
    };
    warden.client.net_out(all).await.unwrap();
    let info = warden.client.info(&one).await.unwrap();
    let host = info.host_ip.unwrap();
    let listener = TcpListener::bind((host.as_str(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_ne!(warden.run(&one, &connect(&host, port)).await.exit_status, Some(0), "the host is closed");
    let neighbour = warden.client.info(&two).await.unwrap().container_ip.unwrap();
    let server = "import socket\ns=socket.create_server(('0.0.0.0',8080))\nprint('up',flush=True)\n\
                  while True:\n c,_=s.accept();c.sendall(b'inside\\n');c.close()";
    let job = warden.spawn(&two, &format!("exec python3 -c \"{server}\"")).await;
    warden.client.stream(&two, job, None).await.unwrap().next().await.unwrap();
    assert_eq!(warden.say(&two, &connect("127.0.0.1", 8080)).await, "inside", "its own loopback works");
    assert_ne!(
        warden.run(&one, &connect(&neighbour, 8080)).await.exit_status,
        Some(0),
        "a neighbour is closed"
    );
    assert_ne!(
        warden.run(&one, &connect("169.254.169.254", 80)).await.exit_status,
        Some(0),
        "metadata is closed"
    );
    drop(listener);
}

#[tokio::test]
async fn a_neighbours_port_of_the_host_is_open_for_who_names_it_and_for_nobody_else() {
    let mut warden = Warden::start().await;
    let (server, one, two) = (warden.container().await, warden.container().await, warden.container().await);
    let program = "import socket,threading\ndef serve(port):\n s=socket.create_server(('0.0.0.0',port))\n \
                   while True:\n  c,_=s.accept();c.sendall(b'%d\\n'%port);c.close()\n\
                   for port in (8080,8081): threading.Thread(target=serve,args=(port,)).start()\n\
                   print('up',flush=True)";
    let job = warden.spawn(&server, &format!("exec python3 -c \"{program}\"")).await;
    warden.client.stream(&server, job, None).await.unwrap().next().await.unwrap();
    let named = warden.client.net_in(&server, None, Some(8080)).await.unwrap().host_port;
    let other = warden.client.net_in(&server, None, Some(8081)).await.unwrap().host_port;
    let info = warden.client.info(&server).await.unwrap();
    let (host, inside) = (info.host_ip.unwrap(), info.container_ip.unwrap());
    let listener = TcpListener::bind((host.as_str(), 0)).unwrap();
    let hosts_own = listener.local_addr().unwrap().port();
    let open = async |warden: &Warden, who: &str, address: &str, port: u32| {
        warden.run(who, &connect(address, port as u16)).await.exit_status == Some(0)
    };
    // What most apps have, and rules that name more than one place: neighbours stay closed.
    for (network, ports) in [("0.0.0.0/0", None), (host.as_str(), Some((1, 65_535)))] {
        let wide = NetOutRequest {
            handle: one.clone(),
            network: Some(network.into()),
            port_range: ports.map(|(first, last)| format!("{first}:{last}")),
            protocol: Some(Protocol::All.into()),
            ..Default::default()
        };
        warden.client.net_out(wide).await.unwrap();
    }
    assert!(!open(&warden, &one, &host, named).await, "a wide rule opens no neighbour");
    warden.client.net_out(to(&one, &host, named)).await.unwrap();
    for round in ["when it was allowed", "after a kill of the daemon"] {
        assert_eq!(warden.say(&one, &connect(&host, named as u16)).await, "8080", "{round}");
        assert!(!open(&warden, &one, &host, other).await, "another port of the neighbour, {round}");
        assert!(!open(&warden, &one, &inside, 8080).await, "its address itself, {round}");
        assert!(!open(&warden, &one, &inside, named).await, "its address with the host's port, {round}");
        assert!(!open(&warden, &one, &host, hosts_own.into()).await, "the host itself, {round}");
        assert!(!open(&warden, &two, &host, named).await, "for another container, {round}");
        let back = warden.client.info(&one).await.unwrap().container_ip.unwrap();
        assert!(!open(&warden, &server, &back, 22).await, "the way back, {round}");
        warden.kill_and_restart().await;
    }
    warden.client.destroy(&one).await.unwrap();
    // Whoever gets the address of the one that is gone gets nothing with it.
    let next = warden.container().await;
    warden.client.net_out(to(&next, &host, other)).await.unwrap();
    assert!(!open(&warden, &next, &host, named).await, "a rule of a container that is gone");
    assert!(open(&warden, &next, &host, other).await);
    drop(listener);
}

#[tokio::test]
async fn allowed_networks_and_the_host_are_open_when_configured() {
    let pool = format!("10.251.{}.0/24", std::process::id() % 240);
    let warden =
        Warden::start_with(&format!("allow_networks = [{pool:?}]\nallow_host_access = true"), "").await;
    let (one, two) = (warden.container().await, warden.container().await);
    let host = warden.client.info(&one).await.unwrap().host_ip.unwrap();
    let listener = TcpListener::bind((host.as_str(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let accept =
        tokio::task::spawn_blocking(move || listener.accept().unwrap().0.write_all(b"host\n").unwrap());
    assert_eq!(warden.say(&one, &connect(&host, port)).await, "host");
    accept.await.unwrap();
    let neighbour = warden.client.info(&two).await.unwrap().container_ip.unwrap();
    let server = "import socket\ns=socket.create_server(('0.0.0.0',8080))\nprint('up',flush=True)\n\
                  while True:\n c,_=s.accept();c.sendall(b'inside\\n');c.close()";
    let job = warden.spawn(&two, &format!("exec python3 -c \"{server}\"")).await;
    warden.client.stream(&two, job, None).await.unwrap().next().await.unwrap();
    assert_eq!(warden.say(&one, &connect(&neighbour, 8080)).await, "inside");
}

#[tokio::test]
async fn the_rules_are_there_again_after_a_kill() {
    let mut warden = Warden::start().await;
    let outside = Outside::make(&[4000]);
    let handle = warden.container().await;
    warden.client.net_out(to(&handle, &outside.address, 4000)).await.unwrap();
    let ports = warden.client.net_in(&handle, None, None).await.unwrap();
    let before = warden.inventory();
    warden.kill();
    drop(output("nft", &["delete", "table", "inet", &format!("cupola_{}", warden.instance)]));
    warden.kill_and_restart().await;
    assert_eq!(warden.inventory(), before);
    warden.say(&handle, &connect(&outside.address, 4000)).await;
    let other = warden.container().await;
    let more = warden.client.net_in(&other, None, None).await.unwrap();
    assert_ne!(more.host_port, ports.host_port, "what was given out is not given again");
    eventually("both are there", async || warden.client.list().await.unwrap().len() == 2).await;
}
