//! The inputs in `corpus/`, one after the other.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/integration-tests/fuzz/corpus");

/// Runs every input of a target and fails with the names of those that do not hold.
fn run(target: &str, check: impl Fn(&[u8])) {
    let files = fs::read_dir(Path::new(CORPUS).join(target)).expect("a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "only {} inputs of {target}", paths.len());
    let fails = |path: &&std::path::PathBuf| {
        let input = fs::read(path).expect("an input");
        catch_unwind(AssertUnwindSafe(|| check(&input))).is_err()
    };
    let failed: Vec<_> = paths.iter().filter(fails).collect();
    assert!(failed.is_empty(), "{} of {} inputs: {failed:#?}", failed.len(), paths.len());
}

#[test]
fn request_head() {
    run("request_head", crate::request_head::check);
}

#[test]
fn response_head() {
    run("response_head", crate::response_head::check);
}

#[test]
fn chunked() {
    run("chunked", crate::chunked::check);
}

#[test]
fn preface() {
    run("preface", crate::preface::check);
}

#[test]
fn exchange() {
    run("exchange", crate::exchange::check);
}
