//! One round: faults come and go while payments are made; then all is whole, and it is judged.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use ashlar_processes::Rpc;
use ashlar_rpc::types::BlockchainInfo;
use rand::RngExt as _;
use serde_json::Value;

use super::{
    Breach, CONVERGENCE, LOOK, Run, SETTLEMENT, Stop,
    plan::{Fault, Round, flaps},
    watch::Sample,
};
use crate::{
    control::{ClockChange, Mined, NodeState, Request},
    file::NodeNumber,
    lines::LinkChange,
    mining::{Mining, Mode},
};

/// Between two looks at the tips and at which payments are in blocks.
const TIPS: Duration = Duration::from_millis(500);
/// Longest that a node whose writes all fail may take to end; one that had nothing to write is
/// killed then.
const DISK_PATIENCE: Duration = Duration::from_secs(15);
/// Tips may be so many blocks apart while blocks are found all the time.
const NEAR_BLOCKS: u32 = 2;
/// Two blocks of one height, found at once, are both good until the next one is found: it is asked
/// for after so long.
const TIE: Duration = Duration::from_secs(3);

/// What is to happen, and when.
#[derive(Clone, Copy)]
enum Step {
    Begin(usize),
    End(usize),
}

impl Run<'_> {
    /// Plays a round's faults, and undoes them all.
    pub(super) fn play(&mut self, round: &Round) -> Result<(), Stop> {
        let mut steps: Vec<(u32, Step)> = Vec::new();
        for (place, timed) in round.faults.iter().enumerate() {
            steps.push((timed.at_ms, Step::Begin(place)));
            steps.push((timed.at_ms.saturating_add(timed.for_ms), Step::End(place)));
        }
        steps.sort_by_key(|(at_ms, _)| *at_ms);
        self.tell(&format!("round {}: {} faults", round.number, round.faults.len()))?;
        let start = Instant::now();
        let mut silent = BTreeSet::new();
        let mut looked = start;
        for (at_ms, step) in steps {
            let due = start + Duration::from_millis(at_ms.into());
            while Instant::now() < due {
                self.pay(&silent);
                if looked.elapsed() >= TIPS {
                    looked = Instant::now();
                    self.look(&silent)?;
                }
                thread::sleep(LOOK.min(due.saturating_duration_since(Instant::now())));
            }
            match step {
                Step::Begin(place) => {
                    let timed = &round.faults[place];
                    if let Some(node) = timed.fault.silences() {
                        silent.insert(node);
                        self.rpcs.remove(&node);
                    }
                    self.begin(&timed.fault, timed.for_ms)?;
                }
                Step::End(place) => {
                    let fault = &round.faults[place].fault;
                    self.end(fault)?;
                    if let Some(node) = fault.silences() {
                        silent.remove(&node);
                        self.connect(node)?;
                        let rpc = &self.rpcs[&node];
                        // What it told of before, it must know now.
                        self.watch.kept(node, rpc)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, fault: &Fault, for_ms: u32) -> Result<(), Stop> {
        *self.report.faults.entry(fault.name().to_owned()).or_default() += 1;
        let (what, request) = match fault {
            Fault::Partition { sides } => {
                (format!("partition {sides}"), Request::Partition { sides: sides.clone() })
            }
            Fault::Link { from, to, change } => {
                let words = serde_json::to_string(change).unwrap_or_default();
                let (from, to, change) = (*from, *to, *change);
                (format!("link {from} {to} {words}"), Request::Link { from, to, change })
            }
            Fault::Flap { node } => {
                let (times, period_ms) = flaps(for_ms);
                let node = *node;
                (format!("flap {node}"), Request::Flap { node, times, period_ms, wait: false })
            }
            Fault::Kill { node } => (format!("kill {node}"), Request::Kill { node: *node }),
            Fault::Stop { node } => (format!("stop {node}"), Request::Stop { node: *node }),
            Fault::Pause { node } => (format!("pause {node}"), Request::Pause { node: *node }),
            Fault::DiskFull { node } => {
                (format!("disk-full {node}"), Request::DiskFull { node: *node })
            }
            Fault::Clock { node, seconds } => {
                let change = ClockChange::Move { ms: seconds.saturating_mul(1_000) };
                (format!("clock {node} {seconds:+}s"), Request::Clock { node: *node, change })
            }
        };
        self.tell(&what)?;
        let _: Value = self.net.ask(&request)?;
        if let Some(node) = fault.forgets() {
            self.payer.forgotten_by(node);
        }
        Ok(())
    }

    fn end(&mut self, fault: &Fault) -> Result<(), Stop> {
        let (what, request) = match fault {
            Fault::Partition { .. } => ("heal".to_owned(), Request::Heal),
            Fault::Link { from, to, change } => {
                let cut = change.cut.map(|_| false);
                let change = LinkChange { plain: true, cut, ..LinkChange::default() };
                let (from, to) = (*from, *to);
                (format!("link {from} {to} plain"), Request::Link { from, to, change })
            }
            Fault::Flap { node } => (format!("flap {node} ends"), Request::Heal),
            Fault::Kill { node } | Fault::Stop { node } => {
                (format!("start {node}"), Request::Start { node: *node })
            }
            Fault::Pause { node } => (format!("resume {node}"), Request::Resume { node: *node }),
            Fault::DiskFull { node } => {
                self.await_end(*node)?;
                (format!("start {node}, with room again"), Request::Start { node: *node })
            }
            Fault::Clock { node, seconds } => {
                let change = ClockChange::Move { ms: seconds.saturating_mul(-1_000) };
                (format!("clock {node} is right again"), Request::Clock { node: *node, change })
            }
        };
        self.tell(&what)?;
        let _: Value = self.net.ask(&request)?;
        Ok(())
    }

    /// A node that can't write ends by itself; one that had nothing to write is killed.
    fn await_end(&mut self, node: NodeNumber) -> Result<(), Stop> {
        let deadline = Instant::now() + DISK_PATIENCE;
        loop {
            let status = self.status()?;
            let row = status.nodes.iter().find(|row| row.node == node);
            if let Some(row) = row.filter(|row| row.pid.is_none()) {
                let reason = row.reason.clone().unwrap_or_default();
                self.tell(&format!("node {node} ended: {reason}"))?;
                return Ok(());
            }
            if Instant::now() > deadline {
                let _: Value = self.net.ask(&Request::Kill { node })?;
                self.tell(&format!("node {node} had nothing to write; killed"))?;
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }

    /// One payment, by a node that can answer.
    fn pay(&mut self, silent: &BTreeSet<NodeNumber>) {
        let able: Vec<_> =
            self.ground.nodes.iter().filter(|node| !silent.contains(node)).copied().collect();
        if able.is_empty() {
            return;
        }
        let node = able[self.random.random_range(0..able.len())];
        let pick = self.random.random_range(0..usize::from(u16::MAX));
        // One that does not answer is for `look` to tell of.
        if self.connect(node).is_ok()
            && let Some(rpc) = self.rpcs.get(&node)
        {
            self.payer.send_again(node, rpc);
            self.payer.pay(pick, node, rpc);
        }
    }

    /// Notes tips, and lets coins be spent again whose payments are in blocks.
    fn look(&mut self, silent: &BTreeSet<NodeNumber>) -> Result<(), Stop> {
        let able: Vec<_> =
            self.ground.nodes.iter().filter(|node| !silent.contains(node)).copied().collect();
        for node in &able {
            let info = self.info(*node)?;
            self.watch.tip(*node, &info);
        }
        if let Some(node) = able.first() {
            let rpc = &self.rpcs[node];
            self.payer.look(rpc).map_err(Breach::mute(*node))?;
        }
        Ok(())
    }

    /// What a node says of its chain; why it does not, where nothing was done to it.
    fn info(&mut self, node: NodeNumber) -> Result<BlockchainInfo, Stop> {
        self.connect(node)?;
        match self.rpcs[&node].info() {
            Ok(info) => Ok(info),
            Err(error) => {
                let status = self.status()?;
                let row = status.nodes.into_iter().find(|row| row.node == node);
                Err(match row.filter(|row| row.state == NodeState::Failed) {
                    Some(row) => {
                        Breach::Ended { node, reason: row.reason.unwrap_or_default() }.into()
                    }
                    None => Breach::mute(node)(error).into(),
                })
            }
        }
    }

    fn infos(&mut self) -> Result<BTreeMap<NodeNumber, BlockchainInfo>, Stop> {
        let nodes = self.ground.nodes.clone();
        let infos = nodes.into_iter().map(|node| {
            let info = self.info(node)?;
            self.watch.tip(node, &info);
            Ok((node, info))
        });
        infos.collect()
    }

    /// Waits until all is whole, and looks at what must hold.
    pub(super) fn judge(&mut self, mining: &Mining) -> Result<(), Stop> {
        let healed = Instant::now();
        while !self.is_one_chain()? {
            if healed.elapsed() > CONVERGENCE {
                let infos = self.infos()?;
                return Err(Breach::Apart { tips: tips(&infos) }.into());
            }
            thread::sleep(LOOK);
        }
        let took = u64::try_from(healed.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.report.longest_convergence_ms = self.report.longest_convergence_ms.max(took);
        self.settle()?;
        self.rest(mining)?;
        self.tell(&format!(
            "one chain after {took} ms; height {}, {} payments confirmed",
            self.report.height, self.payer.counts.confirmed
        ))?;
        Ok(())
    }

    /// Whether all nodes have the block that the lowest of them has on top, and none is far ahead.
    fn is_one_chain(&mut self) -> Result<bool, Stop> {
        let infos = self.infos()?;
        let heights = || infos.values().map(|info| info.blocks);
        let (Some(low), Some(high)) = (heights().min(), heights().max()) else { return Ok(true) };
        if high - low > NEAR_BLOCKS {
            return Ok(false);
        }
        let mut ids = BTreeSet::new();
        for node in infos.keys() {
            // A reorganisation in between may have taken it: then it is asked again.
            let Ok(id) = self.rpcs[node].id_at(low) else { return Ok(false) };
            ids.insert(id);
        }
        Ok(ids.len() == 1)
    }

    /// Waits until every payment is in a block of every node.
    fn settle(&mut self) -> Result<(), Stop> {
        let start = Instant::now();
        loop {
            let nodes = self.ground.nodes.clone();
            for node in &nodes {
                self.connect(*node)?;
            }
            let first = nodes[0];
            self.payer.send_again(first, &self.rpcs[&first]);
            let rpcs: Vec<&Rpc> = nodes.iter().map(|node| &self.rpcs[node]).collect();
            let lacking = self.payer.settle(&rpcs).map_err(Breach::mute(first))?;
            let Some(txid) = lacking else { return Ok(()) };
            if start.elapsed() > SETTLEMENT {
                let seconds = (CONVERGENCE + SETTLEMENT).as_secs();
                return Err(Breach::PaymentLost { txid, seconds }.into());
            }
            thread::sleep(LOOK);
        }
    }

    /// With no block on its way: all nodes on one tip, and what they say of it.
    fn rest(&mut self, mining: &Mining) -> Result<(), Stop> {
        let manual = Mining { mode: Mode::Manual, ..mining.clone() };
        let _: Mining = self.net.ask(&Request::Mining { change: Some(manual) })?;
        let start = Instant::now();
        let mut tie_since = start;
        let infos = loop {
            let infos = self.infos()?;
            let tips: BTreeSet<_> = infos.values().map(|info| info.bestblockhash.0).collect();
            if tips.len() == 1 {
                break infos;
            }
            if start.elapsed() > CONVERGENCE {
                return Err(Breach::Apart { tips: self::tips(&infos) }.into());
            }
            if tie_since.elapsed() > TIE {
                tie_since = Instant::now();
                let _: Mined = self.net.ask(&Request::Mine { blocks: 1, node: None })?;
            }
            thread::sleep(LOOK);
        };
        self.watch.same(&infos)?;
        self.report.height = infos.values().map(|info| info.blocks).max().unwrap_or(0);
        for node in self.ground.nodes.clone() {
            let rpc = &self.rpcs[&node];
            self.watch.kept(node, rpc)?;
            for (outpoint, grains) in self.payer.outpoints() {
                let txid = outpoint.txid;
                let place = vec![txid.to_string().into(), outpoint.index.into()];
                let coin = rpc.call("gettxout", place).map_err(Breach::mute(node))?;
                if coin.get("value").and_then(Value::as_u64) != Some(grains) {
                    return Err(Breach::CoinLost { node, txid, grains }.into());
                }
            }
        }
        for row in self.status()?.nodes {
            if row.state == NodeState::Failed {
                let reason = row.reason.unwrap_or_default();
                return Err(Breach::Ended { node: row.node, reason }.into());
            }
            let sample = row.pid.zip(row.memory_bytes);
            if let Some(sample) = sample.and_then(|(pid, bytes)| Sample::of(pid, bytes)) {
                self.watch.sample(row.node, sample)?;
            }
        }
        let _: Mining = self.net.ask(&Request::Mining { change: Some(mining.clone()) })?;
        Ok(())
    }
}

fn tips(infos: &BTreeMap<NodeNumber, BlockchainInfo>) -> String {
    let tip = |(node, info): (&NodeNumber, &BlockchainInfo)| {
        format!("node {node} at {} ({})", info.blocks, info.bestblockhash.0)
    };
    infos.iter().map(tip).collect::<Vec<_>>().join(", ")
}
