//! Bodies: bytes → a block that belongs to its header and keeps the stateless rules (§4, §8
//! group 2).

use core::iter::once;
use std::sync::Arc;

use ashlar_primitives::{
    Amount, Block, BlockId, Coin, Coinbase, CoinbaseId, Decode, Encode, Header, OutPoint, Sources,
    hash::double_sha256, merkle::merkle_root,
};

use crate::{
    error::{BlockError, BodyError, CoinbaseFault, OpenError, require},
    params::Params,
    parts::Part,
    transaction::{CheckedTransaction, coins},
};

/// Most outputs of a coinbase (§4).
pub const MAX_COINBASE_OUTPUTS: usize = 1_024;
/// Most bytes of a coinbase's `extra` (§4).
pub const MAX_EXTRA_BYTES: usize = 96;
/// The length of a merkle leaf's preimage that could pass for an inner node (§4).
const INNER_NODE_BYTES: u32 = 64;
/// What a block has beside its coinbase and transactions: the header and their count.
const FIXED_BYTES: u64 = 80 + 4;

/// A block whose body belongs to its header and keeps group 2. Ids and sizes are computed once.
/// Private fields: to hold one is the proof. Cheap to share (`Arc` it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBlock {
    header: Header,
    id: BlockId,
    coinbase: Coinbase,
    coinbase_id: CoinbaseId,
    transactions: Vec<Arc<CheckedTransaction>>,
    sources: Sources,
    size_bytes: u32,
}

impl CheckedBlock {
    /// `H(header)`.
    pub const fn id(&self) -> BlockId {
        self.id
    }

    /// The header that the body belongs to; not judged by holding this.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The block's, as its coinbase says and [`open_body`] compared.
    pub const fn height(&self) -> u32 {
        self.coinbase.height
    }

    /// What the block creates out of nothing.
    pub const fn coinbase(&self) -> &Coinbase {
        &self.coinbase
    }

    /// `H(coinbase)`.
    pub const fn coinbase_id(&self) -> CoinbaseId {
        self.coinbase_id
    }

    /// In block order, the coinbase not among them.
    pub fn transactions(&self) -> &[Arc<CheckedTransaction>] {
        &self.transactions
    }

    /// Of the whole encoding, header included.
    pub const fn size_bytes(&self) -> u32 {
        self.size_bytes
    }

    /// The whole encoding, header included.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(usize::try_from(self.size_bytes).unwrap_or(0));
        self.header.encode(&mut out);
        self.coinbase.encode(&mut out);
        // A `list32`; the block's size bounds the count.
        u32::try_from(self.transactions.len()).unwrap_or(u32::MAX).encode(&mut out);
        for checked in &self.transactions {
            checked.transaction().encode(&mut out);
        }
        out
    }

    /// A copy without what was computed.
    pub fn to_block(&self) -> Block {
        let transactions =
            self.transactions.iter().map(|checked| checked.transaction().clone()).collect();
        Block { header: self.header, coinbase: self.coinbase.clone(), transactions }
    }

    /// The outpoints spent from outside the block, sorted and without repeats: what to prefetch.
    pub fn external_inputs(&self) -> &[OutPoint] {
        self.sources.external()
    }

    /// Where the coin of each input is, in block order.
    pub(crate) const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The coins that the coinbase makes (§6): none of value 0, the others keep their index.
    pub fn coinbase_coins(&self) -> impl Iterator<Item = (OutPoint, Coin)> {
        let Coinbase { outputs, height, .. } = &self.coinbase;
        coins(self.coinbase_id.into(), outputs, *height, *height >= 1)
            .filter(|(_, coin)| coin.output.value > Amount::ZERO)
    }
}

