//! The fake engine's event streams: what is written on them, for whom, and how they fail.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::stream::{self, Stream};
use hyper::body::Frame;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, watch};

use super::container::Container;

/// One event as the engine writes it.
#[derive(Clone, Debug)]
pub struct Event {
    kind: &'static str,
    action: String,
    /// Since 1970.
    time: Duration,
    message: Value,
}

impl Event {
    pub(super) fn of_container(container: &Container, action: &str, extra: &[(&str, &str)]) -> Self {
        let mut attributes = container.attributes();
        attributes.extend(extra.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
        let mut event = Self::new("container", action, container.id.as_str(), attributes);
        // What engines before API 1.52 repeat at the top level of container events.
        event.message["status"] = json!(action);
        event.message["id"] = json!(container.id.as_str());
        event.message["from"] = json!(container.image());
        event
    }

    /// Events of networks name the container and carry none of its labels.
    pub(super) fn of_network(container: &Container, action: &str, network: &str, network_id: &str) -> Self {
        let attributes = [("container", container.id.as_str()), ("name", network), ("type", "bridge")];
        let attributes = attributes.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
        Self::new("network", action, network_id, attributes)
    }

    /// Events of services and nodes come from all managers.
    pub(super) fn of_swarm(kind: &'static str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Self {
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let mut event = Self::new(kind, action, id, attributes);
        event.message["scope"] = json!("swarm");
        event
    }

    fn new(kind: &'static str, action: &str, actor: &str, attributes: Map<String, Value>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let message = json!({
            "Type": kind,
            "Action": action,
            "Actor": { "ID": actor, "Attributes": attributes },
            "scope": "local",
            "time": now.as_secs(),
            "timeNano": u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        });
        Self { kind, action: action.to_owned(), time: now, message }
    }

    /// What happened: `start`, `die`, `connect`, `health_status: healthy`, …
    pub fn action(&self) -> &str {
        &self.action
    }

    fn attribute(&self, key: &str) -> Option<&str> {
        self.message["Actor"]["Attributes"][key].as_str()
    }

    fn line(&self) -> String {
        format!("{}\n", self.message)
    }
}

/// The `filters` of a stream or a list: values of one key are alternatives, keys must all hold.
#[derive(Debug, Default)]
pub(super) struct Filters(Map<String, Value>);

impl Filters {
    /// Reads the `filters` query parameter; `None` if it is not what the engine would accept.
    pub(super) fn parse(json: Option<&str>) -> Option<Self> {
        json.map_or(Some(Self::default()), |json| serde_json::from_str(json).ok().map(Self))
    }

