//! The ledger's own records and their stored bytes: the one place where bincode is used.
//!
//! bincode 2.0.1 is pinned and unmaintained (docs/architecture.md says why it is here), so
//! nothing outside this module knows it: fixed-width little-endian integers, bounded decoding,
//! trailing bytes refused, and golden tests of the bytes, so that another codec can take its
//! place in an hour. Blocks and coins are protocol encodings and need no record.

use ashlar_consensus::{SpentCoins, UtxoAccumulator, Work};
use ashlar_primitives::{Amount, BlockId, Coin, Decode as _, Encode as _, Header, OutPoint, Txid};
use bincode::{Decode, Encode, config};

use crate::store::StoreError;

/// The layout of keys and records. A change of either raises it.
pub const SCHEMA: u32 = 1;

/// No record is larger: the undo of a block of 32 MB that spends nothing but 34-byte inputs.
const MAX_RECORD_BYTES: usize = 128 << 20;

const CONFIG: config::Configuration<
    config::LittleEndian,
    config::Fixint,
    config::Limit<MAX_RECORD_BYTES>,
> = config::standard().with_fixed_int_encoding().with_limit::<MAX_RECORD_BYTES>();

#[expect(clippy::expect_used, reason = "writing plain structs to a vector has no way to fail")]
fn encode(record: impl Encode) -> Vec<u8> {
    bincode::encode_to_vec(record, CONFIG).expect("a vector takes every byte")
}

fn decode<R: Decode<()>>(what: &str, bytes: &[u8]) -> Result<R, StoreError> {
    match bincode::decode_from_slice(bytes, CONFIG) {
        Ok((record, read)) if read == bytes.len() => Ok(record),
        Ok((_, read)) => Err(StoreError::corrupt(format_args!(
            "{what}: {} bytes too many",
            bytes.len().saturating_sub(read)
        ))),
        Err(error) => Err(StoreError::corrupt(format_args!("{what}: {error}"))),
    }
}

/// The code of a block that the operator invalidated, and of its descendants: no rule of the
/// protocol, so no peer is to blame.
pub const INVALIDATED: &str = "invalidated";

/// The code of a branch that waits for the operator ([`crate::Settings::reorg_hold`]): no rule
/// either.
pub const HELD: &str = "held";

/// Whether a code is the operator's doing, which descendants inherit as it is.
pub fn is_operators(code: &str) -> bool {
    code == INVALIDATED || code == HELD
}

/// The codes with which an id can be remembered as failed (PROTOCOL.md §8): what concerns the
/// block for ever. Stored as text.
const FAILURE_CODES: [&str; 21] = [
    "invalid-parent",
    "bad-coinbase",
    "tx-no-inputs",
    "tx-no-outputs",
    "tx-too-large",
    "tx-duplicate-input",
    "tx-bad-value",
    "tx-bad-lock-version",
    "tx-memo-too-long",
    "bad-utxo-commitment",
    "tx-not-yet-valid",
    "tx-missing-input",
    "tx-immature-coinbase",
    "tx-bad-input-sum",
    "tx-overspends",
    "tx-bad-witness",
    "tx-bad-signature",
    "coinbase-overpays",
    "tx-malformed",
    INVALIDATED,
    HELD,
];

/// `headers`: a header and what the tree knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRecord {
    /// The 80 bytes.
    pub header: Header,
    /// 0 for the genesis block.
    pub height: u32,
    /// Of the whole branch.
    pub work: Work,
    /// PROTOCOL.md §5.
    pub clock: u32,
    /// PROTOCOL.md §5.
    pub lag: i64,
    /// Whether the body is stored.
    pub has_body: bool,
    /// Counts blocks in the order in which they and all their ancestors were here; 0: not yet.
    /// Stays when a body is pruned.
    pub arrival: u64,
    /// The code with which it is remembered as failed.
    pub failed: Option<&'static str>,
}

#[derive(Encode, Decode)]
struct RawHeader {
    header: [u8; Header::LEN],
    height: u32,
    work: [u8; 32],
    clock: u32,
    lag: i64,
    has_body: bool,
    arrival: u64,
    failed: Option<String>,
}

