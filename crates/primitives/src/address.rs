//! Addresses: locks as people write them, in bech32m (PROTOCOL.md §2).

use thiserror::Error;

use crate::lock::Lock;

/// A lock and the prefix of the chain that it is meant for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The chain's `address_prefix`, in lower case.
    pub prefix: String,
    /// Who is paid.
    pub lock: Lock,
}

/// Why text is not an address of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    // variants to be filled in: wrong prefix {expected, got}, checksum, mixed case, length, padding, version …
}

impl Address {
    /// Reads an address of the chain with this prefix.
    pub fn parse(text: &str, prefix: &str) -> Result<Self, AddressError> {
        todo!()
    }
}

impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        todo!()
    }
}
