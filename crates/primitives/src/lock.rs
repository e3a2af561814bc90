//! Locks: who may spend a coin (PROTOCOL.md §2).

use crate::{
    codec::{Decode, DecodeError, Encode, Reader},
    hash::{PolicyId, PublicKey},
};

/// `version u8 ‖ program [32]`. Any version decodes; the rules refuse unknown ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lock {
    /// 0 for a key, 1 for a policy.
    pub version: u8,
    /// The public key or the policy id.
    pub program: [u8; 32],
}

impl Lock {
    /// The version that one signature spends.
    pub const KEY: u8 = 0;
    /// The version that a satisfied policy spends.
    pub const POLICY: u8 = 1;
    /// Length of the encoding in bytes.
    pub const LEN: usize = 33;

    /// The lock of a single owner.
    pub const fn key(key: PublicKey) -> Self {
        Self { version: Self::KEY, program: key.0 }
    }

    /// The lock of a policy.
    pub const fn policy(id: PolicyId) -> Self {
        Self { version: Self::POLICY, program: id.0 }
    }

    /// Whether outputs may carry this version (§2).
    pub const fn is_known(&self) -> bool {
        self.version <= Self::POLICY
    }
}

impl Encode for Lock {
    fn encode(&self, out: &mut Vec<u8>) {
        self.version.encode(out);
        self.program.encode(out);
    }
    fn encoded_len(&self) -> usize {
        Self::LEN
    }
}

impl Decode for Lock {
    const MIN_LEN: usize = Self::LEN;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { version: u8::decode(reader)?, program: reader.array()? })
    }
}
