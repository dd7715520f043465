//! What is a rule, and what is said of the rest.

use proptest::prelude::*;

use super::*;

const BOTH: [Direction; 2] = [Direction::Request, Direction::Response];

fn rules(texts: &[&str], direction: Direction) -> Result<HeaderRules, String> {
    let mut rules = HeaderRules::default();
    texts.iter().try_for_each(|text| rules.push(text, direction)).map(|()| rules)
}

fn refused(text: &str, direction: Direction) -> String {
    rules(&[text], direction).unwrap_err()
}

fn text(text: &str) -> Piece {
    Piece::Text(text.to_owned())
}

#[test]
fn a_rule_sets_adds_or_removes() {
    for direction in BOTH {
        let rules = rules(&["X-A:  a b\t", "+x-b:c:d", " -X-C "], direction).unwrap();
        let lines: Vec<_> = rules.lines().map(|(name, pieces)| (name, pieces.to_vec())).collect();
        assert_eq!(lines, [("X-A", vec![text("a b")]), ("x-b", vec![text("c:d")])]);
        let away: Vec<_> =
            ["X-A", "x-a", "X_a", "X-B", "X-C", "X-AA"].map(|name| rules.takes_away(name.as_bytes())).into();
        assert_eq!(away, [true, true, true, false, true, false]);
        assert!(!rules.is_empty() && rules.take_something_away() && !rules.has_placeholders);
    }
    let added = rules(&["+X-B: c"], Direction::Request).unwrap();
    assert!(!added.take_something_away());
}

#[test]
fn placeholders_are_words_in_braces_and_other_braces_stand_for_themselves() {
    let pieces_of = |value: &str| {
        let rules = rules(&[&format!("X: {value}")], Direction::Response).unwrap();
        let pieces = rules.lines().next().unwrap().1.to_vec();
        (pieces, rules.has_placeholders)
    };
    let is = Piece::Placeholder;
    let expected =
        vec![text("a"), is(Placeholder::Client), text("b{"), is(Placeholder::Host), is(Placeholder::Scheme), text("}")];
    assert_eq!(pieces_of("a{client}b{{host}{scheme}}"), (expected, true));
    assert_eq!(pieces_of("{request_id}"), (vec![is(Placeholder::RequestId)], true));
    for plain in [r#"{"group":"x","max_age":1}"#, "{", "}", "{}", "{ client }", "{client", "a}b{"] {
        assert_eq!(pieces_of(plain), (vec![text(plain)], false));
    }
}

#[test]
fn what_is_no_rule_says_what_is_one() {
    for direction in BOTH {
        for (bad, complaint) in [
            ("", "\"\" is no rule: \"Name: value\" sets, \"+Name: value\" adds, \"-Name\" removes a field"),
            (
                "X-Client {client}",
                "\"X-Client {client}\" is no rule: \"Name: value\" sets, \"+Name: value\" adds, \"-Name\" removes a field",
            ),
            ("-Cookie: x", "\"-Cookie: x\": a removal has no value, like -Cookie"),
            ("-", "\"-\": \"\" is not the name of a field, like X-Client"),
            (": x", "\": x\": \"\" is not the name of a field, like X-Client"),
            ("X A: x", "\"X A: x\": \"X A\" is not the name of a field, like X-Client"),
            ("X-A : x", "\"X-A : x\": \"X-A \" is not the name of a field, like X-Client"),
            ("X-A:", "\"X-A:\" has no value; to remove a field, write -X-A"),
            ("+X-A: \t", "\"+X-A:\" has no value; to remove a field, write -X-A"),
            (
                "X-A: {clients}",
                "\"X-A: {clients}\": {clients} is not one of {client}, {host}, {scheme}, {request_id}; did you mean {client}?",
            ),
            (
                "X-A: {http.request.uuid}",
                "\"X-A: {http.request.uuid}\": {http.request.uuid} is not one of {client}, {host}, {scheme}, {request_id}",
            ),
        ] {
            assert_eq!(refused(bad, direction), complaint);
        }
    }
    let twice = rules(&["X-A: 1", "+X-A: 2", "x_a: 3"], Direction::Request).unwrap_err();
    assert_eq!(twice, "\"x_a: 3\": x_a is set already; add another with `+x_a: …`");
}

