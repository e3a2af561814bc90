//! The hash of as many headers as a register has lanes, written once for registers of any width.
//!
//! Lane `i` of every vector belongs to nonce `first + i`. What is known before the nonce is folded
//! into the numbers of a `Series`, what is known while compiling (paddings, lengths, the initial
//! state) by the compiler. Of the second hash only its last word is computed, which is ready three
//! rounds early: a header that passes by it is hashed again, in full.

/// Repeats code for each number, known while compiling, so that no vector is ever in an array
/// whose place is not known.
macro_rules! unrolled {
    ($at:ident in [$($number:literal)*] $code:block) => {
        $({ const $at: usize = $number; $code })*
    };
}

/// The body of a kernel's module. Takes what its functions are compiled for, and uses what stands
/// in that module: the type `V`, `splat`, `lanes` (0, 1, 2 …), `add`, `ror`, `shr`, `xor3`, `ch`,
/// `maj`, `swap_bytes` and `at_most` (a bit for each lane, the lowest first), all by lanes of 32
/// bits, additions wrapping.
macro_rules! wide_kernel {
    ($features:literal) => {
        /// σ₀.
        #[inline]
        #[target_feature(enable = $features)]
        fn small0(x: V) -> V {
            xor3(ror::<7, 25>(x), ror::<18, 14>(x), shr::<3>(x))
        }

        /// σ₁.
        #[inline]
        #[target_feature(enable = $features)]
        fn small1(x: V) -> V {
            xor3(ror::<17, 15>(x), ror::<19, 13>(x), shr::<10>(x))
        }

        /// One round, with the sum of its constant and its word.
        #[inline]
        #[target_feature(enable = $features)]
        fn round([a, b, c, d, e, f, g, h]: [V; 8], constant_and_word: V) -> [V; 8] {
            let big1 = xor3(ror::<6, 26>(e), ror::<11, 21>(e), ror::<25, 7>(e));
            let big0 = xor3(ror::<2, 30>(a), ror::<13, 19>(a), ror::<22, 10>(a));
            let t1 = add(add(h, constant_and_word), add(big1, ch(e, f, g)));
            let t2 = add(big0, maj(a, b, c));
            [add(t1, t2), a, b, c, add(d, t1), e, f, g]
        }

        /// The word of round 16 or later: of the sixteen before it the oldest, the second, the
        /// tenth and the last but one.
        #[inline]
        #[target_feature(enable = $features)]
        fn next_word(w0: V, w1: V, w9: V, w14: V) -> V {
            add(add(small1(w14), w9), add(small0(w1), w0))
        }

        /// See [`crate::Candidates`].
        #[target_feature(enable = $features)]
        pub(crate) fn candidates(series: &Series, first: u32) -> u32 {
            // The nonce stands in the header with its lowest byte first.
            let nonce = swap_bytes(add(splat(first), lanes()));

            // The header's second block. Rounds 0 to 3 are done but for the nonce.
            let [a, b, c, d, e, f, g, h] = series.after_four;
            let mut s = [
                add(splat(a), nonce),
                splat(b),
                splat(c),
                splat(d),
                add(splat(e), nonce),
                splat(f),
                splat(g),
                splat(h),
            ];
            s = round(s, splat(K[4].wrapping_add(END)));
            unrolled!(I in [5 6 7 8 9 10 11 12 13 14] { s = round(s, splat(K[I])); });
            s = round(s, splat(K[15].wrapping_add(HEADER_BITS)));
            s = round(s, splat(K[16].wrapping_add(series.w16)));
            s = round(s, splat(K[17].wrapping_add(series.w17)));
            // Words 18 to 33: most of what they are made of is 0 or the same for all nonces.
            let w18 = add(small0(nonce), splat(series.w18));
            let w19 = add(nonce, splat(series.w19));
            let w20 = add(small1(w18), splat(END));
            let w21 = small1(w19);
            let w22 = add(small1(w20), splat(HEADER_BITS));
            let w23 = add(small1(w21), splat(series.w16));
            let w24 = add(small1(w22), splat(series.w17));
            let w25 = add(small1(w23), w18);
            let w26 = add(small1(w24), w19);
            let w27 = add(small1(w25), w20);
            let w28 = add(small1(w26), w21);
            let w29 = add(small1(w27), w22);
            let w30 = add(add(small1(w28), w23), splat(sha256::small0(HEADER_BITS)));
            let w31 = add(add(small1(w29), w24), splat(series.w31));
            let w32 = add(add(small1(w30), w25), splat(series.w32));
            let w33 = add(add(small1(w31), w26), add(small0(w18), splat(series.w17)));
            // Word i stands at i modulo 16.
            let mut w = [
                w32, w33, w18, w19, w20, w21, w22, w23, w24, w25, w26, w27, w28, w29, w30, w31,
            ];
            unrolled!(I in [18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33] {
                s = round(s, add(splat(K[I]), w[I % 16]));
            });
            unrolled!(I in [34 35 36 37 38 39 40 41 42 43 44 45 46 47 48
                            49 50 51 52 53 54 55 56 57 58 59 60 61 62 63] {
                w[I % 16] =
                    next_word(w[I % 16], w[(I + 1) % 16], w[(I + 9) % 16], w[(I + 14) % 16]);
                s = round(s, add(splat(K[I]), w[I % 16]));
            });

            // The hash of the hash.
            unrolled!(I in [0 1 2 3 4 5 6 7] { w[I] = add(s[I], splat(series.midstate[I])); });
            unrolled!(I in [0 1 2 3 4 5 6 7] { s[I] = splat(INITIAL[I]); });
            w[8] = splat(END);
            unrolled!(I in [9 10 11 12 13 14] { w[I] = splat(0); });
            w[15] = splat(DIGEST_BITS);
            unrolled!(I in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
                s = round(s, add(splat(K[I]), w[I]));
            });
            unrolled!(I in [16 17 18 19 20 21 22 23 24 25 26 27 28 29 30
                            31 32 33 34 35 36 37 38 39 40 41 42 43 44 45
                            46 47 48 49 50 51 52 53 54 55 56 57 58 59 60] {
                w[I % 16] =
                    next_word(w[I % 16], w[(I + 1) % 16], w[(I + 9) % 16], w[(I + 14) % 16]);
                s = round(s, add(splat(K[I]), w[I % 16]));
            });
            // What is `e` now only moves on, and is `h` at the end of round 63.
            let last = swap_bytes(add(s[4], splat(INITIAL[7])));
            at_most(last, splat(series.target[0]))
        }
    };
}
