//! Header rules on heads: what comes, what goes, and that nothing of it frames a message.

use super::support::*;
use crate::config::settings::headers::{Direction, HeaderRules};
use crate::proxy::http1::*;

fn rules(direction: Direction, texts: &[&str]) -> HeaderRules {
    let mut rules = HeaderRules::default();
    texts.iter().for_each(|text| rules.push(text, direction).unwrap());
    rules
}

/// The field lines of the outgoing head, for a request with those fields, from where the rules' lines would be first.
fn lines(client: &str, texts: &[&str], fields: &str) -> Vec<String> {
    let sent = format!("POST /x HTTP/1.1\r\nhost: shop:80\r\n{fields}Content-Length: 5\r\n\r\n");
    let passed = pass_by(&rules(Direction::Request, texts), sent.as_bytes(), client).unwrap().unwrap();
    let head = passed.head.strip_suffix("\r\n\r\n").unwrap();
    head.split("\r\n").skip(1).map(str::to_owned).collect()
}

const ADDED: [&str; 4] =
    ["X-Forwarded-For: 192.0.2.7", "X-Real-IP: 192.0.2.7", "X-Forwarded-Proto: http", "X-Forwarded-Host: shop:80"];
const LAST: [&str; 2] = ["Via: 1.1 evenkeel-00c0ffee", "Content-Length: 5"];

#[test]
fn fields_of_a_request_are_set_added_and_removed() {
    for (texts, fields, kept, come) in [
        (&["X-A: 1"][..], "x-a: 2\r\nB: 3\r\nX-A: 4\r\n", &["B: 3"][..], &["X-A: 1"][..]),
        (&["+X-A: 1"], "x-a: 2\r\n", &["x-a: 2"], &["X-A: 1"]),
        (&["+X-A: 1", "+X-A: 2"], "", &[], &["X-A: 1", "X-A: 2"]),
        (&["-cookie"], "A: 1\r\nCookie: a\r\nB: 2\r\ncookie: b\r\n", &["A: 1", "B: 2"], &[]),
        (&["-A", "-B"], "A: 1\r\nB: 2\r\n", &[], &[]),
        (&["-A"], "AA: 1\r\nB: A\r\n", &["AA: 1", "B: A"], &[]),
        (&["X-A: 1", "+X-A: 2", "-B"], "X-A: 3\r\nB: 4\r\nC: 5\r\n", &["C: 5"], &["X-A: 1", "X-A: 2"]),
    ] {
        let expected = [&["Host: shop:80"], kept, &ADDED, come, &LAST].concat();
        assert_eq!(lines(UNTRUSTED, texts, fields), expected, "{texts:?}");
    }
}

#[test]
fn a_client_cannot_say_what_a_rule_says() {
    let sets = ["X-User: evenkeel"];
    for (fields, kept) in [
        ("X-User: mallory\r\n", &[][..]),
        ("x_user: mallory\r\nX-USER: mallory\r\nX_User: mallory\r\n", &[]),
        ("Connection: X-User\r\nX-User: mallory\r\n", &[]),
        ("Connection: x-user, close\r\n", &[]),
        ("X-Userx: 1\r\nX-Use: 2\r\n", &["X-Userx: 1", "X-Use: 2"]),
    ] {
        let expected = [&["Host: shop:80"], kept, &ADDED, &sets, &LAST].concat();
        assert_eq!(lines(UNTRUSTED, &sets, fields), expected, "{fields}");
    }
}

#[test]
fn what_evenkeel_says_of_the_client_can_be_set_and_removed() {
    let texts = ["-X-Forwarded-For", "X-Forwarded-Proto: https", "-X-Real-IP", "Host: shop.internal"];
    let expected = ["Host: shop.internal", ADDED[3], "X-Forwarded-Proto: https", LAST[0], LAST[1]];
    assert_eq!(lines(UNTRUSTED, &texts, "X-Forwarded-Proto: gopher\r\n"), expected);
    assert_eq!(lines(TRUSTED, &texts, "X-Forwarded-Proto: gopher\r\nX-Forwarded-For: 1.1.1.1\r\n"), expected);
}

