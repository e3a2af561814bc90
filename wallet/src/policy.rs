//! Policies: coins that more than one signature spends (PROTOCOL.md §2).
//!
//! Reading order: this file (which policies the wallet makes, and which it refuses), [`terms`]
//! (how they are written), [`satisfy`] (how they are spent), [`book`] (those that are watched).

pub(crate) mod book;
pub(crate) mod satisfy;
pub(crate) mod terms;

use std::path::PathBuf;

use ashlar_primitives::{AddressError, DecodeError, Policy, PublicKey};
use thiserror::Error;

use crate::exchange::FileError;

/// Why there is no such policy.
#[derive(Debug, Error)]
pub(crate) enum PolicyError {
    #[error(
        "{text:?} is no key: give the address of one of its owner's keys, or 64 hex digits ({error})"
    )]
    NotAKey { text: String, error: AddressError },
    #[error("{text} is the address of a policy; a key is needed, as `address --new` makes one")]
    AddressOfAPolicy { text: String },
    #[error("{text} is a key under which nobody, or everybody, can sign; don't trust its sender")]
    UnsoundKey { text: String },
    #[error("{text:?} is no digest: it has 64 hex digits, as `policy secret` prints it")]
    NotADigest { text: String },
    #[error("{text:?} is no policy id: it has 64 lower-case hex digits")]
    NotAnId { text: String },
    #[error("the policy is outside the limits of the protocol: {0}")]
    Limits(DecodeError),
    #[error("the same key stands twice: {key}; then fewer people decide than it seems")]
    RepeatedKey { key: PublicKey },
    #[error(
        "this policy can be spent without any signature, by whoever sees the preimage or waits; \
         put a key beside each `hash`, `after` and `older`"
    )]
    AnyonesMoney,
    #[error("this policy can't be spent by anyone: too much of it is hidden")]
    Unspendable,
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path} holds the policies of another chain, or of a newer wallet")]
    OtherBook { path: PathBuf },
    #[error("the label {label:?} is taken by another policy; choose another with --label")]
    LabelTaken { label: String },
    #[error("a label is 1 to {most} letters, digits, dashes or underscores, unlike {label:?}")]
    BadLabel { label: String, most: usize },
    #[error("this wallet watches no policy {name:?}; `policy list` shows those that it does")]
    Unknown { name: String },
    #[error("{path} was changed: the policy {label} has not the address that stands beside it")]
    OtherAddress { path: PathBuf, label: String },
    #[error("this wallet watches {most} policies already; use another wallet")]
    TooMany { most: usize },
}

/// `k` of these keys. Their order does not matter: everybody who lists them gets the same address.
pub(crate) fn multisig(k: u8, mut keys: Vec<PublicKey>) -> Result<Policy, PolicyError> {
    keys.sort_unstable();
    if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(PolicyError::RepeatedKey { key: pair[0] });
    }
    let children = keys.into_iter().map(Policy::Key).collect();
    check(Policy::Threshold { k, children })
}

/// This key, once `time` (an `after` or `older`) has come.
pub(crate) fn timelock(key: PublicKey, time: Policy) -> Result<Policy, PolicyError> {
    check(all(vec![Policy::Key(key), time]))
}

/// `claim` with the preimage of `digest`, or `refund` once `time` has come: one half of a swap.
pub(crate) fn htlc(
    claim: PublicKey,
    refund: PublicKey,
    digest: [u8; 32],
    time: Policy,
) -> Result<Policy, PolicyError> {
    if claim == refund {
        return Err(PolicyError::RepeatedKey { key: claim });
    }
    let claim = all(vec![Policy::Key(claim), Policy::Hash(digest)]);
    let refund = all(vec![Policy::Key(refund), time]);
    check(Policy::Threshold { k: 1, children: vec![claim, refund] })
}

fn all(children: Vec<Policy>) -> Policy {
    let k = u8::try_from(children.len()).unwrap_or(u8::MAX);
    Policy::Threshold { k, children }
}

/// Refuses what is outside the limits, what nobody can spend, and what anyone could: a `hash` that
/// a preimage alone satisfies is spent by whoever sees the preimage on its way into a block.
pub(crate) fn check(policy: Policy) -> Result<Policy, PolicyError> {
    policy.validate().map_err(PolicyError::Limits)?;
    if satisfy::most_bytes(&policy) == 0 {
        return Err(PolicyError::Unspendable);
    }
    if !needs_a_signature(&policy) {
        return Err(PolicyError::AnyonesMoney);
    }
    Ok(policy)
}

