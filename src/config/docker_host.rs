//! The Docker engines: `[NAME=]URL`, and what several of them come to.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::parse::{self, Parsed};
use super::settings::DockerSettings;
use crate::provider::{Provider, ProviderKind};

const EXAMPLES: &str = "like unix:///var/run/docker.sock or vm-2=tcp://10.1.1.2:2375";

/// One Docker engine, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DockerHost {
    /// The name that was given.
    name: Option<String>,
    /// The URL without what is behind the `?`.
    url: String,
    /// The host in it; a socket's URL has none.
    host: Option<String>,
    /// The address that was given.
    address: Option<String>,
    /// The directory with certificates that was given, or `off`.
    cert_path: Option<String>,
}

impl DockerHost {
    /// Reads `vm-2=tcp://10.1.1.2:2375?address=192.168.1.2`, where only the URL must be there.
    fn parse(text: &str) -> Parsed<Self> {
        let (name, url) = match text.split_once("://") {
            Some((head, _)) => match head.split_once('=') {
                Some((name, scheme)) => {
                    (Some(parse::name(name)?), text.get(head.len() - scheme.len()..).unwrap_or(text))
                }
                None => (None, text),
            },
            None if text.starts_with('/') => return Err(format!("{text:?} needs a scheme, like unix://{text}")),
            None => return Err(not_an_engine(text)),
        };
        let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
        let host = host_of(url).map_err(|()| not_an_engine(text))?.map(str::to_owned);
        let mut typed =
            Self { name: name.map(str::to_owned), url: url.to_owned(), host, address: None, cert_path: None };
        query.into_iter().flat_map(|query| query.split('&')).try_for_each(|option| typed.read(option))?;
        Ok(typed)
    }

    /// Reads one of the options behind the `?`.
    fn read(&mut self, option: &str) -> Parsed<()> {
        match option.split_once('=') {
            Some(("address", value)) if is_address(value) => self.address = Some(value.to_owned()),
            Some(("address", value)) => {
                return Err(format!("{value:?} is not an IP address or a host's name, like address=10.1.1.2"));
            }
            Some(("cert-path", value)) if !value.is_empty() => self.cert_path = Some(value.to_owned()),
            _ => {
                return Err(format!(
                    "{option:?} is not an option of a Docker host, like address=10.1.1.2 or cert-path=/etc/vm-2"
                ));
            }
        }
        Ok(())
    }

    /// What it goes by where there are several.
    fn label(&self) -> Option<&str> {
        self.name.as_deref().or(self.host.as_deref())
    }

    /// What keeps this one from standing beside those.
    fn clash(&self, others: &[Self]) -> Option<String> {
        if others.iter().all(|other| other.label() != self.label()) {
            return None;
        }
        let what = self.label().map_or("without a name".to_owned(), |name| format!("called {name:?}"));
        Some(format!("{:?} is the second engine {what}; give each a name of its own, like vm-2={}", self.url, self.url))
    }

    /// Where the ports that its containers publish are dialled, unless we run there ourselves; `None`: the containers'
    /// own addresses are. A lone tcp:// without a name is taken for a proxy before our own engine.
    fn published_at(&self, is_lone: bool) -> Option<&str> {
        // Over SSH nobody reaches a container's own address.
        let is_told = self.name.is_some() || !is_lone || self.url.starts_with("ssh://");
        let host = self.host.as_deref().filter(|host| is_told && !is_loopback(host));
        self.address.as_deref().or(host)
    }

    /// The directory of its certificates; `common` is that of all engines.
    fn certificates(&self, common: Option<&Path>) -> Option<PathBuf> {
        let own = self.cert_path.as_deref();
        let path = own.map(Path::new).or(common).filter(|_| own != Some("off"));
        path.filter(|_| self.url.starts_with("tcp://")).map(Path::to_owned)
    }
}

/// Adds the engines of one text, and returns what is wrong with the others of it.
pub(super) fn add(hosts: &mut Vec<DockerHost>, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for piece in text.split(',').map(str::trim) {
        match DockerHost::parse(piece) {
            Ok(host) => hosts.push(host),
            Err(complaint) => complaints.push(complaint),
        }
    }
    complaints
}

