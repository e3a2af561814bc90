//! Both sides of every limit of an encoding (PROTOCOL.md §2, §4, §12): the last value that is
//! read, the first that is not, and why.

use ashlar_primitives::{
    Address, AddressError, Block, BlockId, Coin, Coinbase, Commitment, Decode, DecodeError, Encode,
    Header, Lock, MerkleRoot, Policy, PolicyId, Transaction, Witness, Wtxid,
    compact::{CompactBlock, ShortId},
    merkle::block_merkle_root,
    wire::{
        Answer, Request, Status, decode_announcement, decode_batch, encode_announcement,
        encode_batch, split_frame,
    },
};
use ashlar_testkit::causes;
use bech32::{Bech32m, ByteIterExt, Fe32, Fe32IterExt, Hrp};

type Verdict = Result<(), DecodeError>;

/// What is read, what is not, and the reason.
type Limit = (&'static str, Verdict, Verdict, DecodeError);

fn check(limits: impl IntoIterator<Item = Limit>) {
    for (name, at, beyond, error) in limits {
        assert_eq!(at, Ok(()), "{name}");
        assert_eq!(beyond, Err(error), "{name}");
    }
}

const fn over(what: &'static str) -> DecodeError {
    DecodeError::OverLimit { what }
}

const fn other_form(what: &'static str) -> DecodeError {
    DecodeError::NotCanonical { what }
}

fn read<T: Decode>(value: &impl Encode) -> Verdict {
    T::from_bytes(&value.to_bytes()).map(drop)
}

fn requested(request: &Request) -> Verdict {
    Request::from_payload(&request.to_frame()[4..]).map(drop)
}

fn answered(answer: &Answer, max_block_bytes: u32) -> Verdict {
    Answer::from_payload(&answer.to_frame()[4..], answer.tag(), max_block_bytes).map(drop)
}

/// 13 bytes and the memo.
fn transaction(size_bytes: usize) -> Transaction {
    let (inputs, outputs, witnesses) = (vec![], vec![], vec![]);
    let memo = vec![0; size_bytes - 13];
    Transaction { not_before: 0, inputs, outputs, memo, witnesses }
}

/// Transactions of so many bytes together.
fn transactions(mut size_bytes: usize) -> Vec<Transaction> {
    const LARGE: usize = 60_000;
    let mut list = Vec::new();
    while size_bytes > LARGE + 13 {
        list.push(transaction(LARGE));
        size_bytes -= LARGE;
    }
    list.push(transaction(size_bytes));
    list
}

fn header() -> Header {
    let (parent, merkle_root) = (BlockId::ZERO, MerkleRoot::ZERO);
    Header { version: 0, parent, merkle_root, time: 0, bits: 0, nonce: 0 }
}

fn coinbase(extra: usize) -> Coinbase {
    let utxo_commitment = Commitment::ZERO;
    Coinbase { version: 0, height: 1, utxo_commitment, outputs: vec![], extra: vec![0; extra] }
}

/// A block of so many bytes.
fn block(size_bytes: usize) -> Block {
    let transactions = transactions(size_bytes - (80 + 41 + 4));
    let block = Block { header: header(), coinbase: coinbase(0), transactions };
    assert_eq!(block.encoded_len(), size_bytes);
    block
}

fn status(agent: &[u8]) -> Verdict {
    let status = Status {
        chain_id: BlockId::ZERO,
        tip: BlockId::ZERO,
        height: 0,
        work: [0; 32],
        services: 0,
        agent: String::new(),
    };
    let mut bytes = status.to_bytes();
    bytes.truncate(bytes.len() - 2);
    ashlar_primitives::codec::put_bytes16(&mut bytes, agent);
    Status::from_bytes(&bytes).map(drop)
}

#[test]
fn requests() {
    let headers = |count| Request::Headers { locator: vec![BlockId::ZERO; count], stop: None };
    let blocks = |count| Request::Blocks { ids: vec![BlockId::ZERO; count] };
    let wanted = |count| Request::Transactions { wtxids: vec![Wtxid::ZERO; count] };
    let indexes = |indexes: &[u32]| {
        requested(&Request::BlockTransactions { id: BlockId::ZERO, indexes: indexes.to_vec() })
    };
    // The tag, an id, a count, then four bytes each: 262,141 and 262,145 bytes.
    let many = |count: u32| indexes(&(0..count).collect::<Vec<_>>());
    let unordered = other_form("transaction indexes");
    check([
        ("locator", requested(&headers(64)), requested(&headers(65)), over("locator")),
        ("block ids", requested(&blocks(64)), requested(&blocks(65)), over("block ids")),
        ("ids", requested(&wanted(1_000)), requested(&wanted(1_001)), over("transaction ids")),
        ("a request", many(65_526), many(65_527), over("request")),
        ("ascending", indexes(&[0, 7, u32::MAX]), indexes(&[0, 7, 7]), unordered),
        ("not descending", indexes(&[7]), indexes(&[7, 6]), unordered),
        ("agent", status(&[b'a'; 64]), status(&[b'a'; 65]), over("agent")),
        ("agent from space", status(b" "), status(b"\x1f"), other_form("agent")),
        ("agent to tilde", status(b"~"), status(b"\x7f"), other_form("agent")),
        (
            "a frame",
            split_frame(&[2, 0, 0, 0, 1, 1], 2).map(drop),
            split_frame(&[3, 0, 0, 0, 1, 1, 1], 2).map(drop),
            over("message"),
        ),
    ]);
}

#[test]
fn answers() {
    const MIB: usize = 1 << 20;
    let headers = |count| answered(&Answer::Headers(vec![header(); count]), 0);
    let mempool = |count| answered(&Answer::Mempool(vec![Wtxid::ZERO; count]), 0);
    // With the count, of two bytes or four.
    let some = |size| answered(&Answer::Transactions(transactions(size - 2)), 0);
    let rest = |size, max| answered(&Answer::BlockTransactions(transactions(size - 4)), max);
    let blocks = |sizes: &[usize], max| {
        answered(&Answer::Blocks(sizes.iter().map(|size| block(*size)).collect()), max)
    };
    let half = 4 * MIB - 1;
    check([
        ("headers", headers(2_000), headers(2_001), over("headers")),
        ("mempool", mempool(10_000), mempool(10_001), over("mempool ids")),
        ("transactions", some(MIB), some(MIB + 1), over("transactions")),
        (
            "blocks",
            blocks(&[half, half], 10_000),
            blocks(&[half, half + 1], 10_000),
            over("blocks"),
        ),
        (
            "one large block",
            blocks(&[9_000_000], 9_000_000),
            blocks(&[9_000_001], 9_000_000),
            over("blocks"),
        ),
        (
            "one, not two",
            blocks(&[8 * MIB - 1], 9_000_000),
            blocks(&[8 * MIB - 1, 200], 9_000_000),
            over("blocks"),
        ),
        ("its rest", rest(8 * MIB, 10_000), rest(8 * MIB + 1, 10_000), over("block transactions")),
        (
            "the rest of a large block",
            rest(9_000_004, 9_000_000),
            rest(9_000_005, 9_000_000),
            over("block transactions"),
        ),
    ]);
    // What a codec lets in before it reads: the tag, and the longest list.
    assert_eq!(Answer::max_payload(10_000), 1 + 8 * MIB);
    assert_eq!(Answer::max_payload(32_000_000), 1 + 4 + 32_000_000);
}

fn compact(extra: usize, short_ids: usize, prefilled: &[u32]) -> CompactBlock {
    CompactBlock {
        header: header(),
        coinbase: coinbase(extra),
        salt: 0,
        short_ids: vec![ShortId([0; 6]); short_ids],
        prefilled: prefilled.iter().map(|index| (*index, transaction(13))).collect(),
    }
}

#[test]
fn gossip() {
    let announced =
        |extra| decode_announcement(&encode_announcement(&compact(extra, 40_000, &[]))).map(drop);
    let batch = |memo| decode_batch(&encode_batch(&[transaction(memo)])).map(drop);
    let prefilled = |indexes: &[u32]| read::<CompactBlock>(&compact(0, 2, indexes));
    let misplaced = other_form("prefilled indexes");
    check([
        // 135 bytes, and six for each id.
        ("a compact block", announced(22_009), announced(22_010), over("compact block")),
        ("a batch", batch(65_534), batch(65_535), over("batch")),
        ("the last index", prefilled(&[0, 3]), prefilled(&[0, 4]), misplaced),
        ("an index alone", prefilled(&[2]), prefilled(&[3]), misplaced),
        ("ascending", prefilled(&[1, 2]), prefilled(&[2, 2]), misplaced),
        ("not descending", prefilled(&[0, 2]), prefilled(&[2, 0]), misplaced),
    ]);
    assert_eq!(encode_announcement(&compact(22_009, 40_000, &[])).len(), 262_144);
    assert_eq!(encode_batch(&[transaction(65_534)]).len(), 65_536);
}

fn nested(depth: usize) -> Policy {
    (1..depth).fold(Policy::After(7), |child, _| Policy::Threshold { k: 1, children: vec![child] })
}

fn wide(k: u8, children: usize) -> Policy {
    Policy::Threshold { k, children: vec![Policy::Older(1); children] }
}

/// A root, four thresholds, and 45 leaves and these.
fn full(leaves: usize) -> Policy {
    let children = vec![wide(1, 15), wide(1, 15), wide(1, 15), wide(1, leaves)];
    Policy::Threshold { k: 4, children }
}

#[test]
fn policies() {
    // What may be made and what may be read are one thing.
    let judge = |policy: Policy| {
        let bytes = policy.to_bytes();
        assert_eq!(bytes.len(), policy.encoded_len());
        let decoded = Policy::from_bytes(&bytes);
        assert_eq!(policy.validate(), decoded.clone().map(drop), "{policy:?}");
        assert!(decoded.as_ref().is_err() || decoded.as_ref() == Ok(&policy));
        decoded.map(drop)
    };
    let hidden = || Policy::Opaque(PolicyId([9; 32]));
    let only = |child| Policy::Threshold { k: 1, children: vec![child] };
    let threshold = other_form("policy threshold");
    check([
        ("depth", judge(nested(8)), judge(nested(9)), over("policy depth")),
        ("nodes", judge(full(14)), judge(full(15)), over("policy nodes")),
        ("children", judge(wide(1, 16)), judge(wide(1, 17)), over("policy children")),
        ("few children", judge(wide(1, 1)), judge(wide(0, 0)), threshold),
        ("lowest k", judge(wide(1, 5)), judge(wide(0, 5)), threshold),
        ("highest k", judge(wide(5, 5)), judge(wide(6, 5)), threshold),
        ("opaque", judge(only(hidden())), judge(hidden()), other_form("policy root")),
        (
            "kind",
            Policy::from_bytes(&[5, 1, 1, 3, 0, 0, 0, 0]).map(drop),
            Policy::from_bytes(&[6, 1, 1, 3, 0, 0, 0, 0]).map(drop),
            DecodeError::UnknownTag { what: "policy", tag: 6 },
        ),
    ]);
}

#[test]
fn tags_flags_and_lengths() {
    let lead = |bytes: &[u8], tag: u8| [&[tag], &bytes[1..]].concat();
    let transaction = transaction(20).to_bytes();
    let version = |version| Transaction::from_bytes(&lead(&transaction, version)).map(drop);
    let signature = [0; 65];
    let witness = |kind| Witness::from_bytes(&lead(&signature, kind)).map(drop);
    let coin = |flag| {
        let mut bytes = [0; 46];
        bytes[45] = flag;
        Coin::from_bytes(&bytes).map(drop)
    };
    let length = |length| <[u8; 32]>::from_bytes(&vec![0; length]).map(drop);
    let unknown = |what, tag| DecodeError::UnknownTag { what, tag };
    check([
        ("version, from below", version(1), version(0), unknown("transaction", 0)),
        ("version", version(1), version(2), unknown("transaction", 2)),
        ("witness kind", witness(0), witness(2), unknown("witness", 2)),
        ("coinbase flag", coin(1), coin(2), other_form("coinbase flag")),
        ("shortest", length(32), length(31), DecodeError::Truncated),
        ("longest", length(32), length(33), DecodeError::Trailing { count: 1 }),
    ]);
    // Known is what the first two versions are.
    let known = |version| Lock { version, program: [0; 32] }.is_known();
    assert_eq!([0, 1, 2, 255].map(known), [true, true, false, false]);
    // No leaf has a preimage of 64 bytes.
    let has_root = |extra| {
        let mut block = block(200);
        block.coinbase = coinbase(extra);
        block_merkle_root(&block).is_some()
    };
    assert_eq!([22, 23, 24].map(has_root), [true, false, true]);
}

causes! {
    /// Every cause for which bytes do not decode.
    DECODE_CAUSES, decode_cause(DecodeError);
    DecodeError::Truncated => "truncated",
    DecodeError::Trailing { .. } => "trailing",
    DecodeError::UnknownTag { .. } => "tag",
    DecodeError::OverLimit { .. } => "limit",
    DecodeError::NotCanonical { .. } => "form",
}

causes! {
    /// Every cause for which a text is no address.
    ADDRESS_CAUSES, address_cause(AddressError);
    AddressError::Layout => "layout",
    AddressError::Character { .. } => "character",
    AddressError::MixedCase => "case",
    AddressError::WrongPrefix { .. } => "other prefix",
    AddressError::Checksum => "checksum",
    AddressError::ProgramLength => "length",
    AddressError::Padding => "padding",
    AddressError::UnknownVersion { .. } => "version",
    AddressError::Prefix { .. } => "prefix",
}

#[test]
fn every_decode_error_has_its_row() {
    let valid = Policy::Threshold { k: 1, children: vec![Policy::After(1)] }.to_bytes();
    assert!(Policy::from_bytes(&valid).is_ok());
    let changes: [fn(&mut Vec<u8>); 5] = [
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(0),
        |bytes| bytes[3] = 9,
        |bytes| bytes[2] = 17,
        |bytes| bytes[1] = 2,
    ];
    let cause = |change: fn(&mut Vec<u8>)| {
        let mut bytes = valid.clone();
        change(&mut bytes);
        decode_cause(&Policy::from_bytes(&bytes).unwrap_err())
    };
    assert_eq!(changes.map(cause), DECODE_CAUSES);
}

/// An address with a good checksum over whatever it holds.
fn written(version: u8, program: &[u8], padding: u8) -> String {
    let version = Fe32::try_from(version).unwrap();
    let mut groups: Vec<Fe32> = program.iter().copied().bytes_to_fes().collect();
    if let Some(last) = groups.last_mut() {
        *last = Fe32::try_from(last.to_u8() | padding).unwrap();
    }
    let groups = std::iter::once(version).chain(groups);
    groups.with_checksum::<Bech32m>(&Hrp::parse("ash").unwrap()).chars().collect()
}

#[test]
fn addresses() {
    let read = |text: &str| Address::parse(text, "ash").map(drop);
    let good = written(1, &[7; 32], 0);
    let lock = Lock { version: 1, program: [7; 32] };
    assert_eq!(good, Address::new("ash", lock).unwrap().to_string());

    let prefix = |prefix: &str| Address::new(prefix, lock).map(drop);
    let refused = |prefix: &str| AddressError::Prefix { prefix: prefix.to_owned() };
    let (last, sixteen, seventeen) = (good.len() - 1, "p".repeat(16), "p".repeat(17));
    let changed = if good.ends_with('q') { "p" } else { "q" };
    let other = AddressError::WrongPrefix { expected: "bsh".into(), found: "ash".into() };
    // What is read, what is not, and why: one row at least for each cause, in their order.
    let rows = [
        (read(&good), read("ash"), AddressError::Layout),
        (
            read(&good),
            read(&good.replacen('1', "1b", 1)),
            AddressError::Character { character: 'b' },
        ),
        (read(&good.to_uppercase()), read(&good.replacen('a', "A", 1)), AddressError::MixedCase),
        (read(&good), Address::parse(&good, "bsh").map(drop), other),
        (read(&good), read(&format!("{}{changed}", &good[..last])), AddressError::Checksum),
        (read(&good), read(&written(1, &[7; 31], 0)), AddressError::ProgramLength),
        (read(&good), read(&written(1, &[7; 33], 0)), AddressError::ProgramLength),
        (read(&good), read(&written(1, &[7; 32], 1)), AddressError::Padding),
        (read(&good), read(&written(2, &[7; 32], 0)), AddressError::UnknownVersion { version: 2 }),
        (prefix("p"), prefix(""), refused("")),
        (prefix(&sixteen), prefix(&seventeen), refused(&seventeen)),
    ];
    let mut causes: Vec<&str> = Vec::new();
    for (at, beyond, error) in rows {
        assert_eq!(at, Ok(()), "{error}");
        assert_eq!(beyond, Err(error.clone()));
        causes.push(address_cause(&error));
    }
    causes.dedup();
    assert_eq!(causes, ADDRESS_CAUSES);
}
