//! The file in which waiting transactions outlive the process.
//!
//! ```text
//! "ASHPOOL" · version 1 (u8) · chain id (32)
//! count (u32) · for each priority: txid (32) · grains (i64 as u64)
//! count (u32) · for each transaction, parents first: since when (u64) · length (u32) · encoding
//! SHA-256 of all before it (32)
//! ```
//!
//! All numbers little-endian. It is a convenience and no record: what is in it is judged anew, and
//! without it nothing is lost that other nodes do not have.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use ashlar_primitives::{
    BlockId, Decode, Encode, Transaction, Txid,
    codec::{DecodeError, Reader},
};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::datadir::{self, DatadirError};

const MAGIC: [u8; 7] = *b"ASHPOOL";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 32;
/// A longer file is none of ours: the encodings of a pool are smaller than the memory that it may
/// take (`ashlar_mempool::Limits::max_bytes`, 300 MB).
const MAX_FILE_BYTES: u64 = 320_000_000;

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    /// In grains.
    pub(crate) priorities: BTreeMap<Txid, i64>,
    /// Parents first; each with when it began to wait, seconds since 1970.
    pub(crate) transactions: Vec<(u64, Transaction)>,
}

/// Why a file can't be used.
#[derive(Debug, Error)]
pub(crate) enum Damage {
    #[error("it can't be read: {0}")]
    Unreadable(io::Error),
    #[error("it has {size_bytes} bytes, and at most {MAX_FILE_BYTES} can be")]
    TooLong { size_bytes: u64 },
    #[error("it is of another kind")]
    OtherKind,
    #[error("it is of version {found}, which this program does not know")]
    OtherVersion { found: u8 },
    #[error("it is of another chain, {found}")]
    OtherChain { found: BlockId },
    #[error("its checksum is wrong")]
    BadChecksum,
    #[error("its checksum is right and its content is not: {0}")]
    Malformed(DecodeError),
}

impl From<DecodeError> for Damage {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// The file's bytes.
pub(crate) fn encode(chain_id: &BlockId, saved: &Saved) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    chain_id.encode(&mut out);
    // Neither count comes near the bound of the file, let alone that of a u32.
    u32::try_from(saved.priorities.len()).unwrap_or(u32::MAX).encode(&mut out);
    for (txid, delta) in &saved.priorities {
        txid.encode(&mut out);
        delta.cast_unsigned().encode(&mut out);
    }
    u32::try_from(saved.transactions.len()).unwrap_or(u32::MAX).encode(&mut out);
    for (since, transaction) in &saved.transactions {
        since.encode(&mut out);
        u32::try_from(transaction.encoded_len()).unwrap_or(u32::MAX).encode(&mut out);
        transaction.encode(&mut out);
    }
    let checksum = Sha256::digest(&out);
    out.extend_from_slice(&checksum);
    out
}

/// What stands at the end of a file: two of the same content have the same.
pub(crate) fn checksum(bytes: &[u8]) -> &[u8] {
    bytes.last_chunk::<CHECKSUM_BYTES>().map_or(&[], |checksum| checksum)
}

/// The opposite of [`encode`].
pub(crate) fn decode(chain_id: &BlockId, bytes: &[u8]) -> Result<Saved, Damage> {
    let checksum = checksum(bytes);
    let content = bytes.strip_suffix(checksum).unwrap_or(bytes);
    let mut reader = Reader::new(content);
    if reader.array() != Ok(MAGIC) {
        return Err(Damage::OtherKind);
    }
    // Before the checksum, so that each is told for what it is.
    match u8::decode(&mut reader)? {
        VERSION => {}
        found => return Err(Damage::OtherVersion { found }),
    }
    if Sha256::digest(content).as_slice() != checksum {
        return Err(Damage::BadChecksum);
    }
    let found = BlockId::decode(&mut reader)?;
    if found != *chain_id {
        return Err(Damage::OtherChain { found });
    }
    let mut saved = Saved::default();
    for _ in 0..u32::decode(&mut reader)? {
        let (txid, delta) = (Txid::decode(&mut reader)?, u64::decode(&mut reader)?);
        saved.priorities.insert(txid, delta.cast_signed());
    }
    for _ in 0..u32::decode(&mut reader)? {
        let (since, length) = (u64::decode(&mut reader)?, u32::decode(&mut reader)?);
        let encoding = reader.bytes(length as usize)?;
        saved.transactions.push((since, Transaction::from_bytes(encoding)?));
    }
    match reader.remaining() {
        0 => Ok(saved),
        count => Err(DecodeError::Trailing { count }.into()),
    }
}