/// Whether each way to satisfy a policy takes a signature. A hidden branch is taken at its worst,
/// since what it hides may be a lone `hash` of whoever sent it.
fn needs_a_signature(policy: &Policy) -> bool {
    match policy {
        Policy::Key(_) => true,
        Policy::Opaque(_) | Policy::Hash(_) | Policy::After(_) | Policy::Older(_) => false,
        Policy::Threshold { k, children } => {
            let without = children.iter().filter(|child| !needs_a_signature(child)).count();
            without < usize::from(*k)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ashlar_primitives::{Lock, keys::SecretKey};

    use super::{terms::Terms, *};

    pub(crate) fn key(number: u8) -> PublicKey {
        SecretKey::from_bytes(&[number; 32]).public_key()
    }

    #[test]
    fn the_order_of_keys_does_not_matter_but_none_stands_twice() {
        let one = multisig(2, vec![key(1), key(2), key(3)]).unwrap();
        assert_eq!(multisig(2, vec![key(3), key(1), key(2)]).unwrap().id(), one.id());
        let twice = multisig(2, vec![key(1), key(2), key(1)]);
        assert!(matches!(twice, Err(PolicyError::RepeatedKey { .. })));
        for (k, keys) in [(0, 2), (3, 2), (1, 17)] {
            let keys = (1..=keys).map(key).collect();
            assert!(matches!(multisig(k, keys), Err(PolicyError::Limits(_))), "{k}");
        }
    }

    #[test]
    fn money_that_anyone_could_take_is_refused() {
        let lone = |children| check(Policy::Threshold { k: 1, children });
        let hash = Policy::Hash([7; 32]);
        let refused = [
            check(hash.clone()),
            check(Policy::After(5)),
            lone(vec![Policy::Key(key(1)), hash.clone()]),
            lone(vec![Policy::Key(key(1)), all(vec![hash.clone(), Policy::Older(5)])]),
            lone(vec![Policy::Key(key(1)), Policy::Opaque(hash.id())]),
        ];
        for policy in refused {
            assert!(matches!(policy, Err(PolicyError::AnyonesMoney)), "{policy:?}");
        }
        let hidden = Policy::Threshold {
            k: 2,
            children: vec![Policy::Key(key(1)), Policy::Opaque(hash.id())],
        };
        assert!(matches!(check(hidden), Err(PolicyError::Unspendable)));
        assert!(htlc(key(1), key(2), [7; 32], Policy::After(5)).is_ok());
    }

    #[test]
    fn what_is_written_reads_back_and_a_mistyped_key_does_not() {
        let policy = htlc(key(1), key(2), [7; 32], Policy::Older(144)).unwrap();
        let text = serde_json::to_string(&Terms::of(&policy, "ash")).unwrap();
        let read = |text: &str| serde_json::from_str::<Terms>(text).unwrap().policy("ash");
        assert_eq!(read(&text).unwrap(), policy);
        let address = terms::key_text(&key(1), "ash");
        assert_eq!(terms::parse_key(&address, "ash").unwrap(), key(1));
        assert_eq!(terms::parse_key(&key(1).to_string(), "ash").unwrap(), key(1));
        let mistyped = text.replacen(&address[..8], "ash1qqqq", 1);
        assert!(matches!(read(&mistyped), Err(PolicyError::NotAKey { .. })));
        assert!(matches!(read(r#"{"hash":"12"}"#), Err(PolicyError::NotADigest { .. })));
        assert!(matches!(
            terms::parse_key(&format!("01{}", "0".repeat(62)), "ash"),
            Err(PolicyError::UnsoundKey { .. })
        ));
        let other = ashlar_primitives::Address::new("ash", Lock::policy(policy.id())).unwrap();
        assert!(matches!(
            terms::parse_key(&other.to_string(), "ash"),
            Err(PolicyError::AddressOfAPolicy { .. })
        ));
        assert!(serde_json::from_str::<Terms>(r#"{"kee":"12"}"#).is_err());
        assert!(serde_json::from_str::<Terms>(&"[".repeat(100_000)).is_err());
    }
}
