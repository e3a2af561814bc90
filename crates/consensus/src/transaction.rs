//! Judging one transaction: the same functions serve block, mempool and template (§3, §8).

use ashlar_primitives::{
    Amount, BlockId, Coin, Decode, Encode, OutPoint, Output, SigHash, Transaction, Txid, Wtxid,
    codec::put_list16,
    hash::{Tag, double_sha256},
};

use crate::{
    error::{TxError, require},
    params::Params,
    signature::SignatureCheck,
    witness::check_witnesses,
    workers::Signed,
};

/// Most bytes of a transaction, witnesses included (§3).
pub const MAX_TRANSACTION_BYTES: u32 = 100_000;
/// Of the digest that signatures sign (§3).
static SIGHASH: Tag = Tag::new("ashlar/sighash");
/// Most bytes of a memo (§3).
pub const MAX_MEMO_BYTES: usize = 256;

/// A transaction that keeps the stateless rules, with ids and size computed once. Private fields:
/// to hold one is the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTransaction {
    transaction: Transaction,
    txid: Txid,
    wtxid: Wtxid,
    size_bytes: u32,
}

impl CheckedTransaction {
    /// The transaction itself.
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// `H(body)`.
    pub const fn txid(&self) -> Txid {
        self.txid
    }

    /// `H(transaction)`.
    pub const fn wtxid(&self) -> Wtxid {
        self.wtxid
    }

    /// Of the whole encoding.
    pub const fn size_bytes(&self) -> u32 {
        self.size_bytes
    }

    /// The coins that it makes in a block at `height`, with their outpoints.
    pub fn coins(&self, height: u32) -> impl Iterator<Item = (OutPoint, Coin)> {
        coins(self.txid, &self.transaction.outputs, height, false)
    }

    /// Ids and size of a transaction whose rules are still to be checked.
    pub(crate) fn unchecked(transaction: Transaction) -> Self {
        let mut bytes = Vec::with_capacity(transaction.encoded_len());
        transaction.encode_body(&mut bytes);
        let txid = Txid(double_sha256(&bytes));
        put_list16(&mut bytes, &transaction.witnesses);
        let wtxid = Wtxid(double_sha256(&bytes));
        // What does not fit is too large by far either way.
        let size_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { transaction, txid, wtxid, size_bytes }
    }

    /// The stateless rules of §3 in the order of §8.
    pub(crate) fn check(&self) -> Result<(), TxError> {
        let Transaction { inputs, outputs, memo, .. } = &self.transaction;
        // PROTOCOL.md §3: tx-no-inputs
        require(!inputs.is_empty(), TxError::NoInputs)?;
        // PROTOCOL.md §3: tx-no-outputs
        require(!outputs.is_empty(), TxError::NoOutputs)?;
        // PROTOCOL.md §3: tx-too-large
        let size_bytes = self.size_bytes.into();
        require(self.size_bytes <= MAX_TRANSACTION_BYTES, TxError::TooLarge { size_bytes })?;
        // PROTOCOL.md §3: tx-duplicate-input
        let mut sorted = inputs.clone();
        sorted.sort_unstable();
        let all_differ = sorted.windows(2).all(|pair| pair.first() != pair.last());
        require(all_differ, TxError::DuplicateInput)?;
        // PROTOCOL.md §3: tx-bad-value
        let sum = Amount::checked_sum(outputs.iter().map(|output| output.value));
        let none_zero = outputs.iter().all(|output| output.value > Amount::ZERO);
        require(sum.is_some() && none_zero, TxError::BadValue)?;
        // PROTOCOL.md §3: tx-bad-lock-version
        require(outputs.iter().all(|output| output.lock.is_known()), TxError::BadLockVersion)?;
        // PROTOCOL.md §3: tx-memo-too-long
        require(memo.len() <= MAX_MEMO_BYTES, TxError::MemoTooLong { length: memo.len() })
    }
}

/// The coins that `outputs` of a transaction or coinbase make. A `list16` has no index above
/// `u16::MAX`.
pub(crate) fn coins(
    txid: Txid,
    outputs: &[Output],
    height: u32,
    is_coinbase: bool,
) -> impl Iterator<Item = (OutPoint, Coin)> {
    (0..=u16::MAX).zip(outputs).map(move |(index, output)| {
        (OutPoint { txid, index }, Coin { output: *output, height, is_coinbase })
    })
}

