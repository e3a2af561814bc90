//! One encoding of each value, one value of each encoding, nothing missing, nothing left over.

use std::fmt::Debug;

use ashlar_primitives::{
    Decode, DecodeError, Encode,
    wire::{
        Answer, Request, decode_announcement, decode_batch, encode_announcement, encode_batch,
        split_frame,
    },
};
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::TestCaseError};

use crate::strategies;

const MAX_BLOCK_BYTES: u32 = 32_000_000;

/// A change to one byte of an encoding.
type Damage = (Index, u8);

/// What every encoding must keep, for any way to read and write it.
fn check<T: Debug + PartialEq>(
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    damage: Damage,
) -> Result<(), TestCaseError> {
    let mut bytes = encode(value);
    let decoded = decode(&bytes);
    prop_assert_eq!(decoded.as_ref(), Ok(value));
    for end in 0..bytes.len() {
        prop_assert!(decode(&bytes[..end]).is_err(), "cut to {} of {}", end, bytes.len());
    }
    bytes.push(0);
    prop_assert!(decode(&bytes).is_err(), "with a byte more");
    bytes.pop();
    if let (Some(last), (place, xor)) = (bytes.len().checked_sub(1), damage) {
        bytes[place.index(last + 1)] ^= xor;
        if let Ok(other) = decode(&bytes) {
            prop_assert_eq!(encode(&other), bytes, "two encodings of one value");
        }
    }
    Ok(())
}

fn check_codec<T: Debug + PartialEq + Encode + Decode>(
    value: &T,
    damage: Damage,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(value.encoded_len(), value.to_bytes().len());
    prop_assert!(value.encoded_len() >= T::MIN_LEN);
    check(value, T::to_bytes, T::from_bytes, damage)
}

macro_rules! round_trips {
    ($($name:ident),*) => {
        proptest! {
            #![proptest_config(ProptestConfig { failure_persistence: None, ..<_>::default() })]
            $(
                #[test]
                fn $name(value in strategies::$name(), damage in any::<Damage>()) {
                    check_codec(&value, damage)?;
                }
            )*
        }
    };
}
round_trips!(
    block_id,
    output,
    coin,
    policy,
    witness,
    transaction,
    header,
    coinbase,
    block,
    compact_block
);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..<_>::default() })]

    #[test]
    fn request(request in strategies::request(), damage in any::<Damage>()) {
        let decode = |frame: &[u8]| {
            Request::from_payload(split_frame(frame, Request::MAX_PAYLOAD)?)
        };
        check(&request, Request::to_frame, decode, damage)?;
    }

    #[test]
    fn answer(answer in strategies::answer(), damage in any::<Damage>()) {
        let decode = |frame: &[u8]| {
            let payload = split_frame(frame, Answer::max_payload(MAX_BLOCK_BYTES))?;
            Answer::from_payload(payload, answer.tag(), MAX_BLOCK_BYTES)
        };
        check(&answer, Answer::to_frame, decode, damage)?;
        let other = (answer.tag() + 1) % 6;
        let payload = &answer.to_frame()[4..];
        prop_assert!(Answer::from_payload(payload, other, MAX_BLOCK_BYTES).is_err());
    }

    #[test]
    fn batch(batch in vec(strategies::transaction(), 0..4), damage in any::<Damage>()) {
        check(&batch, |batch| encode_batch(batch), decode_batch, damage)?;
    }

    #[test]
    fn announcement(compact in strategies::compact_block(), damage in any::<Damage>()) {
        check(&compact, encode_announcement, decode_announcement, damage)?;
    }
}
