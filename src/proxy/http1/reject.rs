//! Why a message is not taken, and what the client is told: one table.

/// What is wrong with a message. After it, nothing on the connection may be read as a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectReason {
    /// A line does not end in CRLF: a bare LF, or a CR elsewhere.
    #[error("a line does not end in CRLF")]
    LineEnd,
}

impl RejectReason {
    /// The status code for the client that sent a request like this. For an answer it is always 502.
    pub fn status(self) -> u16 {
        todo!()
    }

    /// The word for logs and for the body of the refusal.
    pub fn as_str(self) -> &'static str {
        todo!()
    }
}
