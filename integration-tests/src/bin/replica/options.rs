//! What was typed and what the environment says.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Serve,
    Healthcheck,
    Get { urls: Vec<String> },
    SocketProxy { listen: String, socket: PathBuf },
}

impl Command {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let command = match args.next().as_deref() {
            None => Self::Serve,
            Some("help" | "-h" | "--help") => Self::Help,
            Some("healthcheck") => Self::Healthcheck,
            Some("get") => match args.by_ref().collect::<Vec<_>>() {
                urls if urls.is_empty() => return Err("get: which URL?".into()),
                urls => Self::Get { urls },
            },
            Some("socket-proxy") => {
                let (mut listen, mut socket) = ("0.0.0.0:2375".to_owned(), PathBuf::from("/var/run/docker.sock"));
                while let Some(flag) = args.next() {
                    let value = args.next().ok_or_else(|| format!("{flag}: a value is missing"))?;
                    match flag.as_str() {
                        "--listen" => listen = value,
                        "--socket" => socket = value.into(),
                        _ => return Err(format!("socket-proxy: unknown flag {flag}")),
                    }
                }
                Self::SocketProxy { listen, socket }
            }
            Some(other) => return Err(format!("unknown command {other}")),
        };
        match args.next() {
            Some(extra) => Err(format!("unexpected argument {extra}")),
            None => Ok(command),
        }
    }
}

/// What SIGTERM does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TermMode {
    /// Finish the open requests, then exit.
    Graceful,
    /// Exit at once.
    Abrupt,
    /// Go on as if nothing had happened.
    Ignore,
}

impl FromStr for TermMode {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "graceful" => Ok(Self::Graceful),
            "abrupt" => Ok(Self::Abrupt),
            "ignore" => Ok(Self::Ignore),
            _ => Err("graceful, abrupt or ignore"),
        }
    }
}

/// The settings of the serving replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) name: String,
    pub(crate) delay: Duration,
    pub(crate) start_delay: Duration,
    pub(crate) ready_delay: Duration,
    pub(crate) ready_flap: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) exit_delay: Duration,
    pub(crate) drain: Duration,
    pub(crate) term_mode: TermMode,
    pub(crate) work_log: Option<PathBuf>,
    /// The core to run on; any, if none.
    pub(crate) core: Option<usize>,
}

impl Options {
    pub(crate) fn from_env() -> Result<Self, String> {
        #[expect(clippy::disallowed_methods, reason = "this program's settings are its environment")]
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let millis = |name, default| parse(&var, name, default).map(Duration::from_millis);
        Ok(Self {
            address: parse(&var, "ADDRESS", Ipv4Addr::UNSPECIFIED.into())?,
            port: parse(&var, "PORT", 3001)?,
            name: parse(&var, "REPLICA_NAME", String::new())?,
            delay: millis("DELAY_MS", 0)?,
            start_delay: millis("START_DELAY_MS", 0)?,
            ready_delay: millis("READY_DELAY_MS", 0)?,
            ready_flap: millis("READY_FLAP_MS", 0)?,
            keep_alive: millis("KEEP_ALIVE_MS", 0)?,
            exit_delay: millis("EXIT_DELAY_MS", 0)?,
            drain: millis("DRAIN_MS", 9_000)?,
            term_mode: parse(&var, "TERM_MODE", TermMode::Graceful)?,
            work_log: var("WORK_LOG").filter(|path| !path.is_empty()).map(PathBuf::from),
            core: var("CORE").filter(|core| !core.is_empty()).map(|_| parse(&var, "CORE", 0)).transpose()?,
        })
    }
}

/// A variable that is unset or empty has its default.
fn parse<T>(var: impl Fn(&str) -> Option<String>, name: &str, default: T) -> Result<T, String>
where
    T: FromStr<Err: std::fmt::Display>,
{
    match var(name).filter(|text| !text.is_empty()) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|error| format!("{name}={text}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn commands_are_told_apart() {
        assert_eq!(command(""), Ok(Command::Serve));
        assert_eq!(command("healthcheck"), Ok(Command::Healthcheck));
        assert_eq!(
            command("get http://a http://b"),
            Ok(Command::Get { urls: vec!["http://a".into(), "http://b".into()] })
        );
        assert_eq!(
            command("socket-proxy --socket /s --listen 127.0.0.1:1"),
            Ok(Command::SocketProxy { listen: "127.0.0.1:1".into(), socket: "/s".into() })
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in [
            ("serve", "serve"),
            ("get", "URL"),
            ("healthcheck now", "now"),
            ("socket-proxy --listen", "--listen"),
            ("socket-proxy --port 1", "--port"),
        ] {
            let error = command(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn variables_have_defaults_and_errors_name_the_variable() {
        let options = Options::read(|_| None).unwrap();
        assert_eq!((options.port, options.delay, options.term_mode), (3001, Duration::ZERO, TermMode::Graceful));
        let set =
            |name: &'static str, value: &'static str| move |asked: &str| (asked == name).then(|| value.to_owned());
        assert_eq!(Options::read(set("EXIT_DELAY_MS", "250")).unwrap().exit_delay, Duration::from_millis(250));
        assert_eq!(Options::read(set("PORT", "")).unwrap().port, 3001);
        assert_eq!(Options::read(set("TERM_MODE", "soon")).unwrap_err(), "TERM_MODE=soon: graceful, abrupt or ignore");
        assert!(Options::read(set("PORT", "70000")).unwrap_err().starts_with("PORT=70000: "));
    }
}
