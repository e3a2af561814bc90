//! Coins and how they are opened: keys, and policies of every kind.

use ashlar_consensus::transaction::sighash;
use ashlar_primitives::{
    Amount, BlockId, Encode as _, Lock, OutPoint, Output, Policy, PolicyId, Signature, Transaction,
    Witness, hash::sha256, keys::SecretKey,
};
use rand::RngExt;

use crate::random::Random;

/// What opens hash locks here.
const PREIMAGE: [u8; 32] = [5; 32];
/// The age that some coins must have, in blocks.
const AGE_BLOCKS: u32 = 2;

/// How a lock is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// By a signature.
    Key,
    /// By satisfying a policy with one signature in it.
    Policy {
        /// What is shown.
        policy: Policy,
        /// What is shown with it.
        preimages: Vec<[u8; 32]>,
        /// The age that the coin must have.
        blocks: u32,
    },
}

impl Opening {
    /// The age that the coin must have, in blocks.
    pub const fn blocks(&self) -> u32 {
        match self {
            Self::Key => 0,
            Self::Policy { blocks, .. } => *blocks,
        }
    }

    fn witness(&self, signature: Signature) -> Witness {
        match self {
            Self::Key => Witness::Key { signature },
            Self::Policy { policy, preimages, .. } => Witness::Policy {
                policy: policy.clone(),
                signatures: vec![signature],
                preimages: preimages.clone(),
            },
        }
    }
}

/// A coin that its owner can spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it is.
    pub output: Output,
    /// How.
    pub opening: Opening,
    /// Whether it had to have an age.
    pub is_aged: bool,
}

/// Every lock that a key opens here: the key's own, a policy with a hash, one with an age, one of
/// which a branch stays hidden.
pub fn openings(key: &SecretKey) -> Vec<(Lock, Opening)> {
    let own = || Policy::Key(key.public_key());
    let both = |other| Policy::Threshold { k: 2, children: vec![own(), other] };
    let either = |other| Policy::Threshold { k: 1, children: vec![own(), other] };
    let policies = [
        (both(Policy::Hash(sha256(&PREIMAGE))), vec![PREIMAGE], 0),
        (both(Policy::Older(AGE_BLOCKS)), Vec::new(), AGE_BLOCKS),
        (both(Policy::After(1)), Vec::new(), 0),
        (either(Policy::Opaque(PolicyId([9; 32]))), Vec::new(), 0),
    ];
    let mut locks = vec![(Lock::key(key.public_key()), Opening::Key)];
    locks.extend(policies.into_iter().map(|(policy, preimages, blocks)| {
        (Lock::policy(policy.id()), Opening::Policy { policy, preimages, blocks })
    }));
    locks
}

/// Pays a random part of the coins to `payee`, in so many equal outputs, the rest back to the key. `None`: there are none,
/// or they do not cover the fee.
pub fn spend(
    chain_id: &BlockId,
    key: &SecretKey,
    coins: &[Owned],
    (payee, count): (Lock, u64),
    feerate: u64,
    random: &mut Random,
) -> Option<Transaction> {
    let spent: Vec<Output> = coins.iter().map(|coin| coin.output).collect();
    let total = Amount::checked_sum(spent.iter().map(|output| output.value))?;
    let to = |lock, grains| Output { value: Amount::from_grains(grains), lock };
    let back = Lock::key(key.public_key());
    let mut transaction = Transaction {
        not_before: 0,
        inputs: coins.iter().map(|coin| coin.outpoint).collect(),
        outputs: outputs(to(payee, 1), count, to(back, 1)),
        memo: Vec::new(),
        witnesses: witnesses(coins, Signature::ZERO),
    };
    // Neither amounts nor signatures change the size.
    let fee = Amount::from_grains(feerate * transaction.encoded_len() as u64);
    let rest = total.checked_sub(fee)?.grains();
    if rest <= count {
        return None;
    }
    let paid = random.random_range(count..rest) / count;
    transaction.outputs = outputs(to(payee, paid), count, to(back, rest - paid * count));
    let digest = sighash(chain_id, &transaction.txid(), &spent);
    transaction.witnesses = witnesses(coins, key.sign(&digest));
    Some(transaction)
}

fn outputs(paid: Output, count: u64, back: Output) -> Vec<Output> {
    (0..count).map(|_| paid).chain([back]).collect()
}

/// One for each lock, in the order in which the coins first name it.
fn witnesses(coins: &[Owned], signature: Signature) -> Vec<Witness> {
    let mut seen = Vec::new();
    let mut witnesses = Vec::new();
    for coin in coins {
        if !seen.contains(&coin.output.lock) {
            seen.push(coin.output.lock);
            witnesses.push(coin.opening.witness(signature));
        }
    }
    witnesses
}
