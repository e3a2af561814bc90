//! From coins to a signed transaction: choosing, fee, change, signatures. No IO.

use std::collections::BTreeSet;

use ashlar_consensus::transaction::sighash;
use ashlar_primitives::{
    Amount, BlockId, Encode, Lock, OutPoint, Output, Signature, Transaction, Witness,
    keys::SecretKey,
};
use thiserror::Error;

use crate::amount::show;

/// Most inputs of a payment: with one signature each for as many owners this stays far below the
/// 65,000 bytes that are relayed (PROTOCOL.md §13).
const MAX_INPUTS: usize = 500;
/// An input and a witness of its own, in bytes: what spending a coin of change costs later.
const SPEND_BYTES: u64 = 34 + 65;
/// A fee above this share of the payment and above this amount looks like a mistake.
const HIGH_FEE_SHARE: u64 = 100;
const HIGH_FEE: Amount = Amount::from_grains(1_000_000);
/// A feerate above this, in grains a byte, looks like one too.
const HIGH_FEE_RATE: u64 = 100;

/// A coin of this wallet that the next block may spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnCoin {
    pub(crate) outpoint: OutPoint,
    pub(crate) output: Output,
    /// Which key it is under.
    pub(crate) change: u32,
    pub(crate) index: u32,
}

/// Why there is no payment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PaymentError {
    #[error("not enough: {} can be spent, {} needed, fee included", show(*.spendable), show(*.needed))]
    NotEnough { spendable: Amount, needed: Amount },
    #[error(
        "the payment needs more than {MAX_INPUTS} coins; send a smaller amount to yourself first"
    )]
    TooManyCoins,
    #[error("the fee of {} looks like a mistake; say --allow-high-fee if it is meant", show(*.fee))]
    HighFee { fee: Amount },
    #[error("the memo is longer than 256 bytes")]
    MemoTooLong,
    #[error("the amounts are out of range")]
    OutOfRange,
}

/// A payment before it is signed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) coins: Vec<OwnCoin>,
    pub(crate) transaction: Transaction,
    pub(crate) fee: Amount,
    /// What comes back, where it is worth a coin.
    pub(crate) change: Option<Amount>,
    pub(crate) size_bytes: u64,
}

/// What is to be paid.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) pay_to: Lock,
    pub(crate) amount: Amount,
    pub(crate) memo: Vec<u8>,
    /// Grains for 1,000 bytes.
    pub(crate) feerate_per_kb: u64,
    /// Where change goes.
    pub(crate) change_to: Lock,
    pub(crate) allow_high_fee: bool,
}

/// Chooses coins, largest first (few coins, small transactions), and what comes back.
pub(crate) fn plan(order: &Order, mut coins: Vec<OwnCoin>) -> Result<Plan, PaymentError> {
    if order.memo.len() > 256 {
        return Err(PaymentError::MemoTooLong);
    }
    coins.sort_by_key(|coin| (std::cmp::Reverse(coin.output.value), coin.outpoint));
    let spendable = sum(&coins)?;
    let mut chosen = Vec::new();
    let mut needed = order.amount;
    for coin in coins {
        chosen.push(coin);
        if chosen.len() > MAX_INPUTS {
            return Err(PaymentError::TooManyCoins);
        }
        let total = sum(&chosen)?;
        let (without_change, size_bytes) = draft(order, &chosen, None);
        let fee = fee_for(size_bytes, order.feerate_per_kb);
        needed = order.amount.checked_add(fee).ok_or(PaymentError::OutOfRange)?;
        if total >= needed {
            return finish(order, chosen, total, without_change, size_bytes);
        }
    }
    Err(PaymentError::NotEnough { spendable, needed })
}

