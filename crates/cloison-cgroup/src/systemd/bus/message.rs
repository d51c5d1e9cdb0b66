//! Messages on the wire
//! ([specification](https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol)).

use crate::systemd::value::{Decoder, Encoder, Value};

/// The longest message that is read, in bytes: ours are answered with a few hundred.
pub(super) const MAX_LENGTH: usize = 1 << 20;
/// What has to be read to know how long a message is.
pub(super) const FIXED: usize = 16;

const ENDIAN: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };
const NO_REPLY_EXPECTED: u8 = 1;
/// Of the protocol.
const VERSION: u8 = 1;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Return,
    Error,
    Signal,
}

/// A message, as far as anything is done with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) serial: u32,
    /// Whose answer it is.
    pub(crate) reply_to: Option<u32>,
    pub(crate) destination: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) interface: Option<String>,
    pub(crate) member: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) body: Vec<Value>,
    /// Whether whoever sends it waits for an answer.
    pub(crate) wants_reply: bool,
}

/// The numbers of header fields.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

impl Message {
    /// A message with nothing but its kind.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            serial: 0,
            reply_to: None,
            destination: None,
            path: None,
            interface: None,
            member: None,
            error: None,
            body: Vec::new(),
            wants_reply: true,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Encoder::default();
        for value in &self.body {
            body.value(value);
        }
        let mut message = Encoder::default();
        let kind = match self.kind {
            Kind::Call => 1,
            Kind::Return => 2,
            Kind::Error => 3,
            Kind::Signal => 4,
        };
        let flags = if self.wants_reply { 0 } else { NO_REPLY_EXPECTED };
        message.0.extend([ENDIAN, kind, flags, VERSION]);
        message.number(&(body.0.len() as u32).to_ne_bytes());
        message.number(&self.serial.to_ne_bytes());
        let text = |text: &Option<String>| text.clone().map(Value::Text);
        let signature: String = self.body.iter().map(Value::signature).collect();
        let fields = [
            (field::PATH, self.path.clone().map(Value::Path)),
            (field::INTERFACE, text(&self.interface)),
            (field::MEMBER, text(&self.member)),
            (field::ERROR_NAME, text(&self.error)),
            (field::REPLY_SERIAL, self.reply_to.map(Value::U32)),
            (field::DESTINATION, text(&self.destination)),
            (field::SIGNATURE, (!signature.is_empty()).then_some(Value::Signature(signature))),
        ];
        let fields = fields.into_iter().filter_map(|(number, value)| {
            Some(Value::Struct(vec![Value::Byte(number), Value::Variant(Box::new(value?))]))
        });
        message.value(&Value::Array("(yv)".into(), fields.collect()));
        message.align(8);
        message.0.extend(body.0);
        message.0
    }

    /// How many bytes the message has that begins with `start`; none if it is not one that we read.
    pub(super) fn length(start: &[u8; FIXED]) -> Option<usize> {
        if start[0] != ENDIAN || start[3] != VERSION {
            return None;
        }
        let number = |at: usize| {
            start
                .get(at..at + 4)
                .and_then(|four| four.try_into().ok())
                .map(|four| u32::from_ne_bytes(four) as usize)
        };
        let fields = number(12)?.checked_add(FIXED)?.checked_next_multiple_of(8)?;
        fields.checked_add(number(4)?).filter(|length| *length <= MAX_LENGTH)
    }

    /// A whole message; none if it is not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut message = Self::new(match bytes.get(1)? {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return None,
        });
        message.wants_reply = bytes.get(2)? & NO_REPLY_EXPECTED == 0;
        let mut decoder = Decoder::new(bytes);
        let header = decoder.values("yyyyuua(yv)")?;
        decoder.align(8)?;
        let [.., Value::U32(_), Value::U32(serial), Value::Array(_, fields)] = &header[..] else {
            return None;
        };
        message.serial = *serial;
        let mut signature = String::new();
        for field in fields {
            let Value::Struct(pair) = field else { return None };
            let [Value::Byte(number), Value::Variant(value)] = &pair[..] else { return None };
            match (*number, &**value) {
                (field::PATH, Value::Path(path)) => message.path = Some(path.clone()),
                (field::INTERFACE, Value::Text(name)) => message.interface = Some(name.clone()),
                (field::MEMBER, Value::Text(name)) => message.member = Some(name.clone()),
                (field::ERROR_NAME, Value::Text(name)) => message.error = Some(name.clone()),
                (field::REPLY_SERIAL, Value::U32(serial)) => message.reply_to = Some(*serial),
                (field::DESTINATION, Value::Text(name)) => message.destination = Some(name.clone()),
                (field::SIGNATURE, Value::Signature(text)) => signature.clone_from(text),
                _ => {}
            }
        }
        message.body = decoder.values(&signature)?;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Message {
        Message {
            serial: 3,
            destination: Some("org.freedesktop.systemd1".into()),
            path: Some("/org/freedesktop/systemd1".into()),
            interface: Some("org.freedesktop.systemd1.Manager".into()),
            member: Some("StopUnit".into()),
            body: vec![Value::text("a.scope"), Value::text("replace")],
            ..Message::new(Kind::Call)
        }
    }

    #[test]
    fn a_message_reads_as_it_was_written_and_knows_its_length() {
        let answer = Message {
            reply_to: Some(3),
            error: Some("org.x".into()),
            wants_reply: false,
            ..Message::new(Kind::Error)
        };
        for message in [call(), answer, Message::new(Kind::Signal)] {
            let bytes = message.encode();
            let start = bytes[..FIXED].try_into().unwrap();
            assert_eq!(Message::length(start), Some(bytes.len()));
            assert_eq!(Message::decode(&bytes), Some(message));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = call().encode();
        for length in 0..bytes.len() {
            assert_eq!(Message::decode(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_message_of_a_length_beyond_reason_is_refused_before_it_is_read() {
        let mut bytes = call().encode();
        for at in [4, 12] {
            bytes[at..at + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
            assert_eq!(Message::length(bytes[..FIXED].try_into().unwrap()), None);
        }
        let mut other_order = call().encode();
        other_order[0] = if ENDIAN == b'l' { b'B' } else { b'l' };
        assert_eq!(Message::length(other_order[..FIXED].try_into().unwrap()), None);
    }
}
