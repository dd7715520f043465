use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;
use PrefaceFault::{Checksum, Malformed, Missing, TooLong};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const NOBODY: &str = "";

/// What Network Load Balancers of AWS sent for endpoint services: a checksum, their own extension, padding.
const OF_AWS: [(&str, &str); 2] = [
    (
        "21110054 ac1f0771 ac1f0a1f c8f20050 030004e8d6892d \
         ea001701767063652d3038643262663135666163353030316339 040024",
        "172.31.7.113:51442",
    ),
    (
        "21110054 c0a82c0a c0a82c07 cc3e241b 030004b9286fa6 \
         ea001701767063652d3030656166633435386563393762383333 040024",
        "192.168.44.10:52286",
    ),
];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(&two.iter().collect::<String>(), 16).unwrap()).collect()
}

fn of_aws(rest: &str) -> Vec<u8> {
    [SIGNATURE, &hex(rest), &[0; 36]].concat()
}

/// A header of version 2 with the right length and, in an extension at its end, its checksum.
fn v2(command: u8, family: u8, addresses: &[u8], extensions: &[u8]) -> Vec<u8> {
    let checksum = [3, 0, 4, 0, 0, 0, 0];
    let length = u16::try_from(addresses.len() + extensions.len() + checksum.len()).unwrap().to_be_bytes();
    let mut header = [SIGNATURE, &[command, family], &length, addresses, extensions, &checksum].concat();
    let sum = v2::crc32c(header.iter().copied()).to_be_bytes();
    let at = header.len() - 4;
    header[at..].copy_from_slice(&sum);
    header
}

/// The same without a checksum.
fn plain_v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn addresses(source: SocketAddr) -> Vec<u8> {
    let (mut bytes, ip) = (Vec::new(), source.ip());
    for _ in 0..2 {
        match ip {
            IpAddr::V4(ip) => bytes.extend(ip.octets()),
            IpAddr::V6(ip) => bytes.extend(ip.octets()),
        }
    }
    bytes.extend(source.port().to_be_bytes());
    bytes.extend([0, 80]);
    bytes
}

/// The source, as text.
fn accepted(source: &str, length: usize) -> Parsed {
    Parsed::Complete(Preface { source: (source != NOBODY).then(|| source.parse().unwrap()), length })
}

/// What `bytes` are, however they are cut and whatever follows them.
fn parsed(bytes: &[u8]) -> Parsed {
    let whole = parse(bytes);
    let in_pieces = (0..=bytes.len()).map(|end| parse(&bytes[..end])).find(|parsed| *parsed != Parsed::Incomplete);
    assert_eq!(in_pieces.unwrap_or(Parsed::Incomplete), whole, "{:?}", String::from_utf8_lossy(bytes));
    if whole != Parsed::Incomplete {
        assert_eq!(parse(&[bytes, REQUEST].concat()), whole, "with a request behind it");
    }
    whole
}

#[test]
fn lines_of_version_1_are_read() {
    for (line, source) in [
        ("TCP4 192.0.2.7 10.0.0.1 56324 443", "192.0.2.7:56324"),
        ("TCP4 0.0.0.0 255.255.255.255 0 65535", "0.0.0.0:0"),
        ("TCP6 2001:db8::7 ::1 1 2", "[2001:db8::7]:1"),
        ("TCP6 2001:DB8:0:0:0:0:0:7 ::1 1 2", "[2001:db8::7]:1"),
        ("TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 1 2", "[::ffff:192.0.2.7]:1"),
        ("UNKNOWN", NOBODY),
        ("UNKNOWN ", NOBODY),
        ("UNKNOWN 192.0.2.7 10.0.0.1 1 2", NOBODY),
        ("UNKNOWN \u{0}\rwhatever", NOBODY),
    ] {
        let line = format!("PROXY {line}\r\n");
        assert_eq!(parsed(line.as_bytes()), accepted(source, line.len()), "{line:?}");
    }
    let ffff = ["ffff"; 8].join(":");
    let longest = format!("PROXY UNKNOWN {ffff} {ffff} 65535 65535\r\n");
    assert_eq!(longest.len(), 107);
    assert_eq!(parsed(longest.as_bytes()), accepted(NOBODY, 107));
}

