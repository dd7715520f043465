//! The pages: which path shows what.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::metrics::{self, Format};
use super::replicas::{self, ContainerView, ReplicaView};
use super::{AdminState, drain, table, watch};
use crate::discovery::news;
use crate::replica::Replica;

/// Every page with what it shows.
const PAGES: [(&str, &str); 11] = [
    ("/", "this list"),
    ("/debug/replicas", "the replicas as a table; ?service=NAME, ?format=json"),
    ("/api/v1/replicas", "the replicas as JSON; ?service=NAME"),
    ("/api/v1/replicas/{id}", "one replica by id, unique beginning of an id, or name"),
    (drain::DRAIN, "POST with the admin token: no new requests; ?force=true for the last ready one"),
    (drain::UNDRAIN, "POST with the admin token: the end of that"),
    ("/api/v1/containers", "every container that was considered, with the verdict on it"),
    (news::PATH, "what is ready here, then each change of it, as lines of JSON; for peers"),
    ("/metrics", "for Prometheus"),
    ("/healthz", "200 while the process runs, 503 once it shuts down"),
    ("/readyz", "200 if it takes requests, else 503 with the reasons"),
];

/// The paths and their handlers.
pub(super) fn router(state: Arc<AdminState>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/debug/replicas", get(debug_replicas))
        .route("/api/v1/replicas", get(api_replicas))
        .route("/api/v1/replicas/{id}", get(api_replica))
        .route(drain::DRAIN, post(drain::drain).fallback(post_only))
        .route(drain::UNDRAIN, post(drain::undrain).fallback(post_only))
        .route("/api/v1/containers", get(api_containers))
        .route(news::PATH, get(watch::watch))
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(no_such_page)
        .method_not_allowed_fallback(wrong_method)
        .with_state(state)
}

pub(super) type Shared = State<Arc<AdminState>>;

/// What may stand behind the `?`.
#[derive(Debug, Deserialize)]
struct Params {
    service: Option<String>,
    format: Option<String>,
}

pub(super) type Asked<T> = Result<Query<T>, QueryRejection>;
/// The `{id}` of a path.
pub(super) type Key = Result<Path<String>, PathRejection>;

async fn index() -> String {
    let width = PAGES.iter().map(|(path, _)| path.len()).max().unwrap_or(0);
    PAGES.iter().map(|(path, what)| format!("{path:width$}  {what}\n")).collect()
}

async fn debug_replicas(State(state): Shared, asked: Asked<Params>) -> Response {
    match asked {
        Ok(Query(Params { service, format })) => match format.as_deref() {
            None | Some("text") => table::page(&state, service.as_deref(), SystemTime::now()).into_response(),
            Some("json") => replicas_json(&state, service.as_deref()),
            Some(other) => problem(StatusCode::BAD_REQUEST, format!("no such format: {other} (text or json)")),
        },
        Err(rejection) => problem(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

async fn api_replicas(State(state): Shared, asked: Asked<Params>) -> Response {
    match asked {
        Ok(Query(params)) => replicas_json(&state, params.service.as_deref()),
        Err(rejection) => problem(StatusCode::BAD_REQUEST, rejection.body_text()),
    }
}

fn replicas_json(state: &AdminState, service: Option<&str>) -> Response {
    Json(json!({ "replicas": replicas::list(&state.registry, service) })).into_response()
}

async fn api_replica(State(state): Shared, key: Key) -> Response {
    match one_replica(&state, key, 1) {
        Ok(replica) => Json(ReplicaView::from(&*replica)).into_response(),
        Err(problem) => *problem,
    }
}

/// The one replica that the path means, by at least so many characters of its id; or the answer that says why none.
pub(super) fn one_replica(state: &AdminState, key: Key, shortest: usize) -> Result<Arc<Replica>, Box<Response>> {
    let key = match key {
        Ok(Path(key)) => key,
        Err(rejection) => return Err(problem(StatusCode::BAD_REQUEST, rejection.body_text()).into()),
    };
    match replicas::find(&state.registry, &key, shortest).as_slice() {
        [] => {
            let error = format!("no such replica: {key}; /api/v1/replicas lists them");
            Err(problem(StatusCode::NOT_FOUND, error).into())
        }
        [replica] => Ok(Arc::clone(replica)),
        several => {
            let ids: Vec<_> = several.iter().map(|replica| replica.id().as_str()).collect();
            let error = format!("{key} means {} replicas; use more of an id", ids.len());
            Err((StatusCode::CONFLICT, Json(json!({ "error": error, "ids": ids }))).into_response().into())
        }
    }
}

async fn api_containers(State(state): Shared) -> Response {
    let considered = state.discovery.iter().flat_map(|status| status.considered());
    let containers: Vec<_> = considered.map(ContainerView::from).collect();
    Json(json!({ "containers": containers })).into_response()
}

async fn show_metrics(State(state): Shared, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(accept);
    match metrics::scrape(state, format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn healthz(State(state): Shared) -> Response {
    if state.readiness.is_terminating() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response()
    } else {
        "ok\n".into_response()
    }
}

async fn readyz(State(state): Shared) -> Response {
    let reasons = state.readiness.reasons(&state.discovery);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

async fn no_such_page(uri: Uri) -> Response {
    let paths = PAGES.map(|(path, _)| path);
    let body = json!({ "error": format!("no such page: {}", uri.path()), "pages": paths });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

async fn wrong_method(method: Method) -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not for this page: use GET"))
}

async fn post_only(method: Method) -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not for this page: use POST"))
}

pub(super) fn problem(status: StatusCode, error: String) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}
