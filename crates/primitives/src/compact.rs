//! Compact blocks: a block told by short ids to somebody who has most of it (PROTOCOL.md §12,
//! after BIP-152).
//!
//! The receiver's side is two steps, because the answer to its question comes later, when its
//! mempool may have changed: [`CompactBlock::match_known`] gives a [`Partial`] that owns what
//! was found, [`Partial::complete`] adds what came. [`rebuild`] is both in one.

use core::fmt;
use std::collections::HashMap;

use siphasher::sip::SipHasher24;

use crate::{
    block::{Block, Coinbase, Header},
    codec::{Decode, DecodeError, Encode, Reader, list16_len, list32_len, put_list16, put_list32},
    hash::{Wtxid, sha256},
    merkle::block_merkle_root,
    transaction::Transaction,
    wire::MAX_BLOCK_TRANSACTION_INDEXES,
};

/// Six bytes of SipHash over a wtxid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(pub [u8; 6]);

impl ShortId {
    /// Length of the encoding in bytes.
    pub const LEN: usize = 6;
}

impl fmt::Debug for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// `header ‖ coinbase ‖ salt ‖ short ids ‖ prefilled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactBlock {
    /// The block's own.
    pub header: Header,
    /// Whole: nobody else has it.
    pub coinbase: Coinbase,
    /// Chosen by the sender, so that collisions can't be prepared.
    pub salt: u64,
    /// Of the transactions that are not prefilled, in block order.
    pub short_ids: Vec<ShortId>,
    /// Index among the block's transactions (coinbase not counted), strictly ascending.
    pub prefilled: Vec<(u32, Transaction)>,
}

/// What became of a compact block and the transactions at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebuild {
    /// Every transaction is known and the merkle root is the header's.
    Complete(Block),
    /// These indexes are missing, ascending: ask the sender.
    Ask(Vec<u32>),
    /// A collision, a wrong answer or a wrong root: fetch the whole block, blame nobody yet.
    Whole,
}

/// Computes short ids under one header and salt.
#[derive(Clone, Copy)]
pub struct ShortIdKey(SipHasher24);

impl ShortIdKey {
    /// The key of §12: the first 16 bytes of SHA-256(header ‖ salt).
    pub fn new(header: &Header, salt: u64) -> Self {
        let digest = sha256(&(*header, salt).to_bytes());
        let (key, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
        Self::from_bytes(key)
    }

    /// The key that these bytes are, read as two little-endian `u64`s.
    pub fn from_bytes(key: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(key))
    }

    /// The 16 bytes.
    pub fn to_bytes(&self) -> [u8; 16] {
        self.0.key()
    }

    /// SipHash-2-4 of any message.
    pub fn hash(&self, message: &[u8]) -> u64 {
        self.0.hash(message)
    }

    /// The short id of a transaction: the low 48 bits, little-endian.
    pub fn short_id(&self, wtxid: &Wtxid) -> ShortId {
        let [a, b, c, d, e, f, _, _] = self.hash(wtxid.as_bytes()).to_le_bytes();
        ShortId([a, b, c, d, e, f])
    }
}

impl fmt::Debug for ShortIdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShortIdKey({})", hex::encode(self.to_bytes()))
    }
}

impl CompactBlock {
    /// Most transactions that a compact block can prefill: what a `list16` counts.
    pub const MAX_PREFILLED: usize = 65_535;

    /// Tells `block` with these transactions (ascending indexes) prefilled. Indexes that the
    /// block doesn't have are passed over, as are those after [`Self::MAX_PREFILLED`].
    pub fn build(block: &Block, salt: u64, prefill: &[u32]) -> Self {
        let transactions = block.transactions.iter().map(|one| (one.wtxid(), one));
        Self::announcement(block, salt).with(transactions, prefill)
    }

    /// The form for a block whose compact form is over the gossip limit: header and coinbase
    /// alone; the receiver fetches it whole (§12).
    pub fn announcement(block: &Block, salt: u64) -> Self {
        Self::bare(block.header, block.coinbase.clone(), salt)
    }

