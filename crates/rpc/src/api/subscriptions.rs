//! What a WebSocket is told without asking again.

#[cfg(feature = "server")]
use jsonrpsee::core::SubscriptionResult;
use jsonrpsee::proc_macros::rpc;

use crate::types::{AddressEvent, Addresses, EventCursor, MempoolEvent, SyncEvent, TipEvent};

/// Over WebSocket alone. The answer's result is the number by which the events are known; beside
/// it, as beside any other, stands the tip of that moment. The first event comes at once and names
/// the tip that the stream goes on from. Every event has a `cursor`; whoever lost the connection subscribes again
/// with the last one as `since`, and has missed nothing. A subscriber that takes nothing for 5 s
/// while events wait is cut off: its last message holds, in place of a result, the error
/// `too-slow`.
#[cfg_attr(not(feature = "server"), rpc(client))]
#[cfg_attr(feature = "server", rpc(client, server))]
pub trait Subscriptions {
    /// Every step of the tip, in order. The first event names the tip of that moment; with `since`
    /// the first events are the way from there, back to the fork and forward to the tip, at most
    /// 1,000 blocks in each direction in one event.
    ///
    /// # Parameters
    /// - `since`: the cursor of the last event that was taken; its `block` alone will do, and may
    ///   be any block that this node knows.
    ///
    /// # Errors
    /// - `not-found`: no such block is known.
    /// - `too-many`: there are 64 subscriptions already.
    #[subscription(
        name = "subscribetips" => "tip",
        unsubscribe = "unsubscribetips",
        item = TipEvent
    )]
    async fn subscribetips(&self, since: Option<EventCursor>) -> SubscriptionResult;

    /// The mempool: a list of what waits, which begins with an event whose `reset` is `true`, then
    /// every change. The past of a mempool is not kept: with `since` it is the same.
    ///
    /// # Parameters
    /// - `since`: the cursor of the last event that was taken.
    ///
    /// # Errors
    /// - `too-many`: there are 64 subscriptions already.
    #[subscription(
        name = "subscribemempool" => "mempool",
        unsubscribe = "unsubscribemempool",
        item = MempoolEvent
    )]
    async fn subscribemempool(&self, since: Option<EventCursor>) -> SubscriptionResult;

    /// What happens to addresses, in blocks and in the mempool. Without `since` it begins at the
    /// tip of that moment, which the first event names: ask `getaddressbalance` and the like for
    /// what is so there. With `since` the first events are what happened since then. What waits in
    /// the mempool is listed anew in either case, from an event whose `reset` is `true` on.
    ///
    /// # Parameters
    /// - `addresses`: one, or a list of up to 1,000.
    /// - `since`: the cursor of the last event that was taken; its `block` alone will do.
    ///
    /// # Errors
    /// - `invalid-address`: one is not of this chain.
    /// - `index-off`: the address index is off.
    /// - `not-found`: no such block is known.
    /// - `too-many`: over 1,000 addresses, over 100,000 entries since then (ask
    ///   `getaddresshistory`), or 64 subscriptions already.
    #[subscription(
        name = "subscribeaddresses" => "address",
        unsubscribe = "unsubscribeaddresses",
        item = AddressEvent
    )]
    async fn subscribeaddresses(
        &self,
        addresses: Addresses,
        since: Option<EventCursor>,
    ) -> SubscriptionResult;

    /// How far this node has caught up: at once, then when it changed, at most once a second. With
    /// `since` it is the same.
    ///
    /// # Parameters
    /// - `since`: the cursor of the last event that was taken.
    ///
    /// # Errors
    /// - `too-many`: there are 64 subscriptions already.
    #[subscription(
        name = "subscribesync" => "sync",
        unsubscribe = "unsubscribesync",
        item = SyncEvent
    )]
    async fn subscribesync(&self, since: Option<EventCursor>) -> SubscriptionResult;
}
