//! What a run of the machine amounts to, decided from what it left behind.
//!
//! The guest writes one line for each event to its second serial port: `up SECONDS`, `test STATUS SECONDS BINARY
//! NAME`, `shell STATUS`, `kernel MESSAGE`, and last `end`. A report without `end` is a machine that died.

use std::fmt;

/// What the machine left behind.
pub(super) struct Outcome {
    /// The second serial line, whole.
    pub(super) report: String,
    /// The kernel's console, whole.
    pub(super) console: String,
    /// The host ended it at its time limit.
    pub(super) timed_out: bool,
}

/// How the run went. Its `Display` is the summary for people.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    /// Tests that passed.
    pub passed: usize,
    /// `BINARY NAME` of each test that failed.
    pub failed: Vec<String>,
    /// Exit status of the shell command, if there was one and it ended.
    pub shell: Option<i32>,
    /// What else went wrong, each as a sentence: the machine died, no test ran, the kernel complained.
    pub faults: Vec<String>,
}

impl Verdict {
    /// Whether everything that was to be done was done and went well.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty() && self.faults.is_empty() && self.shell.is_none_or(|status| status == 0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.failed {
            writeln!(f, "failed: {name}")?;
        }
        for fault in &self.faults {
            writeln!(f, "fault: {fault}")?;
        }
        match self.shell {
            Some(status) => write!(f, "the command's exit status is {status}"),
            None => write!(f, "{} passed, {} failed", self.passed, self.failed.len()),
        }
    }
}

/// Lines that the kernel prints when it is at its end.
const DEATHS: [&str; 4] = ["Kernel panic", "Oops: ", "BUG: ", "general protection fault"];

pub(super) fn judge(outcome: &Outcome, shell_asked: bool) -> Verdict {
    let mut verdict = Verdict::default();
    let mut ended = false;
    for line in outcome.report.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "test" => match rest.splitn(3, ' ').collect::<Vec<_>>()[..] {
                ["0", _, _] => verdict.passed += 1,
                [_, _, name] => verdict.failed.push(name.to_owned()),
                _ => verdict.faults.push(format!("the guest's report has a strange line: {line:?}")),
            },
            "shell" => verdict.shell = rest.parse().ok(),
            "kernel" => verdict.faults.push(format!("the guest's kernel complained: {rest}")),
            "up" => {}
            "end" => ended = true,
            _ => verdict.faults.push(format!("the guest's report has a strange line: {line:?}")),
        }
    }
    if let Some(line) = outcome.console.lines().find(|line| DEATHS.iter().any(|death| line.contains(death))) {
        verdict.faults.push(format!("the guest's kernel died: {}", line.trim()));
    }
    if outcome.timed_out {
        let up = outcome.report.lines().any(|line| line.starts_with("up "));
        let phase = if up { "its time limit (see --time-limit)" } else { "the time limit of its boot" };
        verdict.faults.push(format!("the machine was ended at {phase}"));
    } else if !ended {
        verdict.faults.push("the machine ended before its work was done".to_owned());
    }
    if shell_asked && verdict.shell.is_none() {
        verdict.faults.push("the command did not come to its end".to_owned());
    }
    if !shell_asked && verdict.passed + verdict.failed.len() == 0 {
        verdict.faults.push("no test ran".to_owned());
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(report: &str, console: &str) -> Verdict {
        judge(&Outcome { report: report.to_owned(), console: console.to_owned(), timed_out: false }, false)
    }

    #[test]
    fn a_good_run_is_a_success() {
        let verdict = of("up 2.0\ntest 0 0.3 privileged a::b\ntest 0 0.1 privileged c\nend\n", "    PASS\n");
        assert!(verdict.is_success(), "{verdict}");
        assert_eq!(verdict.to_string(), "2 passed, 0 failed");
    }

    #[test]
    fn a_failed_test_is_named() {
        let verdict = of("up 2.0\ntest 101 0.3 privileged a::b\ntest 0 0.1 privileged c\nend\n", "");
        assert!(!verdict.is_success());
        assert_eq!(verdict.to_string(), "failed: privileged a::b\n1 passed, 1 failed");
    }

    #[test]
    fn nothing_run_is_a_failure() {
        assert_eq!(of("up 2.0\nend\n", "").faults, ["no test ran"]);
    }

    #[test]
    fn a_panic_is_told_as_such() {
        let verdict =
            of("up 2.0\ntest 0 0.1 p c\n", "[    9.1] Kernel panic - not syncing: Fatal exception\n");
        assert_eq!(
            verdict.faults,
            [
                "the guest's kernel died: [    9.1] Kernel panic - not syncing: Fatal exception",
                "the machine ended before its work was done"
            ]
        );
    }

    #[test]
    fn a_warning_of_the_kernel_fails_the_run() {
        let verdict = of("up 2.0\ntest 0 0.1 p c\nkernel WARNING: CPU: 0 PID: 3\nend\n", "");
        assert!(!verdict.is_success());
    }

    #[test]
    fn a_shell_command_passes_its_status_on() {
        let run = |report: &str| {
            judge(&Outcome { report: report.to_owned(), console: String::new(), timed_out: false }, true)
        };
        assert!(run("up 1\nshell 0\nend\n").is_success());
        assert_eq!(run("up 1\nshell 3\nend\n").to_string(), "the command's exit status is 3");
        assert!(!run("up 1\nend\n").is_success());
    }

    #[test]
    fn the_time_limit_is_named() {
        let outcome = Outcome { report: "up 2.0\n".to_owned(), console: String::new(), timed_out: true };
        assert!(judge(&outcome, false).to_string().contains("time limit"));
    }
}
