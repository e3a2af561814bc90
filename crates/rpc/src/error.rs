//! Why a call has no result: Bitcoin Core's number, a stable code, and what to do.
//!
//! Every error reaches the caller as a JSON-RPC error object whose `data` is an [`ErrorData`].
//! Programs branch on `data.code`, which never changes its meaning; the number is the coarser
//! one that tools made for Bitcoin Core know; the message and the hint are for people.

use jsonrpsee::types::{ErrorObject, ErrorObjectOwned};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{scope::Scope, types::Tip};

/// What stands in `data` of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorData {
    /// The stable code.
    pub code: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Of `rate-limited`: after how many milliseconds to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The tip that the call was answered at, where it looked at the chain.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub at: Option<Tip>,
}

/// One variant for each cause. The first words of each variant's text here are its stable code
/// and its number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RpcError {
    /// `invalid-parameter` −8: a parameter is missing, of the wrong type or out of range.
    #[error("invalid parameter {name}: {reason}")]
    InvalidParameter {
        /// Which one.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// `too-many` −8: a list is longer than one call may bring, or an answer would be longer
    /// than one call may give.
    #[error("at most {max} {what} in one call")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// `invalid-address` −5: the text is not an address of this chain.
    #[error("invalid address {address}: {reason}")]
    InvalidAddress {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `not-found` −5: there is nothing by that id.
    #[error("no such {what}: {id}")]
    NotFound {
        /// Block, transaction …
        what: &'static str,
        /// As given.
        id: String,
    },
    /// `pruned` −1: the block is known, but this node no longer holds its body, or can't undo it.
    #[error(
        "block {id} is below what this node keeps: its history starts at block {history_start}"
    )]
    Pruned {
        /// The block.
        id: String,
        /// The lowest block that is kept.
        history_start: u32,
    },
    /// `not-found` −5: there is no such thing in the part of the chain that this pruned node keeps.
    #[error("no such {what} from block {history_start} on, where this node's history starts: {id}")]
    NotKept {
        /// Transaction …
        what: &'static str,
        /// As given.
        id: String,
        /// The lowest block that is kept.
        history_start: u32,
    },
    /// `index-off` −1: the question needs an index that this node does not keep.
    #[error("the {index} index is off")]
    IndexOff {
        /// Which one.
        index: &'static str,
    },
    /// the rule's own code, −22 (does not decode), −25 (spends what is not there), −27 (is here
    /// already) or −26 (all else): a transaction or block is refused by a rule (PROTOCOL.md §8)
    /// or policy (§13).
    #[error("{code}: {reason}")]
    Refused {
        /// The rule's or policy's.
        code: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// `warming-up` −28: the node is still catching up with the chain.
    #[error("this node is catching up: at block {height} of {target}")]
    WarmingUp {
        /// Its tip.
        height: u32,
        /// The best header that it knows.
        target: u32,
    },
    /// `tip-ahead` −1: a block on the tip must have a time that this clock does not accept yet.
    #[error("a block on the tip must be later than this clock may go: wait {wait_seconds} s")]
    TipAhead {
        /// How long.
        wait_seconds: u64,
    },
    /// `overloaded` −32009: the node has too much to do.
    #[error("the node is too busy")]
    Overloaded,
    /// `timed-out` −32002: the call ran longer than calls may.
    #[error("the call took longer than {limit_ms} ms")]
    TimedOut {
        /// The limit.
        limit_ms: u64,
    },
    /// `stopping` −28: the node ends.
    #[error("the node is stopping")]
    Stopping,
    /// `real-clock` −1: only the clock of a node with a development clock can be set.
    #[error("the clock of this node can't be set")]
    RealClock,
    /// `backup-failed` −1: the disk or the database refused; nothing is left of the try.
    #[error("the backup failed: {reason}")]
    BackupFailed {
        /// In their words.
        reason: String,
    },
    /// `priorities-full` −8: no more transactions can be prioritised.
    #[error("{max} transactions have a priority, and no more can")]
    PrioritiesFull {
        /// The bound.
        max: usize,
    },
    /// `mempool-loading` −28: what waited in the last run is still being loaded.
    #[error("what waited in the last run is still being loaded")]
    MempoolLoading,
    /// `save-failed` −1: the disk refused what waits; an older file is as it was.
    #[error("what waits can't be saved: {reason}")]
    SaveFailed {
        /// In its words.
        reason: String,
    },
    /// `bad-peer-address` −30: not an address that the node can dial.
    #[error("can't dial {address}: {reason}")]
    BadPeerAddress {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `not-connected` −29: no connection goes by that name.
    #[error("not connected to {who}")]
    NotConnected {
        /// As given.
        who: String,
    },
    /// `not-banned` −30: there is no such ban to lift.
    #[error("{who} is not banned")]
    NotBanned {
        /// As given.
        who: String,
    },
    /// `not-held` −1: the block is of no branch that waits for the operator.
    #[error("block {id} is of no branch that is held back")]
    NotHeld {
        /// As given.
        id: String,
    },
    /// `not-pruning` −1: only a node that prunes gives blocks up.
    #[error("this node keeps all blocks")]
    NotPruning,
    /// `bad-proof` −8: a merkle proof does not prove what it says.
    #[error("the proof proves nothing: {reason}")]
    BadProof {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `not-json` −32700, HTTP status 400: the request can't be read as JSON.
    #[error("the request is not JSON: {reason}")]
    NotJson {
        /// What is wrong with it, and where.
        reason: String,
    },
    /// `not-a-call` −32600, HTTP status 400 where it stands alone: JSON, but no call of JSON-RPC.
    #[error("the request is JSON, but no JSON-RPC call")]
    NotACall,
    /// `empty-batch` −32600, HTTP status 400: a batch without a call in it.
    #[error("the batch is empty")]
    EmptyBatch,
    /// `batch-too-long` −32010: a batch of more calls than one may bring.
    #[error("at most {max} calls in one batch")]
    BatchTooLong {
        /// The bound.
        max: usize,
    },
    /// `body-too-long` −32007, HTTP status 413: more bytes than any call needs.
    #[error("at most {max_bytes} bytes in one request")]
    BodyTooLong {
        /// The bound.
        max_bytes: u32,
    },
    /// `broken-off` −32600, HTTP status 400: the connection ended, or went wrong, within the body.
    #[error("the request broke off before its end")]
    BrokenOff,
    /// `not-posted` −32600, HTTP status 405: calls come by `POST`.
    #[error("calls are made by POST, or over a WebSocket")]
    NotPosted,
    /// `bad-handshake` −32600, HTTP status 400: a request for a WebSocket that RFC 6455 does not know.
    #[error("no WebSocket can be opened so: {reason}")]
    BadHandshake {
        /// What is wrong with it.
        reason: String,
    },
    /// `not-said-json` −32600, HTTP status 415: the `Content-Type` is none that a web page can't
    /// send without being asked.
    #[error("the Content-Type says something else than JSON")]
    NotSaidJson,
    /// `answer-too-long` −32008: the answer, or that of the whole batch, is longer than one may be.
    #[error("the answer is longer than {max_bytes} bytes")]
    AnswerTooLong {
        /// The bound.
        max_bytes: u32,
    },
    /// `too-many-subscriptions` −32006: this WebSocket has as many as one may.
    #[error("{max} subscriptions on one WebSocket, and no more")]
    TooManySubscriptions {
        /// The bound.
        max: u32,
    },
    /// `needs-websocket` −32600: over plain HTTP there is no way to send events.
    #[error("subscriptions need a WebSocket")]
    NeedsWebSocket,
    /// `unknown-method` −32601: there is no method of that name.
    #[error("no such method")]
    UnknownMethod,
    /// `unauthorised` −32003, HTTP status 401: the caller did not show the cookie or password.
    #[error("name and password are wrong or missing")]
    Unauthorised,
    /// `forbidden` −32004: the caller's token is not for such calls.
    #[error("this call needs the scope {scope}, which the token does not have")]
    Forbidden {
        /// What it needs.
        scope: Scope,
    },
    /// `rate-limited` −32005: the token's calls a second are used up; `retry_after_ms` says when
    /// this one could be made.
    #[error("this token has made its calls: wait {retry_after_ms} ms")]
    RateLimited {
        /// How long to wait.
        retry_after_ms: u64,
    },
    /// `too-many-at-once` −32005, HTTP status 429: the caller has as many requests and WebSockets
    /// going on as one caller may.
    #[error("{max} requests and WebSockets of this caller are going on already")]
    TooManyAtOnce {
        /// The bound.
        max: usize,
    },
    /// `host-refused` −32004, HTTP status 403: the `Host` header does not name this machine.
    #[error("the Host header names another machine")]
    HostRefused,
    /// `origin-refused` −32004, HTTP status 403: a web page calls, and it is not on the list.
    #[error("calls from web pages are not allowed")]
    OriginRefused,
    /// `internal` −32603: a fault of the node's own; its log says more.
    #[error("the node failed to answer; its log says why")]
    Internal,
}

impl RpcError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidParameter { .. } => "invalid-parameter",
            Self::TooMany { .. } => "too-many",
            Self::InvalidAddress { .. } => "invalid-address",
            Self::NotFound { .. } | Self::NotKept { .. } => "not-found",
            Self::Pruned { .. } => "pruned",
            Self::IndexOff { .. } => "index-off",
            Self::Refused { code, .. } => code,
            Self::WarmingUp { .. } => "warming-up",
            Self::TipAhead { .. } => "tip-ahead",
            Self::Overloaded => "overloaded",
            Self::TimedOut { .. } => "timed-out",
            Self::Stopping => "stopping",
            Self::RealClock => "real-clock",
            Self::BackupFailed { .. } => "backup-failed",
            Self::PrioritiesFull { .. } => "priorities-full",
            Self::MempoolLoading => "mempool-loading",
            Self::SaveFailed { .. } => "save-failed",
            Self::BadPeerAddress { .. } => "bad-peer-address",
            Self::NotConnected { .. } => "not-connected",
            Self::NotBanned { .. } => "not-banned",
            Self::NotHeld { .. } => "not-held",
            Self::NotPruning => "not-pruning",
            Self::BadProof { .. } => "bad-proof",
            Self::NotJson { .. } => "not-json",
            Self::NotACall => "not-a-call",
            Self::EmptyBatch => "empty-batch",
            Self::BatchTooLong { .. } => "batch-too-long",
            Self::BodyTooLong { .. } => "body-too-long",
            Self::BrokenOff => "broken-off",
            Self::NotPosted => "not-posted",
            Self::BadHandshake { .. } => "bad-handshake",
            Self::NotSaidJson => "not-said-json",
            Self::AnswerTooLong { .. } => "answer-too-long",
            Self::TooManySubscriptions { .. } => "too-many-subscriptions",
            Self::NeedsWebSocket => "needs-websocket",
            Self::UnknownMethod => "unknown-method",
            Self::Unauthorised => "unauthorised",
            Self::Forbidden { .. } => "forbidden",
            Self::RateLimited { .. } => "rate-limited",
            Self::TooManyAtOnce { .. } => "too-many-at-once",
            Self::HostRefused => "host-refused",
            Self::OriginRefused => "origin-refused",
            Self::Internal => "internal",
        }
    }

    /// Bitcoin Core's number where Core has such an error (`src/rpc/protocol.h`), else one of
    /// JSON-RPC's own range.
    pub fn number(&self) -> i32 {
        match self {
            Self::InvalidParameter { .. }
            | Self::TooMany { .. }
            | Self::PrioritiesFull { .. }
            | Self::BadProof { .. } => -8,
            Self::InvalidAddress { .. } | Self::NotFound { .. } | Self::NotKept { .. } => -5,
            Self::Pruned { .. }
            | Self::IndexOff { .. }
            | Self::TipAhead { .. }
            | Self::RealClock
            | Self::NotHeld { .. }
            | Self::SaveFailed { .. }
            | Self::NotPruning
            | Self::BackupFailed { .. } => -1,
            Self::Refused { code, .. } => refusal_number(code),
            Self::WarmingUp { .. } | Self::MempoolLoading | Self::Stopping => -28,
            Self::NotConnected { .. } => -29,
            Self::BadPeerAddress { .. } | Self::NotBanned { .. } => -30,
            Self::Overloaded => -32_009,
            Self::TimedOut { .. } => -32_002,
            Self::Unauthorised => -32_003,
            Self::HostRefused | Self::OriginRefused | Self::Forbidden { .. } => -32_004,
            Self::RateLimited { .. } | Self::TooManyAtOnce { .. } => -32_005,
            Self::TooManySubscriptions { .. } => -32_006,
            Self::BodyTooLong { .. } => -32_007,
            Self::AnswerTooLong { .. } => -32_008,
            Self::BatchTooLong { .. } => -32_010,
            Self::NotACall
            | Self::EmptyBatch
            | Self::BrokenOff
            | Self::NotPosted
            | Self::BadHandshake { .. }
            | Self::NotSaidJson
            | Self::NeedsWebSocket => -32_600,
            Self::NotJson { .. } => -32_700,
            Self::UnknownMethod => -32_601,
            Self::Internal => -32_603,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InvalidParameter { .. } => "`help METHOD` says what the method takes",
            Self::UnknownMethod => "`help` and docs/rpc.md list the methods",
            Self::NotJson { .. } => "send one JSON object, or a list of them, as the whole body",
            Self::NotACall => {
                r#"write it as {"jsonrpc": "2.0", "id": 1, "method": "getblockcount", "params": []}"#
            }
            Self::EmptyBatch => "put at least one call into the list",
            Self::BatchTooLong { .. } => "send the calls in several batches",
            Self::BodyTooLong { .. } => "send fewer or shorter parameters at once",
            Self::BrokenOff => "send it again",
            Self::NotPosted => "use POST; GET is for /metrics, /healthy and /ready",
            Self::BadHandshake { .. } => {
                "send Sec-WebSocket-Version: 13 and a key of 24 characters"
            }
            Self::NotSaidJson => "send Content-Type: application/json",
            Self::AnswerTooLong { .. } => "ask for a smaller part: a page, a lower verbosity",
            Self::TooManySubscriptions { .. } => {
                "end one that is not needed, or watch many addresses by one subscription"
            }
            Self::NeedsWebSocket => "open ws:// on the same address and port, and subscribe there",
            Self::TooMany { .. } => "ask in pieces",
            Self::InvalidAddress { .. } => "use an address of this chain, as validateaddress says",
            Self::NotFound { .. } => "check the id, and that the node has caught up",
            Self::Pruned { .. } | Self::NotKept { .. } => "ask a node that keeps all blocks",
            Self::IndexOff { .. } => "start the node with the index on",
            Self::Refused { code, .. } => refusal_hint(code),
            Self::WarmingUp { .. } => {
                "wait until getblockchaininfo no longer says initialblockdownload"
            }
            Self::TipAhead { .. } => {
                "try again then; if it stays so, check this machine's clock, and the miners'"
            }
            Self::Overloaded => "try again in a few seconds",
            Self::TimedOut { .. } => "ask for less at once",
            Self::Stopping => "start the node again",
            Self::RealClock => "start a node of a development chain with --dev-clock",
            Self::BackupFailed { .. } => "check room and permissions where it was to be made",
            Self::PrioritiesFull { .. } => {
                "take some back first: getprioritisedtransactions lists them"
            }
            Self::MempoolLoading => "wait until getmempoolinfo says loaded",
            Self::SaveFailed { .. } => "check room and permissions of the data directory",
            Self::BadPeerAddress { .. } => "give a multiaddress such as /ip4/127.0.0.1/tcp/9333",
            Self::NotConnected { .. } => "getpeerinfo lists the connections",
            Self::NotBanned { .. } => "listbanned lists the bans",
            Self::NotHeld { .. } => "getblockchaininfo's warnings name the branch that waits",
            Self::Unauthorised => {
                "send the contents of the cookie file as name and password; it is new at each \
                 start of the node"
            }
            Self::Forbidden { .. } => {
                "use a token with that scope (`ashlar-node token new --scope …`), or the cookie"
            }
            Self::RateLimited { .. } => "try again after retry_after_ms, or ask for a higher rate",
            Self::TooManyAtOnce { .. } => "close WebSockets that are not needed, or call in turn",
            Self::HostRefused => {
                "call by 127.0.0.1 or localhost, or allow the name in the configuration"
            }
            Self::OriginRefused => {
                "allow the page's origin in the configuration, if it is to be trusted"
            }
            Self::NotPruning => "start the node with --prune SIZE",
            Self::BadProof { .. } => "make it anew with getmerkleproof, and pass it unchanged",
            Self::Internal => {
                "look into the log; if it says nothing of use, restart the node and report the fault"
            }
        }
    }
}

