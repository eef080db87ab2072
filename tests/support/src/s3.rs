//! A real S3-compatible server for one test: `s3s-fs`, which checks signatures and keeps objects in a directory.

use anyhow::{Context, Result};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The key that the server of a test knows.
const KEY: (&str, &str) = ("cupola", "not+a/secret=");
/// Its bucket.
const BUCKET: &str = "blobs";

/// An S3-compatible server on a free port of the loopback, with an empty bucket. It ends when dropped.
pub struct S3Server {
    address: SocketAddr,
    directory: TempDir,
    stop: Option<DropGuard>,
}

impl S3Server {
    /// Starts one. Panics when it cannot: a test cannot go on without it.
    pub async fn start() -> Self {
        let directory = TempDir::new().expect("make a directory for the S3 server");
        let credentials =
            format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", KEY.0, KEY.1);
        fs::write(directory.path().join("credentials"), credentials).expect("write the S3 credentials");
        let root = directory.path().join("objects");
        fs::create_dir_all(root.join(BUCKET)).expect("make the bucket");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen for the S3 server");
        let address = listener.local_addr().expect("the S3 server has an address");
        let mut server = Self { address, directory, stop: None };
        server.run(listener);
        server
    }

    fn run(&mut self, listener: TcpListener) {
        let stop = CancellationToken::new();
        let root = self.directory.path().join("objects");
        let token = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                served = serve(listener, &root, KEY.0, KEY.1) => served.expect("the S3 server serves"),
            }
        });
        self.stop = Some(stop.drop_guard());
    }

    /// Stops it; connections are cut, objects kept.
    pub fn stop(&mut self) {
        self.stop = None;
    }

    /// Starts it again at the same address.
    pub async fn start_again(&mut self) {
        let listener = crate::eventually(std::time::Duration::from_secs(20), async || {
            TcpListener::bind(self.address).await
        });
        let listener = listener.await;
        self.run(listener);
    }

    /// Where its bucket is, as the controller's configuration spells it.
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}/platform?endpoint=http://{}", self.address)
    }

    /// The file with its credentials.
    pub fn credentials_file(&self) -> PathBuf {
        self.directory.path().join("credentials")
    }

    /// Everything in the bucket, as files.
    pub fn objects(&self) -> PathBuf {
        self.directory.path().join("objects").join(BUCKET)
    }
}

/// Serves S3 from a directory, whose folders are the buckets, until dropped.
///
/// # Errors
/// When the directory cannot be used.
pub async fn serve(listener: TcpListener, root: &Path, id: &str, secret: &str) -> Result<()> {
    let files = FileSystem::new(root)
        .map_err(|error| anyhow::anyhow!("{error:?}"))
        .with_context(|| format!("use the directory {}", root.display()))?;
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(id, secret));
    let service = service.build();
    // Dropped with this future: then every connection is cut.
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = tokio::select! {
            accepted = listener.accept() => accepted.context("accept a connection")?,
            Some(_) = connections.join_next() => continue,
        };
        let service = service.clone();
        connections.spawn(async move {
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
