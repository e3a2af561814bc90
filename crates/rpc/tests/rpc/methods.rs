//! Every method, over HTTP and over WebSocket, on a chain of a few blocks.

use std::sync::atomic::Ordering;

use ashlar_engine::Warning;
use ashlar_ledger::Settings;
use ashlar_primitives::BlockId;
use ashlar_rpc::{
    ClientError, Credentials,
    api::ApiClient,
    client::open_websocket,
    prelude::*,
    types::{
        Addresses, BlockResult, ClockSetting, HeaderResult, MempoolResult, PeerName,
        RawTransactionResult, TemplateRequest, Text, TransactionBody, Verbosity,
    },
};
use ashlar_testkit::builder::lock;
use serde_json::json;

use crate::fake::{ALLOCATION, Fake, address};
use crate::running::{Running, start, start_with};
use crate::waiting::waiting;

pub(crate) fn code<T: core::fmt::Debug>(result: Result<T, impl Into<ClientError>>) -> String {
    result.unwrap_err().into().code().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_answers_over_http() {
    let running = start().await;
    everything(&running, &*running.client()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_answers_over_websocket() {
    let running = start().await;
    let cookie = Credentials::Cookie(running.cookie_file.clone());
    let client = open_websocket(&running.at(), &cookie).await.unwrap();
    everything(&running, &client).await;
}

async fn everything(running: &Running, client: &(impl ApiClient + Sync)) {
    blocks(running, client).await;
    transactions(running, client).await;
    addresses(client).await;
    waiting(running, client).await;
    mining(running, client).await;
    network(running, client).await;
    operating(running, client).await;
}

async fn blocks(running: &Running, client: &(impl ApiClient + Sync)) {
    let genesis = client.getblockhash(0).await.unwrap();
    let a = running.node.mine_on(None);
    // Beside the first; it is seen once the tip moves again.
    let side = running.node.mine_on(Some(genesis.0));
    let b = running.node.mine_on(Some(a));

    let info = client.getblockchaininfo().await.unwrap();
    assert_eq!((info.blocks, info.headers, info.at.tip_height), (2, 2, 2));
    assert_eq!((info.bestblockhash.0, info.at.tip.0, info.chain_id), (b, b, genesis));
    assert_eq!((info.chain.as_str(), info.address_prefix.as_str()), ("test", "test"));
    assert_eq!((info.bits.as_str(), info.coinbase_maturity), ("207fffff", 3));
    assert!(info.target.starts_with("7fffff00"));
    assert_eq!((info.supply, info.claimed), (ALLOCATION + 1_000_000_000, 1_000_000_000));
    assert_eq!((info.coins, info.next_subsidy), (3, 500_000_000));
    assert_eq!(info.sync, None);
    assert!(!info.initialblockdownload && info.transaction_index && info.address_index);

    assert_eq!(client.getblockcount().await.unwrap(), 2);
    assert_eq!(client.getbestblockhash().await.unwrap().0, b);
    assert_eq!(client.getblockhash(1).await.unwrap().0, a);
    assert_eq!(code(client.getblockhash(3).await), "invalid-parameter");

    let HeaderResult::Detail(header) = client.getblockheader(a.into(), None).await.unwrap() else {
        panic!("an object unless asked otherwise")
    };
    assert_eq!((header.height, header.confirmations, header.hash.0), (1, 2, a));
    assert_eq!(header.previousblockhash, Some(genesis));
    assert_eq!(header.nextblockhash, Some(b.into()));
    assert!(!header.relieved && header.mediantime > 0);
    let HeaderResult::Raw(raw) = client.getblockheader(a.into(), Some(false)).await.unwrap() else {
        panic!("hex")
    };
    assert_eq!(raw.0.len(), 80);
    let HeaderResult::Detail(stale) = client.getblockheader(side.into(), None).await.unwrap()
    else {
        panic!("an object")
    };
    assert_eq!((stale.confirmations, stale.nextblockhash), (-1, None));
    assert_eq!(code(client.getblockheader(BlockId::ZERO.into(), None).await), "not-found");

    let BlockResult::Summary(summary) = client.getblock(b.into(), None).await.unwrap() else {
        panic!("ids unless asked otherwise")
    };
    assert_eq!((summary.transaction_count, summary.tx.len()), (1, 1));
    assert_eq!(summary.tx[0].0.0, summary.coinbase.txid.0.0);
    let raw = client.getblock(b.into(), Some(Verbosity(0))).await.unwrap();
    let BlockResult::Raw(raw) = raw else { panic!("hex") };
    assert_eq!(raw.0.len() as u64, summary.size);
    let detail = client.getblock(b.into(), Some(Verbosity(2))).await.unwrap();
    let BlockResult::Detail(detail) = detail else { panic!("everything") };
    assert_eq!((detail.header, detail.tx.len()), (summary.header, 0));
    assert_eq!(code(client.getblock(b.into(), Some(Verbosity(3))).await), "invalid-parameter");
    assert_eq!(code(client.getblock(BlockId::ZERO.into(), None).await), "not-found");

    let tips = client.getchaintips().await.unwrap();
    let of = |id: BlockId| tips.iter().find(|tip| tip.hash.0 == id).unwrap();
    assert_eq!((of(b).status.as_str(), of(b).branchlen), ("active", 0));
    assert_eq!((of(side).height, of(side).branchlen), (1, 1));
}

async fn transactions(running: &Running, client: &(impl ApiClient + Sync)) {
    let payment = running.node.payment(lock(2), 300_000, 1_000);
    let tested = client.testmempoolaccept(vec![payment.clone(), "00".into()]).await.unwrap();
    assert_eq!((tested[0].allowed, tested[0].fee), (true, Some(1_000)));
    assert_eq!(tested[1].reject_reason.as_deref(), Some("tx-malformed"));
    assert_eq!(client.getmempoolinfo().await.unwrap().size, 0, "testing keeps nothing");

    let txid = client.sendrawtransaction(payment.clone()).await.unwrap();
    assert_eq!(tested[0].txid, Some(txid));
    assert_eq!(client.sendrawtransaction(payment.clone()).await.unwrap(), txid, "the very same");
    assert_eq!(code(client.sendrawtransaction("xx".into()).await), "tx-malformed");
    assert_eq!(code(client.sendrawtransaction("00".into()).await), "tx-malformed");
    let many = vec!["zz".to_owned(), payment.clone()];
    let results = client.sendrawtransactions(many).await.unwrap().results;
    let errors: Vec<_> = results.iter().map(|one| one.error.as_ref().unwrap()).collect();
    assert_eq!((errors[0].code, errors[0].data.code.as_str()), (-22, "tx-malformed"));
    assert_eq!((errors[1].code, errors[1].data.code.as_str()), (-27, "tx-already-known"));
    assert_eq!(code(client.sendrawtransactions(vec![String::new(); 1_001]).await), "too-many");

    let info = client.getmempoolinfo().await.unwrap();
    assert_eq!((info.size, info.total_fee), (1, 1_000));
    let ids = client.getrawmempool(None, None, None).await.unwrap();
    assert_eq!(ids, MempoolResult::Ids(vec![txid]));
    let listed = client.getrawmempool(Some(true), None, Some(1)).await.unwrap();
    let MempoolResult::Entries(listed) = listed else { panic!("entries") };
    assert_eq!((listed.transactions[&txid].fee, listed.next), (1_000, Some(0)));
    let rest = client.getrawmempool(Some(false), listed.next, None).await.unwrap();
    assert_eq!(rest, MempoolResult::Ids(vec![]));
    assert_eq!(code(client.getrawmempool(None, None, Some(0)).await), "invalid-parameter");

    let waiting = client.gettransaction(txid).await.unwrap();
    assert_eq!((waiting.confirmations, waiting.fee, waiting.blockhash), (0, Some(1_000), None));
    let TransactionBody::Transaction(body) = waiting.body else { panic!("a transfer") };
    assert_eq!((body.vout[0].value, &body.vout[0].address), (300_000, &address(2)));
    assert_eq!(hex::encode(&body.hex.0), payment);
    let raw = client.getrawtransaction(txid, None, None).await.unwrap();
    assert_eq!(raw, RawTransactionResult::Raw(body.hex.clone()));

    // Spent by what waits, made by what waits; and as if nothing waited.
    let spent = &body.vin[0];
    assert_eq!(client.gettxout(spent.txid, spent.vout, None).await.unwrap(), None);
    let confirmed = client.gettxout(spent.txid, spent.vout, Some(false)).await.unwrap().unwrap();
    assert_eq!(
        (confirmed.value, confirmed.confirmations, confirmed.coinbase),
        (ALLOCATION, 3, false)
    );
    let made = client.gettxout(txid, 0, None).await.unwrap().unwrap();
    assert_eq!((made.value, made.confirmations, made.height), (300_000, 0, None));
    assert_eq!(client.gettxout(txid, 0, Some(false)).await.unwrap(), None);
    assert_eq!(client.gettxout(txid, 9, None).await.unwrap(), None);

    let utxos = client.getaddressutxos(address(1).as_str().into(), None, None).await.unwrap();
    assert_eq!(utxos.utxos[0].spent_by, Some(txid));

    // Confirmed.
    let mined = client.generatetoaddress(1, address(3), None).await.unwrap();
    assert_eq!(client.getmempoolinfo().await.unwrap().size, 0);
    let confirmed = client.gettransaction(txid).await.unwrap();
    assert_eq!((confirmed.confirmations, confirmed.blockindex), (1, Some(1)));
    assert_eq!((confirmed.blockhash, confirmed.fee), (Some(mined[0]), None));
    let named = client.getrawtransaction(txid, Some(Verbosity(1)), Some(mined[0])).await.unwrap();
    assert_eq!(named, RawTransactionResult::Detail(Box::new(confirmed)));
    let elsewhere = client.getblockhash(1).await.unwrap();
    assert_eq!(code(client.getrawtransaction(txid, None, Some(elsewhere)).await), "not-found");
    assert_eq!(code(client.sendrawtransaction(payment).await), "tx-missing-input");
    let unknown = Text(ashlar_primitives::Txid::ZERO);
    assert_eq!(code(client.gettransaction(unknown).await), "not-found");

    let BlockResult::Summary(block) = client.getblock(mined[0], None).await.unwrap() else {
        panic!("ids")
    };
    assert_eq!(block.tx[1], txid);
    let coinbase = client.gettransaction(block.tx[0]).await.unwrap();
    let TransactionBody::Coinbase(coinbase) = coinbase.body else { panic!("a coinbase") };
    assert_eq!((*coinbase, 500_001_000), (block.coinbase.clone(), block.coinbase.vout[0].value));
}

async fn addresses(client: &(impl ApiClient + Sync)) {
    // Key 1 paid 300,000 of its 1,000,000 to key 2, with 1,000 as fee, which key 3 mined.
    let all = || Addresses::from(vec![address(1), address(2), address(3)]);
    let balance = client.getaddressbalance(all()).await.unwrap();
    assert_eq!(balance.balance, ALLOCATION + 500_000_000);
    assert_eq!((balance.immature, balance.coins), (500_001_000, 3));

    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.getaddressutxos(all(), cursor, Some(2)).await.unwrap();
        assert!(page.utxos.len() <= 2);
        seen.extend(page.utxos);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let values: Vec<_> = seen.iter().map(|utxo| (utxo.value, utxo.mature)).collect();
    assert_eq!(values, [(699_000, true), (300_000, true), (500_001_000, false)]);
    assert_eq!((seen[2].coinbase, seen[2].matures_at, seen[2].confirmations), (true, 6, 1));

    let history = client.getaddresshistory(all(), None, None).await.unwrap();
    let lines: Vec<_> = history
        .entries
        .iter()
        .map(|entry| (entry.address.clone(), entry.height, entry.received, entry.spent))
        .collect();
    assert_eq!(
        lines,
        [
            (address(1), 3, 699_000, ALLOCATION),
            (address(1), 0, ALLOCATION, 0),
            (address(2), 3, 300_000, 0),
            (address(3), 3, 500_001_000, 0),
        ]
    );
    assert_eq!(history.entries[0].blockhash, history.at.tip);
    let page = client.getaddresshistory(all(), None, Some(1)).await.unwrap();
    let rest = client.getaddresshistory(all(), page.next, Some(3)).await.unwrap();
    assert_eq!((rest.entries.len(), rest.next), (3, None));

    let twice = Addresses::from(vec![address(1), address(1)]);
    assert_eq!(code(client.getaddressbalance(twice).await), "invalid-parameter");
    let many = Addresses::from(vec![address(1); 1_001]);
    assert_eq!(code(client.getaddressbalance(many).await), "too-many");
    assert_eq!(
        code(client.getaddressutxos("nonsense".into(), None, None).await),
        "invalid-address"
    );
    let bad = client.getaddressutxos(all(), Some("nonsense".into()), None).await;
    assert_eq!(code(bad), "invalid-parameter");

    let valid = client.validateaddress(address(1)).await.unwrap();
    assert!(valid.isvalid);
    assert_eq!((valid.kind.as_deref(), valid.program.map(|p| p.len())), (Some("key"), Some(64)));
    let invalid = client.validateaddress("nonsense".into()).await.unwrap();
    assert!(!invalid.isvalid && invalid.error.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_answers_the_tip_and_says_why_there_is_none() {
    let running = start().await;
    let client = running.client();
    let tip = client.backup("/somewhere/copy".into()).await.unwrap();
    assert_eq!(tip.tip_height, client.getblockcount().await.unwrap());
    assert_eq!(code(client.backup("copy".into()).await), "invalid-parameter");
    assert_eq!(code(client.backup("/full/copy".into()).await), "backup-failed");
}

async fn mining(running: &Running, client: &(impl ApiClient + Sync)) {
    let before = client.getblockcount().await.unwrap();
    let ids = client.generatetoaddress(5, address(4), None).await.unwrap();
    assert_eq!(ids.len(), 5);
    assert_eq!(client.getblockcount().await.unwrap(), before + 5);
    assert_eq!(client.getbestblockhash().await.unwrap(), ids[4]);
    assert_eq!(client.generatetoaddress(1, address(4), Some(0)).await.unwrap(), []);
    assert_eq!(code(client.generatetoaddress(1_001, address(4), None).await), "too-many");
    assert_eq!(code(client.generatetoaddress(1, "x".into(), None).await), "invalid-address");

    let info = client.getmininginfo().await.unwrap();
    assert_eq!((info.blocks, info.threads, info.hashps), (before + 5, 1, 1_000));
    assert_eq!((info.next.height, info.next.bits.as_str()), (before + 6, "207fffff"));

    let request = || TemplateRequest { address: address(4), extra: None, longpollid: None };
    let template = client.getblocktemplate(request()).await.unwrap();
    assert_eq!((template.previousblockhash, template.height), (ids[4], before + 6));
    assert_eq!((template.coinbasevalue, template.sizelimit), (500_000_000, 4_000_000));
    let mut block: ashlar_primitives::Block =
        ashlar_primitives::Decode::from_bytes(&template.block.0).unwrap();
    let unsolved = (0..)
        .find(|nonce| {
            block.header.nonce = *nonce;
            let target = ashlar_consensus::Target::from_bits(block.header.bits).unwrap();
            !target.is_met_by(&block.header.id())
        })
        .map(|_| hex::encode(ashlar_primitives::Encode::to_bytes(&block)));
    assert_eq!(client.submitblock(unsolved.unwrap()).await.unwrap().as_deref(), Some("high-hash"));
    block.header = ashlar_testkit::builder::solve(block.header);
    let solved = hex::encode(ashlar_primitives::Encode::to_bytes(&block));
    assert_eq!(client.submitblock(solved.clone()).await.unwrap(), None);
    assert_eq!(client.submitblock(solved).await.unwrap().as_deref(), Some("duplicate"));
    assert_eq!(client.submitblock("00".into()).await.unwrap().as_deref(), Some("malformed"));
    assert_eq!(code(client.submitblock("xx".into()).await), "malformed");

    running.node.syncing.store(true, Ordering::Relaxed);
    assert_eq!(code(client.getblocktemplate(request()).await), "warming-up");
    let info = client.getblockchaininfo().await.unwrap();
    assert!(info.initialblockdownload);
    let sync = info.sync.unwrap();
    assert_eq!((sync.height, sync.target_height), (2, 1_002));
    assert_eq!((sync.blocks_per_second, sync.seconds_left), (Some(12.5), Some(80)));
    running.node.syncing.store(false, Ordering::Relaxed);

    assert_eq!(client.estimatesmartfee(6).await.unwrap().feerate, 1_000);
    assert_eq!(client.estimatefee(None).await.unwrap().blocks, 1);
    assert_eq!(code(client.estimatesmartfee(0).await), "invalid-parameter");
}

async fn network(running: &Running, client: &(impl ApiClient + Sync)) {
    let peers = client.getpeerinfo().await.unwrap();
    assert_eq!((peers[0].id, peers[0].inbound), (7, false));
    assert_eq!((peers[0].bytesrecv, peers[0].bytessent), (1_000, 2_000));
    assert_eq!((peers[0].ping_ms, peers[0].gossip_score), (Some(3), -0.5));
    assert_eq!((peers[0].inflight.blocks, peers[0].inflight.headers), (2, 0));
    assert_eq!(
        (peers[0].last_block, peers[0].last_transaction),
        (Some(peers[0].last_seen - 1), None)
    );
    let totals = client.getnettotals().await.unwrap();
    assert_eq!((totals.totalbytesrecv, totals.totalbytessent), (3_000, 4_000));
    assert!(totals.timemillis > 1_000 * peers[0].last_seen - 1);
    let info = client.getnetworkinfo().await.unwrap();
    assert_eq!((info.connections, info.connections_in, info.connections_out), (1, 0, 1));
    let chain_id = client.getblockhash(0).await.unwrap().to_string();
    assert!(chain_id.starts_with(&info.network) && info.network.len() == 8);

    let node = "/ip4/127.0.0.1/tcp/1".to_owned();
    client.addnode(node.clone(), None).await.unwrap();
    assert_eq!(running.node.nodes.lock().unwrap().as_slice(), std::slice::from_ref(&node));
    client.addnode(node, Some("remove".into())).await.unwrap();
    assert!(running.node.nodes.lock().unwrap().is_empty());
    assert_eq!(code(client.addnode("x".into(), None).await), "bad-peer-address");
    client.disconnectnode(PeerName::Number(7)).await.unwrap();
    let unknown = client.disconnectnode(PeerName::Text("x".into())).await;
    assert_eq!(code(unknown), "not-connected");

    client.setban("192.0.2.1".into(), "add".into(), None).await.unwrap();
    client.setban("2001:db8::/64".into(), "add".into(), Some(60)).await.unwrap();
    let bans = client.listbanned().await.unwrap();
    let told: Vec<_> =
        bans.iter().map(|ban| (ban.address.as_str(), ban.banned_until - ban.ban_created)).collect();
    assert_eq!(told, [("192.0.2.1", 86_400), ("2001:db8::/64", 60)]);
    client.setban("192.0.2.1".into(), "remove".into(), None).await.unwrap();
    let lifted = client.setban("192.0.2.1".into(), "remove".into(), None).await;
    assert_eq!(code(lifted), "not-banned");
    let nobody = client.setban("nobody".into(), "add".into(), None).await;
    assert_eq!(code(nobody), "invalid-parameter");
    let verb = client.setban("192.0.2.1".into(), "forgive".into(), None).await;
    assert_eq!(code(verb), "invalid-parameter");
    client.clearbanned().await.unwrap();
    assert!(client.listbanned().await.unwrap().is_empty());
}

async fn operating(running: &Running, client: &(impl ApiClient + Sync)) {
    let tip = client.getblockchaininfo().await.unwrap().at;
    let warning = Warning::ReorganisationHeld {
        tip: tip.tip.0,
        height: tip.tip_height,
        held_tip: BlockId([7; 32]),
        held_height: 9,
        depth: 5,
    };
    *running.node.warnings.lock().unwrap() = vec![warning.clone()];
    let told = client.getblockchaininfo().await.unwrap().warnings;
    assert_eq!(told, client.getnetworkinfo().await.unwrap().warnings);
    assert_eq!(told, [warning.to_string()]);
    running.node.warnings.lock().unwrap().clear();
    assert_eq!(client.acceptreorg(BlockId([7; 32]).into()).await.unwrap(), tip);
    let refused = client.acceptreorg(tip.tip).await;
    assert_eq!(code(refused), "not-held");

    client.setmocktime(1_900_000_000).await.unwrap();
    let set = client.clock(None).await.unwrap();
    assert_eq!(set.unix_ms, 1_900_000_000_000);
    let setting = ClockSetting { unix_ms: 5_000, machine_ms: Some(1), speed_permille: 60_000 };
    let set = client.clock(Some(setting)).await.unwrap();
    assert_eq!(set.setting, Some(setting));
    for wrong in [
        ClockSetting { unix_ms: ClockSetting::MAX_UNIX_MS + 1, ..setting },
        ClockSetting { speed_permille: ClockSetting::MAX_SPEED_PERMILLE + 1, ..setting },
    ] {
        assert_eq!(code(client.clock(Some(wrong)).await), "invalid-parameter");
    }
    assert_eq!(client.clock(None).await.unwrap(), set);
    client.setmocktime(0).await.unwrap();
    assert_eq!(client.clock(None).await.unwrap().setting, None);
    running.node.real_clock.store(true, Ordering::Relaxed);
    assert_eq!(code(client.setmocktime(1).await), "real-clock");
    assert_eq!(code(client.clock(Some(setting)).await), "real-clock");
    assert_eq!(client.stop().await.unwrap(), "Ashlar node stopping");
    running.node.stopped.notified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_needs_an_index_says_which() {
    let settings = Settings { transaction_index: false, lock_index: false, ..Settings::default() };
    let running = start_with(Fake::with(settings), |_| ()).await;
    let client = running.client();
    let unknown = Text(ashlar_primitives::Txid::ZERO);
    assert_eq!(code(client.gettransaction(unknown).await), "index-off");
    let error = client.getaddressbalance(address(1).as_str().into()).await.unwrap_err();
    assert!(error.to_string().contains("address index"), "{error}");
    let info = client.getblockchaininfo().await.unwrap();
    assert!(!info.transaction_index && !info.address_index);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_go_by_position_or_name_and_raw_calls_reach_everything() {
    let running = start().await;
    let client = running.client();
    let id = running.node.mine_on(None);
    let by_position = client.call("getblock", vec![json!(id.to_string()), json!(true)]).await;
    assert_eq!(by_position.unwrap()["height"], 1);
    assert_eq!(client.call("getblockhash", vec![json!(1)]).await.unwrap(), id.to_string());
    let number = client.call("disconnectnode", vec![json!(7)]).await.unwrap();
    assert_eq!(number, serde_json::Value::Null);
    let unknown = client.call("nonsense", vec![]).await.unwrap_err();
    assert_eq!(unknown.code(), Some("unknown-method"));
    assert!(unknown.to_string().contains("docs/rpc.md"), "{unknown}");
}
