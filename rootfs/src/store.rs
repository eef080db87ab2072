//! Where stacks lie:
//!
//! ```text
//! <stacks>/<sha256>.erofs   an image
//!          <sha256>.json    its receipt
//!          <name>           a link to the image that now has this name
//! ```
//!
//! A link is exchanged by renaming, and an image appears under its final name complete or not at all. An image
//! that is mounted stays usable after it was deleted: the kernel holds the file until the last container goes.

use crate::{Error, Recipe};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{ErrorKind, Read},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// The stacks of one directory.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// One stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// The name that apps ask for.
    pub name: String,
    /// Hex SHA-256 of the image.
    pub digest: String,
    /// The image, an EROFS filesystem.
    pub path: PathBuf,
}

/// One line of a list of stacks.
#[derive(Debug)]
pub struct Entry {
    /// The stack's name.
    pub name: String,
    /// The stack, or what is wrong with it.
    pub stack: Result<Stack, Error>,
}

/// What is known about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The name under which it was built.
    pub name: String,
    /// The recipe.
    pub recipe: String,
    /// Digest of the recipe and the build script as they were.
    pub recipe_digest: String,
    /// Hex SHA-256 of the image.
    pub sha256: String,
    /// Size of the image.
    pub bytes: u64,
    /// When it was built, in seconds since 1970.
    pub created: u64,
    /// How long it took, in seconds.
    pub build_seconds: u64,
    /// What is installed in it.
    pub packages: Vec<Package>,
}

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, in Debian's syntax.
    pub version: String,
    /// Its architecture, in Debian's words.
    pub architecture: String,
}

/// What a deletion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// Bytes that were freed: 0 when another name still has the image.
    pub bytes: u64,
}