#[test]
fn other_lines_are_refused() {
    for line in [
        "TCP4 192.0.2.7 10.0.0.1 1",
        "TCP4 192.0.2.7 10.0.0.1 1 2 3",
        "TCP4  192.0.2.7 10.0.0.1 1 2",
        " TCP4 192.0.2.7 10.0.0.1 1 2",
        "TCP4 192.0.2.7 10.0.0.1 1 2 ",
        "TCP4\t192.0.2.7\t10.0.0.1\t1\t2",
        "TCP4 192.0.2 10.0.0.1 1 2",
        "TCP4 192.0.2.256 10.0.0.1 1 2",
        "TCP4 192.0.2.07 10.0.0.1 1 2",
        "TCP4 192.0.2.7 10.0.0.01 1 2",
        "TCP4 192.0.2.7 localhost 1 2",
        "TCP4 2001:db8::7 ::1 1 2",
        "TCP6 192.0.2.7 10.0.0.1 1 2",
        "TCP6 2001:db8::7 10.0.0.1 1 2",
        "TCP6 fe80::1%eth0 ::1 1 2",
        "TCP6 [::1] ::1 1 2",
        "TCP6 1::2::3 ::1 1 2",
        "TCP4 192.0.2.7 10.0.0.1 65536 2",
        "TCP4 192.0.2.7 10.0.0.1 1 65536",
        "TCP4 192.0.2.7 10.0.0.1 +1 2",
        "TCP4 192.0.2.7 10.0.0.1 -1 2",
        "TCP4 192.0.2.7 10.0.0.1 01 2",
        "TCP4 192.0.2.7 10.0.0.1 00 2",
        "TCP4 192.0.2.7 10.0.0.1 1 02",
        "TCP4 192.0.2.7 10.0.0.1 1 2\r",
        "TCP4 192.0.2.7 10.0.0.1 1 2\0",
        "UDP4 192.0.2.7 10.0.0.1 1 2",
        "tcp4 192.0.2.7 10.0.0.1 1 2",
        "TCP 192.0.2.7 10.0.0.1 1 2",
        "UNKNOWNS",
        "unknown",
        "",
        "\u{e4}",
    ] {
        assert_eq!(parsed(format!("PROXY {line}\r\n").as_bytes()), Parsed::Refused(Malformed), "{line:?}");
    }
    assert_eq!(parsed(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n"), Parsed::Refused(Malformed), "a line feed alone");
    assert_eq!(parsed(b"PROXY \xff\r\n"), Parsed::Refused(Malformed));
    assert_eq!(parsed(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\rX"), Parsed::Incomplete);
    for length in [106, 107, 108, 500] {
        let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; length - 14]].concat();
        let expected = if length < 107 { Parsed::Incomplete } else { Parsed::Refused(TooLong) };
        assert_eq!(parsed(&endless), expected, "{length} bytes without an end");
    }
    let ends_late = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 92], b"\r\n".to_vec()].concat();
    assert_eq!((ends_late.len(), parsed(&ends_late)), (108, Parsed::Refused(TooLong)));
}

#[test]
fn headers_of_version_2_are_read() {
    let (v4, v6): (SocketAddr, SocketAddr) = ("192.0.2.7:56324".parse().unwrap(), "[2001:db8::7]:1".parse().unwrap());
    let noop = [4, 0, 2, 9, 9];
    for (header, source) in [
        (plain_v2(0x21, 0x11, &addresses(v4)), "192.0.2.7:56324"),
        (plain_v2(0x21, 0x21, &addresses(v6)), "[2001:db8::7]:1"),
        (v2(0x21, 0x11, &addresses(v4), &[]), "192.0.2.7:56324"),
        (v2(0x21, 0x21, &addresses(v6), &noop), "[2001:db8::7]:1"),
        (v2(0x21, 0x11, &addresses(v4), &[0xea, 0, 0, 0xff, 0, 1, 7]), "192.0.2.7:56324"),
        // Neither TCP nor known: the connection's own address counts.
        (v2(0x21, 0x12, &addresses(v4), &[]), NOBODY),
        (v2(0x21, 0x22, &addresses(v6), &[]), NOBODY),
        (v2(0x21, 0x31, &[b'/'; 216], &noop), NOBODY),
        (plain_v2(0x21, 0x00, &[]), NOBODY),
        (plain_v2(0x21, 0x00, b"whatever"), NOBODY),
        (plain_v2(0x21, 0x10, b"whatever"), NOBODY),
        (plain_v2(0x21, 0x02, b"whatever"), NOBODY),
        // The balancer's own: all else is to be ignored.
        (plain_v2(0x20, 0x00, &[]), NOBODY),
        (plain_v2(0x20, 0x11, &addresses(v4)), NOBODY),
        (plain_v2(0x20, 0x11, &[1]), NOBODY),
        (plain_v2(0x20, 0xff, b"whatever"), NOBODY),
        (plain_v2(0x20, 0x00, &[3, 0, 4, 1, 2, 3, 4, 9]), NOBODY),
        (plain_v2(0x20, 0x00, &[3, 0, 3, 1, 2, 3]), NOBODY),
        (plain_v2(0x21, 0x00, &[3, 0, 5, 1, 2, 3, 4, 5]), NOBODY),
    ] {
        assert_eq!(parsed(&header), accepted(source, header.len()), "{header:02x?}");
    }
    // A health check of theirs: its family announces addresses that are not there.
    let check = [SIGNATURE, &hex("20110054 030004bce5951f 04004a"), &[0; 74]].concat();
    assert_eq!(parsed(&check), accepted(NOBODY, 100));
    for (rest, source) in OF_AWS {
        let header = of_aws(rest);
        assert_eq!((header.len(), parsed(&header)), (100, accepted(source, 100)));
    }
}

