//! Connecting a block to the state its parent left: walk, verify, seal (PROTOCOL.md §4, §6, §8
//! group 3, §9).

use core::slice::Iter;
use std::{collections::BTreeSet, sync::Arc};

use ashlar_primitives::{Amount, Coin, CoinList, Commitment, KeyedSet, OutPoint, Source};
use thiserror::Error;

use crate::{
    accumulator::UtxoAccumulator,
    body::CheckedBlock,
    error::{BlockError, TxError, require},
    header::HeaderState,
    params::Params,
    signature::{Place, SignatureCheck},
    transaction::{CheckedTransaction, judge_transaction},
    workers::{Fingerprint, Summed, Terms, Verified, Workers, verify_block},
};

/// All that judging a child block needs, given its coins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// For the child's header.
    pub header: HeaderState,
    /// The set of coins that the block left.
    pub utxo: UtxoAccumulator,
}

/// The coins that a block spends from outside itself, fetched before the rules run; also the
/// undo record. A missing entry means: there is no such coin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpentCoins {
    /// By outpoint; coins that the block does not spend change nothing.
    pub coins: CoinList,
}

/// What a block, or undoing it, does to the set of coins: `spent` leave it, `created` come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UtxoDiff {
    /// What is removed.
    pub spent: CoinList,
    /// What is added.
    pub created: CoinList,
}

impl UtxoDiff {
    /// Of a valid block, among `coins` being all that it spends from outside itself.
    fn of(block: &CheckedBlock, coins: &SpentCoins) -> Self {
        // Coins made and spent inside the block leave no trace (§9).
        let inputs = block.transactions().iter().flat_map(|spender| &spender.transaction().inputs);
        let inside = block.sources().inside(inputs);
        let external = block.external_inputs();
        let found = external.iter().zip(coins.coins.get_all(external));
        let spent = found.filter_map(|(outpoint, coin)| Some((*outpoint, *coin?))).collect();
        // In order of ids the coins are in order too, but for the coinbase's.
        let mut makers: Vec<_> = block.transactions().iter().collect();
        makers.sort_by_cached_key(|maker| maker.txid());
        let made = makers.into_iter().flat_map(|maker| maker.coins(block.height()));
        let left = made.filter(|(outpoint, _)| !inside.contains(outpoint));
        Self { spent, created: left.chain(block.coinbase_coins()).collect() }
    }

    /// Spent and created swapped.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { spent: self.created, created: self.spent }
    }

    /// The accumulator of the set after this was done to it.
    pub fn applied_to(&self, utxo: &UtxoAccumulator) -> UtxoAccumulator {
        let mut utxo = utxo.clone();
        for (outpoint, coin) in &self.spent {
            utxo.remove(outpoint, coin);
        }
        for (outpoint, coin) in &self.created {
            utxo.add(outpoint, coin);
        }
        utxo
    }
}

/// A walked block whose signatures are still out. Private fields: every rule but those holds.
#[derive(Debug)]
pub struct Pending {
    header: HeaderState,
    /// To the state before the block.
    committed: Commitment,
    diff: Arc<UtxoDiff>,
    summed: Option<Summed>,
    claimed: Amount,
    fingerprint: Fingerprint,
}

/// What walking found.
#[derive(Debug)]
pub struct Walked {
    /// To verify, in order of place. The lowest that fails is the verdict, whatever `outcome` says.
    pub checks: Vec<SignatureCheck>,
    /// Where no rule failed, what to seal; else the first rule that did (`checks` then holds only
    /// those before its place).
    pub outcome: Result<Pending, BlockError>,
}

impl Walked {
    /// What may be summed wherever the signatures are verified.
    pub fn terms(&self) -> Terms {
        Terms::of(self.diff())
    }

    /// What the block does to the set of coins, where it breaks no rule.
    pub fn diff(&self) -> Option<&Arc<UtxoDiff>> {
        self.outcome.as_ref().ok().map(|pending| &pending.diff)
    }
}

/// How the signatures of a walk were dealt with.
#[derive(Debug)]
pub enum Signatures {
    /// All verified now (or already known from the mempool, see `verify_signatures`).
    Verified(Verified),
    /// The operator named a block below which they are assumed good.
    AssumedValid,
}

