//! The server's own answers, byte by byte.

use super::*;

/// A question about `gw`, by hand.
fn question(kind: u16) -> Vec<u8> {
    let header = [0xAB, 0xCD, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], b"\x02GW\x00", &kind.to_be_bytes(), &[0, 1]].concat()
}

async fn ask_udp(server: &DnsServer, message: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(message, server.addr()).await.unwrap();
    let mut answer = vec![0; 4096];
    let len = socket.recv(&mut answer).await.unwrap();
    answer.truncate(len);
    answer
}

async fn ask_tcp(server: &DnsServer, message: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_u16(message.len().try_into().unwrap()).await.unwrap();
    stream.write_all(message).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn an_address_is_on_the_wire_as_the_rfc_has_it() {
    let server = DnsServer::start().await;
    let head = |flags: [u8; 2], answers| [&[0xAB, 0xCD], &flags[..], &[0, 1, 0, answers, 0, 0, 0, 0]].concat();
    let asked = b"\x02gw\x00\x00\x01\x00\x01";
    assert_eq!(ask_udp(&server, &question(1)).await, [&head([0x85, 0x83], 0), &asked[..]].concat());

    server.set("gw", [Record::from(IpAddr::from([10, 0, 0, 1])).ttl(5)]);
    let record = b"\x02gw\x00\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0A\x00\x00\x01";
    let whole = [&head([0x85, 0x80], 1), &asked[..], record].concat();
    assert_eq!(ask_udp(&server, &question(1)).await, whole);
    assert_eq!(ask_tcp(&server, &question(1)).await, whole);
    assert_eq!((server.queries(), server.tcp_queries()), (3, 1));
}

#[tokio::test]
async fn what_does_not_fit_in_a_datagram_is_asked_for_again() {
    let server = DnsServer::start().await;
    server.set("gw", (0..100).map(|last| IpAddr::from([10, 0, 0, last])));
    let short = ask_udp(&server, &question(1)).await;
    assert_eq!((short[2] & 0x02, short.len()), (0x02, 20));
    let whole = ask_tcp(&server, &question(1)).await;
    assert_eq!((whole[2] & 0x02, whole[7]), (0, 100));
}

#[tokio::test]
async fn an_alias_and_the_hosts_of_a_service_come_along() {
    let server = DnsServer::start().await;
    server.set("gw", [Record::cname("one"), Record::srv(1, 2, 3, "one")]);
    server.set("one", [IpAddr::from([10, 0, 0, 1])]);
    let counts = |answer: &[u8]| (answer[7], answer[11]);
    assert_eq!(counts(&ask_udp(&server, &question(wire::A)).await), (2, 0));
    let asked = question(wire::SRV);
    server.set("gw", [Record::srv(1, 2, 3, "one")]);
    assert_eq!(counts(&ask_udp(&server, &asked).await), (1, 1));
    server.keep_hosts_to_itself(true);
    assert_eq!(counts(&ask_udp(&server, &asked).await), (1, 0));
    server.set_fault(Fault::Empty);
    assert_eq!(counts(&ask_udp(&server, &asked).await), (0, 0));
    server.set_fault(None);
    assert_eq!(counts(&ask_udp(&server, &asked).await), (1, 0));
}
