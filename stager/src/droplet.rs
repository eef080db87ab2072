//! The archive that comes out of a staging.

use crate::{
    environment::CA_BUNDLE,
    failure::{Failure, Phase},
};
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, io::Read, path::Path};

/// Where the archive lies in the container, alone in its directory.
pub(crate) const OUT: &str = "/tmp/out";

/// The archive's name.
pub(crate) const FILE: &str = "droplet.tgz";

/// Packs the droplet; prints its size when it is unpacked. Sorted, with one owner, without times newer than the
/// package's: the same package staged twice gives the same bytes, where the buildpack does.
///
/// Variables: `DROPLET_INFO` staging_info.yml, `DROPLET_PROFILE` the release's variables as a script or nothing,
/// `DROPLET_TIME` the newest time.
pub(crate) const PACK: &str = r#"
set -euo pipefail
cd /home/vcap
mkdir -p app deps profile.d logs tmp app/.profile.d /tmp/out
rmdir --ignore-fail-on-non-empty app/.profile.d
find logs tmp -mindepth 1 -delete
if [ -n "$DROPLET_PROFILE" ]; then
    mkdir -p app/.profile.d
    printf '%s' "$DROPLET_PROFILE" > app/.profile.d/000_release_config_vars.sh
fi
printf '%s\n' "$DROPLET_INFO" > staging_info.yml
chmod 0755 app deps profile.d logs tmp
chmod 0644 staging_info.yml
tar --create --sort=name --format=gnu --owner=vcap:1000 --group=vcap:1000 \
    --clamp-mtime --mtime="@$DROPLET_TIME" --warning=no-file-ignored \
    ./app ./deps ./profile.d ./logs ./tmp ./staging_info.yml | gzip -n -4 > /tmp/out/droplet.tgz
du --summarize --block-size=1 --total app deps | tail -n 1 | cut -f 1
"#;

/// What a launcher needs to know. JSON is YAML.
#[derive(Debug, Serialize)]
pub(crate) struct StagingInfo<'a> {
    pub(crate) detected_buildpack: &'a str,
    pub(crate) buildpack_path: &'a str,
    pub(crate) start_command: Option<&'a str>,
    pub(crate) effective_procfile: &'a BTreeMap<String, String>,
}

/// The digests of an archive, in hexadecimal, and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digests {
    pub(crate) sha1: String,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

/// Reads the archive once for both digests. Blocking.
pub(crate) fn digests(path: &Path) -> Result<Digests, Failure> {
    let mut file = std::fs::File::open(path).map_err(Failure::internal(Phase::Pack))?;
    let (mut sha1, mut sha256, mut bytes) = (Sha1::new(), Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer).map_err(Failure::internal(Phase::Pack))?;
        if read == 0 {
            return Ok(Digests {
                sha1: hex::encode(sha1.finalize()),
                sha256: hex::encode(sha256.finalize()),
                bytes,
            });
        }
        sha1.update(&buffer[..read]);
        sha256.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Puts the buildpack cache where buildpacks look for it. A cache that is broken is no cache.
pub(crate) const RESTORE_CACHE: &str = r#"
mkdir -p /tmp/cache
if [ -e /tmp/staging/cache.tgz ]; then
    tar -xzf /tmp/staging/cache.tgz -C /tmp/cache || { rm -rf /tmp/cache; mkdir /tmp/cache; }
    rm -f /tmp/staging/cache.tgz
fi
"#;

/// Packs the buildpack cache unless it is empty or larger than `CACHE_LIMIT` bytes.
pub(crate) const PACK_CACHE: &str = r#"
set -eu
rm -rf /tmp/out
mkdir /tmp/out
[ -n "$(find /tmp/cache -type f -print -quit)" ] || exit 0
[ "$(du --summarize --block-size=1 /tmp/cache | cut -f 1)" -le "$CACHE_LIMIT" ] || exit 0
tar --create --gzip --file /tmp/out/cache.tgz -C /tmp/cache .
"#;

/// The cache's name after [`PACK_CACHE`].
pub(crate) const CACHE_FILE: &str = "cache.tgz";

/// Name of the certificates inside what is copied to `/tmp/staging`.
pub(crate) fn ca_file_name() -> &'static str {
    CA_BUNDLE.rsplit('/').next().unwrap_or(CA_BUNDLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard_programs() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let expected = Digests {
            sha1: "a9993e364706816aba3e25717850c26c9cd0d89d".into(),
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
            bytes: 3,
        };
        assert_eq!(digests(file.path()), Ok(expected));
    }
}
