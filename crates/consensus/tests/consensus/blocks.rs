//! Every rule for a block, one change each, with the exact error; and for every pair of them, that
//! the one that stands first in PROTOCOL.md §8 is reported.

use std::collections::BTreeSet;

use ashlar_consensus::{
    BlockError, BodyError, Part, TxError, UtxoAccumulator, error::CoinbaseFault, open_body,
    open_parts,
};
use ashlar_primitives::{Amount, BlockId, Encode, Header, Lock, OutPoint, Transaction, Witness};
use ashlar_testkit::{
    builder::{Spend, key, lock, output},
    rules::{Attempt, BLOCK_CAUSES, Fault, TRANSACTION_CAUSES, rules},
};

use crate::builder::{GENESIS, rng};

fn judge(attempt: &Attempt) -> Result<(), Fault> {
    let (block, _) = attempt.judge(&mut rng())?;
    let bytes = attempt.to_bytes();
    assert_eq!(block.to_bytes(), bytes);
    assert_eq!(usize::try_from(block.size_bytes()).unwrap(), bytes.len());
    assert_eq!(block.to_block().to_bytes(), bytes);
    Ok(())
}

fn bad_coinbase(fault: CoinbaseFault) -> Fault {
    Fault::Block(BlockError::BadCoinbase(fault))
}

fn at(index: u32, error: TxError) -> Result<(), Fault> {
    Err(Fault::Block(BlockError::Transaction { index, error }))
}

/// What only somebody with a tree of headers can find.
const OF_THE_TREE: [&str; 2] = ["unknown-parent", "invalid-parent"];

#[test]
fn each_rule_and_of_any_two_the_first() {
    let valid = Attempt::new();
    assert_eq!(judge(&valid), Ok(()));
    let mut rules = rules(&valid);
    rules.retain(|rule| !OF_THE_TREE.contains(&rule.fault.code()));
    for (position, rule) in rules.iter().enumerate() {
        let cause = rule.fault.cause();
        assert_eq!(judge(&valid.with(rule.spoil)), Err(rule.fault), "{cause}");
        for later in &rules[position + 1..] {
            let both = valid.with(later.spoil).with(rule.spoil);
            let reported = judge(&both).unwrap_err();
            assert_eq!(reported.cause(), cause, "beside {}", later.fault.cause());
        }
    }
}

#[test]
fn every_cause_has_its_row() {
    let rules = rules(&Attempt::new());
    let rows: Vec<&str> = rules.iter().map(|rule| rule.fault.cause()).collect();
    let distinct: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(distinct.len(), rows.len(), "one row for each");
    // A transaction that does not decode makes its block malformed.
    let of_transactions = TRANSACTION_CAUSES.iter().filter(|cause| **cause != "tx-malformed");
    assert_eq!(distinct, BLOCK_CAUSES.iter().chain(of_transactions).copied().collect());
}

#[test]
fn a_body_belongs_to_one_header_only() {
    let valid = Attempt::new();
    let block = valid.block();
    let other = Header { nonce: block.header.nonce ^ 1, ..block.header };
    let opened = open_body(&valid.params, &other, valid.coinbase.height, &block.to_bytes());
    assert_eq!(opened, Err(BodyError::BadMerkleRoot.into()));
}

#[test]
fn a_leaf_that_could_pass_for_an_inner_node() {
    // 41 bytes without outputs and extra; 13 without inputs, outputs, memo and witnesses. A byte
    // less or more, and it is some other rule that such a thing breaks.
    for extra in 22..=24 {
        let mut attempt = Attempt::new();
        attempt.coinbase.outputs.clear();
        attempt.coinbase.extra = vec![0; extra];
        let is_node = attempt.coinbase.to_bytes().len() == 64;
        assert_eq!(is_node, extra == 23);
        let other = bad_coinbase(CoinbaseFault::OutputCount);
        let fault = if is_node { Fault::Body(BodyError::BadMerkleRoot) } else { other };
        assert_eq!(judge(&attempt), Err(fault), "{extra} bytes of extra");
    }
    for memo in 50..=52 {
        let mut attempt = Attempt::new();
        let (inputs, outputs, witnesses) = (vec![], vec![], vec![]);
        let leaf = Transaction { not_before: 0, inputs, outputs, memo: vec![0; memo], witnesses };
        let is_node = leaf.to_bytes().len() == 64;
        assert_eq!(is_node, memo == 51);
        attempt.transactions[1] = leaf;
        let node = Err(Fault::Body(BodyError::BadMerkleRoot));
        let expected = if is_node { node } else { at(1, TxError::NoInputs) };
        assert_eq!(judge(&attempt), expected, "{memo} bytes of memo");
    }
}

