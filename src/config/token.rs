//! Tokens: what can be one, and where they come from. What is wrong is said without showing it.

use std::fs::File;
use std::io::Read;

use super::draft::Draft;
use super::keys::ADMIN_TOKEN_FILE;
use super::keys::peers::TOKEN_FILE_NAME;
use super::parse::Parsed;
use super::settings::Token;

/// Fewer characters than nobody guesses.
const SHORTEST: usize = 16;
/// More than these are not a token, but the wrong file.
const LONGEST: usize = 1024;

/// What a client shows behind `Authorization: Bearer`.
pub(super) fn parse(text: &str) -> Parsed<Token> {
    if (SHORTEST..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Token::from(text));
    }
    Err(format!(
        "what is given is not {SHORTEST} to {LONGEST} visible ASCII characters without blanks, like those that \
         `openssl rand -hex 32` prints"
    ))
}

/// The token of a file; blanks and line breaks around it do not count.
fn read(path: &str) -> Parsed<Token> {
    let mut text = String::new();
    // A little more, so that one that is too long is not taken for a shorter one.
    let most = LONGEST as u64 * 2;
    let outcome = File::open(path).and_then(|file| file.take(most).read_to_string(&mut text));
    outcome.map_err(|cause| format!("cannot read {path:?}: {cause}"))?;
    parse(text.trim()).map_err(|complaint| format!("{path:?}: {complaint}"))
}

/// What is wrong, and with which key.
pub(super) type Wrong = (&'static str, String);

/// Where a token is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// It was given.
    Given(&'a Token),
    /// In the file that this key names.
    File(&'static str, &'a str),
}

impl<'a> Source<'a> {
    /// The one place that is named, if any, by one of the keys `name` and `file_name`.
    fn of(
        (name, token): (&str, Option<&'a Token>),
        (file_name, path): (&'static str, Option<&'a str>),
    ) -> Result<Option<Self>, Wrong> {
        match (token, path) {
            (Some(_), Some(_)) => Err((file_name, format!("there is {name} as well; leave out one of the two"))),
            (token, path) => Ok(token.map(Self::Given).or(path.map(|path| Self::File(file_name, path)))),
        }
    }

    /// The token; reads the file that it is in.
    pub(super) fn token(self) -> Result<Token, Wrong> {
        match self {
            Self::Given(token) => Ok(token.clone()),
            Self::File(name, path) => read(path).map_err(|complaint| (name, complaint)),
        }
    }
}

/// Where the admin token is; what is wrong with the key `needed_by` if there is none.
pub(super) fn of_admin<'a>(draft: &'a Draft, needed_by: &'static str) -> Result<Source<'a>, Wrong> {
    let given = ("an admin-token", draft.admin_token.as_ref());
    Source::of(given, (ADMIN_TOKEN_FILE, draft.admin_token_file.as_deref()))?.ok_or_else(|| {
        let file = "EVENKEEL_ADMIN_TOKEN_FILE=/run/secrets/evenkeel-admin-token";
        (needed_by, format!("there is no admin token; give the file that has it, like {file}"))
    })
}

/// Where the peers' token is, if there is one.
pub(super) fn of_peers(draft: &Draft) -> Result<Option<Source<'_>>, Wrong> {
    let given = ("a peer-token", draft.peers.token.as_ref());
    Source::of(given, (TOKEN_FILE_NAME, draft.peer_token_file.as_deref()))
}
