//! Saving the whole testnet, and putting a save in its place.

use std::sync::Arc;

use ashlar_rpc::prelude::*;
use rustix::process::Signal;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::{info, warn};

use super::{Keeper, nodes::Node};
use crate::{
    error::TestnetError,
    file::NodeNumber,
    saves::{Partial, Save, SaveError, SavedTip, Saves},
};

impl Keeper {
    /// Saves the testnet as it is: no block is found and no node started or stopped meanwhile.
    pub(crate) async fn save_as(self: &Arc<Self>, name: &str) -> Result<Save, TestnetError> {
        let _one = self.lifecycle.lock().await;
        let _still = self.finding.lock().await;
        let numbers: Vec<NodeNumber> = self.nodes().keys().copied().collect();
        if let Some(number) = numbers.iter().copied().find(|number| self.is_paused(*number)) {
            return Err(SaveError::Paused { number }.into());
        }
        let partial = Arc::new(Saves::of(&self.layout).begin(name)?);
        let mut about = Save::new(name, self.time().unix_ms);
        let mut copies = JoinSet::new();
        for number in numbers {
            let (keeper, partial) = (Arc::clone(self), Arc::clone(&partial));
            copies.spawn(async move { (number, keeper.save_node(number, &partial).await) });
        }
        for (number, tip) in copies.join_all().await {
            about.nodes.insert(number, tip?);
        }
        self.save()?;
        partial.add_net(&self.layout)?;
        let partial = Arc::into_inner(partial).expect("each copy that shared it has ended");
        partial.finish(&about)?;
        info!(name, height = about.height(), "saved");
        Ok(about)
    }

    /// A node's data directory: from the node itself, while it runs.
    async fn save_node(
        &self,
        number: NodeNumber,
        partial: &Arc<Partial>,
    ) -> Result<Option<SavedTip>, TestnetError> {
        let mut saved = None;
        if let Ok(client) = self.client(number) {
            if let Err(error) = client.savemempool().await {
                warn!(node = number, %error, "what waits may be missing from the save");
            }
            let to = partial.node(number).display().to_string();
            let at = client.backup(to).await.map_err(TestnetError::call(number))?;
            saved = Some(SavedTip { height: at.tip_height, tip: at.tip });
        }
        let (partial, datadir) = (Arc::clone(partial), self.layout.node(number));
        let added = spawn_blocking(move || match datadir.is_dir() {
            true => partial.add_node(number, &datadir),
            // It has never been started.
            false => Ok(()),
        });
        added.await.map_err(died)??;
        Ok(saved)
    }

    /// Puts a save in the place of what the testnet is now, and starts the nodes that ran then.
    pub(crate) async fn load_save(self: &Arc<Self>, name: &str) -> Result<Save, TestnetError> {
        let _one = self.lifecycle.lock().await;
        let _still = self.finding.lock().await;
        Saves::of(&self.layout).check(name)?;
        // Nothing that they have is kept, so there is nothing to stop them cleanly for.
        let numbers: Vec<NodeNumber> = self.nodes().keys().copied().collect();
        let mut ends = JoinSet::new();
        for number in numbers {
            let keeper = Arc::clone(self);
            ends.spawn(async move { keeper.end(number, Signal::KILL).await });
        }
        for end in ends.join_all().await {
            end?;
        }
        let (layout, named) = (self.layout.clone(), name.to_owned());
        let restored = spawn_blocking(move || Saves::of(&layout).restore(&named));
        let (state, about) = restored.await.map_err(died)??;
        *self.nodes() = state.nodes.keys().map(|number| (*number, Node::default())).collect();
        self.mining.send_replace(state.mining.clone());
        self.clock.send_replace(state.clock);
        *self.state() = state;
        self.links.lines().clear();
        self.open_links()?;
        let ran = about.nodes.iter().filter(|(_, tip)| tip.is_some()).map(|(number, _)| *number);
        self.start_these(ran.collect()).await?;
        info!(name, height = about.height(), "loaded");
        Ok(about)
    }
}

fn died(error: tokio::task::JoinError) -> TestnetError {
    TestnetError::BadAnswer { reason: error.to_string() }
}
