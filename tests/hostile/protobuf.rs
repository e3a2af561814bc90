//! The few protobuf messages that peers exchange, written field by field: identify's, and
//! gossipsub's RPC. Nothing keeps a caller from writing nonsense.

/// A number, seven bits a byte.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A field of bytes, text, or a message in a message.
pub fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(number << 3 | 2);
    out.extend(varint(bytes.len() as u64));
    out.extend_from_slice(bytes);
    out
}

/// A field that is a number.
pub fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = varint(field << 3);
    out.extend(varint(value));
    out
}

/// With its length before it, as on a stream.
pub fn delimited(message: &[u8]) -> Vec<u8> {
    let mut out = varint(message.len() as u64);
    out.extend_from_slice(message);
    out
}

/// The fields of bytes in a message, by number; empty where it is no message.
pub fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
    let mut found = Vec::new();
    while let Some(key) = take_varint(&mut message) {
        let Some(value) = take_varint(&mut message) else { break };
        if key & 7 == 2 {
            let Some((bytes, rest)) =
                usize::try_from(value).ok().and_then(|length| message.split_at_checked(length))
            else {
                break;
            };
            found.push((key >> 3, bytes));
            message = rest;
        }
    }
    found
}

/// What identify tells of a peer.
pub fn identify(public_key: &[u8], protocols: &[String], version: &str, agent: &str) -> Vec<u8> {
    let mut message = field(1, public_key);
    for protocol in protocols {
        message.extend(field(3, protocol.as_bytes()));
    }
    message.extend(field(5, version.as_bytes()));
    message.extend(field(6, agent.as_bytes()));
    message
}

/// Part of a gossipsub RPC; several stand behind one another.
pub mod rpc {
    use super::{field, number};

    /// Subscribes to a topic, or leaves it.
    pub fn subscription(topic: &str, subscribe: bool) -> Vec<u8> {
        let mut message = number(1, u64::from(subscribe));
        message.extend(field(2, topic.as_bytes()));
        field(1, &message)
    }

    /// A message, anonymous as all of ours are.
    pub fn publish(topic: &str, data: &[u8]) -> Vec<u8> {
        let mut message = field(2, data);
        message.extend(field(4, topic.as_bytes()));
        field(2, &message)
    }

    /// A message that names an author and counts, as ours never do.
    pub fn publish_signed(topic: &str, data: &[u8], sequence: u64) -> Vec<u8> {
        let mut message = field(1, &[0; 38]);
        message.extend(field(2, data));
        message.extend(field(3, &sequence.to_be_bytes()));
        message.extend(field(4, topic.as_bytes()));
        message.extend(field(5, &[0; 64]));
        field(2, &message)
    }

    fn control(kind: u64, message: &[u8]) -> Vec<u8> {
        field(3, &field(kind, message))
    }

    fn ids(number: u64, ids: &[[u8; 32]]) -> Vec<u8> {
        ids.iter().flat_map(|id| field(number, id)).collect()
    }

    /// "I have these."
    pub fn ihave(topic: &str, message_ids: &[[u8; 32]]) -> Vec<u8> {
        let mut message = field(1, topic.as_bytes());
        message.extend(ids(2, message_ids));
        control(1, &message)
    }

    /// "I want these."
    pub fn iwant(message_ids: &[[u8; 32]]) -> Vec<u8> {
        control(2, &ids(1, message_ids))
    }

    /// "Take me into the mesh of this topic."
    pub fn graft(topic: &str) -> Vec<u8> {
        control(3, &field(1, topic.as_bytes()))
    }

    /// "Leave me out for so many seconds."
    pub fn prune(topic: &str, backoff_seconds: u64) -> Vec<u8> {
        let mut message = field(1, topic.as_bytes());
        message.extend(number(3, backoff_seconds));
        control(4, &message)
    }

    /// "Don't send me these."
    pub fn idontwant(message_ids: &[[u8; 32]]) -> Vec<u8> {
        control(5, &ids(1, message_ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let message = [field(1, b"one"), number(7, 1 << 40), field(300, &[0; 200])].concat();
        assert_eq!(fields(&message), [(1, b"one".as_slice()), (300, &[0; 200])]);
        assert_eq!(fields(&message[..6]), [(1, b"one".as_slice())]);
        assert_eq!(varint(300), [0xac, 0x02]);
        assert_eq!(delimited(b"ab"), [2, b'a', b'b']);
        assert_eq!(varint(u64::MAX).len(), 10);
    }
}