/// A limit: the last value that its rule lets through, the first that it does not.
struct Limit {
    name: &'static str,
    at: fn(&mut Attempt),
    /// What becomes of the block at the limit, where another rule is against it.
    at_is: Result<(), Fault>,
    beyond: fn(&mut Attempt),
    fault: Fault,
}

#[test]
fn limits_are_met_exactly() {
    let valid = Attempt::new();
    let size = u32::try_from(valid.to_bytes().len()).unwrap();
    let claimed = valid.coinbase.outputs[0].value.grains();
    let overpays =
        |claimed, allowed| Fault::Block(BlockError::CoinbaseOverpays { claimed, allowed });
    let max = Amount::MAX_MONEY.grains();
    let limits = [
        Limit {
            name: "the whole block",
            at: |it| it.params.max_block_bytes = u32::try_from(it.to_bytes().len()).unwrap(),
            at_is: Ok(()),
            beyond: |it| {
                it.params.max_block_bytes = u32::try_from(it.to_bytes().len()).unwrap() - 1
            },
            fault: Fault::Body(BodyError::TooLarge {
                size_bytes: size.into(),
                max_bytes: size - 1,
            }),
        },
        Limit {
            name: "height, from below",
            at: |_| {},
            at_is: Ok(()),
            beyond: |it| it.coinbase.height -= 1,
            fault: bad_coinbase(CoinbaseFault::Height),
        },
        Limit {
            name: "height, from above",
            at: |_| {},
            at_is: Ok(()),
            beyond: |it| it.coinbase.height += 1,
            fault: bad_coinbase(CoinbaseFault::Height),
        },
        Limit {
            name: "fewest outputs",
            at: |it| it.coinbase.outputs.truncate(1),
            at_is: Ok(()),
            beyond: |it| it.coinbase.outputs.clear(),
            fault: bad_coinbase(CoinbaseFault::OutputCount),
        },
        Limit {
            name: "most outputs",
            at: |it| it.coinbase.outputs = vec![output(lock(1), 0); 1_024],
            at_is: Ok(()),
            beyond: |it| it.coinbase.outputs = vec![output(lock(1), 0); 1_025],
            fault: bad_coinbase(CoinbaseFault::OutputCount),
        },
        Limit {
            name: "lock version",
            at: |it| it.coinbase.outputs[0].lock = Lock { version: 1, program: [0; 32] },
            at_is: Ok(()),
            beyond: |it| it.coinbase.outputs[0].lock = Lock { version: 2, program: [0; 32] },
            fault: bad_coinbase(CoinbaseFault::LockVersion),
        },
        Limit {
            name: "extra",
            at: |it| it.coinbase.extra = vec![0; 96],
            at_is: Ok(()),
            beyond: |it| it.coinbase.extra = vec![0; 97],
            fault: bad_coinbase(CoinbaseFault::ExtraTooLong),
        },
        Limit {
            name: "a value",
            at: |it| it.coinbase.outputs[0].value = Amount::MAX_MONEY,
            at_is: Err(overpays(max, claimed)),
            beyond: |it| it.coinbase.outputs[0].value = Amount::from_grains(1 << 53),
            fault: bad_coinbase(CoinbaseFault::Value),
        },
        Limit {
            name: "the values' sum",
            at: |it| {
                it.coinbase.outputs =
                    vec![output(lock(1), (1 << 53) - 2), output(lock(1), 1), output(lock(1), 0)];
            },
            at_is: Err(overpays(max, claimed)),
            beyond: |it| {
                it.coinbase.outputs = vec![output(lock(1), (1 << 53) - 1), output(lock(1), 1)];
            },
            fault: bad_coinbase(CoinbaseFault::Value),
        },
        Limit {
            name: "the values' sum, in 64 bits",
            at: |it| it.coinbase.outputs[0].value = Amount::ZERO,
            at_is: Ok(()),
            beyond: |it| it.coinbase.outputs = vec![output(lock(1), 1 << 63); 2],
            fault: bad_coinbase(CoinbaseFault::Value),
        },
        Limit {
            name: "subsidy and fees",
            at: |_| {},
            at_is: Ok(()),
            beyond: |it| {
                let value = &mut it.coinbase.outputs[0].value;
                *value = Amount::from_grains(value.grains() + 1);
            },
            fault: overpays(claimed + 1, claimed),
        },
    ];
    for Limit { name, at, at_is, beyond, fault } in limits {
        assert_eq!(judge(&valid.with(at)), at_is, "{name}");
        assert_eq!(judge(&valid.with(beyond)), Err(fault), "{name}");
    }
}

