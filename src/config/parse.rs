//! Text → value. Every error quotes the text, says what is expected, and gives an example.

mod dns;
mod peers;

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

pub(super) use self::peers::{advertised, factor, peer};
use super::error::closest;
use super::settings::{ListenFrom, cores};
use crate::metrics::{Fault, Faults};
use crate::replica::Statuses;
use crate::service::ServiceName;

pub(super) use self::dns::{DnsEntry, dns, dns_server};

/// A value, or what is wrong with its text.
pub(super) type Parsed<T> = Result<T, String>;

/// Longer than any sensible setting, and far from where adding to an `Instant` would overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// Shorter than this is zero to the timers.
const SHORTEST: Duration = Duration::from_millis(1);
/// More threads than any machine has cores is a typing error.
const MOST_THREADS: usize = 1024;
/// More connections than any machine holds are a typing error.
const MOST_CONNECTIONS: usize = 10_000_000;
/// A body that takes longer than any connection lasts is a typing error, in bytes.
const LONGEST_BODY: u64 = 1 << 50;
/// The units of sizes, the largest first, and how many times they double a byte.
const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
/// The most evenkeels that a fleet is parted among.
const MOST_SLOTS: usize = 10_000;
/// What stands for "no limit".
const OFF: &str = "off";

/// An IP address with a port to listen on; port 0 is any free one.
pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| {
        let port = text.trim_start_matches(':').parse().unwrap_or(8080_u16);
        format!("{text:?} is not an IP address with a port, like 0.0.0.0:{port}")
    })
}

/// The path of a keeper's unix socket, or `systemd`.
pub(super) fn listen_from(text: &str) -> Parsed<ListenFrom> {
    match text {
        "systemd" => Ok(ListenFrom::Systemd),
        _ if text.contains('/') && !text.contains('\0') => Ok(ListenFrom::Keeper(text.into())),
        _ => Err(format!("{text:?} is neither the path of a socket, like /run/evenkeel/port.sock, nor \"systemd\"")),
    }
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
    unless(text, "none", || duration(text).map(Some))
}

/// A whole number of this range.
pub(super) fn number<T: FromStr + PartialOrd + Display>(text: &str, range: RangeInclusive<T>, example: T) -> Parsed<T> {
    text.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        format!("{text:?} is not a whole number from {least} to {most}, like {example}")
    })
}

/// A number of bytes, with a unit or without, in this range.
pub(super) fn size<T: Copy + TryFrom<u64> + Into<u64>>(
    text: &str,
    range: RangeInclusive<T>,
    example: &str,
) -> Parsed<T> {
    let (digits, doubled) =
        UNITS.iter().find_map(|(unit, by)| Some((text.strip_suffix(unit)?.trim_end(), *by))).unwrap_or((text, 0));
    let (least, most): (u64, u64) = ((*range.start()).into(), (*range.end()).into());
    let bytes = digits.parse().ok().and_then(|count: u64| count.checked_mul(1 << doubled));
    bytes.filter(|bytes| (least..=most).contains(bytes)).and_then(|bytes| T::try_from(bytes).ok()).ok_or_else(|| {
        let (least, most) = (in_units(least), in_units(most));
        format!("{text:?} is not a size from {least} to {most}, like {example}")
    })
}

/// A size in the largest unit that divides it.
fn in_units(bytes: u64) -> String {
    let fitting = UNITS.iter().find(|(_, doubled)| bytes.trailing_zeros() >= *doubled);
    fitting.map_or_else(|| bytes.to_string(), |(unit, doubled)| format!("{}{unit}", bytes >> doubled))
}

/// The longest body, or `off`.
pub(super) fn body_bytes(text: &str) -> Parsed<Option<NonZeroU64>> {
    unless(text, OFF, || size(text, 1..=LONGEST_BODY, "10MiB").map(NonZeroU64::new))
}

/// How many client connections there may be, or `auto`.
pub(super) fn connections(text: &str) -> Parsed<Option<NonZeroUsize>> {
    unless(text, "auto", || number(text, 1..=MOST_CONNECTIONS, 10_000).map(NonZeroUsize::new))
}

/// How many connections one client may have, or `off`.
pub(super) fn connections_per_client(text: &str) -> Parsed<Option<NonZeroUsize>> {
    unless(text, OFF, || number(text, 1..=MOST_CONNECTIONS, 100).map(NonZeroUsize::new))
}

