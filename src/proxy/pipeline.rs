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
use super::stream::Exchange;
use super::worker::Worker;
use super::{respond, retry};
use crate::balancer::{PickError, Tried};
use crate::metrics::Refusal;
use crate::replica::Replica;

/// Answers one request, whatever happens.
pub(super) async fn serve(worker: &Rc<Worker>, client: &Client, request: Request<Incoming>) -> Response<Answer> {
    let exchange = client.activity.begin_exchange();
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
    let mut retries_left = settings.retries;
    let mut tried = Tried::default();
    let mut manner = Manner { fresh_only: false, is_replayable };
    let mut last: Option<(Failure, bool)> = None;
    loop {
        let lease = match (worker.balancer.pick(&service, &tried), &last) {
            (Ok(lease), _) => lease,
            // Only a kept connection was dead: the replica itself may well take the request.
            (Err(PickError::NoneReady { .. }), Some((_, true))) if !manner.fresh_only => {
                manner.fresh_only = true;
                tried = Tried::default();
                continue;
            }
            (Err(_), Some((failure, _))) => return Err(failure.refusal()),
            (Err(PickError::NoSuchService { .. }), None) => return Err(Refusal::NoSuchService),
            (Err(PickError::NoneReady { .. }), None) => return Err(Refusal::NoReplicaReady),
        };
        let replica = lease.replica();
        let replay = (is_replayable && settings.retries > 0).then(|| copy(&request));
        let failed = match forward(&worker.pool, settings, replica, request, manner).await {
            Ok((answer, connection)) => {
                let fit = make_fit(asked, answer, &replica.spec().name).map_err(|failure| note(replica, &failure))?;
                let held = Held { lease, began, code: fit.status().as_u16(), _exchange: exchange };
                return Ok(relay(worker, client, fit, connection, held));
            }
            Err(failed) => failed,
        };
        let refusal = note(replica, &failed.failure);
        let is_free = settings.retries > 0 && retry::is_free(&failed.failure, failed.was_reused);
        if !(is_free || retries_left > 0) || !retry::may_follow(&failed.failure, is_replayable) {
            return Err(refusal);
        }
        request = failed.unsent.or(replay).ok_or(refusal)?;
        retries_left -= u32::from(!is_free);
        worker.context.metrics.retries.fetch_add(1, Ordering::Relaxed);
        tried.add(replica);
        last = Some((failed.failure, failed.was_reused));
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
