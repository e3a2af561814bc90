//! The chain: headers, blocks, branches, the set of coins.

use ashlar_primitives::{BlockId, Txid};
use jsonrpsee::proc_macros::rpc;

#[cfg(feature = "server")]
use crate::error::RpcError;
use crate::types::{
    Addresses, BlockHeaders, BlockName, BlockResult, BlockStats, BlockchainInfo, ChainTip,
    ChainTxStats, HeaderResult, IndexInfo, MerkleProof, PrunedChain, ScannedCoins, Text, Tip,
    TxOut, TxOutSetInfo, Verbosity, VerifiedChain, VerifiedProof,
};

/// The chain: headers, blocks, branches, the set of coins.
#[cfg_attr(not(feature = "server"), rpc(client))]
#[cfg_attr(feature = "server", rpc(client, server))]
pub trait Chain {
    /// The chain, its tip and its parameters, and whether this node has caught up.
    ///
    /// # Example
    /// []
    #[method(name = "getblockchaininfo")]
    async fn getblockchaininfo(&self) -> Result<BlockchainInfo, RpcError>;

    /// The height of the best block.
    ///
    /// # Example
    /// []
    #[method(name = "getblockcount")]
    async fn getblockcount(&self) -> Result<u32, RpcError>;

    /// The id of the best block.
    ///
    /// # Example
    /// []
    #[method(name = "getbestblockhash")]
    async fn getbestblockhash(&self) -> Result<Text<BlockId>, RpcError>;

    /// The id of the block at a height of the best chain.
    ///
    /// # Parameters
    /// - `height`: from 0 to the tip's.
    ///
    /// # Errors
    /// - `invalid-parameter`: the height is above the tip.
    ///
    /// # Example
    /// [2]
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
    ///
    /// # Example
    /// ["{block}"]
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
    ///
    /// # Example
    /// ["{block}", 1]
    #[method(name = "getblock")]
    async fn getblock(
        &self,
        blockhash: Text<BlockId>,
        verbosity: Option<Verbosity>,
    ) -> Result<BlockResult, RpcError>;

    /// The ends of all known branches, the best chain's among them.
    ///
    /// # Example
    /// []
    #[method(name = "getchaintips")]
    async fn getchaintips(&self) -> Result<Vec<ChainTip>, RpcError>;

    /// An unspent coin; `null` where there is none.
    ///
    /// # Parameters
    /// - `txid`: the transaction, or coinbase, that made it.
    /// - `n`: which of its outputs.
    /// - `include_mempool`: `true` (default) to count waiting transactions: a coin that one of
    ///   them spends is gone, a coin that one of them makes is there.
    ///
    /// # Example
    /// ["{txid}", 0]
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
    ///
    /// # Example
    /// ["{block}"]
    #[method(name = "acceptreorg")]
    async fn acceptreorg(&self, blockhash: Text<BlockId>) -> Result<Tip, RpcError>;

    /// Headers of the best chain, one after the other: what a program that checks proofs of work
    /// itself reads.
    ///
    /// # Parameters
    /// - `start`: the height of the first.
    /// - `count`: how many, 1 to 2,000; fewer are answered where the chain ends.
    /// - `verbose`: `false` (default) for the 80 bytes of each in hex, `true` for objects.
    ///
    /// # Errors
    /// - `invalid-parameter`: `start` is above the tip.
    ///
    /// # Example
    /// [0, 2]
    #[method(name = "getblockheaders")]
    async fn getblockheaders(
        &self,
        start: u32,
        count: u32,
        verbose: Option<bool>,
    ) -> Result<BlockHeaders, RpcError>;

    /// What a block holds, counted: sizes, amounts, fees. Fees are told where the coins that the
    /// block spent are still known: of blocks that were once connected, and are kept.
    ///
    /// # Parameters
    /// - `hash_or_height`: a block's id, or a height of the best chain.
    ///
    /// # Errors
    /// - `not-found`: no such block is known, or its body never came.
    /// - `pruned`: its body is no longer kept.
    ///
    /// # Example
    /// [2]
    #[method(name = "getblockstats")]
    async fn getblockstats(&self, hash_or_height: BlockName) -> Result<BlockStats, RpcError>;

    /// How many transactions were confirmed over some blocks, and how fast. (Bitcoin Core's
    /// `txcount`, the number since genesis, is not kept.)
    ///
    /// # Parameters
    /// - `nblocks`: how many blocks, up to 1,000; 144 unless given, or as many as there are.
    /// - `blockhash`: the last of them; the tip unless given.
    ///
    /// # Errors
    /// - `not-found`: no such block is known, or it is not on the best chain.
    /// - `pruned`: bodies of these blocks are no longer kept.
    ///
    /// # Example
    /// [2]
    #[method(name = "getchaintxstats")]
    async fn getchaintxstats(
        &self,
        nblocks: Option<u32>,
        blockhash: Option<Text<BlockId>>,
    ) -> Result<ChainTxStats, RpcError>;

    /// The set of unspent coins as a whole. At once: its commitment, count and total are kept with
    /// the chain.
    ///
    /// # Example
    /// []
    #[method(name = "gettxoutsetinfo")]
    async fn gettxoutsetinfo(&self) -> Result<TxOutSetInfo, RpcError>;

