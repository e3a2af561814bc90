//! Every method, once: the server implements these traits, the clients are made from them, and
//! `docs/rpc.md` is their text.
//!
//! Names and meanings are Bitcoin Core's where the thing is the same. Parameters go by position
//! or by name. In each method's text the list under *Parameters* describes every parameter, and
//! the list under *Errors* every error beside those that any call may meet (`invalid-parameter`,
//! `overloaded`, `timed-out`, `stopping`, `internal`).

use ashlar_primitives::{BlockId, Txid};
#[cfg(feature = "server")]
use jsonrpsee::core::SubscriptionResult;
use jsonrpsee::proc_macros::rpc;

#[cfg(feature = "server")]
use crate::error::RpcError;
use crate::types::{
    AddressBalance, AddressHistory, AddressUtxos, Addresses, BannedPeer, BlockResult,
    BlockTemplate, BlockchainInfo, ChainTip, FeeEstimate, HeaderResult, MempoolInfo, MempoolResult,
    MiningInfo, NetworkInfo, PeerInfo, PeerName, RawTransactionResult, SubmitResults,
    TemplateRequest, TestResult, Text, Tip, TipEvent, TransactionEvent, TransactionStatus, TxOut,
    ValidatedAddress, Verbosity,
};

/// The methods.
#[cfg_attr(not(feature = "server"), rpc(client))]
#[cfg_attr(feature = "server", rpc(client, server))]
pub trait Api {
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

    /// A transaction or coinbase, from the mempool, from a named block, or by the index.
    ///
    /// # Parameters
    /// - `txid`: its id.
    /// - `verbosity`: 0 (default) for the encoding in hex, 1 for an object.
    /// - `blockhash`: a block to look into, which needs no index.
    ///
    /// # Errors
    /// - `not-found`: no such transaction, or not in that block.
    /// - `index-off`: it does not wait, no block was named, and the transaction index is off.
    /// - `pruned`: the body of its block is no longer kept.
    #[method(name = "getrawtransaction")]
    async fn getrawtransaction(
        &self,
        txid: Text<Txid>,
        verbosity: Option<Verbosity>,
        blockhash: Option<Text<BlockId>>,
    ) -> Result<RawTransactionResult, RpcError>;

    /// A transaction or coinbase and where it stands. (In Bitcoin Core this asks the wallet; here
    /// it is `getrawtransaction` with verbosity 1.)
    ///
    /// # Parameters
    /// - `txid`: its id.
    ///
    /// # Errors
    /// - `not-found`: no such transaction.
    /// - `index-off`: it does not wait, and the transaction index is off.
    /// - `pruned`: the body of its block is no longer kept.
    #[method(name = "gettransaction")]
    async fn gettransaction(&self, txid: Text<Txid>) -> Result<TransactionStatus, RpcError>;

    /// Puts a transaction into the mempool and sends it to peers. Answers its id. One that waits
    /// already is no error.
    ///
    /// # Parameters
    /// - `hexstring`: its encoding.
    ///
    /// # Errors
    /// - any transaction code of PROTOCOL.md §8 and §13: it is refused.
    #[method(name = "sendrawtransaction")]
    async fn sendrawtransaction(&self, hexstring: String) -> Result<Text<Txid>, RpcError>;

    /// The same for many at once, with a result for each; parents stand before children.
    ///
    /// # Parameters
    /// - `hexstrings`: up to 1,000 encodings.
    ///
    /// # Errors
    /// - `too-many`: more than 1,000.
    #[method(name = "sendrawtransactions")]
    async fn sendrawtransactions(&self, hexstrings: Vec<String>)
    -> Result<SubmitResults, RpcError>;

    /// What `sendrawtransaction` would answer, signatures checked, nothing kept or sent.
    ///
    /// # Parameters
    /// - `rawtxs`: up to 1,000 encodings; a later one may spend an earlier one's outputs.
    ///
    /// # Errors
    /// - `too-many`: more than 1,000.
    #[method(name = "testmempoolaccept")]
    async fn testmempoolaccept(&self, rawtxs: Vec<String>) -> Result<Vec<TestResult>, RpcError>;

