//! Names of containers and numbers of jobs.

use super::{Error, journal, lock};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// Internal names of containers: microseconds since 1970 in base 32, 11 characters, so that `w-<id>-0` is a link name.
#[derive(Debug, Default)]
pub(crate) struct Ids(Mutex<u64>);

impl Ids {
    /// A name that was never given before, as long as the clock is not turned back.
    pub(crate) fn next(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let mut last = lock(&self.0);
        *last = now.max(*last + 1);
        base32(*last)
    }
}

fn base32(number: u64) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    (0..11).rev().map(|place| char::from(DIGITS[(number >> (place * 5)) as usize & 31])).collect()
}

/// Numbers of jobs, never given twice, over restarts too: they are reserved on disk in blocks.
#[derive(Debug)]
pub(crate) struct JobIds {
    file: PathBuf,
    state: Mutex<(u32, u32)>,
}

/// Numbers reserved at once.
const BLOCK: u32 = 1_000;

impl JobIds {
    /// Goes on after what the file says is reserved.
    pub(crate) fn open(file: PathBuf) -> Result<Self, Error> {
        let next = match std::fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().unwrap_or(1),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 1,
            Err(error) => return Err(Error::io("read the last job number", &file)(error)),
        };
        Ok(JobIds { file, state: Mutex::new((next, next)) })
    }

    /// The next number.
    pub(crate) fn next(&self) -> Result<u32, Error> {
        let mut state = lock(&self.state);
        let (next, reserved) = *state;
        if next == reserved {
            let reserved = reserved.saturating_add(BLOCK);
            journal::replace(&self.file, reserved.to_string().as_bytes())
                .map_err(Error::io("reserve job numbers", &self.file))?;
            state.1 = reserved;
        }
        state.0 = next + 1;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_eleven_characters_and_differ() {
        let ids = Ids::default();
        let (a, b) = (ids.next(), ids.next());
        assert_ne!(a, b);
        assert!(a.len() == 11 && a.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{a}");
    }

    #[test]
    fn job_numbers_go_on_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jobs");
        let first = JobIds::open(file.clone()).unwrap();
        assert_eq!((first.next().unwrap(), first.next().unwrap()), (1, 2));
        assert!(JobIds::open(file).unwrap().next().unwrap() > 2);
    }
}
