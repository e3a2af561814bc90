//! Every kernel that this processor has against SHA-256 by the `sha2` crate's plain interface:
//! whole headers, hashed twice, one at a time.

use ashlar_sha256d::{Kernel, Series};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

const NONCE_AT: usize = 76;

/// Bitcoin's first header, which has our layout.
fn bitcoin_genesis() -> [u8; 80] {
    let mut header = [0; 80];
    header[0] = 1;
    header[36..68].copy_from_slice(&[
        0x3b, 0xa3, 0xed, 0xfd, 0x7a, 0x7b, 0x12, 0xb2, 0x7a, 0xc7, 0x2c, 0x3e, 0x67, 0x76, 0x8f,
        0x61, 0x7f, 0xc8, 0x1b, 0xc3, 0x88, 0x8a, 0x51, 0x32, 0x3a, 0x9f, 0xb8, 0xaa, 0x4b, 0x1e,
        0x5e, 0x4a,
    ]);
    header[68..72].copy_from_slice(&1_231_006_505_u32.to_le_bytes());
    header[72..76].copy_from_slice(&0x1d00_ffff_u32.to_le_bytes());
    header
}

const BITCOIN_NONCE: u32 = 2_083_236_893;

/// The id of a header with a nonce, highest byte first, so that arrays compare as numbers.
fn number(mut header: [u8; 80], nonce: u32) -> [u8; 32] {
    header[NONCE_AT..].copy_from_slice(&nonce.to_le_bytes());
    let mut id: [u8; 32] = Sha256::digest(Sha256::digest(header)).into();
    id.reverse();
    id
}

#[test]
fn bitcoins_genesis_is_found() {
    let header = bitcoin_genesis();
    let mut target = [0; 32];
    target[4..6].fill(0xff);
    assert!(number(header, BITCOIN_NONCE) <= target);
    let series = Series::new(&header, &target);
    for kernel in Kernel::available() {
        let name = kernel.name();
        let found = kernel.find(&series, BITCOIN_NONCE - 3_000, 6_000);
        assert_eq!(found, Some(BITCOIN_NONCE), "{name}");
        assert_eq!(kernel.find(&series, BITCOIN_NONCE - 3_000, 3_000), None, "{name}");
    }
}

#[test]
fn kernels_are_double_sha256() {
    let mut rng = StdRng::seed_from_u64(1);
    let kernels = Kernel::available();
    for _ in 0..400 {
        let mut header = [0; 80];
        rng.fill_bytes(&mut header);
        let first = [rng.random(), u32::MAX - 20, 0][rng.random_range(0..3)];
        let count = rng.random_range(1..70);
        let nonces = || (0..count).map(|step: u32| first.wrapping_add(step));
        let mut numbers: Vec<_> = nonces().map(|nonce| number(header, nonce)).collect();
        numbers.sort_unstable();
        // At an id in the middle, just below it, and at the ends. Each lane's whole hash decides
        // somewhere: a target's first word alone never tells two of these apart.
        let middle = numbers[numbers.len() / 4];
        let mut below = middle;
        let low = below.iter().rposition(|byte| *byte > 0).unwrap();
        below[low] -= 1;
        for target in [numbers[0], middle, below, [0; 32], [0xff; 32]] {
            let expected = nonces().find(|nonce| number(header, *nonce) <= target);
            let series = Series::new(&header, &target);
            for kernel in &kernels {
                let found = kernel.find(&series, first, count);
                assert_eq!(found, expected, "{}: from {first}, {count}", kernel.name());
            }
        }
    }
}

/// Every lane says so where its nonce meets the target: none hides behind an earlier one.
#[test]
fn each_lane_is_heard() {
    let mut rng = StdRng::seed_from_u64(2);
    let mut header = [0; 80];
    rng.fill_bytes(&mut header);
    for kernel in Kernel::available() {
        for nonce in 1_000..1_064 {
            let series = Series::new(&header, &number(header, nonce));
            assert_eq!(kernel.find(&series, nonce, 1), Some(nonce), "{}", kernel.name());
            let expected =
                (1_000..=nonce).find(|other| number(header, *other) <= number(header, nonce));
            assert_eq!(kernel.find(&series, 1_000, 64), expected, "{}", kernel.name());
        }
    }
}

#[test]
fn nothing_is_tried_where_nothing_is_asked() {
    for kernel in Kernel::available() {
        assert_eq!(kernel.find(&Series::new(&[0; 80], &[0xff; 32]), 5, 0), None);
    }
}

#[test]
fn the_plain_one_is_always_there_and_the_last() {
    let kernels = Kernel::available();
    assert_eq!(kernels.last().unwrap().name(), Kernel::PORTABLE.name());
    assert_eq!(kernels[0].name(), Kernel::fastest().name());
}
