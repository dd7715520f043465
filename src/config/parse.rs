//! Text → value. Every error quotes the text, says what is expected, and gives an example.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::error::closest;
use crate::service::ServiceName;

/// A value, or what is wrong with its text.
pub(super) type Parsed<T> = Result<T, String>;

/// Longer than any sensible setting, and far from where adding to an `Instant` would overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// Shorter than this is zero to the timers.
const SHORTEST: Duration = Duration::from_millis(1);
/// More threads than any machine has cores is a typing error.
const MOST_THREADS: u32 = 1024;

/// An IP address with a port to listen on; port 0 is any free one.
pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| {
        let port = text.trim_start_matches(':').parse().unwrap_or(8080_u16);
        format!("{text:?} is not an IP address with a port, like 0.0.0.0:{port}")
    })
}

/// A duration with a unit; zero is fine.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(format!("{text:?} needs a unit, like 5s or 500ms"));
    }
    let duration =
        humantime::parse_duration(text).map_err(|_| format!("{text:?} is not a duration, like 5s or 500ms"))?;
    if duration > LONGEST {
        return Err(format!("{text:?} is too long: at most 365days, like 60s"));
    }
    Ok(duration)
}

/// A duration with a unit; zero makes no sense.
pub(super) fn positive(text: &str) -> Parsed<Duration> {
    match duration(text)? {
        short if short < SHORTEST => Err(format!("{text:?} is too short: at least 1ms, like 5s or 500ms")),
        duration => Ok(duration),
    }
}

/// A duration with a unit, or `none`.
pub(super) fn optional(text: &str) -> Parsed<Option<Duration>> {
    if text == "none" {
        return Ok(None);
    }
    duration(text).map(Some).map_err(|complaint| complaint + ", or none")
}

/// A whole number of this range.
pub(super) fn number(text: &str, range: RangeInclusive<u32>, example: u32) -> Parsed<u32> {
    text.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        format!("{text:?} is not a whole number from {least} to {most}, like {example}")
    })
}

/// A number of threads, or `cores`.
pub(super) fn threads(text: &str) -> Parsed<NonZeroUsize> {
    if text == "cores" {
        return Ok(super::settings::cores());
    }
    let count = number(text, 1..=MOST_THREADS, 4).map_err(|complaint| complaint + ", or cores")?;
    NonZeroUsize::new(usize::try_from(count).unwrap_or(1)).ok_or_else(|| format!("{text:?} is zero"))
}

/// A TCP port.
pub(super) fn port(text: &str) -> Parsed<u16> {
    let port = number(text, 1..=u32::from(u16::MAX), 3001)?;
    u16::try_from(port).map_err(|_| format!("{text:?} is not a port, like 3001"))
}

/// The name of a service, a project or a network, as Docker allows them.
pub(super) fn name(text: &str) -> Parsed<&str> {
    let is_name = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if is_name {
        return Ok(text);
    }
    Err(format!("{text:?} is not a name: letters, digits, `.`, `_` and `-`, like gateway"))
}

/// One of a few words.
pub(super) fn word<T: Copy>(text: &str, all: &[T], as_str: fn(T) -> &'static str) -> Parsed<T> {
    if let Some(value) = all.iter().find(|value| as_str(**value) == text) {
        return Ok(*value);
    }
    let words: Vec<_> = all.iter().map(|value| as_str(*value)).collect();
    let hint = closest(text, words.iter().copied()).map(|word| format!("; did you mean {word}?")).unwrap_or_default();
    Err(format!("{text:?} is not one of {}{hint}", words.join(", ")))
}

/// `true` or `false`.
pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{text:?} is not true or false, like true")),
    }
}

/// Where a Docker engine answers.
pub(super) fn docker_host(text: &str) -> Parsed<String> {
    const EXAMPLES: &str = "like unix:///var/run/docker.sock or tcp://10.1.1.1:2375";
    let valid = match text.split_once("://") {
        Some(("unix", path)) => path.len() > 1 && path.starts_with('/'),
        Some(("tcp", authority)) => authority
            .rsplit_once(':')
            .is_some_and(|(host, port)| is_host(host) && port.parse().is_ok_and(|port: u16| port > 0)),
        Some((scheme, _)) => return Err(format!("{text:?}: {scheme}:// is not supported, {EXAMPLES}")),
        None if text.starts_with('/') => return Err(format!("{text:?} needs a scheme, like unix://{text}")),
        None => false,
    };
    if valid { Ok(text.to_owned()) } else { Err(format!("{text:?} is not the address of a Docker engine, {EXAMPLES}")) }
}

/// Whether this can stand between `tcp://` and the port.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)),
    }
}

/// A path to `GET`.
pub(super) fn path(text: &str) -> Parsed<String> {
    if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a path: it begins with `/` and has no spaces, like /healthz"))
}

/// One network, or one address.
pub(super) fn network(text: &str) -> Parsed<IpNet> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is not an IP address or network, like 10.0.0.0/8"))
}

/// `gateway=10.1.1.1:3001,10.1.1.2:3001`: a piece with `=` names the service of itself and of those that follow.
pub(super) fn replicas(text: &str) -> impl Iterator<Item = Parsed<(ServiceName, SocketAddr)>> {
    let mut service = None;
    text.split(',').map(str::trim).map(move |piece| {
        let addr = match piece.split_once('=') {
            Some((typed, addr)) => {
                service = Some(name(typed.trim()).map(ServiceName::from));
                addr.trim()
            }
            None => piece,
        };
        let unnamed = || format!("{piece:?} names no service, like gateway=10.1.1.1:3001");
        let service = service.clone().ok_or_else(unnamed)??;
        Ok((service, replica_addr(addr)?))
    })
}

fn replica_addr(text: &str) -> Parsed<SocketAddr> {
    const EXAMPLE: &str = "10.1.1.1:3001";
    match text.parse::<SocketAddr>() {
        Ok(addr) if addr.port() > 0 => return Ok(addr),
        Ok(_) => return Err(format!("{text:?} has port 0, which nobody can dial, like {EXAMPLE}")),
        Err(_) => {}
    }
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(format!("{text:?} needs a port, like {EXAMPLE}"));
    }
    if text.rsplit_once(':').map_or(text, |(host, _)| host).chars().any(|c| c.is_ascii_alphabetic()) {
        return Err(format!("{text:?} is a hostname; DNS comes later, use an IP address, like {EXAMPLE}"));
    }
    Err(format!("{text:?} is not an IP address with a port, like {EXAMPLE}"))
}

/// A `tracing` filter. A lone word must be a level: `tracing` would take a mistyped one for a module's name.
pub(super) fn log_filter(text: &str) -> Parsed<String> {
    let lone_words = text.split(',').filter(|directive| !directive.contains(['=', '[']));
    let levels_only = lone_words.into_iter().all(|word| word.trim().parse::<LevelFilter>().is_ok());
    if levels_only && EnvFilter::builder().parse(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a log filter, like info or info,evenkeel=debug"))
}
