//! Every rule for a block, one change each, with the exact error; and for every pair of them, that
//! the one that stands first in PROTOCOL.md §8 is reported.

use ashlar_consensus::{
    BlockError, BodyError, HeaderError, JudgeError, OpenError, TxError, UtxoAccumulator,
    connect_block, error::CoinbaseFault, judge_header, open_body, open_parts,
};
use ashlar_primitives::{
    Block, BlockId, Coin, Coinbase, Commitment, DecodeError, Encode, Header, Lock, MerkleRoot,
    OutPoint, Transaction, Witness, merkle::merkle_root,
};

use crate::builder::{Chain, Owner, mine, output, payment};

/// A block about to be made and judged. Unchanged it is valid: two payments, the second spending
/// the first, each with a fee of 1.
struct Attempt {
    chain: Chain,
    now_seconds: u64,
    coinbase: Coinbase,
    transactions: Vec<Transaction>,
    version: u32,
    time: u32,
    bits: u32,
    wrong_root: bool,
    unmined: bool,
    trailing_byte: bool,
}

/// All that can come out.
#[derive(Debug, PartialEq)]
enum Fault {
    Judge(JudgeError),
    Open(OpenError),
    Connect(BlockError),
}

impl Fault {
    fn code(&self) -> &'static str {
        match self {
            Self::Judge(JudgeError::Rule(error)) => error.code(),
            Self::Judge(JudgeError::TooNew { .. }) => "time-too-new",
            Self::Open(OpenError::Body(error)) => error.code(),
            Self::Open(OpenError::Block(error)) | Self::Connect(error) => error.code(),
        }
    }
}

fn owner() -> Owner {
    Owner::new(1)
}

impl Attempt {
    fn new() -> Self {
        let mut chain = Chain::new();
        for _ in 0..3 {
            chain.extend(&owner(), vec![], 0);
        }
        let header = chain.header();
        let [coin, ..] = chain.spendable(owner().lock())[..] else { panic!("nothing to spend") };
        let chain_id = chain.params.chain_id;
        let value = coin.1.output.value.grains() - 1;
        let first = payment(&chain_id, &owner(), &[coin], vec![output(value, owner().lock())]);
        let middle = (
            OutPoint { txid: first.txid(), index: 0 },
            Coin { output: first.outputs[0], height: chain.height(), is_coinbase: false },
        );
        let outputs = vec![output(value - 1, owner().lock())];
        let second = payment(&chain_id, &owner(), &[middle], outputs);
        Self {
            now_seconds: header.time.into(),
            coinbase: chain.coinbase(&owner(), 2),
            transactions: vec![first, second],
            version: header.version,
            time: header.time,
            bits: header.bits,
            wrong_root: false,
            unmined: false,
            trailing_byte: false,
            chain,
        }
    }

    fn judge(&self) -> Result<(), Fault> {
        let Self { chain, coinbase, transactions, version, time, bits, .. } = self;
        let leaves: Vec<_> = std::iter::once(coinbase.id().0)
            .chain(transactions.iter().map(|transaction| transaction.wtxid().0))
            .collect();
        let merkle_root = if self.wrong_root { MerkleRoot([1; 32]) } else { merkle_root(&leaves) };
        let mut header =
            Header { version: *version, merkle_root, time: *time, bits: *bits, ..chain.header() };
        mine(&mut header);
        while self.unmined && mined(&header) {
            header.nonce += 1;
        }
        let (coinbase, transactions) = (coinbase.clone(), transactions.clone());
        let mut bytes = Block { header, coinbase, transactions }.to_bytes();
        if self.trailing_byte {
            bytes.push(0);
        }
        let (params, parent) = (&chain.params, &chain.state);
        let next = judge_header(&parent.header, params, &header, self.now_seconds)
            .map_err(Fault::Judge)?;
        let block = open_body(params, &header, next.height, &bytes).map_err(Fault::Open)?;
        assert_eq!(block.to_bytes(), bytes);
        assert_eq!(usize::try_from(block.size_bytes()).unwrap(), bytes.len());
        assert_eq!(block.to_block().to_bytes(), bytes);
        let coins = chain.fetch(&block);
        connect_block(parent, next, params, &block, &coins, &mut crate::builder::rng())
            .map(drop)
            .map_err(Fault::Connect)
    }
}

