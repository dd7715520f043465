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
/// `tcpi_unacked`: packets that are on their way.
const UNACKED: usize = 6;
/// `tcpi_last_data_sent`: since the last packet, in milliseconds.
const LAST_SENT: usize = 11;
/// `tcpi_rtt`: from a packet to its acknowledgement, smoothed, in microseconds.
const RTT: usize = 17;

/// Whether something that was sent [`ARRIVAL`] ago is not acknowledged, and that is no wonder of a long way: half of that
/// time is left to the other end, which may put an acknowledgement off.
pub(super) fn is_overdue(stream: &TcpStream) -> bool {
    // Fails on a socket that has no such option: then nothing is known.
    let Ok(info) = getsockopt(stream, TcpInfo) else { return false };
    let word = |index: usize| info.get(index).copied().unwrap_or_default();
    let has_rested = Duration::from_millis(word(LAST_SENT).into()) >= REST;
    has_rested && word(UNACKED) > 0 && Duration::from_micros(word(RTT).into()) * 2 < ARRIVAL
}
