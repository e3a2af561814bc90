//! Whether what a node sends could be read at the other end.
//!
//! Messages travel here as values, not as bytes. So that a world doesn't hide a message that no
//! real receiver would take (over a limit of PROTOCOL.md §12, or not its own one encoding), each
//! is encoded once where it is sent, and decoded again.

use ashlar_engine::GossipData;
use ashlar_primitives::{DecodeError, wire};

/// Why nobody could read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It doesn't decode.
    Decode(DecodeError),
    /// It decodes to something else.
    Other,
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// Length of a frame's length.
const PREFIX_BYTES: usize = 4;

/// The payload of a frame.
fn payload(frame: &[u8]) -> Result<&[u8], Fault> {
    let (prefix, payload) = frame.split_first_chunk::<PREFIX_BYTES>().ok_or(Fault::Other)?;
    let says = u32::from_le_bytes(*prefix);
    if usize::try_from(says) == Ok(payload.len()) { Ok(payload) } else { Err(Fault::Other) }
}

fn same<T: PartialEq>(sent: &T, read: &T) -> Result<(), Fault> {
    if sent == read { Ok(()) } else { Err(Fault::Other) }
}

/// A request; returns its length.
pub fn request(request: &wire::Request) -> Result<usize, Fault> {
    let frame = request.to_frame();
    same(request, &wire::Request::from_payload(payload(&frame)?)?)?;
    Ok(frame.len())
}

/// An answer, on a chain with these blocks; returns its length.
pub fn answer(answer: &wire::Answer, max_block_bytes: u32) -> Result<usize, Fault> {
    let frame = answer.to_frame();
    let read = wire::Answer::from_payload(payload(&frame)?, answer.tag(), max_block_bytes)?;
    same(answer, &read)?;
    Ok(frame.len())
}

/// Gossip; returns its encoding.
pub fn gossip(data: &GossipData) -> Result<Vec<u8>, Fault> {
    match data {
        GossipData::Block(compact) => {
            let bytes = wire::encode_announcement(compact);
            same(compact.as_ref(), &wire::decode_announcement(&bytes)?)?;
            Ok(bytes)
        }
        GossipData::Transactions(batch) => {
            let bytes = wire::encode_batch(batch);
            same(batch.as_ref(), &wire::decode_batch(&bytes)?)?;
            Ok(bytes)
        }
    }
}
