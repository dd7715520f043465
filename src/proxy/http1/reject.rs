//! Why a message is not taken, and what the client is told: one table.

/// Makes the enum and its table, so that no reason can be without its line.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $word:literal, $message:literal;)+) => {
        /// What is wrong with a message. After it, nothing on the connection may be read as a message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        pub enum RejectReason {
            $($(#[$doc])* #[error($message)] $name,)+
        }

        impl RejectReason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The status code for a client whose request is like this. If an answer is like this, the client gets a
            /// 502 whatever the reason.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// The word for logs and for the refusal's body.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

reasons! {
    /// A line does not end in CRLF: a bare LF, or a CR elsewhere.
    LineEnd = 400, "line-end", "a line does not end in CRLF";
    /// The first line is not a method, a target and a version with single spaces between them.
    RequestLine = 400, "request-line", "the request line is not a method, a target and a version";
    /// The first line is not a version, a status code of three digits from 100 and a reason.
    StatusLine = 400, "status-line", "the status line is malformed";
    /// The method is not a token.
    Method = 400, "method", "the method is not a token";
    /// The method is longer than any that exists.
    MethodTooLong = 501, "method-too-long", "the method is not known";
    /// `CONNECT` or `TRACE`.
    MethodRefused = 405, "method-refused", "this method is not forwarded";
    /// The version is malformed, or is the HTTP/2 preface's.
    Version = 400, "version", "the version is malformed";
    /// Another major version than 1.
    VersionUnsupported = 505, "version-unsupported", "this version of HTTP is not spoken here";
    /// The target is longer than the limit.
    TargetTooLong = 414, "target-too-long", "the request target is too long";
    /// The target has a byte that must not be there: a space, a control, a fragment, or a byte over 127.
    TargetByte = 400, "target-byte", "the request target has a byte that must be escaped";
    /// The target is in a form that its method does not allow, or its authority is not a valid host.
    TargetForm = 400, "target-form", "the request target has no form that is forwarded";
    /// The head is longer than the limit.
    HeadTooLong = 431, "head-too-long", "the head is too long";
    /// The head has more field lines than the limit.
    TooManyFields = 431, "too-many-fields", "the head has too many fields";
    /// A line is no field: its name is empty or not a token, has a space behind it, or there is no colon.
    FieldName = 400, "field-name", "a field's name is malformed";
    /// A field's value has a control character.
    FieldValue = 400, "field-value", "a field's value has a control character";
    /// `Connection` names more fields than anybody means.
    ConnectionOptions = 400, "connection-options", "Connection names too many fields";
    /// The Host is missing, there twice, or not a valid host.
    Host = 400, "host", "exactly one valid Host is needed";
    /// `Max-Forwards` is there twice or not a number.
    MaxForwards = 400, "max-forwards", "Max-Forwards is not one number";
    /// `Content-Length` beside `Transfer-Encoding`.
    TwoFramings = 400, "two-framings", "both Content-Length and Transfer-Encoding are given";
    /// `Content-Length` is not one decimal number below 2^63.
    ContentLength = 400, "content-length", "Content-Length is not one number";
    /// `Transfer-Encoding` is malformed, does not end in one `chunked`, or is there twice.
    TransferEncoding = 400, "transfer-encoding", "Transfer-Encoding is not chunked";
    /// A well-formed transfer coding before `chunked`.
    CodingUnsupported = 501, "coding-unsupported", "no transfer coding but chunked is known here";
    /// `Transfer-Encoding` in HTTP/1.0.
    CodingInHttp10 = 400, "coding-in-http10", "HTTP/1.0 has no Transfer-Encoding";
    /// An expectation other than `100-continue`.
    Expectation = 417, "expectation", "this expectation cannot be met";
    /// The request has been here before.
    Loop = 508, "loop", "the request has been here before";
    /// A chunk's size is missing, malformed or over 2^63 - 1.
    ChunkSize = 400, "chunk-size", "a chunk's size is malformed";
    /// A chunk's extensions have a control character or are too long.
    ChunkExtension = 400, "chunk-extension", "a chunk's extensions are malformed or too long";
    /// A chunk's data is not followed by CRLF.
    ChunkEnd = 400, "chunk-end", "a chunk's data does not end where its size says";
    /// The trailers are malformed or too long.
    Trailer = 400, "trailer", "the trailers are malformed or too long";
    /// The body is longer than the limit.
    BodyTooLong = 413, "body-too-long", "the body is too long";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_status_a_word_and_a_message_of_its_own() {
        let (mut words, mut messages) = (Vec::new(), Vec::new());
        for reason in RejectReason::ALL {
            assert!([400, 405, 413, 414, 417, 431, 501, 505, 508].contains(&reason.status()), "{reason:?}");
            words.push(reason.as_str());
            messages.push(reason.to_string());
        }
        for list in [words.iter().map(|word| (*word).to_owned()).collect(), messages] {
            let mut unique = list.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), list.len());
        }
    }
}
