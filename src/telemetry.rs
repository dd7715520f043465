//! Tracing set-up: what is logged goes to stderr, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::util::TryInitError;

use crate::config::settings::{LogFormat, LogSettings};

/// Crates that speak of every request and every event below `warn`.
const CHATTY: [&str; 3] = ["bollard", "hyper", "hyper_util"];

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is none.
    #[error("the log filter: {0}")]
    Filter(#[from] ParseError),
    /// This process logs already.
    #[error("logging was set up before: {0}")]
    Twice(#[from] TryInitError),
}

/// Sets up logging for the whole process, once.
///
/// # Errors
/// If the filter is none, or logging was set up before.
pub fn init(settings: &LogSettings) -> Result<(), Error> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let log = tracing_subscriber::fmt().with_env_filter(filter(&settings.filter)?).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).finish().try_init()?,
        LogFormat::Json => log.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

/// The filter, with the chatty crates held at `warn` unless it names them itself.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let level = text.split(',').filter_map(|directive| directive.parse::<LevelFilter>().ok()).next_back();
    let quiet = level.unwrap_or(LevelFilter::ERROR).min(LevelFilter::WARN);
    // A later directive replaces an earlier one for the same crate, so the user's own come last.
    let held = CHATTY.map(|name| format!("{name}={quiet}")).join(",");
    EnvFilter::builder().parse(format!("{held},{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        filter(text).unwrap().to_string()
    }

    #[test]
    fn chatty_crates_are_held_at_warn_or_below() {
        assert!(shown("debug").contains("hyper=warn"), "{}", shown("debug"));
        assert!(shown("debug").contains("bollard=warn"), "{}", shown("debug"));
        assert!(shown("off").contains("hyper=off"), "{}", shown("off"));
        assert!(shown("evenkeel=debug").contains("hyper=error"), "{}", shown("evenkeel=debug"));
    }

    #[test]
    fn a_filter_that_names_a_chatty_crate_wins() {
        assert!(shown("info,hyper=trace").contains("hyper=trace"), "{}", shown("info,hyper=trace"));
        assert!(!shown("info,hyper=trace").contains("hyper=warn"), "{}", shown("info,hyper=trace"));
    }

    #[test]
    fn the_filter_itself_stays() {
        let directives = shown("info,evenkeel=debug");
        assert!(directives.split(',').any(|directive| directive == "evenkeel=debug"), "{directives}");
        assert!(directives.split(',').any(|directive| directive == "info"), "{directives}");
        assert!(filter("evenkeel=loud").is_err());
    }
}
