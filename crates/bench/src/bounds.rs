//! What this machine can do at best with the same work: no rules, no tree, nothing but the
//! cryptography and the disk.

use std::path::Path;

use ashlar_consensus::{SignatureCheck, UtxoAccumulator, signature::BATCH_SIZE};
use ashlar_ledger::{Batch, Durability, Store as _};
use ashlar_primitives::{Encode as _, hash::double_sha256, merkle::merkle_root};
use ed25519_zebra::{VerificationKeyBytes, batch};
use rayon::prelude::*;

use crate::{
    Outcome, drive,
    maker::Made,
    timing::{Taken, Watch},
};

/// Verifies signatures in batches of [`BATCH_SIZE`], as many at a time as there are cores.
///
/// # Panics
/// Where one of them is bad.
pub fn verify_in_batches(checks: &[SignatureCheck]) -> Taken {
    // What they sign is hashed when first asked for: not here.
    for check in checks {
        std::hint::black_box(check.signed.digest());
    }
    let watch = Watch::start();
    checks.par_chunks(BATCH_SIZE).for_each(|checks| {
        let mut verifier = batch::Verifier::new();
        for check in checks {
            let key = VerificationKeyBytes::from(check.key.0);
            verifier.queue((key, check.signature.0.into(), check.signed.as_bytes()));
        }
        verifier.verify(rand::rng()).expect("good signatures");
    });
    watch.taken()
}

/// Hashes the transactions of blocks to txids, wtxids and merkle roots, on all cores.
pub fn hash(blocks: &[Made]) -> Taken {
    let encoded: Vec<Vec<_>> = blocks
        .iter()
        .map(|made| {
            let transactions = made.block.transactions().iter();
            transactions
                .map(|checked| {
                    let transaction = checked.transaction();
                    (transaction.to_bytes(), transaction.body_len())
                })
                .collect()
        })
        .collect();
    let watch = Watch::start();
    encoded.par_iter().for_each(|transactions| {
        let leaves: Vec<_> = transactions
            .iter()
            .map(|(bytes, body_len)| {
                std::hint::black_box(double_sha256(&bytes[..*body_len]));
                double_sha256(bytes)
            })
            .collect();
        std::hint::black_box(merkle_root(&leaves));
    });
    watch.taken()
}

/// Takes what blocks spend and make out of and into the accumulator, on all cores.
pub fn accumulate(blocks: &[Made]) -> Taken {
    let watch = Watch::start();
    blocks.par_iter().for_each(|made| {
        std::hint::black_box(made.diff.applied_to(&UtxoAccumulator::empty()));
    });
    watch.taken()
}

/// Writes recorded commits to a new store, as sure as they were; the last one is made to survive
/// a power cut.
pub fn write(directory: &Path, commits: Vec<(Batch, Durability)>) -> Outcome<Taken> {
    let store = drive::store(directory)?;
    let watch = Watch::start();
    for (batch, durability) in commits {
        store.commit(batch, durability)?;
    }
    store.sync()?;
    Ok(watch.taken())
}
