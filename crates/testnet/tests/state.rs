//! Time, saves and reorganisations on real nodes. The programs must be built.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, process::Command};

use ashlar_primitives::{BlockId, Txid};
use ashlar_rpc::{Client, ClientError, RunFile, prelude::*, types::HeaderResult};
use ashlar_testnet::{
    NodeNumber, Testnet, TestnetError,
    clock::{Moment, Speed, TimeChange, TimeNow},
    control::Request,
    layout::Layout,
    programs::Programs,
    reorg::{Against, Reorganised},
    saves::{Save, Saves},
    tree::Run,
    wallets::KnownWallet,
};
use serde_json::Value;
use tokio::runtime::Runtime;

const YEAR_2030_MS: u64 = 1_893_456_000_000;
const HOUR_MS: u64 = 3_600_000;

/// Polls until something holds.
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let found = ashlar_processes::wait_for(|| holds().then_some(()));
    assert!(found.is_some(), "waited too long until {what}");
}

/// A testnet, and calls to its nodes.
struct Net {
    testnet: Testnet,
    runtime: Runtime,
}

impl Net {
    fn start(text: &str) -> Self {
        Self::of(Testnet::start_with(text).unwrap())
    }

    fn of(testnet: Testnet) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { testnet, runtime }
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, request: &Request) -> T {
        self.testnet.ask(request).unwrap()
    }

    fn time(&self, change: TimeChange) -> TimeNow {
        self.ask(&Request::Time { change: Some(change) })
    }

    fn mine(&self, blocks: u32) -> BlockId {
        let mined = self.testnet.mine(blocks, None).unwrap();
        self.testnet.wait_for_one_tip().unwrap();
        mined.blocks.last().unwrap().0
    }

    fn client(&self, node: NodeNumber) -> Client {
        let datadir = self.testnet.layout().node(node);
        let run = RunFile::read(&datadir).unwrap();
        self.runtime
            .block_on(async { Client::connect(&run.rpc, &RunFile::credentials(&datadir)).unwrap() })
    }

    fn tip(&self, node: NodeNumber) -> (u32, BlockId) {
        let info = self.runtime.block_on(self.client(node).getblockchaininfo()).unwrap();
        (info.at.tip_height, info.at.tip.0)
    }

    /// Time, bits and whether it was relieved, of a block.
    fn header(&self, id: BlockId) -> (u32, u32, bool) {
        let header = self.runtime.block_on(self.client(1).getblockheader(id.into(), None));
        let HeaderResult::Detail(header) = header.unwrap() else { panic!("raw") };
        (header.time, u32::from_str_radix(&header.bits, 16).unwrap(), header.relieved)
    }

    /// Blocks on a transaction: 0 while it waits; `None` where it is unknown.
    fn confirmations(&self, node: NodeNumber, txid: Txid) -> Option<u32> {
        match self.runtime.block_on(self.client(node).gettransaction(txid.into())) {
            Ok(status) => Some(status.confirmations),
            Err(error) => {
                assert_eq!(ClientError::from(error).code(), Some("not-found"));
                None
            }
        }
    }

    fn pay(&self, name: &str) -> Txid {
        let address = KnownWallet::of(name, "test").address;
        let mut command = Command::new(Programs::find().unwrap().testnet);
        command.arg("--dir").arg(self.testnet.layout().folder()).args(["--json", "wallet"]);
        let paid = command.args(["send", &address, "5", "--yes"]).output().unwrap();
        assert!(paid.status.success(), "{}", String::from_utf8_lossy(&paid.stderr));
        let paid: Value = serde_json::from_slice(&paid.stdout).unwrap();
        let txid = paid["txid"].as_str().unwrap().parse().unwrap();
        wait_for("the miner has it", || self.confirmations(1, txid) == Some(0));
        txid
    }

    fn balance(&self, name: &str) -> u64 {
        let address = KnownWallet::of(name, "test").address;
        let balance = self.client(2);
        let balance = balance.getaddressbalance(address.as_str().into());
        self.runtime.block_on(balance).unwrap().balance
    }
}

