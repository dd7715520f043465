//! Rules that set, add and remove fields of the heads that pass.

use std::fmt;
use std::net::Ipv6Addr;

use crate::config::error::closest;

/// The rules of both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderSettings {
    /// What happens to requests on their way to a replica.
    pub request: HeaderRules,
    /// What happens to answers on their way to a client.
    pub response: HeaderRules,
}

impl HeaderSettings {
    /// Whether there is any rule.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }

    /// Whether any rule has a placeholder.
    pub fn has_placeholders(&self) -> bool {
        self.request.has_placeholders || self.response.has_placeholders
    }
}

/// The rules of one direction, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    rules: Vec<HeaderRule>,
    has_placeholders: bool,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HeaderRule {
    name: String,
    action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// Every field of that name goes, and this comes.
    Set(Vec<Piece>),
    /// This comes behind those that are there.
    Add(Vec<Piece>),
    /// Every field of that name goes.
    Remove,
}

/// A piece of a field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This text.
    Text(String),
    /// What this stands for.
    Placeholder(Placeholder),
}

/// What a rule may say about a request, in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The client's address, as `X-Real-IP` has it.
    Client,
    /// The `Host` that was asked for, with its port.
    Host,
    /// `http`, or what a trusted proxy says in `X-Forwarded-Proto`.
    Scheme,
    /// The `X-Request-Id` of a trusted proxy, or one that is made for this request.
    RequestId,
}

impl Placeholder {
    const ALL: [Self; 4] = [Self::Client, Self::Host, Self::Scheme, Self::RequestId];

    fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Host => "host",
            Self::Scheme => "scheme",
            Self::RequestId => "request_id",
        }
    }
}

/// Which messages a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    Request,
    /// Answers.
    Response,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "a request",
            Self::Response => "an answer",
        })
    }
}

/// Fields that frame a message, or belong to one connection.
const FRAMING: [&str; 14] = [
    "connection",
    "content-length",
    // What peers tell one another, which nobody else is to see.
    "evenkeel-peer",
    "http2-settings",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Fields of a request that decide how it is passed on.
const STEERING: [&str; 3] = ["expect", "max-forwards", "via"];
/// Other fields, besides `X-Forwarded-*`, whose spelling with `_` never passes.
const TOLD_APART: [&str; 2] = ["x-real-ip", "x-served-by"];

impl HeaderRules {
    /// Adds a rule: `Name: value` sets, `+Name: value` adds, `-Name` removes.
    ///
    /// # Errors
    /// What is wrong with it: no rule, a value that no field can have, a field that evenkeel has to write itself, an
    /// unknown placeholder, or a field that is set already.
    pub fn push(&mut self, text: &str, direction: Direction) -> Result<(), String> {
        let rule = HeaderRule::parse(text.trim(), direction)?;
        let is_set = |rule: &HeaderRule| matches!(rule.action, Action::Set(_));
        if is_set(&rule) && self.rules.iter().any(|other| is_set(other) && is_alike(&other.name, &rule.name)) {
            let name = rule.name;
            return Err(format!("{text:?}: {name} is set already; add another with `+{name}: …`"));
        }
        self.has_placeholders |= rule.pieces().iter().any(|piece| matches!(piece, Piece::Placeholder(_)));
        self.rules.push(rule);
        Ok(())
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether fields of that name go, in any case, be it with `_` for `-`: many programs read that as the same.
    pub fn takes_away(&self, name: &[u8]) -> bool {
        self.takers().any(|rule| is_alike_bytes(rule.name.as_bytes(), name))
    }

    /// Whether any field goes.
    pub fn take_something_away(&self) -> bool {
        self.takers().next().is_some()
    }

    fn takers(&self) -> impl Iterator<Item = &HeaderRule> {
        self.rules.iter().filter(|rule| !matches!(rule.action, Action::Add(_)) && !rule.is_host())
    }

    /// The fields that come, in order.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &[Piece])> {
        let comes = |rule: &&HeaderRule| !matches!(rule.action, Action::Remove) && !rule.is_host();
        self.rules.iter().filter(comes).map(|rule| (rule.name.as_str(), rule.pieces()))
    }

    /// What `Host` is set to.
    pub fn host(&self) -> Option<&str> {
        match self.rules.iter().find(|rule| rule.is_host())?.pieces() {
            [Piece::Text(host)] => Some(host),
            _ => None,
        }
    }
}

impl HeaderRule {
    fn parse(text: &str, direction: Direction) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix('-') {
            if name.contains(':') {
                return Err(format!("{text:?}: a removal has no value, like -Cookie"));
            }
            let name = field_name(text, name, direction)?;
            if direction == Direction::Request && name.eq_ignore_ascii_case("host") {
                return Err(format!("{text:?}: a request has one Host; set it, like \"Host: shop.example\""));
            }
            return Ok(Self { name, action: Action::Remove });
        }
        let (adds, rest) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
        let Some((name, value)) = rest.split_once(':') else {
            return Err(format!(
                "{text:?} is no rule: \"Name: value\" sets, \"+Name: value\" adds, \"-Name\" removes a field"
            ));
        };
        let name = field_name(text, name, direction)?;
        let pieces = pieces(text, value.trim_matches([' ', '\t']))?;
        if direction == Direction::Request && name.eq_ignore_ascii_case("host") {
            check_host(text, adds, &pieces)?;
        }
        let action = if adds { Action::Add(pieces) } else { Action::Set(pieces) };
        Ok(Self { name, action })
    }

    fn pieces(&self) -> &[Piece] {
        match &self.action {
            Action::Set(pieces) | Action::Add(pieces) => pieces,
            Action::Remove => &[],
        }
    }

    /// Whether it is about `Host`, which has a place of its own in a head; no rule for answers is.
    fn is_host(&self) -> bool {
        self.name.eq_ignore_ascii_case("host")
    }
}