/// The stateless rules, in order. The transaction was decoded, or keeps the limits of the encoding.
pub fn check_transaction(transaction: Transaction) -> Result<CheckedTransaction, TxError> {
    let transaction = CheckedTransaction::unchecked(transaction);
    transaction.check()?;
    Ok(transaction)
}

/// Decodes (`tx-malformed`) and checks.
pub fn open_transaction(bytes: &[u8]) -> Result<CheckedTransaction, TxError> {
    check_transaction(Transaction::from_bytes(bytes).map_err(TxError::Malformed)?)
}

/// What a transaction's contextual rules found.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Inputs less outputs.
    pub fee: Amount,
    /// All that must still verify, in order; `place.transaction` is 0.
    pub checks: Vec<SignatureCheck>,
}

/// The contextual rules of §3 at `height`, in the order of §8, without verifying signatures.
/// `coins` are those that the inputs name, in input order; `None` where there is no such unspent
/// coin. Where this fails no signature matters: a fault of a witness is judged as if all signatures
/// were good, and an unsatisfied time condition beside a wrong signature is for now.
pub fn judge_transaction(
    params: &Params,
    height: u32,
    transaction: &CheckedTransaction,
    coins: &[Option<Coin>],
) -> Result<Judged, TxError> {
    let Transaction { inputs, outputs, witnesses, .. } = transaction.transaction();
    // PROTOCOL.md §3: tx-not-yet-valid
    let not_before = transaction.transaction().not_before;
    require(height >= not_before, TxError::NotYetValid { not_before })?;
    // PROTOCOL.md §3: tx-missing-input
    let mut spent = Vec::with_capacity(inputs.len());
    let mut coins = coins.iter();
    for (input, _) in (0..=u16::MAX).zip(inputs) {
        let coin = coins.next().copied().flatten().ok_or(TxError::MissingInput { input })?;
        spent.push(coin);
    }
    // PROTOCOL.md §3: tx-immature-coinbase
    for (input, coin) in (0..=u16::MAX).zip(&spent) {
        let mature_at = u64::from(coin.height).saturating_add(params.coinbase_maturity.into());
        let is_mature = !coin.is_coinbase || u64::from(height) >= mature_at;
        require(is_mature, TxError::ImmatureCoinbase { input, mature_at })?;
    }
    // PROTOCOL.md §3: tx-bad-input-sum
    let available = Amount::checked_sum(spent.iter().map(|coin| coin.output.value))
        .ok_or(TxError::BadInputSum)?;
    // PROTOCOL.md §3: tx-overspends (the sum of the outputs is in range by tx-bad-value)
    let paid =
        Amount::checked_sum(outputs.iter().map(|output| output.value)).ok_or(TxError::BadValue)?;
    let fee = available
        .checked_sub(paid)
        .ok_or(TxError::Overspends { inputs: available.grains(), outputs: paid.grains() })?;
    // PROTOCOL.md §3: tx-bad-witness
    let claimed = check_witnesses(height, witnesses, &spent)?;
    // PROTOCOL.md §3: tx-bad-signature is left to whoever verifies these.
    let (wtxid, signed) = (transaction.wtxid, Signed::new(params, transaction.txid, &spent));
    let checks = claimed.into_iter().map(|(place, key, signature)| {
        let signed = signed.clone();
        SignatureCheck { place, wtxid, key, signature, signed }
    });
    Ok(Judged { fee, checks: checks.collect() })
}

/// The digest that all signatures of a transaction sign (§3). `spent` in input order.
pub fn sighash<'a>(
    chain_id: &BlockId,
    txid: &Txid,
    spent: impl IntoIterator<Item = &'a Output, IntoIter: ExactSizeIterator>,
) -> SigHash {
    let spent = spent.into_iter();
    let mut outputs = Vec::with_capacity(spent.len().saturating_mul(Output::LEN));
    for output in spent {
        output.encode(&mut outputs);
    }
    SigHash(SIGHASH.hash(&[chain_id.as_bytes(), txid.as_bytes(), &double_sha256(&outputs)]))
}
