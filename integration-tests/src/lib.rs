//! The test harness of evenkeel.

pub mod http;
