//! One broken block for each rule of PROTOCOL.md §8: a valid block, one thing changed, the error
//! that must come of it with all its fields.
//!
//! The table is driven through the rules, the ledger and the engine: each must report the same
//! code, and remember exactly what §8 lets a node remember. [`Fault::cause`] names every variant
//! of every error, so that one without a row fails a test, and a new one does not compile.

use std::collections::BTreeMap;

use ashlar_consensus::{
    BlockError, BodyError, CheckedBlock, HeaderError, JudgeError, OpenError, Params, SpentCoins,
    Target, Transition, TxError, connect_block,
    error::{CoinbaseFault, WitnessFault},
    judge_header, open_body,
    transaction::sighash,
};
use ashlar_primitives::{
    Amount, Block, BlockId, Coin, Coinbase, Commitment, DecodeError, Encode as _, Header, Lock,
    MerkleRoot, OutPoint, Output, Policy, SigHash, Transaction, Txid, Witness, hash::sha256,
    merkle::merkle_root,
};
use rand::CryptoRng;

use crate::builder::{Chain, GENESIS_TIME, Plan, Spend, genesis_with, key, lock, output, solve};

/// The clock by which the table judges, in seconds since 1970.
pub const NOW_SECONDS: u64 = GENESIS_TIME as u64 + 100_000;

/// What opens the hash lock of the table.
const PREIMAGE: [u8; 32] = [5; 32];

/// All that a block can be refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `unknown-parent`: no verdict.
    UnknownParent,
    /// `time-too-new`: no verdict.
    TooNew {
        /// The header's.
        time: u32,
        /// The latest that is acceptable now.
        latest: u64,
    },
    /// A rule for headers.
    Header(HeaderError),
    /// These bytes are not the header's body.
    Body(BodyError),
    /// A rule for blocks.
    Block(BlockError),
}

impl From<JudgeError> for Fault {
    fn from(error: JudgeError) -> Self {
        match error {
            JudgeError::Rule(error) => Self::Header(error),
            JudgeError::TooNew { time, latest } => Self::TooNew { time, latest },
        }
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Body(error) => Self::Body(error),
            OpenError::Block(error) => Self::Block(error),
        }
    }
}