/// The number for a code of PROTOCOL.md §8 or §13: −22 did not decode, −25 spends what is not
/// there, −27 is there already, −26 for all else.
fn refusal_number(code: &str) -> i32 {
    match code {
        "tx-malformed" | "malformed" => -22,
        "tx-missing-input" => -25,
        "tx-already-known" | "tx-already-confirmed" => -27,
        _ => -26,
    }
}

fn refusal_hint(code: &str) -> &'static str {
    match code {
        "tx-malformed" | "malformed" => {
            "send the whole encoding as hex, nothing before or after it"
        }
        "tx-missing-input" => "an input is spent, or its transaction has not arrived yet",
        "tx-immature-coinbase" | "tx-not-yet-valid" => "send it again when the chain is higher",
        "tx-fee-too-low" | "tx-mempool-full" => "pay more: estimatesmartfee says how much",
        "tx-conflict" => "a replacement must pay more than what it replaces",
        "tx-already-known" => "nothing to do: it waits for a block",
        "tx-already-confirmed" => "nothing to do: it is in a block",
        _ => "it breaks the rule of that name (PROTOCOL.md §8, §13): make it anew, by the rule",
    }
}

impl From<&RpcError> for ErrorData {
    fn from(error: &RpcError) -> Self {
        let retry_after_ms = match error {
            RpcError::RateLimited { retry_after_ms } => Some(*retry_after_ms),
            _ => None,
        };
        let hint = Some(error.hint().to_owned());
        Self { code: error.code().to_owned(), hint, retry_after_ms, at: None }
    }
}

