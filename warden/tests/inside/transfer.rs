//! Tar streams into and out of a container.

use crate::container::{Container, container};
use nix::errno::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use tar::{Archive, Builder, EntryType, Header};
use warden::init::client::RunError;
use warden::wire::JobUser;

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(1_000_000_000);
    header
}

/// Sends a stream; the result of the transfer.
fn unpack(container: &Container, dir: &str, user: JobUser, tar: &[u8]) -> Result<(), RunError> {
    let (reading, writing) = nix::unistd::pipe().unwrap();
    let transfer = container.client.unpack(Path::new(dir), user, reading)?;
    // A worker that gives up closes the pipe: its answer says why.
    let _ = File::from(writing).write_all(tar);
    transfer.finish()
}

fn pack(container: &Container, path: &str, user: JobUser) -> Result<Vec<u8>, RunError> {
    let (reading, writing) = nix::unistd::pipe().unwrap();
    let transfer = container.client.pack(Path::new(path), user, writing)?;
    let mut tar = Vec::new();
    File::from(reading).read_to_end(&mut tar).unwrap();
    transfer.finish().map(|()| tar)
}

fn tree() -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    builder.append_data(&mut header(EntryType::Directory, 0o755, 0), "./", &b""[..]).unwrap();
    builder.append_data(&mut header(EntryType::Directory, 0o555, 0), "./bin", &b""[..]).unwrap();
    builder.append_data(&mut header(EntryType::Regular, 0o6755, 3), "./bin/run", &b"abc"[..]).unwrap();
    builder.append_link(&mut header(EntryType::Symlink, 0o777, 0), "./link", "bin/run").unwrap();
    builder.append_link(&mut header(EntryType::Link, 0o755, 0), "./hard", "./bin/run").unwrap();
    builder.append_data(&mut header(EntryType::Fifo, 0o644, 0), "./pipe", &b""[..]).unwrap();
    builder.append_data(&mut header(EntryType::Char, 0o644, 0), "./device", &b""[..]).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn a_tree_goes_in() {
    let container = container();
    unpack(&container, "/home/vcap/app", JobUser::Vcap, &tree()).unwrap();
    let script =
        "cd /home/vcap/app; stat -c '%n %a %u %F' bin bin/run hard; readlink link; ls; stat -c %Y bin/run";
    let expected = "bin 555 1000 directory\nbin/run 755 1000 regular file\nhard 755 1000 regular file\nbin/run\n\
        bin\nhard\nlink\n1000000000\n";
    assert_eq!(container.sh(JobUser::Vcap, script).0, expected);
}

#[test]
fn a_tree_comes_out() {
    let container = container();
    let script = "mkdir -p /home/vcap/o/sub; cd /home/vcap/o; echo hi > sub/f; chmod 640 sub/f; ln -s sub/f l; mkfifo p; \
        ln sub/f h; head -c 300000 /dev/zero > big";
    container.sh(JobUser::Vcap, script);
    for (path, first) in [("/home/vcap/o", "o"), ("/home/vcap/o/", "./")] {
        let tar = pack(&container, path, JobUser::Vcap).unwrap();
        let mut archive = Archive::new(&tar[..]);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            let (kind, mode) = (entry.header().entry_type(), entry.header().mode().unwrap());
            let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
            let link = entry.link_name().unwrap().map(|link| link.display().to_string()).unwrap_or_default();
            entry.read_to_string(&mut text).unwrap();
            found.push((path, kind, mode & 0o777, link, text.len()));
        }
        let prefix = first.trim_end_matches('/');
        let name = |name: &str| if prefix == "." { name.to_owned() } else { format!("{prefix}/{name}") };
        let normal: Vec<_> = found
            .into_iter()
            .map(|(path, kind, mode, link, size)| {
                (path.trim_start_matches("./").to_owned(), kind, mode, link, size)
            })
            .collect();
        assert_eq!(normal[0].0, prefix);
        let expected = [
            (name("big"), EntryType::Regular, 0o644, String::new(), 300_000),
            (name("h"), EntryType::Regular, 0o640, String::new(), 3),
            (name("l"), EntryType::Symlink, 0o777, "sub/f".to_owned(), 0),
            (name("sub"), EntryType::Directory, 0o755, String::new(), 0),
            (name("sub/f"), EntryType::Regular, 0o640, String::new(), 3),
        ];
        assert_eq!(normal[1..], expected, "{path}");
    }
}

#[test]
fn a_single_file_becomes_or_enters_its_target() {
    let container = container();
    let mut builder = Builder::new(Vec::new());
    builder.append_data(&mut header(EntryType::Regular, 0o644, 2), "file", &b"ok"[..]).unwrap();
    let tar = builder.into_inner().unwrap();
    for target in ["/home/vcap/named", "/home/vcap/dir/", "/home/vcap"] {
        unpack(&container, target, JobUser::Vcap, &tar).unwrap();
    }
    assert_eq!(container.sh(JobUser::Vcap, "cd; cat named dir/file file").0, "okokok");
}

#[test]
fn names_do_not_lead_out_of_the_target() {
    let container = container();
    let mut builder = Builder::new(Vec::new());
    builder.append_data(&mut header(EntryType::Directory, 0o755, 0), "./", &b""[..]).unwrap();
    for name in ["../escaped", "/etc/absolute", "a/../../escaped-too"] {
        let mut header = header(EntryType::Regular, 0o644, 1);
        // As a hostile packer writes it: the crate's own check would refuse these names.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, &b"x"[..]).unwrap();
    }
    builder.append_link(&mut header(EntryType::Symlink, 0o777, 0), "out", "/tmp").unwrap();
    builder.append_data(&mut header(EntryType::Regular, 0o644, 1), "out/through", &b"x"[..]).unwrap();
    let tar = builder.into_inner().unwrap();
    let _ = unpack(&container, "/home/vcap/in", JobUser::Root, &tar);
    let script = "ls -d /home/vcap/escaped* /etc/absolute /tmp/through 2>/dev/null; true";
    assert_eq!(container.sh(JobUser::Root, script).0, "");
}

#[test]
fn a_transfer_does_what_its_user_may() {
    let container = container();
    let failure = unpack(&container, "/etc/app", JobUser::Vcap, &tree()).unwrap_err();
    assert_eq!((failure.step.as_str(), failure.errno), ("unpack", Errno::EACCES as i32));
    unpack(&container, "/etc/app", JobUser::Root, &tree()).unwrap();
    container.sh(JobUser::Root, "echo secret > /etc/secret; chmod 600 /etc/secret");
    assert_eq!(pack(&container, "/etc/secret", JobUser::Vcap).unwrap_err().errno, Errno::EACCES as i32);
    assert!(pack(&container, "/etc/secret", JobUser::Root).is_ok());
    assert_eq!(pack(&container, "/no/such", JobUser::Root).unwrap_err().errno, Errno::ENOENT as i32);
}

#[test]
fn a_broken_stream_is_an_error() {
    let container = container();
    let tar = tree();
    assert!(unpack(&container, "/home/vcap/a", JobUser::Vcap, &tar[..700]).is_err());
    assert!(unpack(&container, "/home/vcap/b", JobUser::Vcap, &[7; 5000]).is_err());
    assert_eq!(container.sh(JobUser::Vcap, "echo alive").0, "alive\n");
}
