//! DNS messages as they are on the wire: just as much of RFC 1035 as a server of a few records needs. No name is
//! compressed.

use super::{Data, Record};

pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const AAAA: u16 = 28;
pub(super) const SRV: u16 = 33;
const INTERNET: u16 = 1;

pub(super) const NOERROR: u16 = 0;
pub(super) const SERVFAIL: u16 = 2;
pub(super) const NXDOMAIN: u16 = 3;
pub(super) const REFUSED: u16 = 5;

const RESPONSE: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const HEADER: usize = 12;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: u16,
    /// In small letters, without the last dot.
    pub(super) name: String,
    /// Which type of record.
    pub(super) kind: u16,
}

/// The one question of a message; `None` if that is not what it is.
pub(super) fn read(message: &[u8]) -> Option<Question> {
    let number = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    if number(2)? & RESPONSE != 0 || number(4)? != 1 {
        return None;
    }
    let (mut labels, mut at) = (Vec::new(), HEADER);
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8(message.get(at..at + len)?.to_ascii_lowercase()).ok()?);
        at += len;
    }
    Some(Question { id: number(0)?, name: labels.join("."), kind: number(at)? })
}

/// The type of a record.
pub(super) fn kind(record: &Record) -> u16 {
    match record.data {
        Data::A(_) => A,
        Data::Aaaa(_) => AAAA,
        Data::Cname(_) => CNAME,
        Data::Srv { .. } => SRV,
    }
}

/// An answer with these records, each with the name that has it.
pub(super) fn write(
    question: &Question,
    code: u16,
    answers: &[(String, Record)],
    additionals: &[(String, Record)],
) -> Vec<u8> {
    message(question, code, answers, additionals)
}

/// An answer that is to be asked for again by TCP.
pub(super) fn write_truncated(question: &Question) -> Vec<u8> {
    message(question, TRUNCATED | NOERROR, &[], &[])
}

fn message(question: &Question, flags: u16, answers: &[(String, Record)], additionals: &[(String, Record)]) -> Vec<u8> {
    let flags = RESPONSE | AUTHORITATIVE | RECURSION_DESIRED | RECURSION_AVAILABLE | flags;
    let count = |records: &[_]| u16::try_from(records.len()).expect("so many do not fit in a message");
    let mut message = Vec::new();
    for number in [question.id, flags, 1, count(answers), 0, count(additionals)] {
        message.extend(number.to_be_bytes());
    }
    write_name(&mut message, &question.name);
    message.extend([question.kind, INTERNET].map(u16::to_be_bytes).concat());
    for (name, record) in answers.iter().chain(additionals) {
        write_name(&mut message, name);
        message.extend([kind(record), INTERNET].map(u16::to_be_bytes).concat());
        message.extend(record.ttl.to_be_bytes());
        let data = data(record);
        message.extend(u16::try_from(data.len()).expect("a short record").to_be_bytes());
        message.extend(data);
    }
    message
}

fn data(record: &Record) -> Vec<u8> {
    let mut data = Vec::new();
    match &record.data {
        Data::A(ip) => data.extend(ip.octets()),
        Data::Aaaa(ip) => data.extend(ip.octets()),
        Data::Cname(target) => write_name(&mut data, target),
        Data::Srv { priority, weight, port, target } => {
            data.extend([*priority, *weight, *port].map(u16::to_be_bytes).concat());
            write_name(&mut data, target);
        }
    }
    data
}

fn write_name(message: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).expect("a label of up to 63 bytes"));
        message.extend(label.as_bytes());
    }
    message.push(0);
}
