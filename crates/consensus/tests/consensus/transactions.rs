//! Every rule for a transaction, one change each, with the exact error; and for every pair of
//! them, that the one that stands first in PROTOCOL.md §8 is reported.

use std::collections::BTreeSet;

use ashlar_consensus::{
    Params, TxError, check_transaction,
    error::WitnessFault,
    judge_transaction, open_transaction,
    transaction::{MAX_TRANSACTION_BYTES, sighash},
    verify_signatures,
};
use ashlar_primitives::{
    Amount, Coin, DecodeError, Encode, Lock, OutPoint, Policy, SigHash, Transaction, Txid, Witness,
};
use ashlar_testkit::rules::{TRANSACTION_CAUSES, transaction_cause};
use sha2::{Digest, Sha256};

use crate::builder::{Chain, Owner, output, rng};

const HEIGHT: u32 = 1_000;
const PREIMAGE: [u8; 32] = [5; 32];
/// Satisfied at [`HEIGHT`], without a signature.
const RIPE: Policy = Policy::After(HEIGHT);
/// Satisfied one block later.
const UNRIPE: Policy = Policy::After(HEIGHT + 1);

/// A transaction about to be signed and judged. Unchanged it is valid: it spends a coin of each of
/// two owners, the first a mature coinbase coin, and pays a fee of 50.
struct Attempt {
    params: Params,
    owners: [Owner; 2],
    transaction: Transaction,
    coins: Vec<Option<Coin>>,
    /// Instead of the second owner's signature.
    shown: Option<Witness>,
    /// Done after signing.
    damage: Vec<fn(&mut Transaction)>,
    cut_bytes: usize,
}

fn outpoint(number: u8) -> OutPoint {
    OutPoint { txid: Txid([number; 32]), index: u16::from(number) }
}

impl Attempt {
    fn new() -> Self {
        let params = Params { coinbase_maturity: 100, ..Chain::new().params };
        let owners = [Owner::new(1), Owner::new(2)];
        let coin = |owner: &Owner, height, is_coinbase| {
            Some(Coin { output: output(500, owner.lock()), height, is_coinbase })
        };
        Self {
            coins: vec![
                coin(&owners[0], HEIGHT - params.coinbase_maturity, true),
                coin(&owners[1], HEIGHT - 1, false),
            ],
            transaction: Transaction {
                not_before: HEIGHT,
                inputs: vec![outpoint(1), outpoint(2)],
                outputs: vec![output(900, owners[0].lock()), output(50, owners[1].lock())],
                memo: vec![0; 256],
                witnesses: vec![],
            },
            params,
            owners,
            shown: None,
            damage: vec![],
            cut_bytes: 0,
        }
    }

    /// The second coin has this lock, and its witness shows this policy.
    fn shows<const N: usize>(&mut self, lock: Lock, policy: Policy, preimages: [[u8; 32]; N]) {
        self.coins[1].as_mut().unwrap().output.lock = lock;
        let (signatures, preimages) = (Vec::new(), preimages.to_vec());
        self.shown = Some(Witness::Policy { policy, signatures, preimages });
    }

    fn digest(&self) -> SigHash {
        let spent: Vec<_> = self.coins.iter().flatten().map(|coin| coin.output).collect();
        sighash(&self.params.chain_id, &self.transaction.txid(), &spent)
    }

    fn judge(mut self) -> Result<u64, TxError> {
        let digest = self.digest();
        let sign = |owner: &Owner| Witness::Key { signature: owner.sign(&digest) };
        self.transaction.witnesses = self.owners.iter().map(sign).collect();
        if let Some(shown) = self.shown.take() {
            self.transaction.witnesses[1] = shown;
        }
        for damage in &self.damage {
            damage(&mut self.transaction);
        }
        self.judge_as_it_is()
    }