fn mined(header: &Header) -> bool {
    ashlar_consensus::Target::from_bits(header.bits).unwrap().is_met_by(&header.id())
}

fn rule(error: HeaderError) -> Fault {
    Fault::Judge(JudgeError::Rule(error))
}

fn body(error: BodyError) -> Fault {
    Fault::Open(OpenError::Body(error))
}

fn bad_coinbase(fault: CoinbaseFault) -> Fault {
    Fault::Open(OpenError::Block(BlockError::BadCoinbase(fault)))
}

type Rule = (&'static str, fn(&mut Attempt), Fault);

/// One row for each rule, in the order of §8; the transactions' own rules have their table.
fn rules() -> Vec<Rule> {
    let time = Attempt::new().time;
    vec![
        (
            "bad-version",
            |it| it.version = 0x2000_0001,
            rule(HeaderError::BadVersion { version: 0x2000_0001 }),
        ),
        (
            "time-too-old",
            |it| it.time = it.chain.state.header.median_time(),
            rule(HeaderError::TimeTooOld { time: time - 20, median: time - 20 }),
        ),
        (
            "time-too-new",
            |it| it.now_seconds = u64::from(it.time) - 61,
            Fault::Judge(JudgeError::TooNew { time, latest: u64::from(time) - 1 }),
        ),
        (
            "bad-difficulty",
            |it| it.bits = 0x207f_fffe,
            rule(HeaderError::BadDifficulty { bits: 0x207f_fffe, required: 0x207f_ffff }),
        ),
        ("high-hash", |it| it.unmined = true, rule(HeaderError::HighHash)),
        (
            "malformed",
            |it| it.trailing_byte = true,
            body(BodyError::Malformed(DecodeError::Trailing { count: 1 })),
        ),
        (
            "block-too-large",
            |it| it.chain.params.max_block_bytes = 100,
            body(BodyError::TooLarge { size_bytes: 472, max_bytes: 100 }),
        ),
        ("bad-merkle-root", |it| it.wrong_root = true, body(BodyError::BadMerkleRoot)),
        ("bad-coinbase", |it| it.coinbase.version = 1, bad_coinbase(CoinbaseFault::Version)),
        (
            "tx-memo-too-long",
            |it| it.transactions[1].memo = vec![0; 257],
            Fault::Open(OpenError::Block(BlockError::Transaction {
                index: 1,
                error: TxError::MemoTooLong { length: 257 },
            })),
        ),
        (
            "bad-utxo-commitment",
            |it| it.coinbase.utxo_commitment = Commitment::ZERO,
            Fault::Connect(BlockError::BadUtxoCommitment),
        ),
        (
            "tx-bad-signature",
            |it| {
                let Witness::Key { signature } = &mut it.transactions[0].witnesses[0] else {
                    panic!("not a key's witness")
                };
                signature.0[40] ^= 1;
            },
            Fault::Connect(BlockError::Transaction {
                index: 0,
                error: TxError::BadSignature { witness: 0 },
            }),
        ),
        (
            "tx-not-yet-valid",
            |it| it.transactions[1].not_before = u32::MAX,
            Fault::Connect(BlockError::Transaction {
                index: 1,
                error: TxError::NotYetValid { not_before: u32::MAX },
            }),
        ),
        (
            "coinbase-overpays",
            |it| it.coinbase.outputs.push(output(1, owner().lock())),
            Fault::Connect(BlockError::CoinbaseOverpays { claimed: 1_003, allowed: 1_002 }),
        ),
    ]
}

#[test]
fn each_rule_and_of_any_two_the_first() {
    assert_eq!(Attempt::new().judge(), Ok(()));
    let rules = rules();
    for (position, (code, change, fault)) in rules.iter().enumerate() {
        assert_eq!(fault.code(), *code);
        let mut attempt = Attempt::new();
        change(&mut attempt);
        assert_eq!(attempt.judge().as_ref(), Err(fault), "{code}");
        for (later_code, later, _) in &rules[position + 1..] {
            let mut attempt = Attempt::new();
            later(&mut attempt);
            change(&mut attempt);
            let reported = attempt.judge().unwrap_err();
            assert_eq!(reported.code(), *code, "{code} beside {later_code}");
        }
    }
}

#[test]
fn coinbase() {
    type Row = (&'static str, fn(&mut Attempt), Result<(), CoinbaseFault>);
    let rows: Vec<Row> = vec![
        ("height below", |it| it.coinbase.height -= 1, Err(CoinbaseFault::Height)),
        ("height above", |it| it.coinbase.height += 1, Err(CoinbaseFault::Height)),
        ("no outputs", |it| it.coinbase.outputs.clear(), Err(CoinbaseFault::OutputCount)),
        (
            "1,024 outputs of nothing",
            |it| it.coinbase.outputs = vec![output(0, owner().lock()); 1_024],
            Ok(()),
        ),
        (
            "1,025 outputs",
            |it| it.coinbase.outputs = vec![output(0, owner().lock()); 1_025],
            Err(CoinbaseFault::OutputCount),
        ),
        (
            "lock version 2",
            |it| it.coinbase.outputs[0].lock = Lock { version: 2, program: [0; 32] },
            Err(CoinbaseFault::LockVersion),
        ),
        ("96 bytes extra", |it| it.coinbase.extra = vec![0; 96], Ok(())),
        ("97 bytes extra", |it| it.coinbase.extra = vec![0; 97], Err(CoinbaseFault::ExtraTooLong)),
        (
            "a value over MAX_MONEY",
            |it| it.coinbase.outputs[0] = output(1 << 53, owner().lock()),
            Err(CoinbaseFault::Value),
        ),
        (
            "values over MAX_MONEY",
            |it| it.coinbase.outputs.push(output((1 << 53) - 1, owner().lock())),
            Err(CoinbaseFault::Value),
        ),
        (
            "values that wrap 64 bits",
            |it| it.coinbase.outputs = vec![output(1 << 63, owner().lock()); 2],
            Err(CoinbaseFault::Value),
        ),
        ("less than allowed", |it| it.coinbase.outputs[0] = output(1, owner().lock()), Ok(())),
    ];
    for (name, change, expected) in rows {
        let mut attempt = Attempt::new();
        change(&mut attempt);
        assert_eq!(attempt.judge(), expected.map_err(bad_coinbase), "{name}");
    }
}

#[test]
fn a_leaf_that_could_pass_for_an_inner_node() {
    // 41 bytes without outputs and extra; 13 without inputs, outputs, memo and witnesses.
    let mut attempt = Attempt::new();
    attempt.coinbase.outputs.clear();
    attempt.coinbase.extra = vec![0; 23];
    assert_eq!(attempt.coinbase.to_bytes().len(), 64);
    assert_eq!(attempt.judge(), Err(body(BodyError::BadMerkleRoot)));

    let mut attempt = Attempt::new();
    let memo = vec![0; 51];
    let (inputs, outputs, witnesses) = (vec![], vec![], vec![]);
    attempt.transactions[1] = Transaction { not_before: 0, inputs, outputs, memo, witnesses };
    assert_eq!(attempt.transactions[1].to_bytes().len(), 64);
    assert_eq!(attempt.judge(), Err(body(BodyError::BadMerkleRoot)));
}

#[test]
fn a_body_belongs_to_one_header_only() {
    let chain = Chain::new();
    let block = chain.block(chain.coinbase(&owner(), 0), vec![]);
    let other = Header { nonce: block.header.nonce ^ 1, ..block.header };
    let opened = open_body(&chain.params, &other, 1, &block.to_bytes());
    assert_eq!(opened, Err(BodyError::BadMerkleRoot.into()));
}

#[test]
fn a_block_of_exactly_the_greatest_size() {
    // The header, a count, a coinbase of one output, two payments of 153 bytes.
    let size: u32 = 80 + 4 + 82 + 2 * 153;
    let mut attempt = Attempt::new();
    attempt.chain.params.max_block_bytes = size;
    assert_eq!(attempt.judge(), Ok(()));
    attempt.chain.params.max_block_bytes = size - 1;
    let fault = BodyError::TooLarge { size_bytes: size.into(), max_bytes: size - 1 };
    assert_eq!(attempt.judge(), Err(body(fault)));
}

fn missing(index: u32) -> Result<(), Fault> {
    let error = TxError::MissingInput { input: 0 };
    Err(Fault::Connect(BlockError::Transaction { index, error }))
}

#[test]
fn spends_inside_a_block() {
    let mut later = Attempt::new();
    later.transactions.reverse();
    assert_eq!(later.judge(), missing(0), "an output of a later transaction");

    let mut twice = Attempt::new();
    let first = twice.transactions[0].clone();
    twice.transactions.insert(1, first);
    assert_eq!(twice.judge(), missing(1), "a coin from outside, twice");

    let mut twice = Attempt::new();
    let second = twice.transactions[1].clone();
    twice.transactions.push(second);
    assert_eq!(twice.judge(), missing(2), "a coin from inside, twice");

    let mut own = Attempt::new();
    own.chain.params.coinbase_maturity = 0;
    let coinbase = own.coinbase.clone();
    let coin = Coin { output: coinbase.outputs[0], height: coinbase.height, is_coinbase: true };
    let outpoint = OutPoint { txid: coinbase.id().into(), index: 0 };
    let outputs = vec![output(1_000, owner().lock())];
    let spend = payment(&own.chain.params.chain_id, &owner(), &[(outpoint, coin)], outputs);
    own.transactions = vec![spend];
    own.coinbase = coinbase;
    assert_eq!(own.judge(), missing(0), "the block's own coinbase");
}

#[test]
fn a_fault_counts_after_the_signatures_before_it() {
    let break_signature = |it: &mut Attempt, index: usize| {
        let Witness::Key { signature } = &mut it.transactions[index].witnesses[0] else {
            panic!("not a key's witness")
        };
        signature.0[63] = 0xff;
    };
    let at = |index, error| Err(Fault::Connect(BlockError::Transaction { index, error }));
    let bad_signature = TxError::BadSignature { witness: 0 };

    let mut attempt = Attempt::new();
    break_signature(&mut attempt, 0);
    attempt.transactions[1].not_before = u32::MAX;
    assert_eq!(attempt.judge(), at(0, bad_signature), "the signature stands before the fault");

    let mut attempt = Attempt::new();
    break_signature(&mut attempt, 1);
    attempt.transactions[0].not_before = u32::MAX;
    assert_eq!(attempt.judge(), at(0, TxError::NotYetValid { not_before: u32::MAX }));

    let mut attempt = Attempt::new();
    break_signature(&mut attempt, 1);
    attempt.coinbase.outputs[0] = output(5_000, owner().lock());
    assert_eq!(attempt.judge(), at(1, bad_signature), "overpaying is judged last");
}

#[test]
fn parts_that_were_checked_before_make_the_same_block() {
    let Attempt { chain, coinbase, transactions, .. } = Attempt::new();
    let (_, whole) = chain.checked(chain.block(coinbase.clone(), transactions));
    let parts = whole.transactions().to_vec();
    let opened = open_parts(&chain.params, whole.header(), whole.height(), coinbase.clone(), parts);
    assert_eq!(opened.as_ref(), Ok(&*whole));
    let fewer = open_parts(&chain.params, whole.header(), whole.height(), coinbase, vec![]);
    assert_eq!(fewer, Err(BodyError::BadMerkleRoot.into()));
}

#[test]
fn external_inputs_are_sorted_and_without_what_is_made_inside() {
    let Attempt { chain, coinbase, transactions, .. } = Attempt::new();
    let outside = transactions[0].inputs[0];
    let (_, block) = chain.checked(chain.block(coinbase, transactions));
    assert_eq!(block.external_inputs(), [outside]);
}

#[test]
fn the_genesis_block_commits_to_the_empty_set_and_has_no_parent() {
    let genesis = ashlar_consensus::Genesis::parse(crate::builder::GENESIS).unwrap();
    let block = genesis.block();
    assert_eq!(block.coinbase.utxo_commitment, UtxoAccumulator::empty().commitment());
    assert_eq!(block.header.parent, BlockId::ZERO);
    assert_eq!(genesis.params().chain_id, block.header.id());
}
