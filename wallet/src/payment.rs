//! From coins to a signed transaction: choosing, fee, change, signatures. No IO.

use std::collections::BTreeSet;

use ashlar_consensus::transaction::sighash;
use ashlar_primitives::{
    Amount, BlockId, Encode, Lock, OutPoint, Output, Signature, Transaction, Witness,
    keys::SecretKey,
};
use rand::Rng;
use thiserror::Error;

use crate::{
    amount::show,
    select::{Coin, INPUT_BYTES, OUTPUT_BYTES, Target, WITNESS_BYTES, select},
};

/// Largest payment, in bytes: somewhat below the 65,000 that are relayed (PROTOCOL.md §13).
pub(crate) const MAX_BYTES: u64 = 60_000;
/// A fee above this share of the payment and above this amount looks like a mistake.
const HIGH_FEE_SHARE: u64 = 100;
const HIGH_FEE: Amount = Amount::from_grains(1_000_000);
/// A feerate above this, in grains a byte, looks like one too.
const HIGH_FEE_RATE: u64 = 100;
/// What a replacement pays for its own relay, in grains for 1,000 bytes (PROTOCOL.md §13).
const RELAY_RATE_PER_KB: u64 = 1_000;

/// A coin of this wallet that the next block may spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnCoin {
    pub(crate) outpoint: OutPoint,
    pub(crate) output: Output,
    /// Which key it is under.
    pub(crate) change: u32,
    pub(crate) index: u32,
}

impl Coin for OwnCoin {
    fn outpoint(&self) -> OutPoint {
        self.outpoint
    }
    fn output(&self) -> Output {
        self.output
    }
}

/// Why there is no payment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PaymentError {
    #[error("not enough: {} can be spent, {} needed, fee included", show(*.spendable), show(*.needed))]
    NotEnough { spendable: Amount, needed: Amount },
    #[error(
        "no payment of {MAX_BYTES} bytes holds that many coins; first bring small ones together: `send --max` to an address of your own"
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
    /// What the recipients get.
    pub(crate) amount: Amount,
    /// What comes back, where it is worth a coin, and as which output.
    pub(crate) change: Option<(Amount, u16)>,
    pub(crate) size_bytes: u64,
}

/// What is to be paid.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) recipients: Vec<Output>,
    pub(crate) memo: Vec<u8>,
    /// Grains for 1,000 bytes.
    pub(crate) feerate_per_kb: u64,
    /// Where change goes.
    pub(crate) change_to: Lock,
    pub(crate) allow_high_fee: bool,
    /// The fee of the payment that this one replaces, which it must pay again and more.
    pub(crate) replaced_fee: Option<Amount>,
}

/// With which coins.
#[derive(Clone, Debug)]
pub(crate) enum Coins {
    /// With the best of these.
    Best(Vec<OwnCoin>),
    /// With all of the first, and where they are too little with the largest of the others.
    These(Vec<OwnCoin>, Vec<OwnCoin>),
    /// With all of these, or as many as fit; the one recipient gets what they hold.
    Sweep(Vec<OwnCoin>),
}

impl Order {
    /// Rounded up: never below the rate.
    fn fee(&self, size_bytes: u64) -> Amount {
        let fee = fee_for(size_bytes, self.feerate_per_kb);
        let replaced = self.replaced_fee.map_or(Amount::ZERO, |replaced| {
            let own = fee_for(size_bytes, RELAY_RATE_PER_KB);
            replaced.checked_add(own).unwrap_or(Amount::MAX_MONEY)
        });
        fee.max(replaced)
    }

    fn amount(&self) -> Result<Amount, PaymentError> {
        Amount::checked_sum(self.recipients.iter().map(|output| output.value))
            .ok_or(PaymentError::OutOfRange)
    }
}

