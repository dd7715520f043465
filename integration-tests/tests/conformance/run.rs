//! Runs a case and judges what came of it.

use tokio::time::Instant;

use crate::PATIENCE;
use crate::case::{Case, End, Outcome, Want};
use crate::client::{Answers, Ended, Heard};
use crate::replica::{Recorded, Rest};
use crate::world::{Records, World};
use integration_tests::wire::{self, Request, Response};

/// What is delivered byte by byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piecewise {
    pub(crate) requests: bool,
    pub(crate) answers: bool,
}

/// What the client saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) interims: Vec<Response>,
    pub(crate) answers: Vec<Response>,
    /// The answer that was not whole, as far as it went, and if it got so far.
    pub(crate) cut: Option<Option<Response>>,
    /// `None`: the connection stayed, and a further request on it was answered.
    pub(crate) ended: Option<Ended>,
    pub(crate) fault: Option<String>,
}

/// Runs a case in one piece and judges it.
pub(crate) async fn verdict(case: Case) -> Result<(), String> {
    let (observed, records) = run(&case, Piecewise::default()).await?;
    judge(&case, &observed, &records)
}

/// Runs a case, with a healthy request after it, up to the stop of evenkeel.
pub(crate) async fn run(case: &Case, piecewise: Piecewise) -> Result<(Observed, Records), String> {
    let world = World::start_piecewise(case.settings, case.script.clone(), piecewise.answers).await?;
    let mut client = world.client().await;
    let bytes = case.bytes();
    let is_head = bytes.starts_with(b"HEAD");
    let mut observed = Observed::default();
    let (sender, answers) = (&mut client.sender, &mut client.answers);
    let listening = observed.listen(answers, case.asks, is_head);
    tokio::join!(sender.send(&bytes, piecewise.requests), listening);
    if observed.is_open() && observed.is_end_due(case) {
        observed.await_end(&mut client.answers).await;
    } else if observed.is_open() {
        client.send("GET /after HTTP/1.1\r\nHost: gateway\r\n\r\n").await;
        observed.await_after(client.hear().await);
    }
    drop(client);
    world.is_healthy().await?;
    match case.is_reused {
        Some(true) => until_reused(&world).await?,
        Some(false) => world.is_healthy().await?,
        None => {}
    }
    Ok((observed, world.stop().await))
}

async fn until_reused(world: &World) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !world.gateway.recorded().iter().any(is_reused) {
        if Instant::now() > deadline {
            return Err("the replica's connection was not used again".to_owned());
        }
        world.is_healthy().await?;
    }
    Ok(())
}

/// Whether a request of the case was followed by another on the same connection.
fn is_reused(record: &Recorded) -> bool {
    let taken = record.taken();
    taken.requests.iter().position(is_of_case).is_some_and(|at| at + 1 < taken.requests.len())
}

/// Whether a request is neither the one after nor the healthy one.
fn is_of_case(request: &Request) -> bool {
    !["GET /after", "GET /healthy"].contains(&&*request.line())
}

impl Observed {
    async fn listen(&mut self, answers: &mut Answers, due: usize, is_head: bool) {
        while self.answers.len() < due {
            match answers.next(is_head).await {
                Heard::Answer(answer) if matches!(answer.status, 100 | 102..=199) => self.interims.push(answer),
                Heard::Answer(answer) => self.answers.push(answer),
                Heard::Cut(partial, ended) => {
                    self.ended = Some(ended);
                    self.cut = if partial.is_none() && !self.answers.is_empty() { None } else { Some(partial) };
                    return;
                }
                Heard::Malformed(wrong) => {
                    self.fault = Some(wrong);
                    return;
                }
            }
        }
        self.ended = answers.ended();
    }

    fn is_open(&self) -> bool {
        self.ended.is_none() && self.fault.is_none()
    }

    /// Whether the answer, or the case, says that the connection is to be closed now.
    fn is_end_due(&self, case: &Case) -> bool {
        let Some(last) = self.answers.last() else { return true };
        let tokens = last.fields.all("connection").join(",").to_ascii_lowercase();
        let mut fitting = case.outcomes.iter().filter(|outcome| outcome.statuses.contains(&last.status)).peekable();
        tokens.split(',').any(|token| token.trim() == "close")
            || (fitting.peek().is_some() && fitting.all(|outcome| outcome.end == End::Closes))
    }

    async fn await_end(&mut self, answers: &mut Answers) {
        let (rest, ended) = answers.end().await;
        self.ended = Some(ended);
        if !rest.is_empty() {
            self.fault = Some(format!("after the answer came {:?}", wire::short(&rest)));
        }
    }

    fn await_after(&mut self, heard: Heard) {
        match heard {
            Heard::Answer(answer) if answer.status == 200 && answer.body == b"GET /after" => {}
            Heard::Cut(None, ended) => self.ended = Some(ended),
            other => self.fault = Some(format!("the next request on the connection got {other:?}")),
        }
    }
}

