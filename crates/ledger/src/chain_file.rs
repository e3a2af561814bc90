//! The chain as one file: what `export` writes and `import` reads, in order of height.
//!
//! ```text
//! "ASHLARCHAIN\n" ‖ version u8 = 1 ‖ chain id [32]
//! for each block from height 1:  length u32 LE ‖ the block's protocol encoding
//! 0 u32 LE ‖ how many blocks, u32 LE ‖ SHA-256 of all bytes before it [32]
//! ```
//!
//! The genesis block is not in it: whoever reads it has the genesis, and its id is the chain's.
//! Nothing here judges a block: the sum at the end finds what a disk or a wire did to the file,
//! never what somebody did to it.

use std::io::{self, Read, Seek, SeekFrom, Write};

use ashlar_primitives::{BlockId, Header};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// How each chain file begins.
pub const MAGIC: [u8; 12] = *b"ASHLARCHAIN\n";

/// The one format there is.
pub const FORMAT_VERSION: u8 = 1;

/// Why a chain file can't be read on.
#[derive(Debug, Error)]
pub enum ChainFileError {
    /// The disk's doing.
    #[error("can't read the chain file: {0}")]
    Io(#[source] io::Error),
    /// Something else.
    #[error("this is no chain file: it begins with other bytes")]
    NotAChainFile,
    /// Written by another release.
    #[error("the chain file has format {found}, this program knows {FORMAT_VERSION}")]
    OtherVersion {
        /// In the file.
        found: u8,
    },
    /// Blocks of another chain.
    #[error("the chain file holds the chain {found}, not {expected}")]
    OtherChain {
        /// In the file.
        found: BlockId,
        /// The chain id of the genesis given.
        expected: BlockId,
    },
    /// No block of this chain has such a length.
    #[error(
        "block number {number} of the chain file claims {length} bytes; blocks of this chain have {} to {max}",
        Header::LEN
    )]
    BadLength {
        /// From 1.
        number: u32,
        /// As claimed.
        length: u32,
        /// The chain's `max_block_bytes`.
        max: u32,
    },
    /// The file ends in the middle.
    #[error("the chain file ends early, after {blocks} whole blocks; export it again")]
    Truncated {
        /// How many were read.
        blocks: u32,
    },
    /// The end does not fit what was read.
    #[error("the chain file says that it holds {claimed} blocks, and holds {blocks}")]
    WrongCount {
        /// At the end of the file.
        claimed: u32,
        /// How many were read.
        blocks: u32,
    },
    /// Some byte is not what was written.
    #[error("the chain file is damaged: its sum does not fit its content; export it again")]
    WrongSum,
    /// Bytes after the end.
    #[error("bytes follow the end of the chain file")]
    TrailingBytes,
}

/// How far a chain file was written or read: what a writer needs to go on with a file that has no
/// end yet.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Of all bytes before it.
    sum: Sha256,
    blocks: u32,
    bytes: u64,
}

impl Place {
    /// How many blocks lie before it.
    pub const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// How many bytes lie before it.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    fn pass_block(&mut self, bytes: &[u8]) {
        self.pass(bytes);
        self.blocks = self.blocks.saturating_add(1);
    }
}

/// Writes a chain file to anything that takes bytes. Without [`Writer::finish`] the file has no
/// end, and a reader says so.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    place: Place,
}

impl<W: Write> Writer<W> {
    /// Begins a file of this chain.
    pub fn new(out: W, chain_id: &BlockId) -> io::Result<Self> {
        let mut writer = Self::going_on(out, Place::default());
        writer.write(&MAGIC)?;
        writer.write(&[FORMAT_VERSION])?;
        writer.write(chain_id.as_bytes())?;
        Ok(writer)
    }

    /// Goes on with a file that has exactly the bytes before `place`, as [`Reader::place`] told
    /// it between two blocks; `out` writes after them.
    pub const fn going_on(out: W, place: Place) -> Self {
        Self { out, place }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.place.pass(bytes);
        self.out.write_all(bytes)
    }

    /// Hands everything to the system beneath, where what is begun may stay without an end.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The next block: its whole encoding. Order and content are the caller's.
    ///
    /// # Errors
    /// Those of the writer beneath; `InvalidInput` for an encoding shorter than a header or
    /// longer than four gigabytes.
    pub fn push(&mut self, block: &[u8]) -> io::Result<()> {
        let length = u32::try_from(block.len()).ok().filter(|_| block.len() >= Header::LEN);
        let length = length.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "no block has an encoding of this length")
        })?;
        self.write(&length.to_le_bytes())?;
        self.place.pass_block(block);
        self.out.write_all(block)
    }

    /// Writes the end and gives the writer back, flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.write(&0_u32.to_le_bytes())?;
        self.write(&self.place.blocks.to_le_bytes())?;
        let sum = self.place.sum.finalize();
        self.out.write_all(&sum)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// How many blocks the end of a chain file speaks of, for a progress bar: nothing is compared. 0
