//! The chain: headers, blocks, branches, the set of coins.

use ashlar_primitives::{BlockId, Txid};
use jsonrpsee::proc_macros::rpc;

#[cfg(feature = "server")]
use crate::error::RpcError;
use crate::types::{
    BlockResult, BlockchainInfo, ChainTip, HeaderResult, Text, Tip, TxOut, Verbosity,
};

/// The chain: headers, blocks, branches, the set of coins.
#[cfg_attr(not(feature = "server"), rpc(client))]
#[cfg_attr(feature = "server", rpc(client, server))]
pub trait Chain {
    /// The chain, its tip and its parameters, and whether this node has caught up.
    #[method(name = "getblockchaininfo")]
    async fn getblockchaininfo(&self) -> Result<BlockchainInfo, RpcError>;

    /// The height of the best block.
    #[method(name = "getblockcount")]
    async fn getblockcount(&self) -> Result<u32, RpcError>;

    /// The id of the best block.
    #[method(name = "getbestblockhash")]
    async fn getbestblockhash(&self) -> Result<Text<BlockId>, RpcError>;

    /// The id of the block at a height of the best chain.
    ///
    /// # Parameters
    /// - `height`: from 0 to the tip's.
    ///
    /// # Errors
    /// - `invalid-parameter`: the height is above the tip.
    #[method(name = "getblockhash")]
    async fn getblockhash(&self, height: u32) -> Result<Text<BlockId>, RpcError>;

    /// A block's header, on any branch that this node knows.
    ///
    /// # Parameters
    /// - `blockhash`: the block's id.
    /// - `verbose`: `true` (default) for an object, `false` for the 80 bytes in hex.
    ///
    /// # Errors
    /// - `not-found`: no such block is known.
    #[method(name = "getblockheader")]
    async fn getblockheader(
        &self,
        blockhash: Text<BlockId>,
        verbose: Option<bool>,
    ) -> Result<HeaderResult, RpcError>;

    /// A block, on any branch that this node holds.
    ///
    /// # Parameters
    /// - `blockhash`: the block's id.
    /// - `verbosity`: 0 for the encoding in hex, 1 (default) for an object with ids, 2 for one
    ///   with whole transactions.
    ///
    /// # Errors
    /// - `not-found`: no such block is known, or its body never came.
    /// - `pruned`: its body is no longer kept.
    #[method(name = "getblock")]
    async fn getblock(
        &self,
        blockhash: Text<BlockId>,
        verbosity: Option<Verbosity>,
    ) -> Result<BlockResult, RpcError>;

    /// The ends of all known branches, the best chain's among them.
    #[method(name = "getchaintips")]
    async fn getchaintips(&self) -> Result<Vec<ChainTip>, RpcError>;

    /// An unspent coin; `null` where there is none.
    ///
    /// # Parameters
    /// - `txid`: the transaction, or coinbase, that made it.
    /// - `n`: which of its outputs.
    /// - `include_mempool`: `true` (default) to count waiting transactions: a coin that one of
    ///   them spends is gone, a coin that one of them makes is there.
    #[method(name = "gettxout")]
    async fn gettxout(
        &self,
        txid: Text<Txid>,
        n: u16,
        include_mempool: Option<bool>,
    ) -> Result<Option<TxOut>, RpcError>;

    /// Goes over to a branch that is held back because it leaves the chain deeper than
    /// `reorg.hold`. Answers the tip, once it moved as far as it goes: what is missing of the
    /// branch is fetched then, and where it turns out invalid the node goes back.
    ///
    /// # Parameters
    /// - `blockhash`: a block of the branch, as `getblockchaininfo` names its tip in `warnings`.
    ///
    /// # Errors
    /// - `not-found`: no such block is known.
    /// - `not-held`: the block is of no branch that is held back.
    #[method(name = "acceptreorg")]
    async fn acceptreorg(&self, blockhash: Text<BlockId>) -> Result<Tip, RpcError>;
}
