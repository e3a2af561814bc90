//! What goes in and comes out, as JSON objects.
//!
//! Amounts are whole grains, sizes bytes, times seconds since 1970 unless a name says otherwise.
//! Ids are hex of the reversed bytes; keys, commitments and raw encodings plain hex. Objects
//! that depend on the chain carry the [`Tip`] that they were made at.

pub mod address;
pub mod block;
pub mod chain;
pub mod control;
pub mod event;
pub mod mempool;
pub mod mining;
pub mod network;
pub mod proof;
pub mod text;
pub mod transaction;

pub use address::{
    AddressBalance, AddressHistory, AddressHistoryEntry, AddressMempool, AddressUtxo, AddressUtxos,
    Addresses, ValidatedAddress,
};
pub use block::{
    BlockDetail, BlockHeader, BlockHeaders, BlockName, BlockResult, BlockStats, BlockSummary,
    CoinbaseDetail, HeaderResult,
};
pub use chain::{
    BlockchainInfo, ChainTip, ChainTxStats, IndexInfo, IndexState, PrunedChain, ScannedCoin,
    ScannedCoins, SyncInfo, Tip, TxOut, TxOutSetInfo, VerifiedChain,
};
pub use control::{ClockInfo, ClockSetting, LogFilter, MemoryInfo};
pub use event::{
    AddressConfirmation, AddressEvent, AddressMovement, EventCursor, MempoolAddition, MempoolEvent,
    MempoolRemoval, SyncEvent, TipEvent,
};
pub use mempool::{
    FeeEstimate, MempoolEntry, MempoolEntryDetail, MempoolInfo, MempoolListing, MempoolResult,
    PrioritisedTransactions, SavedMempool, SpendingPrevout, SubmitError, SubmitResult,
    SubmitResults, TestResult,
};
pub use mining::{BlockTemplate, MiningInfo, NextBlock, TemplateRequest, TemplateTransaction};
pub use network::{BannedPeer, InFlight, NetTotals, NetworkInfo, PeerInfo, PeerName};
pub use proof::{MerkleProof, VerifiedProof};
pub use text::{Hex, Text, Verbosity, from_hex, to_hex};
pub use transaction::{
    InputDetail, OutputDetail, Payees, RawTransactionResult, TransactionBody, TransactionDetail,
    TransactionStatus, WitnessDetail,
};
