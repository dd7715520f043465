//! One request from top to bottom: prepare → pick → forward → relay, with the retries around pick and forward.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;
use tracing::debug;

use super::body::Held;
use super::connection::Client;
use super::failure::Failure;
use super::forward::{Manner, forward};
use super::prepare::{Prepared, copy, prepare};
use super::relay::{Answer, make_fit, relay};
use super::respond;
use super::retry::Retries;
use super::stream::Exchange;
use super::worker::Worker;
use crate::balancer::{PickError, Tried};
use crate::metrics::Refusal;
use crate::replica::Replica;

/// Answers one request, whatever happens.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    client: &Client,
    exchange: Exchange,
    request: Request<Incoming>,
) -> Response<Answer> {
    let mut answer = match attempt_until_answered(worker, client, request, exchange).await {
        Ok(answer) => answer,
        Err(refusal) => {
            worker.context.metrics.record_refusal(refusal);
            respond::refuse(refusal).map(|body| Either::Left(Full::new(body)))
        }
    };
    if worker.stop.is_cancelled() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

async fn attempt_until_answered(
    worker: &Rc<Worker>,
    client: &Client,
    request: Request<Incoming>,
    exchange: Exchange,
) -> Result<Response<Answer>, Refusal> {
    let began = Instant::now();
    let Prepared { mut request, service, asked, is_replayable } = prepare(worker, client, request)?;
    let settings = &worker.context.settings;
    let mut retries = Retries::new(settings.retries);
    let mut tried = Tried::default();
    let mut manner = Manner { fresh_only: false, is_replayable };
    let mut last: Option<Failure> = None;
    let mut was_kept_dead = false;
    loop {
        let lease = match (worker.balancer.pick(&service, &tried), &last) {
            (Ok(lease), _) => lease,
            // Only a kept connection was dead: its replica itself may well take the request.
            (Err(PickError::NoneReady { .. }), Some(_)) if std::mem::take(&mut was_kept_dead) => {
                tried = Tried::default();
                continue;
            }
            (Err(_), Some(failure)) => return Err(failure.refusal()),
            (Err(PickError::NoSuchService { .. }), None) => return Err(Refusal::NoSuchService),
            (Err(PickError::NoneReady { .. }), None) => return Err(Refusal::NoReplicaReady),
        };
        if last.is_some() {
            worker.context.metrics.retries.fetch_add(1, Ordering::Relaxed);
        }
        let replica = lease.replica();
        let replay = (is_replayable && retries.is_allowed()).then(|| copy(&request));
        let failed = match forward(&worker.pool, settings, replica, request, manner).await {
            Ok((answer, connection)) => {
                let fit = make_fit(asked, answer, &replica.spec().name).map_err(|failure| note(replica, &failure))?;
                let held = Held { lease, began, code: fit.status().as_u16(), _exchange: exchange };
                return Ok(relay(worker, client, fit, connection, held));
            }
            Err(failed) => failed,
        };
        let refusal = note(replica, &failed.failure);
        if !retries.take(&failed.failure, is_replayable) {
            return Err(refusal);
        }
        request = failed.unsent.or(replay).ok_or(refusal)?;
        tried.add(replica);
        if failed.was_reused {
            // Others may be as dead, and each one costs an attempt.
            (manner.fresh_only, was_kept_dead) = (true, true);
        }
        last = Some(failed.failure);
    }
}

/// Counts a failed attempt against the replica, if it was the replica's fault, and says what it comes to.
fn note(replica: &Replica, failure: &Failure) -> Refusal {
    let spec = replica.spec();
    debug!(service = %spec.service, replica = %spec.name, error = %failure, cause = ?failure.blame(), "Attempt failed");
    if let Some(counted) = failure.counted_as() {
        replica.metrics().record_failure(counted);
        replica.set_last_error(failure);
    }
    failure.refusal()
}
