//! Finding blocks by wish: the task that follows the mode, and blocks on request.

use std::{sync::Arc, time::Duration};

use ashlar_rpc::{prelude::*, types::ClockSetting};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::{Keeper, hashing};
use crate::{
    clock::machine_time,
    control::Mined,
    error::TestnetError,
    file::NodeNumber,
    mining::{Mining, MiningError, Mode, Share, Turns},
    wallets::{KnownWallet, MINER},
};

/// Between two looks for transactions that wait.
const LOOK: Duration = Duration::from_millis(100);
/// Between two blocks at least, however fast the testnet's clock runs.
const MIN_PERIOD: Duration = Duration::from_millis(10);
/// Headers to try for one block that was asked for: a minute's work where proof of work is real.
const TRIES: u64 = 1_000_000_000;

/// Follows the mode, for ever.
pub(super) async fn mine(keeper: Arc<Keeper>) {
    let mut wishes = keeper.mining.subscribe();
    let mut clocks = keeper.clock.subscribe();
    loop {
        let mining = wishes.borrow_and_update().clone();
        let clock = *clocks.borrow_and_update();
        tokio::select! {
            _ = wishes.changed() => {}
            _ = clocks.changed() => {}
            () = follow(&keeper, &mining, clock) => {}
        }
    }
}

async fn follow(keeper: &Arc<Keeper>, mining: &Mining, clock: Option<ClockSetting>) {
    let mut turns = Turns::default();
    match mining.mode {
        Mode::Interval => {
            // By the testnet's clock; where that stands, no block's time ever comes.
            let period = machine_time(clock, Duration::from_millis(mining.interval_ms));
            let Some(period) = period else { return std::future::pending().await };
            let mut ticks = interval(period.max(MIN_PERIOD));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Some(node) = turns.next(&able(keeper, mining)) {
                    one(keeper, node).await;
                }
            }
        }
        Mode::OnTransaction => {
            let mut looks = interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                let able = able(keeper, mining);
                let mut waiting = Vec::new();
                for share in able {
                    if has_waiting(keeper, share.node).await {
                        waiting.push(share);
                    }
                }
                if let Some(node) = turns.next(&waiting) {
                    one(keeper, node).await;
                }
            }
        }
        Mode::Hashrate => hashing::work(keeper, mining).await,
        Mode::Manual => std::future::pending().await,
    }
}

/// The miners that serve now; without any named, the first node that does.
fn able(keeper: &Keeper, mining: &Mining) -> Vec<Share> {
    let serving = keeper.serving();
    if mining.miners.is_empty() {
        return serving.first().map(|node| Share { node: *node, share: 1 }).into_iter().collect();
    }
    mining.miners.iter().filter(|share| serving.contains(&share.node)).copied().collect()
}

async fn has_waiting(keeper: &Keeper, node: NodeNumber) -> bool {
    let Ok(client) = keeper.client(node) else { return false };
    client.getmempoolinfo().await.is_ok_and(|mempool| mempool.size > 0)
}

async fn one(keeper: &Keeper, node: NodeNumber) {
    let _alone = keeper.finding.lock().await;
    match keeper.generate(node, 1).await {
        Ok(mined) => debug!(node, blocks = ?mined.blocks, "mined"),
        Err(error) => warn!(node, %error, "no block"),
    }
}

impl Keeper {
    /// Says who finds blocks, and when; where nothing is said, what holds.
    pub(super) fn set_mining(&self, change: Option<Mining>) -> Result<Mining, TestnetError> {
        if let Some(mining) = change {
            mining.check()?;
            if mining.mode == Mode::Hashrate && self.chain.is_trivial() {
                return Err(MiningError::Trivial.into());
            }
            let nodes: Vec<NodeNumber> = self.state().nodes.keys().copied().collect();
            if let Some(share) = mining.miners.iter().find(|share| !nodes.contains(&share.node)) {
                return Err(TestnetError::NoSuchNode { number: share.node, nodes });
            }
            self.state().mining = mining.clone();
            self.save()?;
            self.mining.send_replace(mining);
        }
        Ok(self.mining.borrow().clone())
    }

    /// Finds blocks on a node's tip now.
    pub(crate) async fn generate(
        &self,
        node: NodeNumber,
        blocks: u32,
    ) -> Result<Mined, TestnetError> {
        let address = KnownWallet::of(MINER, &self.chain.params.address_prefix).address;
        let tries = TRIES.saturating_mul(u64::from(blocks));
        let client = self.client(node)?;
        let found = client.generatetoaddress(blocks, address, Some(tries)).await;
        Ok(Mined { node, blocks: found.map_err(TestnetError::call(node))? })
    }
}
