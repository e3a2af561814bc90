//! What a wallet remembers of its own doing: payments, labels, frozen coins.
//!
//! A payment stands here, signed and whole, **before** a node hears of it. So whatever happens
//! afterwards (a crash, a node that forgets, a reorganisation) the wallet knows what it signed,
//! sends it again, and never spends the same coins on something else by mistake. Nothing here is
//! secret or decides what is signed; the file is for its owner alone because it tells who paid
//! whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::{Path, PathBuf},
};

use ashlar_primitives::{Decode, OutPoint, Transaction, Txid};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files::{self, beside};

const FORMAT: &str = "ashlar-wallet-journal";
const VERSION: u32 = 1;
/// No journal is longer: 100,000 payments fit.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// Transactions at most for which coins are kept; the oldest make room.
const MAX_PROMISES: usize = 1_000;
/// Longest label or note, in bytes.
pub(crate) const MAX_LABEL_BYTES: usize = 256;

/// What can be wrong with a journal.
#[derive(Debug, Error)]
pub(crate) enum JournalError {
    #[error("can't use {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("another ashlar-wallet is at work on this wallet; wait for it, then try again")]
    Busy,
    #[error(
        "{path} is damaged ({error}): move it away to go on without it, after looking for payments in `history`"
    )]
    Damaged { path: PathBuf, error: serde_json::Error },
    #[error("{path} is of version {found}; this program knows {VERSION}")]
    OtherVersion { path: PathBuf, found: u32 },
    #[error("the journal's transaction {txid} does not read: the file was changed")]
    BadTransaction { txid: String },
    #[error("a label is at most {MAX_LABEL_BYTES} bytes, without control characters")]
    Label,
}

/// What a payment was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// To pay somebody.
    Payment,
    /// To pay the same with a higher fee.
    Bump,
    /// To take an earlier one's coins back.
    Cancel,
    /// Whatever those who signed it apart meant by it.
    Shared,
}

/// How far a payment is, as far as this wallet saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Signed; perhaps no node has it.
    Signed,
    /// A node took it.
    Sent,
    /// The node refused it, so that its coins are free again.
    Refused,
    /// In a block so deep that nobody asks any more.
    Settled,
    /// Another transaction spent its coins, as deep.
    Dead,
}

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipient {
    pub(crate) address: String,
    /// In grains.
    pub(crate) amount: u64,
}

/// A coin that a payment spends or brings back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JournalCoin {
    pub(crate) txid: String,
    pub(crate) vout: u16,
    pub(crate) address: String,
    /// In grains.
    pub(crate) value: u64,
}

impl JournalCoin {
    /// The coin's name, where the file was not changed.
    pub(crate) fn outpoint(&self) -> Option<OutPoint> {
        Some(OutPoint { txid: self.txid.parse().ok()?, index: self.vout })
    }
}

/// A payment of this wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payment {
    pub(crate) txid: String,
    /// The signed transaction.
    pub(crate) hex: String,
    /// When it was signed, in seconds since 1970.
    pub(crate) time: u64,
    pub(crate) purpose: Purpose,
    pub(crate) stage: Stage,
    /// The payment whose coins it spends again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaces: Option<String>,
    /// A script's own name for it, under which it is made once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) recipients: Vec<Recipient>,
    /// In grains.
    pub(crate) fee: u64,
    pub(crate) size_bytes: u64,
    pub(crate) spends: Vec<JournalCoin>,
    /// What comes back to this wallet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<JournalCoin>,
    /// As everybody can read it in the transaction.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) memo: String,
    /// For the owner alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) note: String,
}

impl Payment {
    /// The sum that the recipients get, in grains.
    pub(crate) fn amount(&self) -> u64 {
        self.recipients.iter().fold(0, |sum, recipient| sum.saturating_add(recipient.amount))
    }

