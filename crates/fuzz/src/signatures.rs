//! Signatures: whatever the bytes, one by one and in batches the same verdict.

use std::{collections::BTreeSet, sync::LazyLock};

use ashlar_consensus::{
    SignatureCheck,
    signature::{Place, verify_one, verify_signatures, verify_transactions},
};
use ashlar_primitives::{PublicKey, SigHash, Signature, Wtxid};
use ashlar_testkit::builder::key;
use ed25519_dalek::{Verifier as _, VerifyingKey};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::steer::Steer;

/// Enough for a batch to be halved twice before single checks.
const MAX_CHECKS: usize = 24;

/// The order of the group, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Encodings of points of small order, canonical and not (Chalkias et al., "Taming the many
/// EdDSAs").
fn small_order(number: u8) -> [u8; 32] {
    let mut point = [0; 32];
    match number % 6 {
        0 => point[0] = 1,
        1 => {
            point = [0xff; 32];
            (point[0], point[31]) = (0xec, 0x7f);
        }
        2 => {}
        3 => point[31] = 0x80,
        4 => {
            point = [0xff; 32];
            (point[0], point[31]) = (0xee, 0x7f);
        }
        _ => (point[0], point[31]) = (1, 0x80),
    }
    point
}

/// Good signatures, made once: four digests under each of four keys.
static SIGNED: LazyLock<Vec<(PublicKey, SigHash, Signature)>> = LazyLock::new(|| {
    let signed = |number: u8| {
        let (signer, digest) = (key(u64::from(number / 4)), SigHash([number % 4; 32]));
        (signer.public_key(), digest, signer.sign(&digest))
    };
    (0..16).map(signed).collect()
});

fn check(steer: &mut Steer<'_>, number: u32) -> SignatureCheck {
    let (public_key, mut digest, signature) = *steer.pick(&SIGNED[..]);
    let mut check = SignatureCheck {
        place: Place { transaction: number / 3, witness: u16::from(number % 3 == 2), signature: 0 },
        wtxid: Wtxid([u8::try_from(number / 3).unwrap(); 32]),
        key: public_key,
        signature,
        signed: digest.into(),
    };
    check.place.signature = u16::from(number % 3 == 1);
    let (r, s) = check.signature.0.split_at_mut(32);
    match steer.byte() % 24 {
        0 => r[steer.below(32)] ^= 1 << steer.below(8),
        1 => s[steer.below(32)] ^= 1 << steer.below(8),
        2 => check.key.0[steer.below(32)] ^= 1 << steer.below(8),
        3 => {
            digest.0[0] ^= 1;
            check.signed = digest.into();
        }
        // The same scalar, not canonical.
        4 => {
            let mut carry = 0;
            for (byte, add) in s.iter_mut().zip(ORDER) {
                let sum = u16::from(*byte) + u16::from(add) + carry;
                *byte = u8::try_from(sum & 0xff).unwrap();
                carry = sum >> 8;
            }
        }
        5 => check.key = PublicKey(small_order(steer.byte())),
        6 => r.copy_from_slice(&small_order(steer.byte())),
        // All of small order, s = 0: good under the cofactored equation.
        7 => {
            check.key = PublicKey(small_order(steer.byte()));
            r.copy_from_slice(&small_order(steer.byte()));
            s.fill(0);
        }
        8 => check.signature = Signature(steer.array()),
        9 => check.key = PublicKey(steer.array()),
        _ => {}
    }
    check
}

/// A batch fails at the lowest check that fails alone, a transaction where one of its own does,
/// and whatever the strict old equation accepts ZIP-215 accepts too.
pub fn signatures(data: &[u8]) {
    let mut steer = Steer::new(data);
    let count = 1 + steer.below(MAX_CHECKS);
    let checks: Vec<SignatureCheck> =
        (0..).take(count).map(|number| check(&mut steer, number)).collect();
    let alone: Vec<bool> = checks
        .iter()
        .map(|check| verify_one(&check.key, check.signed.as_bytes(), &check.signature))
        .collect();
    for (check, is_good) in checks.iter().zip(&alone) {
        let signature = ed25519_dalek::Signature::from_bytes(&check.signature.0);
        let strict = VerifyingKey::from_bytes(&check.key.0)
            .is_ok_and(|key| key.verify(check.signed.as_bytes(), &signature).is_ok());
        assert!(*is_good || !strict, "only the strict equation accepts {check:?}");
    }

    let mut rng = StdRng::seed_from_u64(steer.u64());
    let first_bad = checks.iter().zip(&alone).find(|(_, good)| !**good).map(|(c, _)| c.place);
    let together = verify_signatures(&checks, &BTreeSet::new(), &mut rng);
    assert_eq!(together.err(), first_bad);

    let transactions: Vec<(Wtxid, Vec<SignatureCheck>)> =
        checks.chunks(3).map(|own| (own[0].wtxid, own.to_vec())).collect();
    let judged = verify_transactions(&transactions, &mut rng);
    for (owner, result) in judged.into_iter().enumerate() {
        let own = checks.iter().zip(&alone).skip(3 * owner).take(3);
        let first_bad = own.clone().find(|(_, good)| !**good).map(|(check, _)| check.place);
        assert_eq!(result.err(), first_bad);
    }

    // Known transactions are passed over, whatever their signatures.
    let known: BTreeSet<Wtxid> =
        transactions.iter().map(|(wtxid, _)| *wtxid).filter(|_| steer.flag()).collect();
    let left = checks.iter().zip(&alone).find(|(c, good)| !**good && !known.contains(&c.wtxid));
    let together = verify_signatures(&checks, &known, &mut rng);
    assert_eq!(together.err(), left.map(|(check, _)| check.place));
}
