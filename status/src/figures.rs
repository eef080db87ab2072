//! Counters, gauges and histograms, named, explained, and made under a page's recorder.
//!
//! Names are `cupola_<component>_<what>_<unit>`; counters end in `_total`. The functions describe and register in
//! one step and give a handle that counts with one atomic operation. Outside of [`crate::Page::figures`] they give
//! handles that count nothing, which is what a test of something else wants.

pub use metrics::{Counter, Gauge, Histogram};
use metrics::{Key, KeyName, Label, Level, Metadata, SharedString, Unit, with_recorder};

/// Name and value of a label.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

fn key(name: SharedString, labels: Labels<'_>) -> Key {
    let labels: Vec<Label> =
        labels.iter().map(|(label, value)| Label::new(*label, (*value).to_owned())).collect();
    Key::from_parts(KeyName::from(name), labels)
}

/// Something that only grows.
pub fn counter(name: impl Into<SharedString>, help: &'static str, labels: Labels<'_>) -> Counter {
    let name = name.into();
    with_recorder(|recorder| {
        recorder.describe_counter(KeyName::from(name.clone()), None::<Unit>, help.into());
        recorder.register_counter(&key(name, labels), &METADATA)
    })
}

/// Something that goes up and down.
pub fn gauge(name: impl Into<SharedString>, help: &'static str, labels: Labels<'_>) -> Gauge {
    let name = name.into();
    with_recorder(|recorder| {
        recorder.describe_gauge(KeyName::from(name.clone()), None::<Unit>, help.into());
        recorder.register_gauge(&key(name, labels), &METADATA)
    })
}

/// How long things take, in seconds. A name that ends in `_request_seconds` gets buckets from 1 ms to 60 s, every
/// other one from 100 ms to an hour.
pub fn histogram(name: impl Into<SharedString>, help: &'static str, labels: Labels<'_>) -> Histogram {
    let name = name.into();
    with_recorder(|recorder| {
        recorder.describe_histogram(KeyName::from(name.clone()), None::<Unit>, help.into());
        recorder.register_histogram(&key(name, labels), &METADATA)
    })
}

/// Requests by the class of their status, as every component that serves HTTP counts them.
pub struct StatusClasses([Counter; 6]);

/// The classes' names; `other` is what had no status, as when a client went away.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

impl StatusClasses {
    /// One counter for each class, with the label `class`.
    pub fn new(name: &'static str, help: &'static str) -> Self {
        Self(CLASSES.map(|class| counter(name, help, &[("class", class)])))
    }

    /// Counts an answer with this status.
    pub fn count(&self, status: u16) {
        let place = match status {
            100..=599 => usize::from(status / 100) - 1,
            _ => 5,
        };
        self.0[place].increment(1);
    }
}

impl std::fmt::Debug for StatusClasses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusClasses").finish_non_exhaustive()
    }
}
