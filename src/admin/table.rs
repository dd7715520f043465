//! The debug page: the replicas as a table for a person at a terminal.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::AdminState;
use super::replicas::{self, ROUTED, ReplicaView};
use crate::discovery::status::DiscoveryStatus;
use crate::discovery::verdict::{Considered, Verdict};
use crate::metrics::Newest;
use crate::replica::State;

/// The whole page: who we are, what discovery says, the replicas, and what was considered but is not among them.
pub(super) fn page(state: &AdminState, service: Option<&str>, now: SystemTime) -> String {
    let replicas = replicas::list(&state.registry, service);
    let mut others: Vec<_> = state.discovery.iter().flat_map(|status| status.considered()).collect();
    others.retain(|c| service.is_none_or(|name| c.service.as_ref().is_some_and(|s| s.as_str() == name)));
    let warnings: Vec<_> = others.iter().filter(|c| !c.warnings.is_empty()).cloned().collect();
    others.retain(|c| c.verdict != Verdict::Routed && replicas.iter().all(|r| r.id != c.id.as_str()));

    let mut page = format!("evenkeel {}, up {}\n", state.version, age(state.started, now));
    page += &discovery_lines(&state.discovery, now);
    page += &config_lines(&state.reloads.newest(), now);
    let known = replicas::known(&state.registry, service);
    page += &count_line(&replicas, known, others.len());
    if !replicas.is_empty() {
        page += &format!("\n{}", replica_table(&replicas, now));
    }
    if !others.is_empty() {
        page += &format!("\nConsidered, but not routed:\n{}", container_table(&others));
    }
    if !warnings.is_empty() {
        page += &format!("\nWarnings:\n{}", warning_list(&warnings));
    }
    page
}

fn discovery_lines(discovery: &[Arc<DiscoveryStatus>], now: SystemTime) -> String {
    if discovery.is_empty() {
        return "static replicas only (--no-docker)\n".to_owned();
    }
    discovery.iter().map(|status| discovery_line(status, now)).collect()
}

fn discovery_line(status: &DiscoveryStatus, now: SystemTime) -> String {
    let provider = status.provider();
    let connection =
        if status.is_connected() { "connected" } else { "NOT CONNECTED, the last known replicas serve on" };
    match status.last_sync() {
        Some(at) => format!("{provider}: {connection}, last full list {} ago\n", age(at, now)),
        None if status.is_connected() => format!("{provider}: connected, first sync under way\n"),
        None => format!("{provider}: NOT CONNECTED, first sync not done\n"),
    }
}

/// What somebody has to do about the settings; most of the time nothing.
fn config_lines(Newest { since, wrong, waiting }: &Newest, now: SystemTime) -> String {
    let mut lines = String::new();
    if let Some(wrong) = wrong {
        let what = if *wrong == 1 { "1 thing is wrong".to_owned() } else { format!("{wrong} things are wrong") };
        let age = age(*since, now);
        lines += &format!("configuration: REFUSED, {what} with the file; what was read {age} ago holds\n");
    }
    if !waiting.is_empty() {
        lines += &format!("configuration: a restart is needed for {}\n", waiting.join(", "));
    }
    lines
}

fn count_line(replicas: &[ReplicaView], known: usize, others: usize) -> String {
    let states = State::ALL.map(|state| (state, replicas.iter().filter(|r| r.state == state.as_str()).count()));
    let parts: Vec<_> =
        states.into_iter().filter(|(_, count)| *count > 0).map(|(state, count)| format!("{count} {state}")).collect();
    let plural = if known == 1 { "" } else { "s" };
    let mut line = match replicas.len() {
        count if count < known => format!("{count} of {known} replica{plural}"),
        count => format!("{count} replica{plural}"),
    };
    if !parts.is_empty() {
        line += &format!(": {}", parts.join(", "));
    }
    if others > 0 {
        line += &format!("; {others} considered but not routed");
    }
    if replicas.iter().all(|r| r.verdict != ROUTED) {
        line += match replicas.iter().any(|r| r.is_last_resort) {
            true => "; NONE IS READY, so those that run get the requests",
            false => "; NONE TAKES REQUESTS, clients wait and then get 503",
        };
    }
    line + "\n"
}