impl Store {
    /// The store in this directory, which is made when it is missing.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The directory that holds everything.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The stack of this name. Its size is checked, its digest is not: that takes seconds, see [`Store::verify`].
    pub fn find(&self, name: &str) -> Result<Stack, Error> {
        check_name(name)?;
        let target = match fs::read_link(self.folder.join(name)) {
            Ok(target) => target,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
                return Err(Error::UnknownStack { name: name.to_owned(), store: self.folder.clone() });
            }
            Err(error) => return Err(Error::io("read the link", self.folder.join(name))(error)),
        };
        let path = self.folder.join(&target);
        let damaged = |damage: &str| Error::Damaged {
            name: name.to_owned(),
            path: path.clone(),
            damage: damage.to_owned(),
        };
        let digest = target
            .to_str()
            .and_then(|target| target.strip_suffix(".erofs"))
            .filter(|digest| is_digest(digest));
        let digest = digest.ok_or_else(|| damaged("is not named by a digest"))?.to_owned();
        let bytes = match fs::metadata(&path) {
            Ok(figures) => figures.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged("is missing")),
            Err(error) => return Err(Error::io("look at", &path)(error)),
        };
        let receipt = self.receipt(&digest)?;
        if receipt.bytes != bytes {
            return Err(damaged(&format!("has {bytes} bytes, and should have {}", receipt.bytes)));
        }
        Ok(Stack { name: name.to_owned(), digest, path })
    }

    /// All stacks by name.
    pub fn list(&self) -> Result<Vec<Entry>, Error> {
        let entries = fs::read_dir(&self.folder).map_err(Error::io("list", &self.folder))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("list", &self.folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) && check_name(&name).is_ok() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names.into_iter().map(|name| Entry { stack: self.find(&name), name }).collect())
    }

    /// The receipt of the stack of this name.
    pub fn show(&self, name: &str) -> Result<Receipt, Error> {
        self.receipt(&self.find(name)?.digest)
    }

    /// Reads the whole image and compares its digest.
    pub fn verify(&self, name: &str) -> Result<Stack, Error> {
        let stack = self.find(name)?;
        let (digest, _) = digest_of(&stack.path)?;
        if digest == stack.digest {
            return Ok(stack);
        }
        Err(Error::Damaged {
            name: name.to_owned(),
            path: stack.path,
            damage: format!("has the digest {digest}"),
        })
    }

    /// Forgets the name, and removes the image when no other name has it. Containers that run on it are not
    /// known here and are not disturbed; new ones cannot be made until the stack is built again.
    pub fn delete(&self, name: &str) -> Result<Deleted, Error> {
        check_name(name)?;
        let _lock = self.lock(|| ())?;
        let link = self.folder.join(name);
        let target = fs::read_link(&link)
            .map_err(|_| Error::UnknownStack { name: name.to_owned(), store: self.folder.clone() })?;
        fs::remove_file(&link).map_err(Error::io("remove", &link))?;
        self.remove_unless_named(&target)
    }

    /// Waits until no other process changes this store; `waiting` is called if it has to.
    pub(crate) fn lock(&self, waiting: impl FnOnce()) -> Result<Flock<fs::File>, Error> {
        let path = self.folder.join(".lock");
        let file = fs::File::create(&path).map_err(Error::io("create", &path))?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, _)) => file,
        };
        waiting();
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| Error::io("lock", path)(errno.into()))
    }

    /// The recipe's stack, if it is sound and was built of this very recipe.
    pub(crate) fn up_to_date(&self, recipe: &Recipe) -> Result<Option<Stack>, Error> {
        let stack = match self.find(&recipe.stack) {
            Ok(stack) => stack,
            Err(Error::UnknownStack { .. } | Error::Damaged { .. } | Error::Receipt { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok((self.receipt(&stack.digest)?.recipe_digest == recipe.digest()).then_some(stack))
    }

    /// Takes a finished image in, and gives it the receipt's name. The image must lie in this store's file system.
    pub(crate) fn insert(&self, image: &Path, receipt: &Receipt) -> Result<Stack, Error> {
        let path = self.folder.join(format!("{}.erofs", receipt.sha256));
        let receipt_path = self.receipt_path(&receipt.sha256);
        let synced = fs::File::open(image).and_then(|file| file.sync_all());
        synced.map_err(Error::io("write out", image))?;
        let text = serde_json::to_vec_pretty(receipt).expect("a receipt is plain data");
        let temporary = self.folder.join(".receipt");
        fs::write(&temporary, text).map_err(Error::io("write", &temporary))?;
        fs::rename(&temporary, &receipt_path).map_err(Error::io("rename", &temporary))?;
        fs::rename(image, &path).map_err(Error::io("rename", image))?;

        let link = self.folder.join(&receipt.name);
        let before = fs::read_link(&link).ok();
        let temporary = self.folder.join(".link");
        let _ = fs::remove_file(&temporary); // a killed build's
        let target = format!("{}.erofs", receipt.sha256);
        symlink(&target, &temporary).map_err(Error::io("link", &temporary))?;
        fs::rename(&temporary, &link).map_err(Error::io("rename", &temporary))?;
        if let Some(before) = before.filter(|before| *before != Path::new(&target)) {
            self.remove_unless_named(&before)?;
        }
        Ok(Stack { name: receipt.name.clone(), digest: receipt.sha256.clone(), path })
    }

    fn remove_unless_named(&self, target: &Path) -> Result<Deleted, Error> {
        let entries = fs::read_dir(&self.folder).map_err(Error::io("list", &self.folder))?;
        let named =
            entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|other| other == target));
        let digest = target
            .to_str()
            .and_then(|target| target.strip_suffix(".erofs"))
            .filter(|digest| is_digest(digest));
        // A link that somebody made by hand may lead anywhere: only what has our form is ours to remove.
        let (false, Some(digest)) = (named, digest) else { return Ok(Deleted { bytes: 0 }) };
        let image = self.folder.join(target);
        let bytes = fs::metadata(&image).map_or(0, |figures| figures.len());
        for path in [image, self.receipt_path(digest)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(Deleted { bytes })
    }

    fn receipt(&self, digest: &str) -> Result<Receipt, Error> {
        let path = self.receipt_path(digest);
        let text = fs::read(&path).map_err(Error::io("read", &path))?;
        serde_json::from_slice(&text).map_err(|source| Error::Receipt { path, source })
    }

    fn receipt_path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.json"))
    }
}

/// A name must be a file name that no receipt, image or lock has.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    let sound = name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(good)
        && ![".erofs", ".json"].iter().any(|end| name.ends_with(end));
    if sound { Ok(()) } else { Err(Error::InvalidName { name: name.to_owned() }) }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Hex SHA-256 and size of a file.
