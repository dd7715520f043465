//! The test harness of evenkeel.
