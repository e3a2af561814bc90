//! Who owns coins in generated chains: a few keys and policies, and how each of them signs.

use std::{collections::BTreeMap, sync::LazyLock};

use ashlar_primitives::{
    Amount, BlockId, Coin, Lock, OutPoint, Output, Policy, PublicKey, Signature, Transaction,
    Witness, hash::sha256, keys::SecretKey,
};
use imbl::OrdMap;
use rand::{Rng as _, RngExt as _, seq::SliceRandom as _};

use super::Random;
use crate::{
    builder,
    model::{body::sum, state, witness::policy_id},
};

/// The same eight keys in every chain: making them would cost more than using them.
static KEYS: LazyLock<Vec<(PublicKey, SecretKey)>> = LazyLock::new(|| {
    let key = |number| (builder::key(number).public_key(), builder::key(number));
    (0..8).map(key).collect()
});

/// Policies of one chain.
const POLICIES: usize = 5;
/// A tree that is drawn is at most so deep, except a chain of thresholds down to the limit.
const DRAWN_DEPTH: usize = 3;
/// Once there are more coins than this, payments gather them.
const MANY_COINS: usize = 32;

fn draw_key(random: &mut Random) -> PublicKey {
    KEYS[random.random_range(0..KEYS.len())].0
}

fn sign(key: &PublicKey, digest: &ashlar_primitives::SigHash) -> Signature {
    let (_, secret) = KEYS.iter().find(|(public, _)| public == key).expect("one of the keys");
    secret.sign(digest)
}

fn draw_policy(random: &mut Random, depth: usize) -> Policy {
    match random.random_range(0..if depth < DRAWN_DEPTH { 6 } else { 4 }) {
        0 => Policy::Key(draw_key(random)),
        1 => Policy::Hash(sha256(&[random.random_range(0..4); 32])),
        2 => Policy::After(random.random_range(0..40)),
        3 => Policy::Older(random.random_range(0..6)),
        _ => {
            let children: Vec<Policy> =
                (0..random.random_range(1..=4)).map(|_| draw_policy(random, depth + 1)).collect();
            let k = random.random_range(1..=u8::try_from(children.len()).expect("at most 4"));
            Policy::Threshold { k, children }
        }
    }
}

/// How a lock is opened: a witness without its signatures.
#[derive(Clone, Debug)]
pub enum Way {
    /// By this key's signature.
    Key(PublicKey),
    /// By a tree, the keys that sign for it in order, and preimages.
    Policy {
        /// With what is not used hidden.
        tree: Policy,
        /// In the order of the tree.
        keys: Vec<PublicKey>,
        /// In the order of the tree.
        preimages: Vec<[u8; 32]>,
    },
}

/// A transaction that is not yet signed.
#[derive(Clone, Debug)]
pub struct Payment {
    /// Without witnesses.
    pub body: Transaction,
    /// In the order of its inputs.
    pub spent: Vec<Coin>,
    /// One for each distinct lock, in order of appearance.
    pub ways: Vec<Way>,
}

impl Payment {
    /// With its witnesses.
    pub fn sign(&self, chain_id: &BlockId) -> Transaction {
        let digest = state::digest(chain_id, &self.body, &self.spent);
        let witness = |way: &Way| match way {
            Way::Key(key) => Witness::Key { signature: sign(key, &digest) },
            Way::Policy { tree, keys, preimages } => Witness::Policy {
                policy: tree.clone(),
                signatures: keys.iter().map(|key| sign(key, &digest)).collect(),
                preimages: preimages.clone(),
            },
        };
        Transaction { witnesses: self.ways.iter().map(witness).collect(), ..self.body.clone() }
    }
}

/// The owners of one chain's coins.
#[derive(Clone, Debug)]
pub struct Wallet {
    policies: BTreeMap<Lock, Policy>,
}

/// A tree with one choice made at each threshold.
struct Chosen {
    tree: Policy,
    keys: Vec<PublicKey>,
    preimages: Vec<[u8; 32]>,
}

impl Wallet {
    /// Draws policies: some trees, and a leaf at the bottom of the deepest chain of thresholds.
    pub fn draw(random: &mut Random) -> Self {
        let mut trees: Vec<Policy> = (1..POLICIES).map(|_| draw_policy(random, 1)).collect();
        let leaf = draw_policy(random, DRAWN_DEPTH);
        let over = |child, _| Policy::Threshold { k: 1, children: vec![child] };
        trees.push((1..Policy::MAX_DEPTH).fold(leaf, over));
        let named = |tree: Policy| (Lock::policy(policy_id(&tree)), tree);
        Self { policies: trees.into_iter().map(named).collect() }
    }

    /// Of any owner.
    pub fn draw_lock(&self, random: &mut Random) -> Lock {
        let place = random.random_range(0..2 * POLICIES);
        let policy = self.policies.keys().nth(place).copied();
        policy.unwrap_or_else(|| Lock::key(draw_key(random)))
    }

    /// Every lock that coins may be under.
    pub fn locks(&self) -> Vec<Lock> {
        let keys = KEYS.iter().map(|(public, _)| Lock::key(*public));
        keys.chain(self.policies.keys().copied()).collect()
    }