/// `bytes` is the whole block, header included. `height` is the one that the coinbase must hold
/// (parent's + 1). The header must already be judged; bytes that start with another are no body of
/// it (`bad-merkle-root`).
///
/// The size is judged after decoding, in the order of §8: decoding costs no more than a small
/// multiple of the bytes given, and how many those may be is for the transport to bound (§12).
pub fn open_body(
    params: &Params,
    header: &Header,
    height: u32,
    bytes: &[u8],
) -> Result<CheckedBlock, OpenError> {
    // PROTOCOL.md §1: malformed
    let block = Block::from_bytes(bytes).map_err(BodyError::Malformed)?;
    open_block(params, header, height, block)
}

/// The same for a block that is decoded already.
pub fn open_block(
    params: &Params,
    header: &Header,
    height: u32,
    block: Block,
) -> Result<CheckedBlock, OpenError> {
    require(block.header == *header, BodyError::BadMerkleRoot)?;
    let parts = block.transactions.into_iter().map(Part::Plain).collect();
    open_parts(params, header, height, block.coinbase, parts)
}

/// [`open_block`] of a block in parts.
pub fn open_parts(
    params: &Params,
    header: &Header,
    height: u32,
    coinbase: Coinbase,
    parts: Vec<Part>,
) -> Result<CheckedBlock, OpenError> {
    let transactions: Vec<_> = parts.into_iter().map(Part::checked).collect();
    let coinbase_bytes = coinbase.to_bytes();
    let coinbase_id = CoinbaseId(double_sha256(&coinbase_bytes));
    let coinbase_size = u32::try_from(coinbase_bytes.len()).unwrap_or(u32::MAX);
    let sizes =
        || once(coinbase_size).chain(transactions.iter().map(|checked| checked.size_bytes()));
    // PROTOCOL.md §4: block-too-large
    let size_bytes = sizes().map(u64::from).fold(FIXED_BYTES, u64::saturating_add);
    let max_bytes = params.max_block_bytes;
    let size_bytes = u32::try_from(size_bytes)
        .ok()
        .filter(|size_bytes| *size_bytes <= max_bytes)
        .ok_or(BodyError::TooLarge { size_bytes, max_bytes })?;
    // PROTOCOL.md §4: bad-merkle-root
    let leaves: Vec<[u8; 32]> =
        once(coinbase_id.0).chain(transactions.iter().map(|checked| checked.wtxid().0)).collect();
    let none_passes_for_node = sizes().all(|size| size != INNER_NODE_BYTES);
    let belongs = none_passes_for_node && merkle_root(&leaves) == header.merkle_root;
    require(belongs, BodyError::BadMerkleRoot)?;
    // PROTOCOL.md §4: bad-coinbase
    check_coinbase(&coinbase, height).map_err(BlockError::BadCoinbase)?;
    // PROTOCOL.md §3: the stateless rules of each transaction, in order
    for (index, checked) in (0..=u32::MAX).zip(&transactions) {
        checked.check().map_err(|error| BlockError::Transaction { index, error })?;
    }
    let inputs = transactions.iter().map(|it| (it.txid(), it.transaction().inputs.as_slice()));
    Ok(CheckedBlock {
        header: *header,
        id: header.id(),
        coinbase,
        coinbase_id,
        sources: Sources::of(inputs),
        transactions,
        size_bytes,
    })
}

/// `bad-coinbase`: the rules of §4.
fn check_coinbase(coinbase: &Coinbase, height: u32) -> Result<(), CoinbaseFault> {
    let Coinbase { version, outputs, extra, .. } = coinbase;
    require(*version == Coinbase::VERSION, CoinbaseFault::Version)?;
    require(coinbase.height == height, CoinbaseFault::Height)?;
    require((1..=MAX_COINBASE_OUTPUTS).contains(&outputs.len()), CoinbaseFault::OutputCount)?;
    require(outputs.iter().all(|output| output.lock.is_known()), CoinbaseFault::LockVersion)?;
    require(extra.len() <= MAX_EXTRA_BYTES, CoinbaseFault::ExtraTooLong)?;
    let sum = Amount::checked_sum(outputs.iter().map(|output| output.value));
    require(sum.is_some(), CoinbaseFault::Value)
}
