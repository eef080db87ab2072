//! Tar streams into and out of a container.

use crate::container::{Container, container};
use nix::unistd::pipe;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use tar::{Archive, Builder, EntryType, Header};
use warden::wire::{Failure, JobUser};

/// Entries of an archive: name, kind, mode, contents or target.
type Row<'a> = (&'a str, EntryType, u32, &'a str);

fn archive(rows: &[Row<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, mode, text) in rows {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        let bytes = name.as_bytes();
        // By hand: the crate would refuse the names that matter here.
        header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes);
        let mut contents = text.as_bytes();
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.as_old_mut().linkname[..contents.len()].copy_from_slice(contents);
            contents = b"";
        }
        header.set_size(contents.len() as u64);
        header.set_cksum();
        builder.append(&header, contents).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpack(container: &Container, target: &str, user: JobUser, bytes: &[u8]) -> Result<(), Failure> {
    let (reading, writing) = pipe().unwrap();
    let transfer = container.client.unpack(Path::new(target), user, reading).unwrap();
    // Refused half-way, the reader is gone: the answer says why.
    let _ = File::from(writing).write_all(bytes);
    transfer.finish()
}

fn pack(container: &Container, path: &str) -> Result<BTreeMap<PathBuf, (EntryType, String)>, Failure> {
    let (reading, writing) = pipe().unwrap();
    let transfer = container.client.pack(Path::new(path), JobUser::Vcap, writing).unwrap();
    let mut bytes = Vec::new();
    File::from(reading).read_to_end(&mut bytes).unwrap();
    transfer.finish()?;
    let mut found = BTreeMap::new();
    for entry in Archive::new(&bytes[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let (name, kind) = (entry.path().unwrap().into_owned(), entry.header().entry_type());
        let mut text = entry.link_name().unwrap().map_or(String::new(), |link| link.display().to_string());
        entry.read_to_string(&mut text).unwrap();
        found.insert(name, (kind, text));
    }
    Ok(found)
}

#[test]
fn a_tree_goes_in_and_comes_out() {
    let container = container();
    let bytes = archive(&[
        ("app/", EntryType::Directory, 0o750, ""),
        ("app/run.sh", EntryType::Regular, 0o4755, "#!/bin/sh\necho hello\n"),
        ("app/link", EntryType::Symlink, 0o777, "run.sh"),
        ("app/fifo", EntryType::Fifo, 0o600, ""),
        ("app/closed/", EntryType::Directory, 0o500, ""),
        ("app/closed/file", EntryType::Regular, 0o400, "x"),
    ]);
    unpack(&container, "/home/vcap/in", JobUser::Vcap, &bytes).unwrap();
    let (out, err, _) = container
        .sh(JobUser::Vcap, "cd /home/vcap/in/app; ./link; stat -c '%n %a %u' run.sh closed closed/file; ls");
    assert_eq!(
        out, "hello\nrun.sh 755 1000\nclosed 500 1000\nclosed/file 400 1000\nclosed\nlink\nrun.sh\n",
        "{err}"
    );
    let out = pack(&container, "/home/vcap/in/app").unwrap();
    assert_eq!(out[Path::new("app/run.sh")], (EntryType::Regular, "#!/bin/sh\necho hello\n".into()));
    assert_eq!(out[Path::new("app/link")], (EntryType::Symlink, "run.sh".into()));
    assert_eq!(out.len(), 5);
    let contents = pack(&container, "/home/vcap/in/app/").unwrap();
    assert!(
        contents.contains_key(Path::new("./run.sh")) || contents.contains_key(Path::new("run.sh")),
        "{contents:?}"
    );
}

#[test]
fn a_single_file_follows_rsyncs_rule() {
    let container = container();
    let bytes = archive(&[("name", EntryType::Regular, 0o644, "text")]);
    for target in ["/home/vcap/renamed", "/home/vcap/new/", "/home/vcap/new"] {
        unpack(&container, target, JobUser::Vcap, &bytes).unwrap();
    }
    assert_eq!(container.sh(JobUser::Vcap, "cat /home/vcap/renamed /home/vcap/new/name").0, "texttext");
}

#[test]
fn hostile_archives_write_nowhere_else() {
    let container = container();
    container.sh(JobUser::Vcap, "mkdir /home/vcap/victim /home/vcap/target");
    let bytes = archive(&[
        ("./", EntryType::Directory, 0o755, ""),
        ("../victim/parent", EntryType::Regular, 0o644, "x"),
        ("/home/vcap/victim/absolute", EntryType::Regular, 0o644, "x"),
        ("device", EntryType::Char, 0o666, ""),
        ("good", EntryType::Regular, 0o644, "x"),
    ]);
    let _ = unpack(&container, "/home/vcap/target", JobUser::Vcap, &bytes);
    let through = archive(&[
        ("./", EntryType::Directory, 0o755, ""),
        ("link", EntryType::Symlink, 0o777, "/home/vcap/victim"),
        ("link/through", EntryType::Regular, 0o644, "x"),
    ]);
    assert!(unpack(&container, "/home/vcap/target", JobUser::Vcap, &through).is_err());
    assert_eq!(container.sh(JobUser::Vcap, "ls /home/vcap/victim").0, "");
    let (out, _, _) = container.sh(JobUser::Vcap, "ls /home/vcap/target; test -e /home/vcap/target/device");
    assert!(out.contains("good") && !out.contains("device"), "{out}");
}

#[test]
fn the_ordinary_user_cannot_be_given_more() {
    let container = container();
    let bytes = archive(&[("passwd", EntryType::Regular, 0o644, "evil")]);
    let failure = unpack(&container, "/etc", JobUser::Vcap, &bytes).unwrap_err();
    assert_eq!(failure.step, "unpack");
    assert!(!container.sh(JobUser::Vcap, "cat /etc/passwd").0.contains("evil"));
    container.sh(JobUser::Root, "echo secret > /home/vcap/secret; chmod 600 /home/vcap/secret");
    assert!(pack(&container, "/home/vcap/secret").is_err());
    assert_eq!(pack(&container, "/home/vcap/none").unwrap_err().errno, nix::errno::Errno::ENOENT as i32);
}

#[test]
fn a_path_through_the_inits_descriptors_leads_nowhere() {
    let container = container();
    for fd in 3..20 {
        let (reading, writing) = pipe().unwrap();
        let path = format!("/proc/self/fd/{fd}/");
        let transfer = container.client.pack(Path::new(&path), JobUser::Root, writing).unwrap();
        File::from(reading).read_to_end(&mut Vec::new()).unwrap();
        assert!(transfer.finish().is_err(), "{path} was packed");
    }
}
