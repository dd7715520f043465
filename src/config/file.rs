//! The file: TOML with the same keys as the flags, none of them in a table.

use toml::{Table, Value};

use super::error::{Error, closest};
use super::key::{Key, Kind};
use super::keys::{CONFIG, KEYS};
use super::{Given, Layer};

/// What is in a file, or the system's words for why nobody can tell.
pub type Content = Result<String, String>;

/// Reads the file at `path`.
pub fn content(path: &str) -> Content {
    std::fs::read_to_string(path).map_err(|cause| cause.to_string())
}

/// What the file that `config` names says with this in it.
pub(super) fn read(config: &Given, content: &Content) -> (Layer, Vec<Error>) {
    let path = path(config);
    match content {
        Ok(text) => parse(path, text),
        Err(cause) => {
            let (place, path, cause) = (config.place.clone(), path.to_owned(), cause.clone());
            (Layer::new(), vec![Error::Unreadable { place, path, cause }])
        }
    }
}

/// The file that `config` names.
pub(super) fn path(config: &Given) -> &str {
    config.texts.last().map(String::as_str).unwrap_or_default()
}

/// Sorts the text of the file at `path` into keys.
pub(super) fn parse(path: &str, text: &str) -> (Layer, Vec<Error>) {
    let table = match text.parse::<Table>() {
        Ok(table) => table,
        Err(cause) => {
            let before = cause.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let message = cause.message().lines().collect::<Vec<_>>().join(", ");
            return (Layer::new(), vec![Error::Syntax { path: path.to_owned(), line, message }]);
        }
    };
    let (mut layer, mut errors) = (Layer::new(), Vec::new());
    for (name, value) in table {
        let place = format!("{path}: {name}");
        match KEYS.iter().find(|key| key.name == name) {
            Some(key) => match texts(key, &value) {
                Some(texts) => {
                    layer.insert(key.name, Given { place, texts });
                }
                None => errors.push(Error::Value { place, complaint: wrong_type(key, &value) }),
            },
            None if name == CONFIG.name => {
                let complaint = "a file cannot name another; use --config or EVENKEEL_CONFIG".to_owned();
                errors.push(Error::Value { place, complaint });
            }
            None => {
                let suggestion = closest(&name, KEYS.iter().map(|key| key.name)).map(str::to_owned);
                errors.push(Error::Unknown { place, suggestion });
            }
        }
    }
    (layer, errors)
}

/// What would have been typed for this value.
fn texts(key: &Key, value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) if matches!(key.kind, Kind::List(_)) => items.iter().map(scalar).collect(),
        value => scalar(value).map(|text| vec![text]),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(switch) => Some(switch.to_string()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

fn wrong_type(key: &Key, value: &Value) -> String {
    let example = to_value(key, &[key.example().to_owned()]);
    let shown = if matches!(key.kind, Kind::Secret(_)) { "what is given".to_owned() } else { value.to_string() };
    format!("{shown} is a TOML {}; write {} = {example}", value.type_str(), key.name)
}

/// The texts as a file would have them.
pub(super) fn to_value(key: &Key, texts: &[String]) -> Value {
    let text = texts.last().cloned().unwrap_or_default();
    match key.kind {
        Kind::List(_) => texts.iter().cloned().map(Value::String).collect::<Vec<_>>().into(),
        Kind::Number(_) => text.parse().map_or(Value::String(text), Value::Integer),
        Kind::Switch(_) if text == "true" || text == "1" => Value::Boolean(true),
        Kind::Switch(_) if text == "false" || text == "0" => Value::Boolean(false),
        Kind::Switch(_) | Kind::Text(_) | Kind::Secret(_) => Value::String(text),
    }
}
