//! Sixteen lanes: rotations and three-way logic are one instruction each.

use core::arch::x86_64::{
    __m512i as V, _mm512_add_epi32, _mm512_cmple_epu32_mask, _mm512_ror_epi32, _mm512_set1_epi32,
    _mm512_setr_epi32, _mm512_srli_epi32, _mm512_ternarylogic_epi32,
};

use crate::{
    series::Series,
    sha256::{self, DIGEST_BITS, END, HEADER_BITS, INITIAL, K},
};

pub(crate) const LANES: u32 = 16;

/// Truth tables of three bits, the answer for 111 at the top.
const XOR: i32 = 0x96;
const CHOICE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

wide_kernel!("avx512f");

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(x: u32) -> V {
    _mm512_set1_epi32(x.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lanes() -> V {
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(x: V, y: V) -> V {
    _mm512_add_epi32(x, y)
}

/// `LEFT` is `32 - RIGHT`, for who has no rotation.
#[inline]
#[target_feature(enable = "avx512f")]
fn ror<const RIGHT: i32, const LEFT: i32>(x: V) -> V {
    _mm512_ror_epi32::<RIGHT>(x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn shr<const BITS: u32>(x: V) -> V {
    _mm512_srli_epi32::<BITS>(x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(x: V, y: V, z: V) -> V {
    _mm512_ternarylogic_epi32::<XOR>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn ch(e: V, f: V, g: V) -> V {
    _mm512_ternarylogic_epi32::<CHOICE>(e, f, g)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn maj(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn swap_bytes(x: V) -> V {
    // Both turned by 8 one way and the other: of each two bytes one is right.
    ch(splat(0xff00_ff00), ror::<8, 24>(x), ror::<24, 8>(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn at_most(x: V, bound: V) -> u32 {
    _mm512_cmple_epu32_mask(x, bound).into()
}