impl HeaderRecord {
    pub(crate) fn to_value(&self) -> Vec<u8> {
        let mut header = [0; Header::LEN];
        header.copy_from_slice(&self.header.to_bytes());
        encode(RawHeader {
            header,
            height: self.height,
            work: self.work.to_le_bytes(),
            clock: self.clock,
            lag: self.lag,
            has_body: self.has_body,
            arrival: self.arrival,
            failed: self.failed.map(str::to_owned),
        })
    }

    pub(crate) fn from_value(bytes: &[u8]) -> Result<Self, StoreError> {
        let raw: RawHeader = decode("a header record", bytes)?;
        let header = Header::from_bytes(&raw.header)
            .map_err(|error| StoreError::corrupt(format_args!("a stored header: {error}")))?;
        let failed = raw.failed.map(|code| known_code(&code)).transpose()?;
        Ok(Self {
            header,
            height: raw.height,
            work: Work::from_le_bytes(raw.work),
            clock: raw.clock,
            lag: raw.lag,
            has_body: raw.has_body,
            arrival: raw.arrival,
            failed,
        })
    }
}

fn known_code(code: &str) -> Result<&'static str, StoreError> {
    FAILURE_CODES.into_iter().find(|known| *known == code).ok_or_else(|| {
        StoreError::corrupt(format_args!("a block failed with the unknown code {code:?}"))
    })
}

/// `undo`: the coins that a block spent from outside itself.
#[derive(Encode, Decode)]
struct RawUndo {
    coins: Vec<[u8; Coin::LEN]>,
}

pub(crate) fn undo_value(spent: &SpentCoins) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(Coin::LEN);
    let element = |(outpoint, coin): (&OutPoint, &Coin)| {
        bytes.clear();
        outpoint.encode(&mut bytes);
        coin.encode(&mut bytes);
        let mut element = [0; Coin::LEN];
        element.copy_from_slice(&bytes);
        element
    };
    encode(RawUndo { coins: spent.coins.iter().map(element).collect() })
}

pub(crate) fn read_undo(bytes: &[u8]) -> Result<SpentCoins, StoreError> {
    let raw: RawUndo = decode("an undo record", bytes)?;
    let mut coins: Vec<(OutPoint, Coin)> = Vec::with_capacity(raw.coins.len());
    for element in raw.coins {
        let (outpoint, coin) = element.split_at(OutPoint::LEN);
        let damaged = |error| StoreError::corrupt(format_args!("an undo record: {error}"));
        let outpoint = OutPoint::from_bytes(outpoint).map_err(damaged)?;
        // In the order in which they are written, so that no two records say the same.
        if coins.last().is_some_and(|(last, _)| *last >= outpoint) {
            return Err(StoreError::corrupt("an undo record: coins are out of order"));
        }
        coins.push((outpoint, Coin::from_bytes(coin).map_err(damaged)?));
    }
    Ok(SpentCoins { coins: coins.into_iter().collect() })
}

/// `meta/state`: the tip that the coins stand at, and what is counted beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRecord {
    /// The block after which the coins are as stored.
    pub tip: BlockId,
    /// Over exactly those coins.
    pub utxo: UtxoAccumulator,
    /// How many.
    pub totals: Totals,
}

/// What is counted along the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Unspent coins.
    pub coins: u64,
    /// Their sum.
    pub value: Amount,
    /// What coinbases claimed, allocations not counted.
    pub claimed: Amount,
}

/// Length of the accumulator's state (PROTOCOL.md §6).
const UTXO_BYTES: usize = 2_048;

#[derive(Encode, Decode)]
struct RawState {
    tip: [u8; 32],
    utxo: [u8; UTXO_BYTES],
    coins: u64,
    value: u64,
    claimed: u64,
}

impl StateRecord {
    pub(crate) fn to_value(&self) -> Vec<u8> {
        let mut utxo = [0; UTXO_BYTES];
        utxo.copy_from_slice(&self.utxo.to_bytes());
        encode(RawState {
            tip: self.tip.0,
            utxo,
            coins: self.totals.coins,
            value: self.totals.value.grains(),
            claimed: self.totals.claimed.grains(),
        })
    }

    pub(crate) fn from_value(bytes: &[u8]) -> Result<Self, StoreError> {
        let raw: RawState = decode("the state record", bytes)?;
        Ok(Self {
            tip: BlockId(raw.tip),
            utxo: UtxoAccumulator::from_bytes(&raw.utxo),
            totals: Totals {
                coins: raw.coins,
                value: Amount::from_grains(raw.value),
                claimed: Amount::from_grains(raw.claimed),
            },
        })
    }
}

