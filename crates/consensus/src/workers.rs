//! How the work that a walk leaves is cut into pieces for several cores. Holds no rule: whoever does
//! the pieces, and in which order, the results are the same.

use core::ops::ControlFlow;
use std::{
    collections::BTreeSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use ashlar_primitives::{BlockId, Coin, OutPoint, Output, SigHash, Txid, Wtxid};
use rand::CryptoRng;

use crate::{
    accumulator::UtxoAccumulator,
    connect::UtxoDiff,
    params::Params,
    signature::{BATCH_SIZE, Place, SignatureCheck, find_failures},
    transaction::sighash,
};

/// What the signatures of one transaction sign. Hashed when first asked for, wherever that is: of a
/// transaction that is known nobody asks.
#[derive(Clone, Debug)]
pub struct Signed(Arc<(OnceLock<SigHash>, BlockId, Txid, Vec<Output>)>);

impl Signed {
    /// By a transaction that spends these coins, in input order.
    pub fn new(params: &Params, txid: Txid, spent: &[Coin]) -> Self {
        let spent = spent.iter().map(|coin| coin.output).collect();
        Self(Arc::new((OnceLock::new(), params.chain_id, txid, spent)))
    }

    /// [`sighash`].
    pub fn digest(&self) -> &SigHash {
        let (digest, chain_id, txid, spent) = &*self.0;
        digest.get_or_init(|| sighash(chain_id, txid, spent))
    }

    /// Those of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.digest().as_bytes()
    }
}

impl From<SigHash> for Signed {
    /// What was hashed already.
    fn from(digest: SigHash) -> Self {
        Self(Arc::new((digest.into(), BlockId::ZERO, Txid::ZERO, Vec::new())))
    }
}

/// Proof that all checks of a walk verified; tied to that walk by a hash over its checks.
#[derive(Debug)]
pub struct Verified {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) summed: Option<Summed>,
}

/// How much is hashed in one call, about.
const HASHED_AT_ONCE_BYTES: usize = 32_768;

/// A hash over checks, so that the proof of one walk can't seal another. Without what is signed: a
/// wtxid commits to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(checks: &[SignatureCheck]) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut fields = Vec::with_capacity(HASHED_AT_ONCE_BYTES);
        for check in checks {
            // Large pieces: only those are hashed many blocks at a time.
            if fields.len() >= HASHED_AT_ONCE_BYTES {
                hasher.update(&fields);
                fields.clear();
            }
            let Place { transaction, witness, signature } = check.place;
            fields.extend_from_slice(&transaction.to_le_bytes());
            fields.extend_from_slice(&witness.to_le_bytes());
            fields.extend_from_slice(&signature.to_le_bytes());
            fields.extend_from_slice(check.wtxid.as_bytes());
            fields.extend_from_slice(check.key.as_bytes());
            fields.extend_from_slice(check.signature.as_bytes());
        }
        hasher.update(&fields);
        Self(hasher.finalize().into())
    }
}

/// The least that is worth a batch of its own on another core.
const SMALLEST_SHARE: usize = 64;

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

    /// Does both, at the same time where there is more than one thread.
    fn join<A: Send, B: Send>(
        &mut self,
        beside: impl FnOnce() -> A + Send,
        work: impl FnOnce(&mut Self) -> B + Send,
    ) -> (A, B) {
        (beside(), work(self))
    }
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
pub(crate) fn batch_size(signatures: usize, workers: usize) -> usize {
    let batches = signatures.div_ceil(BATCH_SIZE).max(1);
    let batches = batches.checked_next_multiple_of(workers.max(1)).unwrap_or(batches);
    signatures.div_ceil(batches).clamp(SMALLEST_SHARE, BATCH_SIZE)
}

/// What one worker made of a piece.
pub(crate) enum Piece {
    /// A batch of signatures: the lowest that fails.
    Signatures(Option<Place>),
    /// A part of the terms: their sum.
    Terms(UtxoAccumulator),
}

