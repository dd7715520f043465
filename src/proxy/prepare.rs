//! From what a client sent to what a replica gets.

use std::time::Duration;

use hyper::Method;
use hyper::body::{Body, Incoming};
use hyper::header::{HOST, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Version};

use super::body::RequestBody;
use super::connection::Client;
use super::worker::Worker;
use super::{forwarded, headers, retry, route, target};
use crate::metrics::Refusal;

/// A request made ready for any replica.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What is sent.
    pub(super) request: Request<RequestBody>,
    /// The service that it goes to.
    pub(super) service: String,
    /// What the answer will be read against.
    pub(super) asked: Asked,
    /// Whether it may be sent twice.
    pub(super) is_replayable: bool,
}

/// What a client asked for, as far as the answer depends on it.
#[derive(Debug)]
pub(super) struct Asked {
    /// The method.
    pub(super) method: Method,
    /// The protocols that it would switch to, and its end of the tunnel.
    pub(super) upgrade: Option<(HeaderValue, OnUpgrade)>,
}

/// Reads the target, routes, and writes the request as a replica is to see it.
pub(super) fn prepare(worker: &Worker, client: &Client, mut request: Request<Incoming>) -> Result<Prepared, Refusal> {
    let settings = &worker.context.settings;
    let client_end = request.extensions_mut().remove::<OnUpgrade>();
    let (mut parts, body) = request.into_parts();
    let target = target::read(&parts)?;
    let is_known = |name: &str| worker.context.registry.replicas(name).is_some();
    let service = route::service(target.host.as_ref(), is_known, settings.service.as_str()).into_owned();

    let upgrade = headers::upgrade_asked(parts.version, &parts.headers).zip(client_end);
    headers::prepare_request(&mut parts.headers, body.size_hint())?;
    let host = match target.host {
        Some(host) => host,
        None => HeaderValue::from_str(&service).map_err(|_| Refusal::Internal)?,
    };
    forwarded::apply(&mut parts.headers, client.addr.ip(), &host, &settings.trusted_proxies);
    parts.headers.insert(HOST, host);
    if let Some((protocols, _)) = &upgrade {
        headers::set_upgrade(&mut parts.headers, protocols.clone());
    }
    parts.uri = target.uri;
    parts.version = Version::HTTP_11;

    let is_replayable = upgrade.is_none() && retry::is_replayable(&parts.method, !body.is_end_stream());
    let asked = Asked { method: parts.method.clone(), upgrade };
    let request = Request::from_parts(parts, RequestBody::new(body, settings.idle_timeout));
    Ok(Prepared { request, service, asked, is_replayable })
}

/// A request that has no body, once more.
pub(super) fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty(Duration::ZERO));
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}
