//! One encoding of each value, one value of each encoding, nothing missing, nothing left over: for
//! values that nobody chose, for their encodings damaged, and for bytes that never were one.

use std::fmt::Debug;

use ashlar_primitives::{
    Address, BlockId, Decode, DecodeError, Encode,
    keys::Mnemonic,
    wire::{
        Answer, Request, decode_announcement, decode_batch, encode_announcement, encode_batch,
        split_frame,
    },
};
use proptest::{
    array::uniform32,
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{RngSeed, TestCaseError},
};

use crate::strategies;

const MAX_BLOCK_BYTES: u32 = 32_000_000;

/// The same cases on every run.
const SEED: u64 = 0x6173_686c_6172;

pub(crate) fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(SEED),
        ..ProptestConfig::default()
    }
}

/// A change to an encoding.
#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Repeat(Index, Index),
}

/// A few changes to one encoding.
type Damage = Vec<Edit>;

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    let edit = prop_oneof![
        4 => (index(), any::<u8>()).prop_map(|(at, xor)| Edit::Flip(at, xor)),
        // Small numbers are counts, tags and flags.
        4 => (index(), 0..4_u8).prop_map(|(at, xor)| Edit::Flip(at, xor)),
        1 => (index(), any::<u8>()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        1 => index().prop_map(Edit::Remove),
        1 => (index(), index()).prop_map(|(from, to)| Edit::Repeat(from, to)),
    ];
    vec(edit, 1..4)
}

fn damaged(bytes: &[u8], damage: &Damage) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in damage {
        let Some(count) = Some(bytes.len()).filter(|count| *count > 0) else { return bytes };
        match edit {
            Edit::Flip(at, xor) => bytes[at.index(count)] ^= xor,
            Edit::Insert(at, byte) => bytes.insert(at.index(count), *byte),
            Edit::Remove(at) => {
                bytes.remove(at.index(count));
            }
            Edit::Repeat(from, to) => {
                let (from, to) = (from.index(count), to.index(count));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(from..from, part);
            }
        }
    }
    bytes
}

/// Whatever decodes is the one encoding of its value.
fn check_bytes<T: Debug + PartialEq>(
    bytes: &[u8],
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<(), TestCaseError> {
    if let Ok(value) = decode(bytes) {
        prop_assert_eq!(encode(&value), bytes, "two encodings of one value");
    }
    Ok(())
}

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
    check_bytes(&damaged(&bytes, &damage), encode, decode)
}

fn check_codec<T: Debug + PartialEq + Encode + Decode>(
    value: &T,
    damage: Damage,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(value.encoded_len(), value.to_bytes().len());
    prop_assert!(value.encoded_len() >= T::MIN_LEN);
    check(value, T::to_bytes, T::from_bytes, damage)
}

/// Bytes of nobody, alone and behind the first half of a value's.
fn check_noise<T: Debug + PartialEq + Encode + Decode>(
    value: &T,
    noise: &[u8],
) -> Result<(), TestCaseError> {
    check_bytes(noise, T::to_bytes, T::from_bytes)?;
    let bytes = value.to_bytes();
    let half = [&bytes[..bytes.len() / 2], noise].concat();
    check_bytes(&half, T::to_bytes, T::from_bytes)
}

/// Most bytes of an input that is not made from a value.
const NOISE_BYTES: usize = 400;

macro_rules! round_trips {
    ($($name:ident),*) => {
        proptest! {
            #![proptest_config(config())]
            $(
                #[test]
                fn $name(
                    value in strategies::$name(),
                    damage in damage(),
                    noise in vec(prop_oneof![0..6_u8, any::<u8>()], 0..NOISE_BYTES),
                ) {
                    check_noise(&value, &noise)?;
                    check_codec(&value, damage)?;
                }
            )*
        }
    };
}
round_trips!(
    amount,
    lock,
    outpoint,
    public_key,
    signature,
    short_id,
    status,
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
    #![proptest_config(config())]

    #[test]
    fn request(request in strategies::request(), damage in damage()) {
        let decode = |frame: &[u8]| {
            Request::from_payload(split_frame(frame, Request::MAX_PAYLOAD)?)
        };
        check(&request, Request::to_frame, decode, damage)?;
    }

    #[test]
    fn answer(answer in strategies::answer(), damage in damage()) {
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
    fn batch(batch in vec(strategies::transaction(), 0..4), damage in damage()) {
        check(&batch, |batch| encode_batch(batch), decode_batch, damage)?;
    }

    #[test]
    fn announcement(compact in strategies::compact_block(), damage in damage()) {
        check(&compact, encode_announcement, decode_announcement, damage)?;
    }

    #[test]
    fn frames_of_noise(noise in vec(prop_oneof![0..6_u8, any::<u8>()], 0..NOISE_BYTES), tag in 0..6_u8) {
        let payload = [&[tag][..], &noise].concat();
        let frame = |payload: &[u8]| {
            [&u32::try_from(payload.len()).unwrap().to_le_bytes(), payload].concat()
        };
        if let Ok(request) = Request::from_payload(&payload) {
            prop_assert_eq!(request.to_frame(), frame(&payload));
        }
        if let Ok(answer) = Answer::from_payload(&payload, tag, MAX_BLOCK_BYTES) {
            prop_assert_eq!(answer.to_frame(), frame(&payload));
        }
    }

    #[test]
    fn texts(id in strategies::block_id(), key in strategies::public_key(), mut lock in strategies::lock(), text in ".{0,80}") {
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(key.to_string().parse(), Ok(key));
        lock.version %= 2;
        let address = Address::new("ash", lock).unwrap();
        prop_assert_eq!(Address::parse(&address.to_string(), "ash"), Ok(address));
        // What is read is written the same, but for the case of an address.
        if let Ok(id) = text.parse::<BlockId>() {
            prop_assert_eq!(id.to_string(), text);
        } else if let Ok(address) = Address::parse(&text, "ash") {
            prop_assert_eq!(address.to_string(), text.to_lowercase());
        }
    }

    #[test]
    fn words(entropy in uniform32(any::<u8>()), length in prop::sample::select(vec![16, 20, 24, 28, 32])) {
        let mnemonic = Mnemonic::from_entropy(&entropy[..length]).unwrap();
        prop_assert!(mnemonic.entropy().as_slice() == &entropy[..length]);
        let again = Mnemonic::parse(&mnemonic.words()).unwrap();
        prop_assert_eq!(again.entropy(), mnemonic.entropy());
    }
}
