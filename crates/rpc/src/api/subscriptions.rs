//! What a WebSocket is told without asking again.

#[cfg(feature = "server")]
use jsonrpsee::core::SubscriptionResult;
use jsonrpsee::proc_macros::rpc;

use crate::types::{TipEvent, TransactionEvent};

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