/// `meta/indexes`: which indexes cover the whole chain up to the tip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct IndexRecord {
    /// `transactions`.
    pub transactions: bool,
    /// `lock_coins` and `lock_history`.
    pub locks: bool,
}

impl IndexRecord {
    pub(crate) fn to_value(self) -> Vec<u8> {
        encode(self)
    }
    pub(crate) fn from_value(bytes: &[u8]) -> Result<Self, StoreError> {
        decode("the record of indexes", bytes)
    }
}

/// `meta/index_build`: how far the build of indexes has come that are not complete yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct IndexBuildRecord {
    /// Those that are built.
    pub indexes: IndexRecord,
    /// The first height whose rows are not written yet.
    pub next_height: u32,
    /// The key of the last coin whose row is written; empty before the first.
    pub last_coin: Vec<u8>,
}

impl IndexBuildRecord {
    pub(crate) fn to_value(&self) -> Vec<u8> {
        encode(self)
    }
    pub(crate) fn from_value(bytes: &[u8]) -> Result<Self, StoreError> {
        decode("the record of an index build", bytes)
    }
}

/// How far an interrupted check has come: kept outside of the store, so that [`SCHEMA`] says
/// nothing of it. The fields' meaning is `care::Bookmark`'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BookmarkRecord {
    pub(crate) blocks: Option<u32>,
    pub(crate) version: u64,
    pub(crate) part: u8,
    pub(crate) last: Vec<u8>,
    pub(crate) height: u32,
    pub(crate) utxo: UtxoAccumulator,
    pub(crate) totals: Totals,
    pub(crate) rows: (u64, u64),
    pub(crate) counted: (u64, u64, u64),
    pub(crate) findings: Vec<String>,
    pub(crate) remedies: Vec<u8>,
}

#[derive(Encode, Decode)]
struct RawBookmark {
    blocks: Option<u32>,
    version: u64,
    part: u8,
    last: Vec<u8>,
    height: u32,
    utxo: [u8; UTXO_BYTES],
    totals: (u64, u64, u64),
    rows: (u64, u64),
    counted: (u64, u64, u64),
    findings: Vec<String>,
    remedies: Vec<u8>,
}

impl BookmarkRecord {
    pub(crate) fn to_value(&self) -> Vec<u8> {
        let Self { blocks, version, part, height, rows, counted, .. } = *self;
        let mut utxo = [0; UTXO_BYTES];
        utxo.copy_from_slice(&self.utxo.to_bytes());
        let Totals { coins, value, claimed } = self.totals;
        let totals = (coins, value.grains(), claimed.grains());
        let (last, findings) = (self.last.clone(), self.findings.clone());
        let remedies = self.remedies.clone();
        encode(RawBookmark {
            blocks,
            version,
            part,
            last,
            height,
            utxo,
            totals,
            rows,
            counted,
            findings,
            remedies,
        })
    }

    pub(crate) fn from_value(bytes: &[u8]) -> Result<Self, StoreError> {
        let raw: RawBookmark = decode("the place of an interrupted check", bytes)?;
        let RawBookmark { blocks, version, part, last, height, rows, counted, .. } = raw;
        let (coins, value, claimed) = raw.totals;
        let (value, claimed) = (Amount::from_grains(value), Amount::from_grains(claimed));
        Ok(Self {
            blocks,
            version,
            part,
            last,
            height,
            utxo: UtxoAccumulator::from_bytes(&raw.utxo),
            totals: Totals { coins, value, claimed },
            rows,
            counted,
            findings: raw.findings,
            remedies: raw.remedies,
        })
    }
}

/// `meta/schema`.
pub(crate) fn schema_value(schema: u32) -> Vec<u8> {
    encode(schema)
}

pub(crate) fn read_schema(bytes: &[u8]) -> Result<u32, StoreError> {
    decode("the schema number", bytes)
}

/// `meta/history_start`.
pub(crate) fn height_value(height: u32) -> Vec<u8> {
    encode(height)
}

pub(crate) fn read_height(bytes: &[u8]) -> Result<u32, StoreError> {
    decode("the height where history starts", bytes)
}