/// Replaces the file as a whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), DatadirError> {
    datadir::write_atomically(path, bytes)
}

/// What is in the file; `None` where there is none.
pub(crate) fn read(path: &Path, chain_id: &BlockId) -> Result<Option<Saved>, Damage> {
    let size_bytes = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Damage::Unreadable(error)),
    };
    if size_bytes > MAX_FILE_BYTES {
        return Err(Damage::TooLong { size_bytes });
    }
    let bytes = fs::read(path).map_err(Damage::Unreadable)?;
    decode(chain_id, &bytes).map(Some)
}

/// Renames a file that can't be used, so that it is in nobody's way and still there for a look; an
/// older one that was set aside is replaced. Its new path.
pub(crate) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = path.with_extension("damaged");
    fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::{OutPoint, Witness};

    use super::*;

    const CHAIN: BlockId = BlockId([7; 32]);

    fn saved() -> Saved {
        let transaction = |memo: u8| Transaction {
            not_before: 3,
            inputs: vec![OutPoint { txid: Txid([memo; 32]), index: 1 }],
            outputs: Vec::new(),
            memo: vec![memo; 20],
            witnesses: Vec::<Witness>::new(),
        };
        Saved {
            priorities: [(Txid([1; 32]), -5), (Txid([2; 32]), i64::MAX)].into(),
            transactions: vec![(1_000, transaction(1)), (2_000, transaction(2))],
        }
    }

    #[test]
    fn it_comes_back_as_it_was() {
        for saved in [saved(), Saved::default()] {
            assert_eq!(decode(&CHAIN, &encode(&CHAIN, &saved)).unwrap(), saved);
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mempool.dat");
        assert!(read(&path, &CHAIN).unwrap().is_none());
        write(&path, &encode(&CHAIN, &saved())).unwrap();
        assert_eq!(read(&path, &CHAIN).unwrap(), Some(saved()));
        let aside = set_aside(&path).unwrap();
        assert!(read(&path, &CHAIN).unwrap().is_none() && aside.exists());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = encode(&CHAIN, &saved());
        for length in 0..bytes.len() {
            assert!(decode(&CHAIN, &bytes[..length]).is_err(), "{length}");
        }
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            assert!(decode(&CHAIN, &flipped).is_err(), "{place}");
        }
    }

    #[test]
    fn each_damage_is_told_for_what_it_is() {
        let bytes = encode(&CHAIN, &saved());
        let with = |place: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[place] = value;
            decode(&CHAIN, &bytes).unwrap_err()
        };
        assert!(matches!(with(0, b'B'), Damage::OtherKind));
        assert!(matches!(with(7, 2), Damage::OtherVersion { found: 2 }));
        assert!(matches!(with(60, 0xff), Damage::BadChecksum));
        let other = decode(&BlockId([8; 32]), &bytes).unwrap_err();
        assert!(matches!(other, Damage::OtherChain { found: CHAIN }));
        let mut longer = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
        longer.push(0);
        longer.extend_from_slice(&Sha256::digest(&longer));
        assert!(matches!(decode(&CHAIN, &longer).unwrap_err(), Damage::Malformed(_)));
    }
}
