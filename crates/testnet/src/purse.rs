//! The keys of a testnet's wallets, for a payment that its own payer takes back.

use std::collections::BTreeMap;

use ashlar_consensus::transaction::sighash;
use ashlar_primitives::{
    Amount, BlockId, Lock, OutPoint, Output, Transaction, Witness,
    keys::{ExtendedKey, KeyError, Mnemonic, SecretKey},
};

/// Addresses of each row that a wallet may have used.
const ADDRESSES_PER_ROW: u32 = 200;
/// Addresses to be paid at, and those for change (PROTOCOL.md §11).
const ROWS: [u32; 2] = [0, 1];
/// What a payment that takes another's coins pays at most, in grains: more than any that wallets
/// make by themselves.
const MAX_FEE: u64 = 100_000;

/// Secret keys by the lock that they open.
#[derive(Debug, Default)]
pub(crate) struct Purse {
    keys: BTreeMap<Lock, SecretKey>,
}

impl Purse {
    /// Adds the first addresses of a wallet, from its words.
    pub(crate) fn add(&mut self, words: &str) -> Result<(), KeyError> {
        let master = ExtendedKey::master(Mnemonic::parse(words)?.seed("").as_bytes());
        for row in ROWS {
            let [purpose, coin, account, change, _] = ExtendedKey::wallet_path(0, row, 0);
            let row = master.derive(&[purpose, coin, account, change])?;
            for index in 0..ADDRESSES_PER_ROW {
                let key = row.derive(&[index])?.secret_key();
                self.keys.insert(Lock::key(key.public_key()), key);
            }
        }
        Ok(())
    }

    /// A payment of those of these coins that the purse has the keys of, back to the owner of the
    /// first; `None` where it has none of them.
    pub(crate) fn take_back(
        &self,
        chain_id: &BlockId,
        coins: &[(OutPoint, Output)],
    ) -> Option<(Transaction, Amount)> {
        let own = || coins.iter().filter(|(_, output)| self.keys.contains_key(&output.lock));
        let spent: Vec<Output> = own().map(|(_, output)| *output).collect();
        let sum = Amount::checked_sum(spent.iter().map(|output| output.value))?;
        let fee = Amount::from_grains((sum.grains() / 2).min(MAX_FEE));
        let lock = spent.first()?.lock;
        let mut transaction = Transaction {
            not_before: 0,
            inputs: own().map(|(outpoint, _)| *outpoint).collect(),
            outputs: vec![Output { value: sum.checked_sub(fee)?, lock }],
            memo: Vec::new(),
            witnesses: Vec::new(),
        };
        let digest = sighash(chain_id, &transaction.txid(), &spent);
        // One witness for each lock, in the order in which they come first (§3).
        let mut locks: Vec<Lock> = Vec::new();
        for output in &spent {
            if !locks.contains(&output.lock) {
                locks.push(output.lock);
            }
        }
        let keys = locks.iter().filter_map(|lock| self.keys.get(lock));
        transaction.witnesses =
            keys.map(|key| Witness::Key { signature: key.sign(&digest) }).collect();
        Some((transaction, fee))
    }
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::{PublicKey, Txid};

    use super::*;

    const FAUCET: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                          abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                          abandon abandon abandon abandon abandon art";

    fn coin(place: u8, lock: Lock, grains: u64) -> (OutPoint, Output) {
        let outpoint = OutPoint { txid: Txid([place; 32]), index: 0 };
        (outpoint, Output { value: Amount::from_grains(grains), lock })
    }

    #[test]
    fn own_coins_are_taken_back_and_strangers_left() {
        let mut purse = Purse::default();
        purse.add(FAUCET).unwrap();
        let own: Vec<Lock> = purse.keys.keys().copied().take(2).collect();
        let stranger = Lock::key(PublicKey([9; 32]));
        let coins = [
            coin(1, own[0], 500_000),
            coin(2, stranger, 7),
            coin(3, own[1], 1),
            coin(4, own[0], 2),
        ];
        let (taken, fee) = purse.take_back(&BlockId([5; 32]), &coins).unwrap();
        assert_eq!(taken.inputs, [coins[0].0, coins[2].0, coins[3].0]);
        assert_eq!(taken.outputs[0].value.grains() + fee.grains(), 500_003);
        assert_eq!(taken.witnesses.len(), 2, "one for each lock");
        assert_eq!(purse.take_back(&BlockId([5; 32]), &coins[1..2]), None);
    }

    #[test]
    fn words_that_are_none_are_refused() {
        assert!(Purse::default().add("abandon art").is_err());
    }
}