    fn judge_as_it_is(self) -> Result<u64, TxError> {
        let mut bytes = self.transaction.to_bytes();
        bytes.truncate(bytes.len() - self.cut_bytes);
        let checked = open_transaction(&bytes)?;
        assert_eq!(checked.txid(), self.transaction.txid());
        assert_eq!(checked.wtxid(), self.transaction.wtxid());
        let judged = judge_transaction(&self.params, HEIGHT, &checked, &self.coins)?;
        verify_signatures(&judged.checks, &BTreeSet::new(), &mut rng())
            .map_err(|place| TxError::BadSignature { witness: place.witness })?;
        Ok(judged.fee.grains())
    }
}

type Rule = (&'static str, fn(&mut Attempt), TxError, Permanent);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Permanent {
    ForEver,
    ForNow,
}
use Permanent::{ForEver, ForNow};

/// One row for each cause, in the order of §8.
fn rules() -> Vec<Rule> {
    vec![
        (
            "tx-malformed",
            |it| it.cut_bytes = 1,
            TxError::Malformed(DecodeError::Truncated),
            ForEver,
        ),
        ("tx-no-inputs", |it| it.transaction.inputs.clear(), TxError::NoInputs, ForEver),
        ("tx-no-outputs", |it| it.transaction.outputs.clear(), TxError::NoOutputs, ForEver),
        (
            "tx-too-large",
            |it| {
                let more = it.transaction.outputs.first().copied();
                it.transaction.outputs.extend(more.into_iter().cycle().take(856));
                it.transaction.memo = vec![0; 65_535];
            },
            TxError::TooLarge { size_bytes: 100_924 },
            ForEver,
        ),
        (
            "tx-duplicate-input",
            |it| it.transaction.inputs[1] = it.transaction.inputs[0],
            TxError::DuplicateInput,
            ForEver,
        ),
        (
            "tx-bad-value",
            |it| it.transaction.outputs[0].value = Amount::ZERO,
            TxError::BadValue,
            ForEver,
        ),
        (
            "tx-bad-lock-version",
            |it| it.transaction.outputs[1].lock.version = 2,
            TxError::BadLockVersion,
            ForEver,
        ),
        (
            "tx-memo-too-long",
            |it| it.transaction.memo.push(0),
            TxError::MemoTooLong { length: 257 },
            ForEver,
        ),
        (
            "tx-not-yet-valid",
            |it| it.transaction.not_before = HEIGHT + 1,
            TxError::NotYetValid { not_before: HEIGHT + 1 },
            ForNow,
        ),
        ("tx-missing-input", |it| it.coins[1] = None, TxError::MissingInput { input: 1 }, ForNow),
        (
            "tx-immature-coinbase",
            |it| it.params.coinbase_maturity += 1,
            TxError::ImmatureCoinbase { input: 0, mature_at: u64::from(HEIGHT) + 1 },
            ForNow,
        ),
        (
            "tx-bad-input-sum",
            |it| it.coins[0].as_mut().unwrap().output.value = Amount::MAX_MONEY,
            TxError::BadInputSum,
            ForNow,
        ),
        (
            "tx-overspends",
            |it| it.transaction.outputs[1].value = Amount::from_grains(101),
            TxError::Overspends { inputs: 1_000, outputs: 1_001 },
            ForNow,
        ),
        (
            "tx-bad-witness: count",
            |it| it.damage.push(|transaction| drop(transaction.witnesses.pop())),
            TxError::BadWitness { witness: 1, fault: WitnessFault::Count },
            ForEver,
        ),
        (
            "tx-bad-witness: kind",
            |it| it.shows(Lock::key(it.owners[1].key()), RIPE, []),
            TxError::BadWitness { witness: 1, fault: WitnessFault::Kind },
            ForEver,
        ),
        (
            "tx-bad-witness: policy id",
            |it| it.shows(Lock::policy(UNRIPE.id()), RIPE, []),
            TxError::BadWitness { witness: 1, fault: WitnessFault::PolicyId },
            ForEver,
        ),
        (
            "tx-bad-witness: unsatisfied",
            |it| it.shows(Lock::policy(hash().id()), hash(), [[6; 32]]),
            TxError::BadWitness { witness: 1, fault: WitnessFault::Unsatisfied },
            ForEver,
        ),
        (
            "tx-bad-witness: leftovers",
            |it| it.shows(Lock::policy(RIPE.id()), RIPE, [PREIMAGE]),
            TxError::BadWitness { witness: 1, fault: WitnessFault::Leftovers },
            ForEver,
        ),
        (
            "tx-bad-witness: not yet",
            |it| it.shows(Lock::policy(UNRIPE.id()), UNRIPE, []),
            TxError::BadWitness { witness: 1, fault: WitnessFault::NotYet },
            ForNow,
        ),
        (
            "tx-bad-signature",
            |it| it.owners[0] = Owner::new(9),
            TxError::BadSignature { witness: 0 },
            ForEver,
        ),
    ]
}

