//! Partially signed transactions: what travels between those who sign, and to those who are
//! offline (PROTOCOL.md §3).
//!
//! A file holds the transaction, the coins that it spends with their amounts, the policies of those
//! coins, and the signatures and preimages so far. The digest that is signed commits to the chain,
//! to every input and output and to the amounts spent: whoever lies about an amount gets a
//! signature that is good for nothing, so a signer knows the fee without trusting anybody.
//!
//! Reading order: this file (what there is, and how it grows), [`fund`] (how it begins), [`mod@file`]
//! (how it is written), [`outline`] (how it is shown).

pub(crate) mod file;
pub(crate) mod fund;
pub(crate) mod outline;

use std::collections::{BTreeMap, BTreeSet};

use ashlar_consensus::{TxError, check_transaction, signature::verify_one, transaction::sighash};
use ashlar_primitives::{
    Address, Amount, Encode, Lock, OutPoint, Output, Policy, PublicKey, SigHash, Signature,
    Transaction, Witness, hash::sha256, keys::SecretKey,
};
use thiserror::Error;

use crate::{
    amount::show,
    exchange::FileError,
    failure::Kind,
    keystore::{Chain, KeystoreError},
    payment::MAX_BYTES,
    policy::{
        PolicyError,
        satisfy::{self, AtHand},
        terms::key_text,
    },
    select::Coin,
};

/// Bytes of a witness of a single owner.
const KEY_WITNESS_BYTES: usize = 1 + 64;

/// Why a partially signed transaction can't go on.
#[derive(Debug, Error)]
pub(crate) enum OfflineError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    #[error("the file is of version {found}; this program knows {known}")]
    OtherVersion { found: u32, known: u32 },
    #[error("this is no partially signed transaction")]
    OtherFormat,
    #[error("the file is damaged: {what}; ask its sender for it again")]
    Damaged { what: &'static str },
    #[error("the transaction could never be valid: {0}")]
    Invalid(#[from] TxError),
    #[error("the transaction pays out more than its coins hold")]
    Overspends,
    #[error("not enough: the coins hold {}, and the fee comes on top of what is paid", show(*.available))]
    NotEnough { available: Amount },
    #[error(
        "no transaction of {MAX_BYTES} bytes holds that many coins; first bring small ones together: `tx create ADDRESS=max` to an address of your own"
    )]
    TooManyCoins,
    #[error("the fee of {} looks like a mistake; say --allow-high-fee if it is meant", show(*.fee))]
    HighFee { fee: Amount },
    #[error("only one can get all that is left: write `max` once")]
    TwiceMax,
    #[error(
        "{what} holds no transaction: neither what `tx create` writes nor hex of `tx finalize`"
    )]
    NoTransaction { what: String },
    #[error("nobody showed the secret yet: nothing that spends from {address} is known")]
    NotRevealed { address: String },
    #[error("a secret is 64 hex digits, as `policy secret` writes it")]
    NotASecret,
    #[error("no coin of the transaction is under the policy {address}")]
    ForeignPolicy { address: String },
    #[error("the policy of {address} is not in the file; it can't be spent without")]
    NoPolicy { address: String },
    #[error("the signature by {key} is not good for this transaction; don't trust its sender")]
    BadSignature { key: String },
    #[error("{key} has no part in this transaction")]
    ForeignKey { key: String },
    #[error("no coin of the transaction asks for this preimage")]
    ForeignPreimage,
    #[error("the files are about different transactions: {one} and {other}")]
    Different { one: String, other: String },
    #[error("not enough to spend the coins of {address}; `tx inspect` shows what is missing")]
    Unsatisfied { address: String },
    #[error("this wallet has no key that could sign here; `tx inspect` shows whose are missing")]
    NothingToSign,
    #[error("the transaction is for the chain {file}, this wallet for {wallet}")]
    OtherChain { file: String, wallet: String },
}

