//! Witnesses and the policies in them (PROTOCOL.md §2, §3): who must sign, and whether everything
//! but the signatures holds. Nothing here verifies a signature.

use std::collections::BTreeMap;

use ashlar_primitives::{Coin, Lock, Policy, PublicKey, Signature, Witness};
use sha2::{Digest, Sha256};

use crate::{
    error::{TxError, WitnessFault, require},
    signature::Place,
};

/// A lock that a transaction spends from, once however many coins are under it.
struct Owner {
    lock: Lock,
    /// Height of the youngest coin under it: `older` must hold for each, so this one decides.
    youngest: u32,
}

/// The distinct locks of `coins` in order of first appearance (§3).
fn owners(coins: &[Coin]) -> Vec<Owner> {
    // Most transactions spend from one lock alone.
    if let Some((first, rest)) = coins.split_first()
        && rest.iter().all(|coin| coin.output.lock == first.output.lock)
    {
        let youngest = rest.iter().fold(first.height, |height, coin| height.max(coin.height));
        return vec![Owner { lock: first.output.lock, youngest }];
    }
    let mut numbers = BTreeMap::new();
    let mut owners: Vec<Owner> = Vec::new();
    for coin in coins {
        let lock = coin.output.lock;
        let number = *numbers.entry(lock).or_insert(owners.len());
        match owners.get_mut(number) {
            Some(owner) => owner.youngest = owner.youngest.max(coin.height),
            None => owners.push(Owner { lock, youngest: coin.height }),
        }
    }
    owners
}

/// `tx-bad-witness` over all witnesses, as if all signatures were good; returns the signatures
/// that must be, with their places. What is wrong for ever is reported before what is wrong for now
/// (§8), whichever witness it is in.
pub(crate) fn check_witnesses(
    height: u32,
    witnesses: &[Witness],
    coins: &[Coin],
) -> Result<Vec<(Place, PublicKey, Signature)>, TxError> {
    let owners = owners(coins);
    let first_without_partner = owners.len().min(witnesses.len());
    let witness = u16::try_from(first_without_partner).unwrap_or(u16::MAX);
    let wrong_count = TxError::BadWitness { witness, fault: WitnessFault::Count };
    require(owners.len() == witnesses.len(), wrong_count)?;
    let mut claimed = Vec::new();
    let mut not_yet = None;
    for (number, (owner, witness)) in (0..=u16::MAX).zip(owners.iter().zip(witnesses)) {
        match check_witness(height, owner, witness) {
            Ok(signed) => {
                claimed.extend((0..=u16::MAX).zip(signed).map(|(signature, (key, bytes))| {
                    (Place { transaction: 0, witness: number, signature }, key, bytes)
                }))
            }
            Err(fault) => {
                let error = TxError::BadWitness { witness: number, fault };
                if error.is_permanent() {
                    return Err(error);
                }
                not_yet.get_or_insert(error);
            }
        }
    }
    not_yet.map_or(Ok(claimed), Err)
}

fn check_witness(
    height: u32,
    owner: &Owner,
    witness: &Witness,
) -> Result<Vec<(PublicKey, Signature)>, WitnessFault> {
    match (owner.lock.version, witness) {
        (Lock::KEY, Witness::Key { signature }) => {
            Ok(vec![(PublicKey(owner.lock.program), *signature)])
        }
        (Lock::POLICY, Witness::Policy { policy, signatures, preimages }) => {
            require(policy.id().0 == owner.lock.program, WitnessFault::PolicyId)?;
            satisfy(policy, height, owner.youngest, signatures, preimages)
        }
        _ => Err(WitnessFault::Kind),
    }
}

/// Whether a policy is satisfied in a block at `height`, all signatures taken for good (§2);
/// returns which key each of them must verify under. `youngest` is the height of the youngest coin
/// spent with it. [`WitnessFault::NotYet`] only where nothing but an `after` or `older` is missing.
pub fn satisfy(
    policy: &Policy,
    height: u32,
    youngest: u32,
    signatures: &[Signature],
    preimages: &[[u8; 32]],
) -> Result<Vec<(PublicKey, Signature)>, WitnessFault> {
    let mut evaluation = Evaluation {
        height: u64::from(height),
        youngest: u64::from(youngest),
        signatures: signatures.iter(),
        preimages: preimages.iter(),
        signed: Vec::with_capacity(signatures.len().min(Policy::MAX_NODES)),
        too_early: false,
    };
    evaluation.visit(policy)?;
    let left_over = evaluation.signatures.len() > 0 || evaluation.preimages.len() > 0;
    require(!left_over, WitnessFault::Leftovers)?;
    require(!evaluation.too_early, WitnessFault::NotYet)?;
    Ok(evaluation.signed)
}

/// A walk over a policy, depth-first, that uses up signatures and preimages in order.
struct Evaluation<'a> {
    height: u64,
    youngest: u64,
    signatures: core::slice::Iter<'a, Signature>,
    preimages: core::slice::Iter<'a, [u8; 32]>,
    signed: Vec<(PublicKey, Signature)>,
    /// A time condition does not hold; the walk goes on, since a fault for ever may follow.
    too_early: bool,
}

impl Evaluation<'_> {
    /// Recursion is bounded: no policy that decodes is deeper than [`Policy::MAX_DEPTH`].
    fn visit(&mut self, policy: &Policy) -> Result<(), WitnessFault> {
        let holds = match policy {
            Policy::Opaque(_) => false,
            Policy::Key(key) => {
                let signature = self.signatures.next();
                self.signed.extend(signature.map(|signature| (*key, *signature)));
                signature.is_some()
            }
            Policy::Hash(digest) => self
                .preimages
                .next()
                .is_some_and(|preimage| <[u8; 32]>::from(Sha256::digest(preimage)) == *digest),
            Policy::After(height) => {
                self.too_early |= self.height < u64::from(*height);
                true
            }
            Policy::Older(blocks) => {
                self.too_early |= self.height < self.youngest.saturating_add(u64::from(*blocks));
                true
            }
            Policy::Threshold { k, children } => {
                let shown = || children.iter().filter(|child| !matches!(child, Policy::Opaque(_)));
                shown().try_for_each(|child| self.visit(child))?;
                shown().count() == usize::from(*k)
            }
        };
        require(holds, WitnessFault::Unsatisfied)
    }
}
