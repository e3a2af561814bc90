//! A deep reorganisation, and a process that is gone in the middle of it.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use ashlar_primitives::BlockId;
use ashlar_testkit::builder::{Chain, Plan, Spend, genesis_text, genesis_with, key, lock, output};
use serde_json::json;

use crate::harness::{Net, Node, binary, signal, wait_for};

/// Blocks that the first reorganisation takes away; each that follows takes some more.
const DEPTH: usize = 60;

/// Coins that each block makes: enough of them for a reorganisation of several steps.
const COINS: usize = 1_000;

/// How often the node is killed.
const KILLS: u32 = 6;

/// Two branches from genesis, each of which can always become the heavier one.
struct Race {
    chain: Chain,
    genesis: PathBuf,
    branches: [Vec<BlockId>; 2],
    fed: [usize; 2],
}

impl Race {
    fn new(net: &Net) -> Self {
        let allocations = vec![(lock(1), 1_000_000); DEPTH + 2 * KILLS as usize + 2];
        let genesis = net.path("genesis.json");
        fs::write(&genesis, genesis_text(&allocations, &[])).unwrap();
        let mut chain = Chain::new(genesis_with(&allocations, &[]));
        let coins = chain.spendable(&chain.genesis_id(), &lock(1));
        let mut grow = |owner| {
            let mut tip = chain.genesis_id();
            let mut branch = Vec::new();
            for coin in &coins {
                let outputs = vec![output(lock(owner), 500); COINS];
                let spend = Spend { inputs: vec![*coin], outputs, ..Spend::default() };
                let spend = spend.sign(&chain.genesis_id(), &[&key(1)]);
                tip = chain.extend(&tip, Plan::of(vec![spend])).id();
                branch.push(tip);
            }
            branch
        };
        let branches = [grow(2), grow(3)];
        Self { chain, genesis, branches, fed: [0, 0] }
    }

    /// The next block of a branch, in hexadecimal, and its id.
    fn next(&mut self, branch: usize) -> (String, String) {
        let id = self.branches[branch][self.fed[branch]];
        self.fed[branch] += 1;
        (hex::encode(self.chain.block(&id).to_bytes()), id.to_string())
    }

    fn feed(&mut self, node: &Node, branch: usize, count: usize) {
        for _ in 0..count {
            node.call("submitblock", json!([self.next(branch).0]));
        }
    }
}

/// Where the ledger of a stopped node stands, which is sound there.
fn stored_tip(node: &Node) -> String {
    let mut command = Command::new(binary("ashlar-node"));
    command.args(["check", "--depth", "5", "--profile", "small", "--datadir"]).arg(&node.datadir);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("sound"), "{said}");
    said.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn a_deep_reorganisation_killed_in_its_middle_is_finished_by_the_next_start() {
    let net = Net::new();
    let mut race = Race::new(&net);
    let mut node = net.node_on(&race.genesis, &[], &[]);
    race.feed(&node, 0, DEPTH);
    race.feed(&node, 1, DEPTH);
    let mut before = race.branches[0][DEPTH - 1].to_string();
    assert_eq!(node.tip(), before);

    // How long it takes when nobody disturbs.
    let begun = Instant::now();
    let (block, mut after) = race.next(1);
    node.call("submitblock", json!([block]));
    wait_for("the other branch is the best", || (node.tip() == after).then_some(()));
    let undisturbed = begun.elapsed();

    let mut half_way = 0;
    for kill in 1..=KILLS {
        // One block draws level, the next one wins.
        let branch = usize::from(kill % 2 == 0);
        race.feed(&node, branch, 1);
        let (block, heavier) = race.next(branch);
        (before, after) = (after, heavier);
        thread::scope(|scope| {
            let submitting = scope.spawn(|| drop(node.try_call("submitblock", json!([block]))));
            thread::sleep(undisturbed * kill / (KILLS + 1) + Duration::from_millis(5));
            signal(node.pid(), "KILL");
            submitting.join().unwrap();
        });
        node.kill();
        let stored = stored_tip(&node);
        half_way += u32::from(stored != before && stored != after);

        // Nobody is ever told of what lies between.
        node.start(&[]);
        let told = node.tip();
        assert!(told == before || told == after, "{told}");
        node.call("submitblock", json!([block]));
        wait_for("the heavier branch is the best", || (node.tip() == after).then_some(()));
    }
    assert!(half_way > 0, "no kill came in the middle of {undisturbed:?}");
    node.stop();
    assert_eq!(stored_tip(&node), after);
    // Also a start that finished one tells where from and where to.
    for line in node.log().lines().filter(|line| line.contains("was reorganised")) {
        let id = |name| line.split(name).nth(1).and_then(|rest| rest.split(' ').next());
        assert!(id("old_tip=").is_some() && id("old_tip=") != id("new_tip="), "{line}");
    }
}