impl OfflineError {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Keystore(_) | Self::NothingToSign => Kind::Wallet,
            Self::NotEnough { .. }
            | Self::TooManyCoins
            | Self::HighFee { .. }
            | Self::Overspends => Kind::Money,
            Self::BadSignature { .. } | Self::OtherChain { .. } => Kind::Trust,
            Self::Unsatisfied { .. } | Self::NotRevealed { .. } => Kind::Waiting,
            _ => Kind::Usage,
        }
    }
}

/// A coin that is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpentCoin {
    pub(crate) outpoint: OutPoint,
    pub(crate) output: Output,
    /// Of its block, as the node that made the file said: for `older` alone.
    pub(crate) height: Option<u32>,
}

impl Coin for SpentCoin {
    fn outpoint(&self) -> OutPoint {
        self.outpoint
    }
    fn output(&self) -> Output {
        self.output
    }
}

/// A transaction on its way from hand to hand. Every value of this type holds together: its
/// policies are those of its coins, and each signature in it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partial {
    chain: Chain,
    /// Without witnesses.
    transaction: Transaction,
    /// In the order of the inputs.
    coins: Vec<SpentCoin>,
    policies: BTreeMap<Lock, Policy>,
    signatures: BTreeMap<PublicKey, Signature>,
    /// By their digests.
    preimages: BTreeMap<[u8; 32], [u8; 32]>,
}

impl Partial {
    /// A transaction that nobody signed yet.
    pub(crate) fn new(
        chain: Chain,
        not_before: u32,
        coins: Vec<SpentCoin>,
        outputs: Vec<Output>,
        memo: Vec<u8>,
        policies: Vec<Policy>,
    ) -> Result<Self, OfflineError> {
        let transaction = Transaction {
            not_before,
            inputs: coins.iter().map(|coin| coin.outpoint).collect(),
            outputs,
            memo,
            witnesses: Vec::new(),
        };
        let transaction = check_transaction(transaction)?.transaction().clone();
        let policies = policies.into_iter().map(|policy| (Lock::policy(policy.id()), policy));
        let partial = Self {
            chain,
            transaction,
            coins,
            policies: policies.collect(),
            signatures: BTreeMap::new(),
            preimages: BTreeMap::new(),
        };
        partial.fee()?;
        let locks = partial.locks();
        if let Some(lock) = partial.policies.keys().find(|lock| !locks.contains(lock)) {
            return Err(OfflineError::ForeignPolicy { address: partial.address_text(*lock) });
        }
        for lock in locks {
            if lock.version == Lock::POLICY && partial.policy_of(lock).is_none() {
                return Err(OfflineError::NoPolicy { address: partial.address_text(lock) });
            }
        }
        Ok(partial)
    }

    pub(crate) const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The transaction, without witnesses.
    pub(crate) const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    pub(crate) fn coins(&self) -> &[SpentCoin] {
        &self.coins
    }

    /// Spent less paid.
    pub(crate) fn fee(&self) -> Result<Amount, OfflineError> {
        let spent = Amount::checked_sum(self.coins.iter().map(|coin| coin.output.value));
        let paid = Amount::checked_sum(self.transaction.outputs.iter().map(|output| output.value));
        let fee = spent.zip(paid).and_then(|(spent, paid)| spent.checked_sub(paid));
        fee.ok_or(OfflineError::Overspends)
    }

