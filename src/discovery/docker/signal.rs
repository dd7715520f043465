//! Signals: a container's stop signal and the one in a `kill` event.

/// A signal by its number on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::discovery) struct Signal(u8);

/// The names of the signals 1 to 31.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The number of the first and of the last real-time signal.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

impl Signal {
    pub(in crate::discovery) const KILL: Self = Self(9);
    pub(in crate::discovery) const TERM: Self = Self(15);

    /// Reads `15`, `SIGTERM`, `term` or `SIGRTMIN+3`. `None` for anything else.
    pub(in crate::discovery) fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse() {
            return (1..=RTMAX).contains(&number).then_some(Self(number));
        }
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        let named = NAMES.iter().position(|known| *known == name).and_then(|place| u8::try_from(place + 1).ok());
        let real_time = || match name.strip_prefix("RTMIN") {
            Some("") => Some(RTMIN),
            Some(offset) => RTMIN.checked_add(offset.strip_prefix('+')?.parse().ok()?),
            None => match name.strip_prefix("RTMAX")? {
                "" => Some(RTMAX),
                offset => RTMAX.checked_sub(offset.strip_prefix('-')?.parse().ok()?),
            },
        };
        let number = named.or_else(|| real_time().filter(|number| (RTMIN..=RTMAX).contains(number)))?;
        Some(Self(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_and_names() {
        let table = [
            ("15", Some(15)),
            ("SIGTERM", Some(15)),
            ("TERM", Some(15)),
            ("sigquit", Some(3)),
            ("9", Some(9)),
            ("SIGKILL", Some(9)),
            ("HUP", Some(1)),
            ("SIGUSR1", Some(10)),
            ("WINCH", Some(28)),
            ("SYS", Some(31)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("37", Some(37)),
            ("", None),
            ("0", None),
            ("-15", None),
            ("65", None),
            ("300", None),
            ("SIG", None),
            ("SIGFOO", None),
            ("RTMIN+99", None),
            ("RTMAX-60", None),
            ("RTMIN3", None),
        ];
        for (text, number) in table {
            assert_eq!(Signal::parse(text), number.map(Signal), "{text:?}");
        }
        assert_eq!(Signal::parse("TERM"), Some(Signal::TERM));
        assert_eq!(Signal::parse("KILL"), Some(Signal::KILL));
    }
}
