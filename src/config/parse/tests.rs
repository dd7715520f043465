//! What each parser takes, and what it says of the rest.

use super::*;
use crate::service::Policy;

/// The complaints of a parser about these texts are exactly these.
fn refused<T: std::fmt::Debug>(parse: impl Fn(&str) -> Parsed<T>, cases: &[(&str, &str)]) {
    for (text, complaint) in cases {
        assert_eq!(parse(text).unwrap_err(), *complaint, "{text:?}");
    }
}

#[test]
fn durations_have_a_unit_and_a_sensible_length() {
    assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
    assert_eq!(duration("0s"), Ok(Duration::ZERO));
    refused(
        duration,
        &[
            ("5", "\"5\" needs a unit, like 5s or 500ms"),
            ("0", "\"0\" needs a unit, like 5s or 500ms"),
            ("1.5", "\"1.5\" needs a unit, like 5s or 500ms"),
            ("", "\"\" is not a duration, like 5s or 500ms"),
            ("-5s", "\"-5s\" is not a duration, like 5s or 500ms"),
            ("5 parsecs", "\"5 parsecs\" is not a duration, like 5s or 500ms"),
            ("2years", "\"2years\" is too long: at most 365days, like 60s"),
        ],
    );
}

#[test]
fn zero_is_refused_where_it_makes_no_sense() {
    assert_eq!(positive("1ms"), Ok(Duration::from_millis(1)));
    refused(positive, &[("0s", "\"0s\" is too short: at least 1ms, like 5s or 500ms")]);
    refused(positive, &[("5", "\"5\" needs a unit, like 5s or 500ms")]);
    refused(threads, &[("0", "\"0\" is not a whole number from 1 to 1024, like 4, or cores")]);
}

#[test]
fn a_drain_may_have_no_end() {
    assert_eq!(optional("none"), Ok(None));
    assert_eq!(optional("0s"), Ok(Some(Duration::ZERO)));
    refused(optional, &[("never", "\"never\" is not a duration, like 5s or 500ms, or none")]);
}

#[test]
fn sizes_are_bytes_with_a_unit_or_without() {
    let head = |text: &str| size::<u32>(text, 1024..=1 << 20, "32KiB");
    for (text, bytes) in [("1024", 1024), ("4096B", 4096), ("32KiB", 32_768), ("1MiB", 1 << 20), ("2 KiB", 2048)] {
        assert_eq!(head(text), Ok(bytes), "{text}");
    }
    for bad in ["", "0", "1023", "1025KiB", "2MiB", "8KB", "8k", "8kib", "-1", "1.5KiB", "KiB", "0x800", "16777216TiB"]
    {
        refused(head, &[(bad, &format!("{bad:?} is not a size from 1KiB to 1MiB, like 32KiB"))]);
    }
}

#[test]
fn a_limit_that_may_be_off_says_so_and_is_not_zero() {
    assert_eq!(body_bytes("off"), Ok(None));
    assert_eq!(body_bytes("1GiB"), Ok(NonZeroU64::new(1 << 30)));
    refused(
        body_bytes,
        &[
            ("0", "\"0\" is not a size from 1B to 1024TiB, like 10MiB, or off"),
            ("none", "\"none\" is not a size from 1B to 1024TiB, like 10MiB, or off"),
        ],
    );
    assert_eq!((connections("auto"), connections("7")), (Ok(None), Ok(NonZeroUsize::new(7))));
    assert_eq!((connections_per_client("off"), connections_per_client("7")), (Ok(None), Ok(NonZeroUsize::new(7))));
    for bad in ["0", "off", "10000001"] {
        let expected = format!("{bad:?} is not a whole number from 1 to 10000000, like 10000, or auto");
        refused(connections, &[(bad, &expected)]);
    }
    let expected = "\"0\" is not a whole number from 1 to 10000000, like 100, or off";
    refused(connections_per_client, &[("0", expected)]);
}

#[test]
fn numbers_stay_in_their_range() {
    assert_eq!(number("65535", 1..=u16::MAX, 3001), Ok(65535));
    refused(
        |text| number(text, 1..=u16::MAX, 3001),
        &[
            ("0", "\"0\" is not a whole number from 1 to 65535, like 3001"),
            ("65536", "\"65536\" is not a whole number from 1 to 65535, like 3001"),
            ("-1", "\"-1\" is not a whole number from 1 to 65535, like 3001"),
            ("http", "\"http\" is not a whole number from 1 to 65535, like 3001"),
        ],
    );
}

#[test]
fn addresses_have_an_ip_and_a_port() {
    assert!(address("[::]:0").is_ok());
    refused(
        address,
        &[
            (":81", "\":81\" is not an IP address with a port, like 0.0.0.0:81"),
            ("81", "\"81\" is not an IP address with a port, like 0.0.0.0:81"),
            ("localhost:81", "\"localhost:81\" is not an IP address with a port, like 0.0.0.0:8080"),
        ],
    );
}