/// What keeps each from standing beside those before it.
pub(super) fn clashes(hosts: &[DockerHost]) -> Vec<String> {
    let before = |index| hosts.get(..index).unwrap_or_default();
    hosts.iter().enumerate().filter_map(|(index, host)| host.clash(before(index))).collect()
}

/// The settings of each engine, with `common` for what they have in common.
pub(super) fn settings(hosts: &[DockerHost], common: &DockerSettings) -> Vec<DockerSettings> {
    let is_lone = hosts.len() < 2;
    let one = |typed: &DockerHost| {
        let name = if is_lone { typed.name.as_deref() } else { typed.label() };
        DockerSettings {
            provider: name.map_or(Provider::DOCKER, |name| Provider::named(ProviderKind::Docker, name)),
            host: typed.url.clone(),
            cert_path: typed.certificates(common.cert_path.as_deref()),
            published_at: typed.published_at(is_lone).map(str::to_owned),
            ..common.clone()
        }
    };
    hosts.iter().map(one).collect()
}

fn not_an_engine(text: &str) -> String {
    match text.split_once("://").map(|(head, _)| head.rsplit('=').next().unwrap_or(head)) {
        Some("unix" | "tcp" | "ssh") | None => format!("{text:?} is not the address of a Docker engine, {EXAMPLES}"),
        Some(scheme) => format!("{text:?}: {scheme}:// is not supported, {EXAMPLES}"),
    }
}

/// The host that the URL of an engine names, `None` for a socket.
fn host_of(url: &str) -> Result<Option<&str>, ()> {
    match url.split_once("://") {
        Some(("unix", path)) if path.len() > 1 && path.starts_with('/') => Ok(None),
        Some(("tcp", authority)) => {
            let (host, port) = authority.rsplit_once(':').ok_or(())?;
            let is_port = port.parse().is_ok_and(|port: u16| port > 0);
            if is_port && is_host(host) { Ok(Some(host.trim_matches(['[', ']']))) } else { Err(()) }
        }
        Some(("ssh", authority)) => {
            let (user, rest) = authority.split_once('@').map_or((None, authority), |(user, rest)| (Some(user), rest));
            let (host, port) = match rest.rsplit_once(':') {
                Some((host, port)) if !port.ends_with(']') => (host, port),
                _ => (rest, "22"),
            };
            let is_port = port.parse().is_ok_and(|port: u16| port > 0);
            let is_good = is_port && is_host(host) && user.is_none_or(|user| parse::name(user).is_ok());
            if is_good { Ok(Some(host.trim_matches(['[', ']']))) } else { Err(()) }
        }
        _ => Err(()),
    }
}

