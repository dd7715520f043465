//! One case as data: what a client sends, what the replica answers, and what may come of it.

use crate::replica::{Script, Then};
use crate::world::Settings;
use integration_tests::wire::Fields;

/// What a client whose message is doubtful sends next; a replica must never see it.
pub(crate) const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: gateway\r\n\r\n";

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) number: u16,
    pub(crate) handle: &'static str,
    pub(crate) sends: Vec<u8>,
    /// How many answers are due if it is taken.
    pub(crate) asks: usize,
    pub(crate) settings: Settings,
    pub(crate) script: Script,
    /// Any of these is right.
    pub(crate) outcomes: Vec<Outcome>,
    /// Whether the replica's connection must, or must not, be used again.
    pub(crate) is_reused: Option<bool>,
    /// Whether [`SMUGGLED`] follows where only refusals are right.
    pub(crate) is_followed: bool,
}

/// What may come of a case.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Of each final answer.
    pub(crate) statuses: &'static [u16],
    pub(crate) end: End,
    /// The requests that the replicas get, whole.
    pub(crate) taken: Vec<Want>,
    /// Whether one more may have begun; it must have been broken off.
    pub(crate) may_break_off: bool,
    /// Of the last answer.
    pub(crate) fields: Vec<Rule>,
    pub(crate) body: Option<Vec<u8>>,
    /// The statuses of the 1xx before it.
    pub(crate) interims: Option<Vec<u16>>,
}

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Stays,
    /// Closed or reset after whole answers.
    Closes,
    Either,
    /// Closed or reset before an answer was whole.
    Cut,
    /// Reset before an answer was whole.
    Reset,
}

/// A request as a replica must get it.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) service: &'static str,
    pub(crate) line: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) fields: Vec<Rule>,
}

