//! Policies: trees of conditions that spend a coin (PROTOCOL.md §2).

use crate::{
    codec::{Decode, DecodeError, Encode, Reader},
    hash::{PolicyId, PublicKey},
};

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
        children: Vec<Policy>,
    },
}

impl Policy {
    /// Most children of a threshold.
    pub const MAX_CHILDREN: usize = 16;
    /// Most nodes in a tree, opaque ones counted.
    pub const MAX_NODES: usize = 64;
    /// Depth of the deepest node; the root is at depth 1.
    pub const MAX_DEPTH: usize = 8;

    /// The id under which a lock names this policy (§2). Hiding a child keeps it.
    pub fn id(&self) -> PolicyId {
        todo!()
    }

    /// Whether the tree keeps the limits of §2, so that its encoding decodes.
    pub fn validate(&self) -> Result<(), DecodeError> {
        todo!()
    }
}

impl Encode for Policy {
    fn encode(&self, out: &mut Vec<u8>) {
        todo!()
    }
}

impl Decode for Policy {
    // `after` and `older`: the root can't be opaque, and a threshold holds at least one child.
    const MIN_LEN: usize = 1 + 4;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        todo!()
    }
}