pub(crate) fn digest_of(path: &Path) -> Result<(String, u64), Error> {
    let mut file = fs::File::open(path).map_err(Error::io("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok((hex::encode(hash.finalize()), bytes)),
            read => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        _data: tempfile::TempDir,
        store: Store,
    }

    fn scene() -> Scene {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(&data.path().join("stacks")).unwrap();
        Scene { _data: data, store }
    }

    impl Scene {
        fn insert(&self, name: &str, content: &str) -> Stack {
            let image = self.store.folder().join(".image");
            fs::write(&image, content).unwrap();
            let (sha256, bytes) = digest_of(&image).unwrap();
            let receipt = Receipt {
                name: name.into(),
                recipe: "minimal".into(),
                recipe_digest: Recipe::named("minimal").unwrap().digest(),
                sha256,
                bytes,
                created: 1,
                build_seconds: 2,
                packages: vec![],
            };
            self.store.insert(&image, &receipt).unwrap()
        }

        fn files(&self) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(self.store.folder())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name != ".lock")
                .collect();
            names.sort();
            names
        }
    }

    #[test]
    fn a_stack_is_found_listed_shown_and_verified() {
        let scene = scene();
        let stack = scene.insert("minimal", "image");
        assert_eq!(scene.store.find("minimal").unwrap(), stack);
        assert_eq!(scene.store.verify("minimal").unwrap(), stack);
        assert_eq!(scene.store.show("minimal").unwrap().sha256, stack.digest);
        let listed = scene.store.list().unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].stack.as_ref().unwrap(), &stack);
    }

    #[test]
    fn a_stack_of_the_same_recipe_is_up_to_date() {
        let scene = scene();
        let mut recipe = Recipe::named("minimal").unwrap();
        assert!(scene.store.up_to_date(&recipe).unwrap().is_none());
        let stack = scene.insert("minimal", "image");
        assert_eq!(scene.store.up_to_date(&recipe).unwrap(), Some(stack.clone()));
        recipe.stack = "other".into();
        assert!(scene.store.up_to_date(&recipe).unwrap().is_none());
        fs::write(&stack.path, "longer than before").unwrap();
        assert!(scene.store.up_to_date(&Recipe::named("minimal").unwrap()).unwrap().is_none());
    }

    #[test]
    fn a_new_image_takes_the_name_and_the_old_one_goes() {
        let scene = scene();
        let old = scene.insert("minimal", "old");
        let new = scene.insert("minimal", "new");
        assert_eq!(scene.store.find("minimal").unwrap(), new);
        assert!(!old.path.exists());
        assert_eq!(scene.files().len(), 3, "{:?}", scene.files());
    }

    #[test]
    fn an_image_goes_with_its_last_name() {
        let scene = scene();
        scene.insert("first", "same");
        let second = scene.insert("second", "same");
        assert_eq!(scene.store.delete("first").unwrap(), Deleted { bytes: 0 });
        assert_eq!(scene.store.find("second").unwrap(), second);
        assert_eq!(scene.store.delete("second").unwrap(), Deleted { bytes: 4 });
        assert!(scene.files().is_empty(), "{:?}", scene.files());
        assert!(matches!(scene.store.delete("second"), Err(Error::UnknownStack { .. })));
    }

    #[test]
    fn damage_is_told() {
        let scene = scene();
        let stack = scene.insert("minimal", "image");
        fs::write(&stack.path, "imagf").unwrap();
        assert!(scene.store.find("minimal").is_ok(), "the size is right");
        assert!(matches!(scene.store.verify("minimal"), Err(Error::Damaged { .. })));
        fs::remove_file(&stack.path).unwrap();
        let error = scene.store.find("minimal").unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("stack delete minimal"), "{error}");
    }

    #[test]
    fn names_cannot_lead_out_or_hide_an_image() {
        for name in ["", "..", "../x", "a/b", ".lock", "A", "x.erofs", "x.json", "1", &"a".repeat(64)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["bookworm", "minimal", "cflinuxfs4", "my-stack_2.1"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_link_that_leads_elsewhere_removes_nothing() {
        let scene = scene();
        let outside = scene._data.path().join("precious");
        fs::write(&outside, "x").unwrap();
        symlink("../precious", scene.store.folder().join("bad")).unwrap();
        assert!(matches!(scene.store.find("bad"), Err(Error::Damaged { .. })));
        assert_eq!(scene.store.delete("bad").unwrap(), Deleted { bytes: 0 });
        assert!(outside.exists());
    }
}