/// Adds change where it is worth more than it costs to make and to spend; else it is fee.
fn finish(
    order: &Order,
    coins: Vec<OwnCoin>,
    total: Amount,
    without_change: Transaction,
    size_bytes: u64,
) -> Result<Plan, PaymentError> {
    let rest = total.checked_sub(order.amount).ok_or(PaymentError::OutOfRange)?;
    let (_, size_with_change) = draft(order, &coins, Some(Amount::ZERO));
    let fee_with_change = fee_for(size_with_change, order.feerate_per_kb);
    let dust = fee_for(SPEND_BYTES, order.feerate_per_kb);
    let change = rest.checked_sub(fee_with_change).filter(|change| *change > dust);
    let plan = match change {
        Some(change) => Plan {
            transaction: draft(order, &coins, Some(change)).0,
            fee: fee_with_change,
            change: Some(change),
            size_bytes: size_with_change,
            coins,
        },
        None => Plan { transaction: without_change, fee: rest, change: None, size_bytes, coins },
    };
    let share = Amount::from_grains(order.amount.grains() / HIGH_FEE_SHARE);
    let rate = plan.fee.grains() / plan.size_bytes;
    if !order.allow_high_fee && ((plan.fee > share && plan.fee > HIGH_FEE) || rate > HIGH_FEE_RATE)
    {
        return Err(PaymentError::HighFee { fee: plan.fee });
    }
    Ok(plan)
}

/// The transaction with empty signatures, and its exact size.
fn draft(order: &Order, coins: &[OwnCoin], change: Option<Amount>) -> (Transaction, u64) {
    let mut outputs = vec![Output { value: order.amount, lock: order.pay_to }];
    if let Some(value) = change {
        let change = Output { value, lock: order.change_to };
        // Which output is the change is nobody's business: the smaller lock stands first.
        let place = usize::from(change.lock > order.pay_to);
        outputs.insert(place, change);
    }
    let owners: BTreeSet<Lock> = coins.iter().map(|coin| coin.output.lock).collect();
    let transaction = Transaction {
        not_before: 0,
        inputs: coins.iter().map(|coin| coin.outpoint).collect(),
        outputs,
        memo: order.memo.clone(),
        witnesses: vec![Witness::Key { signature: Signature::ZERO }; owners.len()],
    };
    let size_bytes = u64::try_from(transaction.encoded_len()).unwrap_or(u64::MAX);
    (transaction, size_bytes)
}

/// Rounded up: never below the rate.
fn fee_for(size_bytes: u64, feerate_per_kb: u64) -> Amount {
    Amount::from_grains(size_bytes.saturating_mul(feerate_per_kb).div_ceil(1000))
}

fn sum(coins: &[OwnCoin]) -> Result<Amount, PaymentError> {
    Amount::checked_sum(coins.iter().map(|coin| coin.output.value)).ok_or(PaymentError::OutOfRange)
}

/// Signs once for each owner (PROTOCOL.md §3). `key_of` gives the secret of a row and index.
pub(crate) fn sign<E>(
    plan: &mut Plan,
    chain_id: &BlockId,
    key_of: impl Fn(u32, u32) -> Result<SecretKey, E>,
) -> Result<(), E> {
    let spent: Vec<Output> = plan.coins.iter().map(|coin| coin.output).collect();
    let digest = sighash(chain_id, &plan.transaction.txid(), &spent);
    let mut signed = BTreeSet::new();
    let mut witnesses = Vec::new();
    for coin in &plan.coins {
        if signed.insert(coin.output.lock) {
            let signature = key_of(coin.change, coin.index)?.sign(&digest);
            witnesses.push(Witness::Key { signature });
        }
    }
    plan.transaction.witnesses = witnesses;
    Ok(())
}

#[cfg(test)]
mod tests {
    use ashlar_consensus::signature::verify_one;
    use ashlar_primitives::Txid;

    use super::*;

    fn key(index: u32) -> SecretKey {
        SecretKey::from_bytes(&[u8::try_from(index).unwrap() + 1; 32])
    }

    fn coin(number: u8, grains: u64, owner: u32) -> OwnCoin {
        OwnCoin {
            outpoint: OutPoint { txid: Txid([number; 32]), index: 0 },
            output: Output {
                value: Amount::from_grains(grains),
                lock: Lock::key(key(owner).public_key()),
            },
            change: 0,
            index: owner,
        }
    }

