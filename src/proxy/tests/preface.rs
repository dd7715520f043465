//! How long a sender may take for its preface, on a clock that only the test moves; and who is one.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::polled::{Served, read_until};
use super::support::{GET, OK};
use crate::proxy::sender::is_sender;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_preface_has_the_time_of_a_head_from_its_first_byte_on() {
    let (mut served, mut client, replica) = Served::start(|settings| {
        settings.proxy_protocol = vec![IpAddr::V4(Ipv4Addr::LOCALHOST).into()];
        (settings.first_byte_timeout, settings.head_timeout) = (SECOND * 2, SECOND * 4);
    })
    .await;
    served.catch_up().await;
    served.pass(SECOND * 3 / 2).await;
    client.write_all(b"PROXY TCP4 192.0.2.7 ").await.unwrap();
    served.catch_up().await;
    // Longer than for a first byte, and than for a head that had begun with the connection.
    served.pass(SECOND * 3).await;
    client.write_all(b"127.0.0.1 56324 80\r\n").await.unwrap();
    let mut asked = served.ask(&mut client, &replica, GET).await;
    asked.write_all(OK.as_bytes()).await.unwrap();
    served.until(read_until(&mut client, "ok")).await;
}

#[test]
fn a_sender_is_known_by_its_ipv4_address_on_a_socket_for_both() {
    let senders = ["10.0.0.0/8".parse().unwrap()];
    for (addr, expected) in [("10.1.2.3:4", true), ("[::ffff:10.1.2.3]:4", true), ("[::ffff:11.1.2.3]:4", false)] {
        assert_eq!(is_sender(addr.parse().unwrap(), &senders), expected, "{addr}");
    }
    assert!(!is_sender("10.1.2.3:4".parse().unwrap(), &[]));
}