/// `meta/body_bytes` and `meta/undo_bytes`.
pub(crate) fn size_value(bytes: u64) -> Vec<u8> {
    encode(bytes)
}

pub(crate) fn read_size(bytes: &[u8]) -> Result<u64, StoreError> {
    decode("a count of stored bytes", bytes)
}

/// `transactions`: where a transaction was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TransactionRecord {
    /// Of its block.
    pub height: u32,
    /// 0 for the coinbase, else its number from 1.
    pub position: u32,
}

impl TransactionRecord {
    pub(crate) fn to_value(self) -> Vec<u8> {
        encode(self)
    }
    pub(crate) fn from_value(bytes: &[u8]) -> Result<Self, StoreError> {
        decode("an entry of the transaction index", bytes)
    }
}

/// `lock_history`: what a transaction did to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRecord {
    /// The transaction, or coinbase.
    pub txid: Txid,
    /// Sum of its outputs to the lock.
    pub received: Amount,
    /// Sum of the lock's coins that it spends.
    pub spent: Amount,
}

#[derive(Encode, Decode)]
struct RawHistory {
    txid: [u8; 32],
    received: u64,
    spent: u64,
}

impl HistoryRecord {
    pub(crate) fn to_value(self) -> Vec<u8> {
        encode(RawHistory {
            txid: self.txid.0,
            received: self.received.grains(),
            spent: self.spent.grains(),
        })
    }

    pub(crate) fn from_value(bytes: &[u8]) -> Result<Self, StoreError> {
        let raw: RawHistory = decode("an entry of the lock index", bytes)?;
        Ok(Self {
            txid: Txid(raw.txid),
            received: Amount::from_grains(raw.received),
            spent: Amount::from_grains(raw.spent),
        })
    }
}