    /// The transactions that wait, in order of entry.
    ///
    /// # Parameters
    /// - `verbose`: `false` (default) for ids alone, `true` for entries.
    /// - `after`: the `sequence` of an entry: only later ones.
    /// - `limit`: most to answer; 10,000 unless given, which is also the most.
    #[method(name = "getrawmempool")]
    async fn getrawmempool(
        &self,
        verbose: Option<bool>,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<MempoolResult, RpcError>;

    /// How much waits, and what it takes to get in.
    #[method(name = "getmempoolinfo")]
    async fn getmempoolinfo(&self) -> Result<MempoolInfo, RpcError>;

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

    /// What addresses hold together: confirmed coins alone.
    ///
    /// # Parameters
    /// - `addresses`: one, or a list of up to 1,000.
    ///
    /// # Errors
    /// - `invalid-address`: one is not of this chain.
    /// - `index-off`: the address index is off.
    /// - `too-many`: over 1,000 addresses, or over 200,000 coins: add up `getaddressutxos`.
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
    #[method(name = "getaddresshistory")]
    async fn getaddresshistory(
        &self,
        addresses: Addresses,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<AddressHistory, RpcError>;

    /// Whether a text is an address of this chain, and what it says.
    ///
    /// # Parameters
    /// - `address`: the text.
    #[method(name = "validateaddress")]
    async fn validateaddress(&self, address: String) -> Result<ValidatedAddress, RpcError>;

    /// The feerate to be confirmed within so many blocks. Always answers, and says from what.
    ///
    /// # Parameters
    /// - `conf_target`: blocks to wait, 1 to 1,008.
    #[method(name = "estimatesmartfee")]
    async fn estimatesmartfee(&self, conf_target: u32) -> Result<FeeEstimate, RpcError>;

    /// The connections.
    #[method(name = "getpeerinfo")]
    async fn getpeerinfo(&self) -> Result<Vec<PeerInfo>, RpcError>;

    /// This node in the network.
    #[method(name = "getnetworkinfo")]
    async fn getnetworkinfo(&self) -> Result<NetworkInfo, RpcError>;

    /// Dials a node and keeps dialling it, or no longer.
    ///
    /// # Parameters
    /// - `node`: its multiaddress, `/ip4/192.0.2.1/tcp/9333`, with or without `/p2p/ID`.
    /// - `command`: `"add"` (default), or `"remove"` to no longer dial it; a connection that
    ///   stands is left alone.
    ///
    /// # Errors
    /// - `bad-peer-address`: not an address that can be dialled.
    #[method(name = "addnode")]
    async fn addnode(&self, node: String, command: Option<String>) -> Result<(), RpcError>;

    /// Ends a connection.
    ///
    /// # Parameters
    /// - `address`: its multiaddress, peer id or number, as `getpeerinfo` shows them.
    ///
    /// # Errors
    /// - `not-connected`: there is no such connection.
    #[method(name = "disconnectnode")]
    async fn disconnectnode(&self, address: PeerName) -> Result<(), RpcError>;

    /// Who is kept out, the ban that ends first first. Bans outlive a restart.
    #[method(name = "listbanned")]
    async fn listbanned(&self) -> Result<Vec<BannedPeer>, RpcError>;

    /// Keeps a peer out, closing its connections, or lets it in again.
    ///
    /// # Parameters
    /// - `subnet`: a peer id, an IPv4 address, or an IPv6 address, which stands for its /64.
    /// - `command`: `"add"`, or `"remove"` to lift the ban.
    /// - `bantime`: for how long, in seconds; a day if left out, ten years at most.
    ///
    /// # Errors
    /// - `invalid-parameter`: neither a peer id nor an address, or another command.
    /// - `not-banned`: there is no such ban to lift.
    #[method(name = "setban")]
    async fn setban(
        &self,
        subnet: String,
        command: String,
        bantime: Option<u64>,
    ) -> Result<(), RpcError>;

    /// Lets everybody in again.
    #[method(name = "clearbanned")]
    async fn clearbanned(&self) -> Result<(), RpcError>;

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

    /// The work of the network and of this node's own miner.
    #[method(name = "getmininginfo")]
    async fn getmininginfo(&self) -> Result<MiningInfo, RpcError>;

    /// A block that lacks only its proof of work.
    ///
    /// # Parameters
    /// - `template_request`: who is paid.
    ///
    /// # Errors
    /// - `invalid-address`: not of this chain.
    /// - `warming-up`: the node is catching up, so a block on its tip would be for nothing.
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
    #[method(name = "generatetoaddress")]
    async fn generatetoaddress(
        &self,
        nblocks: u32,
        address: String,
        maxtries: Option<u64>,
    ) -> Result<Vec<Text<BlockId>>, RpcError>;

    /// Stands the node's clock still, on a node with a development clock.
    ///
    /// # Parameters
    /// - `timestamp`: seconds since 1970; 0 lets the clock run again.
    ///
    /// # Errors
    /// - `real-clock`: the node has no development clock.
    #[method(name = "setmocktime")]
    async fn setmocktime(&self, timestamp: u64) -> Result<(), RpcError>;

    /// Copies the data directory of this running node: chain, genesis file and configuration, not
    /// the node's identity and password. Answers the tip that the copy stands at, or stood at when
    /// it was begun: it may hold newer blocks. It appears at its place whole and synced, or not at
    /// all, and is a data directory.
    ///
    /// # Parameters
    /// - `directory`: an absolute path on the node's machine, where nothing may be yet.
    ///
    /// # Errors
    /// - `invalid-parameter`: the path is not absolute, or something is there.
    /// - `backup-failed`: the disk or the database refused.
    #[method(name = "backup")]
    async fn backup(&self, directory: String) -> Result<Tip, RpcError>;

    /// Ends the node.
    #[method(name = "stop")]
    async fn stop(&self) -> Result<String, RpcError>;
}

/// Over WebSocket alone. A subscriber that takes nothing for 5 s while events wait is cut off: its
/// last message holds, in place of a result, the error `too-slow`.
#[cfg_attr(not(feature = "server"), rpc(client))]
#[cfg_attr(feature = "server", rpc(client, server))]
pub trait Subscriptions {
    /// Every change of the tip, with the blocks that left and joined the best chain. The first
    /// message names the tip of that moment.
    #[subscription(
        name = "subscribetips" => "tip",
        unsubscribe = "unsubscribetips",
        item = TipEvent
    )]
    async fn subscribetips(&self) -> SubscriptionResult;

    /// Every transaction that enters the mempool.
    #[subscription(
        name = "subscribetransactions" => "transaction",
        unsubscribe = "unsubscribetransactions",
        item = TransactionEvent
    )]
    async fn subscribetransactions(&self) -> SubscriptionResult;
}
