//! Ed25519 by ZIP-215, one at a time and in batches whose verdict is the same (PROTOCOL.md §3).
//!
//! What is reported is always the lowest place whose signature fails when verified alone.

use core::ops::ControlFlow;
use std::collections::BTreeSet;

use ashlar_primitives::{PublicKey, Signature, Wtxid};
use ed25519_zebra::{VerificationKey, VerificationKeyBytes, batch};
use rand::CryptoRng;

pub use crate::workers::Workers;
use crate::workers::{Signed, Terms, Verified, verify_block};

/// Where a signature stands: transaction index (0 for a transaction on its own), witness index,
/// then its number within the witness. Ordered as §8 reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Among the block's transactions.
    pub transaction: u32,
    /// Among the transaction's witnesses.
    pub witness: u16,
    /// Among the signatures of the witness.
    pub signature: u16,
}

/// One signature to verify.
#[derive(Clone, Debug)]
pub struct SignatureCheck {
    /// Where it stands.
    pub place: Place,
    /// Of the transaction: what a cache of verified transactions may key on.
    pub wtxid: Wtxid,
    /// Under which it must verify.
    pub key: PublicKey,
    /// As given in the witness.
    pub signature: Signature,
    /// What it must sign: that of all signatures of the transaction.
    pub signed: Signed,
}

/// How many signatures one batch holds: beyond it batches gain nothing, and one that fails costs
/// about twice its size again.
pub const BATCH_SIZE: usize = 1_024;

/// A failed batch is halved down to this size and then verified one by one: halving further would
/// cost more than it saves.
const SINGLES: usize = 8;

/// One signature over any message (ZIP-215).
pub fn verify_one(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    VerificationKey::try_from(key.0)
        .and_then(|key| key.verify(&signature.0.into(), message))
        .is_ok()
}

/// Verifies all; `Err` is the lowest place whose signature fails, whatever the generators, batch
/// boundaries or number of `workers`.
/// `known` are transactions whose signatures verified before (by [`verify_transactions`]): a wtxid
/// commits to everything signed and every signature, so their checks are skipped.
pub fn verify_signatures(
    checks: &[SignatureCheck],
    known: &BTreeSet<Wtxid>,
    workers: &mut impl Workers,
) -> Result<Verified, Place> {
    verify_block(checks, known, &Terms::default(), workers)
}

/// Proof that all signatures of one transaction verify. Made only by [`verify_transactions`].
#[derive(Clone, Debug)]
pub struct VerifiedTransaction {
    wtxid: Wtxid,
}

impl VerifiedTransaction {
    /// Whose.
    pub const fn wtxid(&self) -> Wtxid {
        self.wtxid
    }
}

/// For the mempool: all transactions' checks in batches together, a result for each; where a batch
/// fails it is split, so that one bad signature costs the others little. `Err` is a transaction's
/// lowest failing place.
pub fn verify_transactions(
    transactions: &[(Wtxid, Vec<SignatureCheck>)],
    rng: &mut dyn CryptoRng,
) -> Vec<Result<VerifiedTransaction, Place>> {
    let mut results: Vec<Result<VerifiedTransaction, Place>> =
        transactions.iter().map(|(wtxid, _)| Ok(VerifiedTransaction { wtxid: *wtxid })).collect();
    let checks: Vec<_> = transactions
        .iter()
        .enumerate()
        .flat_map(|(owner, (_, checks))| checks.iter().map(move |check| (owner, check)))
        .collect();
    for batch in checks.chunks(BATCH_SIZE) {
        let _all_looked_at: ControlFlow<()> = find_failures(batch, rng, &mut |owner, place| {
            if let Some(result @ Ok(_)) = results.get_mut(owner) {
                *result = Err(place);
            }
            ControlFlow::Continue(())
        });
    }
    results
}

/// Tells `failed` of every check that fails alone, in order, until it breaks.
pub(crate) fn find_failures<B>(
    checks: &[(usize, &SignatureCheck)],
    rng: &mut dyn CryptoRng,
    failed: &mut impl FnMut(usize, Place) -> ControlFlow<B>,
) -> ControlFlow<B> {
    if checks.len() > 1 && batch_verifies(checks, rng) {
        return ControlFlow::Continue(());
    }
    if checks.len() <= SINGLES {
        return checks
            .iter()
            .filter(|(_, check)| !verify_one(&check.key, check.signed.as_bytes(), &check.signature))
            .try_for_each(|(owner, check)| failed(*owner, check.place));
    }
    let (front, back) = checks.split_at(checks.len() / 2);
    find_failures(front, rng, failed)?;
    find_failures(back, rng, failed)
}

/// Under ZIP-215's cofactored equation a batch verifies where each of its signatures does, and
/// else fails but with a chance of 2^-128 over `rng`.
fn batch_verifies(checks: &[(usize, &SignatureCheck)], rng: &mut dyn CryptoRng) -> bool {
    let mut verifier = batch::Verifier::new();
    for (_, check) in checks {
        let key = VerificationKeyBytes::from(check.key.0);
        verifier.queue((key, check.signature.0.into(), check.signed.as_bytes()));
    }
    verifier.verify(rng).is_ok()
}