impl Piece {
    /// Of a signature.
    pub(crate) const fn failure(&self) -> Option<Place> {
        match self {
            Self::Signatures(place) => *place,
            Self::Terms(_) => None,
        }
    }
}

/// What happened to a coin.
#[derive(Clone, Copy, Debug)]
enum Change {
    Spent,
    Created,
}

/// The sum of some terms.
fn sum((change, coins): &(Change, &[(OutPoint, Coin)])) -> UtxoAccumulator {
    let mut sum = UtxoAccumulator::empty();
    for (outpoint, coin) in *coins {
        match change {
            Change::Spent => sum.remove(outpoint, coin),
            Change::Created => sum.add(outpoint, coin),
        }
    }
    sum
}

/// How many coins one worker takes at a time.
const TERMS_PER_PIECE: usize = 512;

/// What a walked block does to the accumulator, still to be summed: as independent of the state
/// before as signatures are, so that the same workers may do both (PROTOCOL.md §6).
#[derive(Clone, Debug, Default)]
pub struct Terms(Option<Arc<UtxoDiff>>);

/// Their sum, bound to the walk that they came from.
#[derive(Debug)]
pub(crate) struct Summed {
    /// Whose.
    pub(crate) diff: Arc<UtxoDiff>,
    /// Over the empty set.
    pub(crate) sum: UtxoAccumulator,
}

impl Terms {
    pub(crate) fn of(diff: Option<&Arc<UtxoDiff>>) -> Self {
        Self(diff.cloned())
    }

    /// In pieces: into the set or out of it.
    fn parts(&self) -> Vec<(Change, &[(OutPoint, Coin)])> {
        let Some(diff) = &self.0 else { return Vec::new() };
        let spent = diff.spent.as_slice().chunks(TERMS_PER_PIECE);
        let created = diff.created.as_slice().chunks(TERMS_PER_PIECE);
        let spent = spent.map(|part| (Change::Spent, part));
        spent.chain(created.map(|part| (Change::Created, part))).collect()
    }

    /// All of them, from what was made of each piece.
    pub(crate) fn summed(&self, pieces: &[Piece]) -> Option<Summed> {
        let diff = self.0.clone()?;
        let mut sum = UtxoAccumulator::empty();
        for piece in pieces {
            if let Piece::Terms(terms) = piece {
                sum.merge(terms);
            }
        }
        Some(Summed { diff, sum })
    }
}

/// [`crate::verify_signatures`], and the accumulator's terms of the same walk on the same workers: they
/// decide nothing here, and their sum goes with the proof.
pub fn verify_block(
    checks: &[SignatureCheck],
    known: &BTreeSet<Wtxid>,
    terms: &Terms,
    workers: &mut impl Workers,
) -> Result<Verified, Place> {
    let unknown: Vec<_> =
        checks.iter().filter(|check| !known.contains(&check.wtxid)).enumerate().collect();
    let batches: Vec<_> = unknown.chunks(batch_size(unknown.len(), workers.count())).collect();
    // What stands behind a failure is not looked at: it decides nothing.
    let lowest = AtomicUsize::new(usize::MAX);
    let parts = terms.parts();
    let pieces = workers.share(batches.len().saturating_add(parts.len()), |number, rng| {
        let Some(batch) = batches.get(number) else {
            let part = parts.get(number.saturating_sub(batches.len()));
            return Piece::Terms(part.map_or_else(UtxoAccumulator::empty, sum));
        };
        if number >= lowest.load(Ordering::Relaxed) {
            return Piece::Signatures(None);
        }
        let found = find_failures(batch, rng, &mut |_, place| ControlFlow::Break(place));
        let place = found.break_value();
        if place.is_some() {
            lowest.fetch_min(number, Ordering::Relaxed);
        }
        Piece::Signatures(place)
    });
    let failure = pieces.iter().find_map(Piece::failure);
    let fingerprint = || Fingerprint::of(checks);
    failure.map_or_else(
        || Ok(Verified { fingerprint: fingerprint(), summed: terms.summed(&pieces) }),
        Err,
    )
}
