//! From what a replica answered to what the client gets.

use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode, Version};

use super::body::{AnswerBody, Held};
use super::connection::Client;
use super::failure::Failure;
use super::pool::Connection;
use super::prepare::Asked;
use super::upgrade::{Ends, tunnel};
use super::worker::Worker;
use super::{headers, respond};

/// The body of what a client gets: our own, or a replica's.
pub(super) type Answer = Either<Full<Bytes>, AnswerBody>;

/// An answer that may be passed on, and the two ends of the tunnel if it switches protocols.
#[derive(Debug)]
pub(super) struct Fit {
    answer: Response<Incoming>,
    switch: Option<(OnUpgrade, OnUpgrade)>,
}

impl Fit {
    /// The answer's status.
    pub(super) fn status(&self) -> StatusCode {
        self.answer.status()
    }
}

/// Makes an answer fit for the client, or says why it must not be passed on.
pub(super) fn make_fit(asked: Asked, answer: Response<Incoming>, served_by: &str) -> Result<Fit, Failure> {
    let (mut parts, body) = answer.into_parts();
    let chosen = parts.headers.get(UPGRADE).cloned();
    let switch = if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        let accepted = asked.upgrade.filter(|(protocols, _)| headers::is_upgrade_accepted(protocols, &parts.headers));
        let ends = accepted.map(|(_, client)| client).zip(parts.extensions.remove::<OnUpgrade>());
        Some(ends.ok_or_else(|| Failure::Protocol("a 101 that was not asked for".to_owned()))?)
    } else {
        None
    };
    headers::prepare_answer(&asked.method, parts.status, &mut parts.headers, body.size_hint())
        .map_err(|wrong| Failure::Protocol(wrong.to_owned()))?;
    if let (Some(_), Some(chosen)) = (&switch, chosen) {
        headers::set_upgrade(&mut parts.headers, chosen);
    }
    match HeaderValue::from_str(served_by) {
        Ok(name) => parts.headers.insert(respond::X_SERVED_BY, name),
        Err(_) => parts.headers.remove(respond::X_SERVED_BY),
    };
    parts.version = Version::HTTP_11;
    Ok(Fit { answer: Response::from_parts(parts, body), switch })
}

/// Hands an answer to the client: its body, or the tunnel that follows, holds what the exchange holds.
pub(super) fn relay(
    worker: &Rc<Worker>,
    client: &Client,
    fit: Fit,
    connection: Connection,
    held: Held,
) -> Response<Answer> {
    let idle_timeout = worker.context.settings.idle_timeout;
    let Some((client_end, replica_end)) = fit.switch else {
        let pool = Rc::clone(&worker.pool);
        return fit.answer.map(|body| Either::Right(AnswerBody::new(body, idle_timeout, held, connection, pool)));
    };
    client.activity.become_tunnel();
    let ends = Ends {
        client: client_end,
        client_activity: client.activity.clone(),
        replica: replica_end,
        replica_activity: connection.activity,
        cut: connection.cut,
    };
    worker.tasks.spawn_local(tunnel(ends, idle_timeout, held));
    fit.answer.map(|_| Either::Left(Full::default()))
}