/// A name for each cause of an error, and all names: a variant that nobody named does not compile,
/// and a table of faults whose names are not all of them fails its test.
///
/// ```text
/// causes! { LIST, cause_of(MyError); MyError::This => "this", MyError::That { .. } => "that", }
/// ```
#[macro_export]
macro_rules! causes {
    (
        $(#[$doc:meta])* $list:ident, $name:ident($type:ty);
        $($cause:pat => $text:literal,)*
        $(@ $other:pat => $result:expr)?
    ) => {
        $(#[$doc])*
        pub const $list: &[&str] = &[$($text),*];

        /// Which of the causes an error has.
        pub const fn $name(error: &$type) -> &'static str {
            match error {
                $($cause => $text,)*
                $($other => $result,)?
            }
        }
    };
}

causes! {
    /// Every cause for which a transaction is refused.
    TRANSACTION_CAUSES, transaction_cause(TxError);
    TxError::Malformed(_) => "tx-malformed",
    TxError::NoInputs => "tx-no-inputs",
    TxError::NoOutputs => "tx-no-outputs",
    TxError::TooLarge { .. } => "tx-too-large",
    TxError::DuplicateInput => "tx-duplicate-input",
    TxError::BadValue => "tx-bad-value",
    TxError::BadLockVersion => "tx-bad-lock-version",
    TxError::MemoTooLong { .. } => "tx-memo-too-long",
    TxError::NotYetValid { .. } => "tx-not-yet-valid",
    TxError::MissingInput { .. } => "tx-missing-input",
    TxError::ImmatureCoinbase { .. } => "tx-immature-coinbase",
    TxError::BadInputSum => "tx-bad-input-sum",
    TxError::Overspends { .. } => "tx-overspends",
    TxError::BadWitness { fault: WitnessFault::Count, .. } => "tx-bad-witness: count",
    TxError::BadWitness { fault: WitnessFault::Kind, .. } => "tx-bad-witness: kind",
    TxError::BadWitness { fault: WitnessFault::PolicyId, .. } => "tx-bad-witness: policy id",
    TxError::BadWitness { fault: WitnessFault::Unsatisfied, .. } => "tx-bad-witness: unsatisfied",
    TxError::BadWitness { fault: WitnessFault::Leftovers, .. } => "tx-bad-witness: leftovers",
    TxError::BadWitness { fault: WitnessFault::NotYet, .. } => "tx-bad-witness: not yet",
    TxError::BadSignature { .. } => "tx-bad-signature",
}

causes! {
    /// Every cause for which a block is refused, but for those of its transactions.
    BLOCK_CAUSES, cause_of(Fault);
    Fault::Header(HeaderError::BadVersion { .. }) => "bad-version",
    Fault::UnknownParent => "unknown-parent",
    Fault::Header(HeaderError::InvalidParent) => "invalid-parent",
    Fault::Header(HeaderError::TimeTooOld { .. }) => "time-too-old",
    Fault::TooNew { .. } => "time-too-new",
    Fault::Header(HeaderError::BadDifficulty { .. }) => "bad-difficulty",
    Fault::Header(HeaderError::HighHash) => "high-hash",
    Fault::Body(BodyError::Malformed(_)) => "malformed",
    Fault::Body(BodyError::TooLarge { .. }) => "block-too-large",
    Fault::Body(BodyError::BadMerkleRoot) => "bad-merkle-root",
    Fault::Block(BlockError::BadCoinbase(CoinbaseFault::Version)) => "bad-coinbase: version",
    Fault::Block(BlockError::BadCoinbase(CoinbaseFault::Height)) => "bad-coinbase: height",
    Fault::Block(BlockError::BadCoinbase(CoinbaseFault::OutputCount)) => "bad-coinbase: outputs",
    Fault::Block(BlockError::BadCoinbase(CoinbaseFault::LockVersion)) => "bad-coinbase: lock",
    Fault::Block(BlockError::BadCoinbase(CoinbaseFault::ExtraTooLong)) => "bad-coinbase: extra",
    Fault::Block(BlockError::BadCoinbase(CoinbaseFault::Value)) => "bad-coinbase: value",
    Fault::Block(BlockError::BadUtxoCommitment) => "bad-utxo-commitment",
    Fault::Block(BlockError::CoinbaseOverpays { .. }) => "coinbase-overpays",
    @ Fault::Block(BlockError::Transaction { error, .. }) => transaction_cause(error)
}

impl Fault {
    /// Its name among [`BLOCK_CAUSES`] and [`TRANSACTION_CAUSES`]: the code, and where several
    /// rules share one, which of them.
    pub const fn cause(&self) -> &'static str {
        cause_of(self)
    }

    /// The stable code of §8.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownParent => "unknown-parent",
            Self::TooNew { .. } => "time-too-new",
            Self::Header(error) => error.code(),
            Self::Body(error) => error.code(),
            Self::Block(error) => error.code(),
        }
    }

    /// Whether a node may remember the block's id as failed (§8): only what cost its work, and is
    /// the block's own fault or its ancestors'.
    pub const fn is_remembered(&self) -> bool {
        matches!(self, Self::Block(_) | Self::Header(HeaderError::InvalidParent))
    }
}

/// A block that must stand before the attempt.
#[derive(Clone, Debug)]
pub struct Parent {
    /// A child of [`Attempt::tip`].
    pub block: Block,
    /// Whether the node gets it before the attempt; else after.
    pub is_known: bool,
}

/// A block about to be made and judged, on a chain of three blocks. Unchanged it is valid, and
/// its five transactions are of every kind: two owners, a chain inside the block, policies.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What it stands on.
    pub chain: Chain,
    /// The best block before.
    pub tip: BlockId,
    /// The chain's, or what a test makes of them.
    pub params: Params,
    /// The node's clock.
    pub now_seconds: u64,
    /// Root and nonce are found when the block is made.
    pub header: Header,
    /// See [`Block::coinbase`].
    pub coinbase: Coinbase,
    /// See [`Block::transactions`].
    pub transactions: Vec<Transaction>,
    /// Where the attempt does not stand on `tip` itself.
    pub parent: Option<Parent>,
    /// Instead of the body's own.
    pub root: Option<MerkleRoot>,
    /// Find a nonce that does *not* do.
    pub unmined: bool,
    /// Bytes behind the block.
    pub tail: Vec<u8>,
    /// Coins that no valid chain has: such an attempt is for the rules alone.
    pub imagined: BTreeMap<OutPoint, Coin>,
}

/// `key(1)` and a preimage.
fn shared() -> Policy {
    let key = Policy::Key(key(1).public_key());
    Policy::Threshold { k: 2, children: vec![key, Policy::Hash(sha256(&PREIMAGE))] }
}

/// Satisfied from the height of the attempt on.
const RIPE: Policy = Policy::After(4);
/// Satisfied one block later.
const UNRIPE: Policy = Policy::After(5);

