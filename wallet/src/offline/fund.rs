//! From coins and wishes to a transaction that nobody signed yet.
//!
//! Coins are chosen as for a payment of one's own ([`crate::select`]). The fee reckons with the
//! largest witnesses that may come, since who will sign is not known yet.

use std::collections::BTreeSet;

use ashlar_primitives::{Amount, Encode, Lock, Output, Policy, Transaction};
use rand::Rng;

use super::{OfflineError, Partial, SpentCoin};
use crate::{
    keystore::Chain,
    payment::{self, MAX_BYTES},
    policy::satisfy,
    select::{INPUT_BYTES, OUTPUT_BYTES, Target, WITNESS_BYTES, select},
};

/// Change below this many times the minimum fee for spending it is not worth a coin.
const CHANGE_BYTES: u64 = 200;

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) pays: Vec<Output>,
    /// Who gets all that is left of all coins.
    pub(crate) rest_to: Option<Lock>,
    /// Where change goes, where nobody gets the rest.
    pub(crate) change_to: Lock,
    /// Grains for 1,000 bytes.
    pub(crate) feerate_per_kb: u64,
    pub(crate) not_before: u32,
    pub(crate) memo: Vec<u8>,
    pub(crate) allow_high_fee: bool,
}

/// Chooses coins and makes the transaction. All coins are under keys, or all under `policies`.
pub(crate) fn fund(
    chain: &Chain,
    wish: &Wish,
    coins: Vec<SpentCoin>,
    policies: &[Policy],
    random: &mut impl Rng,
) -> Result<Partial, OfflineError> {
    let available = sum(coins.iter().map(|coin| &coin.output))?;
    let dearest = policies.iter().map(satisfy::most_bytes).max();
    let target = Target {
        amount: sum(&wish.pays)?.grains(),
        base_bytes: base_bytes(wish),
        witness_bytes: dearest.map_or(WITNESS_BYTES, as_u64),
        rate_per_kb: wish.feerate_per_kb,
        most_bytes: MAX_BYTES,
    };
    let all = most_valuable(coins, &target);
    let chosen = match wish.rest_to {
        Some(_) => Some(all.clone()),
        None => select(&all, &target, random),
    };
    // A choice leaves no room for change that is worth a coin only where it needs none; that all
    // coins together pay is tried in any case.
    for coins in chosen.into_iter().chain([all]) {
        if let Some(partial) = try_with(chain, wish, &coins, policies)? {
            if !wish.allow_high_fee {
                refuse_high_fee(&partial)?;
            }
            return Ok(partial);
        }
    }
    match available.grains()
        >= target.amount.saturating_add(payment::fee_for(MAX_BYTES, wish.feerate_per_kb).grains())
    {
        true => Err(OfflineError::TooManyCoins),
        false => Err(OfflineError::NotEnough { available }),
    }
}

/// Of the transaction without inputs, witnesses and change.
fn base_bytes(wish: &Wish) -> u64 {
    let bare = Transaction {
        not_before: wish.not_before,
        inputs: Vec::new(),
        outputs: wish.pays.clone(),
        memo: wish.memo.clone(),
        witnesses: Vec::new(),
    };
    as_u64(bare.encoded_len())
}

/// As many coins as one transaction holds whatever their witnesses, the most valuable first.
fn most_valuable(mut coins: Vec<SpentCoin>, target: &Target) -> Vec<SpentCoin> {
    coins.sort_by_key(|coin| (std::cmp::Reverse(coin.output.value), coin.outpoint));
    let (mut bytes, mut owners) = (target.base_bytes + OUTPUT_BYTES, BTreeSet::new());
    let fits = |coin: &SpentCoin| {
        let is_new = owners.insert(coin.output.lock);
        bytes += INPUT_BYTES + if is_new { target.witness_bytes } else { 0 };
        bytes <= target.most_bytes
    };
    let count = coins.iter().map(fits).take_while(|fits| *fits).count();
    coins.truncate(count);
    coins
}

fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Refuses a fee that looks like a mistake.
pub(crate) fn refuse_high_fee(partial: &Partial) -> Result<(), OfflineError> {
    let (fee, paid) = (partial.fee()?, sum(&partial.transaction().outputs)?);
    if payment::is_high_fee(fee, paid, partial.most_bytes()) {
        return Err(OfflineError::HighFee { fee });
    }
    Ok(())
}

/// The transaction that spends exactly these coins, or `None` where they are not enough.
fn try_with(
    chain: &Chain,
    wish: &Wish,
    coins: &[SpentCoin],
    policies: &[Policy],
) -> Result<Option<Partial>, OfflineError> {
    let total = sum(coins.iter().map(|coin| &coin.output))?;
    let paid = sum(&wish.pays)?;
    let Some(left) = total.checked_sub(paid) else { return Ok(None) };
    let make = |rest: Option<Output>| {
        let outputs = wish.pays.iter().copied().chain(rest).collect();
        let (coins, memo) = (coins.to_vec(), wish.memo.clone());
        let used = policies.iter().filter(|policy| {
            coins.iter().any(|coin| coin.output.lock == Lock::policy(policy.id()))
        });
        let used = used.cloned().collect();
        Partial::new(chain.clone(), wish.not_before, coins, outputs, memo, used)
    };
    let fee = |partial: &Partial| payment::fee_for(partial.most_bytes(), wish.feerate_per_kb);
    let lock = wish.rest_to.unwrap_or(wish.change_to);
    let least = payment::fee_for(CHANGE_BYTES, wish.feerate_per_kb);
    // Whatever is left over stands for the change while its fee is found: sizes do not depend on it.
    if left > Amount::ZERO {
        let drafted = make(Some(Output { value: left, lock }))?;
        if let Some(value) = left.checked_sub(fee(&drafted)).filter(|value| *value > least) {
            return make(Some(Output { value, lock })).map(Some);
        }
    }
    if wish.rest_to.is_some() || wish.pays.is_empty() {
        return Ok(None);
    }
    let without = make(None)?;
    Ok((left >= fee(&without)).then_some(without))
}

