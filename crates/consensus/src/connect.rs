//! Connecting a block to the state its parent left: walk, verify, seal (§4, §6, §8 group 3, §9).

use std::collections::BTreeMap;

use ashlar_primitives::{Amount, Coin, OutPoint};

use crate::{
    accumulator::UtxoAccumulator, body::CheckedBlock, error::BlockError, header::HeaderState,
    params::Params, signature::{Place, SignatureCheck, Verified},
};

/// All that judging a child block needs, given its coins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State { pub header: HeaderState, pub utxo: UtxoAccumulator }

/// The coins that a block spends from outside itself, fetched before the rules run; also the
/// undo record. A missing entry means: there is no such coin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpentCoins { pub coins: BTreeMap<OutPoint, Coin> }

/// What a block does to the set of coins. Diffs compose and reverse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UtxoDiff { pub spent: BTreeMap<OutPoint, Coin>, pub created: BTreeMap<OutPoint, Coin> }

impl UtxoDiff {
    /// Spent and created swapped.
    pub fn reversed(self) -> Self { todo!() }
    /// First `self`, then `next`; what is created and then spent leaves no trace.
    pub fn then(self, next: Self) -> Self { todo!() }
}

/// A walked block whose signatures are still out. Private fields.
#[derive(Debug)]
pub struct Pending { /* next: State, diff, fees, … */ }

/// What walking found.
#[derive(Debug)]
pub struct Walked {
    /// `Some` where no rule failed; seal it.
    pub pending: Option<Pending>,
    /// To verify, in order of place; those before a fault's place count.
    pub checks: Vec<SignatureCheck>,
    /// The first rule that failed; it is the verdict only if all `checks` verify
    /// (`checks` then holds only those before its place).
    pub fault: Option<BlockError>,
}

/// How the signatures of a walk were dealt with.
#[derive(Debug)]
pub enum Signatures {
    /// All verified now (or already known from the mempool, see `verify_signatures`).
    Verified(Verified),
    /// The operator named a block below which they are assumed good.
    AssumedValid,
}

/// What connecting a block did. Private fields: to hold one is the proof that the block is valid.
#[derive(Debug)]
pub struct Transition { /* next, diff, fees */ }

impl Transition {
    pub fn next(&self) -> &State { todo!() }
    pub fn diff(&self) -> &UtxoDiff { todo!() }
    pub fn fees(&self) -> Amount { todo!() }
    /// Sum of the coinbase's outputs.
    pub fn claimed(&self) -> Amount { todo!() }
    pub fn into_parts(self) -> (State, UtxoDiff) { todo!() }
}

/// Group 3 of §8, all but the signatures. `next_header` is what `check_header` returned for the block.
pub fn walk(parent: &State, next_header: HeaderState, params: &Params, block: &CheckedBlock, coins: &SpentCoins) -> Walked { todo!() }

/// Turns a failed place into the block's error.
pub fn signature_error(place: Place) -> BlockError { todo!() }

impl Pending {
    /// Finishes; panics never. A `Verified` of another walk is refused by type or by comparison.
    pub fn seal(self, signatures: Signatures) -> Transition { todo!() }
}

/// The diff that undoes a connected block: can't fail on what was stored.
pub fn disconnect(block: &CheckedBlock, height: u32, undo: &SpentCoins) -> UtxoDiff { todo!() }