    /// Looks through all unspent coins for those of addresses, by pages: for nodes without the
    /// address index. (Bitcoin Core's takes an action and descriptors.)
    ///
    /// # Parameters
    /// - `addresses`: one, or a list of up to 1,000.
    /// - `cursor`: the `next` of the page before, with the same addresses.
    ///
    /// # Errors
    /// - `invalid-address`: one is not of this chain.
    /// - `too-many`: over 1,000 addresses.
    ///
    /// # Example
    /// [["{address}", "{payee}"]]
    #[method(name = "scantxoutset")]
    async fn scantxoutset(
        &self,
        addresses: Addresses,
        cursor: Option<String>,
    ) -> Result<ScannedCoins, RpcError>;

    /// Proof that a block holds a transaction or coinbase: what leads from its encoding to the
    /// merkle root in the block's header.
    ///
    /// # Parameters
    /// - `txid`: its id.
    /// - `blockhash`: the block; unless given, it is found by the transaction index.
    ///
    /// # Errors
    /// - `not-found`: no such transaction, or not in that block.
    /// - `index-off`: no block was named, and the transaction index is off.
    /// - `pruned`: the body of its block is no longer kept.
    ///
    /// # Example
    /// ["{txid}"]
    #[method(name = "getmerkleproof")]
    async fn getmerkleproof(
        &self,
        txid: Text<Txid>,
        blockhash: Option<Text<BlockId>>,
    ) -> Result<MerkleProof, RpcError>;

    /// Checks a proof of `getmerkleproof`, and where its block stands on this node's chain.
    ///
    /// # Parameters
    /// - `proof`: as it was answered; `tip` and `tip_height` may be left out.
    ///
    /// # Errors
    /// - `bad-proof`: it does not prove what it says.
    /// - `not-found`: its block is not known here.
    ///
    /// # Example
    /// [{proof}]
    #[method(name = "verifymerkleproof")]
    async fn verifymerkleproof(&self, proof: MerkleProof) -> Result<VerifiedProof, RpcError>;

    /// Waits until the best chain is so high, or until the time is over, and answers the tip then.
    ///
    /// # Parameters
    /// - `height`: to wait for.
    /// - `timeout`: longest wait, in milliseconds, up to 100,000, which is also what is meant by 0
    ///   and by nothing.
    ///
    /// # Example
    /// [3, 1000]
    #[method(name = "waitforblockheight")]
    async fn waitforblockheight(&self, height: u32, timeout: Option<u64>) -> Result<Tip, RpcError>;

    /// Compares what is stored: all headers with the rules, the coins with the commitment, and the
    /// newest blocks undone in memory. Changes nothing; works on the state of the moment while the
    /// node goes on. `ashlar-node check --full`, on a node that is stopped, goes deeper.
    ///
    /// # Parameters
    /// - `nblocks`: blocks to undo; 6 unless given, up to 1,000.
    ///
    /// # Errors
    /// - `timed-out`: it took longer than calls may; run `ashlar-node check`.
    ///
    /// # Example
    /// [3]
    #[method(name = "verifychain")]
    async fn verifychain(&self, nblocks: Option<u32>) -> Result<VerifiedChain, RpcError>;

    /// Gives up the blocks below a height now, on a node that prunes; the newest of two days are
    /// kept whatever is said. Answers where history starts then.
    ///
    /// # Parameters
    /// - `height`: the lowest block to keep.
    ///
    /// # Errors
    /// - `not-pruning`: the node keeps all blocks.
    /// - `invalid-parameter`: the height is above the tip.
    ///
    /// # Example
    /// [1]
    #[method(name = "pruneblockchain")]
    async fn pruneblockchain(&self, height: u32) -> Result<PrunedChain, RpcError>;

    /// Takes a block, and all on it, for invalid until `reconsiderblock`, also after a restart.
    /// Answers the tip, once it moved as far as it goes.
    ///
    /// # Parameters
    /// - `blockhash`: the block's id.
    ///
    /// # Errors
    /// - `not-found`: no such block is known.
    /// - `pruned`: the block is of the chain, and can't be undone any more.
    ///
    /// # Example
    /// ["{tip}"]
    #[method(name = "invalidateblock")]
    async fn invalidateblock(&self, blockhash: Text<BlockId>) -> Result<Tip, RpcError>;

    /// Forgets that a block was taken for invalid, by order or by the rules, with what is below
    /// and on it: it is judged again where it matters. Answers the tip, once it moved as far as it
    /// goes.
    ///
    /// # Parameters
    /// - `blockhash`: the block's id.
    ///
    /// # Errors
    /// - `not-found`: no such block is known.
    ///
    /// # Example
    /// ["{tip}"]
    #[method(name = "reconsiderblock")]
    async fn reconsiderblock(&self, blockhash: Text<BlockId>) -> Result<Tip, RpcError>;

    /// The indexes, and how far they are.
    ///
    /// # Example
    /// []
    #[method(name = "getindexinfo")]
    async fn getindexinfo(&self) -> Result<IndexInfo, RpcError>;
}
