//! The one program that runs as root beside the daemon, in two roles: `warden-init spawner` builds containers,
//! `warden-init init` is PID 1 in each. Both are started by the daemon and the spawner, never by hand.

use std::process::ExitCode;
use warden::init::Arguments;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["spawner"] => warden::spawner::serve(),
        ["init", rest @ ..] => match arguments(rest) {
            Some(arguments) => warden::init::serve(arguments),
            None => return usage(),
        },
        _ => return usage(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("warden-init: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(words: &[&str]) -> Option<Arguments> {
    let [listener, jobs, report, uid, gid] = words else { return None };
    Some(Arguments {
        listener: listener.parse().ok()?,
        jobs: jobs.parse().ok()?,
        report: report.parse().ok()?,
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
    })
}

fn usage() -> ExitCode {
    eprintln!("warden-init is started by the warden daemon; there is nothing to do with it by hand");
    ExitCode::from(2)
}
