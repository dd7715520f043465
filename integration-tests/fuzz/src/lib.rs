//! What is checked of whatever comes from a socket. Each check takes any bytes; libFuzzer looks for bytes that make one
//! fail (`just fuzz`), and the inputs that it found to matter, in `corpus/`, are an ordinary test of evenkeel.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code: what does not hold must fail the test"
)]

pub mod chunked;
pub mod exchange;
mod fields;
pub mod preface;
mod reading;
pub mod request_head;
pub mod response_head;
mod rules;
mod splits;

#[cfg(test)]
mod corpus;