fn replica_table(replicas: &[ReplicaView], now: SystemTime) -> String {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows = replicas.iter().map(|r| {
        let verdict = match &r.last_error {
            Some(error) if !r.verdict.contains(error.as_str()) => format!("{} (last error: {error})", r.verdict),
            _ => r.verdict.clone(),
        };
        [
            r.name.clone(),
            r.service.clone(),
            r.state.to_owned(),
            r.health.to_owned(),
            r.addr.to_string(),
            or_dash(&r.network),
            r.weight.to_string(),
            r.in_flight.to_string(),
            r.tunnels.to_string(),
            r.requests.to_string(),
            r.errors.to_string(),
            age(r.since, now),
            verdict,
        ]
    });
    let head = [
        "NAME",
        "SERVICE",
        "STATE",
        "HEALTH",
        "ADDR",
        "NETWORK",
        ">WEIGHT",
        ">IN-FLIGHT",
        ">TUNNELS",
        ">REQUESTS",
        ">ERRORS",
        ">SINCE",
        "VERDICT",
    ];
    align(head, rows)
}

fn container_table(containers: &[Considered]) -> String {
    let rows = containers.iter().map(|c| {
        let service = c.service.as_ref().map_or("-", |service| service.as_str());
        [
            c.id.short().to_owned(),
            c.name.clone(),
            service.to_owned(),
            c.verdict.code().to_owned(),
            c.verdict.to_string(),
        ]
    });
    align(["CONTAINER", "NAME", "SERVICE", "VERDICT", "WHY"], rows)
}

fn warning_list(containers: &[Considered]) -> String {
    let lines = containers.iter().flat_map(|c| c.warnings.iter().map(move |w| format!("{}: {w}", c.name)));
    lines.map(|line| printable(&line) + "\n").collect()
}

