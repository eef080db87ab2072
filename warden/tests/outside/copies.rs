//! Files in and out, and bind mounts.

use crate::scene::Warden;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use warden_client::message::{BindMode, BindMount, CreateRequest};

fn tree(at: &Path) {
    fs::create_dir_all(at.join("sub")).unwrap();
    fs::write(at.join("sub/file"), "text").unwrap();
    fs::set_permissions(at.join("sub/file"), fs::Permissions::from_mode(0o741)).unwrap();
    fs::hard_link(at.join("sub/file"), at.join("again")).unwrap();
    symlink("/nowhere", at.join("link")).unwrap();
}

#[tokio::test]
async fn copies_keep_modes_and_links() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let from = warden.path().join("tree");
    tree(&from);
    let from = from.display().to_string();
    warden.client.copy_in(&handle, &from, "/tmp/in").await.unwrap();
    warden.client.copy_in(&handle, &format!("{from}/"), "/tmp/contents").await.unwrap();
    for base in ["/tmp/in/tree", "/tmp/contents"] {
        let script = format!("cd {base}; stat -c '%a %U %h' sub/file again; readlink link; cat again");
        assert_eq!(warden.say(&handle, &script).await, "741 vcap 1\n741 vcap 1\n/nowhere\ntext");
    }
    warden.client.copy_in(&handle, &format!("{from}/again"), "/tmp/single").await.unwrap();
    assert_eq!(warden.say(&handle, "cat /tmp/single").await, "text");

    let to = warden.path().join("out");
    fs::create_dir(&to).unwrap();
    let out = to.display().to_string();
    warden.client.copy_out(&handle, "/tmp/in/tree", &out, None).await.unwrap();
    warden.client.copy_out(&handle, "/tmp/in/tree/", &out, Some("12:34")).await.unwrap();
    warden.client.copy_out(&handle, "/tmp/single", &format!("{out}/renamed"), None).await.unwrap();
    for (base, owner) in [(to.join("tree"), (0, 0)), (to.clone(), (12, 34))] {
        let file = fs::metadata(base.join("sub/file")).unwrap();
        assert_eq!(file.mode() & 0o7777, 0o741);
        assert_eq!((file.uid(), file.gid()), owner);
        assert_eq!(fs::metadata(base.join("again")).unwrap().nlink(), 1);
        assert_eq!(fs::read_link(base.join("link")).unwrap(), Path::new("/nowhere"));
    }
    assert_eq!(fs::read_to_string(to.join("renamed")).unwrap(), "text");
}

#[tokio::test]
async fn a_copy_does_not_follow_links_of_the_container() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let victim = warden.path().join("victim");
    fs::write(&victim, "host").unwrap();
    let path = victim.display().to_string();
    // A link to a file of the host, as the container sees it, leads nowhere: not for reading, not for writing.
    warden.say(&handle, &format!("ln -s {path} /tmp/link; mkdir /tmp/dir; ln -s / /tmp/dir/up")).await;
    let to = warden.path().join("out");
    fs::create_dir(&to).unwrap();
    warden.client.copy_out(&handle, "/tmp/link", &format!("{}/copy", to.display()), None).await.unwrap();
    assert!(fs::symlink_metadata(to.join("copy")).unwrap().is_symlink());
    warden.client.copy_out(&handle, "/tmp/dir/", &to.display().to_string(), None).await.unwrap();
    assert!(fs::symlink_metadata(to.join("up")).unwrap().is_symlink());
    fs::write(warden.path().join("new"), "other").unwrap();
    let _ =
        warden.client.copy_in(&handle, &warden.path().join("new").display().to_string(), "/tmp/link").await;
    assert_eq!(fs::read_to_string(&victim).unwrap(), "host");
}

#[tokio::test]
async fn copies_that_cannot_be_are_refused() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let error = warden.client.copy_in(&handle, "/no/such/file", "/tmp").await.unwrap_err();
    assert!(error.to_string().contains("/no/such/file"), "{error}");
    let source = warden.path().join("warden.toml").display().to_string();
    let error = warden.client.copy_in(&handle, &source, "/usr/x").await.unwrap_err();
    assert!(error.to_string().contains("cannot copy into the container"), "{error}");
    let to = warden.path().display().to_string();
    let error = warden.client.copy_out(&handle, "/no/such/file", &to, None).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/file"), "{error}");
}

