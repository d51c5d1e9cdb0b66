//! Messages of netlink(7): a header, what the kind of message begins with, then attributes.

use rustix::io::Errno;

use crate::Result;

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// The bits of an attribute's kind that say how its bytes are to be read (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const KIND_FLAGS: u16 = 0xc000;

/// A message being written.
#[derive(Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A message of this kind (`RTM_*`) with these `NLM_F_*` and what such messages begin with.
    pub(super) fn new(kind: u16, flags: u16, beginning: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(beginning);
        Self { bytes }
    }

    /// Adds an attribute. `EMSGSIZE` where its length does not fit into its 16 bits, in which it would wrap (CVE-2021-43784).
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Result<Self> {
        let length = u16::try_from(ATTRIBUTE + value.len()).map_err(|_| Errno::MSGSIZE)?;
        self.pad();
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        Ok(self)
    }

    /// Adds a name, which ends in zero.
    pub(super) fn name(self, kind: u16, name: &str) -> Result<Self> {
        self.attribute(kind, &[name.as_bytes(), b"\0"].concat())
    }

    /// The finished message, with the number by which its answers are known.
    pub(super) fn finish(mut self, sequence: u32) -> Result<Vec<u8>> {
        self.pad();
        let length = u32::try_from(self.bytes.len()).map_err(|_| Errno::MSGSIZE)?;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        Ok(self.bytes)
    }

    fn pad(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }
}

/// A message that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// `NLMSG_*` or `RTM_*`.
    pub(super) kind: u16,
    /// `NLM_F_*`.
    pub(super) flags: u16,
    /// Which request it answers.
    pub(super) sequence: u32,
    /// All after the header.
    pub(super) body: &'a [u8],
}

/// The first message of these bytes, and those after it. `EBADMSG` where it claims to be longer than they are, or shorter than its header.
pub(super) fn first_message(bytes: &[u8]) -> Result<(Message<'_>, &[u8])> {
    let header = bytes.get(..HEADER).ok_or(Errno::BADMSG)?;
    let length = usize::try_from(u32_at(header, 0)?).map_err(|_| Errno::BADMSG)?;
    let body = bytes.get(HEADER..length).ok_or(Errno::BADMSG)?;
    let message =
        Message { kind: u16_at(header, 4)?, flags: u16_at(header, 6)?, sequence: u32_at(header, 8)?, body };
    Ok((message, bytes.get(aligned(length)..).unwrap_or_default()))
}

/// The attributes that follow in `bytes`, by kind. `EBADMSG` where one claims to be longer than they are, or shorter than its header.
pub(super) fn attributes(mut bytes: &[u8]) -> Result<Vec<(u16, &[u8])>> {
    let mut all = Vec::new();
    while bytes.len() >= ATTRIBUTE {
        let length = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(ATTRIBUTE..length).ok_or(Errno::BADMSG)?;
        all.push((u16_at(bytes, 2)? & !KIND_FLAGS, value));
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(all)
}

/// Two bytes in the machine's order. `EBADMSG` where there are none.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map(|bytes| u16::from_ne_bytes(*bytes)).ok_or(Errno::BADMSG)
}

/// Four bytes in the machine's order. `EBADMSG` where there are none.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(Errno::BADMSG)
}

/// All begins at multiples of four.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let request = Request::new(16, 5, &[7; 16]).name(3, "eth0").unwrap();
        let bytes = request.attribute(28, &9_u32.to_ne_bytes()).unwrap().finish(77).unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let (message, rest) = first_message(&bytes).unwrap();
        assert_eq!((message.kind, message.flags, message.sequence, rest.len()), (16, 5, 77, 0));
        assert_eq!(message.body[..16], [7; 16]);
        let attributes = attributes(&message.body[16..]).unwrap();
        assert_eq!(attributes, [(3, &b"eth0\0"[..]), (28, &9_u32.to_ne_bytes()[..])]);
    }

    #[test]
    fn several_messages_follow_each_other() {
        let one = |kind| Request::new(kind, 0, &[1, 2, 3]).finish(1).unwrap();
        let both = [one(20), one(21)].concat();
        let (first, rest) = first_message(&both).unwrap();
        let (second, rest) = first_message(rest).unwrap();
        assert_eq!((first.kind, second.kind, rest.len()), (20, 21, 0));
    }

    #[test]
    fn an_attribute_whose_length_would_wrap_is_refused() {
        let request = |length| Request::new(16, 0, &[]).attribute(1, &vec![0; length]);
        assert!(request(0xffff - ATTRIBUTE).is_ok());
        assert_eq!(request(0x10000 - ATTRIBUTE).unwrap_err(), Errno::MSGSIZE);
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let good = Request::new(16, 0, &[0; 4]).finish(1).unwrap();
        for length in [0_u32, 15, 21, u32::MAX] {
            let mut bytes = good.clone();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(first_message(&bytes).unwrap_err(), Errno::BADMSG, "{length}");
        }
        assert_eq!(first_message(&good[..10]).unwrap_err(), Errno::BADMSG);
        for length in [0_u16, 3, 9] {
            let bytes = [&length.to_ne_bytes()[..], &[1, 0, 0, 0, 0, 0]].concat();
            assert_eq!(attributes(&bytes).unwrap_err(), Errno::BADMSG, "{length}");
        }
        assert_eq!(attributes(&[1, 2, 3]).unwrap(), []);
    }
}