#[test]
fn one_clock_for_all_nodes_in_which_years_take_moments() {
    let net = Net::start(
        "nodes = 2\n[mining]\nmode = \"manual\"\n[genesis]\nset = { halving_interval = 20 }\n",
    );
    net.time(TimeChange::Speed(Speed(0)));
    let now = net.time(TimeChange::Set(Moment(YEAR_2030_MS)));
    assert_eq!((now.unix_ms, now.speed_permille, now.is_real), (YEAR_2030_MS, 0, false));
    let first = net.mine(1);
    assert_eq!(u64::from(net.header(first).0) * 1_000, YEAR_2030_MS);
    // One that starts later has it from the beginning.
    net.ask::<()>(&Request::Kill { node: 2 });
    net.ask::<()>(&Request::Start { node: 2 });
    let read = net.runtime.block_on(net.client(2).clock(None)).unwrap();
    assert_eq!(read.unix_ms, YEAR_2030_MS);
    let subsidy = || net.runtime.block_on(net.client(1).getmininginfo()).unwrap().next.subsidy;
    let before = subsidy();
    let step = TimeChange::Advance { step_ms: HOUR_MS, blocks: 20 };
    assert_eq!(net.time(step).unix_ms, YEAR_2030_MS + HOUR_MS);
    net.testnet.wait_for_one_tip().unwrap();
    let (height, tip) = net.tip(2);
    assert_eq!((height, u64::from(net.header(tip).0) * 1_000), (21, YEAR_2030_MS + HOUR_MS));
    assert_eq!(subsidy(), before / 2);
    let far = Request::Time { change: Some(TimeChange::Advance { step_ms: u64::MAX, blocks: 0 }) };
    let refused = net.testnet.ask::<TimeNow>(&far).unwrap_err();
    assert!(matches!(&refused, TestnetError::Refused(refusal) if refusal.code == "bad-time"));
    assert!(net.time(TimeChange::Real).is_real);
}

#[test]
fn difficulty_follows_a_clock_that_runs_by_wish() {
    let net = Net::start(
        "nodes = 1\n[mining]\nmode = \"manual\"\n[genesis]\npreset = \"work\"\n\
         set = { bits = \"2000ffff\", pow_limit_bits = \"2000ffff\" }\n",
    );
    net.time(TimeChange::Speed(Speed(0)));
    let easiest = 0x2000_ffff;
    // Four times the hash power that the chain expects: 40 blocks in 100 s in place of 10.
    net.time(TimeChange::Advance { step_ms: 100_000, blocks: 40 });
    let (_, bits, relieved) = net.header(net.tip(1).1);
    assert!(bits < easiest && !relieved, "{bits:x}");
    // Nobody finds one for as long as relief takes.
    net.time(TimeChange::Advance { step_ms: 301_000, blocks: 0 });
    let (_, _, relieved) = net.header(net.mine(1));
    assert!(relieved);
}

