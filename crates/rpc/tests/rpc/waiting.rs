//! Single transactions: made, looked at, prioritised, saved; and templates that are waited for.

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use ashlar_primitives::Txid;
use ashlar_rpc::{
    api::ApiClient,
    prelude::*,
    types::{Hex, InputDetail, MempoolResult, Payees, TemplateRequest, Text},
};
use ashlar_testkit::builder::lock;

use crate::{
    fake::address,
    methods::code,
    running::{Running, start},
};

const NOBODY: Text<Txid> = Text(Txid([9; 32]));

/// Part of what is called over HTTP and over WebSocket.
pub(crate) async fn waiting(running: &Running, client: &(impl ApiClient + Sync)) {
    let payment = running.node.payment(lock(2), 1_000, 2_000);
    let decoded = client.decoderawtransaction(payment.clone()).await.unwrap();
    assert_eq!(hex::encode(&decoded.hex.0), payment);
    assert_eq!((decoded.vout[0].value, &decoded.vout[0].address), (1_000, &address(2)));
    assert_eq!(code(client.decoderawtransaction("xx".into()).await), "tx-malformed");
    assert_eq!(code(client.decoderawtransaction("00".into()).await), "tx-malformed");

    let txid = client.sendrawtransaction(payment).await.unwrap();
    let known = vec![address(1), address(2)];
    let moved = client.getaddressmempool(known.into()).await.unwrap().waiting;
    assert!(moved.iter().all(|one| one.txid == txid), "{moved:?}");
    let sums: Vec<_> =
        moved.iter().map(|one| (one.address.clone(), one.received, one.spent)).collect();
    let left = sums[0].2 - 3_000;
    assert_eq!(sums, [(address(1), left, left + 3_000), (address(2), 1_000, 0)]);
    let nobody = client.getaddressmempool(address(9).as_str().into()).await.unwrap();
    assert!(nobody.waiting.is_empty());
    assert_eq!(code(client.getaddressmempool("x".into()).await), "invalid-address");
    let found = client.getmempoolentry(txid).await.unwrap();
    assert_eq!((found.entry.fee, found.entry.modifiedfee), (2_000, 2_000));
    assert_eq!((found.ancestorsize, found.ancestorfees), (decoded.size, 2_000));
    assert_eq!((found.descendantsize, found.descendantfees), (decoded.size, 2_000));
    assert_eq!(code(client.getmempoolentry(NOBODY).await), "not-found");
    let none = MempoolResult::Ids(Vec::new());
    assert_eq!(client.getmempoolancestors(txid, None).await.unwrap(), none);
    assert_eq!(client.getmempooldescendants(txid, None).await.unwrap(), none);
    let entries = client.getmempoolancestors(txid, Some(true)).await.unwrap();
    assert!(matches!(entries, MempoolResult::Entries(page) if page.transactions.is_empty()));
    assert_eq!(code(client.getmempoolancestors(NOBODY, None).await), "not-found");
    assert_eq!(code(client.getmempooldescendants(NOBODY, None).await), "not-found");

    let free = InputDetail { txid, vout: 0 };
    let outputs = vec![decoded.vin[0].clone(), free.clone()];
    let spending = client.gettxspendingprevout(outputs).await.unwrap();
    assert_eq!((spending[0].spendingtxid, spending[1].spendingtxid), (Some(txid), None));
    assert_eq!((spending[1].txid, spending[1].vout), (txid, 0));
    let many = vec![free.clone(); 10_001];
    assert_eq!(code(client.gettxspendingprevout(many).await), "too-many");

    assert!(client.prioritisetransaction(txid, None, 500).await.unwrap());
    assert!(client.prioritisetransaction(txid, Some(0), -200).await.unwrap());
    let wrong = client.prioritisetransaction(txid, Some(1), 1).await;
    assert_eq!(code(wrong), "invalid-parameter");
    let prioritised = client.getprioritisedtransactions().await.unwrap();
    assert_eq!(prioritised.transactions, BTreeMap::from([(txid, 300)]));
    assert_eq!(client.getmempoolentry(txid).await.unwrap().entry.modifiedfee, 2_300);

    let saved = client.savemempool().await.unwrap();
    assert_eq!((saved.filename.as_str(), saved.transactions), ("/data/mempool.dat", 1));
    assert!(client.getmempoolinfo().await.unwrap().loaded);
    running.node.loading.store(true, Ordering::Relaxed);
    assert_eq!(code(client.savemempool().await), "mempool-loading");
    assert!(!client.getmempoolinfo().await.unwrap().loaded);
    running.node.loading.store(false, Ordering::Relaxed);

    made(client, free).await;
    running.node.mine_on(None);
}

