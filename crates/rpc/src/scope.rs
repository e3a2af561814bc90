//! Who may call what.

use core::{fmt, str::FromStr};

use thiserror::Error;

/// A right that a caller has. Rights do not contain one another, but [`Scope::Admin`] contains
/// all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Questions that change nothing.
    Read,
    /// What a wallet needs beside questions: offering transactions.
    WalletBroadcast,
    /// Making blocks.
    Mine,
    /// Everything, the orders that can stop this node or lead it astray among it.
    Admin,
}

impl Scope {
    /// All, the least first.
    pub const ALL: [Self; 4] = [Self::Read, Self::WalletBroadcast, Self::Mine, Self::Admin];

    /// As configurations and documents write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::WalletBroadcast => "wallet-broadcast",
            Self::Mine => "mine",
            Self::Admin => "admin",
        }
    }

    /// Whether a caller with this right may make calls that need `needed`.
    pub fn allows(self, needed: Self) -> bool {
        self == needed || self == Self::Admin
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no such scope: {text}; use read, wallet-broadcast, mine or admin")]
pub struct UnknownScope {
    /// As given.
    pub text: String,
}

impl FromStr for Scope {
    type Err = UnknownScope;
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let named = Self::ALL.into_iter().find(|scope| scope.name() == text);
        named.ok_or_else(|| UnknownScope { text: text.to_owned() })
    }
}

/// The right that a method needs; `None` for one that is not written down here, which nobody may
/// call. A test finds any method of [`crate::api`] that is missing.
pub fn scope_of(method: &str) -> Option<Scope> {
    Some(match method {
        // Chain
        "getblockchaininfo" | "getblockcount" | "getbestblockhash" | "getblockhash"
        | "getblockheader" | "getblock" | "getchaintips" | "gettxout" | "getblockheaders"
        | "getblockstats" | "getchaintxstats" | "gettxoutsetinfo" | "scantxoutset"
        | "getmerkleproof" | "verifymerkleproof" | "waitforblockheight" | "getindexinfo" => {
            Scope::Read
        }
        "acceptreorg" | "verifychain" | "pruneblockchain" | "invalidateblock"
        | "reconsiderblock" => Scope::Admin,
        // Addresses
        "validateaddress" | "getaddressbalance" | "getaddressutxos" | "getaddresshistory"
        | "getaddressmempool" => Scope::Read,
        // Transactions
        "getrawtransaction"
        | "gettransaction"
        | "createrawtransaction"
        | "decoderawtransaction" => Scope::Read,
        "sendrawtransaction" | "sendrawtransactions" | "testmempoolaccept" => {
            Scope::WalletBroadcast
        }
        // Mempool
        "getrawmempool"
        | "getmempoolinfo"
        | "getmempoolentry"
        | "getmempoolancestors"
        | "getmempooldescendants"
        | "gettxspendingprevout"
        | "getprioritisedtransactions"
        | "estimatefee"
        | "estimatesmartfee" => Scope::Read,
        "prioritisetransaction" => Scope::Mine,
        "savemempool" => Scope::Admin,
        // Mining
        "getmininginfo" | "getnetworkhashps" => Scope::Read,
        "getblocktemplate" | "submitblock" | "generatetoaddress" => Scope::Mine,
        // Network
        "getpeerinfo" | "getnetworkinfo" | "getnettotals" => Scope::Read,
        "addnode" | "disconnectnode" | "listbanned" | "setban" | "clearbanned" => Scope::Admin,
        // Control
        "uptime" | "help" | "rpc.discover" => Scope::Read,
        "setmocktime" | "clock" | "backup" | "stop" | "logging" | "getmemoryinfo" => Scope::Admin,
        // Subscriptions
        "subscribetips"
        | "unsubscribetips"
        | "subscribemempool"
        | "unsubscribemempool"
        | "subscribeaddresses"
        | "unsubscribeaddresses"
        | "subscribesync"
        | "unsubscribesync" => Scope::Read,
        _ => return None,
    })
}

/// Whether a method begins or ends a subscription, which only a WebSocket carries.
pub fn is_subscription(method: &str) -> bool {
    method.starts_with("subscribe") || method.starts_with("unsubscribe")
}

/// Whether a method may run twelve times as long as others: it works or waits, rather than looks
/// up.
pub fn is_long(method: &str) -> bool {
    matches!(
        method,
        "generatetoaddress"
            | "backup"
            | "acceptreorg"
            | "invalidateblock"
            | "reconsiderblock"
            | "pruneblockchain"
            | "verifychain"
            | "scantxoutset"
            | "getchaintxstats"
            | "waitforblockheight"
            | "getblocktemplate"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written_and_only_admin_contains_others() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(scope));
            for needed in Scope::ALL {
                assert_eq!(scope.allows(needed), scope == needed || scope == Scope::Admin);
            }
        }
        assert!("Admin".parse::<Scope>().is_err());
        assert_eq!(scope_of("nonsense"), None);
    }
}