fn sum<'a>(outputs: impl IntoIterator<Item = &'a Output>) -> Result<Amount, OfflineError> {
    let values = outputs.into_iter().map(|output| output.value);
    Amount::checked_sum(values).ok_or(OfflineError::Damaged { what: "the amounts" })
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        offline::tests::{chain, coin},
        policy::{self, tests::key},
    };

    /// With the same luck each time.
    fn fund(
        chain: &Chain,
        wish: &Wish,
        coins: Vec<SpentCoin>,
        policies: &[Policy],
    ) -> Result<Partial, OfflineError> {
        super::fund(chain, wish, coins, policies, &mut StdRng::seed_from_u64(1))
    }

    fn wish(grains: &[u64]) -> Wish {
        let pay =
            |value: &u64| Output { value: Amount::from_grains(*value), lock: Lock::key(key(9)) };
        Wish {
            pays: grains.iter().map(pay).collect(),
            rest_to: None,
            change_to: Lock::key(key(8)),
            feerate_per_kb: 1_000,
            not_before: 0,
            memo: Vec::new(),
            allow_high_fee: false,
        }
    }

    fn coins() -> (Vec<SpentCoin>, Vec<Policy>) {
        let policy = policy::multisig(2, vec![key(1), key(2), key(3)]).unwrap();
        let lock = Lock::policy(policy.id());
        let unused = Policy::Key(key(7));
        ((1..=4).map(|number| coin(number, lock)).collect(), vec![unused, policy])
    }

    #[test]
    fn the_fee_covers_the_largest_witness_and_the_rest_comes_back() {
        let (coins, policies) = coins();
        for grains in [&[9_000][..], &[12_000, 5_000], &[35_000]] {
            let partial = fund(&chain(), &wish(grains), coins.clone(), &policies).unwrap();
            let fee = partial.fee().unwrap().grains();
            assert!(fee >= partial.most_bytes(), "{grains:?}");
            let outputs = &partial.transaction().outputs;
            assert!(grains.iter().all(|value| outputs.iter().any(|o| o.value.grains() == *value)));
            let change = outputs.iter().find(|output| output.lock == Lock::key(key(8)));
            assert!(change.is_some() || fee < partial.most_bytes() + 400, "{grains:?} gave {fee}");
        }
        let refused = fund(&chain(), &wish(&[40_000]), coins, &policies);
        assert!(matches!(refused, Err(OfflineError::NotEnough { .. })));
        let refused = fund(&chain(), &wish(&[1]), Vec::new(), &policies);
        assert!(matches!(refused, Err(OfflineError::NotEnough { .. })));
    }

    #[test]
    fn who_gets_the_rest_gets_all_but_the_fee() {
        let (coins, policies) = coins();
        let all = Wish { rest_to: Some(Lock::key(key(5))), ..wish(&[1_000]) };
        let partial = fund(&chain(), &all, coins.clone(), &policies).unwrap();
        assert_eq!(partial.coins().len(), 4);
        let rest = partial.transaction().outputs.last().unwrap();
        assert_eq!(rest.lock, Lock::key(key(5)));
        assert_eq!(rest.value.grains(), 40_000 - 1_000 - partial.most_bytes());
        let dear = Wish { feerate_per_kb: 1_000_000, ..all };
        assert!(matches!(
            fund(&chain(), &dear, coins, &policies),
            Err(OfflineError::NotEnough { .. })
        ));
    }

    #[test]
    fn a_fee_like_a_mistake_is_refused_unless_meant() {
        let (mut coins, policies) = coins();
        coins[0].output.value = Amount::from_grains(1_000_000_000);
        let dear = Wish { feerate_per_kb: 200_000, ..wish(&[10_000]) };
        let refused = fund(&chain(), &dear, coins.clone(), &policies);
        assert!(matches!(refused, Err(OfflineError::HighFee { .. })));
        let meant = Wish { allow_high_fee: true, ..dear };
        assert!(fund(&chain(), &meant, coins, &policies).is_ok());
    }

    #[test]
    fn coins_that_fit_are_spent_without_change_and_no_more_than_fit_in_at_all() {
        let (mut coins, policies) = coins();
        let witness = as_u64(satisfy::most_bytes(&policies[1]));
        let fee = base_bytes(&wish(&[1])) + 2 * INPUT_BYTES + witness;
        for (coin, grains) in coins.iter_mut().zip([900_000, 70_000, 30_000 + fee, 20_000]) {
            coin.output.value = Amount::from_grains(grains);
        }
        let partial = fund(&chain(), &wish(&[100_000]), coins.clone(), &policies).unwrap();
        let spent: Vec<_> = partial.coins().iter().map(|coin| coin.outpoint).collect();
        let pair: BTreeSet<_> = [coins[1].outpoint, coins[2].outpoint].into();
        assert_eq!(spent.into_iter().collect::<BTreeSet<_>>(), pair);
        assert_eq!(
            (partial.transaction().outputs.len(), partial.fee().unwrap().grains()),
            (1, fee)
        );

        let lock = coins[0].output.lock;
        let many: Vec<SpentCoin> = (0..4_000_u16)
            .map(|number| {
                let mut one = coin(1, lock);
                one.outpoint.index = number;
                one
            })
            .collect();
        let all = Wish { rest_to: Some(Lock::key(key(5))), ..wish(&[]) };
        let partial = fund(&chain(), &all, many.clone(), &policies).unwrap();
        assert!((MAX_BYTES - 200..=MAX_BYTES).contains(&partial.most_bytes()));
        let refused = fund(&chain(), &wish(&[30_000_000]), many, &policies);
        assert!(matches!(refused, Err(OfflineError::TooManyCoins)));
    }
}