    /// [`Self::announcement`] of a block in parts.
    pub const fn bare(header: Header, coinbase: Coinbase, salt: u64) -> Self {
        Self { header, coinbase, salt, short_ids: Vec::new(), prefilled: Vec::new() }
    }

    /// A bare one with the block's transactions, as [`Self::build`] tells them.
    #[must_use]
    pub fn with<'a>(
        mut self,
        transactions: impl IntoIterator<Item = (Wtxid, &'a Transaction)>,
        prefill: &[u32],
    ) -> Self {
        let key = ShortIdKey::new(&self.header, self.salt);
        let mut prefill = prefill.iter().take(Self::MAX_PREFILLED).peekable();
        for (index, (wtxid, transaction)) in (0..).zip(transactions) {
            if prefill.next_if_eq(&&index).is_some() {
                self.prefilled.push((index, transaction.clone()));
            } else {
                self.short_ids.push(key.short_id(&wtxid));
            }
        }
        self
    }

    /// How many transactions the block has.
    pub const fn transaction_count(&self) -> usize {
        self.short_ids.len().saturating_add(self.prefilled.len())
    }

    /// Whether prefilled indexes ascend strictly and are below the number of transactions.
    fn prefilled_fit(&self) -> bool {
        let indexes = || self.prefilled.iter().map(|(index, _)| *index);
        let ascend = indexes().zip(indexes().skip(1)).all(|(low, high)| low < high);
        let below = indexes().next_back().is_none_or(|last| {
            usize::try_from(last).is_ok_and(|last| last < self.transaction_count())
        });
        ascend && below
    }

    /// Finds the block's transactions among those that the receiver has (`known`: wtxid and
    /// transaction, in any order) and clones those alone.
    ///
    /// `None` where the whole block must be fetched: short ids collide, or more than
    /// [`MAX_BLOCK_TRANSACTION_INDEXES`] transactions are missing.
    pub fn match_known<'a, K, T>(
        &self,
        known: impl IntoIterator<Item = (Wtxid, &'a K)>,
    ) -> Option<Partial<T>>
    where
        K: Clone + 'a,
        T: From<K> + From<Transaction>,
    {
        // Only ever looked up, never walked: its order decides nothing.
        let mut listed = HashMap::with_capacity(self.short_ids.len());
        let mut prefilled = self.prefilled.iter().peekable();
        let mut short_ids = self.short_ids.iter();
        let mut slots = Vec::with_capacity(self.transaction_count());
        for index in 0..u32::try_from(self.transaction_count()).ok()? {
            if let Some((_, transaction)) = prefilled.next_if(|(at, _)| *at == index) {
                slots.push(Some(transaction.clone().into()));
            } else {
                let found = Found { slot: slots.len(), wtxid: None };
                if listed.insert(*short_ids.next()?, found).is_some() {
                    return None;
                }
                slots.push(None);
            }
        }

        let key = ShortIdKey::new(&self.header, self.salt);
        for (wtxid, transaction) in known {
            let Some(found) = listed.get_mut(&key.short_id(&wtxid)) else { continue };
            if found.wtxid.is_some_and(|other| other != wtxid) {
                return None;
            }
            if found.wtxid.replace(wtxid).is_none()
                && let Some(slot) = slots.get_mut(found.slot)
            {
                *slot = Some(transaction.clone().into());
            }
        }

        let partial = Partial { header: self.header, coinbase: self.coinbase.clone(), slots };
        (partial.missing_count() <= MAX_BLOCK_TRANSACTION_INDEXES).then_some(partial)
    }
}

/// A listed short id's place in the block, and whose it turned out to be.
struct Found {
    slot: usize,
    wtxid: Option<Wtxid>,
}