/// The proof handed to [`Pending::seal`] is of another walk, or the state of another parent: a
/// mistake of the caller that says nothing about the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("these signatures were verified for another block, or the parent is another's")]
pub struct ForeignProof;

/// What connecting a block did. Private fields: to hold one is the proof that the block is valid.
#[derive(Debug)]
pub struct Transition {
    next: State,
    diff: UtxoDiff,
    claimed: Amount,
}

impl Transition {
    /// Sum of the coinbase's outputs.
    pub const fn claimed(&self) -> Amount {
        self.claimed
    }

    /// The state that judges the block's children, and what the block did to the coins: its
    /// `spent` is the undo record.
    pub fn into_parts(self) -> (State, UtxoDiff) {
        (self.next, self.diff)
    }
}

/// A block on its way through the rules, and what it did so far.
struct Walk<'a> {
    params: &'a Params,
    block: &'a CheckedBlock,
    /// The coin of each external input, until it is spent.
    outside: Vec<Option<&'a Coin>>,
    /// What was made inside the block and spent there.
    used: KeyedSet<OutPoint>,
    /// Of the inputs to come.
    sources: Iter<'a, Source>,
    fees: Amount,
    checks: Vec<SignatureCheck>,
}

impl Walk<'_> {
    /// The rules in order; returns what the coinbase claims.
    fn connect(&mut self, parent: Option<&State>) -> Result<Amount, BlockError> {
        parent.map_or(Ok(()), |parent| check_commitment(parent, self.block))?;
        let coinbase = self.block.coinbase();
        // PROTOCOL.md §3: the contextual rules of each transaction, in order
        for (index, transaction) in (0..=u32::MAX).zip(self.block.transactions()) {
            self.connect_transaction(index, transaction)
                .map_err(|error| BlockError::Transaction { index, error })?;
        }
        // PROTOCOL.md §4: coinbase-overpays
        let values = coinbase.outputs.iter().map(|output| output.value.grains());
        let claimed = values.fold(0, u64::saturating_add);
        let subsidy = self.params.subsidy(coinbase.height).grains();
        let allowed = subsidy.saturating_add(self.fees.grains());
        require(claimed <= allowed, BlockError::CoinbaseOverpays { claimed, allowed })?;
        Ok(Amount::from_grains(claimed))
    }

    /// The contextual rules of the transaction at `index`, then what it does to the coins.
    fn connect_transaction(
        &mut self,
        index: u32,
        transaction: &CheckedTransaction,
    ) -> Result<(), TxError> {
        let inputs = &transaction.transaction().inputs;
        let coins: Vec<_> = inputs.iter().map(|input| self.take(input)).collect();
        let judged = judge_transaction(self.params, self.block.height(), transaction, &coins)?;
        self.checks.extend(judged.checks.into_iter().map(|mut check| {
            check.place.transaction = index;
            check
        }));
        // All money there is stays in range, so that this can't saturate on any chain; were it to,
        // no coinbase claims so much.
        self.fees = Amount::from_grains(self.fees.grains().saturating_add(judged.fee.grains()));
        Ok(())
    }

    /// Spends the coin of the next input; `None` where it is not there (any more). Once a rule fails
    /// nothing is looked at any more, so that what its transaction took matters to nobody.
    fn take(&mut self, outpoint: &OutPoint) -> Option<Coin> {
        match *self.sources.next()? {
            Source::Outside(place) => self.outside.get_mut(place)?.take().copied(),
            Source::Inside(maker) => {
                let maker = self.block.transactions().get(maker)?.transaction();
                let output = *maker.outputs.get(usize::from(outpoint.index))?;
                let coin = Coin { output, height: self.block.height(), is_coinbase: false };
                self.used.insert(*outpoint).then_some(coin)
            }
        }
    }
}

/// Whether a block commits to the state that its parent left: the first rule of group 3.
pub fn check_commitment(parent: &State, block: &CheckedBlock) -> Result<(), BlockError> {
    // PROTOCOL.md §6: bad-utxo-commitment
    let is_sealed = block.coinbase().utxo_commitment == parent.utxo.commitment();
    require(is_sealed, BlockError::BadUtxoCommitment)
}