    /// Bytes of the whole transaction at most, whoever comes to sign.
    pub(crate) fn most_bytes(&self) -> u64 {
        let witnesses = self.locks().into_iter().map(|lock| match self.policy_of(lock) {
            Some(policy) => satisfy::most_bytes(policy),
            None => KEY_WITNESS_BYTES,
        });
        let bytes = self.transaction.encoded_len().saturating_add(witnesses.sum());
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// What every signature of the transaction signs.
    pub(crate) fn digest(&self) -> Result<SigHash, OfflineError> {
        let spent: Vec<Output> = self.coins.iter().map(|coin| coin.output).collect();
        Ok(sighash(&self.chain.block_id()?, &self.transaction.txid(), &spent))
    }

    /// All keys whose signature may be of use, each once.
    pub(crate) fn wanted_keys(&self) -> BTreeSet<PublicKey> {
        let keys = self.locks().into_iter().flat_map(|lock| match self.policy_of(lock) {
            Some(policy) => satisfy::keys(policy),
            None => vec![PublicKey(lock.program)],
        });
        keys.collect()
    }

    /// Those who signed.
    pub(crate) fn signed_keys(&self) -> Vec<PublicKey> {
        self.signatures.keys().copied().collect()
    }

    /// Signs with every key that `key_of` has; how many that were.
    pub(crate) fn sign<E: From<OfflineError>>(
        &mut self,
        mut key_of: impl FnMut(&PublicKey) -> Result<Option<SecretKey>, E>,
    ) -> Result<usize, E> {
        let digest = self.digest()?;
        let mut count = 0;
        for public_key in self.wanted_keys() {
            if let Some(key) = key_of(&public_key)? {
                self.signatures.insert(public_key, key.sign(&digest));
                count += 1;
            }
        }
        if count == 0 { Err(OfflineError::NothingToSign.into()) } else { Ok(count) }
    }

    /// Takes in signatures of others, if all are good.
    pub(crate) fn add_signatures(
        &mut self,
        signatures: impl IntoIterator<Item = (PublicKey, Signature)>,
    ) -> Result<(), OfflineError> {
        let (wanted, digest) = (self.wanted_keys(), self.digest()?);
        for (key, signature) in signatures {
            let text = || key_text(&key, &self.chain.address_prefix);
            if !wanted.contains(&key) {
                return Err(OfflineError::ForeignKey { key: text() });
            }
            if !verify_one(&key, digest.as_bytes(), &signature) {
                return Err(OfflineError::BadSignature { key: text() });
            }
            self.signatures.insert(key, signature);
        }
        Ok(())
    }

    /// Takes in a preimage that one of the policies asks for. From then on the file is as secret as
    /// the preimage.
    pub(crate) fn add_preimage(&mut self, preimage: [u8; 32]) -> Result<(), OfflineError> {
        if !self.policies.values().any(|policy| satisfy::asks_for(policy, &preimage)) {
            return Err(OfflineError::ForeignPreimage);
        }
        self.preimages.insert(sha256(&preimage), preimage);
        Ok(())
    }

    /// Takes in what another copy of the same transaction has.
    pub(crate) fn combine(&mut self, other: Self) -> Result<(), OfflineError> {
        let (one, two) = (self.digest()?, other.digest()?);
        if one != two {
            let (one, other) = (self.transaction.txid(), other.transaction.txid());
            return Err(OfflineError::Different { one: one.to_string(), other: other.to_string() });
        }
        // Each was checked against this very digest when the other was read.
        self.signatures.extend(other.signatures);
        self.preimages.extend(other.preimages);
        Ok(())
    }

    /// The whole transaction, with the smallest witnesses that there are for it. `next_height` is
    /// that of the next block where a node said it: until then only the transaction's own
    /// `not_before` says that an `after` has come.
    pub(crate) fn finalize(&self, next_height: Option<u32>) -> Result<Transaction, OfflineError> {
        let mut transaction = self.transaction.clone();
        for lock in self.locks() {
            let witness = match self.policy_of(lock) {
                Some(policy) => satisfy::cheapest(policy, &self.at_hand(lock, next_height))
                    .map(satisfy::Way::into_witness),
                None => self
                    .signatures
                    .get(&PublicKey(lock.program))
                    .map(|signature| Witness::Key { signature: *signature }),
            };
            let unsatisfied = || OfflineError::Unsatisfied { address: self.address_text(lock) };
            transaction.witnesses.push(witness.ok_or_else(unsatisfied)?);
        }
        Ok(check_transaction(transaction)?.transaction().clone())
    }

    /// The distinct locks of the coins in order of first appearance: one witness for each.
    fn locks(&self) -> Vec<Lock> {
        let mut seen = BTreeSet::new();
        let locks = self.coins.iter().map(|coin| coin.output.lock);
        locks.filter(|lock| seen.insert(*lock)).collect()
    }

    fn policy_of(&self, lock: Lock) -> Option<&Policy> {
        self.policies.get(&lock)
    }

    fn at_hand(&self, lock: Lock, next_height: Option<u32>) -> AtHand<'_> {
        let under = self.coins.iter().filter(|coin| coin.output.lock == lock);
        let heights: Option<Vec<u32>> = under.map(|coin| coin.height).collect();
        AtHand {
            signatures: &self.signatures,
            preimages: &self.preimages,
            height: self.transaction.not_before.max(next_height.unwrap_or(0)),
            youngest: heights.and_then(|heights| heights.into_iter().max()),
        }
    }