#[test]
fn names_words_and_switches_are_the_known_ones() {
    assert_eq!(name("shop_back-end.1"), Ok("shop_back-end.1"));
    let complaint = "\"my shop\" is not a name: letters, digits, `.`, `_` and `-`, like gateway";
    refused(|text| name(text).map(str::to_owned), &[("my shop", complaint)]);
    assert!(name("").is_err() && name("-x").is_err() && name("é").is_err());

    let policy = |text: &str| word(text, &Policy::ALL, Policy::as_str);
    assert_eq!(policy("random"), Ok(Policy::Random));
    refused(
        policy,
        &[
            (
                "roundrobin",
                "\"roundrobin\" is not one of p2c, round-robin, least-requests, random, ewma; did you mean round-robin?",
            ),
            ("x", "\"x\" is not one of p2c, round-robin, least-requests, random, ewma"),
        ],
    );
    assert_eq!((switch("1"), switch("false")), (Ok(true), Ok(false)));
    refused(switch, &[("maybe", "\"maybe\" is not true or false, like true")]);
}

#[test]
fn faults_are_a_list_of_known_words() {
    let some = |faults: &[Fault]| Ok(faults.iter().copied().collect());
    assert_eq!(faults("connect"), some(&[Fault::Connect]));
    assert_eq!(faults("reset, 503,reset"), some(&[Fault::Reset, Fault::Unavailable]));
    const WORDS: &str = "is not one of connect, reset, timeout, protocol, 502, 503, 504";
    refused(faults, &[("", &format!("\"\" {WORDS}")), ("connect,429", &format!("\"429\" {WORDS}"))]);
    refused(faults, &[("conect", &format!("\"conect\" {WORDS}; did you mean connect?"))]);
}

#[test]
fn a_path_can_stand_in_a_request_line() {
    assert_eq!(path("/up?deep=1").as_deref(), Ok("/up?deep=1"));
    for bad in ["up", "", "/a b", "/a\r\nHost: x", "/é", "/a#b"] {
        let expected = format!("{bad:?} is not a path: it begins with `/` and has no spaces, like /healthz");
        refused(path, &[(bad, &expected)]);
    }
}

#[test]
fn statuses_are_codes_classes_and_ranges() {
    assert!(statuses("200-299,304").is_ok_and(|statuses| statuses.has(304)));
    for bad in ["", "ok", "600", "1xx", "299-200"] {
        let expected = format!("{bad:?} is not a list of statuses from 200 to 599, like 200, 2xx or 200-299,304");
        refused(statuses, &[(bad, &expected)]);
    }
}

#[test]
fn a_trusted_proxy_is_a_network_or_an_address() {
    assert_eq!(network("10.1.1.1").map(|net| net.to_string()), Ok("10.1.1.1/32".to_owned()));
    assert!(network("fd00::/8").is_ok());
    refused(network, &[("10.0.0.0/33", "\"10.0.0.0/33\" is not an IP address or network, like 10.0.0.0/8")]);
}

#[test]
fn static_replicas_need_a_service_an_ip_and_a_port() {
    let first = |text: &str| replicas(text).next().unwrap();
    let replica =
        StaticReplica { service: "gateway".into(), addr: "[::1]:3001".parse().unwrap(), name: None, weight: 1 };
    assert_eq!(first("gateway=[::1]:3001"), Ok(replica));
    refused(
        first,
        &[
            ("10.1.1.1:3001", "\"10.1.1.1:3001\" names no service, like gateway=10.1.1.1:3001"),
            ("", "\"\" names no service, like gateway=10.1.1.1:3001"),
            ("=1.1.1.1:1", "\"\" is not a name: letters, digits, `.`, `_` and `-`, like gateway"),
            ("a=10.1.1.1", "\"10.1.1.1\" needs a port, like 10.1.1.1:3001"),
            ("a=[::1]", "\"[::1]\" needs a port, like 10.1.1.1:3001"),
            ("a=10.1.1.1:0", "\"10.1.1.1:0\" has port 0, which nobody can dial, like 10.1.1.1:3001"),
            ("a=box:1", "\"box:1\" is a hostname; say --dns, or use an IP address, like 10.1.1.1:3001"),
            ("a=10.1.1.1:1*x", "the weight \"x\" is not a whole number from 0 to 65535, like 3"),
            ("a=10.1.1.1:1*65536", "the weight \"65536\" is not a whole number from 0 to 65535, like 3"),
            ("a=@10.1.1.1:1", "\"\" is not a name: letters, digits, `.`, `_` and `-`, like gateway"),
            ("a=10.1.1.999:1", "\"10.1.1.999:1\" is not an IP address with a port, like 10.1.1.1:3001"),
        ],
    );
    assert_eq!(replicas("a=1.1.1.1:1,x,2.2.2.2:2").filter(Result::is_ok).count(), 2);
}

#[test]
fn a_log_filter_begins_with_a_level() {
    for good in ["info", "off", "warn,evenkeel=debug", "evenkeel[forward{status=500}]=trace"] {
        assert_eq!(log_filter(good).as_deref(), Ok(good));
    }
    for bad in ["", "inof", "evenkeel=loud", "info,,"] {
        refused(log_filter, &[(bad, &format!("{bad:?} is not a log filter, like info or info,evenkeel=debug"))]);
    }
}
