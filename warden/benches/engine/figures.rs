//! Times, and how they are printed.

use std::time::{Duration, Instant};

/// Durations of one thing, done many times.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Does something and notes how long it took.
    pub(crate) fn time<T>(&mut self, act: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = act();
        self.0.push(begun.elapsed());
        result
    }

    /// Notes a duration.
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The value below which this share of the durations is, in milliseconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
        sorted.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    /// The median in milliseconds.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The durations from one number to another.
    pub(crate) fn part(&self, from: usize, to: usize) -> Times {
        Times(self.0.get(from..to).unwrap_or_default().to_vec())
    }
}

/// A row of the table.
pub(crate) fn row(name: &str, times: &Times) {
    println!(
        "{name:<34} median {:>8.3} ms   p10 {:>8.3}   p95 {:>8.3}   n {}",
        times.median(),
        times.quantile(0.1),
        times.quantile(0.95),
        times.0.len()
    );
}

/// A figure of the issue, with its goal.
pub(crate) fn figure(name: &str, value: f64, goal: &str) {
    println!("bench: {name} {value:.3}    (goal {goal})");
}