impl Attempt {
    /// The valid one.
    pub fn new() -> Self {
        let policy = |policy: &Policy| Lock::policy(policy.id());
        let locks = [lock(1), lock(2), policy(&shared()), policy(&RIPE), policy(&UNRIPE), lock(3)];
        // Room for a transaction over its own limit, and little more.
        let genesis =
            genesis_with(&locks.map(|lock| (lock, 1_000)), &[("max_block_bytes", 150_000.into())]);
        let params = genesis.params().clone();
        let mut chain = Chain::new(genesis);
        let genesis_id = chain.genesis_id();
        let tip = chain.extend_by(&genesis_id, 3);

        let chain_id = params.chain_id;
        let coin = |index| allocation(&chain, index);
        let keys = [&key(1), &key(2), &key(3)];
        let pay = |inputs: Vec<(OutPoint, Output)>, outputs| {
            Spend { inputs, outputs, ..Spend::default() }.sign(&chain_id, &keys)
        };
        let first = pay(vec![coin(0), coin(1)], vec![output(lock(1), 1_499), output(lock(2), 500)]);
        let made = (OutPoint { txid: first.txid(), index: 0 }, first.outputs[0]);
        let second = pay(vec![made], vec![output(lock(1), 1_498)]);
        let mut third = unsigned(coin(2));
        let signature = key(1).sign(&digest(&chain_id, &third, coin(2).1));
        let (signatures, preimages) = (vec![signature], vec![PREIMAGE]);
        third.witnesses = vec![Witness::Policy { policy: shared(), signatures, preimages }];
        let fourth = ripe(coin(3), RIPE);
        let fifth = pay(vec![coin(5)], vec![output(lock(3), 999)]);

        let transactions = vec![first, second, third, fourth, fifth];
        let Block { header, coinbase, .. } = chain.draft(&tip, Plan::of(transactions.clone()));
        Self {
            tip,
            params,
            now_seconds: NOW_SECONDS,
            header,
            coinbase,
            transactions,
            parent: None,
            root: None,
            unmined: false,
            tail: Vec::new(),
            imagined: BTreeMap::new(),
            chain,
        }
    }

    /// The same with one thing changed.
    #[must_use]
    pub fn with(&self, spoil: fn(&mut Self)) -> Self {
        let mut attempt = self.clone();
        spoil(&mut attempt);
        attempt
    }

    /// Stands on a child of `tip` instead: a valid one that comes later, or one that failed.
    fn stand_on(&mut self, block: Block, is_known: bool) {
        let adopted = match is_known {
            true => self.chain.adopt_unjudged(block.clone()),
            false => self.chain.adopt(block.clone()).expect("a valid block"),
        };
        let id = adopted.id();
        let Block { header, coinbase, .. } =
            self.chain.draft(&id, Plan::of(self.transactions.clone()));
        (self.header, self.coinbase) = (header, coinbase);
        self.parent = Some(Parent { block, is_known });
    }

    /// As it will be judged, but for what stands behind it.
    pub fn block(&self) -> Block {
        let leaves: Vec<_> = std::iter::once(self.coinbase.id().0)
            .chain(self.transactions.iter().map(|transaction| transaction.wtxid().0))
            .collect();
        let merkle_root = self.root.unwrap_or_else(|| merkle_root(&leaves));
        let mut header = solve(Header { merkle_root, ..self.header });
        while self.unmined && is_mined(&header) {
            header.nonce += 1;
        }
        let (coinbase, transactions) = (self.coinbase.clone(), self.transactions.clone());
        Block { header, coinbase, transactions }
    }

    /// As it will be judged.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.block().to_bytes();
        bytes.extend(&self.tail);
        bytes
    }

    /// By the rules alone, in one go. They know no tree: whether the parent is known or failed is
    /// not for them to say.
    pub fn judge(&self, rng: &mut impl CryptoRng) -> Result<(CheckedBlock, Transition), Fault> {
        let header = self.block().header;
        let parent = self.chain.state(&self.tip);
        let next = judge_header(&parent.header, &self.params, &header, self.now_seconds)?;
        let block = open_body(&self.params, &header, next.height, &self.to_bytes())?;
        let coins = self.chain.coins(&self.tip);
        let coin = |at: OutPoint| {
            let coin = self.imagined.get(&at).or_else(|| coins.get(&at))?;
            Some((at, *coin))
        };
        let inputs = block.external_inputs().iter().copied();
        let coins = SpentCoins { coins: inputs.filter_map(coin).collect() };
        let transition =
            connect_block(parent, next, &self.params, &block, &coins, rng).map_err(Fault::Block)?;
        Ok((block, transition))
    }
}