/// Chooses coins, and what comes back.
pub(crate) fn plan(
    order: &Order,
    coins: Coins,
    random: &mut impl Rng,
) -> Result<Plan, PaymentError> {
    if order.memo.len() > 256 {
        return Err(PaymentError::MemoTooLong);
    }
    let plan = match coins {
        Coins::Best(coins) => {
            let chosen = choose(order, &coins, random)?;
            finish(order, chosen)
        }
        Coins::These(mut chosen, mut more) => {
            more.sort_by_key(|coin| (coin.output.value, std::cmp::Reverse(coin.outpoint)));
            loop {
                match (finish(order, chosen.clone()), more.pop()) {
                    (Err(PaymentError::NotEnough { .. }), Some(coin)) => chosen.push(coin),
                    (plan, _) => break plan,
                }
            }
        }
        Coins::Sweep(coins) => sweep(order, coins),
    }?;
    if !order.allow_high_fee && is_high_fee(plan.fee, plan.amount, plan.size_bytes) {
        return Err(PaymentError::HighFee { fee: plan.fee });
    }
    Ok(plan)
}

/// Whether a fee looks like a mistake: by its share of what is paid, or by its rate.
pub(crate) fn is_high_fee(fee: Amount, paid: Amount, size_bytes: u64) -> bool {
    let share = Amount::from_grains(paid.grains() / HIGH_FEE_SHARE);
    let rate = fee.grains() / size_bytes.max(1);
    (fee > share && fee > HIGH_FEE) || rate > HIGH_FEE_RATE
}

fn choose(
    order: &Order,
    coins: &[OwnCoin],
    random: &mut impl Rng,
) -> Result<Vec<OwnCoin>, PaymentError> {
    let amount = order.amount()?;
    let target = Target {
        amount: amount.grains(),
        base_bytes: draft(order, &[], None).1,
        witness_bytes: WITNESS_BYTES,
        rate_per_kb: order.feerate_per_kb,
        most_bytes: MAX_BYTES,
    };
    if let Some(chosen) = select(coins, &target, random) {
        return Ok(chosen);
    }
    let spendable = sum(coins)?;
    let fee = order.fee(draft(order, coins, None).1);
    let needed = amount.checked_add(fee).ok_or(PaymentError::OutOfRange)?;
    // Where all coins together pay, it is their number that is too much; coins that cost more
    // than they hold do not help.
    if spendable >= needed {
        Err(PaymentError::TooManyCoins)
    } else {
        Err(PaymentError::NotEnough { spendable, needed })
    }
}

/// Adds change where it is worth more than it costs to make and to spend; else it is fee.
fn finish(order: &Order, coins: Vec<OwnCoin>) -> Result<Plan, PaymentError> {
    let (amount, total) = (order.amount()?, sum(&coins)?);
    let (without_change, size_bytes) = draft(order, &coins, None);
    if size_bytes + OUTPUT_BYTES > MAX_BYTES {
        return Err(PaymentError::TooManyCoins);
    }
    let needed = amount.checked_add(order.fee(size_bytes)).ok_or(PaymentError::OutOfRange)?;
    if total < needed {
        return Err(PaymentError::NotEnough { spendable: total, needed });
    }
    let rest = total.checked_sub(amount).ok_or(PaymentError::OutOfRange)?;
    let fee_with_change = order.fee(size_bytes + OUTPUT_BYTES);
    let dust = fee_for(INPUT_BYTES + WITNESS_BYTES, order.feerate_per_kb);
    match rest.checked_sub(fee_with_change).filter(|change| *change > dust) {
        Some(change) => {
            let (transaction, size_bytes) = draft(order, &coins, Some(change));
            let output = Output { value: change, lock: order.change_to };
            let place = transaction.outputs.iter().position(|other| *other == output);
            let place = place.and_then(|place| u16::try_from(place).ok()).unwrap_or_default();
            let change = Some((change, place));
            Ok(Plan { coins, transaction, fee: fee_with_change, amount, change, size_bytes })
        }
        None => Ok(Plan {
            coins,
            transaction: without_change,
            fee: rest,
            amount,
            change: None,
            size_bytes,
        }),
    }
}

