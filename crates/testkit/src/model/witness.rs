//! Witnesses and policies (PROTOCOL.md §2 and §3), judged as if all signatures were good.

use ashlar_primitives::{
    Coin, Encode as _, Lock, Policy, PolicyId, PublicKey, Signature, Witness,
    hash::{sha256, tagged_hash},
};

use super::Code;

/// What must verify: each signature with its key.
type Signatures = Vec<(PublicKey, Signature)>;

/// One witness for each distinct lock, in order of appearance. Returns what must verify, in order.
///
/// # Errors
/// `tx-bad-witness`.
pub fn check(height: u32, witnesses: &[Witness], spent: &[Coin]) -> Result<Signatures, Code> {
    let mut locks: Vec<Lock> = Vec::new();
    for coin in spent {
        if !locks.contains(&coin.output.lock) {
            locks.push(coin.output.lock);
        }
    }
    let mut claimed = Vec::new();
    let all_satisfied = witnesses.len() == locks.len()
        && locks.iter().zip(witnesses).all(|(lock, witness)| {
            let coins = spent.iter().filter(|coin| coin.output.lock == *lock);
            let youngest = coins.map(|coin| coin.height).max().expect("the lock of some coin");
            satisfies(witness, lock, height, youngest, &mut claimed)
        });
    if all_satisfied { Ok(claimed) } else { Err("tx-bad-witness") }
}

fn satisfies(
    witness: &Witness,
    lock: &Lock,
    height: u32,
    youngest: u32,
    claimed: &mut Signatures,
) -> bool {
    match (lock.version, witness) {
        (0, Witness::Key { signature }) => {
            claimed.push((PublicKey(lock.program), *signature));
            true
        }
        (1, Witness::Policy { policy, signatures, preimages }) => {
            let mut unused = Unused { signatures, preimages };
            policy_id(policy).0 == lock.program
                && is_satisfied(policy, height, youngest, &mut unused, claimed)
                && unused.signatures.is_empty()
                && unused.preimages.is_empty()
        }
        _ => false,
    }
}

/// What no node of the tree took yet.
struct Unused<'a> {
    signatures: &'a [Signature],
    preimages: &'a [[u8; 32]],
}

/// The next one of a list, taken out.
fn take<T: Copy>(unused: &mut &[T]) -> Option<T> {
    let (first, rest) = unused.split_first()?;
    *unused = rest;
    Some(*first)
}

/// Depth first, children in order.
fn is_satisfied(
    policy: &Policy,
    height: u32,
    youngest: u32,
    unused: &mut Unused<'_>,
    claimed: &mut Signatures,
) -> bool {
    match policy {
        Policy::Opaque(_) => false,
        Policy::Key(key) => {
            let signature = take(&mut unused.signatures);
            claimed.extend(signature.map(|signature| (*key, signature)));
            signature.is_some()
        }
        Policy::Hash(digest) => {
            take(&mut unused.preimages).is_some_and(|preimage| sha256(&preimage) == *digest)
        }
        Policy::After(from) => height >= *from,
        Policy::Older(blocks) => u64::from(height) >= u64::from(youngest) + u64::from(*blocks),
        Policy::Threshold { k, children } => {
            let used: Vec<_> =
                children.iter().filter(|child| !matches!(child, Policy::Opaque(_))).collect();
            used.len() == usize::from(*k)
                && used.iter().all(|child| is_satisfied(child, height, youngest, unused, claimed))
        }
    }
}

/// The id of a policy (§2): hiding a child keeps it.
pub fn policy_id(policy: &Policy) -> PolicyId {
    match policy {
        Policy::Opaque(id) => *id,
        Policy::Threshold { k, children } => {
            let count = u8::try_from(children.len()).expect("at most 16 children");
            let mut preimage = vec![5, *k, count];
            for child in children {
                preimage.extend(policy_id(child).0);
            }
            PolicyId(tagged_hash("ashlar/policy", &preimage))
        }
        leaf => PolicyId(tagged_hash("ashlar/policy", &leaf.to_bytes())),
    }
}