    /// What is sent.
    pub(crate) fn transaction(&self) -> Result<Transaction, JournalError> {
        let bytes = hex::decode(&self.hex).ok();
        bytes
            .and_then(|bytes| Transaction::from_bytes(&bytes).ok())
            .filter(|transaction| transaction.txid().to_string() == self.txid)
            .ok_or_else(|| JournalError::BadTransaction { txid: self.txid.clone() })
    }

    /// Whether its coins are kept for it: unless it was refused, or can never be.
    pub(crate) const fn keeps_its_coins(&self) -> bool {
        !matches!(self.stage, Stage::Refused | Stage::Dead)
    }

    /// Grains for 1,000 bytes, rounded down.
    pub(crate) fn feerate_per_kb(&self) -> u64 {
        self.fee.saturating_mul(1_000) / self.size_bytes.max(1)
    }

    fn spends_one_of(&self, other: &Self) -> bool {
        self.spends.iter().any(|coin| {
            other.spends.iter().any(|theirs| (&theirs.txid, theirs.vout) == (&coin.txid, coin.vout))
        })
    }
}

/// Coins that are kept for a transaction which others sign too, until it is sent or given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promise {
    /// Since when, in seconds since 1970.
    pub(crate) time: u64,
    /// `TXID:N`.
    pub(crate) coins: BTreeSet<String>,
}

/// As it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    format: String,
    version: u32,
    payments: Vec<Payment>,
    labels: BTreeMap<String, String>,
    /// Coins that are never chosen: `TXID:N`.
    frozen: BTreeSet<String>,
    /// By the id of the transaction.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    promises: BTreeMap<String, Promise>,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            payments: Vec::new(),
            labels: BTreeMap::new(),
            frozen: BTreeSet::new(),
            promises: BTreeMap::new(),
        }
    }
}

/// A wallet's journal, and the right to write the wallet's files while it lives.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    content: Content,
    /// `None` where it is only read.
    lock: Option<File>,
}

impl Journal {
    /// Where the journal of a wallet lies.
    pub(crate) fn path_of(wallet: &Path) -> PathBuf {
        let stem = wallet.file_name().and_then(|name| name.to_str());
        match stem.and_then(|name| name.strip_suffix(".json")) {
            Some(stem) => wallet.with_file_name(format!("{stem}.journal.json")),
            None => beside(wallet, ".journal.json"),
        }
    }

