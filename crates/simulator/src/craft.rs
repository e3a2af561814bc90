//! Blocks made by hand, by whoever does not ask a node for them: valid ones, and ones with one
//! thing wrong. What each is worth is for the judge to say.

use ashlar_consensus::Target;
use ashlar_primitives::{
    Amount, Block, BlockId, Coinbase, Commitment, Header, Lock, MerkleRoot, OutPoint, Output,
    Signature, Transaction, Txid, Witness,
};
use ashlar_testkit::model::{body, difficulty, header, state};
use rand::RngExt;

use crate::{judge::Judge, random::Random};

/// Bits 13 to 28 of a version are free; the rest is fixed (PROTOCOL.md §4).
const VERSION: u32 = 0x2000_0000;
/// Every target here is met once in 32 tries or more; so many fail once in e^-2,000.
const MAX_NONCES: u32 = 65_536;
/// More than any money there is.
const TOO_MUCH: u64 = 1 << 53;

/// The nonce that makes a header meet its target, or, where `is_met` is false, one that does not.
/// `None`: there is none, or the target is no target.
pub fn solve(mut header: Header, is_met: bool) -> Option<Header> {
    let target = Target::from_bits(header.bits)?;
    header.nonce = (0..MAX_NONCES).find(|nonce| {
        header.nonce = *nonce;
        target.is_met_by(&header.id()) == is_met
    })?;
    Some(header)
}

/// The median that a child's time must be above.
pub fn median_time(judge: &Judge, parent: &BlockId) -> u32 {
    let times = judge.model().path_down(parent).take(11);
    let mut times: Vec<u32> = times.map(|(_, entry)| entry.link.header.time).collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// What a block is to be like.
#[derive(Clone, Debug)]
pub struct Draft {
    /// On which it stands; of a failed one the state is guessed.
    pub parent: BlockId,
    /// The header's, or as much later as the median asks for.
    pub time: u32,
    /// Whom the subsidy pays.
    pub pay_to: Lock,
    /// No two of one mark are made on one parent.
    pub mark: u64,
    /// In order.
    pub transactions: Vec<Transaction>,
}

/// A block that claims its subsidy and no fee. `None` where its parent is not known.
pub fn craft(judge: &mut Judge, draft: Draft) -> Option<Block> {
    let Draft { parent, time, pay_to, mark, transactions } = draft;
    let is_valid = matches!(judge.verdict(&parent), Some(Ok(())));
    let utxo_commitment = match is_valid {
        true => judge.model().commitment(&parent),
        false => Commitment::ZERO,
    };
    let time = time.max(median_time(judge, &parent).saturating_add(1));
    let link = &judge.entry(&parent)?.link;
    let height = link.height + 1;
    let subsidy = u64::try_from(state::subsidy(judge.params(), height)).ok()?;
    let header = Header {
        version: VERSION,
        parent,
        merkle_root: MerkleRoot::ZERO,
        time,
        bits: difficulty::required_bits(judge.params(), link, time),
        nonce: 0,
    };
    let coinbase = Coinbase {
        version: Coinbase::VERSION,
        height,
        utxo_commitment,
        outputs: vec![Output { value: Amount::from_grains(subsidy), lock: pay_to }],
        extra: mark.to_le_bytes().to_vec(),
    };
    seal(Block { header, coinbase, transactions })
}

/// The block with its merkle root and its proof of work.
pub fn seal(mut block: Block) -> Option<Block> {
    block.header.merkle_root = body::merkle_root(&block)?;
    block.header = solve(block.header, true)?;
    Some(block)
}

/// Something wrong with a block; each is one of several causes, by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Of the header.
    Header,
    /// Of the coinbase.
    Coinbase,
    /// Of one transaction more.
    Transaction,
}

