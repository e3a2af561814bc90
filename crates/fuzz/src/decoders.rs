//! Decoders: whatever the bytes, a refusal or the one value that encodes to just these bytes, at
//! a cost in memory that the bytes paid for.

use std::fmt::Debug;

use allocation_counter::measure;
use ashlar_primitives::{
    Block, BlockId, Coin, Coinbase, Decode, DecodeError, Encode, Header, Lock, OutPoint, Output,
    Policy, Transaction, Witness,
    compact::CompactBlock,
    wire::{
        Answer, LENGTH_PREFIX, MAX_ANSWER_BYTES, Request, Status, decode_announcement,
        decode_batch, encode_announcement, encode_batch, split_frame, tag,
    },
};

use crate::steer::Steer;

/// Memory that decoding may take at its peak, for each byte of input: a value of the smallest
/// encoding is eight times as large, and a list that grows holds its old room and the new one.
const BYTES_PER_BYTE: u64 = 24;
/// The same beside that: half-read values of fixed size, however short the input.
const BYTES_AT_LEAST: u64 = 8_192;

/// Decodes under watch.
fn measured<T>(bytes: &[u8], decode: impl FnOnce(&[u8]) -> T) -> T {
    let mut decoded = None;
    let peak = measure(|| decoded = Some(decode(bytes))).bytes_max;
    let paid = u64::try_from(bytes.len()).unwrap() * BYTES_PER_BYTE + BYTES_AT_LEAST;
    assert!(peak <= paid, "{} bytes of input took {peak} bytes of memory", bytes.len());
    decoded.unwrap()
}

/// What every type of the protocol keeps to.
fn check<T: Debug + PartialEq + Encode + Decode>(bytes: &[u8]) {
    let Ok(value) = measured(bytes, T::from_bytes) else { return };
    assert!(bytes.len() >= T::MIN_LEN, "shorter than the shortest: {value:?}");
    assert_eq!(value.encoded_len(), bytes.len(), "{value:?}");
    assert_eq!(value.to_bytes(), bytes, "two encodings of {value:?}");
    assert!(T::from_bytes(&bytes[..bytes.len() - 1]).is_err(), "a prefix of {value:?}");
}

/// Any encoded type: the first byte says which.
pub fn value(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 14 {
        0 => check::<Transaction>(bytes),
        1 => check::<Block>(bytes),
        2 => check::<CompactBlock>(bytes),
        3 => check::<Coinbase>(bytes),
        4 => check::<Header>(bytes),
        5 => check::<Policy>(bytes),
        6 => check::<Witness>(bytes),
        7 => check::<Output>(bytes),
        8 => check::<OutPoint>(bytes),
        9 => check::<Coin>(bytes),
        10 => check::<Lock>(bytes),
        11 => check::<Status>(bytes),
        12 => check::<BlockId>(bytes),
        _ => {
            check::<u16>(bytes);
            check::<u32>(bytes);
            check::<u64>(bytes);
            check::<(u32, Transaction)>(bytes);
        }
    }
}

fn reencodes<T>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(value) = measured(bytes, decode) {
        assert_eq!(encode(&value), bytes, "two encodings of one message");
    }
}

/// Any message of the network: the first byte says which, the next the chain's largest block.
pub fn message(data: &[u8]) {
    let mut steer = Steer::new(data);
    let kind = steer.byte() % 14;
    let max_block_bytes = *steer.pick(&[10_000, 4_000_000, 32_000_000]);
    let bytes = steer.take_rest();
    let payload = |frame: Vec<u8>| frame[LENGTH_PREFIX..].to_vec();
    match kind {
        asked @ tag::STATUS..=tag::TRANSACTIONS => {
            let decode = |bytes: &[u8]| Answer::from_payload(bytes, asked, max_block_bytes);
            reencodes(bytes, decode, |answer| payload(answer.to_frame()));
        }
        6 => reencodes(bytes, decode_announcement, encode_announcement),
        7 => reencodes(bytes, decode_batch, |batch| encode_batch(batch)),
        8 => {
            let max_payload = Answer::max_payload(max_block_bytes);
            assert!(max_payload > MAX_ANSWER_BYTES);
            if let Ok(payload) = split_frame(bytes, max_payload) {
                assert_eq!(payload, &bytes[LENGTH_PREFIX..]);
            }
        }
        9 => {
            let decode =
                |bytes: &[u8]| Request::from_payload(split_frame(bytes, Request::MAX_PAYLOAD)?);
            reencodes(bytes, decode, Request::to_frame);
        }
        _ => reencodes(bytes, Request::from_payload, |request| payload(request.to_frame())),
    }
}
