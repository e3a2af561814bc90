//! Making blocks.

use ashlar_primitives::BlockId;
use jsonrpsee::proc_macros::rpc;

#[cfg(feature = "server")]
use crate::error::RpcError;
use crate::types::{BlockTemplate, MiningInfo, TemplateRequest, Text};

/// Making blocks.
#[cfg_attr(not(feature = "server"), rpc(client))]
#[cfg_attr(feature = "server", rpc(client, server))]
pub trait Mining {
    /// The work of the network and of this node's own miner.
    ///
    /// # Example
    /// []
    #[method(name = "getmininginfo")]
    async fn getmininginfo(&self) -> Result<MiningInfo, RpcError>;

    /// A block that lacks only its proof of work.
    ///
    /// With the `longpollid` of an earlier answer the call waits until there is something better:
    /// a new tip at once; other transactions after five seconds; and a minute at most, since the
    /// time in the header grows old.
    ///
    /// # Parameters
    /// - `template_request`: who is paid, and what was answered before.
    ///
    /// # Errors
    /// - `invalid-address`: not of this chain.
    /// - `warming-up`: the node is catching up, so a block on its tip would be for nothing.
    /// - `tip-ahead`: blocks from the future: one on them would be refused by this clock.
    ///
    /// # Example
    /// [{"address": "{miner}"}]
    #[method(name = "getblocktemplate")]
    async fn getblocktemplate(
        &self,
        template_request: TemplateRequest,
    ) -> Result<BlockTemplate, RpcError>;

    /// Judges a block, connects it where it is best, and sends it to peers. Answers `null` where
    /// it became the tip, `"inconclusive"` where it is kept on a side branch, `"duplicate"` where
    /// it was known, and otherwise the code of the rule that it breaks (PROTOCOL.md §8).
    ///
    /// # Parameters
    /// - `hexdata`: its encoding.
    ///
    /// # Errors
    /// - `malformed`: not hex.
    ///
    /// # Example
    /// ["{new_block}"]
    #[method(name = "submitblock")]
    async fn submitblock(&self, hexdata: String) -> Result<Option<String>, RpcError>;

    /// Mines blocks on this node's tip, for tests and private nets, and answers their ids: fewer
    /// than asked where the tries ran out.
    ///
    /// # Parameters
    /// - `nblocks`: how many, up to 1,000.
    /// - `address`: who is paid.
    /// - `maxtries`: nonces to try in all; 1,000,000 for each block unless given.
    ///
    /// # Errors
    /// - `invalid-address`: not of this chain.
    /// - `tip-ahead`: blocks from the future: one on them would be refused by this clock.
    ///
    /// # Example
    /// [1, "{miner}"]
    #[method(name = "generatetoaddress")]
    async fn generatetoaddress(
        &self,
        nblocks: u32,
        address: String,
        maxtries: Option<u64>,
    ) -> Result<Vec<Text<BlockId>>, RpcError>;

    /// The network's hashes per second, from the work of some blocks and the time between them.
    ///
    /// # Parameters
    /// - `nblocks`: over how many blocks; 120 unless given, or as many as there are.
    /// - `height`: the last of them; the tip unless given.
    ///
    /// # Errors
    /// - `invalid-parameter`: no blocks, or a height above the tip.
    ///
    /// # Example
    /// [2]
    #[method(name = "getnetworkhashps")]
    async fn getnetworkhashps(
        &self,
        nblocks: Option<u32>,
        height: Option<u32>,
    ) -> Result<u64, RpcError>;
}
