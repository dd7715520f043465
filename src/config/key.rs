//! A key: one setting as the table has it.

use super::draft::Draft;
use super::parse::Parsed;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// The file's key; `--name` is the flag.
    pub name: &'static str,
    /// Under which heading people find it.
    pub group: &'static str,
    /// What stands for the value in the help.
    pub value: &'static str,
    /// What holds when nobody says anything.
    pub fallback: Fallback,
    /// One sentence for people.
    pub help: &'static str,
    pub(super) kind: Kind,
}

/// What holds when nobody says anything.
#[derive(Clone, Copy, Debug)]
pub enum Fallback {
    /// This text.
    Text(&'static str),
    /// Nothing.
    Unset {
        /// What nothing comes to.
        means: &'static str,
        /// A text that would be something.
        example: &'static str,
    },
}

/// How many texts a key takes, how TOML writes them, and what they do to the draft.
#[derive(Debug)]
pub(super) enum Kind {
    Text(Set),
    /// A text that nobody is shown.
    Secret(Set),
    Number(Set),
    Switch(Set),
    List(SetAll),
}

type Set = fn(&mut Draft, &str) -> Parsed<()>;
type SetAll = fn(&mut Draft, &str) -> Vec<String>;

impl Key {
    /// The environment variable: `EVENKEEL_CONNECT_TIMEOUT` for `connect-timeout`.
    pub fn variable(&self) -> String {
        format!("{}{}", super::env::PREFIX, self.name.to_uppercase().replace('-', "_"))
    }

    /// A text that is right for this key.
    pub fn example(&self) -> &'static str {
        match self.fallback {
            Fallback::Text(text) => text,
            Fallback::Unset { example, .. } => example,
        }
    }

    /// Parses the texts into the draft; returns what is wrong with them.
    pub(super) fn apply(&self, draft: &mut Draft, texts: &[String]) -> Vec<String> {
        match self.kind {
            Kind::Text(set) | Kind::Secret(set) | Kind::Number(set) | Kind::Switch(set) => {
                texts.last().and_then(|text| set(draft, text).err()).into_iter().collect()
            }
            Kind::List(set) => texts.iter().flat_map(|text| set(draft, text)).collect(),
        }
    }
}