#[test]
fn each_rule_and_of_any_two_the_first() {
    assert_eq!(Attempt::new().judge(), Ok(50));
    let rules = rules();
    for (position, (code, change, error, permanent)) in rules.iter().enumerate() {
        assert_eq!(transaction_cause(error), *code);
        assert_eq!(code.split(':').next(), Some(error.code()));
        assert_eq!(error.is_permanent(), *permanent == ForEver, "{code}");
        let mut attempt = Attempt::new();
        change(&mut attempt);
        assert_eq!(attempt.judge(), Err(*error), "{code}");
        for (later_code, later, ..) in &rules[position + 1..] {
            let mut attempt = Attempt::new();
            later(&mut attempt);
            change(&mut attempt);
            let reported = attempt.judge().unwrap_err();
            assert_eq!(transaction_cause(&reported), *code, "beside {later_code}");
        }
    }
}

#[test]
fn every_cause_has_its_row() {
    let rows: Vec<&str> = rules().iter().map(|(cause, ..)| *cause).collect();
    assert_eq!(rows, TRANSACTION_CAUSES);
}

#[test]
fn limits_are_met_exactly() {
    let filler = Attempt::new().transaction.outputs[1];
    let sized = |outputs: usize, memo: usize| {
        let mut transaction = Attempt::new().transaction;
        transaction.outputs = vec![filler; outputs];
        transaction.memo = vec![0; memo];
        transaction
    };
    // 13 + 2 · 34 + 41 · outputs + memo, without witnesses.
    let at_limit = sized(2_434, 125);
    let limit = usize::try_from(MAX_TRANSACTION_BYTES).unwrap();
    assert_eq!(at_limit.to_bytes().len(), limit);
    assert!(check_transaction(at_limit).is_ok());
    let error = TxError::TooLarge { size_bytes: 100_001 };
    assert_eq!(check_transaction(sized(2_434, 126)), Err(error));

    let valued = |values: &[u64]| {
        let mut transaction = Attempt::new().transaction;
        transaction.outputs = values.iter().map(|value| output(*value, filler.lock)).collect();
        check_transaction(transaction).map(drop)
    };
    let max = Amount::MAX_MONEY.grains();
    for values in [&[1][..], &[max], &[max - 1, 1]] {
        assert_eq!(valued(values), Ok(()), "{values:?}");
    }
    for values in [&[0][..], &[max + 1], &[max, 1], &[u64::MAX, 2], &[1 << 63, 1 << 63], &[1, 0]] {
        assert_eq!(valued(values), Err(TxError::BadValue), "{values:?}");
    }

    // The last that is let through (with the fee that it leaves), the first that is not.
    type Change = fn(&mut Attempt);
    let limits: [(&str, Change, u64, Change, TxError); 9] = [
        (
            "the memo",
            |it| it.transaction.memo = vec![1; 256],
            50,
            |it| it.transaction.memo = vec![1; 257],
            TxError::MemoTooLong { length: 257 },
        ),
        (
            "the fewest inputs and outputs",
            |it| {
                it.transaction.inputs.truncate(1);
                it.transaction.outputs = vec![output(500, it.owners[0].lock())];
                it.coins.truncate(1);
                it.damage.push(|transaction| transaction.witnesses.truncate(1));
            },
            0,
            |it| it.transaction.inputs.clear(),
            TxError::NoInputs,
        ),
        (
            "the lock version",
            |it| it.transaction.outputs[0].lock.version = 1,
            50,
            |it| it.transaction.outputs[0].lock.version = 2,
            TxError::BadLockVersion,
        ),
        (
            "outpoints that differ in one bit",
            |it| it.transaction.inputs[1] = OutPoint { index: 0, ..it.transaction.inputs[0] },
            50,
            |it| it.transaction.inputs[1] = it.transaction.inputs[0],
            TxError::DuplicateInput,
        ),
        (
            "the first height",
            |it| it.transaction.not_before = HEIGHT,
            50,
            |it| it.transaction.not_before = HEIGHT + 1,
            TxError::NotYetValid { not_before: HEIGHT + 1 },
        ),
        (
            "maturity",
            |it| it.coins[0].as_mut().unwrap().height = HEIGHT - 100,
            50,
            |it| it.coins[0].as_mut().unwrap().height = HEIGHT - 99,
            TxError::ImmatureCoinbase { input: 0, mature_at: u64::from(HEIGHT) + 1 },
        ),
        (
            "maturity in 64 bits",
            |it| it.coins[0].as_mut().unwrap().height = 0,
            50,
            |it| it.coins[0].as_mut().unwrap().height = u32::MAX,
            TxError::ImmatureCoinbase { input: 0, mature_at: u64::from(u32::MAX) + 100 },
        ),
        (
            "the inputs' sum",
            |it| {
                let value = Amount::from_grains(Amount::MAX_MONEY.grains() - 500);
                it.coins[0].as_mut().unwrap().output.value = value;
            },
            Amount::MAX_MONEY.grains() - 950,
            |it| {
                let value = Amount::from_grains(Amount::MAX_MONEY.grains() - 499);
                it.coins[0].as_mut().unwrap().output.value = value;
            },
            TxError::BadInputSum,
        ),
        (
            "what the inputs hold",
            |it| it.transaction.outputs[1].value = Amount::from_grains(100),
            0,
            |it| it.transaction.outputs[1].value = Amount::from_grains(101),
            TxError::Overspends { inputs: 1_000, outputs: 1_001 },
        ),
    ];
    for (name, at, fee, beyond, error) in limits {
        let judge = |change: Change| {
            let mut attempt = Attempt::new();
            change(&mut attempt);
            attempt.judge()
        };
        assert_eq!(judge(at), Ok(fee), "{name}");
        assert_eq!(judge(beyond), Err(error), "{name}");
    }
}

