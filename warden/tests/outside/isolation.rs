//! What a client's container is, seen from inside: that the daemon asks for all of it.

use crate::scene::Warden;

#[tokio::test]
async fn containers_have_their_own_users_and_nothing_of_the_hosts() {
    let warden = Warden::start().await;
    let (one, two) = (warden.container().await, warden.container().await);
    let map = "read -r _ base length </proc/self/uid_map; echo $base $length";
    let (first, second) = (warden.say(&one, map).await, warden.say(&two, map).await);
    assert!(first != second && first.ends_with(" 65536") && second.ends_with(" 65536"), "{first} {second}");
    let status = warden
        .say(&one, "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\n'")
        .await;
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    assert!(status.contains("CapBnd:\t0000000000000000"), "{status}");
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    // Init, this shell and what it runs; nobody else.
    let processes: u32 = warden.say(&one, "ls -d /proc/[0-9]* | wc -l").await.parse().unwrap();
    assert!(processes <= 5, "{processes}");
    assert_eq!(warden.say(&one, "ls /sys/class/net 2>/dev/null; grep : /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '").await, "eth0 lo");
    assert_eq!(warden.say(&one, "cat /proc/self/cgroup | grep -v ':/$' | wc -l").await, "0");
    assert!(
        !warden
            .say(&one, "cat /proc/self/mountinfo")
            .await
            .contains(&warden.path().join("data").display().to_string()),
        "no path of the host's data"
    );
}

#[tokio::test]
async fn devices_are_the_harmless_ones() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let script = "for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo no $d; done; \
                  for d in mem kmem kvm loop0 loop-control vda sda fuse net/tun; do [ -e /dev/$d ] && echo has $d; done; \
                  head -c 4 /dev/urandom | wc -c; echo x > /dev/null";
    assert_eq!(warden.say(&handle, script).await, "4");
}
