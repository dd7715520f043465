//! What may have come of a run, from nothing but the bytes that were sent.

use integration_tests::wire::{self, Parsed, Request};

use super::peer::Peer;
use super::run::RETRIES;
use crate::reading::{self, Meant, elements};

/// A client's request, and how often it came to the replica.
struct Asked {
    meant: Meant,
    taken: u32,
}

impl Asked {
    /// How often the replica may get it whole.
    fn allowed(&self) -> u32 {
        let is_idempotent = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"].contains(&&*self.meant.request.method);
        if is_idempotent { 1 + RETRIES } else { 1 }
    }

    fn has_head(&self, got: &Request) -> bool {
        let host = self.meant.host.as_deref().unwrap_or("gateway");
        got.line() == self.meant.request.line() && got.fields.all("host") == [host]
    }
}

/// Checks what came to the replica.
pub(super) fn replicas(clients: &[Peer], replicas: &[Peer]) {
    let meant = clients.iter().flat_map(|client| reading::requests(&client.sent));
    let mut asked: Vec<_> = meant.map(|meant| Asked { meant, taken: 0 }).collect();
    let has_switched = clients.iter().any(|client| client.received.windows(12).any(|part| part == b"HTTP/1.1 101"));
    for replica in replicas {
        let mut bytes = &replica.received[..];
        let mut is_tunnel = false;
        while !bytes.is_empty() && !is_tunnel {
            match wire::request(bytes) {
                Ok(Parsed::Whole(request, length)) => {
                    bytes = &bytes[length..];
                    is_tunnel = has_switched && !elements(&request.fields, "upgrade").is_empty();
                    take(&mut asked, &request, clients);
                }
                Ok(Parsed::Partial(Some(request))) => {
                    let may_begin =
                        |one: &Asked| one.has_head(&request) && one.meant.request.body.starts_with(&request.body);
                    assert!(asked.iter().any(may_begin), "nobody began {request:?}");
                    break;
                }
                Ok(Parsed::Partial(None)) => break,
                Err(wrong) => panic!("the replica got {wrong}, in {:?}", wire::text(&replica.received)),
            }
        }
        let is_from = |client: &Peer| bytes.is_empty() || client.sent.windows(bytes.len()).any(|part| part == bytes);
        assert!(!is_tunnel || clients.iter().any(is_from), "nobody sent {:?} through a tunnel", wire::text(bytes));
    }
}

fn take(asked: &mut [Asked], got: &Request, clients: &[Peer]) {
    let fits = |one: &&mut Asked| {
        one.meant.is_whole && one.has_head(got) && one.meant.request.body == got.body && one.taken < one.allowed()
    };
    let Some(one) = asked.iter_mut().find(fits) else {
        let sent: Vec<_> = clients.iter().map(|client| wire::text(&client.sent)).collect();
        panic!("nobody asked, or not so often, {got:?}: {sent:#?}");
    };
    one.taken += 1;
}

/// Checks what came to a client.
pub(super) fn client(client: &Peer) {
    let meant = reading::requests(&client.sent);
    let mut bytes = &client.received[..];
    let mut count = 0;
    while !bytes.is_empty() {
        let asked = meant.get(count);
        // A request that cannot be understood is answered, too, and is the last.
        assert!(count <= meant.len(), "more answers than requests: {:?}", wire::text(&client.received));
        let is_head = asked.is_some_and(|one| one.request.method == "HEAD");
        match wire::response(bytes, is_head) {
            Ok(Parsed::Whole(answer, _)) if answer.status == 101 => return,
            Ok(Parsed::Whole(answer, length)) => {
                bytes = &bytes[length..];
                count += usize::from(answer.status >= 200);
                let is_own = answer.fields.one("x-served-by").as_deref() == Some("evenkeel");
                assert!(asked.is_some() || is_own, "nobody asked for {answer:?}");
            }
            Ok(Parsed::Partial(_)) => return,
            Err(wrong) => panic!("a client got {wrong}, in {:?}", wire::text(&client.received)),
        }
    }
}