/// A block of which some transactions may be missing still. Owns what it has, in whatever form the
/// receiver keeps transactions, so that it can wait for an answer while the mempool moves on.
#[derive(Clone, Debug)]
pub struct Partial<T = Transaction> {
    header: Header,
    coinbase: Coinbase,
    slots: Vec<Option<T>>,
}

impl<T: From<Transaction>> Partial<T> {
    fn missing_count(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_none()).count()
    }

    /// Indexes of the missing transactions, ascending: what to ask the sender for.
    pub fn missing(&self) -> Vec<u32> {
        (0..).zip(&self.slots).filter(|(_, slot)| slot.is_none()).map(|(index, _)| index).collect()
    }

    /// Puts the `received` transactions into the gaps, in order: the coinbase, and all transactions
    /// of what is the block where its merkle root is the header's.
    ///
    /// `None` where another number came than is missing: the whole block must be fetched, and
    /// nobody is to blame yet.
    pub fn fill(
        self,
        received: impl IntoIterator<Item = Transaction>,
    ) -> Option<(Coinbase, Vec<T>)> {
        let mut received = received.into_iter().map(T::from);
        let transactions = self
            .slots
            .into_iter()
            .map(|slot| slot.or_else(|| received.next()))
            .collect::<Option<_>>()?;
        received.next().is_none().then_some((self.coinbase, transactions))
    }
}

impl Partial {
    /// [`Partial::fill`], and checks the merkle root: `None` also where it is not the header's.
    pub fn complete(self, received: impl IntoIterator<Item = Transaction>) -> Option<Block> {
        let header = self.header;
        let (coinbase, transactions) = self.fill(received)?;
        let block = Block { header, coinbase, transactions };
        (block_merkle_root(&block) == Some(header.merkle_root)).then_some(block)
    }
}

/// Puts a block together again from what the receiver has (`known`: wtxid and transaction, in
/// any order) and, where it asked for what was missing, the answer. Checks the merkle root.
/// Takes an iterator of borrowed transactions, clones only those that the block holds.
///
/// Where the answer is judged later than the question was asked, `known` must be the same as
/// then; [`CompactBlock::match_known`] keeps it.
pub fn rebuild<'a>(
    compact: &CompactBlock,
    known: impl IntoIterator<Item = (Wtxid, &'a Transaction)>,
    received: Option<&[Transaction]>,
) -> Rebuild {
    let Some(partial) = compact.match_known(known) else { return Rebuild::Whole };
    let missing = partial.missing();
    if received.is_none() && !missing.is_empty() {
        return Rebuild::Ask(missing);
    }
    let received = received.unwrap_or_default().iter().cloned();
    partial.complete(received).map_or(Rebuild::Whole, Rebuild::Complete)
}

impl Encode for ShortId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn encoded_len(&self) -> usize {
        Self::LEN
    }
}

impl Decode for ShortId {
    const MIN_LEN: usize = Self::LEN;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self)
    }
}

impl Encode for CompactBlock {
    fn encode(&self, out: &mut Vec<u8>) {
        self.header.encode(out);
        self.coinbase.encode(out);
        self.salt.encode(out);
        put_list32(out, &self.short_ids);
        put_list16(out, &self.prefilled);
    }

    fn encoded_len(&self) -> usize {
        Header::LEN
            .saturating_add(self.coinbase.encoded_len())
            .saturating_add(self.salt.encoded_len())
            .saturating_add(list32_len(&self.short_ids))
            .saturating_add(list16_len(&self.prefilled))
    }
}

impl Decode for CompactBlock {
    const MIN_LEN: usize = Header::LEN + Coinbase::MIN_LEN + 8 + 4 + 2;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let compact = Self {
            header: Header::decode(reader)?,
            coinbase: Coinbase::decode(reader)?,
            salt: u64::decode(reader)?,
            short_ids: reader.list32()?,
            prefilled: reader.list16()?,
        };
        if compact.prefilled_fit() {
            Ok(compact)
        } else {
            Err(DecodeError::NotCanonical { what: "prefilled indexes" })
        }
    }
}
