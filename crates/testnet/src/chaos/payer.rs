//! Payments with a memory: what a node acknowledged must end in a block of every node.
//!
//! A payer does what a wallet does: where the node that took a payment died with its memory, it
//! sends the payment to another. In all other cases delivery is the nodes' business alone.

use std::collections::BTreeMap;

use ashlar_consensus::transaction::sighash;
use ashlar_primitives::{
    Address, Amount, BlockId, Encode as _, Lock, OutPoint, Output, Transaction, Txid, Witness,
    hash::tagged_hash, keys::SecretKey,
};
use ashlar_processes::Rpc;
use ashlar_rpc::{ClientError, types::SubmitResults};
use serde_json::json;

use crate::file::NodeNumber;

/// What a payment leaves to the miner, in grains: over the nodes' minimum of 1 a byte.
const FEE_GRAINS: u64 = 400;
/// The same of the first one, which makes all coins.
const SPLIT_FEE_GRAINS: u64 = 20_000;
/// A coin below this is not spent again.
const DUST_GRAINS: u64 = 10 * FEE_GRAINS;
/// Refusals that say that the payment is there already.
const THERE_ALREADY: [&str; 2] = ["tx-already-known", "tx-already-confirmed"];

/// What came of asking a node to take a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It took it, or had it.
    Acknowledged,
    /// It refused it: it does not know the coin, on its side of a partition.
    Refused,
    /// It did not answer: nobody knows.
    Unanswered,
}

/// A coin that one payment after the other passes on.
#[derive(Debug)]
struct Slot {
    outpoint: OutPoint,
    output: Output,
    /// The number of the key that opens it.
    key: u64,
    /// The payment that was made of it, until it is in a block.
    waiting: Option<Txid>,
}

/// A payment that was made and is not settled.
#[derive(Debug)]
struct Payment {
    hex: String,
    /// Whom it was sent to, and who has not died with its memory since.
    holder: Option<NodeNumber>,
    was_acknowledged: bool,
    /// The coin that it makes.
    next: (OutPoint, Output, u64),
    slot: usize,
}

/// Pays, and remembers.
#[derive(Debug)]
pub(super) struct Payer {
    seed: u64,
    chain_id: BlockId,
    slots: Vec<Slot>,
    open: BTreeMap<Txid, Payment>,
    /// In the order in which they were made: a payment comes after the one whose coin it spends.
    order: Vec<Txid>,
    pub(super) counts: Counts,
}

/// What there is to say of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Payments that a node acknowledged.
    pub acknowledged: u64,
    /// Of these, found in a block of every node in the end.
    pub confirmed: u64,
    /// Refused by a node that did not know the coin.
    pub refused: u64,
    /// Sent once more, since the node that took it died with its memory.
    pub sent_again: u64,
}

/// The key of a number.
fn key(seed: u64, number: u64) -> SecretKey {
    let message = [seed.to_le_bytes(), number.to_le_bytes()].concat();
    SecretKey::from_bytes(&tagged_hash("ashlar/chaos key", &message))
}

fn lock(seed: u64, number: u64) -> Lock {
    Lock::key(key(seed, number).public_key())
}

