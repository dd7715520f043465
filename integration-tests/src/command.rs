//! Commands that are run to their end.

use std::process::{Command, Stdio};

/// Runs a program to its end and returns what it printed.
///
/// # Panics
/// When it fails; the message has its output.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}

/// `docker ARGS…` on this machine's engine.
///
/// # Panics
/// When it fails; the message has its output.
pub fn docker(args: &[&str]) -> String {
    run(Command::new("docker").args(args)).trim().to_owned()
}
