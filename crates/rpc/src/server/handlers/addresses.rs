//! [`crate::api::addresses`], each method handed to the room that knows its subject.

use jsonrpsee::core::async_trait;

use super::{Answer, Handlers};
use crate::{
    api::AddressesServer,
    server::{address, backend::Backend, watched},
    types::{
        AddressBalance, AddressHistory, AddressMempool, AddressUtxos, Addresses, ValidatedAddress,
    },
};

#[async_trait]
impl<B: Backend> AddressesServer for Handlers<B> {
    async fn validateaddress(&self, address: String) -> Answer<ValidatedAddress> {
        Ok(address::validate(&self.0, &address))
    }

    async fn getaddressbalance(&self, addresses: Addresses) -> Answer<AddressBalance> {
        address::balance(&self.0, addresses).await
    }

    async fn getaddressutxos(
        &self,
        addresses: Addresses,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Answer<AddressUtxos> {
        address::utxos(&self.0, addresses, cursor, limit).await
    }

    async fn getaddresshistory(
        &self,
        addresses: Addresses,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Answer<AddressHistory> {
        address::history(&self.0, addresses, cursor, limit).await
    }

    async fn getaddressmempool(&self, addresses: Addresses) -> Answer<AddressMempool> {
        watched::mempool(&self.0, addresses).await
    }
}