impl Payer {
    /// With nothing yet. `seed` decides the keys: no two runs on one chain may share it.
    pub(super) fn new(seed: u64, chain_id: BlockId) -> Self {
        Self {
            seed,
            chain_id,
            slots: Vec::new(),
            open: BTreeMap::new(),
            order: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// The addresses of the first keys.
    pub(super) fn addresses(&self, count: u64, prefix: &str) -> Vec<String> {
        let address = |number| Address::new(prefix, lock(self.seed, number));
        (0..count)
            .map(|number| address(number).expect("the chain's own prefix").to_string())
            .collect()
    }

    /// Splits the coin of the first address into `count` for the next ones; whether it was there and
    /// the payment was taken.
    pub(super) fn split(&self, rpc: &Rpc, first: &str, count: u64) -> Result<bool, ClientError> {
        let coins = rpc.coins(&[first.to_owned()])?;
        let Some(coin) = coins.first() else { return Ok(false) };
        let whole = Output { value: Amount::from_grains(coin.value), lock: lock(self.seed, 0) };
        let value = Amount::from_grains(coin.value.saturating_sub(SPLIT_FEE_GRAINS) / count);
        let output = |number| Output { value, lock: lock(self.seed, number) };
        let outpoint = OutPoint { txid: coin.txid.0, index: coin.vout };
        let (_, hex) = self.spend(outpoint, whole, 0, (1..=count).map(output).collect());
        Ok(send(rpc, &hex) == Sent::Acknowledged)
    }

    /// Takes the coins that were paid to addresses, of keys from 1 on; how many there are.
    pub(super) fn collect(
        &mut self,
        rpc: &Rpc,
        addresses: &[String],
    ) -> Result<usize, ClientError> {
        let coins = rpc.coins(addresses)?;
        let slot = |coin: &ashlar_rpc::types::AddressUtxo| {
            let place = addresses.iter().position(|address| *address == coin.address)?;
            let key = place as u64 + 1;
            let output =
                Output { value: Amount::from_grains(coin.value), lock: lock(self.seed, key) };
            let outpoint = OutPoint { txid: coin.txid.0, index: coin.vout };
            Some(Slot { outpoint, output, key, waiting: None })
        };
        self.slots = coins.iter().filter_map(slot).collect();
        Ok(self.slots.len())
    }

    /// Makes the next payment of a coin that no payment waits for, chosen by `pick`, and sends it;
    /// `None` where all coins wait.
    pub(super) fn pay(&mut self, pick: usize, to: NodeNumber, rpc: &Rpc) -> Option<Sent> {
        let is_free =
            |slot: &Slot| slot.waiting.is_none() && slot.output.value.grains() >= DUST_GRAINS;
        let free: Vec<usize> =
            (0..self.slots.len()).filter(|place| is_free(&self.slots[*place])).collect();
        let place = *free.get(pick.checked_rem(free.len())?)?;
        let (txid, payment) = self.make(place);
        let sent = send(rpc, &payment.hex);
        match sent {
            // Made of the same coin again it is the same payment: no two are at odds.
            Sent::Refused => self.counts.refused += 1,
            Sent::Acknowledged | Sent::Unanswered => {
                self.slots[place].waiting = Some(txid);
                self.open.insert(txid, payment);
                self.order.push(txid);
                self.note(txid, to, sent);
            }
        }
        Some(sent)
    }

    fn make(&self, place: usize) -> (Txid, Payment) {
        let Slot { outpoint, output, key, .. } = &self.slots[place];
        let value = Amount::from_grains(output.value.grains() - FEE_GRAINS);
        // A key of its own, and the same one however often the payment is made.
        let next_key = key + self.slots.len() as u64;
        let next = Output { value, lock: lock(self.seed, next_key) };
        let (txid, hex) = self.spend(*outpoint, *output, *key, vec![next]);
        let payment = Payment {
            hex,
            holder: None,
            was_acknowledged: false,
            next: (OutPoint { txid, index: 0 }, next, next_key),
            slot: place,
        };
        (txid, payment)
    }

    /// A signed payment of one coin: its id, and its encoding in hexadecimal digits.
    fn spend(
        &self,
        outpoint: OutPoint,
        coin: Output,
        own_key: u64,
        outputs: Vec<Output>,
    ) -> (Txid, String) {
        let mut transaction = Transaction {
            not_before: 0,
            inputs: vec![outpoint],
            outputs,
            memo: Vec::new(),
            witnesses: Vec::new(),
        };
        let txid = transaction.txid();
        let digest = sighash(&self.chain_id, &txid, &[coin]);
        let signature = key(self.seed, own_key).sign(&digest);
        transaction.witnesses.push(Witness::Key { signature });
        (txid, hex::encode(transaction.to_bytes()))
    }

    fn note(&mut self, txid: Txid, to: NodeNumber, sent: Sent) {
        let Some(payment) = self.open.get_mut(&txid) else { return };
        if sent == Sent::Acknowledged {
            payment.holder = Some(to);
            if !payment.was_acknowledged {
                payment.was_acknowledged = true;
                self.counts.acknowledged += 1;
            }
        }
    }

    /// A node died with its memory: what it alone may have had is sent again.
    pub(super) fn forgotten_by(&mut self, node: NodeNumber) {
        for payment in self.open.values_mut().filter(|payment| payment.holder == Some(node)) {
            payment.holder = None;
        }
    }

    /// Sends what nobody holds, in the order in which it was made; how much is left.
    pub(super) fn send_again(&mut self, to: NodeNumber, rpc: &Rpc) -> usize {
        let homeless = |payments: &BTreeMap<Txid, Payment>, txid: &Txid| {
            payments.get(txid).is_some_and(|payment| payment.holder.is_none())
        };
        let again: Vec<Txid> =
            self.order.iter().filter(|txid| homeless(&self.open, txid)).copied().collect();
        for txid in &again {
            let Some(payment) = self.open.get(txid) else { continue };
            let was_acknowledged = payment.was_acknowledged;
            let sent = send(rpc, &payment.hex);
            self.counts.sent_again += u64::from(was_acknowledged && sent == Sent::Acknowledged);
            self.note(*txid, to, sent);
        }
        again.iter().filter(|txid| homeless(&self.open, txid)).count()
    }

    /// Lets coins be spent again whose payments a node has in a block.
    pub(super) fn look(&mut self, rpc: &Rpc) -> Result<(), ClientError> {
        for place in 0..self.slots.len() {
            let Some(txid) = self.slots[place].waiting else { continue };
            if rpc.confirmed(txid)?.is_some()
                && let Some(payment) = self.open.get(&txid)
            {
                let (outpoint, output, key) = payment.next;
                self.slots[payment.slot] = Slot { outpoint, output, key, waiting: None };
            }
        }
        Ok(())
    }

    /// Payments that were acknowledged, or may have been, and that no node lacks in its chain are
    /// settled. The first that a node lacks; `None` where all are settled.
    pub(super) fn settle(&mut self, nodes: &[&Rpc]) -> Result<Option<Txid>, ClientError> {
        for txid in self.order.clone() {
            for rpc in nodes {
                if rpc.confirmed(txid)?.is_none() {
                    return Ok(Some(txid));
                }
            }
            if let Some(payment) = self.open.remove(&txid) {
                self.counts.confirmed += u64::from(payment.was_acknowledged);
                let slot = &mut self.slots[payment.slot];
                if slot.waiting == Some(txid) {
                    let (outpoint, output, key) = payment.next;
                    *slot = Slot { outpoint, output, key, waiting: None };
                }
            }
            self.order.retain(|other| *other != txid);
        }
        Ok(None)
    }

    /// The coins as they are once all is settled.
    pub(super) fn outpoints(&self) -> impl Iterator<Item = (OutPoint, u64)> {
        self.slots.iter().map(|slot| (slot.outpoint, slot.output.value.grains()))
    }
}

fn send(rpc: &Rpc, hex: &str) -> Sent {
    let Ok(answer) = rpc.call("sendrawtransactions", vec![json!([hex])]) else {
        return Sent::Unanswered;
    };
    let Ok(answer) = serde_json::from_value::<SubmitResults>(answer) else {
        return Sent::Unanswered;
    };
    match answer.results.first() {
        Some(result) => match &result.error {
            None => Sent::Acknowledged,
            Some(error) if THERE_ALREADY.contains(&error.data.code.as_str()) => Sent::Acknowledged,
            Some(_) => Sent::Refused,
        },
        None => Sent::Unanswered,
    }
}
