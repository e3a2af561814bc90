//! Rounds of feeding, faults and restarts on one data directory, until its tree is fed.

use std::{fs, path::PathBuf, thread, time::Duration};

use ashlar_primitives::{BlockId, Encode as _};
use ashlar_processes::{
    node::{Launch, Process, kill},
    rpc::Rpc,
    wait_at_most, wait_for,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    fault::Strike,
    power::{Disk, NoDisk},
    report::Tally,
    tree::{Shape, Tree},
    verify::{self, Loss, answered},
};

/// The two nodes find each other alone.
const NO_DISCOVERY: [&str; 2] = ["--discovery", "false"];
/// Latest moment of a blow after feeding began, by the way of feeding, in milliseconds.
const BLOW_RPC_MS: u64 = 120;
const BLOW_PEER_MS: u64 = 500;
/// Latest moment of a blow while the node opens, in milliseconds: it is ready in about 50.
const BLOW_OPENING_MS: u64 = 60;
/// Most blocks that a run under a tracer is fed.
const TRACED_BLOCKS: usize = 40;
/// Most blocks that a peer gets while the node follows it.
const PEER_BLOCKS: usize = 60;
/// How long a node under a tracer may follow its peer.
const FOLLOW: Duration = Duration::from_secs(2);
/// Blocks of side branches that a power cut may lose, since nobody was told that they are best:
/// they are fed again.
const FED_AGAIN: usize = 64;
/// How long a node whose disk failed may take to end: longer than its own clean stop may.
const LAST_WORDS: Duration = Duration::from_secs(30);
/// How long it is watched where it may not have noticed.
const UNNOTICED: Duration = Duration::from_millis(300);

/// How blocks come to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// By `submitblock`; a peer listens to what the node announces.
    Rpc,
    /// By a peer that has them.
    Peer,
}

/// What all campaigns share.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The node's program.
    pub node: PathBuf,
    /// Where files may be kept.
    pub folder: PathBuf,
    /// Flags for every node.
    pub flags: Vec<String>,
    /// What the trees are like.
    pub shape: Shape,
}

/// The other node, which nothing happens to.
#[derive(Debug)]
struct Partner {
    _process: Process,
    rpc: Rpc,
}

/// One tree and the node that it is fed to.
#[derive(Debug)]
pub struct Campaign<'a> {
    tree: Tree,
    feed: Feed,
    launch: Launch,
    partner: Partner,
    folder: PathBuf,
    disk: Option<&'a Disk>,
    /// Blocks that were answered by whoever is fed.
    fed: usize,
    /// Blocks that were ever sent.
    sent: usize,
    /// The place of the block that was sent and not answered.
    in_flight: Option<usize>,
    /// Whether it ever came so far as to serve: before, there may be nothing to check.
    has_served: bool,
    /// The best tip that the node told anyone.
    told: (u32, BlockId),
    random: StdRng,
    tally: &'a mut Tally,
}

impl<'a> Campaign<'a> {
    /// Grows the tree of a seed and prepares two nodes. On `disk`, which is not mounted, where one
    /// is given.
    pub fn new(
        setup: &Setup,
        feed: Feed,
        seed: u64,
        disk: Option<&'a Disk>,
        tally: &'a mut Tally,
    ) -> Result<Self, Loss> {
        let tree = Tree::grow(seed, &setup.shape);
        let folder = tempfile::Builder::new().prefix("campaign-").tempdir_in(&setup.folder);
        let folder = folder.expect("room for files").keep();
        if let Some(disk) = disk {
            disk.release();
        }
        let genesis = folder.join("genesis.json");
        fs::write(&genesis, tree.genesis_text()).expect("room for files");
        let launch = |name: &str| Launch {
            node: setup.node.clone(),
            datadir: folder.join(name),
            genesis: genesis.clone(),
            log: folder.join(format!("{name}.log")),
            flags: [setup.flags.as_slice(), &NO_DISCOVERY.map(str::to_owned)].concat(),
        };
        let mut process = launch("partner").start(&[]);
        let rpc = process.wait_ready();
        let rpc = rpc.ok_or_else(|| Loss::DoesNotStart { log: process.log_tail() })?;
        let partner = Partner { _process: process, rpc };
        let mut launch = launch("node");
        if let Some(disk) = disk {
            launch.datadir = disk.path().join(format!("node-{seed}"));
        }
        let told = (0, tree.tip_after(0));
        tally.campaigns += 1;
        Ok(Self {
            tree,
            feed,
            launch,
            partner,
            folder,
            disk,
            fed: 0,
            sent: 0,
            in_flight: None,
            has_served: false,
            told,
            random: StdRng::seed_from_u64(seed ^ 0x7061_696e),
            tally,
        })
    }

