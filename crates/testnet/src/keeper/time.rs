//! The clock of the testnet: kept, changed, and told to each node.

use std::{fs, io, sync::Arc, time::Duration};

use ashlar_rpc::{prelude::*, types::ClockSetting};
use tokio::{task::JoinSet, time::timeout};
use tracing::warn;

use super::Keeper;
use crate::{
    clock::{self, MAX_STEP_BLOCKS, Moment, TimeChange, TimeError, TimeNow},
    error::TestnetError,
    file::NodeNumber,
    layout,
};

/// What a node's clock is set by when it starts, in its data directory.
const CLOCK_FILE: &str = "clock.json";
/// Longest that a node may take to set its clock.
const TELL_TIMEOUT: Duration = Duration::from_secs(10);

impl Keeper {
    /// What the testnet's clock reads.
    pub(crate) fn time(&self) -> TimeNow {
        clock::read(self.line())
    }

    /// How the testnet's clock runs; `None`: as the machine's.
    pub(crate) fn line(&self) -> Option<ClockSetting> {
        *self.clock.borrow()
    }

    /// How the clock of a node runs, which may be wrong.
    fn clock_of(&self, number: NodeNumber) -> Option<ClockSetting> {
        let state = self.state();
        let offset_ms = state.nodes.get(&number).map_or(0, |record| record.clock_offset_ms);
        clock::shifted(state.clock, offset_ms)
    }

    /// Changes the clock of the testnet and of each node in it.
    pub(crate) async fn change_time(
        self: &Arc<Self>,
        change: TimeChange,
    ) -> Result<TimeNow, TestnetError> {
        self.require_development()?;
        let _still = self.finding.lock().await;
        let after = clock::changed(self.line(), change)?;
        if let TimeChange::Advance { step_ms, blocks: blocks @ 1.. } = change {
            self.step_with_blocks(step_ms, blocks).await?;
        }
        self.set_line(after).await?;
        Ok(self.time())
    }

    /// Goes forward by equal steps, and lets a block be found after each, as if the time had
    /// passed.
    async fn step_with_blocks(
        self: &Arc<Self>,
        step_ms: u64,
        blocks: u32,
    ) -> Result<(), TestnetError> {
        if blocks > MAX_STEP_BLOCKS {
            return Err(TimeError::Blocks { blocks }.into());
        }
        let begun_ms = self.time().unix_ms;
        for block in 1..=u64::from(blocks) {
            let gone_ms = u128::from(step_ms) * u128::from(block) / u128::from(blocks);
            let moment = begun_ms.saturating_add(u64::try_from(gone_ms).unwrap_or(u64::MAX));
            let line = clock::changed(self.line(), TimeChange::Set(Moment(moment)))?;
            self.set_line(line).await?;
            let node = self.serving().first().copied().unwrap_or(1);
            self.generate(node, 1).await?;
        }
        Ok(())
    }

    /// Keeps a new line, and tells it to the nodes.
    pub(super) async fn set_line(
        self: &Arc<Self>,
        line: Option<ClockSetting>,
    ) -> Result<(), TestnetError> {
        self.state().clock = line;
        self.save()?;
        self.clock.send_replace(line);
        let mut told = JoinSet::new();
        for number in self.serving() {
            let keeper = Arc::clone(self);
            told.spawn(async move { keeper.tell_clock(number).await });
        }
        told.join_all().await;
        Ok(())
    }

    /// Tells a node that serves how its clock runs. One that stands still, or is gone, hears of it
    /// when it goes on or starts.
    pub(crate) async fn tell_clock(&self, number: NodeNumber) {
        if !self.chain.is_development() || self.is_paused(number) {
            return;
        }
        let Ok(client) = self.client(number) else { return };
        let told = timeout(TELL_TIMEOUT, async {
            match self.clock_of(number) {
                Some(line) => client.clock(Some(line)).await.map(drop),
                None => client.setmocktime(0).await,
            }
        });
        match told.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(node = number, %error, "its clock was not set"),
            Err(_) => warn!(node = number, "its clock was not set in time"),
        }
    }

    /// Leaves word of the clock for a node that is about to start.
    pub(super) fn leave_clock(&self, number: NodeNumber) -> Result<(), TestnetError> {
        let path = self.layout.node(number).join(CLOCK_FILE);
        match self.clock_of(number) {
            Some(line) => layout::write(&path, &serde_json::to_vec(&line).unwrap_or_default()),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(TestnetError::disk(path)(error))
                }
                _ => Ok(()),
            },
        }
    }

    pub(crate) fn require_development(&self) -> Result<(), TestnetError> {
        match self.chain.is_development() {
            true => Ok(()),
            false => Err(TimeError::NoDevelopment.into()),
        }
    }
}