/// What is asked of a message's fields.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// The values of all fields of this name.
    Has(&'static str, Vec<String>),
    Lacks(&'static str),
    /// Its last value, after the last comma, is one which this holds for, and before it come these.
    Ends(&'static str, &'static [&'static str], fn(&str) -> bool),
}

impl Rule {
    pub(crate) fn check(&self, fields: &Fields) -> Result<(), String> {
        let (name, holds) = match self {
            Self::Has(name, values) => (name, fields.all(name) == *values),
            Self::Lacks(name) => (name, fields.all(name).is_empty()),
            Self::Ends(name, before, fits) => {
                let values = fields.all(name).join(",");
                let mut values: Vec<_> = values.split(',').map(str::trim).collect();
                let last = values.pop();
                (name, last.is_some_and(fits) && values == *before)
            }
        };
        if holds { Ok(()) } else { Err(format!("{name} is {:?}, not as in {self:?}", fields.all(name))) }
    }
}

/// A message of which rules say what fields it must have.
pub(crate) trait Ruled: Sized {
    fn rules(&mut self) -> &mut Vec<Rule>;

    fn has(mut self, name: &'static str, values: &[&str]) -> Self {
        self.rules().push(Rule::Has(name, values.iter().map(|one| (*one).to_owned()).collect()));
        self
    }

    fn lacks(mut self, names: &[&'static str]) -> Self {
        self.rules().extend(names.iter().map(|name| Rule::Lacks(name)));
        self
    }
}

impl Ruled for Outcome {
    fn rules(&mut self) -> &mut Vec<Rule> {
        &mut self.fields
    }
}

impl Ruled for Want {
    fn rules(&mut self) -> &mut Vec<Rule> {
        &mut self.fields
    }
}

impl Case {
    /// `sends` as one request; the replica says 200.
    pub(crate) fn new(number: u16, handle: &'static str, sends: impl AsRef<[u8]>) -> Self {
        Self {
            number,
            handle,
            sends: sends.as_ref().to_owned(),
            asks: 1,
            settings: &[],
            script: Script::Echo,
            outcomes: Vec::new(),
            is_reused: None,
            is_followed: true,
        }
    }

    /// `GET /case`, whose answer by the replica is this.
    pub(crate) fn scripted(number: u16, handle: &'static str, answer: impl AsRef<[u8]>, then: Then) -> Self {
        let get = "GET /case HTTP/1.1\r\nHost: gateway\r\n\r\n";
        Self { script: Script::Answer(answer.as_ref().to_owned(), then), ..Self::new(number, handle, get) }
    }

    pub(crate) fn sending(self, sends: impl AsRef<[u8]>) -> Self {
        Self { sends: sends.as_ref().to_owned(), ..self }
    }

    pub(crate) fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    pub(crate) fn asking(self, asks: usize) -> Self {
        Self { asks, ..self }
    }

    pub(crate) fn reused(self, is_reused: bool) -> Self {
        Self { is_reused: Some(is_reused), ..self }
    }

    /// Nothing follows what is sent.
    pub(crate) fn alone(self) -> Self {
        Self { is_followed: false, ..self }
    }

    pub(crate) fn may(mut self, outcome: Outcome) -> Self {
        self.outcomes.push(outcome);
        self
    }

    /// One of these statuses and a close, and nothing at a replica.
    pub(crate) fn refused(self, statuses: &'static [u16]) -> Self {
        self.may(Outcome::new(statuses, End::Closes))
    }

    /// As [`refused`](Self::refused), but the head may have gone to a replica.
    pub(crate) fn broken_off(self, statuses: &'static [u16]) -> Self {
        self.may(Outcome { may_break_off: true, ..Outcome::new(statuses, End::Closes) })
    }

    /// 200 for each of these at a replica, and the connection stays.
    pub(crate) fn taken(self, taken: impl IntoIterator<Item = Want>) -> Self {
        self.may(Outcome { taken: taken.into_iter().collect(), ..Outcome::new(&[200], End::Stays) })
    }

    /// What is sent in the end.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let is_refused = self.outcomes.iter().all(|one| one.end == End::Closes && one.taken.is_empty());
        if is_refused && self.is_followed { [&self.sends, SMUGGLED].concat() } else { self.sends.clone() }
    }
}

impl Outcome {
    pub(crate) fn new(statuses: &'static [u16], end: End) -> Self {
        Self { statuses, end, taken: Vec::new(), may_break_off: false, fields: Vec::new(), body: None, interims: None }
    }

    pub(crate) fn taken(self, taken: Want) -> Self {
        Self { taken: vec![taken], ..self }
    }

    pub(crate) fn body(self, body: impl AsRef<[u8]>) -> Self {
        Self { body: Some(body.as_ref().to_owned()), ..self }
    }

    pub(crate) fn interims(self, statuses: &[u16]) -> Self {
        Self { interims: Some(statuses.to_owned()), ..self }
    }
}

/// This line at the service `gateway`, without a body.
pub(crate) fn want(line: &'static str) -> Want {
    Want { service: "gateway", line, body: Vec::new(), fields: Vec::new() }
}

impl Want {
    pub(crate) fn at(self, service: &'static str) -> Self {
        Self { service, ..self }
    }

    pub(crate) fn body(self, body: impl AsRef<[u8]>) -> Self {
        Self { body: body.as_ref().to_owned(), ..self }
    }

    /// The values of a list: these, and one that fits.
    pub(crate) fn ends(mut self, name: &'static str, before: &'static [&'static str], fits: fn(&str) -> bool) -> Self {
        self.fields.push(Rule::Ends(name, before, fits));
        self
    }
}

/// `GET /case` with these field lines, each ended by CRLF.
pub(crate) fn get(fields: &str) -> String {
    format!("GET /case HTTP/1.1\r\nHost: gateway\r\n{fields}\r\n")
}

/// `POST /case` with these field lines, and what follows the head.
pub(crate) fn post(fields: &str, rest: &str) -> String {
    format!("POST /case HTTP/1.1\r\nHost: gateway\r\n{fields}\r\n{rest}")
}
