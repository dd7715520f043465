//! What header rules make of a head, told from what it is without them.

use evenkeel::config::settings::headers::{Direction, HeaderRules};

/// Rules that set, add and remove, of fields that inputs have.
const RULES: [&str; 7] =
    ["X-A: {client};{scheme}", "+Cookie: b", "-accept", "-X-Forwarded-For", "+X-Id: {request_id}", "-Server", "-date"];

/// The rules, for messages of that direction.
pub(crate) fn rules(direction: Direction) -> HeaderRules {
    let mut rules = HeaderRules::default();
    RULES.iter().for_each(|text| rules.push(text, direction).expect("a rule"));
    rules
}

/// What these fields come to by the rules, where `is` says what placeholders stand for.
pub(crate) fn ruled(fields: &[(String, Vec<u8>)], is: impl Fn(&str) -> String) -> Vec<(String, Vec<u8>)> {
    let goes =
        |name: &str| ["x-a", "accept", "x-forwarded-for", "server", "date"].contains(&name.replace('_', "-").as_str());
    let stay = fields.iter().filter(|(name, _)| !goes(name)).cloned();
    let come =
        [("x-a", format!("{};{}", is("client"), is("scheme"))), ("cookie", "b".to_owned()), ("x-id", is("request_id"))];
    let come = come.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes()));
    stay.chain(come).collect()
}
