//! Batch and single verification agree, whatever the batch, the order and the generator; the
//! lowest failing place is reported; a proof seals its own walk only.

use std::{collections::BTreeSet, fs, path::Path};

use ashlar_consensus::{
    ForeignProof, SignatureCheck, Signatures, signature,
    signature::{BATCH_SIZE, Place, Workers, verify_one},
    verify_signatures, verify_transactions, walk,
};
use ashlar_primitives::{PublicKey, SigHash, Signature, Wtxid};
use rand::{CryptoRng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::builder::{Chain, Owner, output, payment, rng};

fn place(transaction: usize) -> Place {
    Place { transaction: u32::try_from(transaction).unwrap(), witness: 0, signature: 0 }
}

fn check(number: usize, key: PublicKey, signature: Signature, digest: SigHash) -> SignatureCheck {
    let mut wtxid = Wtxid::ZERO;
    wtxid.0[..8].copy_from_slice(&u64::try_from(number).unwrap().to_le_bytes());
    SignatureCheck { place: place(number), wtxid, key, signature, signed: digest.into() }
}

/// Signatures of few owners, all good.
fn good(count: usize) -> Vec<SignatureCheck> {
    let owners: Vec<_> = (1..=20).map(Owner::new).collect();
    (0..count)
        .map(|number| {
            let owner = &owners[number % owners.len()];
            let digest = SigHash([u8::try_from(number % 251).unwrap(); 32]);
            check(number, owner.key(), owner.sign(&digest), digest)
        })
        .collect()
}

/// In as many ways as there are to be wrong, by turns.
fn break_check(check: &mut SignatureCheck, way: usize) {
    match way % 4 {
        0 => {
            let mut digest = *check.signed.digest();
            digest.0[0] ^= 1;
            check.signed = digest.into();
        }
        // s ≥ ℓ
        1 => check.signature.0[63] = 0xff,
        // An R that is the encoding of no point
        2 => check.signature.0[..32].copy_from_slice(&not_a_point()),
        _ => check.key = PublicKey(not_a_point()),
    }
}

/// y = 2: x² = (y² − 1) / (d·y² + 1) is not a square.
fn not_a_point() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = 2;
    bytes
}

fn verify(checks: &[SignatureCheck]) -> Result<(), Place> {
    verify_signatures(checks, &BTreeSet::new(), &mut rng()).map(drop)
}

/// The 196 pairs of encodings of small order. With s = 0 each is good for any message.
fn small_order() -> Vec<SignatureCheck> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/signature.json");
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let text = |case: &Value, field: &str| case[field].as_str().unwrap().to_owned();
    let cases = file["cases"].as_array().unwrap().iter();
    let pairs = cases.filter(|case| {
        let is_pair = text(case, "name").starts_with("small-order-");
        is_pair && text(case, "message") == hex::encode("Zcash") && case["valid"] == true
    });
    let checks: Vec<_> = pairs
        .enumerate()
        .map(|(number, case)| {
            assert!(text(case, "signature").ends_with(&"0".repeat(64)), "s = 0");
            let key = text(case, "public_key").parse().unwrap();
            let signature = text(case, "signature").parse().unwrap();
            let digest = SigHash([u8::try_from(number).unwrap(); 32]);
            check(number, key, signature, digest)
        })
        .collect();
    assert_eq!(checks.len(), 196);
    checks
}

#[test]
fn small_order_points_in_batches_of_1_2_and_64_at_each_position() {
    let vectors = small_order();
    for size in [1, 2, 64] {
        // Round and round: every vector comes to stand at every position.
        for start in 0..vectors.len() {
            let mut batch: Vec<_> =
                vectors.iter().cycle().skip(start).take(size).cloned().collect();
            for (position, check) in batch.iter_mut().enumerate() {
                check.place = place(position);
            }
            assert_eq!(verify(&batch), Ok(()), "{size} from {start}");
            // Among good signatures of the usual kind.
            let mut mixed = good(size);
            mixed[start % size] = SignatureCheck { place: place(start % size), ..batch[0].clone() };
            assert_eq!(verify(&mixed), Ok(()), "vector {start} among {size}");
            // One that is wrong is found among them.
            let bad = start % size;
            batch[bad] = SignatureCheck { place: place(bad), ..good(1)[0].clone() };
            break_check(&mut batch[bad], start);
            assert_eq!(verify(&batch), Err(place(bad)), "{size} from {start}");
        }
    }
}

/// So many workers, of whom the last is always the first to be done.
struct Backwards(usize);

impl Workers for Backwards {
    fn count(&self) -> usize {
        self.0
    }

    fn share<R: Send>(
        &mut self,
        pieces: usize,
        work: impl Fn(usize, &mut dyn CryptoRng) -> R + Sync,
    ) -> Vec<R> {
        assert!(pieces.is_multiple_of(self.0), "{pieces} for {}", self.0);
        let mut results: Vec<R> = (0..pieces).rev().map(|piece| work(piece, &mut rng())).collect();
        results.reverse();
        results
    }
}

