//! What marks an id as failed: a header and body that belong together and break a rule, and
//! nothing else (PROTOCOL.md §8). Not bytes that are no body of the header, not a clock, not a
//! missing parent, not our own disk.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{collections::BTreeMap, sync::Arc};

use ashlar_ledger::{
    Family, HeaderAccepted, HeaderRefusal, Ledger, MemoryStore, Offered, OpenLedgerError, Read,
    Settings, Store, StoreError,
};
use ashlar_primitives::{BlockId, Decode as _, Encode as _};
use ashlar_testkit::{
    builder::Chain,
    faults::{self, Call, Effect, FaultyStore, Moment},
    mutations::MUTATIONS,
    rules::{Attempt, Fault, NOW_SECONDS, rules},
};
use common::*;

/// A ledger at the tip that an attempt stands on.
fn ready(valid: &Attempt) -> (Arc<MemoryStore>, Ledger<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    let mut ledger = open(&store, &valid.chain, &Settings::default());
    offer_branch(&mut ledger, &valid.chain, &valid.tip);
    (store, ledger)
}

/// Stopped and started.
fn restarted(
    store: &Arc<MemoryStore>,
    mut old: Ledger<MemoryStore>,
    chain: &Chain,
) -> Ledger<MemoryStore> {
    old.flush().unwrap();
    drop(old);
    open(store, chain, &Settings::default())
}

fn offer_now<S: Store>(ledger: &mut Ledger<S>, bytes: &[u8]) -> Offered {
    ledger.offer(bytes, NOW_SECONDS, &mut rand::rng()).unwrap()
}

/// All ids that the ledger remembers as failed.
fn marks<S: Store>(store: &impl Read, ledger: &mut Ledger<S>) -> BTreeMap<BlockId, &'static str> {
    ledger.flush().unwrap();
    let ids = dump(store, Family::Headers).into_iter().map(|(key, _)| BlockId::from_bytes(&key));
    ids.map(Result::unwrap).filter_map(|id| Some((id, ledger.failed_code(&id).unwrap()?))).collect()
}

/// What [`Ledger::accept_header`] says of an attempt's header.
fn header_verdict(fault: Fault) -> Result<HeaderAccepted, HeaderRefusal> {
    match fault {
        Fault::UnknownParent => Err(HeaderRefusal::UnknownParent),
        Fault::TooNew { .. } => Err(HeaderRefusal::TooNew),
        Fault::Header(error) => Err(HeaderRefusal::Rule(error)),
        Fault::Body(_) | Fault::Block(_) => Ok(HeaderAccepted::New),
    }
}

#[test]
fn each_rule_marks_its_own_block_and_no_other() {
    let valid = Attempt::new();
    let honest = valid.block();
    let mut judged = 0;
    for rule in rules(&valid) {
        let attempt = valid.with(rule.spoil);
        if !attempt.imagined.is_empty() {
            // More money than there is: no chain has such coins.
            assert_eq!(rule.fault.code(), "tx-bad-input-sum");
            continue;
        }
        let (cause, code) = (rule.fault.cause(), rule.fault.code());
        let (block, bytes) = (attempt.block(), attempt.to_bytes());
        let id = block.header.id();
        let mut expected = BTreeMap::new();
        for header_first in [false, true] {
            let (store, mut ledger) = ready(&valid);
            if let Some(parent) = attempt.parent.as_ref().filter(|parent| parent.is_known) {
                let refused = Offered::Refused { code: "coinbase-overpays" };
                assert_eq!(offer_now(&mut ledger, &parent.block.to_bytes()), refused);
                expected.insert(parent.block.header.id(), "coinbase-overpays");
            }
            if header_first {
                let verdict = ledger.accept_header(&block.header, NOW_SECONDS).unwrap();
                assert_eq!(verdict, header_verdict(rule.fault), "{cause}");
            }
            let refused = Offered::Refused { code };
            assert_eq!(offer_now(&mut ledger, &bytes), refused, "{cause}");
            if rule.fault.is_remembered() {
                expected.insert(id, code);
                let verdict = ledger.accept_header(&block.header, NOW_SECONDS).unwrap();
                assert_eq!(verdict, Err(HeaderRefusal::Failed { code }), "{cause}");
            }
            assert_eq!(marks(&*store, &mut ledger), expected, "{cause}");
            assert_eq!(offer_now(&mut ledger, &bytes), refused, "{cause}, again");
            let mut ledger = restarted(&store, ledger, &valid.chain);
            assert_eq!(offer_now(&mut ledger, &bytes), refused, "{cause}, after a restart");

            // The valid block beside it connects, and only what was wrong is marked.
            assert_eq!(offer_now(&mut ledger, &honest.to_bytes()), Offered::Accepted, "{cause}");
            assert_eq!(ledger.view().tip().id, honest.header.id());
            assert_eq!(marks(&*store, &mut ledger), expected, "{cause}");
            judged += 1;
        }
    }
    assert!(judged > 60, "only {judged}");
}

