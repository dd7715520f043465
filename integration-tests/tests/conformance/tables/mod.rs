//! The rows by what they are about.

pub(crate) mod answers;
pub(crate) mod chunked;
pub(crate) mod fields;
pub(crate) mod forwarding;
pub(crate) mod framing;
pub(crate) mod host;
pub(crate) mod interim;
pub(crate) mod limits;
pub(crate) mod pace;
pub(crate) mod request_line;
pub(crate) mod smuggling;
pub(crate) mod trailers;
pub(crate) mod upgrade;

use crate::case::Case;
use crate::rows::{Row, verify};

fn of(cases: Vec<Case>) -> Vec<Row> {
    cases.into_iter().map(Row::from).collect()
}

/// Every table by its name.
pub(crate) fn all() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("framing", of(framing::cases())),
        ("chunked", chunked::rows()),
        ("fields", of(fields::cases())),
        ("request_line", of(request_line::cases())),
        ("host", of(host::cases())),
        ("forwarding", forwarding::rows()),
        ("interim", interim::rows()),
        ("upgrade", upgrade::rows()),
        ("trailers", trailers::rows()),
        ("answers", answers::rows()),
        ("pace", pace::rows()),
        ("limits", limits::rows()),
        ("smuggling", smuggling::rows()),
    ]
}

/// Every case that is data.
pub(crate) fn cases() -> Vec<Case> {
    let tables = [
        framing::cases(),
        chunked::cases(),
        fields::cases(),
        request_line::cases(),
        host::cases(),
        forwarding::cases(),
        interim::cases(),
        upgrade::cases(),
        trailers::cases(),
        answers::cases(),
        smuggling::cases(),
    ];
    tables.concat()
}

async fn verify_table(name: &str) {
    let rows = all().into_iter().find(|(table, _)| *table == name).expect("a table of this name").1;
    verify(rows).await;
}

macro_rules! tables {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            verify_table(stringify!($name)).await;
        }
    )*};
}

mod rows {
    use super::verify_table;
    tables! { framing chunked fields request_line host forwarding interim upgrade trailers answers pace limits smuggling }
}