#[test]
fn a_save_brings_everything_back_here_and_elsewhere() {
    let net = Net::start("nodes = 2\n[mining]\nmode = \"manual\"\n");
    net.time(TimeChange::Set(Moment(YEAR_2030_MS)));
    net.mine(3);
    let saved_at = net.tip(1);
    let txid = net.pay("alice");
    let save: Save = net.ask(&Request::Save { name: "before".into() });
    assert_eq!((save.height(), save.nodes.len()), (3, 2));
    net.mine(2);
    assert_eq!(net.confirmations(1, txid), Some(2));
    let again = net.testnet.ask::<Save>(&Request::Save { name: "before".into() }).unwrap_err();
    assert!(matches!(&again, TestnetError::Refused(refusal) if refusal.code == "save-exists"));
    net.time(TimeChange::Real);

    net.ask::<Save>(&Request::Load { name: "before".into() });
    assert_eq!((net.tip(1), net.tip(2)), (saved_at, saved_at));
    wait_for("it waits again", || net.confirmations(1, txid) == Some(0));
    let now: TimeNow = net.ask(&Request::Time { change: None });
    assert!((YEAR_2030_MS..YEAR_2030_MS + HOUR_MS).contains(&now.unix_ms), "{now}");
    // It is a net that goes on.
    net.mine(1);
    assert_eq!(net.confirmations(1, txid), Some(1));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.tar");
    Saves::of(net.testnet.layout()).export("before", &file).unwrap();
    let layout = Layout::at(&folder.path().join("there")).unwrap();
    fs::create_dir(layout.folder()).unwrap();
    Saves::of(&layout).import(&file, None).unwrap();
    Saves::of(&layout).restore("before").unwrap();
    // Beside the first, which has the ports.
    let there = Net::of(Testnet::make(layout, None, None).unwrap());
    there.testnet.up(None).unwrap();
    assert_eq!((there.tip(1), there.tip(2)), (saved_at, saved_at));
    there.testnet.down().unwrap();
}

#[test]
fn a_branch_is_replaced_by_a_heavier_one_without_a_payment() {
    let net = Net::start("nodes = 3\n[mining]\nmode = \"manual\"\n");
    // The worst case: the new blocks have the old ones' times.
    net.time(TimeChange::Speed(Speed(0)));
    net.mine(2);
    let txid = net.pay("alice");
    net.mine(3);
    let paid = net.balance("alice");
    let old = net.tip(1);
    assert!(paid > 0 && net.confirmations(3, txid) == Some(3));
    let against = Some(Against::Drop(txid.into()));
    let done: Reorganised = net.ask(&Request::Reorg { depth: 3, against, node: Some(2) });
    assert_eq!((done.fork, done.old_tip.0, done.old_height), (2, old.1, 5));
    assert_eq!((done.new_height, done.followed.first()), (6, Some(&2)));
    net.testnet.wait_for_one_tip().unwrap();
    assert_eq!(done.left_out.iter().map(|txid| txid.0).collect::<Vec<_>>(), [txid]);
    for node in 1..=3 {
        assert_eq!(net.tip(node), (6, done.new_tip.0));
    }
    wait_for("it waits again", || net.confirmations(1, txid) == Some(0));
    assert_eq!(net.balance("alice"), 0);
    let tree: Run = net.ask(&Request::Tree);
    assert_eq!(tree.tips(), 1);
    assert_eq!((tree.to, tree.branches.len()), (2, 2));
    assert_eq!(tree.branches[0].nodes, [1, 2, 3]);
    assert_eq!((tree.branches[1].to, tree.branches[1].id.0), (5, old.1));

    // It comes back, and then its payer takes it back for good.
    net.mine(1);
    assert_eq!((net.confirmations(1, txid), net.balance("alice")), (Some(1), paid));
    let against = Some(Against::DoubleSpend(txid.into()));
    let done: Reorganised = net.ask(&Request::Reorg { depth: 1, against, node: None });
    let rival = done.double_spend.unwrap().0;
    net.testnet.wait_for_one_tip().unwrap();
    assert_eq!(net.confirmations(3, rival), Some(2));
    net.mine(2);
    assert_eq!((net.confirmations(1, txid), net.balance("alice")), (None, 0));
    let too_deep = Request::Reorg { depth: 100, against: None, node: None };
    let refused = net.testnet.ask::<Reorganised>(&too_deep).unwrap_err();
    assert!(matches!(&refused, TestnetError::Refused(refusal) if refusal.code == "bad-reorg"));
    let nowhere = Request::Reorg { depth: 1, against, node: None };
    assert!(net.testnet.ask::<Reorganised>(&nowhere).is_err(), "it is in no block");
}
