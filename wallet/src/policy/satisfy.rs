//! From a policy and what is at hand to the cheapest witness: branches that are not used stay
//! hidden (PROTOCOL.md §2), which is both smaller and nobody's business.

use std::collections::BTreeMap;

use ashlar_primitives::{Encode, Policy, PublicKey, Signature, Witness, hash::sha256};

/// What there is to satisfy a policy with.
#[derive(Clone, Debug)]
pub(crate) struct AtHand<'a> {
    pub(crate) signatures: &'a BTreeMap<PublicKey, Signature>,
    /// By their digests.
    pub(crate) preimages: &'a BTreeMap<[u8; 32], [u8; 32]>,
    /// A height at which the transaction may surely stand.
    pub(crate) height: u32,
    /// The height of the youngest coin under the policy; `None` where one waits or is unknown.
    pub(crate) youngest: Option<u32>,
}

/// A way to satisfy a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    policy: Policy,
    signatures: Vec<Signature>,
    preimages: Vec<[u8; 32]>,
}

impl Way {
    const fn leaf(policy: Policy) -> Self {
        Self { policy, signatures: Vec::new(), preimages: Vec::new() }
    }

    /// Bytes of the witness.
    fn len_bytes(&self) -> usize {
        self.clone().into_witness().encoded_len()
    }

    /// As it stands in a transaction.
    pub(crate) fn into_witness(self) -> Witness {
        let Self { policy, signatures, preimages } = self;
        Witness::Policy { policy, signatures, preimages }
    }

    /// Exactly these children of `all` shown, the others hidden.
    fn threshold(k: u8, all: &[Policy], mut shown: BTreeMap<usize, Self>) -> Self {
        let mut way = Self::leaf(Policy::Threshold { k, children: Vec::new() });
        let mut children = Vec::with_capacity(all.len());
        for (place, child) in all.iter().enumerate() {
            match shown.remove(&place) {
                Some(below) => {
                    children.push(below.policy);
                    way.signatures.extend(below.signatures);
                    way.preimages.extend(below.preimages);
                }
                None => children.push(Policy::Opaque(child.id())),
            }
        }
        way.policy = Policy::Threshold { k, children };
        way
    }
}

/// The smallest witness that `at_hand` gives, or `None` where something is missing.
pub(crate) fn cheapest(policy: &Policy, at_hand: &AtHand<'_>) -> Option<Way> {
    walk(policy, &|leaf| at_hand.leaf(leaf), false)
}

/// Bytes of the largest witness that may come to satisfy a policy: what a fee must reckon with
/// before it is known who will sign.
pub(crate) fn most_bytes(policy: &Policy) -> usize {
    let any = |leaf: &Policy| {
        let mut way = Way::leaf(leaf.clone());
        match leaf {
            Policy::Opaque(_) => return None,
            Policy::Key(_) => way.signatures.push(Signature::ZERO),
            Policy::Hash(_) => way.preimages.push([0; 32]),
            _ => {}
        }
        Some(way)
    };
    walk(policy, &any, true).map_or(0, |way| way.len_bytes())
}

/// Depth first; of the children that `leaf` satisfies the `k` smallest, or largest. Among equals
/// the first. Recursion is bounded by [`Policy::MAX_DEPTH`].
fn walk(policy: &Policy, leaf: &dyn Fn(&Policy) -> Option<Way>, largest: bool) -> Option<Way> {
    let Policy::Threshold { k, children } = policy else { return leaf(policy) };
    let mut ways: Vec<(usize, Way)> = children
        .iter()
        .enumerate()
        .filter_map(|(place, child)| Some((place, walk(child, leaf, largest)?)))
        .collect();
    ways.sort_by_key(|(_, way)| way.len_bytes());
    if largest {
        ways.reverse();
    }
    ways.truncate(usize::from(*k));
    let enough = ways.len() == usize::from(*k);
    enough.then(|| Way::threshold(*k, children, ways.into_iter().collect()))
}

impl AtHand<'_> {
    /// Whether a leaf holds, with what makes it hold.
    pub(crate) fn leaf(&self, leaf: &Policy) -> Option<Way> {
        let mut way = Way::leaf(leaf.clone());
        match leaf {
            Policy::Key(key) => way.signatures.push(*self.signatures.get(key)?),
            Policy::Hash(digest) => way.preimages.push(*self.preimages.get(digest)?),
            Policy::After(height) if self.height < *height => return None,
            Policy::Older(blocks) => {
                let due = u64::from(self.youngest?).saturating_add(u64::from(*blocks));
                if u64::from(self.height) < due {
                    return None;
                }
            }
            Policy::Opaque(_) | Policy::Threshold { .. } => return None,
            Policy::After(_) => {}
        }
        Some(way)
    }
}

