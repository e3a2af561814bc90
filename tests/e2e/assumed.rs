//! A block named by the operator: its signatures are taken for good, and nothing else is.

use std::fs;

use ashlar_primitives::{Amount, Block, BlockId, Encode as _, Signature, Witness};
use ashlar_testkit::builder::{Chain, Plan, genesis_text, genesis_with, lock, seal};
use serde_json::{Value, json};

use crate::harness::{Net, wait_for};

fn forge(block: &mut Block) {
    for witness in block.transactions.iter_mut().flat_map(|it| &mut it.witnesses) {
        if let Witness::Key { signature, .. } = witness {
            *signature = Signature([1; 64]);
        }
    }
}

#[test]
fn signatures_below_a_named_block_are_assumed_and_every_other_rule_is_judged() {
    let net = Net::new();
    let allocations = vec![(lock(1), 1_000_000); 8];
    let genesis = net.path("genesis.json");
    fs::write(&genesis, genesis_text(&allocations, &[])).unwrap();
    let mut chain = Chain::new(genesis_with(&allocations, &[]));
    let low = chain.extend_by(&chain.genesis_id(), 3);
    let pay = |chain: &Chain, at| Plan::of(vec![chain.pay(at, 1, lock(2), 500, 10)]);
    // Signatures are in no txid: the honest twin of a forged block leaves the same coins.
    let twin = chain.draft(&low, pay(&chain, &low));
    let mut forged = twin.clone();
    forge(&mut forged);
    let forged = seal(forged);
    let named = forged.header.id();
    let twin = chain.adopt(seal(twin)).unwrap().id();
    let above = |chain: &Chain, spoil: fn(&mut Block)| {
        let mut block = chain.draft(&twin, pay(chain, &twin));
        block.header.parent = named;
        spoil(&mut block);
        seal(block)
    };
    // On the way to a named block, but not by what its signatures say.
    let greedy = chain.spoiled(&low, pay(&chain, &low), |block| {
        forge(block);
        block.coinbase.outputs[0].value = Amount::from_grains(u64::from(u32::MAX) * 1_000);
    });
    let greedy_id = greedy.header.id();

    let text = |id: BlockId| id.to_string();
    let named_flags = ["--assume-valid", &text(named)];
    let trusting = net.node_on(&genesis, &[], &named_flags);
    let doubting = net.node_on(&genesis, &[], &[]);
    let tricked = net.node_on(&genesis, &[], &["--assume-valid", &text(greedy_id)]);
    for block in chain.branch(&low) {
        for node in [&trusting, &doubting, &tricked] {
            assert_eq!(
                node.call("submitblock", json!([hex::encode(block.to_bytes())])),
                Value::Null
            );
        }
    }
    let forged = hex::encode(forged.to_bytes());
    assert_eq!(trusting.call("submitblock", json!([forged])), Value::Null);
    assert_eq!(trusting.tip(), text(named));
    assert_eq!(doubting.call("submitblock", json!([forged])), "tx-bad-signature");
    assert_eq!(tricked.call("submitblock", json!([forged])), "tx-bad-signature");
    let greedy = hex::encode(greedy.to_bytes());
    assert_eq!(tricked.call("submitblock", json!([greedy])), "coinbase-overpays");
    assert_eq!((doubting.tip(), tricked.tip()), (text(low), text(low)));
    assert!(trusting.log().contains("assumed good") && !doubting.log().contains("assumed good"));

    // Told beforehand, a fresh node takes over the whole chain from a peer.
    let fresh = net.node_on(&genesis, &[&trusting], &named_flags);
    wait_for("the named block is fetched", || (fresh.tip() == text(named)).then_some(()));

    // Above the named block signatures count.
    let bad = hex::encode(above(&chain, forge).to_bytes());
    assert_eq!(trusting.call("submitblock", json!([bad])), "tx-bad-signature");
    let good = above(&chain, |_| ());
    assert_eq!(trusting.call("submitblock", json!([hex::encode(good.to_bytes())])), Value::Null);
    assert_eq!(trusting.tip(), text(good.header.id()));
}
