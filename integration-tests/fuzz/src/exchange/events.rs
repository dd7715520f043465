//! An input as a list of events. Their marks are bytes that valid UTF-8 does not have, so that whatever else is changed
//! in an input remains a message.

/// What a peer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// 0xf7: another client comes; from here on it is the client, though the one before stays.
    NextClient,
    /// 0xf8, and the bytes up to the next event. 0xf5 and a number: so many KiB of `x`.
    ClientSends(Vec<u8>),
    /// 0xfa: it has finished sending.
    ClientFinishes,
    /// 0xfb.
    ClientResets,
    /// 0xf9, and the bytes up to the next event. 0xf6 and a number: so many KiB of `x`.
    ReplicaSends(Vec<u8>),
    /// 0xff: it has finished sending.
    ReplicaFinishes,
    /// 0xfc.
    ReplicaCloses,
    /// 0xfd.
    ReplicaResets,
    /// 0xfe: both wait for something to come.
    Pause,
}

/// How much an input may have its peers send by numbers.
const MOST: usize = 1 << 20;

pub(super) fn read(input: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut budget = MOST;
    let mut at = 0;
    while at < input.len() {
        let end = input[at + 1..].iter().position(|b| *b >= 0xf5).map_or(input.len(), |next| at + 1 + next);
        let (mark, bytes) = (input[at], &input[at + 1..end]);
        at = end;
        let mut fill = || {
            let count = usize::from(bytes.first().copied().unwrap_or_default()) << 10;
            let count = count.min(budget);
            budget -= count;
            [&vec![b'x'; count], bytes.get(1..).unwrap_or_default()].concat()
        };
        events.push(match mark {
            0xf5 => Event::ClientSends(fill()),
            0xf6 => Event::ReplicaSends(fill()),
            0xf7 => Event::NextClient,
            0xf8 => Event::ClientSends(bytes.to_owned()),
            0xf9 => Event::ReplicaSends(bytes.to_owned()),
            0xfa => Event::ClientFinishes,
            0xfb => Event::ClientResets,
            0xfc => Event::ReplicaCloses,
            0xfd => Event::ReplicaResets,
            0xfe => Event::Pause,
            0xff => Event::ReplicaFinishes,
            _ => Event::ClientSends(input[end - bytes.len() - 1..end].to_owned()),
        });
    }
    events
}