    /// How a lock is opened at a height, its youngest coin being of height `youngest`.
    fn way(&self, random: &mut Random, lock: &Lock, height: u32, youngest: u32) -> Option<Way> {
        let Some(policy) = self.policies.get(lock) else {
            let is_ours = |(key, _): &&(PublicKey, SecretKey)| key.0 == lock.program;
            return KEYS.iter().find(is_ours).map(|(key, _)| Way::Key(*key));
        };
        let Chosen { tree, keys, preimages } = choose(random, policy, height, youngest)?;
        Some(Way::Policy { tree, keys, preimages })
    }

    /// A valid payment in a block of this height, from some of `coins`.
    pub fn pay(
        &self,
        random: &mut Random,
        height: u32,
        maturity: u32,
        coins: &OrdMap<OutPoint, Coin>,
    ) -> Option<Payment> {
        let is_mature =
            |coin: &Coin| !coin.is_coinbase || height >= coin.height.saturating_add(maturity);
        let mut chosen: Vec<(OutPoint, Coin)> = coins
            .iter()
            .filter(|(_, coin)| is_mature(coin))
            .map(|(at, coin)| (*at, *coin))
            .collect();
        chosen.shuffle(random);
        let is_gathering = coins.len() > MANY_COINS;
        chosen.truncate(if is_gathering { 8 } else { random.random_range(1..=3) });

        let mut ways: BTreeMap<Lock, Way> = BTreeMap::new();
        for lock in chosen.iter().map(|(_, coin)| coin.output.lock).collect::<Vec<_>>() {
            let same = chosen.iter().filter(|(_, coin)| coin.output.lock == lock);
            let youngest = same.map(|(_, coin)| coin.height).max()?;
            if let Some(way) = self.way(random, &lock, height, youngest) {
                ways.insert(lock, way);
            }
        }
        chosen.retain(|(_, coin)| ways.contains_key(&coin.output.lock));
        let (inputs, spent): (Vec<_>, Vec<Coin>) = chosen.into_iter().unzip();
        let mut in_order = Vec::new();
        for coin in &spent {
            in_order.extend(ways.remove(&coin.output.lock));
        }
        let total = u64::try_from(sum(spent.iter().map(|coin| &coin.output))).expect("in range");
        let body = Transaction {
            not_before: if random.random_bool(0.2) { random.random_range(0..=height) } else { 0 },
            inputs,
            outputs: self.split(random, total, if is_gathering { 1 } else { 3 }),
            memo: draw_memo(random),
            witnesses: Vec::new(),
        };
        (total > 0).then_some(Payment { body, spent, ways: in_order })
    }

    /// A sum in up to `most` outputs, less a small fee.
    fn split(&self, random: &mut Random, total: u64, most: usize) -> Vec<Output> {
        let mut left = total - random.random_range(0..=1_000).min(total.saturating_sub(1));
        let mut outputs = Vec::new();
        for _ in 1..random.random_range(1..=most) {
            let part = random.random_range(0..=left / 2);
            if part > 0 {
                outputs.push(builder::output(self.draw_lock(random), part));
                left -= part;
            }
        }
        outputs.push(Output { value: Amount::from_grains(left), lock: self.draw_lock(random) });
        outputs
    }
}

fn draw_memo(random: &mut Random) -> Vec<u8> {
    let length = match random.random_range(0..20) {
        0 => 256,
        1..=5 => random.random_range(1..32),
        _ => 0,
    };
    let mut memo = vec![0; length];
    random.fill_bytes(&mut memo);
    memo
}

/// One of the ways to satisfy a tree, where there is one; what it does not use is hidden.
fn choose(random: &mut Random, policy: &Policy, height: u32, youngest: u32) -> Option<Chosen> {
    let leaf = |keys, preimages| Some(Chosen { tree: policy.clone(), keys, preimages });
    match policy {
        Policy::Key(key) => leaf(vec![*key], vec![]),
        Policy::Hash(digest) => {
            let preimage = (0..4).map(|byte| [byte; 32]).find(|bytes| sha256(bytes) == *digest)?;
            leaf(vec![], vec![preimage])
        }
        Policy::After(from) => (height >= *from).then(|| leaf(vec![], vec![]))?,
        Policy::Older(blocks) => (height >= youngest + blocks).then(|| leaf(vec![], vec![]))?,
        Policy::Opaque(_) => None,
        Policy::Threshold { k, children } => {
            let mut found: Vec<Option<Chosen>> =
                children.iter().map(|child| choose(random, child, height, youngest)).collect();
            let mut possible: Vec<usize> =
                (0..found.len()).filter(|place| found[*place].is_some()).collect();
            possible.shuffle(random);
            let used = possible.get(..usize::from(*k))?;
            let mut all = Chosen { tree: policy.clone(), keys: vec![], preimages: vec![] };
            let mut trees = Vec::new();
            for (place, child) in children.iter().enumerate() {
                match found[place].take().filter(|_| used.contains(&place)) {
                    None => trees.push(Policy::Opaque(policy_id(child))),
                    Some(chosen) => {
                        trees.push(chosen.tree);
                        all.keys.extend(chosen.keys);
                        all.preimages.extend(chosen.preimages);
                    }
                }
            }
            all.tree = Policy::Threshold { k: *k, children: trees };
            Some(all)
        }
    }
}
