//! Ed25519 by ZIP-215, one at a time and in batches whose verdict is the same (PROTOCOL.md §3).
//!
//! What is reported is always the lowest place whose signature fails when verified alone.

use core::ops::ControlFlow;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use ashlar_primitives::{PublicKey, SigHash, Signature, Wtxid};
use ed25519_zebra::{VerificationKey, VerificationKeyBytes, batch};
use rand::CryptoRng;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureCheck {
    /// Where it stands.
    pub place: Place,
    /// Of the transaction: what a cache of verified transactions may key on.
    pub wtxid: Wtxid,
    /// Under which it must verify.
    pub key: PublicKey,
    /// As given in the witness.
    pub signature: Signature,
    /// What it must sign.
    pub digest: SigHash,
}

/// How many signatures one batch holds: beyond it batches gain nothing, and one that fails costs
/// about twice its size again.
pub const BATCH_SIZE: usize = 1_024;

/// The least that is worth a batch of its own on another core.
const SMALLEST_SHARE: usize = 64;

/// A failed batch is halved down to this size and then verified one by one: halving further would
/// cost more than it saves.
const SINGLES: usize = 8;

/// Proof that all checks of a walk verified; tied to that walk by a hash over its checks.
#[derive(Debug)]
pub struct Verified {
    pub(crate) fingerprint: Fingerprint,
}

/// A hash over checks, so that the proof of one walk can't seal another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(checks: &[SignatureCheck]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for check in checks {
            hasher
                .update(&check.place.transaction.to_le_bytes())
                .update(&check.place.witness.to_le_bytes())
                .update(&check.place.signature.to_le_bytes())
                .update(check.wtxid.as_bytes())
                .update(check.key.as_bytes())
                .update(check.signature.as_bytes())
                .update(check.digest.as_bytes());
        }
        Self(hasher.finalize().into())
    }
}

/// One signature over any message (ZIP-215).
pub fn verify_one(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    VerificationKey::try_from(key.0)
        .and_then(|key| key.verify(&signature.0.into(), message))
        .is_ok()
}

/// Whoever does independent pieces of work: one thread with its generator (any [`CryptoRng`]), or a
/// driver's pool. It decides how fast the pieces are done, and nothing else.
pub trait Workers {
    /// How many pieces are worked on at a time.
    fn count(&self) -> usize {
        1
    }

    /// Calls `work` once with each number below `pieces` and a generator that the makers of what is
    /// verified can't predict; the results in order of number.
    fn share<R: Send>(
        &mut self,
        pieces: usize,
        work: impl Fn(usize, &mut dyn CryptoRng) -> R + Sync,
    ) -> Vec<R>;
}

impl<G: CryptoRng> Workers for G {
    fn share<R: Send>(
        &mut self,
        pieces: usize,
        work: impl Fn(usize, &mut dyn CryptoRng) -> R + Sync,
    ) -> Vec<R> {
        (0..pieces).map(|piece| work(piece, self)).collect()
    }
}

/// How so many signatures are cut into batches: none above [`BATCH_SIZE`], as many for each worker
/// as for the others, none so small that it gains little.
fn batch_size(signatures: usize, workers: usize) -> usize {
    let batches = signatures.div_ceil(BATCH_SIZE).max(1);
    let batches = batches.checked_next_multiple_of(workers.max(1)).unwrap_or(batches);
    signatures.div_ceil(batches).clamp(SMALLEST_SHARE, BATCH_SIZE)
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
    let unknown: Vec<_> =
        checks.iter().filter(|check| !known.contains(&check.wtxid)).enumerate().collect();
    let batches: Vec<_> = unknown.chunks(batch_size(unknown.len(), workers.count())).collect();
    // What stands behind a failure is not looked at: it decides nothing.
    let lowest = AtomicUsize::new(usize::MAX);
    let failures = workers.share(batches.len(), |number, rng| {
        let batch = batches.get(number).filter(|_| number < lowest.load(Ordering::Relaxed))?;
        let found = find_failures(batch, rng, &mut |_, place| ControlFlow::Break(place));
        let place = found.break_value()?;
        lowest.fetch_min(number, Ordering::Relaxed);
        Some(place)
    });
    let failure = failures.into_iter().flatten().next();
    failure.map_or_else(|| Ok(Verified { fingerprint: Fingerprint::of(checks) }), Err)
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
fn find_failures<B>(
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
            .filter(|(_, check)| !verify_one(&check.key, check.digest.as_bytes(), &check.signature))
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
        verifier.queue((key, check.signature.0.into(), check.digest.as_bytes()));
    }
    verifier.verify(rng).is_ok()
}
