//! What every component shows of itself, in one way: whether it is well, what it counts, and where it is.
//!
//! - [`Page`]: the status page of one component, `/healthz`, `/varz` and `/metrics` on a port of its own, and its
//!   announcement on `vcap.component.*`
//! - [`Questions`], [`Question`]: before a page is shown, the component's own task is asked to bring its gauges up
//!   to date and to say what is wrong. A task that hangs does not answer, and that is what the page then says
//! - [`figures`]: counters, gauges and histograms. A component makes them once, under its page's recorder, keeps
//!   the handles, and counts where things happen: one atomic operation each, no lookup, no lock
//! - `snapshot`: the figures as they are served; `/varz` derives from the same text as `/metrics`
//! - `redact`: the configuration without its secrets
//!
//! Each page has a recorder of its own: several components in one process do not mix.

mod address;
mod announce;
mod config;
mod error;
pub mod figures;
mod history;
mod http;
mod page;
mod question;
mod redact;
mod snapshot;
mod varz;

pub use config::Config;
pub use error::Error;
pub use figures::{Counter, Gauge, Histogram};
pub use page::{Historic, Identity, Page, Serving};
pub use question::{Question, Questions};
pub use snapshot::Snapshot;