impl Default for Attempt {
    fn default() -> Self {
        Self::new()
    }
}

fn is_mined(header: &Header) -> bool {
    Target::from_bits(header.bits).is_some_and(|target| target.is_met_by(&header.id()))
}

fn allocation(chain: &Chain, index: u16) -> (OutPoint, Output) {
    let coinbase = &chain.genesis().block().coinbase;
    (OutPoint { txid: coinbase.id().into(), index }, coinbase.outputs[usize::from(index)])
}

/// Spends a coin of 1,000 grains to a key.
fn unsigned((outpoint, _): (OutPoint, Output)) -> Transaction {
    Transaction {
        not_before: 0,
        inputs: vec![outpoint],
        outputs: vec![output(lock(1), 999)],
        memo: Vec::new(),
        witnesses: Vec::new(),
    }
}

fn ripe(coin: (OutPoint, Output), policy: Policy) -> Transaction {
    let (signatures, preimages) = (Vec::new(), Vec::new());
    let witnesses = vec![Witness::Policy { policy, signatures, preimages }];
    Transaction { witnesses, ..unsigned(coin) }
}

fn digest(chain_id: &BlockId, transaction: &Transaction, spent: Output) -> SigHash {
    sighash(chain_id, &transaction.txid(), &[spent])
}

/// What a policy's witness shows: signatures and preimages.
fn shown(witness: &mut Witness) -> (&mut Vec<ashlar_primitives::Signature>, &mut Vec<[u8; 32]>) {
    match witness {
        Witness::Policy { signatures, preimages, .. } => (signatures, preimages),
        Witness::Key { .. } => panic!("not a policy's witness"),
    }
}

/// One change to a valid attempt, and what must come of it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The change.
    pub spoil: fn(&mut Attempt),
    /// What must come of it.
    pub fault: Fault,
}