/// The block with a flaw. `None` where no nonce can be found.
pub fn spoil(judge: &Judge, mut block: Block, flaw: Flaw, random: &mut Random) -> Option<Block> {
    match flaw {
        Flaw::Header => return spoil_header(judge, block, random),
        Flaw::Coinbase => spoil_coinbase(&mut block.coinbase, random),
        Flaw::Transaction => {
            let like = block.transactions.first().cloned();
            let mut transaction = like.unwrap_or_else(|| from_nowhere(random));
            spoil_transaction(&mut transaction, block.coinbase.height, random);
            match block.transactions.first_mut() {
                Some(first) => *first = transaction,
                None => block.transactions.push(transaction),
            }
        }
    }
    seal(block)
}

fn spoil_header(judge: &Judge, mut block: Block, random: &mut Random) -> Option<Block> {
    let header = &mut block.header;
    match random.random_range(0..6) {
        0 => header.version ^= 1 << random.random_range(0..13),
        1 => header.time = median_time(judge, &header.parent) - random.random_range(0..2),
        2 => header.bits -= 1,
        3 => header.parent = BlockId(random.random()),
        4 => {
            block.header.merkle_root = MerkleRoot(random.random());
            block.header = solve(block.header, true)?;
            return Some(block);
        }
        _ => {
            block.header = solve(block.header, false)?;
            return Some(block);
        }
    }
    seal(block)
}

fn spoil_coinbase(coinbase: &mut Coinbase, random: &mut Random) {
    let Some(output) = coinbase.outputs.first().copied() else { return };
    match random.random_range(0..9) {
        0 => coinbase.version = 1,
        1 => coinbase.height += 1,
        2 => coinbase.outputs.clear(),
        3 => coinbase.extra = vec![7; 97],
        4 => coinbase.outputs = vec![Output { value: Amount::from_grains(TOO_MUCH), ..output }],
        5 => coinbase.outputs = vec![Output { value: Amount::ZERO, ..output }; 30_000],
        6 | 7 => coinbase.utxo_commitment = Commitment(random.random()),
        _ => coinbase.outputs.push(Output { value: Amount::from_grains(TOO_MUCH / 2), ..output }),
    }
}

/// A transaction that spends what is not there.
pub fn from_nowhere(random: &mut Random) -> Transaction {
    let lock = Lock { version: Lock::KEY, program: [1; 32] };
    Transaction {
        not_before: 0,
        inputs: vec![OutPoint { txid: Txid(random.random()), index: 0 }],
        outputs: vec![Output { value: Amount::from_grains(1), lock }],
        memo: Vec::new(),
        witnesses: vec![Witness::Key { signature: Signature(random_signature(random)) }],
    }
}

fn random_signature(random: &mut Random) -> [u8; 64] {
    let mut bytes = [0; 64];
    random.fill(&mut bytes);
    bytes
}

/// One thing wrong with a transaction that is to stand at `height`. Its signatures stay as they
/// were: where the body changes, they come last in the order of faults.
pub fn spoil_transaction(transaction: &mut Transaction, height: u32, random: &mut Random) {
    let Transaction { not_before, inputs, outputs, memo, witnesses } = transaction;
    let (Some(input), Some(output)) = (inputs.first().copied(), outputs.first().copied()) else {
        return;
    };
    match random.random_range(0..16) {
        0 => inputs.clear(),
        1 => outputs.clear(),
        2 => *outputs = vec![output; 2_440],
        3 => inputs.push(input),
        4 => *outputs = vec![Output { value: Amount::ZERO, ..output }],
        5 => *outputs = vec![Output { value: Amount::from_grains(TOO_MUCH), ..output }],
        6 => {
            let lock = Lock { version: 7, ..output.lock };
            *outputs = vec![Output { lock, ..output }];
        }
        7 => *memo = vec![0; 257],
        8 => *not_before = height + random.random_range(1..100),
        9 => inputs.push(OutPoint { txid: Txid(random.random()), index: 0 }),
        10 => *outputs = vec![Output { value: Amount::from_grains(TOO_MUCH - 1), ..output }],
        11 => witnesses.clear(),
        12 => witnesses.extend(witnesses.clone()),
        13 => *memo = vec![1],
        _ => *witnesses = vec![Witness::Key { signature: Signature(random_signature(random)) }],
    }
}