/// Everything to one recipient. The most valuable coins go first where not all fit.
fn sweep(order: &Order, mut coins: Vec<OwnCoin>) -> Result<Plan, PaymentError> {
    coins.sort_by_key(|coin| (std::cmp::Reverse(coin.output.value), coin.outpoint));
    // The second coin of an owner costs an input alone.
    let least = fee_for(INPUT_BYTES, order.feerate_per_kb);
    coins.retain(|coin| coin.output.value > least);
    while draft(order, &coins, None).1 > MAX_BYTES {
        coins.pop();
    }
    let total = sum(&coins)?;
    let fee = order.fee(draft(order, &coins, None).1);
    let amount = total
        .checked_sub(fee)
        .filter(|amount| *amount > Amount::ZERO)
        .ok_or(PaymentError::NotEnough { spendable: total, needed: fee })?;
    let mut order = order.clone();
    if let [recipient] = order.recipients.as_mut_slice() {
        recipient.value = amount;
    }
    let (transaction, size_bytes) = draft(&order, &coins, None);
    Ok(Plan { coins, transaction, fee, amount, change: None, size_bytes })
}

/// The transaction with empty signatures, and its exact size.
fn draft(order: &Order, coins: &[OwnCoin], change: Option<Amount>) -> (Transaction, u64) {
    let mut outputs = order.recipients.clone();
    outputs.extend(change.map(|value| Output { value, lock: order.change_to }));
    // Which output is the change is nobody's business: they stand in the order of their locks.
    outputs.sort_by_key(|output| (output.lock, output.value));
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

/// Rounded up.
pub(crate) fn fee_for(size_bytes: u64, feerate_per_kb: u64) -> Amount {
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
    use rand::{SeedableRng, rngs::StdRng};

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
            recipients: vec![Output {
                value: Amount::from_grains(grains),
                lock: Lock::key(key(100).public_key()),
            }],
            memo: Vec::new(),
            feerate_per_kb: 1_000,
            change_to: Lock::key(key(101).public_key()),
            allow_high_fee: false,
            replaced_fee: None,
        }
    }

    fn best(order: &Order, coins: Vec<OwnCoin>) -> Result<Plan, PaymentError> {
        plan(order, Coins::Best(coins), &mut StdRng::seed_from_u64(1))
    }

    fn these(order: &Order, coins: Vec<OwnCoin>) -> Result<Plan, PaymentError> {
        plan(order, Coins::These(coins, Vec::new()), &mut StdRng::seed_from_u64(1))
    }

    fn outputs(plan: &Plan) -> u64 {
        plan.transaction.outputs.iter().map(|output| output.value.grains()).sum()
    }

    fn inputs(plan: &Plan) -> u64 {
        plan.coins.iter().map(|coin| coin.output.value.grains()).sum()
    }

    #[test]
    fn what_goes_in_comes_out_or_is_the_fee_that_was_shown() {
        let coins: Vec<OwnCoin> = (0..40)
            .map(|number| coin(number, 1_000 + 997 * u64::from(number), number.into()))
            .collect();
        for grains in [1, 500, 39_000, 200_000, 600_000] {
            let plan = best(&order(grains), coins.clone()).unwrap();
            assert_eq!(inputs(&plan), outputs(&plan) + plan.fee.grains());
            assert!(plan.fee.grains() >= plan.size_bytes, "below one grain a byte");
            assert!(plan.transaction.outputs.iter().any(|o| o.value.grains() == grains));
            if let Some((value, place)) = plan.change {
                let output = plan.transaction.outputs[usize::from(place)];
                assert_eq!(output, Output { value, lock: order(1).change_to });
            }
        }
    }

    #[test]
    fn change_that_is_not_worth_a_coin_is_fee() {
        let size = draft(&order(10_000), &[coin(1, 0, 1)], None).1;
        let exact = these(&order(10_000), vec![coin(1, 10_000 + size, 1)]).unwrap();
        assert_eq!((exact.change, exact.fee.grains()), (None, size));
        let dust = these(&order(10_000), vec![coin(1, 10_000 + size + 41 + 99, 1)]).unwrap();
        assert_eq!((dust.change, dust.fee.grains()), (None, size + 41 + 99));
        let more = these(&order(10_000), vec![coin(1, 10_000 + size + 41 + 100, 1)]).unwrap();
        assert_eq!(more.change.map(|(value, _)| value), Some(Amount::from_grains(100)));
    }

    #[test]
    fn several_are_paid_at_once_each_what_was_asked() {
        let mut several = order(3_000);
        let lock = |number| Lock::key(key(number).public_key());
        several.recipients.push(Output { value: Amount::from_grains(4_000), lock: lock(50) });
        several.recipients.push(Output { value: Amount::from_grains(5_000), lock: lock(51) });
        let plan = best(&several, vec![coin(1, 50_000, 1)]).unwrap();
        assert_eq!(plan.amount.grains(), 12_000);
        for recipient in &several.recipients {
            assert!(plan.transaction.outputs.contains(recipient));
        }
        assert_eq!(plan.transaction.outputs.len(), 4);
    }

    #[test]
    fn a_sweep_leaves_nothing_but_what_costs_more_than_it_holds() {
        let mut coins: Vec<OwnCoin> = (0..9).map(|number| coin(number, 10_000, 1)).collect();
        coins.push(coin(200, 34, 1));
        let sweep = |coins| plan(&order(1), Coins::Sweep(coins), &mut StdRng::seed_from_u64(1));
        let all = sweep(coins).unwrap();
        assert_eq!((all.coins.len(), all.change), (9, None));
        assert_eq!(all.amount.grains() + all.fee.grains(), 90_000);
        assert_eq!(all.transaction.outputs.len(), 1);
        assert!(matches!(sweep(vec![coin(1, 50, 1)]), Err(PaymentError::NotEnough { .. })));
        let crowd: Vec<OwnCoin> = (0..2_000u32)
            .map(|number| {
                let mut coin = coin(0, 10_000 + u64::from(number), 1);
                coin.outpoint.txid.0[..4].copy_from_slice(&number.to_le_bytes());
                coin
            })
            .collect();
        let most = sweep(crowd).unwrap();
        assert!(most.size_bytes <= MAX_BYTES && most.size_bytes > MAX_BYTES - 100);
    }

    #[test]
    fn a_replacement_pays_the_old_fee_and_its_own_relay() {
        let mut bump = order(10_000);
        bump.replaced_fee = Some(Amount::from_grains(5_000));
        let own = vec![coin(1, 12_000, 1)];
        let more = vec![coin(2, 9_000, 2), coin(3, 1_000, 3)];
        let coins = Coins::These(own.clone(), more);
        let plan = plan(&bump, coins, &mut StdRng::seed_from_u64(1)).unwrap();
        assert!(plan.fee.grains() >= 5_000 + plan.size_bytes);
        assert_eq!(plan.coins, [own[0].clone(), coin(2, 9_000, 2)]);
    }

    #[test]
    fn one_signature_for_each_owner_and_it_verifies() {
        let coins = vec![coin(1, 5_000, 1), coin(2, 5_000, 1), coin(3, 5_000, 2)];
        let mut plan = these(&order(12_000), coins).unwrap();
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
        assert!(needed(best(&order(5_000), vec![coin(1, 5_000, 1)]).unwrap_err()));
        assert!(needed(best(&order(5_000), Vec::new()).unwrap_err()));
        let mut dear = order(1_000_000);
        dear.feerate_per_kb = 10_000_000;
        let coins = vec![coin(1, 100_000_000, 1)];
        assert!(matches!(best(&dear, coins.clone()), Err(PaymentError::HighFee { .. })));
        dear.allow_high_fee = true;
        assert!(best(&dear, coins.clone()).is_ok());
        dear.memo = vec![0; 257];
        assert_eq!(best(&dear, coins).unwrap_err(), PaymentError::MemoTooLong);
    }
}