/// A row for each cause, in the order in which faults are reported: where two rows are broken, it
/// is the upper one (§8; among transactions, the earlier one decides first).
pub fn rules(valid: &Attempt) -> Vec<Rule> {
    let row = |spoil, fault| Rule { spoil, fault };
    let header = |spoil, error| row(spoil, Fault::Header(error));
    let body = |spoil, error| row(spoil, Fault::Body(error));
    let coinbase = |spoil, fault| row(spoil, Fault::Block(BlockError::BadCoinbase(fault)));
    let first =
        |spoil, error| row(spoil, Fault::Block(BlockError::Transaction { index: 0, error }));
    let later = |index, witness, spoil, fault| {
        let error = TxError::BadWitness { witness, fault };
        row(spoil, Fault::Block(BlockError::Transaction { index, error }))
    };
    let parent = &valid.chain.state(&valid.tip).header;
    let (height, median) = (parent.height + 1, parent.median_time());
    let latest = valid.now_seconds + u64::from(valid.params.max_future_seconds);
    let too_new = Fault::TooNew { time: u32::try_from(latest + 1).expect("before 2106"), latest };
    let size_bytes = valid.to_bytes().len() as u64 + 4_000 * Output::LEN as u64;
    let too_large = BodyError::TooLarge { size_bytes, max_bytes: valid.params.max_block_bytes };
    let first_bytes = valid.transactions[0].to_bytes().len() as u64 + 2_450 * Output::LEN as u64;
    let mature_at = u64::from(parent.height) + u64::from(valid.params.coinbase_maturity);
    let claimed = valid.coinbase.outputs[0].value.grains();
    vec![
        // Group 1: the header.
        header(
            |it| it.header.version = 0x2000_0001,
            HeaderError::BadVersion { version: 0x2000_0001 },
        ),
        row(
            |it| {
                let parent = it.chain.spoiled(&it.tip, Plan::default(), |_| {});
                it.stand_on(parent, false);
            },
            Fault::UnknownParent,
        ),
        header(
            |it| {
                let parent = it.chain.spoiled(&it.tip, Plan::default(), |block| {
                    block.coinbase.outputs.push(output(lock(0), 1));
                });
                it.stand_on(parent, true);
            },
            HeaderError::InvalidParent,
        ),
        header(
            |it| it.header.time = it.chain.state(&it.tip).header.median_time(),
            HeaderError::TimeTooOld { time: median, median },
        ),
        row(
            |it| {
                let latest = it.now_seconds + u64::from(it.params.max_future_seconds);
                it.header.time = u32::try_from(latest + 1).expect("before 2106");
            },
            too_new,
        ),
        header(
            |it| it.header.bits = 0x207f_fffe,
            HeaderError::BadDifficulty { bits: 0x207f_fffe, required: 0x207f_ffff },
        ),
        header(|it| it.unmined = true, HeaderError::HighHash),
        // Group 2: the body, without state.
        body(|it| it.tail.push(0), BodyError::Malformed(DecodeError::Trailing { count: 1 })),
        body(|it| it.coinbase.outputs.extend([output(lock(0), 0); 4_000]), too_large),
        body(|it| it.root = Some(MerkleRoot([1; 32])), BodyError::BadMerkleRoot),
        coinbase(|it| it.coinbase.version = 1, CoinbaseFault::Version),
        coinbase(|it| it.coinbase.height += 1, CoinbaseFault::Height),
        coinbase(|it| it.coinbase.outputs.clear(), CoinbaseFault::OutputCount),
        coinbase(|it| it.coinbase.outputs[0].lock.version = 2, CoinbaseFault::LockVersion),
        coinbase(|it| it.coinbase.extra = vec![0; 97], CoinbaseFault::ExtraTooLong),
        coinbase(
            |it| it.coinbase.outputs[0].value = Amount::from_grains(1 << 53),
            CoinbaseFault::Value,
        ),
        first(|it| it.transactions[0].inputs.clear(), TxError::NoInputs),
        first(|it| it.transactions[0].outputs.clear(), TxError::NoOutputs),
        first(
            |it| it.transactions[0].outputs.extend([output(lock(1), 1); 2_450]),
            TxError::TooLarge { size_bytes: first_bytes },
        ),
        first(
            |it| it.transactions[0].inputs[1] = it.transactions[0].inputs[0],
            TxError::DuplicateInput,
        ),
        first(|it| it.transactions[0].outputs[0].value = Amount::ZERO, TxError::BadValue),
        first(|it| it.transactions[0].outputs[1].lock.version = 2, TxError::BadLockVersion),
        first(|it| it.transactions[0].memo = vec![0; 257], TxError::MemoTooLong { length: 257 }),
        // Group 3: with state.
        row(
            |it| it.coinbase.utxo_commitment = Commitment::ZERO,
            Fault::Block(BlockError::BadUtxoCommitment),
        ),
        first(
            |it| it.transactions[0].not_before = it.coinbase.height + 1,
            TxError::NotYetValid { not_before: height + 1 },
        ),
        first(
            |it| it.transactions[0].inputs[1].txid = Txid::ZERO,
            TxError::MissingInput { input: 1 },
        ),
        first(
            |it| {
                let txid = it.chain.block(&it.tip).coinbase_id().into();
                it.transactions[0].inputs[0] = OutPoint { txid, index: 0 };
            },
            TxError::ImmatureCoinbase { input: 0, mature_at },
        ),
        first(
            |it| {
                let output = output(lock(1), Amount::MAX_MONEY.grains());
                let coin = Coin { output, height: 0, is_coinbase: false };
                it.imagined.insert(it.transactions[0].inputs[0], coin);
            },
            TxError::BadInputSum,
        ),
        first(
            |it| it.transactions[0].outputs[1].value = Amount::from_grains(502),
            TxError::Overspends { inputs: 2_000, outputs: 2_001 },
        ),
        later(0, 1, |it| drop(it.transactions[0].witnesses.pop()), WitnessFault::Count),
        later(
            0,
            1,
            |it| it.transactions[0].witnesses[1] = it.transactions[2].witnesses[0].clone(),
            WitnessFault::Kind,
        ),
        later(
            2,
            0,
            |it| it.transactions[2].witnesses = it.transactions[3].witnesses.clone(),
            WitnessFault::PolicyId,
        ),
        later(
            2,
            0,
            |it| shown(&mut it.transactions[2].witnesses[0]).0.clear(),
            WitnessFault::Unsatisfied,
        ),
        later(
            2,
            0,
            |it| shown(&mut it.transactions[2].witnesses[0]).1.push(PREIMAGE),
            WitnessFault::Leftovers,
        ),
        later(
            3,
            0,
            |it| it.transactions[3] = ripe(allocation(&it.chain, 4), UNRIPE),
            WitnessFault::NotYet,
        ),
        row(
            // That of another transaction.
            |it| it.transactions[4].witnesses = it.transactions[1].witnesses.clone(),
            Fault::Block(BlockError::Transaction {
                index: 4,
                error: TxError::BadSignature { witness: 0 },
            }),
        ),
        row(
            |it| it.coinbase.outputs.push(output(lock(0), 1)),
            Fault::Block(BlockError::CoinbaseOverpays { claimed: claimed + 1, allowed: claimed }),
        ),
    ]
}