/// Holds what came of a case against every outcome that is right.
pub(crate) fn judge(case: &Case, observed: &Observed, records: &Records) -> Result<(), String> {
    let mut wrong = Vec::new();
    for outcome in &case.outcomes {
        match differs(case, outcome, observed, records) {
            Ok(()) => {
                wrong.clear();
                break;
            }
            Err(difference) => wrong.push(difference),
        }
    }
    if case.is_reused == Some(false) && records.gateway.iter().any(is_reused) {
        wrong.push("the replica's connection was used again".to_owned());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; or ")) }
}

fn differs(case: &Case, outcome: &Outcome, observed: &Observed, records: &Records) -> Result<(), String> {
    if let Some(fault) = &observed.fault {
        return Err(fault.clone());
    }
    let statuses: Vec<_> = observed.answers.iter().chain(observed.cut.iter().flatten()).map(|one| one.status).collect();
    let due = if outcome.statuses == [200] { outcome.taken.len().max(1) } else { 1 };
    if !statuses.iter().all(|status| outcome.statuses.contains(status)) || statuses.len() != due {
        return Err(format!("{statuses:?} and {:?} in place of {:?}", observed.ended, outcome.statuses));
    }
    let is_cut = observed.cut.is_some();
    let is_end_right = match (outcome.end, observed.ended) {
        (End::Stays, ended) => ended.is_none(),
        (End::Either, ended) => ended != Some(Ended::Open) && !is_cut,
        (End::Closes, ended) => matches!(ended, Some(Ended::Closed | Ended::Reset)) && !is_cut,
        (End::Cut, ended) => matches!(ended, Some(Ended::Closed | Ended::Reset)) && is_cut,
        (End::Reset, ended) => ended == Some(Ended::Reset) && is_cut,
    };
    if !is_end_right {
        return Err(format!("{statuses:?}, but the end was {:?}, cut {is_cut}, not {:?}", observed.ended, outcome.end));
    }
    if let Some(answer) = observed.answers.last().or(observed.cut.iter().flatten().last()) {
        check_answer(outcome, observed, answer)?;
        let is_old = case.sends.windows(10).any(|part| part == b" HTTP/1.0\r");
        if answer.version != "HTTP/1.1" && !is_old {
            return Err(format!("the answer's version is {}", answer.version));
        }
    }
    check_taken(outcome, records)
}

fn check_answer(outcome: &Outcome, observed: &Observed, answer: &Response) -> Result<(), String> {
    outcome.fields.iter().try_for_each(|rule| rule.check(&answer.fields))?;
    if let Some(body) = outcome.body.as_ref().filter(|body| **body != answer.body) {
        return Err(format!("the body is {:?}, not {:?}", wire::short(&answer.body), wire::short(body)));
    }
    let interims: Vec<_> = observed.interims.iter().map(|one| one.status).collect();
    match &outcome.interims {
        Some(due) if *due != interims => Err(format!("the answers before the answer are {interims:?}, not {due:?}")),
        _ => Ok(()),
    }
}

fn check_taken(outcome: &Outcome, records: &Records) -> Result<(), String> {
    if !records.were_settled {
        return Err("a broken request was left hanging at the replica".to_owned());
    }
    for (service, records) in [("gateway", &records.gateway), ("api", &records.api)] {
        let mut got = Vec::new();
        for taken in records.iter().map(Recorded::taken) {
            match &taken.rest {
                Rest::Nothing => {}
                Rest::Unfinished(_) if outcome.may_break_off => {}
                rest => return Err(format!("after {:?} the replica got {rest:?}", lines(&taken.requests))),
            }
            got.extend(taken.requests);
        }
        got.iter().try_for_each(is_proper)?;
        got.retain(is_of_case);
        let wanted: Vec<_> = outcome.taken.iter().filter(|want| want.service == service).collect();
        let wanted_lines: Vec<_> = wanted.iter().map(|want| want.line).collect();
        if lines(&got) != wanted_lines {
            return Err(format!("{service} got {:?}, not {wanted_lines:?}", lines(&got)));
        }
        wanted.iter().zip(&got).try_for_each(|(want, got)| check_request(want, got))?;
    }
    Ok(())
}

fn lines(requests: &[Request]) -> Vec<String> {
    requests.iter().map(Request::line).collect()
}

fn check_request(want: &Want, got: &Request) -> Result<(), String> {
    if got.body != want.body {
        return Err(format!("the replica got the body {:?}", wire::short(&got.body)));
    }
    want.fields.iter().try_for_each(|rule| rule.check(&got.fields)).map_err(|wrong| format!("at the replica, {wrong}"))
}

/// What every request has when it comes to a replica.
pub(crate) fn is_proper(request: &Request) -> Result<(), String> {
    let fields = &request.fields;
    let never = ["keep-alive", "proxy-connection", "proxy-authorization", "trailer", "proxy", "http2-settings"];
    let host = fields.one("host").filter(|host| !host.is_empty());
    let te_is_fine = fields.all("te").iter().all(|te| te == "trailers");
    let says_who = ["x-forwarded-for", "x-real-ip"].iter().all(|name| fields.one(name).as_deref() == Some("127.0.0.1"));
    if host.is_some() && te_is_fine && says_who && never.iter().all(|name| fields.all(name).is_empty()) {
        return Ok(());
    }
    Err(format!("not a proper request at the replica: {request:?}"))
}
