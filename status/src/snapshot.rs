//! The figures at one moment, read from the very text that `/metrics` serves.
//!
//! The text is Prometheus' exposition format 0.0.4: one sample in each line, `name{label="value",...} number`.

use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

/// Every figure of a component at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    samples: Vec<Sample>,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Snapshot {
    /// Reads the text; lines that are no samples are comments.
    pub fn parse(text: &str) -> Self {
        Self { samples: text.lines().filter_map(sample).collect() }
    }

    /// Names of all samples, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.samples.iter().map(|sample| sample.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The sum of the samples of this name that have all these labels; none when there is no such sample.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self
            .samples
            .iter()
            .filter(|sample| {
                sample.name == name
                    && labels
                        .iter()
                        .all(|(label, value)| sample.labels.get(*label).is_some_and(|v| v == value))
            })
            .map(|sample| sample.value)
            .peekable();
        found.peek()?;
        Some(found.sum())
    }

    /// The value below which this share of a histogram lies, as far as its buckets tell; none without samples.
    pub fn quantile(&self, histogram: &str, share: f64) -> Option<f64> {
        let bucket = format!("{histogram}_bucket");
        let mut buckets: Vec<(f64, f64)> = self
            .samples
            .iter()
            .filter(|sample| sample.name == bucket)
            .filter_map(|sample| Some((sample.labels.get("le")?.parse().ok()?, sample.value)))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted = buckets.last()?.1 * share;
        if wanted <= 0.0 {
            return None;
        }
        let (mut below, mut counted) = (0.0, 0.0);
        for (bound, count) in buckets {
            if count >= wanted {
                // Beyond the last bound nothing is known but that.
                let part = if count > counted { (wanted - counted) / (count - counted) } else { 1.0 };
                return Some(if bound.is_finite() { below + (bound - below) * part } else { below });
            }
            (below, counted) = (bound, count);
        }
        None
    }

    /// The figures as JSON: `prefix` is taken off the names; a name with labels becomes a table by the labels'
    /// values; of a histogram count and sum are given.
    pub(crate) fn json(&self, prefix: &str) -> Map<String, Value> {
        let mut figures = Map::new();
        for sample in &self.samples {
            let Some(name) = sample.name.strip_prefix(prefix) else { continue };
            if name.ends_with("_bucket") && sample.labels.contains_key("le") {
                continue;
            }
            let value = number(sample.value);
            if sample.labels.is_empty() {
                figures.insert(name.to_owned(), value);
                continue;
            }
            let place: Vec<&str> = sample.labels.values().map(String::as_str).collect();
            if let Value::Object(table) = figures.entry(name).or_insert_with(|| Map::new().into()) {
                table.insert(place.join(" "), value);
            }
        }
        figures
    }
}

/// A figure as JSON: whole where it is whole; infinite and undefined ones are null.
pub(crate) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The labels up to the brace that closes them, and what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (label, value) = rest.split_once("=\"")?;
        let mut text = String::new();
        let mut letters = value.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at,
                (_, '\\') => text.push(match letters.next()?.1 {
                    'n' => '\n',
                    letter => letter,
                }),
                (_, letter) => text.push(letter),
            }
        };
        labels.insert(label.to_owned(), text);
        rest = &value[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{counter, gauge, histogram};
    use metrics_exporter_prometheus::PrometheusBuilder;
    use proptest::prelude::*;
    use serde_json::json;

    const NASTY: &str = "a \"quoted\" one, with }, a back\\slash and \n a line break";

    fn snapshot(fill: impl FnOnce()) -> Snapshot {
        let recorder =
            PrometheusBuilder::new().set_buckets(&[1.0, 2.0, 4.0]).expect("buckets").build_recorder();
        metrics::with_local_recorder(&recorder, fill);
        Snapshot::parse(&recorder.handle().render())
    }

    #[test]
    fn what_is_counted_is_read_back_whatever_its_labels_hold() {
        let snapshot = snapshot(|| {
            counter("x_requests_total", "help", &[("class", "2xx")]).increment(3);
            counter("x_requests_total", "help", &[("class", NASTY)]).increment(4);
            gauge("x_load", "help", &[]).set(0.25);
            gauge("x_unknown", "help", &[]).set(f64::NAN);
            counter("y_other_total", "help", &[]).increment(1);
        });
        assert_eq!(snapshot.value("x_requests_total", &[("class", NASTY)]), Some(4.0));
        assert_eq!(snapshot.value("x_requests_total", &[]), Some(7.0));
        assert_eq!(snapshot.value("x_requests_total", &[("class", "5xx")]), None);
        assert_eq!(
            Value::Object(snapshot.json("x_")),
            json!({"requests_total": {"2xx": 3, NASTY: 4}, "load": 0.25, "unknown": null})
        );
    }

    #[test]
    fn a_histogram_gives_count_sum_and_quantiles() {
        let snapshot = snapshot(|| {
            let seconds = histogram("x_seconds", "help", &[]);
            for value in [0.5, 1.5, 1.5, 3.0] {
                seconds.record(value);
            }
        });
        assert_eq!(Value::Object(snapshot.json("x_")), json!({"seconds_count": 4, "seconds_sum": 6.5}));
        assert_eq!(snapshot.quantile("x_seconds", 0.25), Some(1.0));
        assert_eq!(snapshot.quantile("x_seconds", 0.5), Some(1.5));
        assert_eq!(snapshot.quantile("x_seconds", 1.0), Some(4.0));
        assert_eq!(snapshot.quantile("x_nothing", 0.5), None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "(?s).{0,200}") {
            let _ = Snapshot::parse(&text).json("");
        }
    }
}