#[test]
fn the_checksum_counts_where_nothing_else_does() {
    let v4 = addresses("192.0.2.7:56324".parse().unwrap());
    let noop = [4, 0, 2, 9, 9];
    for (command, family, addresses) in [
        (0x20, 0x00, &[][..]),
        (0x20, 0x11, &[]),
        (0x20, 0x11, &v4),
        (0x20, 0x21, &[b'6'; 36]),
        (0x20, 0x31, &[b'/'; 216]),
        (0x20, 0xff, &[]),
        (0x21, 0x00, &[]),
        (0x21, 0x01, &[]),
        (0x21, 0x10, &[]),
        (0x21, 0x10, &v4),
        (0x21, 0x12, &v4),
        (0x21, 0x31, &[b'/'; 216]),
        (0x21, 0x32, &[b'/'; 216]),
    ] {
        let right = v2(command, family, addresses, &noop);
        assert_eq!(parsed(&right), accepted(NOBODY, right.len()), "{right:02x?}");
        // The value before it, and itself.
        for at in [right.len() - 8, right.len() - 1] {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            assert_eq!(parsed(&wrong), Parsed::Refused(Checksum), "byte {at} of {right:02x?}");
        }
    }
    let check = [SIGNATURE, &hex("20110054 030004bce5951e 04004a"), &[0; 74]].concat();
    assert_eq!(parsed(&check), Parsed::Refused(Checksum));
    // What says that it is no client's is not to be taken for a client's, nor the other way round.
    let mut local = v2(0x21, 0x11, &v4, &noop);
    local[12] = 0x20;
    assert_eq!(parsed(&local), Parsed::Refused(Checksum));
}

#[test]
fn other_headers_are_refused() {
    let v4 = addresses("192.0.2.7:56324".parse().unwrap());
    let with = |extensions: &[u8]| plain_v2(0x21, 0x11, &[&v4, extensions].concat());
    for (header, fault) in [
        (plain_v2(0x11, 0x11, &v4), Malformed),
        (plain_v2(0x31, 0x11, &v4), Malformed),
        (plain_v2(0x22, 0x11, &v4), Malformed),
        (plain_v2(0x2f, 0x11, &v4), Malformed),
        (plain_v2(0x21, 0x13, &v4), Malformed),
        (plain_v2(0x21, 0x41, &v4), Malformed),
        (plain_v2(0x21, 0x03, &v4), Malformed),
        (plain_v2(0x21, 0xff, &v4), Malformed),
        (plain_v2(0x21, 0x11, &v4[..11]), Malformed),
        (plain_v2(0x21, 0x11, &[]), Malformed),
        (plain_v2(0x21, 0x21, &v4), Malformed),
        (plain_v2(0x21, 0x31, &v4), Malformed),
        (with(&[4]), Malformed),
        (with(&[4, 0]), Malformed),
        (with(&[4, 0, 1]), Malformed),
        (with(&[4, 0, 0, 4, 0, 2, 9]), Malformed),
        (with(&[3, 0, 3, 1, 2, 3]), Malformed),
        (with(&[3, 0, 5, 1, 2, 3, 4, 5]), Malformed),
        (with(&[3, 0, 4, 1, 2, 3, 4, 3, 0, 4, 1, 2, 3, 4]), Malformed),
        (with(&[3, 0, 4, 0, 0, 0, 0]), Checksum),
        (with(&[4, 0, 1, 9, 3, 0, 4, 1, 2, 3, 4]), Checksum),
    ] {
        assert_eq!(parsed(&header), Parsed::Refused(fault), "{header:02x?}");
    }
    for (rest, _) in OF_AWS {
        let right = of_aws(rest);
        // Every bit of the addresses, and of what only the checksum guards.
        for bit in (16 * 8..28 * 8).chain(31 * 8..35 * 8).chain(40 * 8..60 * 8).chain(64 * 8..100 * 8) {
            let mut header = right.clone();
            header[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&header), Parsed::Refused(Checksum), "bit {bit}");
        }
    }
}

