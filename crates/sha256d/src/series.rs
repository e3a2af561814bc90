//! What headers that differ in their nonce alone have in common.

use crate::sha256::{
    END, HEADER_BITS, INITIAL, K, bytes_of, compress, round, second, small0, small1,
};

/// 2^32 headers, one for each nonce, and the target that they are held against: all work done that
/// is the same for all of them.
#[derive(Clone, Debug)]
pub struct Series {
    /// The state after the first 64 bytes.
    pub(crate) midstate: [u32; 8],
    /// The three words of the second block before the nonce.
    pub(crate) words: [u32; 3],
    /// The target, highest word first.
    pub(crate) target: [u32; 8],
    /// The state after rounds 0 and 1 of the second block.
    pub(crate) after_two: [u32; 8],
    /// The state after round 3, to whose `a` and `e` the nonce's word is still to be added.
    pub(crate) after_four: [u32; 8],
    /// Of the words for rounds 16, 17, 18, 19, 31 and 32 what does not depend on the nonce: all of
    /// the first two.
    pub(crate) w16: u32,
    pub(crate) w17: u32,
    pub(crate) w18: u32,
    pub(crate) w19: u32,
    pub(crate) w31: u32,
    pub(crate) w32: u32,
}

impl Series {
    /// Of an encoded header (PROTOCOL.md §4), whose last four bytes, the nonce, do not matter, and
    /// a target as bytes, highest first: a header whose id, read as a little-endian number, is at
    /// most the target meets it (§5).
    pub fn new(header: &[u8; 80], target: &[u8; 32]) -> Self {
        let (chunks, _) = header.as_chunks::<4>();
        let mut block = [0; 16];
        for (word, bytes) in block.iter_mut().zip(chunks) {
            *word = u32::from_be_bytes(*bytes);
        }
        let midstate = compress(INITIAL, &bytes_of(&block));
        let [w0, w1, w2] = [16, 17, 18].map(|at: usize| u32::from_be_bytes(chunks[at]));

        let after_two = [w0, w1]
            .iter()
            .zip(K)
            .fold(midstate, |state, (word, constant)| round(state, constant.wrapping_add(*word)));
        let after_three = round(after_two, K[2].wrapping_add(w2));
        let after_four = round(after_three, K[3]);

        // w[i] = σ₁(w[i-2]) + w[i-7] + σ₀(w[i-15]) + w[i-16], where w[4] is the end's bit, w[15]
        // the length, and all words between are 0.
        let w16 = small0(w1).wrapping_add(w0);
        let w17 = small1(HEADER_BITS).wrapping_add(small0(w2)).wrapping_add(w1);
        let w18 = small1(w16).wrapping_add(w2);
        let w19 = small1(w17).wrapping_add(small0(END));
        let w31 = small0(w16).wrapping_add(HEADER_BITS);
        let w32 = small0(w17).wrapping_add(w16);

        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(target.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        Self {
            midstate,
            words: [w0, w1, w2],
            target: words,
            after_two,
            after_four,
            w16,
            w17,
            w18,
            w19,
            w31,
            w32,
        }
    }

    /// The state that is left of the header with a nonce after both hashes.
    pub(crate) fn hash(&self, nonce: u32) -> [u32; 8] {
        let [w0, w1, w2] = self.words;
        let mut words = [0; 16];
        words[..5].copy_from_slice(&[w0, w1, w2, nonce.swap_bytes(), END]);
        words[15] = HEADER_BITS;
        second(compress(self.midstate, &bytes_of(&words)))
    }

    /// Whether the header with a nonce meets the target. The last byte of the last word of a hash
    /// is the highest of its number.
    pub(crate) fn is_met_by(&self, nonce: u32) -> bool {
        self.hash(nonce).iter().rev().map(|word| word.swap_bytes()).le(self.target)
    }
}
