//! The metrics page: walks the registry and the counters when it is asked, and only then.

mod page;
mod process;
mod replicas;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};

use super::AdminState;
use crate::discovery::status::DiscoveryStatus;
use crate::metrics::Newest;
use page::{Labels, Page};

pub(super) use page::Format;

/// Everything we count, as text.
pub(super) fn scrape(state: Arc<AdminState>, format: Format) -> Result<String, fmt::Error> {
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(Scrape { state, format }));
    let mut text = String::new();
    text::encode_registry(&mut text, &registry)?;
    if format == Format::OpenMetrics {
        text::encode_eof(&mut text)?;
    }
    Ok(text)
}

#[derive(Debug)]
struct Scrape {
    state: Arc<AdminState>,
    format: Format,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page::new(encoder, self.format);
        replicas::write(&mut page, &self.state)?;
        self.write_discovery(&mut page)?;
        self.write_proxy(&mut page)?;
        self.write_config(&mut page)?;
        self.write_self(&mut page)
    }
}

impl Scrape {
    fn write_discovery(&self, page: &mut Page) -> fmt::Result {
        let all = &self.state.discovery;
        if all.is_empty() {
            return Ok(());
        }
        let counts = |counter: fn(&DiscoveryStatus) -> &AtomicU64| {
            of_each(all, move |status| counter(status).load(Ordering::Relaxed))
        };
        let connected = of_each(all, |status| u64::from(status.is_connected()));
        let help = "1 if the provider hears of what it follows.";
        page.gauge("evenkeel_discovery_connected", help, connected)?;
        let last_sync = of_each(all, |status| status.last_sync().map_or(0.0, unix_seconds));
        let help = "When the newest full list was applied; 0 before the first.";
        page.gauge("evenkeel_discovery_last_sync_timestamp_seconds", help, last_sync)?;
        page.counter("evenkeel_discovery_events", "Events received.", counts(|s| &s.events))?;
        page.counter(
            "evenkeel_discovery_reconnects",
            "Connections that had to be made anew.",
            counts(|s| &s.reconnects),
        )?;
        page.counter("evenkeel_discovery_resyncs", "Full lists applied.", counts(|s| &s.resyncs))?;
        let help = "Events and answers that could not be decoded.";
        page.counter("evenkeel_discovery_decode_errors", help, counts(|s| &s.decode_errors))?;
        let help = "From an event's arrival to its change being visible to the balancer.";
        page.histogram("evenkeel_discovery_event_to_route_seconds", help, of_each(all, |s| s.event_to_route.read()))
    }

    fn write_proxy(&self, page: &mut Page) -> fmt::Result {
        let proxy = &self.state.proxy;
        let count = |counter: &AtomicU64| [(vec![], counter.load(Ordering::Relaxed))];
        page.gauge("evenkeel_connections_open", "Client connections open.", count(&proxy.connections_open))?;
        page.counter("evenkeel_connections", "Client connections let in.", count(&proxy.connections_total))?;
        let help = "Client connections reset at once, since their client had too many.";
        page.counter("evenkeel_connections_refused", help, count(&proxy.connections_refused))?;
        let faults = proxy.preface_faults().map(|(fault, count)| (vec![("reason", fault.as_str().into())], count));
        let help = "Connections of balancers in front of us closed for their PROXY protocol preface, by reason.";
        page.counter("evenkeel_proxy_protocol_errors", help, faults)?;
        let pauses = proxy.accept_pauses().map(|(reason, count)| (vec![("reason", reason.as_str().into())], count));
        page.counter("evenkeel_accept_pauses", "Times that accepting was stopped for a while, by reason.", pauses)?;
        let help = "Connections that could not be taken or made at first for want of file descriptors.";
        page.counter("evenkeel_descriptor_shortages", help, count(&proxy.descriptor_shortages))?;
        let help = "Workers whose next client waits for room under --max-connections.";
        page.gauge("evenkeel_workers_waiting", help, count(&proxy.workers_waiting))?;
        page.counter("evenkeel_retries", "Further attempts after a failed one.", count(&proxy.retries))?;
        let help = "Requests that wait for a replica.";
        page.gauge("evenkeel_requests_held", help, count(&proxy.requests_held))?;
        let ends = proxy.hold_ends().map(|(end, count)| (vec![("outcome", end.as_str().into())], count));
        page.counter("evenkeel_holds", "Requests whose wait for a replica ended, by outcome.", ends)?;
        let refusals = proxy.refusals().map(|(refusal, count)| (vec![("reason", refusal.as_str().into())], count));
        page.counter("evenkeel_refusals", "Requests that we answered ourselves, by reason.", refusals)
    }

    fn write_config(&self, page: &mut Page) -> fmt::Result {
        let reloads = &self.state.reloads;
        let outcomes = reloads.outcomes().map(|(word, count)| (vec![("outcome", word.into())], count));
        page.counter("evenkeel_config_reloads", "Times that the settings were read again, by outcome.", outcomes)?;
        let Newest { since, wrong, waiting } = reloads.newest();
        let is_successful = [(vec![], u64::from(wrong.is_none()))];
        let help = "0 if the settings were refused when they were read last.";
        page.gauge("evenkeel_config_last_reload_successful", help, is_successful)?;
        let help = "Since when the settings hold that hold now, since 1970.";
        let since = [(vec![], unix_seconds(since))];
        page.gauge("evenkeel_config_last_reload_success_timestamp_seconds", help, since)?;
        let help = "Settings that have another value after a restart.";
        page.gauge("evenkeel_config_settings_waiting", help, [(vec![], waiting.len() as u64)])
    }

    fn write_self(&self, page: &mut Page) -> fmt::Result {
        let info = [(vec![("version", self.state.version.into())], 1_u64)];
        page.gauge("evenkeel_build_info", "1, with the version as a label.", info)?;
        let started = [(vec![], unix_seconds(self.state.started))];
        page.gauge("evenkeel_start_time_seconds", "When the process started, since 1970.", started)?;

        // Where /proc does not say, a metric without a sample is truer than a 0.
        let resident = process::resident_memory_bytes().map(|bytes| (vec![], bytes));
        page.gauge("process_resident_memory_bytes", "Memory in use, resident.", resident)?;
        let cpu = process::cpu_seconds().map(|seconds| (vec![], seconds));
        page.counter("process_cpu_seconds", "Processor time used, user and system.", cpu)?;
        let fds = process::open_fds().map(|fds| (vec![], fds));
        page.gauge("process_open_fds", "File descriptors open.", fds)
    }
}

/// One sample for each provider.
fn of_each<V>(
    all: &[Arc<DiscoveryStatus>],
    value: impl Fn(&DiscoveryStatus) -> V,
) -> impl Iterator<Item = (Labels<'static>, V)> {
    all.iter().map(move |status| (vec![("provider", status.provider().to_string().into())], value(status)))
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