/// Whether this can stand between `tcp://` and the port.
pub(super) fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)),
    }
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_host(text)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> DockerHost {
        DockerHost::parse(text).unwrap()
    }

    /// Provider, URL and where published ports are dialled, of each.
    fn settings_of(texts: &[&str]) -> Vec<String> {
        let hosts: Vec<_> = texts.iter().map(|text| parse(text)).collect();
        let show = |one: DockerSettings| format!("{} {} {:?}", one.provider, one.host, one.published_at.as_deref());
        settings(&hosts, &DockerSettings::default()).into_iter().map(show).collect()
    }

    #[test]
    fn an_engine_is_a_socket_or_a_tcp_address_and_may_have_a_name() {
        for good in [
            "unix:///run/docker.sock",
            "tcp://docker-proxy:2375",
            "tcp://[::1]:1",
            "tcp://10.0.0.1:2375",
            "ssh://box",
            "ssh://me@box:2222",
            "ssh://[fd00::1]",
            "ssh://[fd00::1]:22",
        ] {
            assert_eq!(parse(good).url, good);
            assert_eq!(
                parse(&format!("vm-1={good}?address=box")),
                DockerHost { name: Some("vm-1".to_owned()), address: Some("box".to_owned()), ..parse(good) }
            );
        }
    }

    #[test]
    fn what_is_no_engine_says_what_it_should_be() {
        let told = |text: &str| DockerHost::parse(text).unwrap_err();
        assert_eq!(told("/run/d.sock"), "\"/run/d.sock\" needs a scheme, like unix:///run/d.sock");
        assert_eq!(told("ftp://box"), format!("\"ftp://box\": ftp:// is not supported, {EXAMPLES}"));
        assert_eq!(told("a=ftp://box"), format!("\"a=ftp://box\": ftp:// is not supported, {EXAMPLES}"));
        for bad in
            ["", "docker", "unix://", "unix://run", "tcp://", "tcp://box", "tcp://:1", "tcp://a/b:1", "tcp://a:0"]
        {
            assert_eq!(told(bad), format!("{bad:?} is not the address of a Docker engine, {EXAMPLES}"));
        }
        assert_eq!(
            told("tcp://a:1?adress=b"),
            "\"adress=b\" is not an option of a Docker host, like address=10.1.1.2 or cert-path=/etc/vm-2"
        );
        assert_eq!(
            told("tcp://a:1?address=b:1"),
            "\"b:1\" is not an IP address or a host's name, like address=10.1.1.2"
        );
        assert_eq!(told("=tcp://a:1"), "\"\" is not a name: letters, digits, `.`, `_` and `-`, like gateway");
    }

    #[test]
    fn which_engines_are_dialled_at_published_ports_unless_we_run_there() {
        let table: [(&[&str], &[&str]); 8] = [
            (&["ssh://me@10.0.0.5"], &["docker ssh://me@10.0.0.5 Some(\"10.0.0.5\")"]),
            (&["unix:///d.sock"], &["docker unix:///d.sock None"]),
            (&["tcp://socket-proxy:1"], &["docker tcp://socket-proxy:1 None"]),
            (&["vm=tcp://10.0.0.5:1"], &["docker:vm tcp://10.0.0.5:1 Some(\"10.0.0.5\")"]),
            (&["tcp://10.0.0.5:1?address=10.9.0.5"], &["docker tcp://10.0.0.5:1 Some(\"10.9.0.5\")"]),
            (&["vm=unix:///tunnel.sock?address=10.0.0.5"], &["docker:vm unix:///tunnel.sock Some(\"10.0.0.5\")"]),
            (
                &["vm=tcp://127.0.0.1:1", "tcp://localhost:2"],
                &["docker:vm tcp://127.0.0.1:1 None", "docker:localhost tcp://localhost:2 None"],
            ),
            (
                &["unix:///d.sock", "tcp://10.0.0.5:1", "vm-3=tcp://[fd00::3]:1"],
                &[
                    "docker unix:///d.sock None",
                    "docker:10.0.0.5 tcp://10.0.0.5:1 Some(\"10.0.0.5\")",
                    "docker:vm-3 tcp://[fd00::3]:1 Some(\"fd00::3\")",
                ],
            ),
        ];
        for (texts, expected) in table {
            assert_eq!(settings_of(texts), expected, "{texts:?}");
        }
    }

    #[test]
    fn certificates_are_for_all_tcp_engines_or_for_one() {
        let common = DockerSettings { cert_path: Some("/all".into()), ..DockerSettings::default() };
        let table = [
            ("tcp://a:1", Some("/all")),
            ("tcp://a:1?cert-path=/own", Some("/own")),
            ("tcp://a:1?cert-path=off", None),
            ("tcp://a:1?address=b&cert-path=/own", Some("/own")),
            ("unix:///d.sock", None),
            ("ssh://a", None),
        ];
        for (text, expected) in table {
            let settings = settings(&[parse(text)], &common).remove(0);
            assert_eq!(settings.cert_path.as_deref(), expected.map(Path::new), "{text}");
        }
    }

    #[test]
    fn each_of_several_has_a_name_of_its_own() {
        let clash = |one: &str, other: &str| parse(other).clash(&[parse(one)]);
        assert_eq!(clash("tcp://a:1", "tcp://b:1"), None);
        assert_eq!(clash("unix:///a", "tcp://b:1"), None);
        assert_eq!(
            clash("unix:///a", "unix:///b").unwrap(),
            "\"unix:///b\" is the second engine without a name; give each a name of its own, like vm-2=unix:///b"
        );
        let told = "\"tcp://b:1\" is the second engine called \"a\"; give each a name of its own, like vm-2=tcp://b:1";
        assert_eq!(clash("tcp://a:1", "a=tcp://b:1").unwrap(), told);
    }
}
