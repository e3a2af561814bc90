//! Many headers at a time: SHA-256 twice over 80 bytes (PROTOCOL.md §4), in the lanes of vector
//! registers.
//!
//! A header's first 64 bytes hold no nonce: they are compressed once for all, and so is whatever
//! else of the work does not depend on it ([`Series`]). A [`Kernel`] does the rest, for as many
//! nonces at once as its registers have lanes. All kernels give the same answers;
//! [`Kernel::fastest`] chooses by what this processor can do.
//!
//! It must not know what a header means, nor threads: 80 bytes, a target and a range of nonces
//! come in, a nonce goes out.
//!
//! **This is the only crate of the project that holds unsafe code**, and it holds one kind: a call
//! of a function that is compiled for instructions which not every processor has. Such a function
//! is reached through a [`Kernel`] alone, and a kernel is handed out only after the processor was
//! asked for each of its instructions (`Kernel::available`). Inside these functions all is safe:
//! no pointer is read or written, vectors are made of numbers and give numbers back.
//! `tests/differential.rs` holds every kernel against the `sha2` crate's plain interface.
//!
//! Reading order: `sha256.rs` (the hash in plain words), `series.rs` (what is done once), `lib.rs`
//! (the search), then `x86/`: `wide.rs` is the same code for sixteen lanes (`avx512.rs`) and for
//! eight (`avx2.rs`), `sha_ni.rs` interleaves streams of the processor's own SHA instructions.

mod portable;
mod series;
mod sha256;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use series::Series;

/// A way to try nonces. The value is the proof that this processor can run it.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    name: &'static str,
    /// Nonces at a time, at most 32.
    lanes: u32,
    candidates: Candidates,
}

/// Bit `i` of the answer is set where the highest word of the hash with nonce `first + i`
/// (wrapping) is at most the target's. Bits from the number of lanes on are 0.
///
/// # Safety
/// The processor has the instructions that the function is compiled for.
type Candidates = unsafe fn(series: &Series, first: u32) -> u32;

impl Kernel {
    /// By the `sha2` crate, one header after the other: for every processor, and what the others
    /// are measured against.
    pub const PORTABLE: Self =
        Self { name: "plain sha2", lanes: portable::LANES, candidates: portable::candidates };

    /// All that this processor can run, the fastest first. The last is [`Kernel::PORTABLE`].
    pub fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use x86::{avx2, avx512, sha_ni};
            // Each list is that of the `target_feature` attributes in the module.
            if is_x86_feature_detected!("avx512f") {
                let (lanes, candidates) = (avx512::LANES, avx512::candidates as Candidates);
                kernels.push(Self { name: "AVX-512", lanes, candidates });
            }
            if is_x86_feature_detected!("sha")
                && is_x86_feature_detected!("sse4.1")
                && is_x86_feature_detected!("ssse3")
            {
                let (lanes, candidates) = (sha_ni::LANES, sha_ni::candidates as Candidates);
                kernels.push(Self { name: "SHA-NI", lanes, candidates });
            }
            if is_x86_feature_detected!("avx2") {
                let (lanes, candidates) = (avx2::LANES, avx2::candidates as Candidates);
                kernels.push(Self { name: "AVX2", lanes, candidates });
            }
        }
        kernels.push(Self::PORTABLE);
        kernels
    }

    /// The best one for this processor.
    pub fn fastest() -> Self {
        Self::available().first().copied().unwrap_or(Self::PORTABLE)
    }

    /// What people call it, such as `AVX-512`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How many nonces it tries at a time.
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }

    /// The first of `count` nonces, from `first` on and wrapping, whose header meets its target.
    pub fn find(&self, series: &Series, first: u32, count: u32) -> Option<u32> {
        let mut tried = 0;
        while tried < count {
            let from = first.wrapping_add(tried);
            let wanted = self.lanes.min(count - tried);
            // SAFETY: there is a `Kernel` only of functions that `available` asked the processor
            // for, or that need nothing (`PORTABLE`); its fields are private to this file.
            #[expect(unsafe_code, reason = "proved above")]
            let candidates = unsafe { (self.candidates)(series, from) };
            // One of 2^32 at the difficulty of Bitcoin's beginning, all of them at none.
            let mut left = candidates & (u32::MAX >> (32 - wanted));
            while left != 0 {
                let nonce = from.wrapping_add(left.trailing_zeros());
                if series.is_met_by(nonce) {
                    return Some(nonce);
                }
                left &= left - 1;
            }
            tried += wanted;
        }
        None
    }
}
