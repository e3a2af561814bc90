//! A look at RocksDB's logs before RocksDB reads them: it has a way to read one for ever.
//!
//! Its log (`*.log`) and its bookkeeping (`MANIFEST-*`) are blocks of 32 KiB of records: CRC-32C u32
//! LE, length u16 LE, type u8, payload. Types of *recycled* logs after a first record of another kind
//! are refused by its reader without a step forward, so that it meets the same record again and
//! again (`log::Reader::ReadPhysicalRecord`, seen in 11.8.1). We recycle no logs: where such a type
//! stands, a bit has rotted, and the database is refused before it is opened.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

const BLOCK_BYTES: usize = 32_768;
const HEADER_BYTES: usize = 7;

/// Types that only recycled logs have.
const fn is_recycled(record_type: u8) -> bool {
    matches!(record_type, 5..=8 | 11 | 131)
}

/// The first log in `directory` that RocksDB would not come to the end of.
pub(crate) fn endless(directory: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_log = name.starts_with("MANIFEST-") || name.ends_with(".log");
        if is_log && is_endless(&path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn is_endless(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    loop {
        block.clear();
        file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(false);
        }
        if holds_recycled(&block) {
            return Ok(true);
        }
    }
}

/// Whether the reader comes to a record of a recycled log. It leaves a block at the first record
/// that is cut or damaged, which torn writes at the end of a log are.
fn holds_recycled(block: &[u8]) -> bool {
    let mut at = 0;
    while let Some((header, rest)) =
        block.get(at..).and_then(|rest| rest.split_first_chunk::<HEADER_BYTES>())
    {
        let [.., low, high, record_type] = *header;
        let length = usize::from(u16::from_le_bytes([low, high]));
        if is_recycled(record_type) {
            // Sums are compared only now, so that a sound log costs no more than reading it.
            return are_whole(&block[..at]);
        }
        if length > rest.len() || (record_type == 0 && length == 0) {
            return false;
        }
        at += HEADER_BYTES + length;
    }
    false
}

/// Whether each of these records, whose lengths fit, is what was written.
fn are_whole(mut records: &[u8]) -> bool {
    while let Some((header, rest)) = records.split_first_chunk::<HEADER_BYTES>() {
        let [a, b, c, d, low, high, record_type] = *header;
        let length = usize::from(u16::from_le_bytes([low, high]));
        let Some((payload, after)) = rest.split_at_checked(length) else { return false };
        let sum = crc32c(std::iter::once(&record_type).chain(payload));
        if masked(sum) != u32::from_le_bytes([a, b, c, d]) {
            return false;
        }
        records = after;
    }
    true
}

/// As RocksDB stores a sum.
const fn masked(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 };
    let sum = bytes.fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |s, _| step(s)));
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(record_type: u8, payload: &[u8]) -> Vec<u8> {
        let sum = masked(crc32c(std::iter::once(&record_type).chain(payload)));
        let length = u16::try_from(payload.len()).unwrap();
        [&sum.to_le_bytes()[..], &length.to_le_bytes()[..], &[record_type][..], payload].concat()
    }

    #[test]
    fn the_sum_is_the_known_one() {
        assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283);
    }

    #[test]
    fn only_what_the_reader_would_meet_is_endless() {
        let sound = [record(1, b"one"), record(2, b"two"), record(4, b"three")].concat();
        assert!(!holds_recycled(&sound));
        let first = HEADER_BYTES + 3;
        for recycled in [5, 6, 7, 8, 11, 131] {
            let mut rotten = sound.clone();
            rotten[first + 6] = recycled;
            assert!(holds_recycled(&rotten), "{recycled}");
            // The reader stops before: the record in front of it is damaged, too.
            rotten[HEADER_BYTES] ^= 1;
            assert!(!holds_recycled(&rotten), "{recycled}");
        }
        for end in 0..sound.len() {
            assert!(!holds_recycled(&sound[..end]), "cut at {end}");
        }
        assert!(!holds_recycled(&[0; 100]) && !holds_recycled(&[]));
    }
}
