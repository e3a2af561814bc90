//! Policies: trees of conditions that spend a coin (PROTOCOL.md §2).

use crate::{
    codec::{Decode, DecodeError, Encode, Reader},
    hash::{PolicyId, PublicKey, Tag},
};

/// Of the ids of policies (§2).
static ID: Tag = Tag::new("ashlar/policy");

/// A tree of conditions. Every value that decodes keeps the limits of §2; a value built by hand
/// may not, and [`Policy::validate`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A hidden branch: only its id is known, and it is never satisfied.
    Opaque(PolicyId),
    /// The next unused signature verifies under this key.
    Key(PublicKey),
    /// SHA-256 of the next unused preimage is this.
    Hash([u8; 32]),
    /// The spending block's height is at least this.
    After(u32),
    /// The spending block is at least so many blocks above the coin's.
    Older(u32),
    /// Exactly `k` children are not opaque, and each of those is satisfied.
    Threshold {
        /// How many children count.
        k: u8,
        /// 1 to 16 of them.
        children: Vec<Self>,
    },
}

impl Policy {
    /// Most children of a threshold.
    pub const MAX_CHILDREN: usize = 16;
    /// Most nodes in a tree, opaque ones counted.
    pub const MAX_NODES: usize = 64;
    /// Depth of the deepest node; the root is at depth 1.
    pub const MAX_DEPTH: usize = 8;

    const OPAQUE: u8 = 0;
    const KEY: u8 = 1;
    const HASH: u8 = 2;
    const AFTER: u8 = 3;
    const OLDER: u8 = 4;
    const THRESHOLD: u8 = 5;

    /// The id under which a lock names this policy (§2). Hiding a child keeps it.
    ///
    /// # Panics
    /// Where a threshold has more than 255 children, which neither decodes nor validates.
    pub fn id(&self) -> PolicyId {
        match self {
            Self::Opaque(id) => *id,
            Self::Threshold { k, children } => {
                let mut preimage = Vec::new();
                put_threshold(&mut preimage, *k, children);
                for child in children {
                    child.id().encode(&mut preimage);
                }
                PolicyId(ID.hash(&[&preimage]))
            }
            leaf => PolicyId(ID.hash(&[&leaf.to_bytes()])),
        }
    }

    /// Whether the tree keeps the limits of §2, so that its encoding decodes.
    ///
    /// # Errors
    /// What the decoder would answer to the encoding.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let mut nodes = Budget::whole_tree();
        self.validate_node(1, &mut nodes)?;
        check_root(self)
    }

    fn validate_node(&self, depth: usize, nodes: &mut Budget) -> Result<(), DecodeError> {
        nodes.enter(depth)?;
        if let Self::Threshold { k, children } = self {
            check_threshold(usize::from(*k), children.len())?;
            for child in children {
                child.validate_node(depth.saturating_add(1), nodes)?;
            }
        }
        Ok(())
    }

    /// Reads one node and what is below it. Recursion ends at [`Policy::MAX_DEPTH`], whatever
    /// the input, because `enter` refuses deeper nodes before their first byte is read.
    fn decode_node(
        reader: &mut Reader<'_>,
        depth: usize,
        nodes: &mut Budget,
    ) -> Result<Self, DecodeError> {
        nodes.enter(depth)?;
        Ok(match u8::decode(reader)? {
            Self::OPAQUE => Self::Opaque(PolicyId::decode(reader)?),
            Self::KEY => Self::Key(PublicKey::decode(reader)?),
            Self::HASH => Self::Hash(reader.array()?),
            Self::AFTER => Self::After(u32::decode(reader)?),
            Self::OLDER => Self::Older(u32::decode(reader)?),
            Self::THRESHOLD => {
                let k = u8::decode(reader)?;
                let n = usize::from(u8::decode(reader)?);
                check_threshold(usize::from(k), n)?;
                // Exactly so many, at most 16: a collected list sets aside room for four at least, so
                // that thresholds of one child would cost forty times their bytes.
                let mut children = Vec::with_capacity(n);
                for _ in 0..n {
                    children.push(Self::decode_node(reader, depth.saturating_add(1), nodes)?);
                }
                Self::Threshold { k, children }
            }
            tag => return Err(DecodeError::UnknownTag { what: "policy", tag }),
        })
    }
}

