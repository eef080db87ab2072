//! Real builds: they need root, mmdebstrap, and the host's package archive.

use rootfs::{Built, Error, Options, Progress, Recipe, Store, build};
use std::{fs, process::Command};

fn files(store: &Store) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(store.folder()).unwrap().map(name).collect();
    names.sort();
    names
}

/// What is mounted of this store. Others may mount and unmount on the same host meanwhile.
fn mounts(store: &Store) -> Vec<String> {
    let ours = store.folder().parent().unwrap().to_str().unwrap();
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.lines().filter(|line| line.contains(ours)).map(str::to_owned).collect()
}

#[test]
fn the_minimal_stack_is_built_once_and_holds_what_its_recipe_says() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(&data.path().join("stacks")).unwrap();
    let recipe = Recipe::named("minimal").unwrap();
    let mut phases = Vec::new();
    let built = build(&store, &recipe, &Options::default(), &mut |progress| {
        if let Progress::Phase { phase, .. } = progress {
            phases.push(phase.words());
        }
    });
    let Built::New(stack) = built.unwrap() else { panic!("the store was empty") };
    assert_eq!(phases.first(), Some(&"preparing"));
    assert_eq!(phases.last(), Some(&"storing"));
    assert_eq!(store.verify("minimal").unwrap(), stack);
    assert_eq!(files(&store).len(), 4, "lock, link, image, receipt: {:?}", files(&store));
    assert_eq!(mounts(&store), Vec::<String>::new());

    let receipt = store.show("minimal").unwrap();
    for name in ["bash", "busybox", "python3"] {
        assert!(receipt.packages.iter().any(|package| package.name == name), "{name} is not in the receipt");
    }

    // A mount namespace of its own, so that nothing is left to unmount.
    let script = format!(
        "set -e; mount -t tmpfs t /mnt; mkdir /mnt/s; mount -o loop,ro -t erofs {} /mnt/s; cd /mnt/s\n\
         grep -q '^vcap:x:1000:1000::/home/vcap:/bin/bash$' etc/passwd\n\
         test \"$(readlink app)\" = /home/vcap/app; test \"$(stat -c %u:%g home/vcap/app)\" = 1000:1000\n\
         test -z \"$(cat etc/resolv.conf)\"; test -z \"$(find . -xdev -type f -perm /6000)\"; test -z \"$(ls dev)\"\n\
         chroot . /usr/bin/env -i HOME=/home/vcap LANG=en_US.UTF-8 /usr/bin/python3 -c \
         'import json, http.server, locale; locale.setlocale(locale.LC_ALL, \"\")'",
        stack.path.display()
    );
    let status = Command::new("unshare").args(["--mount", "bash", "-c", &script]).status().unwrap();
    assert!(status.success(), "{status}");

    assert_eq!(
        build(&store, &recipe, &Options::default(), &mut |_| panic!("it was up to date")).unwrap(),
        Built::Present(stack)
    );
}

#[test]
fn a_failed_build_says_where_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(&data.path().join("stacks")).unwrap();
    let sources = data.path().join("empty.list");
    fs::write(&sources, "deb file:///nonexistent bookworm main\n").unwrap();
    let options = Options { force: false, sources: Some(sources) };
    let error = build(&store, &Recipe::named("minimal").unwrap(), &options, &mut |_| ()).unwrap_err();
    assert!(matches!(&error, Error::Build { phase: "fetching package lists", .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent"), "{error}");
    assert_eq!(files(&store), [".lock"]);
    assert_eq!(mounts(&store), Vec::<String>::new());
}