    /// Whether all is fed, so that only [`Self::finish`] is left.
    pub fn is_over(&self) -> bool {
        self.fed == self.tree.len()
    }

    /// Faults so far, those of earlier campaigns counted.
    pub fn rounds(&self) -> u32 {
        self.tally.rounds
    }

    // --- rounds

    /// Kills the node at a random moment of feeding, and now and then while it opens.
    pub fn kill(&mut self) -> Result<(), Loss> {
        if self.random.random_range(0..4) == 0 {
            let mut process = self.launch.start(&[]);
            thread::sleep(Duration::from_millis(self.random.random_range(0..=BLOW_OPENING_MS)));
            process.kill();
            self.tally.count("killed while opening");
            self.check_stopped()?;
        }
        let (mut process, rpc) = self.start_verified()?;
        let pid = process.id();
        self.feed_until(&rpc, || kill(pid))?;
        process.kill();
        self.tally.count(self.deed("killed"));
        self.tally.rounds += 1;
        self.check_stopped()
    }

    /// Starts the node under a tracer and feeds it until it is struck; then starts it without.
    /// Whether the blow came.
    pub fn strike(&mut self, strike: Strike) -> Result<bool, Loss> {
        let trace = self.folder.join("trace");
        drop(fs::remove_file(&trace));
        let mut process = self.launch.start(&strike.tracer(&self.launch.datadir, &trace));
        let rpc = process.wait_ready();
        let is_silent = match &rpc {
            Some(rpc) => self.feed(rpc, TRACED_BLOCKS)?,
            None => true,
        };
        let was_dealt = match strike.error {
            None => process.wait(UNNOTICED).is_some(),
            Some(_) => {
                self.watch_end(&mut process, is_silent)?;
                if let (false, Some(rpc)) = (process.has_ended(), &rpc) {
                    self.judge_survivor(&mut process, rpc)?;
                }
                let was_given = Strike::was_given(&trace);
                if was_given {
                    let alive = !process.has_ended();
                    let end = if alive { "went on" } else { "ended, naming the disk" };
                    self.tally.count(format!("of the errors: the node {end}"));
                }
                was_given
            }
        };
        process.kill();
        if was_dealt {
            self.tally.strike(strike.kind(), strike.nth);
        } else {
            self.tally.count("runs over before the strike came: killed at their end");
        }
        self.tally.rounds += 1;
        self.check_stopped()?;
        let (mut process, _) = self.start_verified()?;
        process.kill();
        Ok(was_dealt)
    }

    /// Cuts the power of its disk at a random moment of feeding.
    ///
    /// # Panics
    /// Without a disk.
    pub fn cut(&mut self) -> Result<(), Loss> {
        let disk = self.disk.expect("a disk whose power can be cut");
        let done = |outcome: Result<(), NoDisk>| outcome.expect("what worked before");
        done(disk.mount());
        self.check_stopped()?;
        let (mut process, rpc) = self.start_verified()?;
        self.feed_until(&rpc, || done(disk.cut()))?;
        self.watch_end(&mut process, false)?;
        process.kill();
        drop((process, rpc));
        done(disk.unmount());
        self.fed = self.fed.saturating_sub(if self.feed == Feed::Rpc { FED_AGAIN } else { 0 });
        self.tally.count(self.deed("power cut"));
        self.tally.rounds += 1;
        Ok(())
    }

    /// Feeds what is left, without faults, and compares the end, then once more with everything
    /// made anew from stored bodies. The files are deleted where all is well.
    pub fn finish(mut self) -> Result<(), Loss> {
        if let Some(disk) = self.disk {
            disk.mount().expect("what worked before");
            self.check_stopped()?;
        }
        let (mut process, rpc) = self.start_verified()?;
        // A node that follows its peer may be behind it when all is fed.
        answered("addnode", rpc.connect_to(&self.partner.rpc.peer_address))?;
        while !self.is_over() {
            if self.feed(&rpc, self.tree.len())? {
                return Err(Loss::Hangs { what: "answer", log: process.log_tail() });
            }
        }
        let height = |id| self.tree.expected(&id).map(|expected| expected.height);
        let best = self.tree.tip_after(self.tree.len());
        let arrived = wait_for(|| {
            let tip = rpc.info().ok()?.bestblockhash.0;
            (height(tip) == height(best)).then_some(())
        });
        arrived.ok_or_else(|| Loss::Hangs { what: "reach the tip", log: process.log_tail() })?;
        verify::everything(&self.tree, &rpc)?;
        process.kill();
        drop((process, rpc));
        self.check_stopped()?;
        verify::reindexed(&self.launch)?;
        drop(self.start_verified()?);
        if let Some(disk) = self.disk {
            drop(fs::remove_dir_all(&self.launch.datadir));
            disk.unmount().expect("what worked before");
        }
        drop(fs::remove_dir_all(&self.folder));
        self.tally.blocks += self.tree.len();
        self.tally.reorganisations += self.tree.depths().len();
        let deepest = self.tree.depths().iter().copied().max().unwrap_or(0);
        self.tally.deepest = self.tally.deepest.max(deepest);
        Ok(())
    }

