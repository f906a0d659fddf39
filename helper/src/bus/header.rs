//! What a message's header says, read from its bytes before anything is allocated for it. Pure.
//!
//! It reads the few fields that the [gate](super::gate) decides by, and leaves the rest to zbus. The bus has checked every
//! message that it hands over; what can't be read here all the same is no message, never a panic.
//! Source: D-Bus Specification, "Message Format".

/// The part of a header that says how long the message is.
pub const FIXED: usize = 16;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A method call.
    Call,
    /// The answer to one, or the error instead.
    Reply,
    /// A signal.
    Signal,
}

/// The fields that are decided by. A field that is absent is empty, or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// What it is.
    pub kind: Kind,
    /// The caller wants no answer.
    pub no_reply: bool,
    /// The caller's number for it.
    pub serial: u32,
    /// The unique name of who sent it, as the bus vouches for it.
    pub sender: &'a str,
    /// What is called.
    pub member: &'a str,
}

/// The byte of a message that holds its flags, and the flag for "no answer is wanted" in it.
pub const FLAGS: usize = 2;
/// `NO_REPLY_EXPECTED`.
pub const NO_REPLY: u8 = 1;

const SENDER: u8 = 7;
const MEMBER: u8 = 3;

/// How many bytes a message has that begins like this; `None` where no message does.
pub fn length(bytes: &[u8]) -> Option<u64> {
    let fields = u64::from(number(bytes, 12)?);
    let body = u64::from(number(bytes, 4)?);
    let start = u64::try_from(FIXED).ok()?;
    start.checked_add(fields)?.next_multiple_of(8).checked_add(body)
}

impl<'a> Header<'a> {
    /// Reads the header of a whole message.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let kind = match bytes.get(1)? {
            1 => Kind::Call,
            2 | 3 => Kind::Reply,
            4 => Kind::Signal,
            _ => return None,
        };
        let no_reply = bytes.get(FLAGS)? & NO_REPLY != 0;
        let mut header = Self { kind, no_reply, serial: number(bytes, 8)?, sender: "", member: "" };
        let end = FIXED.checked_add(usize::try_from(number(bytes, 12)?).ok()?)?;
        let mut at = FIXED;
        while at < end {
            let (code, r#type) = (*bytes.get(at)?, bytes.get(at + 1..at + 4)?);
            let value = at + 4;
            at = match r#type {
                [1, b's' | b'o', 0] => {
                    let text = text(bytes, value.checked_add(4)?, usize::try_from(number(bytes, value)?).ok()?)?;
                    match code {
                        SENDER => header.sender = text,
                        MEMBER => header.member = text,
                        _ => {}
                    }
                    value + 4 + text.len() + 1
                }
                [1, b'g', 0] => value + 1 + usize::from(*bytes.get(value)?) + 1,
                [1, b'u', 0] => value + 4,
                _ => return None, // no field of the specification's
            }
            .next_multiple_of(8);
        }
        Some(header)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    match bytes.first()? {
        b'l' => Some(u32::from_le_bytes(four)),
        b'B' => Some(u32::from_be_bytes(four)),
        _ => None,
    }
}

fn text(bytes: &[u8], at: usize, length: usize) -> Option<&str> {
    std::str::from_utf8(bytes.get(at..at.checked_add(length)?)?).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use zbus::message::{Flags, Message};

    use super::*;

    fn call() -> Message {
        let builder = Message::method_call("/org/netglance/Helper1", "SetPrefixes").interface("org.netglance.Helper1");
        let builder = builder.destination("org.netglance.Helper1").sender(":1.4711");
        builder.with_flags(Flags::NO_REPLY_EXPECTED).build(&(vec![(vec![8u8], 8u8)], "x")).unwrap()
    }

    #[test]
    fn reads_what_zbus_writes() {
        let message = call();
        let bytes: &[u8] = message.data();
        assert_eq!(length(&bytes[..FIXED]), Some(bytes.len() as u64));
        let serial = message.primary_header().serial_num().get();
        let (sender, member) = (":1.4711", "SetPrefixes");
        assert_eq!(Header::read(bytes), Some(Header { kind: Kind::Call, no_reply: true, serial, sender, member }));
        let reply = Message::error(&message.header(), "org.x.Error").build(&"words").unwrap();
        assert_eq!(Header::read(reply.data()).unwrap().kind, Kind::Reply);
        let signal = Message::signal("/", "org.x.Y", "Z").build(&()).unwrap();
        assert_eq!(Header::read(signal.data()).unwrap().kind, Kind::Signal);
    }

    #[test]
    fn no_bytes_make_it_stumble() {
        let message = call();
        let whole: &[u8] = message.data();
        for end in 0..whole.len() {
            // Cut off anywhere: no message or what was read so far, never more.
            Header::read(&whole[..end]);
            length(&whole[..end]);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 7, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] = value;
                Header::read(&bytes);
                length(&bytes);
            }
        }
        assert_eq!(length(&[0xff; FIXED]), None);
        let mut huge = [0xff; FIXED];
        huge[0] = b'l';
        assert_eq!(
            length(&huge),
            Some(2 * (u64::from(u32::MAX) + 1) + 15),
            "4 GiB twice are a length, not an overflow"
        );
    }
}