/// of a file that is too short to have an end. Leaves the file somewhere.
pub fn claimed_blocks(file: &mut (impl Read + Seek)) -> io::Result<u32> {
    const END_BYTES: i64 = 4 + 32;
    if file.seek(SeekFrom::End(0))? < END_BYTES.unsigned_abs() {
        return Ok(0);
    }
    file.seek(SeekFrom::End(-END_BYTES))?;
    let mut count = [0; 4];
    file.read_exact(&mut count)?;
    Ok(u32::from_le_bytes(count))
}

/// Reads a chain file, one block in memory at a time. After the last block it has compared the
/// count and the sum.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    place: Place,
    max_block_bytes: u32,
    is_done: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning. `from` is buffered, or reading is slow.
    pub fn new(from: R, chain_id: &BlockId, max_block_bytes: u32) -> Result<Self, ChainFileError> {
        let mut reader = Self { from, place: Place::default(), max_block_bytes, is_done: false };
        // A file too short for its beginning is just as little one.
        let begins = |error| match error {
            ChainFileError::Truncated { .. } => ChainFileError::NotAChainFile,
            other => other,
        };
        if reader.read::<{ MAGIC.len() }>().map_err(begins)? != MAGIC {
            return Err(ChainFileError::NotAChainFile);
        }
        let [found] = reader.read()?;
        if found != FORMAT_VERSION {
            return Err(ChainFileError::OtherVersion { found });
        }
        let found = BlockId(reader.read()?);
        if found != *chain_id {
            return Err(ChainFileError::OtherChain { found, expected: *chain_id });
        }
        Ok(reader)
    }

    /// How many blocks were read.
    pub const fn blocks(&self) -> u32 {
        self.place.blocks
    }

    /// How far the file was read. Between two blocks it is a place where a writer can go on.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The next block's encoding, not judged; `None` after the last, when the end was found good.
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>, ChainFileError> {
        if self.is_done {
            return Ok(None);
        }
        let length = u32::from_le_bytes(self.read()?);
        if length == 0 {
            self.end()?;
            self.is_done = true;
            return Ok(None);
        }
        let number = self.place.blocks.saturating_add(1);
        let max = self.max_block_bytes;
        let is_possible = usize::try_from(length).is_ok_and(|length| length >= Header::LEN);
        if !is_possible || length > max {
            return Err(ChainFileError::BadLength { number, length, max });
        }
        // Grows with what is there, not with what is claimed.
        let mut block = Vec::new();
        let read = self.from.by_ref().take(length.into()).read_to_end(&mut block);
        if read.map_err(ChainFileError::Io)? < usize::try_from(length).unwrap_or(usize::MAX) {
            return Err(ChainFileError::Truncated { blocks: self.place.blocks });
        }
        self.place.pass_block(&block);
        Ok(Some(block))
    }

    fn read<const N: usize>(&mut self) -> Result<[u8; N], ChainFileError> {
        let bytes = self.read_unsummed()?;
        self.place.pass(&bytes);
        Ok(bytes)
    }

    fn read_unsummed<const N: usize>(&mut self) -> Result<[u8; N], ChainFileError> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ChainFileError::Truncated { blocks: self.place.blocks },
            _ => ChainFileError::Io(error),
        })?;
        Ok(bytes)
    }

    fn end(&mut self) -> Result<(), ChainFileError> {
        let claimed = u32::from_le_bytes(self.read()?);
        if claimed != self.place.blocks {
            return Err(ChainFileError::WrongCount { claimed, blocks: self.place.blocks });
        }
        let computed: [u8; 32] = self.place.sum.clone().finalize().into();
        if self.read_unsummed::<32>()? != computed {
            return Err(ChainFileError::WrongSum);
        }
        match self.read_unsummed::<1>() {
            Err(ChainFileError::Truncated { .. }) => Ok(()),
            Ok(_) => Err(ChainFileError::TrailingBytes),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: BlockId = BlockId([7; 32]);
    const MAX: u32 = 1_000;

    fn file(blocks: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), &CHAIN).unwrap();
        for block in blocks {
            writer.push(block).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ChainFileError> {
        let mut reader = Reader::new(bytes, &CHAIN, MAX)?;
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block()? {
            blocks.push(block);
        }
        assert_eq!(reader.place().bytes(), bytes.len() as u64 - 32);
        assert!(reader.next_block()?.is_none());
        Ok(blocks)
    }

    fn blocks() -> Vec<Vec<u8>> {
        vec![vec![1; 80], vec![2; 1_000], vec![3; 123]]
    }

    /// Files out there: a change of any byte needs a new [`FORMAT_VERSION`].
    #[test]
    fn bytes_are_golden() {
        let bytes = file(&[vec![9; 80]]);
        assert_eq!(bytes[..12], *b"ASHLARCHAIN\n");
        assert_eq!(bytes[12], 1);
        assert_eq!(bytes[13..45], [7; 32]);
        assert_eq!(bytes[45..49], [80, 0, 0, 0]);
        assert_eq!(bytes[49..129], [9; 80]);
        assert_eq!(bytes[129..137], [0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[137..], Sha256::digest(&bytes[..137])[..]);
        assert_eq!(bytes.len(), 169);
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read(&file(&blocks())).unwrap(), blocks());
        assert_eq!(claimed_blocks(&mut io::Cursor::new(file(&blocks()))).unwrap(), 3);
        assert_eq!(claimed_blocks(&mut io::Cursor::new(vec![0; 35])).unwrap(), 0);
        assert_eq!(read(&file(&[])).unwrap(), Vec::<Vec<u8>>::new());
        let mut writer = Writer::new(Vec::new(), &CHAIN).unwrap();
        assert_eq!(writer.push(&[0; 79]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_file_without_its_end_is_gone_on_with_after_any_block() {
        let whole = file(&blocks());
        for count in 0..=blocks().len() {
            let mut reader = Reader::new(whole.as_slice(), &CHAIN, MAX).unwrap();
            for _ in 0..count {
                reader.next_block().unwrap().unwrap();
            }
            let place = reader.place().clone();
            let begun = whole[..usize::try_from(place.bytes()).unwrap()].to_vec();
            let mut writer = Writer::going_on(begun, place);
            for block in &blocks()[count..] {
                writer.push(block).unwrap();
            }
            assert_eq!(writer.finish().unwrap(), whole);
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_told() {
        let whole = file(&blocks());
        for end in 0..whole.len() {
            let error = read(&whole[..end]).unwrap_err();
            let is_told = match end {
                ..12 => matches!(error, ChainFileError::NotAChainFile),
                _ => matches!(error, ChainFileError::Truncated { .. }),
            };
            assert!(is_told, "cut at {end}: {error}");
        }
    }

    #[test]
    fn a_changed_byte_anywhere_is_told() {
        let whole = file(&blocks());
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(read(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn each_fault_has_its_own_name() {
        let whole = file(&blocks());
        let changed = |at: usize, to: u8| {
            let mut bytes = whole.clone();
            bytes[at] = to;
            read(&bytes).unwrap_err()
        };
        assert!(matches!(changed(0, b'a'), ChainFileError::NotAChainFile));
        assert!(matches!(changed(12, 2), ChainFileError::OtherVersion { found: 2 }));
        assert!(matches!(changed(13, 0), ChainFileError::OtherChain { .. }));
        assert!(matches!(changed(45, 79), ChainFileError::BadLength { number: 1, length: 79, .. }));
        assert!(matches!(changed(46, 9), ChainFileError::BadLength { max: MAX, .. }));
        assert!(matches!(changed(60, 9), ChainFileError::WrongSum));
        let count = whole.len() - 36;
        let wrong = changed(count, 4);
        assert!(matches!(wrong, ChainFileError::WrongCount { claimed: 4, blocks: 3 }));
        let trailing = [whole.as_slice(), &[0]].concat();
        assert!(matches!(read(&trailing).unwrap_err(), ChainFileError::TrailingBytes));
    }

    /// A length that no memory holds costs nothing before the bytes are there.
    #[test]
    fn a_claimed_length_sets_nothing_aside() {
        let mut bytes = file(&[]);
        bytes.truncate(45);
        bytes.extend(u32::MAX.to_le_bytes());
        let mut reader = Reader::new(bytes.as_slice(), &CHAIN, u32::MAX).unwrap();
        let error = reader.next_block().unwrap_err();
        assert!(matches!(error, ChainFileError::Truncated { blocks: 0 }));
    }
}
