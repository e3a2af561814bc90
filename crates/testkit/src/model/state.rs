//! Group 3 of PROTOCOL.md §8, and the state transition: coins, their commitment, money.

use ashlar_consensus::{Params, signature::verify_one};
use ashlar_primitives::{
    Block, BlockId, Coin, Commitment, Decode as _, Encode as _, OutPoint, Output, SigHash,
    Transaction, Txid,
    hash::{double_sha256, tagged_hash},
};
use imbl::OrdMap;

use super::{
    Code,
    body::{MAX_MONEY, sum},
    witness,
};

/// Everything after a block.
#[derive(Clone, Debug)]
pub struct State {
    /// The unspent coins. An ordered map whose clones share what is the same, so that each block
    /// can keep its own.
    pub coins: OrdMap<OutPoint, Coin>,
    /// What coinbases ever claimed, in grains.
    pub claimed: u128,
    /// The 1,024 lanes of §6.
    lanes: Vec<u16>,
}

impl State {
    fn empty() -> Self {
        let lanes = vec![0; 1_024];
        Self { coins: OrdMap::new(), claimed: 0, lanes }
    }

    /// After the genesis block: its coins have height 0 and are no coinbase coins.
    pub fn genesis(block: &Block) -> Self {
        let mut state = Self::empty();
        let txid = Txid(double_sha256(&block.coinbase.to_bytes()));
        state.add_outputs(txid, &block.coinbase.outputs, 0, false);
        state
    }

    /// The state after a child at this height, whose header and body were judged before.
    ///
    /// # Errors
    /// The code of the first rule that is broken.
    pub fn apply(&self, params: &Params, height: u32, block: &Block) -> Result<Self, Code> {
        if block.coinbase.utxo_commitment != self.commitment() {
            return Err("bad-utxo-commitment");
        }
        let mut after = self.clone();
        let mut fees = 0;
        for transaction in &block.transactions {
            fees += check_transaction(params, height, transaction, &after.coins)?;
            for outpoint in &transaction.inputs {
                after.remove(outpoint);
            }
            after.add_outputs(txid(transaction), &transaction.outputs, height, false);
        }
        let claimed = sum(&block.coinbase.outputs);
        if claimed > subsidy(params, height) + fees {
            return Err("coinbase-overpays");
        }
        after.claimed += claimed;
        let coinbase_id = Txid(double_sha256(&block.coinbase.to_bytes()));
        after.add_outputs(coinbase_id, &block.coinbase.outputs, height, true);
        Ok(after)
    }

    /// Outputs of no value make no coin; the others keep their index.
    fn add_outputs(&mut self, txid: Txid, outputs: &[Output], height: u32, is_coinbase: bool) {
        for (index, output) in (0..=u16::MAX).zip(outputs) {
            if output.value.grains() > 0 {
                let (outpoint, coin) =
                    (OutPoint { txid, index }, Coin { output: *output, height, is_coinbase });
                self.change_lanes(&outpoint, &coin, u16::wrapping_add);
                self.coins.insert(outpoint, coin);
            }
        }
    }

    fn remove(&mut self, outpoint: &OutPoint) {
        let coin = self.coins.remove(outpoint).expect("judged to be there");
        self.change_lanes(outpoint, &coin, u16::wrapping_sub);
    }

    fn change_lanes(&mut self, outpoint: &OutPoint, coin: &Coin, change: fn(u16, u16) -> u16) {
        let mut encoding = outpoint.to_bytes();
        encoding.extend(coin.output.to_bytes());
        encoding.extend(coin.height.to_le_bytes());
        encoding.push(u8::from(coin.is_coinbase));
        let mut stream = [0; 2_048];
        blake3::Hasher::new_derive_key("ashlar 2026 utxo coin v1")
            .update(&encoding)
            .finalize_xof()
            .fill(&mut stream);
        for (lane, bytes) in self.lanes.iter_mut().zip(stream.chunks(2)) {
            *lane = change(*lane, u16::from_le_bytes([bytes[0], bytes[1]]));
        }
    }