#[test]
fn the_length_of_a_header_is_bounded() {
    let filled = |length: usize| {
        let padding = u16::try_from(length - 16 - 12 - 3).unwrap().to_be_bytes();
        let noop = [&[4], &padding[..], &vec![0; length - 16 - 12 - 3]].concat();
        plain_v2(0x21, 0x11, &[addresses("192.0.2.7:1".parse().unwrap()), noop].concat())
    };
    assert_eq!(parse(&filled(LONGEST)), accepted("192.0.2.7:1", LONGEST));
    let too_long = filled(LONGEST + 1);
    assert_eq!(parse(&too_long), Parsed::Refused(TooLong));
    assert_eq!(parse(&too_long[..16]), Parsed::Refused(TooLong), "as soon as it says so");
    assert_eq!(parse(&plain_v2(0x20, 0, &[0; 0xffff])), Parsed::Refused(TooLong));
}

#[test]
fn what_is_no_preface_is_known_by_its_first_wrong_byte() {
    for (bytes, enough) in [
        (&b"GET / HTTP/1.1\r\n"[..], 1),
        (b"POST / HTTP/1.1\r\n", 2),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 3),
        (b"PROXY\tTCP4", 6),
        (b"PROXYTCP4 192.0.2.7", 6),
        (b"proxy TCP4", 1),
        (b"\r\nGET / HTTP/1.1\r\n", 3),
        (b"\r\n\r\nGET / HTTP/1.1\r\n", 5),
        (b"\r\n\r\n\0\r\nQUIT\r\n", 12),
        (b"\x16\x03\x01\x02\x00\x01", 1),
        (b"\n", 1),
        (b"\0", 1),
    ] {
        assert_eq!(parse(&bytes[..enough - 1]), Parsed::Incomplete, "{bytes:?}");
        assert_eq!(parsed(&bytes[..enough]), Parsed::Refused(Missing), "{bytes:?}");
        assert_eq!(parsed(bytes), Parsed::Refused(Missing), "{bytes:?}");
    }
    assert_eq!(parse(b""), Parsed::Incomplete);
}

#[test]
fn the_checksum_is_that_of_the_standard() {
    // RFC 3720, appendix B.4.
    let of = |bytes: &[u8]| v2::crc32c(bytes.iter().copied());
    assert_eq!(of(b"123456789"), 0xe306_9283);
    assert_eq!(of(&[0; 32]), 0x8a91_36aa);
    assert_eq!(of(&[0xff; 32]), 0x62a8_ab43);
    assert_eq!(of(&(0..32).collect::<Vec<_>>()), 0x46dd_794e);
}

proptest! {
    #[test]
    fn what_is_written_is_read(ip in any::<IpAddr>(), port in any::<u16>(), value in prop::collection::vec(any::<u8>(), 0..300)) {
        let source = SocketAddr::new(ip, port);
        let (name, family) = if ip.is_ipv4() { ("TCP4", 0x11) } else { ("TCP6", 0x21) };
        let line = format!("PROXY {name} {ip} {ip} {port} 80\r\n");
        let expected = |length| Parsed::Complete(Preface { source: Some(source), length });
        prop_assert_eq!(parsed(line.as_bytes()), expected(line.len()));
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        let extension = [&[0xe0], &length[..], &value].concat();
        let header = v2(0x21, family, &addresses(source), &extension);
        prop_assert_eq!(parsed(&header), expected(header.len()));
    }

    #[test]
    fn no_bytes_make_it_panic_and_where_they_are_cut_makes_no_difference(
        start in prop_oneof![Just(&b""[..]), Just(&b"PROXY "[..]), Just(&b"PROXY TCP4 "[..]), Just(SIGNATURE)],
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        parsed(&[start, &bytes].concat());
    }

    #[test]
    fn a_header_that_was_damaged_is_not_taken_for_another(at in 12_usize..60, to in any::<u8>()) {
        let source: SocketAddr = "192.0.2.7:1".parse().unwrap();
        let mut header = v2(0x21, 0x11, &addresses(source), &[&[4, 0, 20][..], &[0; 20]].concat());
        prop_assume!(at < header.len());
        header[at] = to;
        // A damage may make it one without an address or without a checksum.
        if let Parsed::Complete(preface) = parse(&header) {
            prop_assert!(preface.source.is_none_or(|read| read == source));
        }
    }
}