#[test]
fn every_input_by_one_rule_before_the_next_rule() {
    let mut attempt = Attempt::new();
    attempt.params.coinbase_maturity += 1;
    attempt.coins[1] = None;
    assert_eq!(attempt.judge(), Err(TxError::MissingInput { input: 1 }));
    let mut attempt = Attempt::new();
    attempt.coins.pop();
    assert_eq!(attempt.judge(), Err(TxError::MissingInput { input: 1 }), "a list too short");
}

/// A witness for a policy over one coin, and what is to come of it.
struct PolicyCase {
    policy: Policy,
    signatures: usize,
    preimages: Vec<[u8; 32]>,
    coin_heights: Vec<u32>,
    expected: Result<(), WitnessFault>,
}

fn hash() -> Policy {
    Policy::Hash(Sha256::digest(PREIMAGE).into())
}

fn all(children: Vec<Policy>) -> Policy {
    Policy::Threshold { k: u8::try_from(children.len()).unwrap(), children }
}

fn judge_policy(case: &PolicyCase, break_signature: bool) -> Result<u64, TxError> {
    let mut attempt = Attempt::new();
    let lock = Lock::policy(case.policy.id());
    let number = |index: usize| u8::try_from(index + 1).unwrap();
    let count = case.coin_heights.len();
    attempt.transaction.inputs = (0..count).map(|index| outpoint(number(index))).collect();
    attempt.transaction.outputs.truncate(1);
    let coin = |height: &u32| {
        Some(Coin { output: output(1_000, lock), height: *height, is_coinbase: false })
    };
    attempt.coins = case.coin_heights.iter().map(coin).collect();
    let digest = attempt.digest();
    let mut signatures = vec![attempt.owners[0].sign(&digest); case.signatures];
    if break_signature {
        signatures[0].0[0] ^= 1;
    }
    let (policy, preimages) = (case.policy.clone(), case.preimages.clone());
    attempt.transaction.witnesses = vec![Witness::Policy { policy, signatures, preimages }];
    attempt.judge_as_it_is()
}