/// Group 3 of §8, all but the signatures. `next_header` is what `check_header` returned for the
/// block; `coins` has at least what of [`CheckedBlock::external_inputs`] exists.
///
/// `None` for a parent whose own signatures are out, so that its state is not known but for the
/// coins: [`check_commitment`], which stands before all that is found here, is then the caller's.
pub fn walk<'a>(
    parent: impl Into<Option<&'a State>>,
    next_header: HeaderState,
    params: &Params,
    block: &CheckedBlock,
    coins: &SpentCoins,
) -> Walked {
    let mut walk = Walk {
        params,
        block,
        outside: coins.coins.get_all(block.external_inputs()).collect(),
        used: KeyedSet::default(),
        sources: block.sources().iter(),
        fees: Amount::ZERO,
        checks: Vec::with_capacity(block.transactions().len()),
    };
    let outcome = walk.connect(parent.into());
    let checks = walk.checks;
    let outcome = outcome.map(|claimed| Pending {
        header: next_header,
        committed: block.coinbase().utxo_commitment,
        diff: Arc::new(UtxoDiff::of(block, coins)),
        summed: None,
        claimed,
        fingerprint: Fingerprint::of(&checks),
    });
    Walked { checks, outcome }
}

/// Turns a failed place into the block's error.
pub const fn signature_error(place: Place) -> BlockError {
    let Place { transaction, witness, .. } = place;
    BlockError::Transaction { index: transaction, error: TxError::BadSignature { witness } }
}

impl Pending {
    /// Takes over the sum of the accumulator's terms, where `verified` brings that of this very
    /// walk: what is not taken over is summed by [`Pending::seal`].
    pub fn take_sum(&mut self, verified: &mut Verified) {
        let own = verified.summed.take_if(|summed| Arc::ptr_eq(&summed.diff, &self.diff));
        self.summed = own.or(self.summed.take());
    }

    /// Finishes with the signatures of this very walk, from the state that the parent left.
    pub fn seal(mut self, parent: &State, by: Signatures) -> Result<Transition, ForeignProof> {
        let is_proven = match by {
            Signatures::Verified(mut proof) => {
                self.take_sum(&mut proof);
                proof.fingerprint == self.fingerprint
            }
            Signatures::AssumedValid => true,
        };
        require(is_proven && self.committed == parent.utxo.commitment(), ForeignProof)?;
        Ok(self.finish(&parent.utxo))
    }

    fn finish(self, parent: &UtxoAccumulator) -> Transition {
        let (Self { header, diff, summed, claimed, .. }, mut utxo) = (self, parent.clone());
        match summed {
            // Gives up its share of the diff, which then moves on instead of being copied.
            Some(Summed { sum, diff: _shared }) => utxo.merge(&sum),
            None => utxo = diff.applied_to(&utxo),
        }
        Transition { next: State { header, utxo }, diff: Arc::unwrap_or_clone(diff), claimed }
    }
}

/// [`walk`], [`verify_block`] and [`Pending::seal`] in one go, for whoever has no cores to
/// spare: templates, tests, the model of a chain.
pub fn connect_block(
    parent: &State,
    next_header: HeaderState,
    params: &Params,
    block: &CheckedBlock,
    coins: &SpentCoins,
    workers: &mut impl Workers,
) -> Result<Transition, BlockError> {
    let walked = walk(parent, next_header, params, block, coins);
    let none_known = BTreeSet::new();
    let mut verified = verify_block(&walked.checks, &none_known, &walked.terms(), workers)
        .map_err(signature_error)?;
    let mut pending = walked.outcome?;
    pending.take_sum(&mut verified);
    Ok(pending.finish(&parent.utxo))
}

/// The diff that undoes a connected block: can't fail on what was stored. `undo` is the `spent` of
/// the block's own diff.
pub fn disconnect(block: &CheckedBlock, undo: &SpentCoins) -> UtxoDiff {
    UtxoDiff::of(block, undo).reversed()
}
