//! Trying nonces as fast as can be: SHA-256 twice over 80 bytes (PROTOCOL.md §4).
//!
//! The first 64 bytes of a header hold no nonce: they are compressed once, and every try costs two
//! compressions instead of three. A [`Kernel`] is one way to do the rest. All kernels give the
//! same answers; [`fastest`] chooses by what this processor can do.

use core::slice;

use ashlar_primitives::{Encode, Header};
use sha2::block_api::compress256;

/// Tries `count` nonces from `first` on, wrapping. Returns the first that meets the target.
pub(crate) type Kernel = fn(midstate: &Midstate, first: u32, count: u32) -> Option<u32>;

/// The best kernel for this processor.
pub(crate) fn fastest() -> Kernel {
    portable
}

/// The initial state of SHA-256 (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

const BLOCK_LEN: usize = 64;
/// Where the nonce stands in the header's second block: its bytes 76 to 79.
const NONCE_AT: usize = Header::LEN - 4 - BLOCK_LEN;

/// All that does not change from nonce to nonce.
#[derive(Clone, Debug)]
pub(crate) struct Midstate {
    /// After the header's first 64 bytes.
    state: [u32; 8],
    /// Its last 16 bytes, padded; the nonce is filled in.
    tail: [u8; BLOCK_LEN],
    /// The target as words, highest first.
    target: [u32; 8],
}

impl Midstate {
    /// Of a header, whose nonce does not matter, and a target as bytes, highest first.
    pub(crate) fn new(header: &Header, target: &[u8; 32]) -> Self {
        let bytes = header.to_bytes();
        let (first, rest) = bytes.split_at(BLOCK_LEN);
        let mut block = [0; BLOCK_LEN];
        block.copy_from_slice(first);
        let mut state = INITIAL;
        compress256(&mut state, slice::from_ref(&block));
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(target.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        Self { state, tail: padded(rest, Header::LEN), target: words }
    }

    /// Whether a hash, as SHA-256 leaves it in its state, meets the target. Ids are read as
    /// little-endian numbers: the last byte of the last word is the highest.
    fn is_met_by(&self, hash: &[u32; 8]) -> bool {
        hash.iter().rev().map(|word| word.swap_bytes()).le(self.target)
    }
}

/// The end of a message of `message_len` bytes, with SHA-256's padding.
fn padded(end: &[u8], message_len: usize) -> [u8; BLOCK_LEN] {
    let mut block = [0; BLOCK_LEN];
    block[..end.len()].copy_from_slice(end);
    block[end.len()] = 0x80;
    block[BLOCK_LEN - 8..].copy_from_slice(&(message_len as u64 * 8).to_be_bytes());
    block
}

/// By the `sha2` crate, which uses the processor's SHA instructions where it has them.
fn portable(midstate: &Midstate, first: u32, count: u32) -> Option<u32> {
    let mut tail = midstate.tail;
    let mut digest = padded(&[0; 32], 32);
    (0..count).map(|step| first.wrapping_add(step)).find(|nonce| {
        tail[NONCE_AT..NONCE_AT + 4].copy_from_slice(&nonce.to_le_bytes());
        let mut state = midstate.state;
        compress256(&mut state, slice::from_ref(&tail));
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        let mut state = INITIAL;
        compress256(&mut state, slice::from_ref(&digest));
        midstate.is_met_by(&state)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use ashlar_primitives::{BlockId, MerkleRoot};
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    /// Every kernel that this processor can run, by name. New ones are added here.
    const KERNELS: &[(&str, Kernel)] = &[("portable", portable)];

    /// The header of Bitcoin's first block, which has our layout, and its target.
    pub(crate) fn bitcoin_genesis() -> (Header, [u8; 32]) {
        let header = Header {
            version: 1,
            parent: BlockId::ZERO,
            merkle_root: "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
                .parse()
                .unwrap(),
            time: 1_231_006_505,
            bits: 0x1d00_ffff,
            nonce: 2_083_236_893,
        };
        let mut target = [0; 32];
        target[4..6].fill(0xff);
        (header, target)
    }

    #[test]
    fn bitcoins_genesis_is_what_it_is() {
        let (header, target) = bitcoin_genesis();
        assert_eq!(
            header.id().to_string(),
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
        );
        for (name, kernel) in KERNELS {
            let midstate = Midstate::new(&header, &target);
            let found = kernel(&midstate, header.nonce - 3_000, 6_000);
            assert_eq!(found, Some(header.nonce), "{name}");
        }
    }

    /// Highest byte first, so that arrays compare as numbers.
    fn number(id: BlockId) -> [u8; 32] {
        let mut bytes = id.0;
        bytes.reverse();
        bytes
    }

    #[test]
    fn kernels_are_double_sha256() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..300 {
            let header = Header {
                version: rng.random(),
                parent: BlockId(rng.random()),
                merkle_root: MerkleRoot(rng.random()),
                time: rng.random(),
                bits: rng.random(),
                nonce: *[rng.random(), u32::MAX - 20, 0].get(rng.random_range(0..3_usize)).unwrap(),
            };
            let count = rng.random_range(1..70);
            let id = |nonce: u32| number(Header { nonce, ..header }.id());
            let nonces = || (0..count).map(|step| header.nonce.wrapping_add(step));
            // Around each id: at it, just below it, and far below all.
            let mut ids: Vec<[u8; 32]> = nonces().map(id).collect();
            ids.sort_unstable();
            let mut below = ids[ids.len() / 4];
            let low = below.iter().rposition(|byte| *byte > 0).unwrap();
            below[low] -= 1;
            for target in [ids[0], ids[ids.len() / 4], below, [0; 32], [0xff; 32]] {
                let expected = nonces().find(|nonce| id(*nonce) <= target);
                let midstate = Midstate::new(&header, &target);
                for (name, kernel) in KERNELS {
                    assert_eq!(kernel(&midstate, header.nonce, count), expected, "{name}");
                }
                assert_eq!(fastest()(&midstate, header.nonce, count), expected);
            }
        }
    }

    #[test]
    fn nothing_is_tried_where_nothing_is_asked() {
        let (header, _) = bitcoin_genesis();
        for (name, kernel) in KERNELS {
            assert_eq!(kernel(&Midstate::new(&header, &[0xff; 32]), 5, 0), None, "{name}");
        }
    }
}
