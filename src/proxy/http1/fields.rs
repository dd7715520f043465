//! A head's fields as spans, in a scratch space that is used for one head after the other.

use super::Span;

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name as it was spelled.
    pub name: Span,
    /// The value without the whitespace around it.
    pub value: Span,
}

/// The fields of the head that was parsed last. Keep one per worker: it may be used again as soon as the outgoing head
/// is written.
#[derive(Debug, Default)]
pub struct Fields {
    list: Vec<Field>,
}

impl Fields {
    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.list.iter()
    }

    /// The values of all fields called `name`, in any case, in order.
    pub fn values<'b>(&self, buffer: &'b [u8], name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.list
            .iter()
            .filter(|field| field.name.of(buffer).eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| field.value.of(buffer))
    }

    /// Whether trailers may be passed on: not if `Connection` names fields, for these could be among them.
    pub fn may_keep_trailers(&self) -> bool {
        todo!()
    }

    /// Whether the client said `TE: trailers`.
    pub fn accepts_trailers(&self, buffer: &[u8]) -> bool {
        todo!()
    }

    /// How long the replica says that it keeps an idle connection (`Keep-Alive: timeout=N`), in seconds.
    pub fn keep_alive_timeout(&self, buffer: &[u8]) -> Option<u32> {
        todo!()
    }
}
