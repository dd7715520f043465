//! Query strings, as far as the harness' own servers need them.

/// The decoded value of `key` in a query string (the part after `?`).
pub(crate) fn value(query: Option<&str>, key: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == key).then(|| decode(value))
    })
}

/// The value of `key` as a number, if it is one.
pub(crate) fn number(query: Option<&str>, key: &str) -> Option<u64> {
    value(query, key)?.parse().ok()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            plain => plain,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_decodes_values() {
        let query = Some("all=true&filters=%7B%22type%22%3A%5B%22a+b%22%5D%7D&n=12");
        assert_eq!(value(query, "filters").as_deref(), Some(r#"{"type":["a b"]}"#));
        assert_eq!(value(query, "all").as_deref(), Some("true"));
        assert_eq!(number(query, "n"), Some(12));
        assert_eq!(value(query, "missing"), None);
        assert_eq!(number(query, "all"), None);
        assert_eq!(value(None, "all"), None);
    }
}
