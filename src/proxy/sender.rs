//! Balancers in front of us that say who their client is, before its first byte: each connection of theirs has to begin
//! with a preface (PROXY protocol), or with a plain request for the health endpoint.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use ipnet::IpNet;
use tracing::{debug, warn};

use super::admission::Admitted;
use super::connection::Client;
use super::exchange::After;
use super::health_endpoint;
use super::http1::client::ClientAddr;
use super::http1::forwarded::is_trusted;
use super::preface::{self, Parsed};
use super::worker::Worker;
use crate::metrics::PrefaceFault;

/// What a sender's connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// A whole preface, which was taken out of the buffer: the client's address, if it names one.
    Preface(Option<SocketAddr>),
    /// A plain request for the health endpoint, still in the buffer.
    HealthCheck,
    Wrong(PrefaceFault),
    /// Nothing, and nothing more will come.
    Nothing,
}

/// What a sender's connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Introduced {
    /// The requests of the client at this address.
    For(SocketAddr),
    /// One request for the health endpoint, which has begun to come: nobody said for whom another would be.
    HealthCheck,
}

/// Whether a connection from `addr` has to begin with a preface.
#[inline]
pub(super) fn is_sender(addr: SocketAddr, senders: &[IpNet]) -> bool {
    !senders.is_empty() && is_trusted(addr.ip().to_canonical(), senders)
}

/// Finds out for whom a sender has connected from `addr`: from then on the connection is that client's. Otherwise says
/// how it ends.
pub(super) async fn introduce(
    worker: &Worker,
    client: &mut Client,
    admitted: &mut Admitted,
    addr: SocketAddr,
) -> Result<Introduced, After> {
    client.timer.progress();
    let source = match poll_fn(|cx| poll_opening(cx, worker, client)).await {
        Opening::Preface(source) => source,
        Opening::HealthCheck => return Ok(Introduced::HealthCheck),
        Opening::Nothing => return Err(After::Close),
        Opening::Wrong(fault) => {
            note(worker, addr, fault);
            return Err(After::Reset);
        }
    };
    let Some(source) = source else { return Ok(Introduced::For(addr)) };
    if !admitted.claim(source.ip(), &client.settings) {
        worker.context.metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
        debug!(client = %source, "Connection refused: its client has too many");
        return Err(After::Reset);
    }
    client.addr = ClientAddr::new(source.ip(), &client.settings.trusted_proxies);
    Ok(Introduced::For(source))
}

fn poll_opening(cx: &mut Context<'_>, worker: &Worker, client: &mut Client) -> Poll<Opening> {
    let settings = Rc::clone(&client.settings);
    loop {
        if let Some(opening) = look(client, settings.health_endpoint.as_deref()) {
            return Poll::Ready(opening);
        }
        let was_idle = client.buffered().is_empty();
        match client.poll_fill(cx) {
            // Those who only want to know whether the port is open close it again at once.
            Poll::Ready(Ok(0) | Err(_)) if was_idle => return Poll::Ready(Opening::Nothing),
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Opening::Wrong(PrefaceFault::CutOff)),
            Poll::Ready(Ok(_)) if was_idle => client.timer.progress(),
            Poll::Ready(Ok(_)) => {}
            Poll::Pending if was_idle && worker.is_over() => return Poll::Ready(Opening::Nothing),
            Poll::Pending => {
                let limit = if was_idle { settings.first_byte_timeout } else { settings.head_timeout };
                ready!(client.timer.poll_expired(cx, worker.now(), limit));
                return Poll::Ready(Opening::Wrong(PrefaceFault::Late));
            }
        }
    }
}

/// What has come so far, once that is clear. A preface and a request differ in the first byte, so that neither can be
/// taken for the other.
fn look(client: &mut Client, health_endpoint: Option<&str>) -> Option<Opening> {
    match preface::parse(client.buffered()) {
        Parsed::Incomplete => None,
        Parsed::Complete(preface) => {
            client.consume(preface.length);
            Some(Opening::Preface(preface.source))
        }
        Parsed::Refused(PrefaceFault::Missing) => {
            match health_endpoint.map(|path| health_endpoint::begins(client.buffered(), path)) {
                Some(Some(true)) => Some(Opening::HealthCheck),
                Some(None) => None,
                Some(Some(false)) | None => Some(Opening::Wrong(PrefaceFault::Missing)),
            }
        }
        Parsed::Refused(fault) => Some(Opening::Wrong(fault)),
    }
}

/// Counts a connection that is closed for want of a preface. The first of each kind is told: whoever set the balancer up
/// otherwise than us should not have to look for why nothing works.
fn note(worker: &Worker, addr: SocketAddr, fault: PrefaceFault) {
    let cause = fault.as_str();
    if worker.context.metrics.record_preface_fault(fault) == 0 {
        warn!(client = %addr, cause, "No valid PROXY protocol preface: connection closed; others are only counted");
    } else {
        debug!(client = %addr, cause, "No valid PROXY protocol preface: connection closed");
    }
}