#[test]
fn placeholders_say_what_is_known_and_an_untrusted_client_says_nothing() {
    const ALL: [&str; 1] = ["X: {client}|{host}|{scheme}|{request_id}"];
    let made = "00000000000000000000000000c0ffee";
    let longest = "a".repeat(200);
    for (client, fields, expected) in [
        (UNTRUSTED, String::new(), format!("192.0.2.7|shop:80|http|{made}")),
        (
            UNTRUSTED,
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Request-Id: 6\r\n".into(),
            format!("192.0.2.7|shop:80|http|{made}"),
        ),
        (TRUSTED, String::new(), format!("10.0.0.1|shop:80|http|{made}")),
        (
            TRUSTED,
            "X-Forwarded-For: 6.6.6.6, 1.1.1.1\r\nX-Forwarded-Proto: HTTPS\r\nx-request-id: a-1\r\n".into(),
            "1.1.1.1|shop:80|https|a-1".into(),
        ),
        (TRUSTED, "X-Forwarded-Proto: a\"b\r\nX-Request-Id: a b\r\n".into(), format!("10.0.0.1|shop:80|http|{made}")),
        (TRUSTED, "X-Request-Id: 1\r\nX-Request-Id: 2\r\n".into(), format!("10.0.0.1|shop:80|http|{made}")),
        (TRUSTED, "X-Request-Id: \r\n".into(), format!("10.0.0.1|shop:80|http|{made}")),
        (TRUSTED, "X-Request-Id: \u{e4}\r\n".into(), format!("10.0.0.1|shop:80|http|{made}")),
        (TRUSTED, format!("X-Request-Id: {longest}\r\n"), format!("10.0.0.1|shop:80|http|{longest}")),
        (TRUSTED, format!("X-Request-Id: {longest}a\r\n"), format!("10.0.0.1|shop:80|http|{made}")),
        (
            TRUSTED,
            "Connection: x-request-id, X-Forwarded-Proto, X-Forwarded-For\r\nX-Request-Id: 1\r\nX-Forwarded-Proto: \
             https\r\nX-Forwarded-For: 1.1.1.1\r\n"
                .into(),
            format!("10.0.0.1|shop:80|http|{made}"),
        ),
    ] {
        let found = lines(client, &ALL, &fields);
        assert_eq!(
            found.iter().find_map(|line| line.strip_prefix("X: ")),
            Some(expected.as_str()),
            "{client} {fields}"
        );
    }
    let passed = pass_by(&rules(Direction::Request, &ALL), b"GET / HTTP/1.0\r\n\r\n", UNTRUSTED).unwrap().unwrap();
    assert!(passed.head.contains("\r\nX: 192.0.2.7|gateway|http|"), "{}", passed.head);
}

#[test]
fn fields_of_an_answer_are_set_added_and_removed() {
    let texts = ["-server", "X-A: 1", "+Set-Cookie: b", "-X-Served-By"];
    let rules = rules(Direction::Response, &texts);
    let sent = "HTTP/1.1 200 OK\r\nServer: x\r\nX_A: 2\r\nset-cookie: a\r\nContent-Length: 2\r\n\r\n";
    let (head, _) = answer_by(&rules, sent.as_bytes(), Method::Get, Version::Http11).unwrap().unwrap();
    let expected = format!(
        "HTTP/1.1 200 OK\r\nset-cookie: a\r\nDate: {DATE}\r\nX-A: 1\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\n"
    );
    assert_eq!(head, expected);

    let hints = "HTTP/1.1 103 Early Hints\r\nServer: x\r\nLink: y\r\n\r\n";
    let (head, _) = answer_by(&rules, hints.as_bytes(), Method::Get, Version::Http11).unwrap().unwrap();
    assert_eq!(head, "HTTP/1.1 103 Early Hints\r\nLink: y\r\n\r\n", "rules only take away from it");
}

/// Whatever name the codec knows to frame a message, or to belong to one connection, no rule may have.
#[test]
fn no_rule_has_a_name_that_the_codec_keeps_for_itself() {
    for name in [
        "Connection",
        "Content-Length",
        "HTTP2-Settings",
        "Keep-Alive",
        "Proxy",
        "Proxy-Authenticate",
        "Proxy-Authentication-Info",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Content_Length",
        "Transfer_Encoding",
        "X_Forwarded_For",
        "X_Real_IP",
    ] {
        let id = name::Name::of(name.as_bytes());
        assert!(id.is_hop_by_hop() || id == name::Name::ContentLength, "{name}");
        for direction in [Direction::Request, Direction::Response] {
            for text in [format!("{name}: 1"), format!("+{name}: 1"), format!("-{name}")] {
                assert!(HeaderRules::default().push(&text, direction).is_err(), "{text}");
            }
        }
    }
}

proptest::proptest! {
    /// Any rule that is taken leaves one head, with the framing that was meant.
    #[test]
    fn no_rule_smuggles(text in "[+-]?[A-Za-z_-]{1,18}(: ?[ -~\r\n\t]{1,20})?", known in 0..8_usize, spelled in "[ -~]{0,12}") {
        let names = ["Content-Length", "content_length", "Transfer-Encoding", "Connection", "Host", "Via", "X", "TE"];
        for text in [text, format!("{}: {spelled}", names[known]), format!("-{}", names[known])] {
            let mut rules = HeaderRules::default();
            if rules.push(&text, Direction::Request).is_err() {
                continue;
            }
            let sent = b"POST /x HTTP/1.1\r\nhost: shop\r\nContent-Length: 5\r\n\r\nhello";
            let head = pass_by(&rules, sent, UNTRUSTED).unwrap().unwrap().head;
            proptest::prop_assert_eq!(head.find("\r\n\r\n"), Some(head.len() - 4));
            // A head is read as it was meant, by the codec itself: it is strict.
            let again = pass(head.replace("evenkeel-", "other-").as_bytes(), UNTRUSTED).unwrap().unwrap();
            proptest::prop_assert_eq!(again.body, framing::RequestBody::Length(5));
            proptest::prop_assert!(again.persists);
        }
    }
}
