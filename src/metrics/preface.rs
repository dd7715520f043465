//! What is wrong with the preface of a balancer in front of us.

/// Why a connection of a balancer that has to say who its client is was closed: the values of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefaceFault {
    /// It does not begin with a preface.
    Missing,
    /// It begins with one that the PROXY protocol does not allow.
    Malformed,
    /// The preface is not that of which its checksum is.
    Checksum,
    /// The preface is longer than the protocol allows, or than we take.
    TooLong,
    /// The preface was not there in time.
    Late,
    /// The connection ended in the midst of it.
    CutOff,
}

impl PrefaceFault {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Missing, Self::Malformed, Self::Checksum, Self::TooLong, Self::Late, Self::CutOff];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Checksum => "checksum",
            Self::TooLong => "too-long",
            Self::Late => "late",
            Self::CutOff => "cut-off",
        }
    }
}