/// Headers alone, as late after one another as makes them easy, with less work than the chain up
/// to `public`: the longest chain that is worth nothing.
pub fn cheap_headers(judge: &Judge, public: &BlockId, count: usize, latest: u32) -> Vec<Header> {
    let params = judge.params();
    let Some(most) = judge.entry(public).map(|entry| &entry.link.work) else {
        return Vec::new();
    };
    let from = &params.chain_id;
    let Some(entry) = judge.entry(from) else { return Vec::new() };
    let mut link = entry.link.clone();
    let mut times: Vec<u32> =
        judge.model().path_down(from).take(11).map(|(_, it)| it.link.header.time).collect();
    let (mut parent, mut headers) = (*from, Vec::new());
    let left = latest.saturating_sub(link.clock);
    let step = (left / u32::try_from(count.max(1)).unwrap_or(u32::MAX)).max(1);
    while headers.len() < count {
        let time = link.clock.saturating_add(step);
        let made = Header {
            version: VERSION,
            parent,
            merkle_root: MerkleRoot::ZERO,
            time,
            bits: difficulty::required_bits(params, &link, time),
            nonce: 0,
        };
        let Some(made) = solve(made, true) else { break };
        let Ok(next) = header::check(params, &link, times.clone(), &made, u64::MAX / 2) else {
            break;
        };
        if next.work >= *most {
            break;
        }
        times.insert(0, time);
        times.truncate(11);
        (link, parent) = (next, made.id());
        headers.push(made);
    }
    headers
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{
        random::{Purpose, stream},
        scenario::Scenario,
    };

    const LOCK: Lock = Lock { version: Lock::KEY, program: [7; 32] };

    fn judge() -> (Judge, BlockId) {
        let scenario = Scenario::draw(1, None, None);
        let locks = vec![LOCK; scenario.wallets.len()];
        let genesis = scenario.genesis(&locks).unwrap();
        (Judge::new(&genesis), genesis.params().chain_id)
    }

    fn draft(parent: BlockId, mark: u64) -> Draft {
        Draft { parent, time: 0, pay_to: LOCK, mark, transactions: Vec::new() }
    }

    #[test]
    fn what_is_crafted_is_valid_and_what_is_spoiled_is_not() {
        let (mut judge, mut tip) = judge();
        let random = &mut stream(1, Purpose::Villains);
        let mut codes = std::collections::BTreeSet::new();
        for mark in 0..60 {
            let block = craft(&mut judge, draft(tip, mark)).unwrap();
            for flaw in [Flaw::Header, Flaw::Coinbase, Flaw::Transaction] {
                let Some(spoiled) = spoil(&judge, block.clone(), flaw, random) else { continue };
                let learned = judge.learn(&spoiled).err();
                let verdict = judge.verdict(&spoiled.header.id());
                let code = learned.or_else(|| verdict?.err());
                codes.insert(code.unwrap_or_else(|| panic!("{flaw:?}: {spoiled:?}")));
            }
            judge.learn(&block).unwrap();
            tip = block.header.id();
            assert_eq!(judge.verdict(&tip), Some(Ok(())));
        }
        assert!(codes.len() > 12, "{codes:?}");
    }

    #[test]
    fn cheap_headers_are_many_and_worth_little() {
        let (mut judge, genesis) = judge();
        let mut tip = genesis;
        for mark in 0..30 {
            let block = craft(&mut judge, draft(tip, mark)).unwrap();
            judge.learn(&block).unwrap();
            tip = block.header.id();
        }
        let latest = judge.entry(&tip).unwrap().link.header.time + 10_000;
        let headers = cheap_headers(&judge, &tip, 2_000, latest);
        assert!((10..2_000).contains(&headers.len()), "{}", headers.len());
        assert_eq!(headers[0].parent, genesis);
    }
}