impl From<&RpcError> for ErrorObjectOwned {
    fn from(error: &RpcError) -> Self {
        ErrorObject::owned(error.number(), error.to_string(), Some(ErrorData::from(error)))
    }
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        (&error).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// One of each variant, every text in it the same.
    fn all() -> Vec<RpcError> {
        let text = || "x".to_owned();
        vec![
            RpcError::InvalidParameter { name: "x", reason: text() },
            RpcError::TooMany { what: "x", max: 0 },
            RpcError::InvalidAddress { address: text(), reason: text() },
            RpcError::NotFound { what: "x", id: text() },
            RpcError::Pruned { id: text(), history_start: 0 },
            RpcError::NotKept { what: "x", id: text(), history_start: 0 },
            RpcError::IndexOff { index: "x" },
            RpcError::Refused { code: "x", reason: text() },
            RpcError::WarmingUp { height: 0, target: 0 },
            RpcError::TipAhead { wait_seconds: 0 },
            RpcError::Overloaded,
            RpcError::TimedOut { limit_ms: 0 },
            RpcError::Stopping,
            RpcError::RealClock,
            RpcError::BackupFailed { reason: text() },
            RpcError::PrioritiesFull { max: 0 },
            RpcError::MempoolLoading,
            RpcError::SaveFailed { reason: text() },
            RpcError::BadPeerAddress { address: text(), reason: text() },
            RpcError::NotConnected { who: text() },
            RpcError::NotBanned { who: text() },
            RpcError::NotHeld { id: text() },
            RpcError::NotPruning,
            RpcError::BadProof { reason: "x" },
            RpcError::NotJson { reason: text() },
            RpcError::NotACall,
            RpcError::EmptyBatch,
            RpcError::BatchTooLong { max: 0 },
            RpcError::BodyTooLong { max_bytes: 0 },
            RpcError::BrokenOff,
            RpcError::NotPosted,
            RpcError::BadHandshake { reason: text() },
            RpcError::NotSaidJson,
            RpcError::AnswerTooLong { max_bytes: 0 },
            RpcError::TooManySubscriptions { max: 0 },
            RpcError::NeedsWebSocket,
            RpcError::UnknownMethod,
            RpcError::Unauthorised,
            RpcError::Forbidden { scope: Scope::Admin },
            RpcError::RateLimited { retry_after_ms: 0 },
            RpcError::TooManyAtOnce { max: 0 },
            RpcError::HostRefused,
            RpcError::OriginRefused,
            RpcError::Internal,
        ]
    }

