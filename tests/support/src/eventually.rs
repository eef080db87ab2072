//! Waiting for a condition.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// Pause between two attempts: short enough that a test does not notice, long enough to leave the machine to
/// what is being waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// Attempts until one succeeds, and returns its value. Panics with the last error when `within` is over.
#[track_caller]
pub fn eventually_blocking<T, E: Display>(within: Duration, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if began.elapsed() >= within => panic!("not within {within:?}: {error:#}"),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Like [`eventually_blocking`], for asynchronous attempts. An attempt that hangs is cut off at the deadline.
pub async fn eventually<T, E: Display>(
    within: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = tokio::time::Instant::now() + within;
    let mut last = "the first attempt hung".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, attempt()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => panic!("not within {within:?}: {last}"),
        }
        if tokio::time::Instant::now() >= deadline {
            panic!("not within {within:?}: {last}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_the_first_success_is_returned() {
        let mut calls = 0;
        let value = eventually_blocking(Duration::from_secs(10), || {
            calls += 1;
            if calls < 3 { Err("not yet") } else { Ok(calls) }
        });
        assert_eq!(value, 3);
    }

    #[test]
    #[should_panic(expected = "not within 50ms: the door is shut")]
    fn the_last_error_is_told() {
        eventually_blocking(Duration::from_millis(50), || Err::<(), _>("the door is shut"));
    }

    #[tokio::test]
    #[should_panic(expected = "not within 50ms: the first attempt hung")]
    async fn an_attempt_that_hangs_is_cut_off() {
        eventually(Duration::from_millis(50), async || std::future::pending::<Result<(), String>>().await)
            .await;
    }
}
