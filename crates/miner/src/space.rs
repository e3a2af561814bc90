//! Which headers are tried: all nonces, then all nonces again with another version.
//!
//! A header has 32 bits of nonce and, in its version, 16 that are free for miners (PROTOCOL.md §4).
//! Together they are a line of 2^48 positions that starts at the header as given, so that threads
//! can share it by taking turns. A fast machine walks it in a month; work is renewed within seconds.

use ashlar_primitives::{Encode as _, Header};
use ashlar_sha256d::{Kernel, Series};

/// Headers that one piece of work has: 2^32 nonces for each of 2^16 versions.
pub const SPACE: u64 = 1 << 48;

/// The bits of a version that miners may roll, 13 to 28 (§4).
const ROLLED_BITS: u32 = 0x1fff_e000;
const ROLLED_SHIFT: u32 = 13;

/// The header at a position of the line: position 0 is `header` itself, nonces and versions go on
/// from its own and wrap. `None` past the end.
pub(crate) fn header_at(header: &Header, position: u64) -> Option<Header> {
    if position >= SPACE {
        return None;
    }
    // Below 2^16 and 2^32: nothing is cut off.
    let (roll, step) = ((position >> 32) as u32, position as u32);
    let rolled = (header.version >> ROLLED_SHIFT).wrapping_add(roll) << ROLLED_SHIFT;
    Some(Header {
        version: (header.version & !ROLLED_BITS) | (rolled & ROLLED_BITS),
        nonce: header.nonce.wrapping_add(step),
        ..*header
    })
}

/// Tries the `count` headers from `position` on, which must not cross into another version.
pub(crate) fn scan(
    header: &Header,
    target: &[u8; 32],
    position: u64,
    count: u32,
) -> Option<Header> {
    let first = header_at(header, position)?;
    let mut bytes = [0; Header::LEN];
    bytes.copy_from_slice(&first.to_bytes());
    let series = Series::new(&bytes, target);
    let nonce = Kernel::fastest().find(&series, first.nonce, count)?;
    Some(Header { nonce, ..first })
}

/// Searches on this thread: for `generatetoaddress` on trivial targets. Tries at most `max_tries`
/// headers from the given one on, first nonces, which wrap, then rolled versions.
///
/// `target`: a little-endian number as bytes, highest first; ids at or below it are found.
pub fn search(header: Header, target: &[u8; 32], max_tries: u64) -> Option<Header> {
    const STEP: u64 = 1 << 24;
    let end = max_tries.min(SPACE);
    // A whole number of steps makes a version.
    (0..end).step_by(STEP as usize).find_map(|position| {
        let count = STEP.min(end - position) as u32;
        scan(&header, target, position, count)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use ashlar_primitives::{BlockId, MerkleRoot};

    use super::*;

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

    fn header(version: u32, nonce: u32) -> Header {
        let (parent, merkle_root) = (BlockId([1; 32]), MerkleRoot([2; 32]));
        Header { version, parent, merkle_root, time: 3, bits: 0x207f_ffff, nonce }
    }

    #[test]
    fn the_line_starts_at_the_header_and_rolls_only_what_is_free() {
        let start = header(0x2000_0000, 7);
        assert_eq!(header_at(&start, 0), Some(start));
        assert_eq!(header_at(&start, 5), Some(header(0x2000_0000, 12)));
        assert_eq!(header_at(&start, (1 << 32) - 1), Some(header(0x2000_0000, 6)), "nonces wrap");
        assert_eq!(header_at(&start, 1 << 32), Some(header(0x2000_2000, 7)));
        assert_eq!(header_at(&start, SPACE - 1), Some(header(0x3fff_e000, 6)));
        assert_eq!(header_at(&start, SPACE), None);
        assert_eq!(header_at(&start, u64::MAX), None);
        let rolled = header(0x3fff_e000, 0);
        assert_eq!(header_at(&rolled, 1 << 32), Some(header(0x2000_0000, 0)), "versions wrap");
        let versions: BTreeSet<u32> = (0..1 << 16)
            .filter_map(|roll: u64| header_at(&start, roll << 32))
            .map(|header| header.version)
            .collect();
        assert_eq!(versions.len(), 1 << 16);
        assert!(versions.iter().all(|version| version & 0xe000_1fff == 0x2000_0000));
    }

    #[test]
    fn search_finds_bitcoins_genesis_from_nearby() {
        let (genesis, target) = bitcoin_genesis();
        let start = Header { nonce: genesis.nonce - 5_000, ..genesis };
        assert_eq!(search(start, &target, 5_001), Some(genesis));
        assert_eq!(search(start, &target, 5_000), None, "one try short");
        assert_eq!(search(genesis, &target, 1), Some(genesis));
        assert_eq!(search(genesis, &target, 0), None);
    }

    #[test]
    fn search_takes_the_first_on_a_trivial_target() {
        let start = header(0x2000_0000, 99);
        assert_eq!(search(start, &[0xff; 32], u64::MAX), Some(start));
        let mut half = [0xff; 32];
        half[0] = 0x7f;
        let found = search(start, &half, 1_000).unwrap();
        assert!(found.id().0[31] < 0x80);
        assert!(
            (start.nonce..found.nonce).all(|nonce| header(0x2000_0000, nonce).id().0[31] >= 0x80)
        );
    }
}