/// Lines the columns up, two blanks apart. A head that begins with `>` makes a column of numbers: to the right.
fn align<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let to_right = head.map(|title| title.starts_with('>'));
    let mut lines = vec![head.map(|title| title.trim_start_matches('>').to_owned())];
    lines.extend(rows.map(|row| row.map(|cell| printable(&cell))));
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths).zip(to_right).map(|((cell, width), to_right)| {
            if to_right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// What came from labels or sockets must not move the cursor or break the line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The time since, in its two largest units: `12s`, `5m12s`, `3h05m`, `2d03h`.
fn age(since: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(since).unwrap_or(Duration::ZERO).as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m{:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::{Fixture, considered, fixture};
    use crate::metrics::Fault;
    use crate::replica::Health;

    #[test]
    fn ages_show_their_two_largest_units() {
        let now = SystemTime::now();
        let shown = |seconds| age(now - Duration::from_secs(seconds), now);
        assert_eq!([0, 59, 60, 312, 3_600, 11_100].map(shown), ["0s", "59s", "1m00s", "5m12s", "1h00m", "3h05m"]);
        assert_eq!([86_399, 86_400, 183_600].map(shown), ["23h59m", "1d00h", "2d03h"]);
        assert_eq!(age(now + Duration::from_secs(9), now), "0s", "a clock that was set back");
    }

    #[test]
    fn numbers_stand_to_the_right_and_control_characters_do_no_harm() {
        let rows = [["käse\x1b[2J", "7", "fine"], ["b", "1000", ""]].map(|row| row.map(str::to_owned));
        let text = align(["NAME", ">COUNT", "LAST"], rows.into_iter());
        assert_eq!(text, "NAME      COUNT  LAST\nkäse?[2J      7  fine\nb          1000\n");
    }

    #[test]
    fn the_page_is_this_page() {
        let fixture = fixture();
        let now = SystemTime::now() + Duration::from_secs(11_130);
        fixture.docker.set_connected(true);
        let mut warned = considered('a', "shop-gateway-1");
        warned.warnings.push("label evenkeel.prot is unknown; did you mean evenkeel.port?".to_owned());
        fixture.docker.consider(warned);
        let page = page(&fixture.state, None, now);
        let expected = "\
evenkeel 1.2.3, up 3h05m
docker: connected, first sync under way
4 replicas: 1 starting, 1 ready, 1 unhealthy, 1 draining

NAME       SERVICE  STATE      HEALTH     ADDR             NETWORK       WEIGHT  IN-FLIGHT  TUNNELS  REQUESTS  ERRORS  SINCE  VERDICT
gateway-1  gateway  ready      healthy    172.18.0.3:3001  shop_default       1          2        0         3       1  3h05m  routed (last error: connect: refused)
gateway-2  gateway  unhealthy  unhealthy  172.18.0.4:3001  shop_default       1          0        0         0       0  3h05m  unhealthy: probe: timed out
gateway-3  gateway  draining   healthy    172.18.0.5:3001  shop_default       1          0        0         1       0  3h05m  draining: no request left
gateway-3  gateway  starting   unknown    172.18.0.6:3001  shop_default       1          0        0         1       0  3h05m  starting: no probe has passed yet

Warnings:
shop-gateway-1: label evenkeel.prot is unknown; did you mean evenkeel.port?
";
        assert_eq!(page, expected, "\n{page}");
    }

    #[test]
    fn an_empty_page_says_what_that_means() {
        let fixture = fixture();
        let page = page(&fixture.state, Some("nobody"), SystemTime::now());
        assert!(page.ends_with(
            "docker: NOT CONNECTED, first sync not done\n0 replicas; NONE TAKES REQUESTS, clients wait and then get 503\n"
        ));
        fixture.docker.set_synced();
        let now = fixture.docker.last_sync().unwrap() + Duration::from_secs(70);
        let line = discovery_line(&fixture.docker, now);
        assert_eq!(line, "docker: NOT CONNECTED, the last known replicas serve on, last full list 1m10s ago\n");
        assert_eq!(discovery_lines(&[], now), "static replicas only (--no-docker)\n");
    }

    #[test]
    fn what_was_considered_but_is_not_routed_says_why() {
        let mut orphan = considered('b', "cron\nbox");
        orphan.service = None;
        let expected = "\
CONTAINER     NAME            SERVICE  VERDICT  WHY
aaaaaaaaaaaa  shop-gateway-1  gateway  routed   routed
bbbbbbbbbbbb  cron?box        -        routed   routed
";
        assert_eq!(container_table(&[considered('a', "shop-gateway-1"), orphan]), expected);
        assert_eq!(
            count_line(&[], 0, 2),
            "0 replicas; 2 considered but not routed; NONE TAKES REQUESTS, clients wait and then get 503\n"
        );
        assert!(count_line(&[], 10_000, 0).starts_with("0 of 10000 replicas; NONE"));
    }

    #[test]
    fn when_none_is_ready_the_page_says_who_gets_the_requests() {
        let fixture = Fixture::empty();
        let replica = fixture.add('f', "gateway-9", 9, |_| {});
        replica.set_health(Health::Healthy);
        replica.eject(Fault::Timeout, 1);
        let page = page(&fixture.state, None, SystemTime::now());
        assert!(page.contains("\n1 replica: 1 ejected; NONE IS READY, so those that run get the requests\n"), "{page}");
        let verdict = "ejected for a while: too many of its requests failed, most by timeout";
        assert!(page.lines().any(|line| line.starts_with("gateway-9") && line.ends_with(verdict)), "{page}");
    }

    #[test]
    fn a_replica_outside_of_the_subset_says_what_it_has_left() {
        let fixture = fixture();
        let replica = fixture.add('f', "gateway-9", 9, |_| {});
        replica.set_health(Health::Healthy);
        replica.set_aside(true);
        let page = page(&fixture.state, None, SystemTime::now());
        let verdict = "not routed: outside of the subset by now, no request left";
        assert!(page.lines().any(|line| line.starts_with("gateway-9") && line.ends_with(verdict)), "{page}");
    }

    #[test]
    fn a_replica_of_weight_0_says_that_it_is_not_routed() {
        let fixture = fixture();
        let replica = fixture.add('f', "gateway-9", 9, |spec| spec.weight = 0);
        replica.set_health(Health::Healthy);
        let page = page(&fixture.state, None, SystemTime::now());
        assert!(
            page.lines().any(|line| line.starts_with("gateway-9") && line.ends_with("not routed: its weight is 0"))
        );
    }
}
