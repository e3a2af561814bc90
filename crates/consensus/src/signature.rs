//! Ed25519 by ZIP-215, one at a time and in batches whose verdict is the same (PROTOCOL.md §3).

use ashlar_primitives::{PublicKey, SigHash, Signature, Wtxid};

/// Where a signature stands: transaction index (0 for a transaction on its own), witness index,
/// then its number within the witness. Ordered as §8 reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place { pub transaction: u32, pub witness: u16, pub signature: u16 }

/// One signature to verify.
#[derive(Clone, Debug)]
pub struct SignatureCheck {
    pub place: Place,
    /// Of the transaction: what a cache of verified transactions may key on.
    pub wtxid: Wtxid,
    pub key: PublicKey,
    pub signature: Signature,
    pub digest: SigHash,
}

/// How many signatures one batch holds.
pub const BATCH_SIZE: usize = 1024;

/// Proof that all checks of a walk verified. Made only by [`verify_signatures`].
#[derive(Debug)]
pub struct Verified { /* how it is tied to its walk: e.g. a digest/count of the checks, compared in seal */ }

/// Verifies all; `Err` is the lowest place whose signature fails, whatever the generator, batch
/// boundaries or number of threads. `rng` must be unpredictable to the signatures' maker.
/// `known` are transactions whose signatures verified before (by [`verify_transactions`]): a wtxid commits to
/// everything signed and every signature, so their checks are skipped.
pub fn verify_signatures(checks: &[SignatureCheck], known: &std::collections::BTreeSet<Wtxid>, rng: &mut (impl rand::CryptoRng + ?Sized)) -> Result<Verified, Place> { todo!() }

/// One signature over any message (ZIP-215).
pub fn verify_one(key: &PublicKey, message: &[u8], signature: &Signature) -> bool { todo!() }

/// Proof that all signatures of one transaction verify. Made only by [`verify_transactions`].
#[derive(Clone, Debug)]
pub struct VerifiedTransaction { wtxid: Wtxid }

impl VerifiedTransaction {
    /// Whose.
    pub const fn wtxid(&self) -> Wtxid { self.wtxid }
}

/// For the mempool: all transactions' checks in batches together, a result for each; where a batch
/// fails it is split, so that one bad signature costs the others little.
pub fn verify_transactions(transactions: &[(Wtxid, Vec<SignatureCheck>)], rng: &mut (impl rand::CryptoRng + ?Sized)) -> Vec<Result<VerifiedTransaction, Place>> { todo!() }
