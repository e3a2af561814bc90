//! [`crate::api::network`], each method handed to the room that knows its subject.

use jsonrpsee::core::async_trait;

use super::{Answer, Handlers};
use crate::{
    api::NetworkServer,
    server::{backend::Backend, network},
    types::{BannedPeer, NetTotals, NetworkInfo, PeerInfo, PeerName},
};

#[async_trait]
impl<B: Backend> NetworkServer for Handlers<B> {
    async fn getpeerinfo(&self) -> Answer<Vec<PeerInfo>> {
        network::peers(&self.0).await
    }

    async fn getnetworkinfo(&self) -> Answer<NetworkInfo> {
        network::info(&self.0).await
    }

    async fn getnettotals(&self) -> Answer<NetTotals> {
        network::totals(&self.0).await
    }

    async fn addnode(&self, node: String, command: Option<String>) -> Answer<()> {
        network::add_node(&self.0, node, command.as_deref()).await
    }

    async fn disconnectnode(&self, address: PeerName) -> Answer<()> {
        network::disconnect(&self.0, &address).await
    }

    async fn listbanned(&self) -> Answer<Vec<BannedPeer>> {
        Ok(self.0.backend.bans().await?)
    }

    async fn setban(&self, subnet: String, command: String, bantime: Option<u64>) -> Answer<()> {
        network::set_ban(&self.0, subnet, &command, bantime).await
    }

    async fn clearbanned(&self) -> Answer<()> {
        Ok(self.0.backend.clear_bans().await?)
    }
}
