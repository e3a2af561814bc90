//! Policies: their ids, their limits, and who satisfies them.

use ashlar_consensus::{error::WitnessFault, witness::satisfy};
use ashlar_primitives::{
    Amount, Coin, Decode as _, Encode as _, Lock, Output, Policy, PolicyId, PublicKey, Signature,
    Witness,
};
use ashlar_testkit::model::witness as model;
use sha2::{Digest as _, Sha256};

use crate::steer::Steer;

fn preimage(number: u8) -> [u8; 32] {
    [number; 32]
}

fn node(steer: &mut Steer<'_>, depth: usize) -> Policy {
    let kind = steer.byte() % 10;
    match kind {
        0 => Policy::Opaque(PolicyId([steer.byte(); 32])),
        1 => Policy::Key(PublicKey([steer.byte(); 32])),
        2 => Policy::Hash(Sha256::digest(preimage(steer.byte() % 4)).into()),
        3 => Policy::After(steer.edge32()),
        4 => Policy::Older(steer.edge32()),
        _ if depth > 9 || steer.is_done() => Policy::After(0),
        _ => {
            let children: Vec<Policy> = (0..steer.below(4) + usize::from(kind < 9))
                .map(|_| node(steer, depth + 1))
                .collect();
            let shown = children.iter().filter(|c| !matches!(c, Policy::Opaque(_))).count();
            let k = if steer.one_in(8) { steer.byte() } else { u8::try_from(shown).unwrap() };
            Policy::Threshold { k, children }
        }
    }
}

/// What a policy asks for, in order.
#[derive(Default)]
struct Asked {
    keys: Vec<PublicKey>,
    digests: Vec<[u8; 32]>,
    is_met: bool,
    is_too_early: bool,
}

/// All of §2 but the order in which things are used up: first the list of what is asked for, then
/// a comparison with what was given.
fn asked(policy: &Policy, height: u64, youngest: u64, so_far: &mut Asked) {
    match policy {
        Policy::Opaque(_) => so_far.is_met = false,
        Policy::Key(key) => so_far.keys.push(*key),
        Policy::Hash(digest) => so_far.digests.push(*digest),
        Policy::After(at) => so_far.is_too_early |= height < u64::from(*at),
        Policy::Older(blocks) => so_far.is_too_early |= height < youngest + u64::from(*blocks),
        Policy::Threshold { k, children } => {
            let shown = children.iter().filter(|child| !matches!(child, Policy::Opaque(_)));
            let mut count = 0;
            for child in shown {
                count += 1;
                asked(child, height, youngest, so_far);
            }
            so_far.is_met &= count == *k;
        }
    }
}

/// What decodes is what keeps the limits; hiding a branch keeps the id; evaluation agrees with
/// the slow model, and its faults with a list of what the policy asks for.
pub fn policy(data: &[u8]) {
    let mut steer = Steer::new(data);
    let policy = node(&mut steer, 1);
    let bytes = policy.to_bytes();
    let decoded = Policy::from_bytes(&bytes);
    assert_eq!(policy.validate(), decoded.clone().map(drop), "{policy:?}");
    if decoded.is_err() {
        return;
    }
    assert_eq!(decoded.as_ref(), Ok(&policy));
    if let Policy::Threshold { k, children } = &policy {
        let mut hidden = children.clone();
        let place = steer.below(children.len());
        hidden[place] = Policy::Opaque(children[place].id());
        assert_eq!(Policy::Threshold { k: *k, children: hidden }.id(), policy.id());
    }

    let (height, youngest) = (steer.edge32(), steer.edge32());
    let mut want = Asked { is_met: true, ..Asked::default() };
    asked(&policy, height.into(), youngest.into(), &mut want);
    // As many as are wanted and the right ones, but for a slip.
    let signatures = (want.keys.len() + usize::from(steer.one_in(6)))
        .saturating_sub(usize::from(steer.one_in(6)));
    let signatures: Vec<Signature> =
        (0..signatures).map(|number| Signature([u8::try_from(number).unwrap(); 64])).collect();
    let mut preimages: Vec<[u8; 32]> = want
        .digests
        .iter()
        .map(|digest| (0..4).map(preimage).find(|p| Sha256::digest(p)[..] == digest[..]).unwrap())
        .collect();
    match steer.byte() % 8 {
        0 => preimages.push(preimage(0)),
        1 => drop(preimages.pop()),
        2 => preimages.reverse(),
        _ => {}
    }
    let hashes = preimages.iter().map(|preimage| <[u8; 32]>::from(Sha256::digest(preimage)));
    let hashes: Vec<_> = hashes.collect();

    let found = satisfy(&policy, height, youngest, &signatures, &preimages);
    assert_eq!(policy.id(), model::policy_id(&policy));
    let output = Output { value: Amount::from_grains(1), lock: Lock::policy(policy.id()) };
    let coin = Coin { output, height: youngest, is_coinbase: false };
    let witness = Witness::Policy {
        policy: policy.clone(),
        signatures: signatures.clone(),
        preimages: preimages.clone(),
    };
    assert_eq!(found.clone().ok(), model::check(height, &[witness], &[coin]).ok());
    let enough = signatures.len() >= want.keys.len() && hashes.starts_with(&want.digests);
    let left_over = signatures.len() > want.keys.len() || preimages.len() > want.digests.len();
    if !want.is_met || !enough {
        assert_eq!(found, Err(WitnessFault::Unsatisfied));
    } else if left_over {
        assert_eq!(found, Err(WitnessFault::Leftovers));
    } else if want.is_too_early {
        assert_eq!(found, Err(WitnessFault::NotYet));
    } else {
        let signed: Vec<_> = want.keys.into_iter().zip(signatures).collect();
        assert_eq!(found, Ok(signed));
    }
}