#[test]
fn policies() {
    use WitnessFault::{Leftovers, NotYet, Unsatisfied};
    let key = || Policy::Key(Owner::new(1).key());
    let hidden = |policy: Policy| Policy::Opaque(policy.id());
    let (after, older) = (|| Policy::After(HEIGHT + 1), |blocks| Policy::Older(blocks));
    let any = |k, children| Policy::Threshold { k, children };
    let wrong = [6; 32];
    let case = |policy: Policy, signatures, preimages: &[[u8; 32]], expected| PolicyCase {
        policy,
        signatures,
        preimages: preimages.to_vec(),
        coin_heights: vec![HEIGHT - 5],
        expected,
    };
    let cases = [
        case(key(), 1, &[], Ok(())),
        case(key(), 0, &[], Err(Unsatisfied)),
        case(key(), 2, &[], Err(Leftovers)),
        case(key(), 1, &[PREIMAGE], Err(Leftovers)),
        case(hash(), 0, &[PREIMAGE], Ok(())),
        case(hash(), 0, &[wrong], Err(Unsatisfied)),
        case(hash(), 0, &[], Err(Unsatisfied)),
        case(Policy::After(HEIGHT), 0, &[], Ok(())),
        case(after(), 0, &[], Err(NotYet)),
        case(older(5), 0, &[], Ok(())),
        case(older(6), 0, &[], Err(NotYet)),
        case(older(u32::MAX), 0, &[], Err(NotYet)),
        case(all(vec![key(), key(), hash()]), 2, &[PREIMAGE], Ok(())),
        case(all(vec![key(), after()]), 1, &[], Err(NotYet)),
        // What is wrong for ever outweighs what is wrong for now, wherever it stands.
        case(all(vec![after(), key()]), 0, &[], Err(Unsatisfied)),
        case(all(vec![hash(), after()]), 0, &[wrong], Err(Unsatisfied)),
        case(all(vec![older(6), hash()]), 0, &[wrong], Err(Unsatisfied)),
        case(after(), 1, &[], Err(Leftovers)),
        case(after(), 0, &[PREIMAGE], Err(Leftovers)),
        case(any(1, vec![after(), key()]), 1, &[], Err(Unsatisfied)),
        // Exactly k are shown.
        case(any(1, vec![hidden(hash()), key()]), 1, &[], Ok(())),
        case(any(1, vec![hash(), key()]), 1, &[PREIMAGE], Err(Unsatisfied)),
        case(any(2, vec![hidden(hash()), key()]), 1, &[], Err(Unsatisfied)),
        case(any(1, vec![all(vec![after()]), hidden(key())]), 0, &[], Err(NotYet)),
        // `older` counts from the youngest coin.
        PolicyCase {
            coin_heights: vec![HEIGHT - 5, HEIGHT - 4],
            ..case(older(5), 0, &[], Err(NotYet))
        },
        PolicyCase {
            coin_heights: vec![HEIGHT - 4, HEIGHT - 5],
            ..case(older(5), 0, &[], Err(NotYet))
        },
        PolicyCase { coin_heights: vec![HEIGHT - 6, HEIGHT - 5], ..case(older(5), 0, &[], Ok(())) },
    ];
    for (number, case) in cases.iter().enumerate() {
        let coins = u64::try_from(case.coin_heights.len()).unwrap();
        let expected = case
            .expected
            .map(|()| 1_000 * coins - 900)
            .map_err(|fault| TxError::BadWitness { witness: 0, fault });
        let result = judge_policy(case, false);
        assert_eq!(result, expected, "case {number}");
        let for_now = case.expected == Err(NotYet);
        assert_eq!(result.is_err_and(|error| !error.is_permanent()), for_now, "case {number}");
    }
    // An unsatisfied time condition beside a wrong signature is for now.
    let early = case(all(vec![key(), after()]), 1, &[], Err(NotYet));
    let fault = WitnessFault::NotYet;
    assert_eq!(judge_policy(&early, true), Err(TxError::BadWitness { witness: 0, fault }));
    let good = case(key(), 1, &[], Ok(()));
    assert_eq!(judge_policy(&good, true), Err(TxError::BadSignature { witness: 0 }));
}