/// The keys of a tree, in order, each once.
pub(crate) fn keys(policy: &Policy) -> Vec<PublicKey> {
    let mut keys = Vec::new();
    visit(policy, &mut |leaf| match leaf {
        Policy::Key(key) if !keys.contains(key) => keys.push(*key),
        _ => {}
    });
    keys
}

/// Whether a preimage is asked for anywhere in a tree.
pub(crate) fn asks_for(policy: &Policy, preimage: &[u8; 32]) -> bool {
    let digest = sha256(preimage);
    let mut asks = false;
    visit(policy, &mut |leaf| asks |= *leaf == Policy::Hash(digest));
    asks
}

fn visit(policy: &Policy, see: &mut dyn FnMut(&Policy)) {
    see(policy);
    if let Policy::Threshold { children, .. } = policy {
        for child in children {
            visit(child, see);
        }
    }
}

#[cfg(test)]
mod tests {
    use ashlar_consensus::witness::satisfy;
    use ashlar_primitives::keys::SecretKey;

    use super::*;
    use crate::policy;

    fn key(number: u8) -> PublicKey {
        SecretKey::from_bytes(&[number; 32]).public_key()
    }

    fn signed(numbers: &[u8]) -> BTreeMap<PublicKey, Signature> {
        numbers.iter().map(|&number| (key(number), Signature([number; 64]))).collect()
    }

    /// Tries with these signatures and preimages at a height, the coins at height 100; what comes
    /// out is judged by the rules.
    fn attempt(policy: &Policy, keys: &[u8], preimages: &[[u8; 32]], height: u32) -> Option<Way> {
        let (signatures, preimages) =
            (signed(keys), preimages.iter().map(|p| (sha256(p), *p)).collect());
        let at_hand =
            AtHand { signatures: &signatures, preimages: &preimages, height, youngest: Some(100) };
        let way = cheapest(policy, &at_hand)?;
        assert_eq!(way.policy.id(), policy.id(), "hiding keeps the id");
        satisfy(&way.policy, height, 100, &way.signatures, &way.preimages).unwrap();
        assert!(way.len_bytes() <= most_bytes(policy), "no witness is dearer than foreseen");
        Some(way)
    }

    #[test]
    fn any_two_of_three_sign_and_the_third_stays_hidden() {
        let policy = policy::multisig(2, vec![key(1), key(2), key(3)]).unwrap();
        for pair in [[1, 2], [1, 3], [2, 3]] {
            let way = attempt(&policy, &pair, &[], 0).unwrap();
            assert_eq!(way.signatures.len(), 2);
        }
        assert_eq!(attempt(&policy, &[1], &[], 0), None);
        let all = attempt(&policy, &[1, 2, 3], &[], 0).unwrap();
        assert_eq!(all.signatures.len(), 2, "one more than needed would be left over");
    }

    #[test]
    fn a_swap_is_claimed_with_the_preimage_or_refunded_in_time() {
        let secret = [9; 32];
        let policy = policy::htlc(key(1), key(2), sha256(&secret), Policy::After(500)).unwrap();
        let claim = attempt(&policy, &[1], &[secret], 0).unwrap();
        assert_eq!(claim.preimages, [secret]);
        assert!(attempt(&policy, &[2], &[], 500).unwrap().preimages.is_empty());
        assert_eq!(attempt(&policy, &[2], &[], 499), None, "too early");
        assert_eq!(attempt(&policy, &[1], &[], 500), None, "the claimer has no refund");
        assert_eq!(attempt(&policy, &[2], &[secret], 499), None, "nor the other the claim");
        assert_eq!(attempt(&policy, &[], &[secret], 500), None, "nobody without a key");
    }

    #[test]
    fn waiting_counts_from_the_youngest_coin() {
        let policy = policy::timelock(key(1), Policy::Older(10)).unwrap();
        assert!(attempt(&policy, &[1], &[], 110).is_some());
        assert_eq!(attempt(&policy, &[1], &[], 109), None);
        let signatures = signed(&[1]);
        let preimages = BTreeMap::new();
        let unknown = AtHand {
            signatures: &signatures,
            preimages: &preimages,
            height: u32::MAX,
            youngest: None,
        };
        assert_eq!(cheapest(&policy, &unknown), None);
    }

    #[test]
    fn the_smallest_way_is_chosen_and_the_largest_foreseen() {
        let cheap = Policy::Key(key(1));
        let dear = policy::multisig(3, vec![key(1), key(2), key(3)]).unwrap();
        let either = Policy::Threshold { k: 1, children: vec![dear, cheap] };
        let way = attempt(&either, &[1, 2, 3], &[], 0).unwrap();
        assert_eq!(way.signatures.len(), 1);
        let way = most_bytes(&either);
        assert!(way > 3 * 64, "{way}");
    }
}
