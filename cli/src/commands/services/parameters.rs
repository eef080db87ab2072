//! Objects on the command line: JSON, or a file that holds it.

use crate::Error;
use serde_json::{Map, Value};
use std::{fs, path::Path};

/// Reads `-c`: JSON that begins with a brace, or the name of a file.
pub(super) fn read(flag: &'static str, text: Option<&str>) -> Result<Option<Map<String, Value>>, Error> {
    let Some(text) = text else { return Ok(None) };
    let wrong =
        |why: String| Error::Usage(format!("{flag}: {why}; give a JSON object, or a file that holds one"));
    let json = if text.trim_start().starts_with('{') {
        text.to_owned()
    } else {
        let path = Path::new(text);
        fs::read_to_string(path)
            .map_err(|error| wrong(format!("{text:?} is neither JSON nor a file ({error})")))?
    };
    match serde_json::from_str(&json) {
        Ok(Value::Object(map)) => Ok(Some(map)),
        Ok(_) => Err(wrong("it is JSON, but no object".to_owned())),
        Err(error) => Err(wrong(format!("it is not JSON: {error}"))),
    }
}

/// Reads tags: words with commas between.
pub(super) fn tags(text: Option<&str>) -> Option<Vec<String>> {
    let words = |text: &str| {
        text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    text.map(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_given_or_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.json");
        fs::write(&file, r#"{"a": 1}"#).unwrap();
        for given in [r#" {"a": 1}"#, file.to_str().unwrap()] {
            assert_eq!(read("-c", Some(given)).unwrap().unwrap()["a"], 1);
        }
        assert_eq!(read("-c", None).unwrap(), None);
        for bad in ["{", "missing.json", "[1]"] {
            assert!(read("-c", Some(bad)).unwrap_err().to_string().starts_with("-c: "), "{bad}");
        }
        fs::write(&file, "[1]").unwrap();
        assert!(read("-c", file.to_str()).unwrap_err().to_string().contains("no object"));
        assert_eq!(tags(Some(" a, b,,")).unwrap(), ["a", "b"]);
    }
}