    fn order(grains: u64) -> Order {
        Order {
            pay_to: Lock::key(key(100).public_key()),
            amount: Amount::from_grains(grains),
            memo: Vec::new(),
            feerate_per_kb: 1_000,
            change_to: Lock::key(key(101).public_key()),
            allow_high_fee: false,
        }
    }

    fn outputs(plan: &Plan) -> u64 {
        plan.transaction.outputs.iter().map(|output| output.value.grains()).sum()
    }

    #[test]
    fn what_goes_in_comes_out_or_is_the_fee_that_was_shown() {
        let coins: Vec<OwnCoin> = (0..40)
            .map(|number| coin(number, 1_000 + 997 * u64::from(number), number.into()))
            .collect();
        for grains in [1, 500, 39_000, 200_000, 600_000] {
            let plan = plan(&order(grains), coins.clone()).unwrap();
            let spent: u64 = plan.coins.iter().map(|coin| coin.output.value.grains()).sum();
            assert_eq!(spent, outputs(&plan) + plan.fee.grains());
            assert!(plan.fee.grains() >= plan.size_bytes, "below one grain a byte");
            assert!(plan.transaction.outputs.iter().any(|o| o.value.grains() == grains));
        }
    }

    #[test]
    fn change_that_is_not_worth_a_coin_is_fee() {
        let size = draft(&order(10_000), &[coin(1, 0, 1)], None).1;
        let exact = plan(&order(10_000), vec![coin(1, 10_000 + size, 1)]).unwrap();
        assert_eq!((exact.change, exact.fee.grains()), (None, size));
        let dust = plan(&order(10_000), vec![coin(1, 10_000 + size + 41 + 99, 1)]).unwrap();
        assert_eq!((dust.change, dust.fee.grains()), (None, size + 41 + 99));
        let more = plan(&order(10_000), vec![coin(1, 10_000 + size + 41 + 100, 1)]).unwrap();
        assert_eq!(more.change, Some(Amount::from_grains(100)));
    }

    #[test]
    fn one_signature_for_each_owner_and_it_verifies() {
        let coins = vec![coin(1, 5_000, 1), coin(2, 5_000, 1), coin(3, 5_000, 2)];
        let mut plan = plan(&order(12_000), coins).unwrap();
        let chain_id = BlockId([7; 32]);
        sign(&mut plan, &chain_id, |_, index| Ok::<_, ()>(key(index))).unwrap();
        assert_eq!(plan.transaction.witnesses.len(), 2);
        assert_eq!(plan.transaction.encoded_len() as u64, plan.size_bytes);
        let spent: Vec<Output> = plan.coins.iter().map(|coin| coin.output).collect();
        let digest = sighash(&chain_id, &plan.transaction.txid(), &spent);
        let owner = plan.coins[0].index;
        let Witness::Key { signature } = &plan.transaction.witnesses[0] else { panic!("a key") };
        assert!(verify_one(&key(owner).public_key(), digest.as_bytes(), signature));
    }

    #[test]
    fn mistakes_are_refused() {
        let needed = |error| matches!(error, PaymentError::NotEnough { .. });
        assert!(needed(plan(&order(5_000), vec![coin(1, 5_000, 1)]).unwrap_err()));
        assert!(needed(plan(&order(5_000), Vec::new()).unwrap_err()));
        let mut dear = order(1_000_000);
        dear.feerate_per_kb = 10_000_000;
        let coins = vec![coin(1, 100_000_000, 1)];
        assert!(matches!(plan(&dear, coins.clone()), Err(PaymentError::HighFee { .. })));
        dear.allow_high_fee = true;
        assert!(plan(&dear, coins.clone()).is_ok());
        dear.memo = vec![0; 257];
        assert_eq!(plan(&dear, coins).unwrap_err(), PaymentError::MemoTooLong);
    }
}
