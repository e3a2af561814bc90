//! What the methods about the chain mean, beyond that they answer.

use std::sync::Arc;

use ashlar_consensus::{Target, Work};
use ashlar_ledger::Settings;
use ashlar_primitives::{BlockId, Decode as _, Encode as _, Header, Txid};
use ashlar_rpc::{
    ClientError,
    prelude::*,
    types::{
        Addresses, BlockName, BlockResult, HeaderResult, MerkleProof, RawTransactionResult, Text,
        Verbosity,
    },
};
use ashlar_testkit::builder::{self, Chain, Plan, genesis_with, lock};
use serde_json::json;

use crate::fake::{ALLOCATION, Fake, address};
use crate::running::{Running, start, start_with};

fn code<T: core::fmt::Debug>(result: Result<T, impl Into<ClientError>>) -> String {
    result.unwrap_err().into().code().unwrap().to_owned()
}

/// A chain whose block 2 holds a payment of key 1 to key 2.
async fn paid() -> (Running, Text<Txid>) {
    let running = start().await;
    let client = running.client();
    running.node.mine_on(None);
    let payment = running.node.payment(lock(2), 300_000, 1_000);
    let txid = client.sendrawtransaction(payment).await.unwrap();
    client.generatetoaddress(2, address(3), None).await.unwrap();
    (running, txid)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_come_in_order_and_each_has_the_work_that_it_claims() {
    let (running, _) = paid().await;
    let client = running.client();
    let all = client.getblockheaders(0, 2_000, None).await.unwrap();
    assert_eq!((all.start, all.headers.len(), all.at.tip_height), (0, 4, 3));
    let mut parent = BlockId::ZERO;
    for header in &all.headers {
        let HeaderResult::Raw(raw) = header else { panic!("hex unless asked otherwise") };
        let header = Header::from_bytes(&raw.0).unwrap();
        assert_eq!(header.parent, parent);
        parent = header.id();
        let target = Target::from_bits(header.bits).unwrap();
        assert!(parent == running.node.genesis_id() || target.is_met_by(&parent));
    }
    assert_eq!(parent, all.at.tip.0);
    let some = client.getblockheaders(1, 2, Some(true)).await.unwrap();
    let heights = some.headers.iter().map(|header| match header {
        HeaderResult::Detail(header) => (header.height, header.confirmed_work),
        HeaderResult::Raw(_) => panic!("objects were asked for"),
    });
    assert_eq!(heights.collect::<Vec<_>>(), [(1, 3.0), (2, 2.0)]);
    assert_eq!(code(client.getblockheaders(4, 1, None).await), "invalid-parameter");
    for count in [0, 2_001] {
        assert_eq!(code(client.getblockheaders(0, count, None).await), "invalid-parameter");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_and_a_stretch_of_blocks_are_counted() {
    let (running, _) = paid().await;
    let client = running.client();
    let stats = client.getblockstats(BlockName::Height(2)).await.unwrap();
    assert_eq!((stats.txs, stats.ins, stats.outs, stats.utxo_increase), (2, 1, 3, 2));
    assert_eq!(
        (stats.totalfee, stats.minfee, stats.medianfee),
        (Some(1_000), Some(1_000), Some(1_000))
    );
    assert_eq!(
        (stats.total_out, stats.subsidy, stats.claimed),
        (999_000, 500_000_000, 500_001_000)
    );
    assert_eq!(client.getblockstats(BlockName::Hash(stats.blockhash)).await.unwrap(), stats);
    let empty = client.getblockstats(BlockName::Height(1)).await.unwrap();
    assert_eq!((empty.txs, empty.totalfee, empty.avgtxsize), (1, Some(0), 0));
    let genesis = client.getblockstats(BlockName::Height(0)).await.unwrap();
    assert_eq!((genesis.totalfee, genesis.outs), (None, 1), "nothing was spent that is remembered");
    assert_eq!(code(client.getblockstats(BlockName::Height(9)).await), "invalid-parameter");
    let unknown = BlockName::Hash(BlockId::ZERO.into());
    assert_eq!(code(client.getblockstats(unknown).await), "not-found");

    let stats = client.getchaintxstats(None, None).await.unwrap();
    assert_eq!((stats.window_block_count, stats.window_tx_count), (3, 4));
    let interval = stats.window_interval;
    assert_eq!(stats.txrate, Some(4.0 / f64::from(interval)));
    let two = client.getchaintxstats(Some(2), Some(client.getblockhash(2).await.unwrap())).await;
    assert_eq!(two.unwrap().window_tx_count, 3);
    assert_eq!(code(client.getchaintxstats(Some(4), None).await), "invalid-parameter");
    assert_eq!(code(client.getchaintxstats(Some(1_001), None).await), "too-many");

    let set = client.gettxoutsetinfo().await.unwrap();
    let info = client.getblockchaininfo().await.unwrap();
    assert_eq!((set.txouts, set.total_amount), (info.coins, info.supply));
    assert_eq!((set.utxo_commitment, set.height), (info.utxo_commitment, 3));

    assert!(client.getnetworkhashps(None, None).await.unwrap() <= 1, "two hashes in ten seconds");
    assert_eq!(code(client.getnetworkhashps(Some(0), None).await), "invalid-parameter");
    assert_eq!(code(client.getnetworkhashps(None, Some(4)).await), "invalid-parameter");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_proves_its_transaction_and_no_other() {
    let (running, txid) = paid().await;
    let client = running.client();
    let proof = client.getmerkleproof(txid, None).await.unwrap();
    assert_eq!((proof.position, proof.leaves, proof.height), (1, 2, 2));
    let raw = client.getrawtransaction(txid, Some(Verbosity(0)), None).await.unwrap();
    assert_eq!(raw, RawTransactionResult::Raw(proof.hex.clone()));
    assert_eq!(client.getmerkleproof(txid, Some(proof.blockhash)).await.unwrap(), proof);
    let verified = client.verifymerkleproof(proof.clone()).await.unwrap();
    assert_eq!((verified.txid, verified.confirmations, verified.confirmed_work), (txid, 2, 2.0));
    let BlockResult::Summary(block) = client.getblock(proof.blockhash, None).await.unwrap() else {
        panic!("ids")
    };
    let coinbase = client.getmerkleproof(block.tx[0], None).await.unwrap();
    assert_eq!(coinbase.position, 0);
    client.verifymerkleproof(coinbase.clone()).await.unwrap();

    let spoils: [fn(&mut MerkleProof, &MerkleProof); 6] = [
        |proof, other| proof.txid = other.txid,
        |proof, other| proof.hex = other.hex.clone(),
        |proof, _| proof.position = 0,
        |proof, _| proof.branch[0].0[31] ^= 1,
        |proof, _| proof.branch.clear(),
        |proof, _| proof.header.0[79] ^= 1,
    ];
    for spoil in spoils {
        let mut spoiled = proof.clone();
        spoil(&mut spoiled, &coinbase);
        assert_eq!(code(client.verifymerkleproof(spoiled).await), "bad-proof");
    }
    // A right proof of a block that nobody knows here.
    let mut foreign = proof.clone();
    let header = Header { time: 1, ..Header::from_bytes(&proof.header.0).unwrap() };
    (foreign.header, foreign.blockhash) = (header.to_bytes().into(), header.id().into());
    assert_eq!(code(client.verifymerkleproof(foreign).await), "not-found");
    let elsewhere = client.getblockhash(1).await.unwrap();
    assert_eq!(code(client.getmerkleproof(txid, Some(elsewhere)).await), "not-found");
    assert_eq!(code(client.getmerkleproof(Text(Txid::ZERO), None).await), "not-found");
    // Off the best chain a proof is as right, and buries nothing.
    client.invalidateblock(proof.blockhash).await.unwrap();
    let verified = client.verifymerkleproof(proof).await.unwrap();
    assert_eq!((verified.confirmations, verified.confirmed_work), (-1, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coins_are_found_without_the_index_as_with_it() {
    let (running, _) = paid().await;
    let client = running.client();
    let all = || Addresses::from(vec![address(1), address(2), address(3)]);
    let scanned = client.scantxoutset(all(), None).await.unwrap();
    let mut by_index = client.getaddressutxos(all(), None, None).await.unwrap().utxos;
    by_index.sort_by_key(|utxo| (utxo.txid, utxo.vout));
    let found: Vec<_> =
        scanned.unspents.iter().map(|coin| (coin.txid, coin.vout, coin.value)).collect();
    let mut sorted = found.clone();
    sorted.sort_unstable();
    let indexed: Vec<_> = by_index.iter().map(|utxo| (utxo.txid, utxo.vout, utxo.value)).collect();
    assert_eq!(sorted, indexed);
    assert_eq!(scanned.total_amount, indexed.iter().map(|(_, _, value)| value).sum::<u64>());
    let info = client.gettxoutsetinfo().await.unwrap();
    assert_eq!((scanned.txouts, scanned.next), (info.txouts, None));
    assert_eq!(code(client.scantxoutset("x".into(), None).await), "invalid-address");
    let bad = client.scantxoutset(all(), Some("xyz".into())).await;
    assert_eq!(code(bad), "invalid-parameter");

    let off = Settings { lock_index: false, ..Settings::default() };
    let running = start_with(Fake::with(off), |_| ()).await;
    let scanned = running.client().scantxoutset(address(1).as_str().into(), None).await.unwrap();
    assert_eq!(scanned.total_amount, ALLOCATION);
    let info = running.client().getindexinfo().await.unwrap();
    assert!(info.transaction.synced && !info.address.synced);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_move_the_tip_and_say_where_it_is() {
    let (running, _) = paid().await;
    let client = running.client();
    let tip = client.getbestblockhash().await.unwrap();
    let below = client.getblockhash(2).await.unwrap();
    let moved = client.invalidateblock(tip).await.unwrap();
    assert_eq!((moved.tip, moved.tip_height), (below, 2));
    let HeaderResult::Detail(header) = client.getblockheader(tip, None).await.unwrap() else {
        panic!("an object")
    };
    assert_eq!((header.invalid.as_deref(), header.confirmed_work), (Some("invalidated"), 0.0));
    assert_eq!(client.reconsiderblock(tip).await.unwrap().tip, tip);
    let unknown = client.invalidateblock(BlockId([7; 32]).into()).await.unwrap_err();
    assert!(unknown.to_string().contains(&BlockId([7; 32]).to_string()), "{unknown}");
    assert_eq!(code(client.pruneblockchain(1).await), "not-pruning");
    assert_eq!(code(client.pruneblockchain(4).await), "invalid-parameter");
    let verified = client.verifychain(Some(2)).await.unwrap();
    assert!(verified.sound && verified.findings.is_empty());
    assert_eq!((verified.blocks, verified.headers, verified.at.tip), (2, 3, tip));
    assert_eq!(code(client.verifychain(Some(1_001)).await), "too-many");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_height_is_answered_when_it_is_there_or_the_time_is_over() {
    let running = start().await;
    let (client, node) = (running.client(), Arc::clone(&running.node));
    assert_eq!(client.waitforblockheight(0, None).await.unwrap().tip_height, 0);
    let waiting = client.clone();
    let waits = tokio::spawn(async move { waiting.waitforblockheight(2, Some(60_000)).await });
    running.until_listeners(|count| count > 0).await;
    node.mine_on(None);
    let tip = node.mine_on(None);
    assert_eq!(waits.await.unwrap().unwrap().tip.0, tip);
    let patient = client.waitforblockheight(3, Some(50)).await.unwrap();
    assert_eq!(patient.tip_height, 2, "the time was over");
    assert_eq!(code(client.waitforblockheight(3, Some(100_001)).await), "invalid-parameter");
}

/// Stall relief after 7 hours without a block, on a chain that is not at its easiest.
fn stalling() -> Chain {
    let changes = [
        ("bits", json!("200fffff")),
        ("difficulty_half_life", json!(172_800)),
        ("stall_relief_seconds", json!(25_200)),
    ];
    Chain::new(genesis_with(&[(lock(1), ALLOCATION)], &changes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relieved_blocks_are_marked_and_bury_little() {
    let running = start_with(Fake::of(stalling(), Settings::default()), |_| ()).await;
    let client = running.client();
    let first = running.node.mine_on(None);
    assert!(client.getblockchaininfo().await.unwrap().warnings.is_empty());
    let late = builder::GENESIS_TIME + 10 + 2 * 25_200;
    let plan = Plan { time: Some(late), ..Plan::default() };
    let relieved = running.node.mine(None, plan);
    let detail = async |id: BlockId| match client.getblockheader(id.into(), None).await.unwrap() {
        HeaderResult::Detail(header) => *header,
        HeaderResult::Raw(_) => panic!("an object"),
    };
    let (buried, easy) = (detail(first).await, detail(relieved).await);
    assert!(easy.relieved && !buried.relieved);
    assert_eq!((buried.confirmations, easy.confirmations), (2, 1));
    let work = |bits: &str| {
        let bits = u32::from_str_radix(bits, 16).unwrap();
        Target::from_bits(bits).map_or(Work::ZERO, Target::work)
    };
    assert!(work(&easy.bits) < work(&buried.bits));
    assert!(easy.confirmed_work < 0.6, "{}", easy.confirmed_work);
    assert!(buried.confirmed_work < easy.confirmed_work + 1.5, "{}", buried.confirmed_work);

    let told = client.getblockchaininfo().await.unwrap().warnings;
    assert!(told[0].starts_with("1 of the last 20 blocks"), "{told:?}");
    assert_eq!(client.getnetworkinfo().await.unwrap().warnings, told);
    assert_eq!(client.getmininginfo().await.unwrap().warnings, told);
    for _ in 0..19 {
        running.node.mine_on(None);
        assert_eq!(client.getblockchaininfo().await.unwrap().warnings, told);
    }
    running.node.mine_on(None);
    assert!(client.getblockchaininfo().await.unwrap().warnings.is_empty(), "20 blocks ago");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_tells_of_itself_and_of_its_methods() {
    let running = start().await;
    let client = running.client();
    assert_eq!(client.uptime().await.unwrap(), 86_400);
    let memory = client.getmemoryinfo().await.unwrap();
    assert_eq!((memory.resident, memory.mempool), (100 << 20, 4_096));
    assert_eq!(client.logging(None).await.unwrap().filter, "info");
    let set = client.logging(Some("info,ashlar_network=debug".into())).await.unwrap();
    assert_eq!(set, client.logging(None).await.unwrap());

    let document = client.discover().await.unwrap();
    assert_eq!(document["openrpc"], "1.3.2");
    let all = client.help(None).await.unwrap();
    for method in document["methods"].as_array().unwrap() {
        let name = method["name"].as_str().unwrap();
        assert!(all.lines().any(|line| line.split(' ').next() == Some(name)), "{name}");
        let one = client.help(Some(name.to_owned())).await.unwrap();
        assert!(one.starts_with(name) && one.contains("Scope"), "{one}");
        assert!(ashlar_rpc::scope::scope_of(name).is_some(), "{name}");
    }
    assert_eq!(code(client.help(Some("nonsense".into())).await), "unknown-method");
}
