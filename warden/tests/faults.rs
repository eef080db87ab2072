//! The table of fault points and the points in the sources are one and the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use warden::fault::POINTS;

#[test]
fn every_point_of_the_sources_is_in_the_table_and_the_other_way_round() {
    let mut met: BTreeMap<String, usize> = POINTS.iter().map(|(name, _)| ((*name).to_owned(), 0)).collect();
    assert_eq!(met.len(), POINTS.len(), "a name is in the table twice");
    for source in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let text = fs::read_to_string(&source).unwrap();
        for call in text.split("fault::point(").skip(1) {
            let name = call.strip_prefix('"').and_then(|rest| rest.split_once('"')).map(|(name, _)| name);
            let name = name.unwrap_or_else(|| panic!("{}: a point whose name is no text", source.display()));
            let known = met.get_mut(name);
            *known.unwrap_or_else(|| panic!("{}: {name} is not in POINTS", source.display())) += 1;
        }
    }
    let other: Vec<_> = met.iter().filter(|(_, count)| **count != 1).collect();
    assert!(other.is_empty(), "each name is one place in the sources: {other:?}");
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