    /// Reads it, without keeping others away.
    pub(crate) fn read(wallet: &Path) -> Result<Self, JournalError> {
        let path = Self::path_of(wallet);
        let in_path = |error| JournalError::Io { path: path.clone(), error };
        let content = match File::open(&path) {
            Ok(file) => {
                let text = io::read_to_string(io::Read::take(file, MAX_FILE_BYTES));
                serde_json::from_str::<Content>(&text.map_err(in_path)?)
                    .map_err(|error| JournalError::Damaged { path: path.clone(), error })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(in_path(error)),
        };
        if content.format != FORMAT || content.version != VERSION {
            return Err(JournalError::OtherVersion { path, found: content.version });
        }
        Ok(Self { path, content, lock: None })
    }

    /// Reads it and keeps other commands from this wallet until it is dropped.
    pub(crate) fn lock(wallet: &Path) -> Result<Self, JournalError> {
        let lock = files::lock(wallet).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => JournalError::Busy,
            _ => JournalError::Io { path: wallet.to_owned(), error },
        })?;
        Ok(Self { lock: Some(lock), ..Self::read(wallet)? })
    }

    /// Replaces the file as a whole.
    ///
    /// # Panics
    /// Where it was only read: two writers would forget each other's payments.
    pub(crate) fn save(&self) -> Result<(), JournalError> {
        assert!(self.lock.is_some(), "a journal that was only read is not written");
        let in_path = |error| JournalError::Io { path: self.path.clone(), error };
        let text = serde_json::to_string_pretty(&self.content)
            .map_err(|error| in_path(io::Error::other(error)))?;
        files::replace(&self.path, text.as_bytes()).map_err(in_path)
    }

    /// All payments, oldest first.
    pub(crate) fn payments(&self) -> &[Payment] {
        &self.content.payments
    }

    /// The payment of this id.
    pub(crate) fn payment(&self, txid: &str) -> Option<&Payment> {
        self.payments().iter().find(|payment| payment.txid == txid)
    }

    /// The payment that a script made under this name, unless it was refused.
    pub(crate) fn by_id(&self, id: &str) -> Option<&Payment> {
        let is_it = |payment: &&Payment| {
            payment.id.as_deref() == Some(id) && payment.stage != Stage::Refused
        };
        self.payments().iter().rev().find(is_it)
    }

    /// Writes down a payment, before anybody hears of it.
    pub(crate) fn add(&mut self, payment: Payment) -> Result<(), JournalError> {
        // The same payment signed again has the same id and the same signatures (RFC 8032).
        self.content.payments.retain(|known| known.txid != payment.txid);
        self.content.payments.push(payment);
        self.save()
    }

    /// Notes how far a payment is; whether that was news. [`Journal::save`] writes it.
    pub(crate) fn set_stage(&mut self, txid: &str, stage: Stage) -> bool {
        let payment = self.content.payments.iter_mut().find(|payment| payment.txid == txid);
        payment.is_some_and(|payment| std::mem::replace(&mut payment.stage, stage) != stage)
    }

    /// The newest payment that replaces this one and was not refused.
    pub(crate) fn replaced_by(&self, txid: &str) -> Option<&Payment> {
        self.payments()
            .iter()
            .rev()
            .find(|other| other.replaces.as_deref() == Some(txid) && other.keeps_its_coins())
    }

    /// Payments that spend a coin of this one, itself apart.
    pub(crate) fn rivals<'a>(&'a self, payment: &'a Payment) -> impl Iterator<Item = &'a Payment> {
        self.payments()
            .iter()
            .filter(move |other| other.txid != payment.txid && other.spends_one_of(payment))
    }

    /// The payment that spends this one's change.
    pub(crate) fn child(&self, payment: &Payment) -> Option<&Payment> {
        let change = payment.change.as_ref()?;
        self.payments().iter().find(|other| {
            let spends =
                |coin: &JournalCoin| (&coin.txid, coin.vout) == (&change.txid, change.vout);
            other.keeps_its_coins() && other.spends.iter().any(spends)
        })
    }

    /// Coins that no new payment may take: promised to another, or frozen.
    pub(crate) fn reserved(&self) -> BTreeSet<OutPoint> {
        let promised = self.payments().iter().filter(|payment| payment.keeps_its_coins());
        promised
            .flat_map(|payment| payment.spends.iter().filter_map(JournalCoin::outpoint))
            .chain(self.content.frozen.iter().filter_map(|text| parse_outpoint(text)))
            .chain(self.promised())
            .collect()
    }

    /// Coins that are kept for transactions which others sign too.
    pub(crate) fn promised(&self) -> BTreeSet<OutPoint> {
        let coins = self.content.promises.values().flat_map(|promise| &promise.coins);
        coins.filter_map(|text| parse_outpoint(text)).collect()
    }

    /// Keeps coins for a transaction that is to be signed, from `time` on.
    pub(crate) fn promise(
        &mut self,
        txid: &Txid,
        coins: impl IntoIterator<Item = OutPoint>,
        time: u64,
    ) -> Result<(), JournalError> {
        let coins = coins.into_iter().map(|coin| show_outpoint(&coin)).collect();
        self.content.promises.insert(txid.to_string(), Promise { time, coins });
        while self.content.promises.len() > MAX_PROMISES {
            let oldest = self.content.promises.iter().min_by_key(|(_, promise)| promise.time);
            let Some(oldest) = oldest.map(|(txid, _)| txid.clone()) else { break };
            self.content.promises.remove(&oldest);
        }
        self.save()
    }

    /// Each transaction that coins are kept for, with those.
    pub(crate) fn promises(&self) -> Vec<(String, Vec<OutPoint>)> {
        let promises = self.content.promises.iter();
        promises
            .map(|(txid, promise)| {
                let coins = promise.coins.iter().filter_map(|text| parse_outpoint(text));
                (txid.clone(), coins.collect())
            })
            .collect()
    }

    /// Keeps coins for this transaction no longer; whether that was news. [`Journal::save`] writes
    /// it.
    pub(crate) fn release(&mut self, txid: &str) -> bool {
        self.content.promises.remove(txid).is_some()
    }

    /// Frozen coins, as `TXID:N`.
    pub(crate) const fn frozen(&self) -> &BTreeSet<String> {
        &self.content.frozen
    }

    /// Keeps a coin from being chosen, or lets it be; whether that was news.
    pub(crate) fn freeze(&mut self, coin: &OutPoint, frozen: bool) -> Result<bool, JournalError> {
        let text = show_outpoint(coin);
        let news = match frozen {
            true => self.content.frozen.insert(text),
            false => self.content.frozen.remove(&text),
        };
        self.save()?;
        Ok(news)
    }

    /// Names of addresses, one's own and others'.
    pub(crate) const fn labels(&self) -> &BTreeMap<String, String> {
        &self.content.labels
    }

    /// Names an address; an empty name forgets it. [`Journal::save`] writes it.
    pub(crate) fn set_label(&mut self, address: &str, label: &str) -> Result<(), JournalError> {
        if label.len() > MAX_LABEL_BYTES || label.chars().any(char::is_control) {
            return Err(JournalError::Label);
        }
        match label {
            "" => drop(self.content.labels.remove(address)),
            _ => drop(self.content.labels.insert(address.to_owned(), label.to_owned())),
        }
        Ok(())
    }

    /// For a backup.
    pub(crate) const fn content(&self) -> &Content {
        &self.content
    }

    /// From a backup. [`Journal::save`] writes it.
    pub(crate) fn set_content(&mut self, content: Content) {
        self.content = content;
    }
}