    fn deed(&self, deed: &str) -> String {
        match self.feed {
            Feed::Rpc => format!("{deed} while blocks were submitted"),
            Feed::Peer => format!("{deed} while blocks came from a peer"),
        }
    }

    // --- feeding

    /// Feeds while a blow is on its way.
    fn feed_until(&mut self, rpc: &Rpc, blow: impl FnOnce() + Send) -> Result<(), Loss> {
        let latest = if self.feed == Feed::Rpc { BLOW_RPC_MS } else { BLOW_PEER_MS };
        let after = Duration::from_millis(self.random.random_range(0..=latest));
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(after);
                blow();
            });
            self.feed(rpc, self.tree.len()).map(drop)
        })
    }

    /// Feeds up to `most` blocks; whether the node fell silent before.
    fn feed(&mut self, rpc: &Rpc, most: usize) -> Result<bool, Loss> {
        if rpc.connect_to(&self.partner.rpc.peer_address).is_err() {
            return Ok(true);
        }
        match self.feed {
            Feed::Rpc => self.submit(rpc, most),
            Feed::Peer => self.follow(rpc, most),
        }
    }

    fn submit(&mut self, rpc: &Rpc, most: usize) -> Result<bool, Loss> {
        for place in self.fed..self.tree.len().min(self.fed + most) {
            let id = self.tree.id(place);
            if self.random.random_range(0..3) == 0 && self.offer_payments(rpc, &id).is_err() {
                return Ok(true);
            }
            let was_sent = place < self.sent;
            self.sent = self.sent.max(place + 1);
            self.in_flight = Some(place);
            let Ok(answer) = rpc.submit(&self.tree.bytes(&id)) else { return Ok(true) };
            // A block that was there already may still be on its way to the tip.
            let is_new = answer.as_deref() != Some("duplicate");
            self.judge_answer(place, answer, was_sent)?;
            self.in_flight = None;
            self.fed = place + 1;
            if is_new {
                self.note_told(self.tree.tip_after(self.fed));
            } else if self.look(rpc).is_err() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A block's payments before the block: what the mempool makes of them is its own business.
    fn offer_payments(&self, rpc: &Rpc, id: &BlockId) -> Result<(), ashlar_rpc::ClientError> {
        let payments = self.tree.transactions(id);
        rpc.send(payments.iter().map(|payment| hex::encode(payment.to_bytes())).collect())
    }

    fn judge_answer(
        &self,
        place: usize,
        found: Option<String>,
        was_sent: bool,
    ) -> Result<(), Loss> {
        let id = self.tree.id(place);
        let becomes_tip = self.tree.tip_after(place + 1) == id;
        let expected = (!becomes_tip).then(|| "inconclusive".to_owned());
        let is_repeated = was_sent && found.as_deref() == Some("duplicate");
        if found == expected || is_repeated {
            return Ok(());
        }
        Err(Loss::WrongAnswer { id, place, found, expected })
    }

    /// The peer gets blocks; the node follows.
    fn follow(&mut self, rpc: &Rpc, most: usize) -> Result<bool, Loss> {
        let count = most.min(self.random.random_range(5..=PEER_BLOCKS));
        for place in self.fed..self.tree.len().min(self.fed + count) {
            let id = self.tree.id(place);
            let answer = answered("submitblock", self.partner.rpc.submit(&self.tree.bytes(&id)))?;
            self.judge_answer(place, answer, place < self.sent)?;
            self.fed = place + 1;
            self.sent = self.sent.max(self.fed);
            if self.look(rpc).is_err() {
                return Ok(true);
            }
        }
        let end = self.tree.expected(&self.tree.tip_after(self.fed)).map(|end| end.height);
        let followed = wait_at_most(FOLLOW, || match self.look(rpc) {
            Err(_) => Some(true),
            Ok(()) => (Some(self.told.0) == end).then_some(false),
        });
        Ok(followed.unwrap_or(false))
    }

    /// Sees what the node's tip is: from now on it may not lose it.
    fn look(&mut self, rpc: &Rpc) -> Result<(), ashlar_rpc::ClientError> {
        let info = rpc.info()?;
        self.note_told(info.bestblockhash.0);
        Ok(())
    }

    fn note_told(&mut self, tip: BlockId) {
        if let Some(expected) = self.tree.expected(&tip)
            && expected.height > self.told.0
        {
            self.told = (expected.height, tip);
        }
    }

    // --- after a fault

    /// Starts the node without peers or faults, and compares everything that it says.
    fn start_verified(&mut self) -> Result<(Process, Rpc), Loss> {
        let mut process = self.launch.start(&[]);
        let rpc = process.wait_ready();
        let rpc = rpc.ok_or_else(|| Loss::DoesNotStart { log: process.log_tail() })?;
        // What it shows first must be enough already; it may then go on to a block that it had
        // stored before the fault and told nobody of.
        let shown = answered("getblockchaininfo", rpc.info())?.bestblockhash.0;
        self.check_tip(shown)?;
        let tip = verify::everything(&self.tree, &rpc)?;
        self.check_tip(tip)?;
        self.tally.verified += 1;
        self.has_served = true;
        Ok((process, rpc))
    }

    /// What was told to callers and to the peer must be there.
    fn check_tip(&mut self, tip: BlockId) -> Result<(), Loss> {
        let expected = self.tree.expected(&tip).ok_or(Loss::UnknownTip { tip })?;
        let lost = |wanted, wanted_height| Loss::TipLost {
            wanted,
            wanted_height,
            found: tip,
            found_height: expected.height,
        };
        if self.feed == Feed::Rpc {
            // The block without an answer may have been taken, or passed on before it was.
            let in_flight = self.in_flight.map(|place| self.tree.id(place));
            let next = self.in_flight.map(|place| self.tree.tip_after(place + 1));
            // The peer heard of every block from this node alone.
            let heard = answered("getblockchaininfo", self.partner.rpc.info())?;
            let (id, height) = (heard.bestblockhash.0, heard.blocks);
            if height > expected.height && Some(id) != in_flight {
                return Err(lost(id, height));
            }
            // What was there already when it was sent again may not have been the tip yet.
            let last = self.tree.tip_after(self.fed);
            if tip != self.told.1 && tip != last && Some(tip) != next {
                return Err(lost(self.told.1, self.told.0));
            }
        }
        if self.told.0 > expected.height {
            return Err(lost(self.told.1, self.told.0));
        }
        if self.tree.place(&tip).is_none_or(|place| place > self.sent) {
            return Err(Loss::UnknownTip { tip });
        }
        self.note_told(tip);
        Ok(())
    }

    /// A node whose disk failed ends by itself, with an error that names the disk.
    /// `must_end`: it fell silent, so that it must be about to.
    fn watch_end(&self, process: &mut Process, must_end: bool) -> Result<(), Loss> {
        let patience = if must_end { LAST_WORDS } else { UNNOTICED };
        let Some(status) = process.wait(patience) else {
            if must_end {
                return Err(Loss::Hangs { what: "end", log: process.log_tail() });
            }
            return Ok(());
        };
        let log = process.log();
        let names_disk = ["storage failed", "stored data", "disk"].iter().any(|w| log.contains(w))
            || log.contains(&self.launch.datadir.display().to_string());
        if status.code().is_some_and(|code| code != 0) && names_disk && !log.contains("panicked") {
            return Ok(());
        }
        Err(Loss::IllEnd { status, log: process.log_tail() })
    }

    /// A node that went on after an error: nothing may be wrong with it, or it ends now.
    fn judge_survivor(&mut self, process: &mut Process, rpc: &Rpc) -> Result<(), Loss> {
        match verify::everything(&self.tree, rpc) {
            Ok(tip) => self.check_tip(tip),
            // What it can't read for a caller ends it, too.
            Err(Loss::NoAnswer { .. }) => self.watch_end(process, true),
            Err(loss) => Err(loss),
        }
    }

    /// What commands say of the stopped node.
    fn check_stopped(&mut self) -> Result<(), Loss> {
        if !self.has_served {
            return Ok(());
        }
        self.tally.checked += 1;
        verify::stopped(&self.tree, &self.launch, &self.folder.join("exported"))
    }
}
