//! Drains by hand: the only thing that is changed here, and only for who shows the admin token.
//!
//! The token comes in a header that a browser adds for no page by itself (there is no cookie, and no other page is
//! allowed to add it), so that nobody's browser can be tricked into a drain.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tracing::info;

use super::AdminState;
use super::pages::{Asked, Key, Shared, one_replica, problem};
use super::replicas::ReplicaView;
use crate::replica::{Lifecycle, Replica};

/// Where a drain begins,
pub(super) const DRAIN: &str = "/api/v1/replicas/{id}/drain";
/// and where it ends.
pub(super) const UNDRAIN: &str = "/api/v1/replicas/{id}/undrain";

/// Characters of an id that are enough to change something: fewer are a slip of the hand.
const SHORTEST_ID: usize = 4;

/// What may stand behind the `?`.
#[derive(Debug, Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    force: bool,
}

/// What a drain or its end came to: the replica, or the answer that says why not.
type Outcome = Result<Response, Box<Response>>;

/// Who asks.
type Client = ConnectInfo<SocketAddr>;

/// Drains a replica by hand.
pub(super) async fn drain(
    State(state): Shared,
    ConnectInfo(client): Client,
    key: Key,
    asked: Asked<Params>,
    headers: HeaderMap,
) -> Response {
    let outcome = || {
        authorize(&state, &headers)?;
        let Query(Params { force }) =
            asked.map_err(|rejection| problem(StatusCode::BAD_REQUEST, rejection.body_text()))?;
        begin(&state, client, &*one_replica(&state, key, SHORTEST_ID)?, force)
    };
    answer(outcome())
}

/// Ends a drain by hand.
pub(super) async fn undrain(
    State(state): Shared,
    ConnectInfo(client): Client,
    key: Key,
    headers: HeaderMap,
) -> Response {
    let outcome = || {
        authorize(&state, &headers)?;
        end(&state, client, &*one_replica(&state, key, SHORTEST_ID)?)
    };
    answer(outcome())
}

fn answer(outcome: Outcome) -> Response {
    outcome.unwrap_or_else(|problem| *problem)
}

/// Whether the client may change something.
fn authorize(state: &AdminState, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let Some(token) = &state.token else {
        let error = "nothing can be changed here; start evenkeel with --admin-write and --admin-token-file";
        return Err(problem(StatusCode::FORBIDDEN, error.to_owned()).into());
    };
    if shown(headers).is_some_and(|shown| token.is(shown)) {
        return Ok(());
    }
    let error = "show the admin token in a header: Authorization: Bearer TOKEN".to_owned();
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    Err((challenge, problem(StatusCode::UNAUTHORIZED, error)).into_response().into())
}

/// The token that the client shows. Of two it cannot mean both.
pub(super) fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, token) = field.as_bytes().split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

// From here on nothing waits, and whoever else writes the registry has its turn on this same thread: what was found is
// still there when it is drained, and of two last replicas only one can be.

fn begin(state: &AdminState, client: SocketAddr, replica: &Replica, is_forced: bool) -> Outcome {
    if !replica.is_draining() {
        let service = &replica.spec().service;
        if !is_forced && is_last(state, replica) {
            let error = format!(
                "without {} no replica of {service} is ready: its requests would go to those that merely run, or wait \
                 and then get 503; if that is meant, add ?force=true",
                replica.spec().name
            );
            return Err(problem(StatusCode::CONFLICT, error).into());
        }
        replica.set_drained_by_hand(true);
        state.registry.announce();
        info!(service = %service, replica = %replica.spec().name, client = %client, cause = "by hand", "Replica draining");
    }
    Ok(Json(ReplicaView::from(replica)).into_response())
}

fn end(state: &AdminState, client: SocketAddr, replica: &Replica) -> Outcome {
    let (service, name) = (&replica.spec().service, &replica.spec().name);
    if replica.lifecycle() == Lifecycle::Draining {
        let error = format!(
            "{name} was told to stop or is named no more: only its next start, or to name it again, ends the drain"
        );
        return Err(problem(StatusCode::CONFLICT, error).into());
    }
    if replica.is_drained_by_hand() {
        replica.set_drained_by_hand(false);
        state.registry.announce();
        info!(service = %service, replica = %name, client = %client, "Replica undrained");
    }
    Ok(Json(ReplicaView::from(replica)).into_response())
}

/// Whether the replica takes requests, and no other of its service is as good: that is ready if this one is, or else
/// that takes some in a panic as this one does.
fn is_last(state: &AdminState, replica: &Replica) -> bool {
    let takes: fn(&Replica) -> bool =
        if replica.is_pickable() { Replica::is_pickable } else { Replica::is_pickable_in_panic };
    let replicas = state.registry.replicas(replica.spec().service.as_str());
    let mut others = replicas
        .iter()
        .flat_map(|replicas| replicas.list())
        .filter(|other| other.incarnation() != replica.incarnation());
    takes(replica) && !others.any(|other| takes(other))
}

#[cfg(test)]
mod tests;
