//! What a loss did, as figures.

use super::super::load::Outcome;
use anyhow::{Result, ensure};
use std::{collections::BTreeMap, time::Duration};

/// From when the time is counted until all is whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// From the loss: the platform does without what is lost.
    FromLoss,
    /// From when what was lost is back: without it, the platform cannot be whole.
    FromReturn,
}

/// One loss.
#[derive(Debug)]
pub(super) struct Row {
    name: &'static str,
    what: &'static str,
    counted: Counted,
    whole: Duration,
    sent: usize,
    slowest: Duration,
    failures: BTreeMap<String, usize>,
    strict: bool,
}

impl Row {
    pub(super) fn new(
        name: &'static str,
        what: &'static str,
        counted: Counted,
        whole: Duration,
        outcomes: &[Outcome],
    ) -> Self {
        let mut failures = BTreeMap::new();
        for failure in outcomes.iter().filter_map(|one| one.failure.clone()) {
            *failures.entry(failure).or_default() += 1;
        }
        let slowest = outcomes.iter().map(|one| one.took).max().unwrap_or_default();
        Self { name, what, counted, whole, sent: outcomes.len(), slowest, failures, strict: false }
    }

    /// Running apps have no part in this loss: not one request may fail.
    pub(super) fn must_not_fail(self) -> Self {
        Self { strict: true, ..self }
    }

    fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// A line of the table.
    pub(super) fn line(&self) -> String {
        let since = match self.counted {
            Counted::FromLoss => "after the loss",
            Counted::FromReturn => "after its return",
        };
        let mut why: Vec<String> =
            self.failures.iter().map(|(why, count)| format!("{count} × {why}")).collect();
        if why.is_empty() {
            why.push("–".to_owned());
        }
        format!(
            "{:<28} {:>6} {:>6} {:>8.2} s {:>8.1} s {since:<17} {}",
            self.what,
            self.sent,
            self.failed(),
            self.slowest.as_secs_f64(),
            self.whole.as_secs_f64(),
            why.join(", ")
        )
    }

    /// Fails when requests failed that must not.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(
            !self.strict || self.failed() == 0,
            "running apps have no part in {}, and {} of {} requests failed: {:?}",
            self.what,
            self.failed(),
            self.sent,
            self.failures
        );
        Ok(())
    }
}

/// Prints the table, and each figure on a line of its own.
pub(super) fn print(rows: &[Row]) {
    println!(
        "\n{:<28} {:>6} {:>6} {:>10} {:>10} {:<17} why they failed",
        "lost", "sent", "failed", "slowest", "whole", ""
    );
    rows.iter().for_each(|row| println!("{}", row.line()));
    println!();
    for row in rows {
        println!("bench: {}_failed_requests {}", row.name, row.failed());
        println!("bench: {}_whole_again_s {:.1}", row.name, row.whole.as_secs_f64());
    }
}
