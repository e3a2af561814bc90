//! Addresses: what they are, what they hold, what was done to them.

use jsonrpsee::proc_macros::rpc;

#[cfg(feature = "server")]
use crate::error::RpcError;
use crate::types::{
    AddressBalance, AddressHistory, AddressMempool, AddressUtxos, Addresses, ValidatedAddress,
};

/// Addresses: what they are, what they hold, what was done to them.
#[cfg_attr(not(feature = "server"), rpc(client))]
#[cfg_attr(feature = "server", rpc(client, server))]
pub trait Addresses {
    /// Whether a text is an address of this chain, and what it says.
    ///
    /// # Parameters
    /// - `address`: the text.
    ///
    /// # Example
    /// ["{address}"]
    #[method(name = "validateaddress")]
    async fn validateaddress(&self, address: String) -> Result<ValidatedAddress, RpcError>;

    /// What addresses hold together: confirmed coins alone.
    ///
    /// # Parameters
    /// - `addresses`: one, or a list of up to 1,000.
    ///
    /// # Errors
    /// - `invalid-address`: one is not of this chain.
    /// - `index-off`: the address index is off.
    /// - `too-many`: over 1,000 addresses, or over 200,000 coins: add up `getaddressutxos`.
    ///
    /// # Example
    /// ["{address}"]
    #[method(name = "getaddressbalance")]
    async fn getaddressbalance(&self, addresses: Addresses) -> Result<AddressBalance, RpcError>;

    /// The unspent coins of addresses, by pages.
    ///
    /// # Parameters
    /// - `addresses`: one, or a list of up to 1,000.
    /// - `cursor`: the `next` of the page before, with the same addresses.
    /// - `limit`: most coins on the page; 1,000 unless given, which is also the most.
    ///
    /// # Errors
    /// - `invalid-address`: one is not of this chain.
    /// - `index-off`: the address index is off.
    /// - `too-many`: over 1,000 addresses.
    ///
    /// # Example
    /// [["{address}", "{payee}"], null, 2]
    #[method(name = "getaddressutxos")]
    async fn getaddressutxos(
        &self,
        addresses: Addresses,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<AddressUtxos, RpcError>;

    /// What confirmed transactions did to addresses, by pages.
    ///
    /// # Parameters
    /// - `addresses`: one, or a list of up to 1,000.
    /// - `cursor`: the `next` of the page before, with the same addresses.
    /// - `limit`: most entries on the page; 1,000 unless given, which is also the most.
    ///
    /// # Errors
    /// - `invalid-address`: one is not of this chain.
    /// - `index-off`: the address index is off.
    /// - `too-many`: over 1,000 addresses.
    ///
    /// # Example
    /// ["{address}"]
    #[method(name = "getaddresshistory")]
    async fn getaddresshistory(
        &self,
        addresses: Addresses,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<AddressHistory, RpcError>;

    /// What waiting transactions do to addresses, in order of entry. All that wait are looked
    /// through: to follow addresses, subscribe to them.
    ///
    /// # Parameters
    /// - `addresses`: one, or a list of up to 1,000.
    ///
    /// # Errors
    /// - `invalid-address`: one is not of this chain.
    /// - `index-off`: the address index is off.
    /// - `too-many`: over 1,000 addresses, or over 10,000 movements.
    ///
    /// # Example
    /// [["{address}", "{payee}"]]
    #[method(name = "getaddressmempool")]
    async fn getaddressmempool(&self, addresses: Addresses) -> Result<AddressMempool, RpcError>;
}