    /// The variants, by their names in the source: what `all` must hold one of each of.
    fn variants() -> Vec<String> {
        let source = syn::parse_file(include_str!("error.rs")).unwrap();
        let variants = source.items.into_iter().find_map(|item| match item {
            syn::Item::Enum(list) if list.ident == "RpcError" => Some(list.variants),
            _ => None,
        });
        variants.unwrap().iter().map(|variant| variant.ident.to_string()).collect()
    }

    #[test]
    fn no_two_causes_share_a_text_and_each_has_a_hint() {
        let names: Vec<String> = all()
            .iter()
            .map(|error| format!("{error:?}").split([' ', '{']).next().unwrap().to_owned())
            .collect();
        assert_eq!(names, variants(), "one of each, in their order");
        let mut texts = BTreeSet::new();
        for error in all() {
            assert!(texts.insert(error.to_string()), "{error:?}: its text is another's");
            assert!(!error.hint().is_empty(), "{error:?}");
        }
    }

    /// The texts above are the table in docs/rpc.md.
    #[test]
    fn the_texts_of_the_variants_name_their_codes_and_numbers() {
        for error in all() {
            let named = format!("/// `{}` −{}", error.code(), error.number().unsigned_abs());
            let is_rule = matches!(error, RpcError::Refused { .. });
            assert!(is_rule || include_str!("error.rs").contains(&named), "{named}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_rules_code_and_gets_cores_number() {
        for (code, number) in [
            ("tx-malformed", -22),
            ("tx-missing-input", -25),
            ("tx-bad-signature", -26),
            ("tx-fee-too-low", -26),
            ("tx-already-confirmed", -27),
        ] {
            let object: ErrorObjectOwned = RpcError::Refused { code, reason: "so".into() }.into();
            let data: ErrorData = serde_json::from_str(object.data().unwrap().get()).unwrap();
            assert_eq!((object.code(), data.code.as_str()), (number, code));
            assert_eq!(object.message(), format!("{code}: so"));
        }
    }
}
