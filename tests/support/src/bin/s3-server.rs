//! `s3-server`: an S3-compatible server on a directory, for platforms of several hosts in tests. Its folders are the
//! buckets; the credentials are the environment's `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.

use anyhow::{Context, Result};
use clap::Parser;
use std::{fs, net::SocketAddr, path::PathBuf};
use tokio::net::TcpListener;

#[derive(Parser)]
struct Arguments {
    /// Where it listens
    #[arg(long)]
    listen: SocketAddr,
    /// A bucket to make
    #[arg(long)]
    bucket: Option<String>,
    /// The key's id
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    id: String,
    /// The key
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret: String,
    /// The directory
    root: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let bucket = arguments.bucket.as_deref().unwrap_or_default();
    fs::create_dir_all(arguments.root.join(bucket)).context("make the directory")?;
    let listener = TcpListener::bind(arguments.listen).await.context("listen")?;
    testkit::serve_s3(listener, &arguments.root, &arguments.id, &arguments.secret).await
}
