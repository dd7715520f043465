//! What can be wrong with a configuration, in words that say where, what and how instead.

use std::fmt;

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value is not what its key takes.
    #[error("{place}: {complaint}")]
    Value {
        /// Where the value stands.
        place: String,
        /// The value, what is expected, and an example.
        complaint: String,
    },
    /// There is no such key.
    #[error("{place}: no such setting; {}", hint(suggestion.as_deref()))]
    Unknown {
        /// Where the key stands.
        place: String,
        /// The name that was probably meant.
        suggestion: Option<String>,
    },
    /// The file cannot be read.
    #[error("{place}: cannot read {path:?}: {cause}")]
    Unreadable {
        /// Where the file is named.
        place: String,
        /// The file.
        path: String,
        /// The operating system's words.
        cause: String,
    },
    /// The file is not TOML.
    #[error("{path}: line {line}: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// The TOML parser's words.
        message: String,
    },
}

fn hint(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(name) => format!("did you mean {name}?"),
        None => "`evenkeel --help` lists them all".to_owned(),
    }
}

/// Everything that is wrong with the configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl std::error::Error for Errors {}

/// One problem a line, each indented, under a line that counts them.
impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a problem")?,
            n => write!(f, "the configuration has {n} problems")?,
        }
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// The name that `typed` was probably meant to be.
pub(super) fn closest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this likeness a suggestion would puzzle more than help.
    const ALIKE: f64 = 0.6;
    let typed = typed.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&typed, name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}