#[test]
fn no_value_ends_its_line() {
    for odd in ['\r', '\n', '\0', '\u{b}', '\u{1b}', '\u{7f}', 'é', '\u{85}', '\u{2028}'] {
        for direction in BOTH {
            let complaint = refused(&format!("X-A: a{odd}X-B: b"), direction);
            assert!(
                complaint.ends_with(&format!("only visible ASCII characters and blanks, not {odd:?}")),
                "{complaint}"
            );
            assert!(refused(&format!("X-A{odd}X: b"), direction).contains("is not the name of a field"));
            assert!(refused(&format!("-X-A{odd}X"), direction).contains("is not the name of a field"));
        }
    }
}

#[test]
fn what_frames_a_message_is_nobodys_to_change() {
    for name in FRAMING {
        for spelled in [name.to_owned(), name.to_uppercase(), name.replace('-', "_")] {
            for rule in [format!("{spelled}: 5"), format!("+{spelled}: 5"), format!("-{spelled}")] {
                for direction in BOTH {
                    let complaint = refused(&rule, direction);
                    let expected = if spelled.contains('_') { "never passes" } else { "evenkeel's own to write" };
                    assert!(complaint.contains(expected), "{complaint}");
                }
            }
        }
    }
    for name in STEERING {
        assert!(refused(&format!("{name}: 5"), Direction::Request).contains("evenkeel's own to write in a request"));
    }
    assert!(rules(&["-Via", "Date: never", "-X-Served-By"], Direction::Response).is_ok());
    assert!(rules(&["-X-Forwarded-For", "X-Forwarded-Proto: https", "-X-Real-IP"], Direction::Request).is_ok());
    for twin in ["X_Forwarded_For", "x-forwarded_port", "X_Real-IP", "Ho_st"] {
        let is_twin = !twin.starts_with("Ho");
        assert_eq!(rules(&[&format!("{twin}: 5")], Direction::Request).is_err(), is_twin, "{twin}");
    }
}

#[test]
fn a_host_can_be_set_to_a_host() {
    for host in ["shop.example", "shop:8080", "[::1]:80"] {
        let rules = rules(&[&format!("host: {host}")], Direction::Request).unwrap();
        assert_eq!(rules.host(), Some(host));
        assert!(rules.lines().next().is_none() && !rules.take_something_away() && !rules.takes_away(b"Host"));
    }
    for bad in [
        "Host: {host}",
        "Host: a b",
        "Host: a/b",
        "Host: a@b",
        "Host: a,b",
        "Host: a:",
        "Host: a:x",
        "Host: :1",
        "Host: [::1",
        "Host: a:1:2",
        "+Host: a",
        "-Host",
    ] {
        assert!(refused(bad, Direction::Request).contains("Host"), "{bad}");
    }
    assert_eq!(refused("-Host", Direction::Response), "\"-Host\": an answer has no Host; leave out this rule");
    assert_eq!(rules(&["X: y"], Direction::Request).unwrap().host(), None);
}

proptest! {
    #[test]
    fn whatever_is_a_rule_is_one_line(text in "[+-]?[A-Za-z_-]{1,12}:?[ -~\r\n\t{}é]{0,20}") {
        for direction in BOTH {
            let Ok(rules) = rules(&[&text], direction) else { continue };
            for (name, pieces) in rules.lines() {
                prop_assert!(name.bytes().all(|b| b.is_ascii_graphic() && b != b':'));
                let is_one_line = |piece: &Piece| match piece {
                    Piece::Text(text) => text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t')),
                    Piece::Placeholder(_) => true,
                };
                prop_assert!(pieces.iter().all(is_one_line));
            }
        }
    }
}
