//! `/varz`: the historic page, in one JSON object.
//!
//! `type`, `index`, `uuid`, `host`, `start`, `uptime`, `num_cores`, `mem` (KB), `cpu` (percent of one core since the
//! start of the process, as `ps` counts it), `config` (without secrets), then the component's own figures by their
//! names in `/metrics`, and those that collectors know from the historic components by their historic names. The
//! historic `credentials` are left out: whoever reads the page has them, and pages are kept.

use crate::{
    history::{moment, uptime},
    page::Shared,
    snapshot::{Snapshot, number},
};
use serde_json::{Map, Value, json};

/// The page for these figures and these problems.
pub(crate) fn page(shared: &Shared, figures: &Snapshot, problems: &[String]) -> Value {
    let identity = &shared.identity;
    let mut page = Map::new();
    for (key, value) in figures.json(&shared.prefix) {
        page.insert(key, value);
    }
    for (key, value) in (identity.historic)(figures) {
        page.insert(key.to_owned(), value);
    }
    let process = metrics_process::collector::collect();
    let mem = process.resident_memory_bytes.unwrap_or(0) / 1024;
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let ran = process.start_time_seconds.map(|start| (now - start as i64).max(1) as f64);
    let cpu = process.cpu_seconds_total.zip(ran).map_or(0.0, |(used, ran)| used / ran * 100.0);
    let generic = json!({
        "type": identity.kind,
        "index": identity.index,
        "uuid": shared.uuid(),
        "host": shared.host.to_string(),
        "start": moment(shared.start),
        "uptime": uptime(shared.begun.elapsed()),
        "num_cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "mem": mem,
        "cpu": number((cpu * 10.0).round() / 10.0),
        "config": shared.config,
        "problems": problems,
    });
    if let Value::Object(generic) = generic {
        page.extend(generic);
    }
    Value::Object(page)
}