/// `createrawtransaction`, whose answers `decoderawtransaction` reads.
async fn made(client: &(impl ApiClient + Sync), coin: InputDetail) {
    let pay = |who: u64, grains: u64| BTreeMap::from([(address(who), grains)]);
    let list = Payees::List(vec![pay(3, 5), pay(2, 7), pay(3, 5)]);
    let memo = Some(Hex(b"hello".to_vec()));
    let made = client.createrawtransaction(vec![coin.clone()], list, Some(9), memo).await.unwrap();
    let decoded = client.decoderawtransaction(hex::encode(&made.0)).await.unwrap();
    let paid: Vec<_> = decoded.vout.iter().map(|out| (out.address.clone(), out.value)).collect();
    assert_eq!(paid, [(address(3), 5), (address(2), 7), (address(3), 5)]);
    assert_eq!((decoded.vin, decoded.not_before), (vec![coin.clone()], 9));
    assert_eq!((decoded.memo.0.as_slice(), decoded.witnesses.len()), (&b"hello"[..], 0));

    let create = async |inputs, payees| {
        code(client.createrawtransaction(inputs, Payees::Object(payees), None, None).await)
    };
    assert_eq!(create(vec![], pay(2, 7)).await, "tx-no-inputs");
    assert_eq!(create(vec![coin.clone(); 2], pay(2, 7)).await, "tx-duplicate-input");
    let nowhere = BTreeMap::from([("nowhere".to_owned(), 1)]);
    assert_eq!(create(vec![coin.clone()], nowhere).await, "invalid-address");
    assert_eq!(create(vec![coin; 65_536], pay(2, 7)).await, "too-many");
}

fn request(longpollid: Option<String>) -> TemplateRequest {
    TemplateRequest { address: address(4), extra: None, longpollid }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_is_waited_for_comes_with_the_next_tip() {
    let running = start().await;
    let client = running.client();
    let first = client.getblocktemplate(request(None)).await.unwrap();
    let listeners = running.node.listeners();
    let (waited, tip) =
        tokio::join!(client.getblocktemplate(request(Some(first.longpollid.clone()))), async {
            // Once it listens, it can't miss the block.
            running.until_listeners(|count| count != listeners).await;
            running.node.mine_on(None)
        });
    assert_eq!(waited.unwrap().previousblockhash.0, tip);
    // Of another tip, or none at all: there is nothing to wait for.
    for old in [first.longpollid, "nonsense".to_owned()] {
        let started = Instant::now();
        client.getblocktemplate(request(Some(old))).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(4));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_may_wait_for_a_template_and_the_seventeenth_is_told_to_come_again() {
    let running = start().await;
    let client = running.client();
    let known = client.getblocktemplate(request(None)).await.unwrap().longpollid;
    let before = running.node.listeners();
    let wait = || client.getblocktemplate(request(Some(known.clone())));
    let sixteen = futures::future::join_all((0..16).map(|_| wait()));
    let (answers, refusal) = tokio::join!(sixteen, async {
        running.until_listeners(|count| count >= before + 16).await;
        let refusal = wait().await;
        running.node.mine_on(None);
        refusal
    });
    assert_eq!(code(refusal), "overloaded");
    assert!(answers.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_is_waited_for_comes_some_time_after_a_payment() {
    let running = start().await;
    let client = running.client();
    let first = client.getblocktemplate(request(None)).await.unwrap();
    client.sendrawtransaction(running.node.payment(lock(2), 1_000, 2_000)).await.unwrap();
    let started = Instant::now();
    let better = client.getblocktemplate(request(Some(first.longpollid))).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(5), "not for each payment at once");
    assert_eq!(better.transactions.len(), 1);
}
