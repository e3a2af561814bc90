//! Transactions: finding, reading, making and sending them.

use ashlar_primitives::{BlockId, Txid};
use jsonrpsee::proc_macros::rpc;

#[cfg(feature = "server")]
use crate::error::RpcError;
use crate::types::{
    Hex, InputDetail, Payees, RawTransactionResult, SubmitResults, TestResult, Text,
    TransactionDetail, TransactionStatus, Verbosity,
};

/// Transactions: finding, reading, making and sending them.
#[cfg_attr(not(feature = "server"), rpc(client))]
#[cfg_attr(feature = "server", rpc(client, server))]
pub trait Transactions {
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
    ///
    /// # Example
    /// ["{txid}", 1]
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
    ///
    /// # Example
    /// ["{waiting}"]
    #[method(name = "gettransaction")]
    async fn gettransaction(&self, txid: Text<Txid>) -> Result<TransactionStatus, RpcError>;

    /// A transaction without signatures. Which coins exist is not looked at, nor what is left over,
    /// which is the fee.
    ///
    /// # Parameters
    /// - `inputs`: the coins to spend.
    /// - `outputs`: amounts in grains by address: an object, or a list of objects, in whose order
    ///   the outputs stand and where an address may come twice.
    /// - `not_before`: the first height at which it may stand in a block; 0 if left out. (The
    ///   `locktime` of Bitcoin Core.)
    /// - `memo`: the payer's own bytes, in hex.
    ///
    /// # Errors
    /// - `invalid-address`: one is not of this chain.
    /// - any transaction code of PROTOCOL.md §8 that needs no coins: it could never be valid.
    ///
    /// # Example
    /// [[{"txid": "{txid}", "vout": 0}], {"{address}": 250000}]
    #[method(name = "createrawtransaction")]
    async fn createrawtransaction(
        &self,
        inputs: Vec<InputDetail>,
        outputs: Payees,
        not_before: Option<u32>,
        memo: Option<Hex>,
    ) -> Result<Hex, RpcError>;

    /// An encoded transaction, decoded. Whether it is valid is `testmempoolaccept`'s business.
    ///
    /// # Parameters
    /// - `hexstring`: its encoding.
    ///
    /// # Errors
    /// - `tx-malformed`: it does not decode.
    ///
    /// # Example
    /// ["{payment}"]
    #[method(name = "decoderawtransaction")]
    async fn decoderawtransaction(&self, hexstring: String) -> Result<TransactionDetail, RpcError>;

    /// Puts a transaction into the mempool and sends it to peers. Answers its id. One that waits
    /// already is no error.
    ///
    /// # Parameters
    /// - `hexstring`: its encoding.
    ///
    /// # Errors
    /// - any transaction code of PROTOCOL.md §8 and §13: it is refused.
    ///
    /// # Example
    /// ["{payment}"]
    #[method(name = "sendrawtransaction")]
    async fn sendrawtransaction(&self, hexstring: String) -> Result<Text<Txid>, RpcError>;

    /// The same for many at once, with a result for each; parents stand before children.
    ///
    /// # Parameters
    /// - `hexstrings`: up to 1,000 encodings.
    ///
    /// # Errors
    /// - `too-many`: more than 1,000.
    ///
    /// # Example
    /// [["{payment}"]]
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
    ///
    /// # Example
    /// [["{payment}"]]
    #[method(name = "testmempoolaccept")]
    async fn testmempoolaccept(&self, rawtxs: Vec<String>) -> Result<Vec<TestResult>, RpcError>;
}
