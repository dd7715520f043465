//! A body as it comes in: which bytes are its data, and where it ends.

use std::ops::Range;

use super::http1::RejectReason;
use super::http1::chunked::Decoder;
use super::http1::framing::{RequestBody, ResponseBody};

/// What is still to come of a body.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes; 0 when it has ended.
    Length(u64),
    /// Chunks. The decoder is boxed: most bodies have none.
    Chunked(Box<Decoder>),
    /// All until the connection is closed.
    UntilClose,
}

/// What some input was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Where in the input the data is.
    pub(super) data: Range<usize>,
    /// How much of the input belongs to the body.
    pub(super) consumed: usize,
    /// What is wrong behind the data.
    pub(super) error: Option<RejectReason>,
}

impl Body {
    /// Whether nothing more is to come.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(decoder) => decoder.is_done(),
            Self::UntilClose => false,
        }
    }

    /// How many bytes are still to come, if that was said before; else 0.
    pub(super) fn left(&self) -> u64 {
        if let Self::Length(left) = self { *left } else { 0 }
    }

    /// Notes that so many of them have passed.
    pub(super) fn pass(&mut self, count: u64) {
        if let Self::Length(left) = self {
            *left = left.saturating_sub(count);
        }
    }

    /// The trailers of a body that has ended, as they may pass on.
    pub(super) fn trailers(&self) -> &[u8] {
        match self {
            Self::Chunked(decoder) => decoder.trailers(),
            _ => &[],
        }
    }

    /// Takes what belongs to the body, and moves data together that is in several chunks.
    pub(super) fn take(&mut self, input: &mut [u8]) -> Taken {
        match self {
            Self::UntilClose => Taken { data: 0..input.len(), consumed: input.len(), error: None },
            Self::Length(left) => {
                let count = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                Taken { data: 0..count, consumed: count, error: None }
            }
            Self::Chunked(decoder) => decode(decoder, input),
        }
    }

    /// Nothing more is to come, since the connection ended.
    pub(super) fn end(&mut self) {
        *self = Self::Length(0);
    }
}

fn decode(decoder: &mut Decoder, input: &mut [u8]) -> Taken {
    let mut taken = Taken { data: 0..0, consumed: 0, error: None };
    while taken.consumed < input.len() && !decoder.is_done() {
        let decoded = match decoder.decode(input.get(taken.consumed..).unwrap_or_default()) {
            Ok(decoded) => decoded,
            Err(reason) => {
                taken.error = Some(reason);
                break;
            }
        };
        let run = taken.consumed + decoded.data.start..taken.consumed + decoded.data.end;
        taken.consumed += decoded.consumed;
        if taken.data.is_empty() {
            taken.data = run;
        } else {
            let length = run.len();
            input.copy_within(run, taken.data.end);
            taken.data.end += length;
        }
    }
    taken
}

impl From<RequestBody> for Body {
    fn from(body: RequestBody) -> Self {
        match body {
            RequestBody::None => Self::Length(0),
            RequestBody::Length(length) => Self::Length(length),
            RequestBody::Chunked { limit } => Self::Chunked(Box::new(Decoder::with_limit(limit))),
        }
    }
}

impl From<ResponseBody> for Body {
    fn from(body: ResponseBody) -> Self {
        match body {
            ResponseBody::None => Self::Length(0),
            ResponseBody::Length(length) => Self::Length(length),
            ResponseBody::Chunked => Self::Chunked(Box::default()),
            ResponseBody::UntilClose => Self::UntilClose,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(body: &mut Body, input: &str) -> (String, usize, Option<RejectReason>) {
        let mut input = input.as_bytes().to_vec();
        let taken = body.take(&mut input);
        (String::from_utf8(input[taken.data].to_vec()).unwrap(), taken.consumed, taken.error)
    }

    #[test]
    fn a_length_takes_no_byte_more() {
        let mut body = Body::Length(5);
        assert_eq!(take(&mut body, "hel"), ("hel".into(), 3, None));
        assert!(!body.is_done());
        assert_eq!(take(&mut body, "loGET"), ("lo".into(), 2, None));
        assert!(body.is_done());
        assert_eq!(take(&mut body, "GET"), (String::new(), 0, None));
    }

    #[test]
    fn the_data_of_all_chunks_is_moved_together() {
        let whole = "3;x\r\nhel\r\n1\r\nl\r\n1\r\no\r\n0\r\nx: y\r\n\r\n";
        for split in 0..=whole.len() {
            let mut body = Body::from(ResponseBody::Chunked);
            let (first, second) = whole.split_at(split);
            let (start, consumed, error) = take(&mut body, first);
            assert_eq!((consumed, error), (first.len(), None));
            let (end, consumed, error) = take(&mut body, &format!("{second}MORE"));
            assert_eq!((consumed, error), (second.len(), None));
            assert_eq!(start + &end, "hello", "split at {split}");
            assert_eq!((body.is_done(), body.trailers()), (true, &b"x: y\r\n"[..]));
        }
    }

    #[test]
    fn the_data_before_an_error_is_still_data() {
        let mut body = Body::from(RequestBody::Chunked { limit: u64::MAX });
        let (data, _, error) = take(&mut body, "5\r\nhello\r\nzz\r\n");
        assert_eq!((data.as_str(), error), ("hello", Some(RejectReason::ChunkSize)));
        assert!(!body.is_done());
    }

    #[test]
    fn only_a_close_ends_what_lasts_until_then() {
        let mut body = Body::from(ResponseBody::UntilClose);
        assert_eq!(take(&mut body, "x"), ("x".into(), 1, None));
        assert!(!body.is_done());
        body.end();
        assert!(body.is_done());
    }
}
