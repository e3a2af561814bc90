//! When each of several nodes moved its tip, by one clock.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use ashlar_primitives::BlockId;
use ashlar_rpc::{ClientError, Credentials, client::open_websocket, prelude::*, types::TipEvent};
use tokio::runtime::Runtime;

use crate::{Process, node::COOKIE};

/// A node said that its tip is another now, or which one it was when it was asked first.
#[derive(Clone, Debug)]
pub struct TipMoved {
    /// The node's place among those that are watched.
    pub node: usize,
    /// When its word arrived here.
    pub at: Instant,
    /// Its new tip.
    pub tip: BlockId,
    /// The tip's.
    pub height: u32,
}

/// A WebSocket to each of several nodes, subscribed to its tips.
#[derive(Debug)]
pub struct Tips {
    events: Receiver<TipMoved>,
    /// Reads the sockets; dropped, they close.
    _runtime: Runtime,
}

impl Tips {
    /// Subscribes to nodes that are ready; the first event of each is its tip of that moment.
    ///
    /// # Errors
    /// Where a node does not let it.
    pub fn of<'a>(nodes: impl IntoIterator<Item = &'a Process>) -> Result<Self, ClientError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (sender, events) = channel();
        for (node, process) in nodes.into_iter().enumerate() {
            let credentials = Credentials::Cookie(process.datadir().join(COOKIE));
            let address = process.rpc_address().unwrap_or_default();
            runtime.block_on(watch(node, &address, &credentials, sender.clone()))?;
        }
        Ok(Self { events, _runtime: runtime })
    }

    /// The next event, within `patience`.
    pub fn next(&self, patience: Duration) -> Option<TipMoved> {
        self.events.recv_timeout(patience).ok()
    }

    /// When each of the first `nodes` had `tip` as its tip, or a later one; `None` where one of
    /// them is not there within `patience`.
    pub fn arrivals(
        &self,
        nodes: usize,
        tip: (u32, BlockId),
        patience: Duration,
    ) -> Option<Vec<Instant>> {
        let deadline = Instant::now() + patience;
        let mut arrived = vec![None; nodes];
        while arrived.iter().any(Option::is_none) {
            let event = self.next(deadline.saturating_duration_since(Instant::now()))?;
            let is_there = event.tip == tip.1 || event.height > tip.0;
            if let Some(place) = arrived.get_mut(event.node).filter(|_| is_there) {
                place.get_or_insert(event.at);
            }
        }
        arrived.into_iter().collect()
    }
}

async fn watch(
    node: usize,
    address: &str,
    credentials: &Credentials,
    to: Sender<TipMoved>,
) -> Result<(), ClientError> {
    let socket = open_websocket(address, credentials).await?;
    let mut tips = socket.subscribetips(None).await?;
    tokio::spawn(async move {
        // Ends with the node, or with whoever listens.
        while let Some(Ok(TipEvent { at, .. })) = tips.next().await {
            let moved = TipMoved { node, at: Instant::now(), tip: at.tip.0, height: at.tip_height };
            if to.send(moved).is_err() {
                break;
            }
        }
        drop(socket);
    });
    Ok(())
}
