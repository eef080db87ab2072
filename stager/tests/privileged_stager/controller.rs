//! The part of a controller that a stager meets: packages to fetch, droplets and caches to take.

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
};
use zip::{ZipWriter, write::SimpleFileOptions};

/// A package: a zip, or what claims to be one.
pub(crate) struct Package(Vec<u8>);

impl Package {
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(name, text)| (name.to_string(), text.as_bytes().to_vec(), 0o644));
        Self::zip(files.collect())
    }

    /// One of the apps in `tests/fixtures`.
    pub(crate) fn of_fixture(name: &str) -> Self {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/apps").join(name);
        let files = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().map(Result::unwrap);
        let entry = |file: walkdir::DirEntry| {
            let path = file.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            (path, std::fs::read(file.path()).unwrap(), file.metadata().unwrap().permissions().mode() & 0o777)
        };
        Self::zip(files.filter(|file| file.file_type().is_file()).map(entry).collect())
    }

    fn zip(files: Vec<(String, Vec<u8>, u32)>) -> Self {
        let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let time = zip::DateTime::from_date_and_time(2025, 1, 2, 3, 4, 6).unwrap();
        for (name, content, mode) in files {
            let options = SimpleFileOptions::default().unix_permissions(mode).last_modified_time(time);
            zip.start_file(name, options).unwrap();
            zip.write_all(&content).unwrap();
        }
        Self(zip.finish().unwrap().into_inner())
    }
}

/// A droplet that was uploaded.
pub(crate) struct Droplet {
    pub(crate) claimed_sha256: String,
    pub(crate) bytes: Bytes,
}

impl Droplet {
    pub(crate) fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.bytes))
    }

    pub(crate) fn files(&self) -> Vec<String> {
        self.entries(|_| ()).into_iter().map(|(name, ())| name).collect()
    }

    pub(crate) fn read(&self, wanted: &str) -> Vec<u8> {
        let read = |entry: &mut dyn Read| {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            content
        };
        self.entries(read).into_iter().find(|(name, _)| name == wanted).expect("the file is there").1
    }

    fn entries<T>(&self, read: impl Fn(&mut dyn Read) -> T) -> Vec<(String, T)> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&self.bytes[..]));
        let entries = archive.entries().unwrap().map(Result::unwrap);
        let name = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        entries.map(|mut entry| (name(&entry.path_bytes()), read(&mut entry))).collect()
    }
}

#[derive(Default)]
struct Blobs {
    packages: BTreeMap<String, Bytes>,
    droplets: Vec<Droplet>,
    cache: Option<Bytes>,
}

/// The server.
pub(crate) struct Controller {
    address: SocketAddr,
    blobs: Arc<Mutex<Blobs>>,
}

impl Controller {
    pub(crate) async fn start() -> Self {
        let blobs = Arc::new(Mutex::new(Blobs::default()));
        let droplet = async |State(blobs): State<Arc<Mutex<Blobs>>>, headers: HeaderMap, bytes: Bytes| {
            let claimed_sha256 = headers["x-droplet-sha256"].to_str().unwrap().to_owned();
            blobs.lock().unwrap().droplets.push(Droplet { claimed_sha256, bytes });
            StatusCode::CREATED
        };
        let package = async |State(blobs): State<Arc<Mutex<Blobs>>>, Path(name): Path<String>| {
            blobs.lock().unwrap().packages.get(&name).cloned().ok_or(StatusCode::NOT_FOUND)
        };
        let cache = async |State(blobs): State<Arc<Mutex<Blobs>>>| {
            blobs.lock().unwrap().cache.clone().ok_or(StatusCode::NOT_FOUND)
        };
        let keep = async |State(blobs): State<Arc<Mutex<Blobs>>>, bytes: Bytes| {
            blobs.lock().unwrap().cache = Some(bytes);
            StatusCode::CREATED
        };
        let routes = Router::new()
            .route("/packages/{name}", get(package))
            .route("/droplet", axum::routing::post(droplet))
            .route("/cache", get(cache).post(keep))
            .layer(DefaultBodyLimit::disable())
            .with_state(blobs.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, blobs }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://stager:secret@{}{path}", self.address)
    }

    /// Gives the address at which the package is now found.
    pub(crate) fn offer(&self, package: &Package) -> String {
        let mut blobs = self.blobs.lock().unwrap();
        let name = blobs.packages.len().to_string();
        blobs.packages.insert(name.clone(), package.0.clone().into());
        self.url(&format!("/packages/{name}"))
    }

    pub(crate) fn take_droplet(&self) -> Droplet {
        self.blobs.lock().unwrap().droplets.pop().expect("a droplet was uploaded")
    }

    pub(crate) fn cache_bytes(&self) -> usize {
        self.blobs.lock().unwrap().cache.as_ref().map_or(0, Bytes::len)
    }
}