/// `coins`: the protocol encoding.
pub(crate) fn read_coin(bytes: &[u8]) -> Result<Coin, StoreError> {
    Coin::from_bytes(bytes).map_err(|error| StoreError::corrupt(format_args!("a coin: {error}")))
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::{Lock, MerkleRoot, Output};

    use super::*;

    fn header_record() -> HeaderRecord {
        let header = Header {
            version: 0x2000_0000,
            parent: BlockId([1; 32]),
            merkle_root: MerkleRoot([2; 32]),
            time: 3,
            bits: 0x207f_ffff,
            nonce: 4,
        };
        let mut work = [0; 32];
        work[0] = 5;
        HeaderRecord {
            header,
            height: 6,
            work: Work::from_le_bytes(work),
            clock: 7,
            lag: -8,
            has_body: true,
            arrival: 9,
            failed: Some("tx-bad-signature"),
        }
    }

    /// Bytes on disks out there: a change of any of these needs a new [`SCHEMA`].
    #[test]
    fn stored_bytes_are_golden() {
        let header = header_record();
        let golden = format!(
            "00000020{}{}03000000ffff7f2004000000{}{}{}{}{}{}{}{}",
            "01".repeat(32),
            "02".repeat(32),
            "06000000",
            format_args!("05{}", "00".repeat(31)),
            "07000000",
            "f8ffffffffffffff",
            "01",
            "0900000000000000",
            "011000000000000000",
            "74782d6261642d7369676e6174757265",
        );
        assert_eq!(hex(&header.to_value()), golden);
        let plain = HeaderRecord { failed: None, has_body: false, arrival: 0, ..header };
        assert!(hex(&plain.to_value()).ends_with(&"00".repeat(10)));

        let place = TransactionRecord { height: 0x0102, position: 3 };
        assert_eq!(hex(&place.to_value()), "0201000003000000");

        let history = HistoryRecord {
            txid: Txid([10; 32]),
            received: Amount::from_grains(11),
            spent: Amount::from_grains(12),
        };
        assert_eq!(
            hex(&history.to_value()),
            format!("{}0b000000000000000c00000000000000", "0a".repeat(32))
        );

        assert_eq!(hex(&IndexRecord { transactions: true, locks: false }.to_value()), "0100");
        let build = IndexBuildRecord {
            indexes: IndexRecord { transactions: true, locks: true },
            next_height: 2,
            last_coin: vec![3],
        };
        assert_eq!(hex(&build.to_value()), "010102000000010000000000000003");
        assert_eq!(hex(&schema_value(SCHEMA)), "01000000");
        assert_eq!(hex(&height_value(0x0102)), "02010000");
        assert_eq!(hex(&size_value(0x0102)), "0201000000000000");

        let mut lanes = [0; UTXO_BYTES];
        lanes[2] = 1;
        let state = StateRecord {
            tip: BlockId([13; 32]),
            utxo: UtxoAccumulator::from_bytes(&lanes),
            totals: Totals {
                coins: 14,
                value: Amount::from_grains(15),
                claimed: Amount::from_grains(16),
            },
        };
        assert_eq!(
            hex(&state.to_value()),
            format!(
                "{}000001{}0e000000000000000f000000000000001000000000000000",
                "0d".repeat(32),
                "00".repeat(2_045)
            )
        );

        let coin = Coin {
            output: Output {
                value: Amount::from_grains(17),
                lock: Lock { version: 1, program: [18; 32] },
            },
            height: 19,
            is_coinbase: true,
        };
        let outpoint = OutPoint { txid: Txid([20; 32]), index: 21 };
        let spent = SpentCoins { coins: [(outpoint, coin)].into() };
        assert_eq!(
            hex(&undo_value(&spent)),
            format!(
                "0100000000000000{}1500110000000000000001{}1300000001",
                "14".repeat(32),
                "12".repeat(32)
            )
        );
    }

    #[test]
    fn records_are_read_back() {
        let header = header_record();
        assert_eq!(HeaderRecord::from_value(&header.to_value()).unwrap(), header);
        let plain = HeaderRecord { failed: None, ..header };
        assert_eq!(HeaderRecord::from_value(&plain.to_value()).unwrap(), plain);
        for code in FAILURE_CODES {
            assert_eq!(known_code(code).unwrap(), code);
        }
    }

    #[test]
    fn damage_is_told_not_read() {
        let mut bytes = header_record().to_value();
        bytes.push(0);
        assert!(matches!(HeaderRecord::from_value(&bytes), Err(StoreError::Corrupt { .. })));
        bytes.truncate(100);
        assert!(matches!(HeaderRecord::from_value(&bytes), Err(StoreError::Corrupt { .. })));
        // A length that no memory holds must not be believed.
        let undo = u64::MAX.to_le_bytes();
        assert!(matches!(read_undo(&undo), Err(StoreError::Corrupt { .. })));
        assert!(matches!(read_height(&[0; 5]), Err(StoreError::Corrupt { .. })));
        assert!(matches!(read_size(&[0; 7]), Err(StoreError::Corrupt { .. })));
        let mut unknown = header_record().to_value();
        let last = unknown.len() - 1;
        unknown[last] = b'?';
        assert!(matches!(HeaderRecord::from_value(&unknown), Err(StoreError::Corrupt { .. })));
    }

    /// What can't be read back must not be written.
    #[test]
    fn every_code_of_a_block_can_be_stored() {
        use ashlar_consensus::{
            BlockError, TxError,
            error::{CoinbaseFault, WitnessFault},
        };
        let transaction = |error| BlockError::Transaction { index: 0, error };
        let (input, witness) = (0, 0);
        let errors = [
            BlockError::BadCoinbase(CoinbaseFault::Height),
            BlockError::BadUtxoCommitment,
            BlockError::CoinbaseOverpays { claimed: 1, allowed: 0 },
            transaction(TxError::NoInputs),
            transaction(TxError::NoOutputs),
            transaction(TxError::TooLarge { size_bytes: 0 }),
            transaction(TxError::DuplicateInput),
            transaction(TxError::BadValue),
            transaction(TxError::BadLockVersion),
            transaction(TxError::MemoTooLong { length: 0 }),
            transaction(TxError::NotYetValid { not_before: 0 }),
            transaction(TxError::MissingInput { input }),
            transaction(TxError::ImmatureCoinbase { input, mature_at: 0 }),
            transaction(TxError::BadInputSum),
            transaction(TxError::Overspends { inputs: 0, outputs: 0 }),
            transaction(TxError::BadWitness { witness, fault: WitnessFault::Count }),
            transaction(TxError::BadSignature { witness }),
        ];
        for error in errors {
            assert_eq!(known_code(error.code()).unwrap(), error.code());
        }
        assert!(known_code("time-too-new").is_err());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