#[test]
fn the_lowest_place_is_reported_whatever_the_batch() {
    let checks = good(2 * BATCH_SIZE + 20);
    let mut random = StdRng::seed_from_u64(1);
    let edges = [0, 1, 7, 8, 9, BATCH_SIZE - 1, BATCH_SIZE, 2 * BATCH_SIZE, checks.len() - 1];
    let randoms: Vec<_> = (0..3).map(|_| random.random_range(0..checks.len())).collect();
    for (way, lowest) in edges.into_iter().chain(randoms).enumerate() {
        let mut checks = checks.clone();
        break_check(&mut checks[lowest], way);
        for _ in 0..way % 4 {
            let further = random.random_range(lowest..checks.len());
            break_check(&mut checks[further], 1);
        }
        // With any generator.
        for _ in 0..3 {
            let mut rng = StdRng::seed_from_u64(random.random());
            let verdict = verify_signatures(&checks, &BTreeSet::new(), &mut rng);
            assert_eq!(verdict.map(drop), Err(place(lowest)));
        }
        // Nor does it matter how many look for it, and who is done first.
        for count in [2, 3, 16] {
            let mut workers = Backwards(count);
            let verdict = verify_signatures(&checks, &BTreeSet::new(), &mut workers);
            assert_eq!(verdict.map(drop), Err(place(lowest)), "{count} workers");
        }
        // What was verified before is not looked at again.
        let known = checks[..=lowest].iter().map(|check| check.wtxid).collect();
        let rest: Vec<_> =
            checks.iter().filter(|it| !known_contains(&known, it)).cloned().collect();
        let expected = verify(&rest);
        assert_eq!(verify_signatures(&checks, &known, &mut rng()).map(drop), expected);
    }
}

fn known_contains(known: &BTreeSet<Wtxid>, check: &SignatureCheck) -> bool {
    known.contains(&check.wtxid)
}

#[test]
fn transactions_together_are_judged_as_each_alone() {
    let mut random = StdRng::seed_from_u64(2);
    for round in 0..12 {
        let mut checks = good(1_500);
        let broken = [0, 1, 2, 40, 1_500][round % 5];
        for way in 0..broken {
            let number = random.random_range(0..checks.len());
            break_check(&mut checks[number], way);
        }
        // Between none and five signatures each; a policy may need none.
        let mut transactions = Vec::new();
        while !checks.is_empty() {
            let size = random.random_range(0..=5).min(checks.len());
            let own: Vec<_> = checks.drain(..size).collect();
            transactions.push((Wtxid([u8::try_from(transactions.len() % 256).unwrap(); 32]), own));
        }
        let results = verify_transactions(&transactions, &mut rng());
        assert_eq!(results.len(), transactions.len());
        for (result, (wtxid, checks)) in results.into_iter().zip(&transactions) {
            let fails = |it: &&SignatureCheck| {
                !verify_one(&it.key, it.signed.digest().as_bytes(), &it.signature)
            };
            let alone = checks.iter().find(fails).map(|check| check.place);
            match result {
                Ok(verified) => assert_eq!((verified.wtxid(), None), (*wtxid, alone)),
                Err(place) => assert_eq!(Some(place), alone),
            }
        }
    }
}

#[test]
fn a_proof_seals_its_own_walk_only() {
    let owner = Owner::new(1);
    let mut chain = Chain::new();
    for _ in 0..3 {
        chain.extend(&owner, vec![], 0);
    }
    let spendable = chain.spendable(owner.lock());
    let walked = |coin: usize| {
        let outputs = vec![output(1_000, owner.lock())];
        let spend = payment(&chain.params.chain_id, &owner, &spendable[coin..=coin], outputs);
        let block = chain.block(chain.coinbase(&owner, 0), vec![spend]);
        let (next, block) = chain.checked(block);
        walk(&chain.state, next, &chain.params, &block, &chain.fetch(&block))
    };
    let (one, other) = (walked(0), walked(1));
    let proof = |checks: &[SignatureCheck]| {
        Signatures::Verified(verify_signatures(checks, &BTreeSet::new(), &mut rng()).unwrap())
    };
    let foreign = one.outcome.unwrap().seal(&chain.state, proof(&other.checks));
    assert_eq!(foreign.map(drop), Err(ForeignProof));
    assert_eq!(
        other.outcome.unwrap().seal(&chain.state, proof(&one.checks)).map(drop),
        Err(ForeignProof)
    );
    assert_eq!(
        walked(0).outcome.unwrap().seal(&chain.state, proof(&[])).map(drop),
        Err(ForeignProof)
    );

    let walked = walked(0);
    let sealed = walked.outcome.unwrap().seal(&chain.state, proof(&walked.checks)).unwrap();
    assert_eq!(sealed.claimed().grains(), 1_000);
    let (_, diff) = sealed.into_parts();
    assert_eq!(diff.created.len(), 2);
}

#[test]
fn signatures_may_be_assumed_but_nothing_else() {
    let owner = Owner::new(1);
    let mut chain = Chain::new();
    for _ in 0..3 {
        chain.extend(&owner, vec![], 0);
    }
    let coin = chain.spendable(owner.lock())[0];
    let outputs = |value| vec![output(value, owner.lock())];
    // Signed by somebody else.
    let walked = |value| {
        let spend = payment(&chain.params.chain_id, &Owner::new(2), &[coin], outputs(value));
        let (next, block) = chain.checked(chain.block(chain.coinbase(&owner, 0), vec![spend]));
        walk(&chain.state, next, &chain.params, &block, &chain.fetch(&block))
    };
    let theft = walked(1_000);
    assert_eq!(verify(&theft.checks), Err(place(0)));
    let error = signature::Place { transaction: 0, witness: 0, signature: 0 };
    assert_eq!(ashlar_consensus::connect::signature_error(error).code(), "tx-bad-signature");
    let sealed = theft.outcome.unwrap().seal(&chain.state, Signatures::AssumedValid).unwrap();
    let (next, _) = sealed.into_parts();
    assert_eq!(next.header.height, 4);
    assert_eq!(walked(1_001).outcome.map(drop).unwrap_err().code(), "tx-overspends");
}
