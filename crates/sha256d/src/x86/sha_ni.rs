//! The processor's own SHA instructions, on several headers in turn: one round of one header waits
//! for the one before it, and the others' fill that time.
//!
//! A state is two vectors, `abef` and `cdgh` in the instructions' own order, the highest lane named
//! first; words are four to a vector, the first in the lowest lane.

use core::arch::x86_64::{
    __m128i as V, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_cvtsi128_si32,
    _mm_insert_epi32, _mm_set_epi32, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32,
    _mm_sha256rnds2_epu32, _mm_shuffle_epi32,
};

use crate::{
    series::Series,
    sha256::{DIGEST_BITS, END, HEADER_BITS, INITIAL, K},
};

pub(crate) const LANES: u32 = STREAMS as u32;
/// Headers in turn.
const STREAMS: usize = 4;

/// One vector of each header.
type Streams = [V; STREAMS];

/// Four words, the first in the lowest lane.
#[inline]
#[target_feature(enable = "sse2")]
fn words([w0, w1, w2, w3]: [u32; 4]) -> V {
    _mm_set_epi32(w3.cast_signed(), w2.cast_signed(), w1.cast_signed(), w0.cast_signed())
}

/// A state as `abef` and `cdgh`.
#[inline]
#[target_feature(enable = "sse2")]
fn halves([a, b, c, d, e, f, g, h]: [u32; 8]) -> (V, V) {
    (words([f, e, b, a]), words([h, g, d, c]))
}

/// The constants of rounds `4 * at` to `4 * at + 3`.
#[inline]
#[target_feature(enable = "sse2")]
fn constants(at: usize) -> V {
    words([K[4 * at], K[4 * at + 1], K[4 * at + 2], K[4 * at + 3]])
}

/// Two rounds, by the two lower words: the state moves by two places, so that what was `abef`
/// becomes `cdgh`.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn two_rounds(abef: &mut Streams, cdgh: &mut Streams, words: &Streams) {
    for at in 0..STREAMS {
        let next = _mm_sha256rnds2_epu32(cdgh[at], abef[at], words[at]);
        (cdgh[at], abef[at]) = (abef[at], next);
    }
}

/// The two upper words in the place of the lower ones.
#[inline]
#[target_feature(enable = "sse2")]
fn upper(words: &Streams) -> Streams {
    let mut upper = *words;
    for words in &mut upper {
        *words = _mm_shuffle_epi32::<0b1110>(*words);
    }
    upper
}

/// Words with the constants of their rounds.
#[inline]
#[target_feature(enable = "sse2")]
fn with_constants(words: &Streams, at: usize) -> Streams {
    let mut sums = *words;
    for words in &mut sums {
        *words = _mm_add_epi32(*words, constants(at));
    }
    sums
}

/// Rounds `4 * at` to `4 * at + 3`.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn four_rounds(abef: &mut Streams, cdgh: &mut Streams, words: &Streams, at: usize) {
    let sums = with_constants(words, at);
    two_rounds(abef, cdgh, &sums);
    two_rounds(abef, cdgh, &upper(&sums));
}

/// The next four words, in the place of the oldest of the last sixteen.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn next_words(oldest: &mut Streams, older: &Streams, newer: &Streams, newest: &Streams) {
    for at in 0..STREAMS {
        let begun = _mm_sha256msg1_epu32(oldest[at], older[at]);
        let begun = _mm_add_epi32(begun, _mm_alignr_epi8::<4>(newest[at], newer[at]));
        oldest[at] = _mm_sha256msg2_epu32(begun, newest[at]);
    }
}

/// See [`crate::Candidates`].
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(crate) fn candidates(series: &Series, first: u32) -> u32 {
    let [w0, w1, w2] = series.words;
    let mut w = [
        [words([w0, w1, w2, 0]); STREAMS],
        [words([END, 0, 0, 0]); STREAMS],
        [words([0; 4]); STREAMS],
        [words([0, 0, 0, HEADER_BITS]); STREAMS],
    ];
    let mut nonce = first;
    for words in &mut w[0] {
        *words = _mm_insert_epi32::<3>(*words, nonce.swap_bytes().cast_signed());
        nonce = nonce.wrapping_add(1);
    }

    // The header's second block, whose first two rounds are done.
    let (abef, cdgh) = halves(series.after_two);
    let (mut abef, mut cdgh) = ([abef; STREAMS], [cdgh; STREAMS]);
    two_rounds(&mut abef, &mut cdgh, &upper(&with_constants(&w[0], 0)));
    unrolled!(I in [1 2 3] { four_rounds(&mut abef, &mut cdgh, &w[I], I); });
    unrolled!(I in [4 5 6 7 8 9 10 11 12 13 14 15] {
        let [w0, w1, w2, w3] = w;
        let mut next = w0;
        next_words(&mut next, &w1, &w2, &w3);
        w = [w1, w2, w3, next];
        four_rounds(&mut abef, &mut cdgh, &next, I);
    });

    // The hash of the hash.
    let (mid_abef, mid_cdgh) = halves(series.midstate);
    for at in 0..STREAMS {
        let feba = _mm_shuffle_epi32::<0b00_01_10_11>(_mm_add_epi32(abef[at], mid_abef));
        let dchg = _mm_shuffle_epi32::<0b10_11_00_01>(_mm_add_epi32(cdgh[at], mid_cdgh));
        w[0][at] = _mm_blend_epi16::<0xf0>(feba, dchg);
        w[1][at] = _mm_alignr_epi8::<8>(dchg, feba);
    }
    w[2] = [words([END, 0, 0, 0]); STREAMS];
    w[3] = [words([0, 0, 0, DIGEST_BITS]); STREAMS];
    let (initial_abef, initial_cdgh) = halves(INITIAL);
    (abef, cdgh) = ([initial_abef; STREAMS], [initial_cdgh; STREAMS]);
    unrolled!(I in [0 1 2 3] { four_rounds(&mut abef, &mut cdgh, &w[I], I); });
    unrolled!(I in [4 5 6 7 8 9 10 11 12 13 14] {
        let [w0, w1, w2, w3] = w;
        let mut next = w0;
        next_words(&mut next, &w1, &w2, &w3);
        w = [w1, w2, w3, next];
        four_rounds(&mut abef, &mut cdgh, &next, I);
    });
    let [mut next, w1, w2, w3] = w;
    next_words(&mut next, &w1, &w2, &w3);
    two_rounds(&mut abef, &mut cdgh, &with_constants(&next, 15));

    // What is `f` now, after round 61, is `h` at the end of round 63.
    let mut found = 0;
    for (lane, abef) in abef.into_iter().enumerate() {
        let last = _mm_cvtsi128_si32(abef).cast_unsigned().wrapping_add(INITIAL[7]);
        found |= u32::from(last.swap_bytes() <= series.target[0]) << lane;
    }
    found
}
