//! The fault: what a replica did wrong, as its ejection counts it.

use std::fmt;

use super::AttemptFailure;

/// What went wrong with an attempt or an answer by the replica's doing: the words of `--eject-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fault {
    /// No connection: refused, unreachable, or not in time.
    Connect,
    /// The connection was closed or reset before the answer was whole.
    Reset,
    /// No answer in time.
    Timeout,
    /// What came is not HTTP.
    Protocol,
    /// It answered 502.
    BadGateway,
    /// It answered 503.
    Unavailable,
    /// It answered 504.
    GatewayTimeout,
}

impl Fault {
    /// Every fault, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Reset,
        Self::Timeout,
        Self::Protocol,
        Self::BadGateway,
        Self::Unavailable,
        Self::GatewayTimeout,
    ];

    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::BadGateway => "502",
            Self::Unavailable => "503",
            Self::GatewayTimeout => "504",
        }
    }

    /// The fault that an attempt's failure is. That a replica is lost was others' news, and so is none.
    pub fn of_attempt(failure: AttemptFailure) -> Option<Self> {
        match failure {
            AttemptFailure::Connect => Some(Self::Connect),
            AttemptFailure::Timeout => Some(Self::Timeout),
            AttemptFailure::Reset => Some(Self::Reset),
            AttemptFailure::Protocol => Some(Self::Protocol),
            AttemptFailure::Lost => None,
        }
    }

    /// The fault that an answer with this status is, if it is one.
    #[inline]
    pub fn of_status(status: u16) -> Option<Self> {
        match status {
            502 => Some(Self::BadGateway),
            503 => Some(Self::Unavailable),
            504 => Some(Self::GatewayTimeout),
            _ => None,
        }
    }

    /// Whether it came as an answer, and so says nothing against connecting to the replica.
    pub fn is_status(self) -> bool {
        self >= Self::BadGateway
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of faults.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Faults(u8);

impl Faults {
    /// Every fault.
    pub const ALL: Self = Self(0x7f);

    /// Whether the fault is in it.
    #[inline]
    pub fn contains(self, fault: Fault) -> bool {
        self.0 >> fault as u8 & 1 == 1
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        Self(faults.into_iter().fold(0, |set, fault| set | 1 << fault as u8))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Fault::ALL.into_iter().filter(|fault| self.contains(*fault))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_stand_at_their_numbers() {
        for (number, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, number);
            assert_eq!(fault.is_status(), fault.as_str().parse::<u16>().is_ok(), "{fault}");
        }
    }

    #[test]
    fn a_status_is_a_fault_only_where_it_says_that_a_server_failed() {
        for status in 100..=999 {
            let word = Fault::of_status(status).map(|fault| fault.as_str().to_owned());
            assert_eq!(word, (502..=504).contains(&status).then(|| status.to_string()), "{status}");
        }
    }

    #[test]
    fn an_attempt_fails_by_the_fault_of_the_same_name() {
        for failure in AttemptFailure::ALL {
            let word = Fault::of_attempt(failure).map(Fault::as_str);
            assert_eq!(word, Some(failure.as_str()).filter(|word| *word != "lost"));
        }
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let some: Faults = [Fault::Reset, Fault::Unavailable].into_iter().collect();
        let has = Fault::ALL.map(|fault| some.contains(fault));
        assert_eq!(has, [false, true, false, false, false, true, false]);
        assert_eq!(Fault::ALL.into_iter().collect::<Faults>(), Faults::ALL);
        assert_eq!(format!("{some:?}"), "{Reset, Unavailable}");
    }
}
