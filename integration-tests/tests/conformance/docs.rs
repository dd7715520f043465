//! `docs/http.md` says what the tables say: the same rows with the same cases, the same exceptions, and the same rows
//! that are not as they have to be yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::rows::PENDING;
use crate::tables;

const PAGE: &str = include_str!("../../../docs/http.md");

/// The rows of the checklist. Those above are about HTTP/2.
const ROWS: std::ops::RangeInclusive<u16> = 1..=126;

/// Rows in which evenkeel differs from what is asked, and the cases that show it. `docs/http.md` says why.
const EXCEPTIONS: &[(u16, &str)] = &[(102, "prism")];

/// The first two cells of each line of a section's tables that begins with a number.
fn listed(heading: &str) -> Vec<(u16, String)> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    cells.filter_map(|(number, rest)| Some((number.parse().ok()?, rest.split(" | ").next()?.to_owned()))).collect()
}

/// The cases of each row.
fn cases() -> BTreeMap<u16, BTreeSet<&'static str>> {
    let mut cases = BTreeMap::<_, BTreeSet<_>>::new();
    for (_, rows) in tables::all() {
        for (number, handle) in rows.iter().map(crate::rows::Row::name) {
            assert!(cases.entry(number).or_default().insert(handle), "{number} {handle} is there twice");
        }
    }
    cases
}

#[test]
fn every_row_has_its_cases_on_the_page() {
    let listed = listed("The rows");
    let numbers: Vec<_> = listed.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, ROWS.collect::<Vec<_>>(), "each row once, in order");
    let cases = cases();
    for (number, text) in listed {
        let on_page: Vec<_> =
            text.split(", ").map(|case| case.trim_matches('`')).filter(|one| !one.is_empty()).collect();
        let in_tables: Vec<_> = cases.get(&number).into_iter().flatten().copied().collect();
        assert_eq!(on_page, in_tables, "row {number} of docs/http.md; it has to say `{}`", in_tables.join("`, `"));
        let is_excepted = EXCEPTIONS.iter().any(|(excepted, _)| *excepted == number);
        assert!(is_excepted || !in_tables.is_empty(), "row {number} has no case");
    }
}

#[test]
fn exceptions_are_on_the_page() {
    let on_page: Vec<_> = listed("Exceptions");
    let in_tables: Vec<_> = EXCEPTIONS.iter().map(|(number, handle)| (*number, format!("`{handle}`"))).collect();
    assert_eq!(on_page, in_tables);
    let known: BTreeSet<_> = cases().into_values().flatten().collect();
    assert!(EXCEPTIONS.iter().all(|(_, handle)| known.contains(handle)), "an exception without a case");
}

#[test]
fn what_is_pending_is_on_the_page() {
    let on_page: BTreeSet<_> = listed("Not yet").into_iter().collect();
    let in_tables: BTreeSet<_> = PENDING.iter().map(|(number, handle, _)| (*number, format!("`{handle}`"))).collect();
    assert_eq!(on_page, in_tables);
    let known: BTreeSet<_> = cases()
        .into_iter()
        .flat_map(|(number, handles)| handles.into_iter().map(move |handle| (number, handle)))
        .collect();
    assert!(PENDING.iter().all(|(number, handle, _)| known.contains(&(*number, *handle))), "pending without a case");
}
