//! A head's fields as spans, in a scratch space that is used for one head after the other.

use super::name::Name;
use super::{RejectReason, Span, field_line};

/// How many fields a `Connection` may name besides those that never pass anyway.
const MAX_NOMINATED: usize = 32;

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name as it was spelled.
    pub name: Span,
    /// The value without the whitespace around it.
    pub value: Span,
    /// Which field it is.
    pub id: Name,
}

/// The fields of the head that was parsed last. Keep one per worker: it may be used again as soon as the outgoing head
/// is written.
#[derive(Debug, Default)]
pub struct Fields {
    list: Vec<Field>,
    /// Which names there are.
    present: u32,
    /// Where the last line ends.
    end: u32,
    options: ConnectionOptions,
}

/// What `Connection` says.
#[derive(Debug, Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// Names of fields that would pass if it did not name them.
    nominated: Vec<Span>,
}

/// The elements of a comma-separated value, without empty ones.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

impl Fields {
    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.list.iter()
    }

    /// Whether there is a field of that name.
    #[inline]
    pub fn has(&self, name: Name) -> bool {
        self.present & name.bit() != 0
    }

    /// The values of all fields of that name, in order.
    #[inline]
    pub fn all<'b>(&self, buffer: &'b [u8], name: Name) -> impl Iterator<Item = &'b [u8]> {
        let list = if self.has(name) { self.list.as_slice() } else { &[] };
        list.iter().filter(move |field| field.id == name).map(|field| field.value.of(buffer))
    }

    /// The value of the first field of that name.
    #[inline]
    pub fn first(&self, name: Name) -> Option<Span> {
        let list = if self.has(name) { self.list.as_slice() } else { &[] };
        list.iter().find(|field| field.id == name).map(|field| field.value)
    }

    /// The values of all fields called `name`, in any case, in order.
    pub fn values<'b>(&self, buffer: &'b [u8], name: &str) -> impl Iterator<Item = &'b [u8]> {
        let is_named = move |field: &&Field| field.name.of(buffer).eq_ignore_ascii_case(name.as_bytes());
        self.list.iter().filter(is_named).map(|field| field.value.of(buffer))
    }

    /// The values of the fields that `is_meant`, in order, but for those that `Connection` names.
    #[inline]
    pub(super) fn passing<'b>(
        &self,
        buffer: &'b [u8],
        is_meant: impl Fn(&Field) -> bool,
    ) -> impl Iterator<Item = &'b [u8]> {
        let passes = move |field: &&Field| is_meant(field) && !self.is_nominated(buffer, field);
        self.list.iter().filter(passes).map(|field| field.value.of(buffer))
    }

    /// Whether `Connection` says `close`.
    #[inline]
    pub fn says_close(&self) -> bool {
        self.options.close
    }

    /// Whether `Connection` says `keep-alive`.
    #[inline]
    pub fn says_keep_alive(&self) -> bool {
        self.options.keep_alive
    }

    /// Whether `Connection` says `upgrade`.
    #[inline]
    pub fn says_upgrade(&self) -> bool {
        self.options.upgrade
    }

    /// Whether trailers may be passed on: not if `Connection` names fields, for these could be among them.
    pub fn may_keep_trailers(&self) -> bool {
        self.options.nominated.is_empty()
    }

    /// Whether the client said `TE: trailers`.
    pub fn accepts_trailers(&self, buffer: &[u8]) -> bool {
        self.all(buffer, Name::Te).flat_map(elements).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
    }

    /// How long the replica says that it keeps an idle connection (`Keep-Alive: timeout=N`), in seconds.
    pub fn keep_alive_timeout(&self, buffer: &[u8]) -> Option<u32> {
        let named = |parameter| {
            let (name, value) = str::from_utf8(parameter).ok()?.split_once('=')?;
            if name.trim_end().eq_ignore_ascii_case("timeout") { value.trim_start().parse().ok() } else { None }
        };
        self.all(buffer, Name::KeepAlive).flat_map(elements).find_map(named)
    }

    /// Copies the lines that `keeps` says may pass, raw and in order, but never one that `Connection` names.
    #[inline]
    pub(super) fn copy(&self, out: &mut Vec<u8>, buffer: &[u8], mut keeps: impl FnMut(&Field) -> bool) {
        let Some(first) = self.list.first() else { return };
        let mut kept_from = first.name.start;
        for (index, field) in self.list.iter().enumerate() {
            if self.is_nominated(buffer, field) || !keeps(field) {
                out.extend_from_slice(Span { start: kept_from, end: field.name.start }.of(buffer));
                kept_from = self.list.get(index + 1).map_or(self.end, |next| next.name.start);
            }
        }
        out.extend_from_slice(Span { start: kept_from, end: self.end }.of(buffer));
    }

    #[inline]
    fn is_nominated(&self, buffer: &[u8], field: &Field) -> bool {
        let name = || field.name.of(buffer);
        self.options.nominated.iter().any(|option| option.of(buffer).eq_ignore_ascii_case(name()))
    }

    /// Takes the lines of `section`, the rest of `buffer`, up to the blank one after them, but no more than `limit`; where
    /// in the buffer that ended.
    #[inline]
    pub(super) fn fill(&mut self, buffer: &[u8], section: &[u8], limit: u32) -> Result<usize, RejectReason> {
        self.list.clear();
        self.present = 0;
        let mut lines = section;
        let rest = loop {
            if let [b'\r', b'\n', rest @ ..] = lines {
                break rest;
            }
            if self.list.len() == limit as usize {
                return Err(RejectReason::TooManyFields);
            }
            let (name, value) = field_line::take(&mut lines)?;
            let id = Name::of(name);
            self.present |= id.bit();
            self.list.push(Field { name: Span::within(buffer, name), value: Span::within(buffer, value), id });
        };
        self.end = Span::within(buffer, lines).start;
        self.read_options(buffer)?;
        Ok(buffer.len() - rest.len())
    }

    #[inline]
    fn read_options(&mut self, buffer: &[u8]) -> Result<(), RejectReason> {
        let options = &mut self.options;
        (options.close, options.keep_alive, options.upgrade) = (false, false, false);
        options.nominated.clear();
        if self.present & Name::Connection.bit() == 0 {
            return Ok(());
        }
        for field in self.list.iter().filter(|field| field.id == Name::Connection) {
            let value = field.value.of(buffer);
            // What is said most.
            if value.eq_ignore_ascii_case(b"keep-alive") {
                options.keep_alive = true;
                continue;
            }
            for option in elements(value) {
                if option.eq_ignore_ascii_case(b"close") {
                    options.close = true;
                } else if option.eq_ignore_ascii_case(b"keep-alive") {
                    options.keep_alive = true;
                } else if option.eq_ignore_ascii_case(b"upgrade") {
                    options.upgrade = true;
                } else if !Name::of(option).is_hop_by_hop() {
                    if options.nominated.len() == MAX_NOMINATED {
                        return Err(RejectReason::ConnectionOptions);
                    }
                    options.nominated.push(Span::within(buffer, option));
                }
            }
        }
        Ok(())
    }
}
