//! The admin token: what can be one, and where it comes from. What is wrong is said without showing it.

use std::fs::File;
use std::io::Read;

use super::draft::Draft;
use super::keys::peers::{TOKEN_FILE_NAME, TOKEN_NAME};
use super::keys::{ADMIN_TOKEN, ADMIN_TOKEN_FILE};
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

/// The token that was given, or that is in the file that was named; else what is wrong, and with which key: with
/// `needed_by` if there is none.
pub(super) fn find(draft: &Draft, needed_by: &'static str) -> Result<Token, (&'static str, String)> {
    match (&draft.admin_token, &draft.admin_token_file) {
        (Some(token), None) => Ok(token.clone()),
        (None, Some(path)) => read(path).map_err(|complaint| (ADMIN_TOKEN_FILE, complaint)),
        (Some(_), Some(_)) => {
            Err((ADMIN_TOKEN_FILE, format!("there is an {ADMIN_TOKEN} as well; leave out one of the two")))
        }
        (None, None) => {
            let file = "EVENKEEL_ADMIN_TOKEN_FILE=/run/secrets/evenkeel-admin-token";
            Err((needed_by, format!("there is no admin token; give the file that has it, like {file}")))
        }
    }
}

/// The peers' token, given or in the file that was named, if any; else what is wrong, and with which key.
pub(super) fn of_peers(draft: &Draft) -> Result<Option<Token>, (&'static str, String)> {
    match (&draft.peers.token, &draft.peer_token_file) {
        (token, None) => Ok(token.clone()),
        (None, Some(path)) => read(path).map(Some).map_err(|complaint| (TOKEN_FILE_NAME, complaint)),
        (Some(_), Some(_)) => {
            Err((TOKEN_FILE_NAME, format!("there is a {TOKEN_NAME} as well; leave out one of the two")))
        }
    }
}
