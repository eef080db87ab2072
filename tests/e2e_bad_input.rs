//! Whatever goes wrong, the developer or operator gets one clear message with what to do, the command fails, and
//! nothing is left.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::Path,
    process::Command,
};
use testkit::{Platform, Said, inventory};

const CUPOLA: &str = env!("CARGO_BIN_EXE_cupola");

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a file can be written");
}

/// A zip with one entry of any name: by hand, since well-behaved tools refuse to make one.
fn zip(path: &Path, name: &str) {
    let file = fs::File::create(path).expect("a file can be made");
    let content = b"x";
    let crc: u32 = 0x8cdc_1683; // CRC-32 of "x"
    let mut local = Vec::new();
    local.extend(b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0");
    local.extend(crc.to_le_bytes());
    local.extend(1u32.to_le_bytes());
    local.extend(1u32.to_le_bytes());
    local.extend((name.len() as u16).to_le_bytes());
    local.extend(0u16.to_le_bytes());
    local.extend(name.as_bytes());
    local.extend(content);
    let mut central = Vec::new();
    central.extend(b"PK\x01\x02\x14\x03\x14\0\0\0\0\0\0\0\x21\0");
    central.extend(crc.to_le_bytes());
    central.extend(1u32.to_le_bytes());
    central.extend(1u32.to_le_bytes());
    central.extend((name.len() as u16).to_le_bytes());
    central.extend([0; 8]);
    central.extend((0o100_644u32 << 16).to_le_bytes());
    central.extend(0u32.to_le_bytes());
    central.extend(name.as_bytes());
    let mut end = Vec::new();
    end.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    end.extend((central.len() as u32).to_le_bytes());
    end.extend((local.len() as u32).to_le_bytes());
    end.extend(0u16.to_le_bytes());
    let mut file = file;
    for part in [local, central, end] {
        file.write_all(&part).expect("the zip is written");
    }
}

#[test]
fn a_push_that_cannot_work_says_why_and_leaves_nothing() {
    let platform = Platform::start(CUPOLA);
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apps/binary");
    platform.warm_up(&known.display().to_string());
    let before = platform.settled_inventory();
    let clean = |case: &str| {
        println!("case: {case}");
        platform.cupola(&["delete", "bad", "-f", "-r"]);
        before.assert_no_difference();
    };

    let folder = platform.scratch("no-buildpack");
    write(&folder, "readme.txt", "nothing that anybody knows how to run");
    platform
        .cupola(&["push", "bad", "-p", &folder.display().to_string()])
        .refused(&["buildpack", "Procfile"]);
    clean("no buildpack matches");

    let folder = platform.scratch("empty");
    platform.cupola(&["push", "bad", "-p", &folder.display().to_string()]).refused(&["empty"]);
    clean("the directory is empty");

    for name in ["../outside", "/etc/outside", "a/../../outside"] {
        let path = platform.scratch("zips").join("bad.zip");
        zip(&path, name);
        platform.cupola(&["push", "bad", "-p", &path.display().to_string()]).refused(&["outside"]);
        clean("a zip that leads out");
    }

    let folder = platform.scratch("link");
    write(&folder, "index.html", "hello");
    symlink("/etc/passwd", folder.join("secret")).expect("a link can be made");
    platform.cupola(&["push", "bad", "-p", &folder.display().to_string()]).refused(&["secret"]);
    clean("a link that leads out");

    let folder = platform.scratch("silent");
    write(&folder, "Procfile", "web: sleep 600\n");
    platform
        .cupola(&["push", "bad", "-p", &folder.display().to_string(), "-m", "64M", "-t", "3"])
        .refused(&["port"]);
    clean("the app never binds its port");

    let folder = platform.scratch("large");
    write(&folder, "Procfile", "web: sleep 600\n");
    let mut random = fs::File::open("/dev/urandom").expect("/dev/urandom");
    let mut large = fs::File::create(folder.join("large")).expect("a file");
    std::io::copy(&mut std::io::Read::take(&mut random, 24 << 20), &mut large).expect("24 MiB are written");
    platform
        .cupola(&["push", "bad", "-p", &folder.display().to_string(), "-m", "64M", "-k", "8M"])
        .refused(&["disk"]);
    clean("the app is larger than its disk");

    let folder = platform.scratch("greedy");
    write(&folder, "Procfile", "web: sleep 600\n");
    platform
        .cupola(&["push", "bad", "-p", &folder.display().to_string(), "-m", "9000G"])
        .refused(&["memory"]);
    clean("more memory than any node has");

    for command in [
        &["app", "nobody"][..],
        &["logs", "nobody", "--recent"],
        &["scale", "nobody", "-i", "2"],
        &["stop", "nobody"],
    ] {
        platform.cupola(command).refused(&["nobody"]);
    }
}

fn run(arguments: &[&str]) -> Said {
    Command::new(CUPOLA).args(arguments).output().expect("cupola runs").into()
}

#[test]
fn a_platform_that_cannot_come_up_says_why_and_leaves_nothing() {
    let before = inventory(Vec::new());

    // A port is taken.
    let platform = Platform::prepare(CUPOLA, "").expect("a platform can be prepared");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let config = platform.config();
    run(&["up", "--detach", "--config", &config, "--router-port", &port]).refused(&[
        &port,
        "taken",
        "--router-port",
    ]);

    // The stack is missing.
    let missing = Platform::prepare(CUPOLA, "").expect("a platform can be prepared");
    fs::remove_dir_all(missing.data().join("stacks")).expect("the stacks can be taken away");
    missing.try_up().refused(&["stack", "cupola stack build"]);

    // NATS cannot be reached.
    let nowhere = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    run(&["up", "--detach", "--config", &config, "--nats", &format!("nats://{nowhere}")]).refused(&["NATS"]);

    // Not root.
    as_nobody(&["up"]).refused(&["root"]);

    // An unknown key.
    fs::write(platform.scratch("wrong").join("cupola.toml"), "[router]\nlisten_adress = \"x\"\n")
        .expect("a file");
    let wrong = platform.scratch("wrong").join("cupola.toml").display().to_string();
    run(&["up", "--config", &wrong]).refused(&["router", "listen_adress"]);

    drop((platform, missing));
    before.assert_no_difference();
}

/// Runs the command as nobody, from a copy that nobody can reach.
fn as_nobody(arguments: &[&str]) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("permissions");
    let copy = folder.path().join("cupola");
    fs::copy(CUPOLA, &copy).expect("a copy");
    Command::new(&copy).args(arguments).uid(65534).gid(65534).output().expect("cupola runs").into()
}