/// `TXID:N`.
pub(crate) fn parse_outpoint(text: &str) -> Option<OutPoint> {
    let (txid, index) = text.split_once(':')?;
    Some(OutPoint { txid: txid.parse().ok()?, index: index.parse().ok()? })
}

/// `TXID:N`.
pub(crate) fn show_outpoint(outpoint: &OutPoint) -> String {
    format!("{}:{}", outpoint.txid, outpoint.index)
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::{Amount, Encode, Lock, Output, PublicKey, Txid};

    use super::*;

    fn payment(coin: u8, replaces: Option<&str>) -> Payment {
        let transaction = Transaction {
            not_before: 0,
            inputs: vec![OutPoint { txid: Txid([coin; 32]), index: 0 }],
            outputs: vec![Output {
                value: Amount::from_grains(1 + replaces.map_or(0, |_| 1)),
                lock: Lock::key(PublicKey([1; 32])),
            }],
            memo: Vec::new(),
            witnesses: Vec::new(),
        };
        let spent = transaction.inputs[0];
        Payment {
            txid: transaction.txid().to_string(),
            hex: hex::encode(transaction.to_bytes()),
            time: 1,
            purpose: Purpose::Payment,
            stage: Stage::Signed,
            replaces: replaces.map(str::to_owned),
            id: None,
            recipients: Vec::new(),
            fee: 100,
            size_bytes: 100,
            spends: vec![JournalCoin {
                txid: spent.txid.to_string(),
                vout: 0,
                address: String::new(),
                value: 1,
            }],
            change: None,
            memo: String::new(),
            note: String::new(),
        }
    }

    #[test]
    fn what_was_written_down_is_there_again_and_keeps_its_coins() {
        let folder = tempfile::tempdir().unwrap();
        let wallet = folder.path().join("alice.json");
        let mut journal = Journal::lock(&wallet).unwrap();
        let (first, second) = (payment(1, None), payment(2, None));
        journal.add(first.clone()).unwrap();
        journal.add(second.clone()).unwrap();
        drop(journal);
        let mut journal = Journal::lock(&wallet).unwrap();
        assert_eq!(journal.payments(), [first.clone(), second]);
        let coin = |number| OutPoint { txid: Txid([number; 32]), index: 0 };
        assert_eq!(journal.reserved(), BTreeSet::from([coin(1), coin(2)]));
        assert!(journal.set_stage(&first.txid, Stage::Refused));
        assert_eq!(journal.reserved(), BTreeSet::from([coin(2)]));
        assert!(journal.freeze(&coin(9), true).unwrap());
        assert_eq!(journal.reserved(), BTreeSet::from([coin(2), coin(9)]));
        assert!(journal.freeze(&coin(9), false).unwrap());
        assert!(!journal.freeze(&coin(9), false).unwrap());
    }

    #[test]
    fn coins_are_kept_for_what_is_signed_apart_until_it_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let wallet = folder.path().join("alice.json");
        let mut journal = Journal::lock(&wallet).unwrap();
        let coin = |number: usize| {
            let bytes = u32::try_from(number).unwrap().to_le_bytes();
            let mut txid = [0; 32];
            txid[..4].copy_from_slice(&bytes);
            OutPoint { txid: Txid(txid), index: 1 }
        };
        journal.promise(&Txid([1; 32]), [coin(1), coin(2)], 5).unwrap();
        journal.promise(&Txid([2; 32]), [coin(3)], 6).unwrap();
        drop(journal);
        let mut journal = Journal::lock(&wallet).unwrap();
        assert_eq!(journal.reserved(), BTreeSet::from([coin(1), coin(2), coin(3)]));
        assert!(journal.release(&Txid([1; 32]).to_string()));
        assert!(!journal.release(&Txid([1; 32]).to_string()));
        assert_eq!(journal.reserved(), BTreeSet::from([coin(3)]));
        // There is room for so many; the oldest goes.
        for number in 0..MAX_PROMISES {
            let txid = Txid(coin(10 + number).txid.0);
            let promise = Promise { time: 10, coins: BTreeSet::from([show_outpoint(&coin(1))]) };
            journal.content.promises.insert(txid.to_string(), promise);
        }
        journal.promise(&Txid([3; 32]), [coin(4)], 11).unwrap();
        assert_eq!(journal.promises().len(), MAX_PROMISES);
        assert!(!journal.reserved().contains(&coin(3)) && journal.reserved().contains(&coin(4)));
    }

    #[test]
    fn a_replacement_is_known_as_such_unless_it_was_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::lock(&folder.path().join("alice.json")).unwrap();
        let first = payment(1, None);
        let second = payment(1, Some(&first.txid));
        journal.add(first.clone()).unwrap();
        journal.add(second.clone()).unwrap();
        assert_eq!(journal.replaced_by(&first.txid), Some(&second));
        assert_eq!(journal.rivals(&first).collect::<Vec<_>>(), [&second]);
        journal.set_stage(&second.txid, Stage::Refused);
        assert_eq!(journal.replaced_by(&first.txid), None);
    }

    #[test]
    fn a_changed_transaction_is_never_sent() {
        let mut changed = payment(1, None);
        assert!(changed.transaction().is_ok());
        changed.hex = payment(2, None).hex;
        assert!(matches!(changed.transaction(), Err(JournalError::BadTransaction { .. })));
    }

    #[test]
    fn labels_that_move_the_cursor_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::lock(&folder.path().join("alice.json")).unwrap();
        journal.set_label("ash1q", "Bob").unwrap();
        assert_eq!(journal.labels()["ash1q"], "Bob");
        assert!(matches!(journal.set_label("ash1q", "\u{1b}[2J"), Err(JournalError::Label)));
        assert!(matches!(journal.set_label("ash1q", &"b".repeat(257)), Err(JournalError::Label)));
        journal.set_label("ash1q", "").unwrap();
        assert!(journal.labels().is_empty());
    }
}