#[test]
fn spends_inside_a_block() {
    let missing = |index| at(index, TxError::MissingInput { input: 0 });
    let later = Attempt::new().with(|it| it.transactions.swap(0, 1));
    assert_eq!(judge(&later), missing(0), "an output of a later transaction");

    let twice = Attempt::new().with(|it| it.transactions.insert(1, it.transactions[0].clone()));
    assert_eq!(judge(&twice), missing(1), "a coin from outside, twice");

    let twice = Attempt::new().with(|it| it.transactions.push(it.transactions[1].clone()));
    assert_eq!(judge(&twice), missing(5), "a coin from inside, twice");

    let own = Attempt::new().with(|it| {
        it.params.coinbase_maturity = 0;
        let spend = Spend {
            inputs: vec![(
                OutPoint { txid: it.coinbase.id().into(), index: 0 },
                it.coinbase.outputs[0],
            )],
            outputs: vec![output(lock(1), 1)],
            ..Spend::default()
        };
        it.transactions = vec![spend.sign(&it.params.chain_id, &[&key(0)])];
    });
    assert_eq!(judge(&own), missing(0), "the block's own coinbase");
}

#[test]
fn a_fault_counts_after_the_signatures_before_it() {
    fn break_signature(it: &mut Attempt, index: usize) {
        let Witness::Key { signature } = &mut it.transactions[index].witnesses[0] else {
            panic!("not a key's witness")
        };
        signature.0[63] = 0xff;
    }
    let bad_signature = TxError::BadSignature { witness: 0 };

    let attempt = Attempt::new().with(|it| {
        break_signature(it, 0);
        it.transactions[1].not_before = u32::MAX;
    });
    assert_eq!(judge(&attempt), at(0, bad_signature), "the signature stands before the fault");

    let attempt = Attempt::new().with(|it| {
        break_signature(it, 1);
        it.transactions[0].not_before = u32::MAX;
    });
    assert_eq!(judge(&attempt), at(0, TxError::NotYetValid { not_before: u32::MAX }));

    let attempt = Attempt::new().with(|it| {
        break_signature(it, 1);
        it.coinbase.outputs[0] = output(lock(1), 600_000_000);
    });
    assert_eq!(judge(&attempt), at(1, bad_signature), "overpaying is judged last");
}

#[test]
fn parts_that_were_checked_before_make_the_same_block() {
    let valid = Attempt::new();
    let (whole, _) = valid.judge(&mut rng()).unwrap();
    let checked = || whole.transactions().iter().cloned().map(Part::Checked);
    let plain = || whole.to_block().transactions.into_iter().map(Part::Plain);
    let open = |parts| {
        let coinbase = whole.coinbase().clone();
        open_parts(&valid.params, whole.header(), whole.height(), coinbase, parts)
    };
    assert_eq!(open(checked().collect()).as_ref(), Ok(&whole));
    assert_eq!(open(checked().take(1).chain(plain().skip(1)).collect()).as_ref(), Ok(&whole));
    assert_eq!(open(vec![]), Err(BodyError::BadMerkleRoot.into()));
}

#[test]
fn external_inputs_are_sorted_and_without_what_is_made_inside() {
    let (block, _) = Attempt::new().judge(&mut rng()).unwrap();
    let inputs = |index: usize| block.transactions()[index].transaction().inputs.clone();
    let mut outside: Vec<_> = [0, 2, 3, 4].into_iter().flat_map(inputs).collect();
    outside.sort_unstable();
    assert_eq!(block.external_inputs(), outside);
}

#[test]
fn the_genesis_block_commits_to_the_empty_set_and_has_no_parent() {
    let genesis = ashlar_consensus::Genesis::parse(GENESIS).unwrap();
    let block = genesis.block();
    assert_eq!(block.coinbase.utxo_commitment, UtxoAccumulator::empty().commitment());
    assert_eq!(block.header.parent, BlockId::ZERO);
    assert_eq!(genesis.params().chain_id, block.header.id());
}