    /// What a child's coinbase must carry (§6).
    pub fn commitment(&self) -> Commitment {
        let bytes: Vec<u8> = self.lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect();
        Commitment(tagged_hash("ashlar/utxo", &bytes))
    }

    /// [`State::commitment`] made again from the coins alone.
    pub fn commitment_of_coins(&self) -> Commitment {
        let mut again = Self::empty();
        for (outpoint, coin) in &self.coins {
            again.change_lanes(outpoint, coin, u16::wrapping_add);
        }
        again.commitment()
    }
}

/// `initial_subsidy >> ((h − 1) / halving_interval)`, 0 once the shift reaches 64 (§4).
pub fn subsidy(params: &Params, height: u32) -> u128 {
    let shift = (height - 1) / params.halving_interval;
    if shift >= 64 { 0 } else { u128::from(params.initial_subsidy.grains() >> shift) }
}

/// `H(body)` (§3).
pub fn txid(transaction: &Transaction) -> Txid {
    let mut body = Vec::new();
    transaction.encode_body(&mut body);
    Txid(double_sha256(&body))
}

/// The contextual rules of a transaction (§3), each for all inputs before the next, signatures
/// last. Returns the fee in grains.
///
/// # Errors
/// The code of the first rule that is broken.
pub fn check_transaction(
    params: &Params,
    height: u32,
    transaction: &Transaction,
    coins: &OrdMap<OutPoint, Coin>,
) -> Result<u128, Code> {
    if height < transaction.not_before {
        return Err("tx-not-yet-valid");
    }
    let spent = transaction.inputs.iter().map(|outpoint| coins.get(outpoint).copied());
    let spent: Vec<Coin> = spent.collect::<Option<_>>().ok_or("tx-missing-input")?;
    let matures_at = |coin: &Coin| u64::from(coin.height) + u64::from(params.coinbase_maturity);
    if spent.iter().any(|coin| coin.is_coinbase && u64::from(height) < matures_at(coin)) {
        return Err("tx-immature-coinbase");
    }
    let inputs = sum(spent.iter().map(|coin| &coin.output));
    if inputs > MAX_MONEY {
        return Err("tx-bad-input-sum");
    }
    let outputs = sum(&transaction.outputs);
    if inputs < outputs {
        return Err("tx-overspends");
    }
    let signatures = witness::check(height, &transaction.witnesses, &spent)?;
    let digest = digest(&params.chain_id, transaction, &spent);
    if signatures.iter().any(|(key, signature)| !verify_one(key, digest.as_bytes(), signature)) {
        return Err("tx-bad-signature");
    }
    Ok(inputs - outputs)
}

/// What every signature of a transaction signs (§3). `spent` in the order of the inputs.
pub fn digest(chain_id: &BlockId, transaction: &Transaction, spent: &[Coin]) -> SigHash {
    let outputs: Vec<u8> = spent.iter().flat_map(|coin| coin.output.to_bytes()).collect();
    let message =
        [*chain_id.as_bytes(), *txid(transaction).as_bytes(), double_sha256(&outputs)].concat();
    SigHash(tagged_hash("ashlar/sighash", &message))
}

/// A transaction on its own, in a block of this height out of these coins: decoded, then judged by
/// all its rules in the order of §8. Returns the fee in grains.
///
/// # Errors
/// The code of the first rule that is broken.
pub fn judge_transaction(
    params: &Params,
    height: u32,
    bytes: &[u8],
    coins: &OrdMap<OutPoint, Coin>,
) -> Result<u128, Code> {
    let transaction = Transaction::from_bytes(bytes).map_err(|_| "tx-malformed")?;
    super::body::check_transaction(&transaction)?;
    check_transaction(params, height, &transaction, coins)
}