/// A name that a rule may have.
fn field_name(rule: &str, name: &str, direction: Direction) -> Result<String, String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("{rule:?}: {name:?} is not the name of a field, like X-Client"));
    }
    let dashed = name.to_ascii_lowercase().replace('_', "-");
    let is_one_of = |names: &[&str]| names.contains(&dashed.as_str());
    let is_known = is_one_of(&FRAMING) || is_one_of(&STEERING) || is_one_of(&TOLD_APART);
    if name.contains('_') && (is_known || dashed.starts_with("x-forwarded-")) {
        return Err(format!(
            "{rule:?}: {name} never passes, since many programs read it as {}",
            name.replace('_', "-")
        ));
    }
    if is_one_of(&FRAMING) || (direction == Direction::Request && is_one_of(&STEERING)) {
        return Err(format!("{rule:?}: {name} is evenkeel's own to write in {direction}; leave out this rule"));
    }
    if direction == Direction::Response && dashed == "host" {
        return Err(format!("{rule:?}: {direction} has no Host; leave out this rule"));
    }
    Ok(name.to_owned())
}

/// A value as text and placeholders.
fn pieces(rule: &str, value: &str) -> Result<Vec<Piece>, String> {
    if value.is_empty() {
        let name = rule.trim_start_matches('+').split(':').next().unwrap_or_default();
        return Err(format!("{rule:?} has no value; to remove a field, write -{name}"));
    }
    if let Some(odd) = value.chars().find(|c| !matches!(c, ' '..='~' | '\t')) {
        return Err(format!("{rule:?}: a value has only visible ASCII characters and blanks, not {odd:?}"));
    }
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let is_word =
            |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        match after.split_once('}').filter(|(word, _)| is_word(word)) {
            Some((word, behind)) => {
                let placeholder = placeholder(rule, word)?;
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Placeholder(placeholder));
                rest = behind;
            }
            // A brace of the value's own, as JSON has them.
            None => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

fn placeholder(rule: &str, word: &str) -> Result<Placeholder, String> {
    if let Some(known) = Placeholder::ALL.into_iter().find(|known| known.as_str() == word) {
        return Ok(known);
    }
    let known = Placeholder::ALL.map(Placeholder::as_str);
    let hint = closest(word, known).map(|word| format!("; did you mean {{{word}}}?")).unwrap_or_default();
    let known = known.map(|word| format!("{{{word}}}")).join(", ");
    Err(format!("{rule:?}: {{{word}}} is not one of {known}{hint}"))
}

/// `Host` can only be set, to a host with or without a port.
fn check_host(rule: &str, adds: bool, pieces: &[Piece]) -> Result<(), String> {
    match pieces {
        [Piece::Text(host)] if !adds && is_host(host) => Ok(()),
        _ => Err(format!("{rule:?}: Host can only be set to a fixed host, like \"Host: shop.example:8080\"")),
    }
}

/// Whether it is a name, an IPv4 address, or an IPv6 address in brackets, with or without a port: what is taken from a
/// client, too.
fn is_host(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let (is_right, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (!name.is_empty() && name.chars().all(is_name), port)
        }
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_right && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// Whether the names are the same but for their case and for `_` and `-`.
fn is_alike(a: &str, b: &str) -> bool {
    is_alike_bytes(a.as_bytes(), b.as_bytes())
}

fn is_alike_bytes(a: &[u8], b: &[u8]) -> bool {
    let dashed = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| dashed(*a) == dashed(*b))
}

#[cfg(test)]
mod tests;
