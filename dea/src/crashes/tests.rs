//! The store on a real disk.

use super::*;
use crate::instance::{Outputs, tests::record};
use cupola_protocol::logs::Stream;

fn crash(app: &str, index: u32, timestamp: f64) -> Record {
    let mut record = record(app);
    record.message.index = index;
    record.state_timestamp = timestamp;
    record.exit = Some(Exit { status: 3, description: "boom".to_owned() });
    record
}

fn kept(text: &str) -> std::sync::Arc<Kept> {
    let kept = Outputs::new(100).open(&InstanceId::new("i"));
    kept.push(Stream::Err, text.as_bytes());
    kept
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_crash_is_kept_with_its_files_over_a_restart_until_it_is_old() {
    let directory = tempfile::tempdir().unwrap();
    let crashes = Crashes::open(directory.path().to_owned()).unwrap();
    let record = crash("app", 0, 1000.0);
    let own = Gathered { path: "logs/deep/own.log".to_owned(), bytes: b"own".to_vec() };
    crashes.keep(&record, &[own], &kept("last words")).unwrap();
    // Half written when an agent died.
    fs::create_dir_all(directory.path().join("half/logs")).unwrap();
    fs::write(directory.path().join("broken.json"), "{").unwrap();

    let crashes = Crashes::open(directory.path().to_owned()).unwrap();
    let instance = &record.instance;
    assert_eq!(names(directory.path()), [instance.to_string(), format!("{instance}.json")]);
    let found = crashes.of(instance).unwrap();
    assert_eq!((found.exit.status, found.index, found.timestamp), (3, 0, 1000.0));
    let home = crashes.home(instance);
    assert_eq!(fs::read_to_string(home.join("logs/deep/own.log")).unwrap(), "own");
    assert_eq!(fs::read_to_string(home.join("logs/stderr.log")).unwrap(), "last words");
    assert_eq!(fs::read_to_string(home.join("logs/stdout.log")).unwrap(), "");

    crashes.expire(60.0, 1060.0).unwrap();
    assert!(crashes.of(instance).is_some());
    crashes.expire(60.0, 1061.0).unwrap();
    assert_eq!((crashes.of(instance), names(directory.path()).len()), (None, 0));
}

#[test]
fn of_a_place_that_crashes_again_and_again_only_the_last_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let crashes = Crashes::open(directory.path().to_owned()).unwrap();
    let others = [crash("app", 1, 1.0), crash("other", 0, 1.0)];
    for record in &others {
        crashes.keep(record, &[], &kept("")).unwrap();
    }
    let loops: Vec<Record> = (0..5).map(|nth| crash("app", 0, f64::from(nth))).collect();
    for record in &loops {
        crashes.keep(record, &[], &kept("")).unwrap();
    }
    let mut left: Vec<InstanceId> =
        crashes.matching(|_| true).into_iter().map(|crash| crash.instance).collect();
    let mut expected: Vec<InstanceId> =
        others.iter().chain(loops.last()).map(|record| record.instance.clone()).collect();
    left.sort();
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(names(directory.path()).len(), 6);
    crashes.forget_app(&AppId::new("app")).unwrap();
    assert_eq!(crashes.matching(|_| true).len(), 1);
    assert_eq!(names(directory.path()).len(), 2);
}

#[test]
fn a_file_of_the_app_wins_over_its_output() {
    let directory = tempfile::tempdir().unwrap();
    let crashes = Crashes::open(directory.path().to_owned()).unwrap();
    let record = crash("app", 0, 1.0);
    let own = Gathered { path: "logs/stderr.log".to_owned(), bytes: b"own".to_vec() };
    crashes.keep(&record, &[own], &kept("output")).unwrap();
    let home = crashes.home(&record.instance);
    assert_eq!(fs::read_to_string(home.join("logs/stderr.log")).unwrap(), "own");
}