#[test]
fn witnesses_belong_to_distinct_locks_in_order_of_appearance() {
    // Three coins, two locks: two witnesses, in the order in which the locks appear.
    let three = || {
        let mut attempt = Attempt::new();
        attempt.transaction.inputs.push(outpoint(3));
        attempt.coins.push(attempt.coins[0]);
        attempt
    };
    assert_eq!(three().judge(), Ok(550));
    let bad_witness = |witness, fault| Err(TxError::BadWitness { witness, fault });

    let mut swapped = three();
    swapped.owners.reverse();
    assert_eq!(swapped.judge(), Err(TxError::BadSignature { witness: 0 }));

    let mut repeated = three();
    repeated.damage.push(|it| it.witnesses.push(it.witnesses[0].clone()));
    assert_eq!(repeated.judge(), bad_witness(2, WitnessFault::Count));

    let as_policy = |it: &mut Transaction| {
        let (signatures, preimages) = (vec![], vec![]);
        it.witnesses[1] = Witness::Policy { policy: Policy::After(0), signatures, preimages };
    };
    let mut kind = three();
    kind.damage.push(as_policy);
    assert_eq!(kind.judge(), bad_witness(1, WitnessFault::Kind));

    let mut id = three();
    id.coins[1].as_mut().unwrap().output.lock = Lock::policy(Policy::After(1).id());
    id.damage.push(as_policy);
    assert_eq!(id.judge(), bad_witness(1, WitnessFault::PolicyId));

    // For ever in the second witness outweighs for now in the first.
    let mut early = three();
    let lock = Lock::policy(Policy::After(HEIGHT + 1).id());
    for index in [0, 2] {
        early.coins[index].as_mut().unwrap().output.lock = lock;
    }
    early.damage.push(|it| {
        let (policy, signatures, preimages) = (Policy::After(HEIGHT + 1), vec![], vec![]);
        it.witnesses[0] = Witness::Policy { policy, signatures, preimages };
    });
    assert_eq!(early.judge(), bad_witness(0, WitnessFault::NotYet));
    let mut both = three();
    for index in [0, 2] {
        both.coins[index].as_mut().unwrap().output.lock = lock;
    }
    both.damage.push(|it| {
        let (policy, signatures, preimages) = (Policy::After(HEIGHT + 1), vec![], vec![]);
        let witness = Witness::Policy { policy, signatures, preimages };
        it.witnesses = vec![witness.clone(), witness];
    });
    assert_eq!(both.judge(), bad_witness(1, WitnessFault::Kind));
}

#[test]
fn what_is_signed_commits_to_everything() {
    type Change = fn(&mut Attempt);
    let changes: [(&str, Change); 7] = [
        ("the chain", |it| it.params.chain_id.0[0] ^= 1),
        ("an amount spent", |it| {
            it.coins[1].as_mut().unwrap().output.value = Amount::from_grains(501);
        }),
        ("an input", |it| it.transaction.inputs[1].index ^= 1),
        ("the order of inputs", |it| it.transaction.inputs.reverse()),
        ("an output", |it| it.transaction.outputs[0].value = Amount::from_grains(899)),
        ("the memo", |it| it.transaction.memo[0] ^= 1),
        ("the first height", |it| it.transaction.not_before -= 1),
    ];
    for (what, change) in changes {
        let mut attempt = Attempt::new();
        let before = attempt.digest();
        change(&mut attempt);
        assert_ne!(attempt.digest(), before, "{what}");
    }
    // But not to the height of a coin, which is the same coin on any chain that holds it.
    let mut attempt = Attempt::new();
    let before = attempt.digest();
    attempt.coins[1].as_mut().unwrap().height -= 1;
    assert_eq!(attempt.digest(), before);
}