#[test]
fn what_is_wrong_for_now_connects_later() {
    let valid = Attempt::new();
    let mut seen = 0;
    for rule in rules(&valid) {
        let attempt = valid.with(rule.spoil);
        let (store, mut ledger) = ready(&valid);
        let bytes = attempt.to_bytes();
        let later = match rule.fault {
            Fault::UnknownParent => {
                offer_now(&mut ledger, &bytes);
                let parent = attempt.parent.as_ref().unwrap().block.to_bytes();
                assert_eq!(offer_now(&mut ledger, &parent), Offered::Accepted);
                NOW_SECONDS
            }
            // One second too early.
            Fault::TooNew { time, latest } => {
                assert_eq!(u64::from(time), latest + 1);
                offer_now(&mut ledger, &bytes);
                NOW_SECONDS + 1
            }
            _ => continue,
        };
        assert!(marks(&*store, &mut ledger).is_empty());
        let mut ledger = restarted(&store, ledger, &valid.chain);
        let offered = ledger.offer(&bytes, later, &mut rand::rng()).unwrap();
        assert_eq!(offered, Offered::Accepted, "{}", rule.fault.cause());
        assert_eq!(ledger.view().tip().id, attempt.block().header.id());
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn a_changed_body_never_keeps_the_honest_one_out() {
    let mut valid = Attempt::new();
    let honest = valid.block();
    let id = valid.chain.adopt(honest.clone()).unwrap().id();
    let check = |mutations: &[_], header_first: bool| {
        let (store, mut ledger) = ready(&valid);
        if header_first {
            ledger.accept_header(&honest.header, NOW_SECONDS).unwrap().unwrap();
        }
        for mutation in mutations {
            let ashlar_testkit::mutations::Mutation { name, bytes, code } = mutation;
            let bytes = bytes(&honest);
            assert_ne!(bytes, honest.to_bytes());
            for _ in 0..2 {
                assert_eq!(offer_now(&mut ledger, &bytes), Offered::Refused { code }, "{name}");
                assert!(!ledger.has_body(&id).unwrap(), "{name}");
                assert!(marks(&*store, &mut ledger).is_empty(), "{name}");
            }
        }
        let mut ledger = restarted(&store, ledger, &valid.chain);
        assert_eq!(offer_now(&mut ledger, &honest.to_bytes()), Offered::Accepted);
        assert_view(&ledger, &valid.chain, &id);
        // Nor do they do harm when they come late.
        for mutation in mutations {
            let offered = offer_now(&mut ledger, &(mutation.bytes)(&honest));
            assert!(matches!(offered, Offered::Known), "{}", mutation.name);
        }
        assert_is_replay(&*store, &valid.chain, &id, &Settings::default());
    };
    for header_first in [false, true] {
        for mutation in MUTATIONS {
            check(&[*mutation], header_first);
        }
        check(MUTATIONS, header_first);
    }
    // Fewer bytes than a header has are nothing at all.
    let (_, mut ledger) = ready(&valid);
    let refused = Offered::Refused { code: "malformed" };
    assert_eq!(offer_now(&mut ledger, &honest.to_bytes()[..79]), refused);
}

/// Offers the blocks to a ledger at `tip` whose disk dies at ever later calls, until it lives long
/// enough; after each death the same blocks connect on a disk that works. How often it died.
fn survives(chain: &Chain, tip: &BlockId, blocks: &[BlockId], call: Call) -> usize {
    // Little is in memory, so that much is read.
    let settings = Settings {
        headers_in_memory: 0,
        body_cache_bytes: 0,
        step_bytes: 1,
        ..Settings::default()
    };
    let before = Arc::new(MemoryStore::new());
    let mut ledger = open(&before, chain, &settings);
    offer_branch(&mut ledger, chain, tip);
    ledger.flush().unwrap();
    drop(ledger);
    let goal = blocks.last().unwrap();
    for number in 1.. {
        let fault = faults::Fault { call, number, moment: Moment::Before, effect: Effect::Kill };
        let dying = Arc::new(FaultyStore::new(MemoryStore::clone(&before), Some(fault)));
        let opened = Ledger::open(Arc::clone(&dying), chain.genesis(), settings.clone());
        let outcome = match opened {
            Err(OpenLedgerError::Store(error)) => Err(error),
            Err(other) => panic!("{other}"),
            Ok(mut ledger) => blocks.iter().try_for_each(|id| {
                ledger.offer(&chain.block(id).to_bytes(), NOW, &mut rand::rng()).map(drop)
            }),
        };
        if outcome.is_ok() {
            return number - 1;
        }
        assert!(matches!(outcome, Err(StoreError::Io { .. })));

        let store = Arc::new(dying.inner().clone());
        let mut ledger = open(&store, chain, &settings);
        // What was kept before the death is connected first, as by any driver that starts.
        settle(&mut ledger);
        assert!(marks(&*store, &mut ledger).is_empty(), "{call:?} {number}");
        for id in blocks {
            let offered = offer(&mut ledger, chain.block(id));
            let is_refused = matches!(offered, Offered::Refused { .. });
            assert!(!is_refused, "{call:?} {number}: {offered:?}");
        }
        assert_view(&ledger, chain, goal);
        drop(ledger);
        assert_is_replay(&*store, chain, goal, &settings);
    }
    unreachable!("it ends when the disk lives long enough")
}

#[test]
fn a_dying_disk_condemns_no_block() {
    let mut chain = rich_chain();
    let fork = start(&mut chain, 3, 1);
    let short = extend_with_payments(&mut chain, &fork, 3, 2);
    let long = extend_with_payments(&mut chain, &fork, 4, 3);
    let above = |tip: &BlockId| -> Vec<BlockId> {
        chain.branch(tip).iter().map(|block| block.id()).skip(3).collect()
    };
    for (call, least) in [(Call::Read, [15, 30]), (Call::Write, [3, 8])] {
        let connecting = survives(&chain, &fork, &above(&short), call);
        let reorganising = survives(&chain, &short, &above(&long), call);
        let deaths = [connecting, reorganising];
        assert!(deaths[0] >= least[0] && deaths[1] >= least[1], "{call:?}: {deaths:?}");
    }
}
