//! Whether the other end's kernel has acknowledged what was sent. One that got it does so within 40 ms, however long the
//! program behind it takes; one that did not is sent it again after 200 ms, if by then the way is back, which is long for
//! whoever could be answered elsewhere.

use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, libc, sockopt_impl};
use tokio::net::TcpStream;

/// How long a request waits before it is asked whether it has arrived at all.
pub(in crate::proxy) const ARRIVAL: Duration = Duration::from_millis(90);
/// For how long the kernel itself must have sent nothing by then. Its clock is coarser than ours, and unlike ours does not
/// run ahead of it.
const REST: Duration = Duration::from_millis(70);

sockopt_impl!(
    /// What every kernel has of its `struct tcp_info`, in words.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u32; WORDS]
);

const WORDS: usize = 18;
/// `tcpi_probes`, the last of four bytes: questions that were not answered.
const PROBES: usize = 0;
/// `tcpi_unacked`: packets that are on their way.
const UNACKED: usize = 6;
/// `tcpi_last_data_sent`: since the last packet, in milliseconds.
const LAST_SENT: usize = 11;
/// `tcpi_last_ack_recv`: since the last packet from the other end that acknowledged anything, in milliseconds.
const LAST_HEARD: usize = 14;
/// `tcpi_rtt`: from a packet to its acknowledgement, smoothed, in microseconds.
const RTT: usize = 17;

/// How much later than it should the kernel may ask a question, and another answer it.
const SLACK: Duration = Duration::from_millis(40);

/// Whether something that was sent [`ARRIVAL`] ago is not acknowledged, and that is no wonder of a long way: half of that
/// time is left to the other end, which may put an acknowledgement off.
pub(super) fn is_overdue(stream: &TcpStream) -> bool {
    let Some(info) = Info::of(stream) else { return false };
    info.milliseconds(LAST_SENT) >= REST && info.word(UNACKED) > 0 && info.way() * 2 < ARRIVAL
}

/// Whether the other end has not answered a question that was due `after` its last word.
pub(super) fn is_gone(stream: &TcpStream, after: Duration) -> bool {
    let Some(info) = Info::of(stream) else { return false };
    let [.., questions] = info.word(PROBES).to_ne_bytes();
    questions > 0 && info.milliseconds(LAST_HEARD) >= after + SLACK + info.way() * 2
}

/// What the kernel knows of a connection.
struct Info([u32; WORDS]);

impl Info {
    /// `None` of a socket that has no such option: then nothing is known.
    fn of(stream: &TcpStream) -> Option<Self> {
        getsockopt(stream, TcpInfo).ok().map(Self)
    }

    fn word(&self, index: usize) -> u32 {
        self.0.get(index).copied().unwrap_or_default()
    }

    fn milliseconds(&self, index: usize) -> Duration {
        Duration::from_millis(self.word(index).into())
    }

    /// There and back.
    fn way(&self) -> Duration {
        Duration::from_micros(self.word(RTT).into())
    }
}
