//! One header after the other, by the `sha2` crate, which uses the processor's SHA instructions
//! where it has them.

use crate::{
    series::Series,
    sha256::{DIGEST_BITS, END, HEADER_BITS, INITIAL, bytes_of, compress},
};

/// Nonces that are tried in one call.
pub(crate) const LANES: u32 = 16;

/// See [`crate::Candidates`]. The plain loop: only what the midstate holds is done once.
pub(crate) fn candidates(series: &Series, first: u32) -> u32 {
    let [w0, w1, w2] = series.words;
    let mut tail = [0; 16];
    (tail[0], tail[1], tail[2], tail[4], tail[15]) = (w0, w1, w2, END, HEADER_BITS);
    let mut tail = bytes_of(&tail);
    let mut digest = [0; 16];
    (digest[8], digest[15]) = (END, DIGEST_BITS);
    let mut digest = bytes_of(&digest);
    let mut found = 0;
    for lane in 0..LANES {
        tail[12..16].copy_from_slice(&first.wrapping_add(lane).to_le_bytes());
        let hash = compress(series.midstate, &tail);
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(hash) {
            *bytes = word.to_be_bytes();
        }
        let hash = compress(INITIAL, &digest);
        found |= u32::from(hash[7].swap_bytes() <= series.target[0]) << lane;
    }
    found
}