/// How many nodes a tree may still have.
struct Budget(usize);

impl Budget {
    const fn whole_tree() -> Self {
        Self(Policy::MAX_NODES)
    }

    /// Counts a node at `depth`.
    const fn enter(&mut self, depth: usize) -> Result<(), DecodeError> {
        if depth > Policy::MAX_DEPTH {
            return Err(DecodeError::OverLimit { what: "policy depth" });
        }
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(DecodeError::OverLimit { what: "policy nodes" }),
        }
    }
}

/// `1 ≤ k ≤ n ≤ 16`.
const fn check_threshold(k: usize, n: usize) -> Result<(), DecodeError> {
    if n > Policy::MAX_CHILDREN {
        return Err(DecodeError::OverLimit { what: "policy children" });
    }
    if k == 0 || k > n {
        return Err(DecodeError::NotCanonical { what: "policy threshold" });
    }
    Ok(())
}

/// A tree that is nothing but hidden could never be spent, so it is not a policy.
const fn check_root(root: &Policy) -> Result<(), DecodeError> {
    match root {
        Policy::Opaque(_) => Err(DecodeError::NotCanonical { what: "policy root" }),
        _ => Ok(()),
    }
}

/// Appends what encoding and id of a threshold have in common: all but the children.
#[expect(clippy::expect_used, reason = "a threshold without an encoding is a bug of its builder")]
fn put_threshold(out: &mut Vec<u8>, k: u8, children: &[Policy]) {
    Policy::THRESHOLD.encode(out);
    k.encode(out);
    u8::try_from(children.len()).expect("a threshold has at most 16 children").encode(out);
}

impl Encode for Policy {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opaque(id) => {
                Self::OPAQUE.encode(out);
                id.encode(out);
            }
            Self::Key(key) => {
                Self::KEY.encode(out);
                key.encode(out);
            }
            Self::Hash(digest) => {
                Self::HASH.encode(out);
                digest.encode(out);
            }
            Self::After(height) => {
                Self::AFTER.encode(out);
                height.encode(out);
            }
            Self::Older(blocks) => {
                Self::OLDER.encode(out);
                blocks.encode(out);
            }
            Self::Threshold { k, children } => {
                put_threshold(out, *k, children);
                for child in children {
                    child.encode(out);
                }
            }
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Opaque(_) | Self::Key(_) | Self::Hash(_) => 1 + 32,
            Self::After(_) | Self::Older(_) => 1 + 4,
            Self::Threshold { children, .. } => {
                children.iter().map(Self::encoded_len).fold(1 + 1 + 1, usize::saturating_add)
            }
        }
    }
}

impl Decode for Policy {
    // `after` and `older`: the root can't be opaque, and a threshold holds at least one child.
    const MIN_LEN: usize = 1 + 4;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let policy = Self::decode_node(reader, 1, &mut Budget::whole_tree())?;
        check_root(&policy)?;
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Policy {
        (1..depth)
            .fold(Policy::After(7), |child, _| Policy::Threshold { k: 1, children: vec![child] })
    }

    fn wide(children: usize) -> Policy {
        Policy::Threshold { k: 1, children: vec![Policy::Older(1); children] }
    }

    #[test]
    fn hiding_a_child_keeps_the_id() {
        let tree = Policy::Threshold { k: 2, children: vec![nested(3), wide(4), wide(2)] };
        let Policy::Threshold { children, .. } = &tree else { unreachable!() };
        for (place, child) in children.iter().enumerate() {
            let mut hidden = children.clone();
            hidden[place] = Policy::Opaque(child.id());
            assert_eq!(Policy::Threshold { k: 2, children: hidden }.id(), tree.id());
        }
        assert_ne!(Policy::Threshold { k: 1, children: children.clone() }.id(), tree.id());
    }
}
