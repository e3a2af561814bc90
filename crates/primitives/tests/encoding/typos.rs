//! Typing errors in addresses, and the public vectors of their encoding (BIP-350).

use std::collections::BTreeSet;

use ashlar_primitives::{Address, AddressError, Lock};

const PREFIX: &str = "ash";
/// In the order of the values that the letters stand for (BIP-173).
const LETTERS: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// Letters behind the `1`: version, program, checksum.
const DATA_LETTERS: u32 = 1 + 52 + 6;
const ADDRESSES: u8 = 100;

fn address(number: u8) -> String {
    let mut program = [number; 32];
    for (place, byte) in (0u8..).zip(&mut program) {
        *byte = byte.wrapping_mul(167).wrapping_add(place.wrapping_mul(29)).rotate_left(3);
    }
    Address::new(PREFIX, Lock { version: number % 2, program }).unwrap().to_string()
}

/// One step of BIP-173's checksum.
fn polymod_step(checksum: u32, value: u32) -> u32 {
    let top = checksum >> 25;
    let mut next = ((checksum & 0x01ff_ffff) << 5) ^ value;
    for (bit, generator) in
        [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3].into_iter().enumerate()
    {
        if top >> bit & 1 == 1 {
            next ^= generator;
        }
    }
    next
}

/// The checksum is linear, so what a typing error does to it depends on where it is and by how
/// much, and on nothing else in the address. Where no single error leaves the checksum as it was,
/// and no two do the same to it, **every** one and two wrong letters in **any** address are found.
#[test]
fn no_one_or_two_wrong_letters_leave_the_checksum_right() {
    let mut seen = BTreeSet::from([0]);
    for behind in 0..DATA_LETTERS {
        for difference in 1..32 {
            let syndrome = (0..behind).fold(difference, |sum, _| polymod_step(sum, 0));
            assert!(seen.insert(syndrome), "{behind} letters before the end, {difference}");
        }
    }
    assert_eq!(seen.len(), 1 + 31 * 59);
}

/// The polynomial above is that of the addresses: it gives BIP-350's constant for each of them.
#[test]
fn the_checksum_counted_here_is_the_one_in_use() {
    let prefix = PREFIX.bytes().map(|byte| u32::from(byte >> 5));
    let expanded: Vec<u32> =
        prefix.chain([0]).chain(PREFIX.bytes().map(|byte| u32::from(byte & 31))).collect();
    for number in 0..ADDRESSES {
        let text = address(number);
        let data = text[PREFIX.len() + 1..].chars();
        let values = data.map(|letter| u32::try_from(LETTERS.find(letter).unwrap()).unwrap());
        let sum = expanded.iter().copied().chain(values).fold(1, polymod_step);
        assert_eq!(sum, 0x2bc8_30a3, "{text}");
    }
}

/// The same by the real reader: every wrong character at every place of 100 addresses, and two at
/// every pair of places.
#[test]
fn the_reader_refuses_one_and_two_wrong_characters_anywhere() {
    let letters = LETTERS.as_bytes();
    let mut tries = 0usize;
    for number in 0..ADDRESSES {
        let text = address(number);
        let mut typed = text.clone().into_bytes();
        let refused = |typed: &[u8]| {
            let typed = str::from_utf8(typed).unwrap();
            assert!(Address::parse(typed, PREFIX).is_err(), "{typed} for {text}");
        };
        for first in 0..typed.len() {
            let right = typed[first];
            for wrong in (b' '..=b'~').filter(|wrong| *wrong != right) {
                typed[first] = wrong;
                refused(&typed);
            }
            for second in first + 1..text.len() {
                let also_right = typed[second];
                // Others at each pair of places; over 100 addresses each meets many.
                for turn in 1..=4 {
                    tries += 7 * turn;
                    typed[first] = letters[tries % 32];
                    typed[second] = letters[(tries / 32 + turn) % 32];
                    if typed[first] != right || typed[second] != also_right {
                        refused(&typed);
                    }
                }
                typed[second] = also_right;
            }
            typed[first] = right;
        }
    }
}

/// By the real reader all there are of two wrong letters, in an address of each version. What holds
/// of one holds of all: see above.
#[test]
fn the_reader_refuses_every_two_wrong_letters_of_an_address() {
    for number in 0..2 {
        let text = address(number);
        let mut typed = text.clone().into_bytes();
        let mut tries = 0;
        for first in PREFIX.len() + 1..text.len() {
            for second in first + 1..text.len() {
                let right = (typed[first], typed[second]);
                for one in LETTERS.bytes().filter(|letter| *letter != right.0) {
                    typed[first] = one;
                    for two in LETTERS.bytes().filter(|letter| *letter != right.1) {
                        typed[second] = two;
                        tries += 1;
                        let typed = str::from_utf8(&typed).unwrap();
                        assert!(Address::parse(typed, PREFIX).is_err(), "{typed} for {text}");
                    }
                }
                (typed[first], typed[second]) = right;
            }
        }
        assert_eq!(tries, 59 * 58 / 2 * 31 * 31);
    }
}

#[test]
fn a_letter_too_many_too_few_or_swapped_is_noticed() {
    for number in 0..ADDRESSES {
        let text = address(number);
        for place in PREFIX.len() + 1..text.len() {
            let mut shorter = text.clone();
            shorter.remove(place);
            assert!(Address::parse(&shorter, PREFIX).is_err(), "{shorter}");
            for letter in LETTERS.chars() {
                let mut longer = text.clone();
                longer.insert(place, letter);
                assert!(Address::parse(&longer, PREFIX).is_err(), "{longer}");
            }
            let mut swapped = text.clone().into_bytes();
            swapped.swap(place - 1, place);
            let swapped = String::from_utf8(swapped).unwrap();
            assert_eq!(Address::parse(&swapped, PREFIX).is_ok(), swapped == text, "{swapped}");
        }
    }
}

/// Those of BIP-350's addresses that have this protocol's layout: a version and 32 bytes.
#[test]
fn bip_350_vectors_are_read_as_they_say() {
    let program = |hex: &str| -> [u8; 32] { hex::decode(hex).unwrap().try_into().unwrap() };
    for (text, prefix, hex) in [
        (
            "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
            "tb",
            "000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
        ),
        (
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "bc",
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        ),
    ] {
        let address = Address::parse(text, prefix).unwrap();
        assert_eq!(address.lock, Lock { version: 1, program: program(hex) });
        assert_eq!(address.to_string(), text);
    }
    let wrong_prefix = "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut";
    assert!(matches!(Address::parse(wrong_prefix, "tb"), Err(AddressError::WrongPrefix { .. })));
    for (text, prefix, error) in [
        // Bech32's checksum in place of bech32m's.
        (
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
            "bc",
            AddressError::Checksum,
        ),
        (
            "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
            "bc",
            AddressError::Checksum,
        ),
        (
            "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
            "bc",
            AddressError::Character { character: 'o' },
        ),
        ("bc1pw5dgrnzv", "bc", AddressError::ProgramLength),
        (
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
            "bc",
            AddressError::ProgramLength,
        ),
        (
            "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
            "tb",
            AddressError::MixedCase,
        ),
        (
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
            "bc",
            AddressError::ProgramLength,
        ),
        (
            "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j",
            "tb",
            AddressError::Padding,
        ),
        ("bc1gmk9yu", "bc", AddressError::Checksum),
    ] {
        assert_eq!(Address::parse(text, prefix), Err(error), "{text}");
    }
}
