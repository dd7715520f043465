//! The codec of the HTTP/1.1 path: pure, no I/O, nothing allocated per message.
//!
//! A head stays in the buffer that it was read into; what is known about it are spans of that buffer. In order:
//!
//! - a request: [`parse_request`] → [`target::read`] → [`framing::request_body`], [`framing::persists`],
//!   [`framing::expects_continue`], [`upgrade::asked`] → [`rewrite::write_request`];
//! - an answer: [`parse_response`] → [`framing::response`], [`framing::towards_client`] →
//!   [`rewrite::write_response`] or, for a 1xx, [`rewrite::write_interim`];
//! - a chunked body in either direction: [`chunked::Decoder`], then [`chunked::ChunkHeader`].
//!
//! Header rules ([`rules`]) change the lines of a head once these are written, before what frames the message.
//!
//! What is doubtful is a [`RejectReason`], after which nothing more may be read from the connection.

mod bytes;
pub mod chunked;
pub mod client;
mod field_line;
pub mod fields;
pub(super) mod forwarded;
pub mod framing;
pub mod head;
mod host;
pub mod line;
pub mod name;
pub mod reject;
pub mod rewrite;
pub mod rules;
pub mod span;
pub mod target;
#[cfg(test)]
mod tests;
mod trailers;
pub mod upgrade;
pub mod via;

pub use fields::Fields;
pub use head::{Limits, Parsed, RequestScan, ResponseScan, parse_request, parse_response};
pub use line::{Method, RequestHead, ResponseHead, Version};
pub use reject::RejectReason;
pub use span::Span;