    fn address_text(&self, lock: Lock) -> String {
        Address::new(&self.chain.address_prefix, lock)
            .map_or_else(|_| hex::encode(lock.program), |address| address.to_string())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ashlar_consensus::witness;
    use ashlar_primitives::Txid;

    use super::*;
    use crate::policy;

    fn key(number: u8) -> SecretKey {
        SecretKey::from_bytes(&[number; 32])
    }

    fn public(number: u8) -> PublicKey {
        key(number).public_key()
    }

    pub(crate) fn chain() -> Chain {
        Chain { name: "test".into(), id: "07".repeat(32), address_prefix: "ash".into() }
    }

    pub(crate) fn coin(number: u8, lock: Lock) -> SpentCoin {
        SpentCoin {
            outpoint: OutPoint { txid: Txid([number; 32]), index: 0 },
            output: Output { value: Amount::from_grains(10_000), lock },
            height: Some(100),
        }
    }

    /// Two coins of a 2-of-3 and one of a single owner pay 29,000.
    pub(crate) fn shared() -> Partial {
        let policy = policy::multisig(2, vec![public(1), public(2), public(3)]).unwrap();
        let lock = Lock::policy(policy.id());
        let coins = vec![coin(1, lock), coin(2, Lock::key(public(4))), coin(3, lock)];
        let pay = Output { value: Amount::from_grains(29_000), lock: Lock::key(public(9)) };
        Partial::new(chain(), 0, coins, vec![pay], b"rent".to_vec(), vec![policy]).unwrap()
    }

    fn signed_by(numbers: &[u8]) -> Partial {
        let mut partial = shared();
        let own = |wanted: &PublicKey| {
            let number = numbers.iter().find(|&&number| public(number) == *wanted);
            Ok::<_, OfflineError>(number.map(|&number| key(number)))
        };
        partial.sign(own).unwrap();
        partial
    }

    /// Every witness of a whole transaction, by the rules.
    fn assert_spends(transaction: &Transaction, partial: &Partial) {
        let digest = partial.digest().unwrap();
        assert_eq!(transaction.witnesses.len(), partial.locks().len());
        for (lock, witness) in partial.locks().into_iter().zip(&transaction.witnesses) {
            let signed = match witness {
                Witness::Key { signature } => vec![(PublicKey(lock.program), *signature)],
                Witness::Policy { policy, signatures, preimages } => {
                    assert_eq!(policy.id().0, lock.program);
                    witness::satisfy(policy, 500, 100, signatures, preimages).unwrap()
                }
            };
            assert!(signed.iter().all(|(key, s)| verify_one(key, digest.as_bytes(), s)));
        }
        assert!(u64::try_from(transaction.encoded_len()).unwrap() <= partial.most_bytes());
    }

    #[test]
    fn three_sign_apart_and_any_order_of_combining_gives_the_same() {
        let (mut one, mut two) = (signed_by(&[1, 4]), signed_by(&[3]));
        assert!(matches!(one.finalize(None), Err(OfflineError::Unsatisfied { .. })));
        one.combine(two.clone()).unwrap();
        two.combine(signed_by(&[4])).unwrap();
        two.combine(signed_by(&[1])).unwrap();
        assert_eq!(one, two);
        let whole = one.finalize(None).unwrap();
        assert_eq!(whole.witnesses.len(), 2, "one witness for two coins of one lock");
        assert_spends(&whole, &one);
        assert_eq!(one.fee().unwrap(), Amount::from_grains(1_000));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let mut partial = shared();
        let digest = partial.digest().unwrap();
        let good = key(1).sign(&digest);
        assert!(partial.add_signatures([(public(1), good)]).is_ok());
        let refused = partial.add_signatures([(public(2), good)]);
        assert!(matches!(refused, Err(OfflineError::BadSignature { .. })));
        let refused = partial.add_signatures([(public(9), key(9).sign(&digest))]);
        assert!(matches!(refused, Err(OfflineError::ForeignKey { .. })));
        assert!(matches!(partial.add_preimage([5; 32]), Err(OfflineError::ForeignPreimage)));
        let nobody = partial.sign(|_| Ok::<_, OfflineError>(None));
        assert!(matches!(nobody, Err(OfflineError::NothingToSign)));

        let Partial { transaction, coins, policies, .. } = shared();
        let policies: Vec<Policy> = policies.into_values().collect();
        let rebuilt = |coins: &[SpentCoin], policies: &[Policy], not_before| {
            let outputs = transaction.outputs.clone();
            let memo = transaction.memo.clone();
            Partial::new(chain(), not_before, coins.to_vec(), outputs, memo, policies.to_vec())
        };
        let other = rebuilt(&coins, &policies, 5).unwrap();
        assert!(matches!(partial.combine(other), Err(OfflineError::Different { .. })));
        assert!(matches!(rebuilt(&coins, &[], 0), Err(OfflineError::NoPolicy { .. })));
        assert!(matches!(rebuilt(&coins[1..2], &policies, 0), Err(OfflineError::Overspends)));
        let mut cheap = coins.clone();
        cheap.retain(|coin| coin.output.lock.version == Lock::KEY);
        cheap[0].output.value = Amount::from_grains(50_000);
        assert!(matches!(rebuilt(&cheap, &policies, 0), Err(OfflineError::ForeignPolicy { .. })));
        let twice = [coins.clone(), coins].concat();
        assert!(matches!(rebuilt(&twice, &policies, 0), Err(OfflineError::Invalid(_))));
    }

    #[test]
    fn a_lie_about_an_amount_gives_a_signature_that_is_good_for_nothing() {
        let mut lied = shared();
        lied.coins[0].output.value = Amount::from_grains(5_000_000);
        let digest = lied.digest().unwrap();
        let signature = key(1).sign(&digest);
        assert!(matches!(
            shared().add_signatures([(public(1), signature)]),
            Err(OfflineError::BadSignature { .. })
        ));
    }

    #[test]
    fn a_refund_waits_for_its_height_and_a_claim_needs_its_secret() {
        let secret = [6; 32];
        let terms = policy::htlc(public(1), public(2), sha256(&secret), Policy::After(400));
        let terms = terms.unwrap();
        let coins = vec![coin(1, Lock::policy(terms.id()))];
        let pay = Output { value: Amount::from_grains(9_000), lock: Lock::key(public(9)) };
        let make = |not_before| {
            let (coins, policies) = (coins.clone(), vec![terms.clone()]);
            Partial::new(chain(), not_before, coins, vec![pay], Vec::new(), policies).unwrap()
        };
        let by = |partial: &mut Partial, number: u8| {
            let own = |wanted: &PublicKey| {
                Ok::<_, OfflineError>((public(number) == *wanted).then(|| key(number)))
            };
            partial.sign(own).unwrap();
        };
        let mut refund = make(0);
        by(&mut refund, 2);
        assert!(matches!(refund.finalize(None), Err(OfflineError::Unsatisfied { .. })));
        assert!(refund.finalize(Some(399)).is_err());
        assert_spends(&refund.finalize(Some(400)).unwrap(), &refund);
        let mut dated = make(400);
        by(&mut dated, 2);
        assert_spends(&dated.finalize(None).unwrap(), &dated);
        let mut claim = make(0);
        by(&mut claim, 1);
        assert!(claim.finalize(None).is_err());
        claim.add_preimage(secret).unwrap();
        assert_spends(&claim.finalize(None).unwrap(), &claim);
    }
}
