//! A count is only a claim: what is set aside for it is bounded by the bytes that came with it.

use allocation_counter::measure;
use ashlar_primitives::{
    Block, Coinbase, Decode, DecodeError, Policy, Transaction, Witness,
    compact::CompactBlock,
    wire::{Answer, MAX_ANSWER_BYTES, Request, decode_batch, tag},
};

/// Bytes set aside at once, at most, while a lie is read.
const SMALL: u64 = 1_024;

fn peak_bytes<T>(decode: impl FnOnce() -> Result<T, DecodeError>) -> u64 {
    let mut refused = false;
    let peak = measure(|| refused = decode().is_err()).bytes_max;
    assert!(refused, "a lie must not decode");
    peak
}

/// The ten bytes of a liar: `head`, then counts as high as they go.
fn claim(head: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.resize(head.len().max(10), 0xff);
    bytes
}

#[test]
fn ten_bytes_that_claim_much_cost_little() {
    let many = claim(&[]);
    assert!(peak_bytes(|| decode_batch(&many)) < SMALL);
    assert!(peak_bytes(|| Transaction::from_bytes(&claim(&[1, 0, 0, 0, 0]))) < SMALL);
    assert!(peak_bytes(|| Witness::from_bytes(&claim(&[1, 3, 0, 0, 0, 0]))) < SMALL);
    assert!(peak_bytes(|| Policy::from_bytes(&claim(&[5, 1, 16]))) < SMALL);
    for tag in tag::STATUS..=tag::TRANSACTIONS {
        let payload = claim(&[tag]);
        assert!(peak_bytes(|| Request::from_payload(&payload)) < SMALL, "request {tag}");
        assert!(peak_bytes(|| Answer::from_payload(&payload, tag, u32::MAX)) < SMALL, "{tag}");
    }
}

#[test]
fn fixed_parts_before_a_count_change_nothing() {
    let after = |zeros: usize| claim(&vec![0; zeros]).into_iter().chain([0xff; 4]).collect();
    let [coinbase, block, ids, prefilled]: [Vec<u8>; 4] =
        [37, 80 + 41, 80 + 41 + 8, 133].map(after);
    assert!(peak_bytes(|| Coinbase::from_bytes(&coinbase)) < SMALL);
    assert!(peak_bytes(|| Block::from_bytes(&block)) < SMALL);
    assert!(peak_bytes(|| CompactBlock::from_bytes(&ids)) < SMALL);
    assert!(peak_bytes(|| CompactBlock::from_bytes(&prefilled)) < SMALL);
}

/// An answer as long as may be, whose count is as high as its length lets through, and whose
/// very first item is wrong.
#[test]
fn a_long_lie_costs_what_it_weighs() {
    let mut payload = vec![0xff; 1 + MAX_ANSWER_BYTES];
    payload[0] = tag::BLOCK_TRANSACTIONS;
    let count = u32::try_from(MAX_ANSWER_BYTES / Transaction::MIN_LEN - 1).unwrap();
    payload[1..5].copy_from_slice(&count.to_le_bytes());
    let peak = peak_bytes(|| Answer::from_payload(&payload, tag::BLOCK_TRANSACTIONS, 0));
    assert!(peak <= u64::try_from(MAX_ANSWER_BYTES).unwrap(), "{peak}");
}