/// How much memory requests may keep while they wait.
pub(super) fn held_bytes(text: &str) -> Parsed<usize> {
    let bytes: u64 = size(text, 1 << 10..=1 << 40, "64MiB")?;
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// How many requests a replica may have at once, or `off`.
pub(super) fn concurrency(text: &str) -> Parsed<Option<NonZeroU32>> {
    unless(text, OFF, || number(text, 1..=u32::MAX, 100).map(NonZeroU32::new))
}

/// How many replicas of a service to keep to, or `off`. In a part of fewer, one more or less would show in the shares.
pub(super) fn subset(text: &str) -> Parsed<Option<NonZeroUsize>> {
    unless(text, OFF, || number(text, 20..=1 << 20, 500).map(NonZeroUsize::new))
}

/// Which of how many evenkeels this one is.
pub(super) fn slot(text: &str) -> Parsed<(usize, usize)> {
    let parts = text.split_once('/').and_then(|(slot, slots)| Some((slot.parse().ok()?, slots.parse().ok()?)));
    parts.filter(|(slot, slots)| (1..=*slots).contains(slot) && *slots <= MOST_SLOTS).ok_or_else(|| {
        format!("{text:?} is not a number of a count, from 1/{MOST_SLOTS} to {MOST_SLOTS}/{MOST_SLOTS}, like 3/20")
    })
}

/// Nothing if the text is this word, else what `parse` makes of it.
fn unless<T>(text: &str, word: &str, parse: impl FnOnce() -> Parsed<Option<T>>) -> Parsed<Option<T>> {
    if text == word { Ok(None) } else { parse().map_err(|complaint| format!("{complaint}, or {word}")) }
}

/// A number of threads, or `cores`.
pub(super) fn threads(text: &str) -> Parsed<NonZeroUsize> {
    if text == "cores" {
        return Ok(cores());
    }
    let count = number(text, 1..=MOST_THREADS, 4).map_err(|complaint| complaint + ", or cores")?;
    Ok(NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN))
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

/// Faults by their words, with commas between them.
pub(super) fn faults(text: &str) -> Parsed<Faults> {
    text.split(',').map(|piece| word(piece.trim(), &Fault::ALL, Fault::as_str)).collect()
}

/// `true` or `false`.
pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{text:?} is not true or false, like true")),
    }
}

/// A path to `GET`.
pub(super) fn path(text: &str) -> Parsed<String> {
    if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a path: it begins with `/` and has no spaces, like /healthz"))
}

/// Statuses that a probe passes with.
pub(super) fn statuses(text: &str) -> Parsed<Statuses> {
    let complaint = || format!("{text:?} is not a list of statuses from 200 to 599, like 200, 2xx or 200-299,304");
    Statuses::parse(text).ok_or_else(complaint)
}

/// One network, or one address.
pub(super) fn network(text: &str) -> Parsed<IpNet> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is not an IP address or network, like 10.0.0.0/8"))
}

/// A replica at a fixed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StaticReplica {
    pub(super) service: ServiceName,
    pub(super) addr: SocketAddr,
    /// `None`: it is named after its address.
    pub(super) name: Option<String>,
    pub(super) weight: u16,
}

/// `gateway=10.1.1.1:3001,web-2@10.1.1.2:3001*3`: a piece with `=` names the service of itself and of those that follow.
pub(super) fn replicas(text: &str) -> impl Iterator<Item = Parsed<StaticReplica>> {
    let mut service = None;
    text.split(',').map(str::trim).map(move |piece| {
        let replica = match piece.split_once('=') {
            Some((typed, replica)) => {
                service = Some(name(typed.trim()).map(ServiceName::from));
                replica.trim()
            }
            None => piece,
        };
        let unnamed = || format!("{piece:?} names no service, like gateway=10.1.1.1:3001");
        static_replica(service.clone().ok_or_else(unnamed)??, replica)
    })
}

fn static_replica(service: ServiceName, text: &str) -> Parsed<StaticReplica> {
    let (typed, rest) = text.split_once('@').map_or((None, text), |(typed, rest)| (Some(typed), rest));
    let name = typed.map(|typed| name(typed.trim()).map(str::to_owned)).transpose()?;
    let (addr, weight) = rest.rsplit_once('*').unwrap_or((rest, "1"));
    let weight = number(weight.trim(), 0..=u16::MAX, 3).map_err(|complaint| format!("the weight {complaint}"))?;
    Ok(StaticReplica { service, addr: replica_addr(addr.trim())?, name, weight })
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
        return Err(format!("{text:?} is a hostname; say --dns, or use an IP address, like {EXAMPLE}"));
    }
    Err(format!("{text:?} is not an IP address with a port, like {EXAMPLE}"))
}

/// A `tracing` filter. A lone word must be a level: `tracing` would take a mistyped one for a module's name.
pub(super) fn log_filter(text: &str) -> Parsed<String> {
    let mut lone_words = text.split(',').filter(|directive| !directive.contains(['=', '[']));
    let levels_only = lone_words.all(|word| !word.is_empty() && word.parse::<LevelFilter>().is_ok());
    if levels_only && EnvFilter::builder().parse(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a log filter, like info or info,evenkeel=debug"))
}

#[cfg(test)]
mod tests;