#[tokio::test]
async fn bind_mounts_are_read_only_or_not() {
    let warden = Warden::start().await;
    let shared = warden.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "host").unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    let source = shared.display().to_string();
    let handle = warden
        .create(CreateRequest {
            bind_mounts: vec![
                BindMount::new(&source, "/mnt/ro", BindMode::Ro),
                BindMount::new(&source, "/mnt/rw", BindMode::Rw),
                BindMount::new(format!("{source}/file"), "/mnt/one", BindMode::Ro),
            ],
            ..Default::default()
        })
        .await;
    assert_eq!(warden.say(&handle, "cat /mnt/ro/file /mnt/rw/file /mnt/one").await, "hosthosthost");
    assert_ne!(warden.run(&handle, "touch /mnt/ro/new").await.exit_status, Some(0));
    warden.say(&handle, "echo inside > /mnt/rw/new").await;
    assert_eq!(fs::read_to_string(shared.join("new")).unwrap(), "inside\n");
    warden.client.destroy(&handle).await.unwrap();
    assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "host");
}

#[tokio::test]
async fn a_volume_belongs_to_its_owner_whatever_container_has_it() {
    let warden = Warden::start().await;
    let volume = warden.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let request = CreateRequest {
        bind_mounts: vec![BindMount::volume(volume.display().to_string(), "/volume")],
        ..Default::default()
    };
    let (one, two) = (warden.create(request.clone()).await, warden.create(request).await);
    warden.say(&one, "mkdir -m 700 /volume/d && echo one > /volume/d/f && chmod 600 /volume/d/f").await;
    assert_eq!(
        warden.say(&two, "cat /volume/d/f; stat -c %U:%G /volume/d/f; id -un").await,
        "one\nvcap:vcap\nvcap"
    );
    let found = fs::metadata(volume.join("d/f")).unwrap();
    let owner = fs::metadata(&volume).unwrap();
    assert_eq!((found.uid(), found.gid()), (owner.uid(), owner.gid()), "on the host it is the owner's");
    // Root of the container is nobody there: nothing on the host is made in another's name.
    let root = |script: &str| warden_client::message::RunRequest {
        handle: one.clone(),
        script: script.into(),
        privileged: Some(true),
        ..Default::default()
    };
    for script in
        ["touch /volume/root", "chown 0:0 /volume/d/f", "cp /bin/true /volume/d/x && chown 0 /volume/d/x"]
    {
        assert_ne!(warden.client.run(root(script)).await.unwrap().exit_status, Some(0), "{script}");
    }
    assert!(!volume.join("root").exists());
    warden.client.destroy(&one).await.unwrap();
    warden.client.destroy(&two).await.unwrap();
    assert_eq!(fs::read_to_string(volume.join("d/f")).unwrap(), "one\n", "it outlives its containers");
}

#[tokio::test]
async fn a_volume_of_somebody_else_is_refused() {
    let warden = Warden::start().await;
    let volume = warden.path().join("volume");
    fs::create_dir(&volume).unwrap();
    std::os::unix::fs::chown(&volume, Some(12_345), None).unwrap();
    let file = warden.path().join("file");
    fs::write(&file, "").unwrap();
    for source in [volume, file] {
        let mut request = CreateRequest::default();
        request.bind_mounts.push(BindMount::volume(source.display().to_string(), "/volume"));
        let error = warden.client.create(request).await.unwrap_err();
        assert!(error.to_string().contains("not a directory of the client's own"), "{error}");
    }
    assert!(warden.client.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_layer_is_seen_over_the_root() {
    let warden = Warden::start().await;
    let layer = warden.path().join("layer");
    fs::create_dir_all(layer.join("srv")).unwrap();
    fs::write(layer.join("srv/file"), "layer").unwrap();
    let request = CreateRequest { layers: vec![layer.display().to_string()], ..Default::default() };
    let (one, two) = (warden.create(request.clone()).await, warden.create(request).await);
    let root = warden_client::message::RunRequest {
        handle: one.clone(),
        script: "echo changed > /srv/file".into(),
        privileged: Some(true),
        ..Default::default()
    };
    assert_eq!(warden.client.run(root).await.unwrap().exit_status, Some(0));
    assert_eq!(warden.say(&one, "cat /srv/file").await, "changed");
    assert_eq!(warden.say(&two, "cat /srv/file").await, "layer");
    assert_eq!(fs::read_to_string(layer.join("srv/file")).unwrap(), "layer");
}