    /// The values of a key in either of the forms the engine accepts: a list, or an object of booleans.
    pub(super) fn values(&self, key: &str) -> Vec<&str> {
        match self.0.get(key) {
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            Some(Value::Object(values)) => values.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn any(&self, key: &str, holds: impl Fn(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.into_iter().any(holds)
    }

    fn admits(&self, event: &Event) -> bool {
        // The engine compares whole names, unless one of these three is asked for: then prefixes.
        let fuzzy = self.values("event").iter().any(|e| ["health_status", "exec_create", "exec_start"].contains(e));
        self.any("type", |kind| kind == event.kind)
            && self.any("event", |e| if fuzzy { event.action.starts_with(e) } else { event.action == e })
            && self.any("label", |label| match label.split_once('=') {
                Some((key, value)) => event.attribute(key) == Some(value),
                None => event.attribute(label).is_some(),
            })
    }
}

/// What goes down a stream.
enum Output {
    Text(String),
    /// The text, and then the connection breaks.
    LastText(String),
}

struct Listener {
    filters: Filters,
    output: mpsc::UnboundedSender<Output>,
}

/// Every open event stream, and the faults that apply to all of them.
#[derive(Default)]
pub(super) struct Hub {
    listeners: Vec<Listener>,
    /// What was delivered so far, for those who ask for it with `since`.
    history: Vec<Event>,
    pub(super) dropping: bool,
    pub(super) duplicating: bool,
    held: Option<Vec<Event>>,
}

impl Hub {
    /// Opens a stream: it carries every event that passes the filters, those that are past `since` (a time since
    /// 1970) first; without it, those to come.
    pub(super) fn subscribe(
        &mut self,
        filters: Filters,
        since: Option<Duration>,
        stalled: watch::Receiver<bool>,
    ) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send + use<> {
        let (output, events) = mpsc::unbounded_channel();
        let missed = self.history.iter().filter(|event| since.is_some_and(|since| event.time >= since));
        for event in missed.filter(|event| filters.admits(event)) {
            let _ = output.send(Output::Text(event.line()));
        }
        self.listeners.push(Listener { filters, output });
        stream::unfold(Step::Follow(events, stalled), Step::next)
    }

    pub(super) fn publish(&mut self, event: Event) {
        if let Some(held) = &mut self.held {
            held.push(event);
        } else {
            self.deliver(&event);
        }
    }

    fn deliver(&mut self, event: &Event) {
        if self.dropping {
            return;
        }
        let copies = 1 + usize::from(self.duplicating);
        self.history.push(event.clone());
        self.listeners.retain(|listener| !listener.output.is_closed());
        for listener in self.listeners.iter().filter(|listener| listener.filters.admits(event)) {
            for _ in 0..copies {
                // A stream that ended just now misses the event, as it should.
                let _ = listener.output.send(Output::Text(event.line()));
            }
        }
    }

    pub(super) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    pub(super) fn release(&mut self, arrange: impl FnOnce(&mut Vec<Event>)) {
        let mut events = self.held.take().unwrap_or_default();
        arrange(&mut events);
        for event in &events {
            self.deliver(event);
        }
    }

    pub(super) fn send_raw(&mut self, text: &str) {
        for listener in &self.listeners {
            let _ = listener.output.send(Output::Text(text.to_owned()));
        }
    }

    pub(super) fn cut(&mut self, last_text: &str) {
        for listener in self.listeners.drain(..) {
            let _ = listener.output.send(Output::LastText(last_text.to_owned()));
        }
    }

    pub(super) fn open_streams(&self) -> usize {
        self.listeners.iter().filter(|listener| !listener.output.is_closed()).count()
    }
}

/// The life of one stream's body.
enum Step {
    Follow(mpsc::UnboundedReceiver<Output>, watch::Receiver<bool>),
    Break,
    End,
}

impl Step {
    async fn next(self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        match self {
            Self::Follow(mut events, mut stalled) => {
                let output = events.recv().await?;
                stalled.wait_for(|stalled| !stalled).await.ok()?;
                Some(match output {
                    Output::Text(text) => (Ok(Frame::data(text.into())), Self::Follow(events, stalled)),
                    Output::LastText(text) => (Ok(Frame::data(text.into())), Self::Break),
                })
            }
            Self::Break => {
                // Lets the connection flush the last text before it breaks.
                tokio::task::yield_now().await;
                Some((Err(io::Error::other("stream cut by the test")), Self::End))
            }
            Self::End => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_engine::ContainerSpec;

    fn admits(filters: &str, action: &str) -> bool {
        let container = Container::new(ContainerSpec::compose("shop", "gateway", 1));
        let event = match action {
            "connect" => Event::of_network(&container, action, "net", "0"),
            _ => Event::of_container(&container, action, &[]),
        };
        Filters::parse(Some(filters)).expect("filters").admits(&event)
    }

    #[test]
    fn keys_must_all_hold_and_values_are_alternatives() {
        assert!(admits("{}", "start"));
        assert!(admits(r#"{"type":["container"],"event":["start","die"]}"#, "die"));
        assert!(!admits(r#"{"type":["container"],"event":["start","die"]}"#, "kill"));
        assert!(!admits(r#"{"type":["container"],"event":["start"]}"#, "connect"));
        assert!(admits(r#"{"event":{"connect":true}}"#, "connect"));
    }

    #[test]
    fn names_are_prefixes_only_beside_health_status() {
        assert!(!admits(r#"{"event":["exec"]}"#, "exec_create: true"));
        assert!(admits(r#"{"event":["health_status"]}"#, "health_status: healthy"));
        assert!(admits(r#"{"event":["health_status","exec"]}"#, "exec_die"));
        assert!(!admits(r#"{"event":["health_status","start"]}"#, "exec_start: true"));
    }

    #[test]
    fn a_label_filter_hides_network_events() {
        let filter = r#"{"label":["com.docker.compose.service=gateway"]}"#;
        assert!(admits(filter, "start"));
        assert!(!admits(filter, "connect"));
        assert!(!admits(r#"{"label":["com.docker.compose.service=other"]}"#, "start"));
    }
}
