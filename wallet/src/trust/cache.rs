//! Headers that were proven before, kept beside the wallet so that the next `--verify` need not ask
//! for them again.
//!
//! The file is believed no more than a node is: each header is judged anew when it is read, and
//! what does not follow ends it. So it needs no lock and no checksum, and losing it costs time
//! alone.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use ashlar_primitives::{BlockId, Decode as _, Encode as _, Header};

use super::HeaderChain;
use crate::files;

/// What the file begins with; the chain's id follows.
const MAGIC: &[u8; 16] = b"ashlar-headers-1";
/// Of the magic and the chain's id.
const HEAD_BYTES: usize = 16 + 32;
/// Of a header (PROTOCOL.md §4).
const HEADER_BYTES: usize = 80;
/// Headers at most that are kept, from the genesis block on: 80 MB.
const MAX_HEADERS: usize = 1_000_000;

/// The file.
#[derive(Debug)]
pub(crate) struct Cache {
    path: PathBuf,
    chain: BlockId,
    /// Headers of the file that are those of the chain; `None` where it is to be written anew.
    kept: Option<usize>,
}

impl Cache {
    /// Where the headers of a wallet's chain lie.
    pub(crate) fn path_of(wallet: &Path) -> PathBuf {
        wallet.with_extension("headers")
    }

    /// Takes what the file has into a chain that begins at the genesis block.
    pub(crate) fn open(path: PathBuf, chain: &mut HeaderChain, now_seconds: u64) -> Self {
        let id = chain.id();
        let stored = read(&path, &id).unwrap_or_default();
        let headers: Vec<Header> = stored
            .chunks_exact(HEADER_BYTES)
            .map_while(|bytes| Header::from_bytes(bytes).ok())
            .collect();
        // Up to the first that is wrong, all are taken in.
        let is_whole = chain.extend(&headers, now_seconds).is_ok()
            && headers.len().saturating_mul(HEADER_BYTES) == stored.len()
            && !headers.is_empty();
        Self { path, chain: id, kept: is_whole.then_some(headers.len()) }
    }

    /// The chain is another than it was from here on.
    pub(crate) const fn forget(&mut self) {
        self.kept = None;
    }

    /// Writes down what is new of a chain that the file is the beginning of.
    pub(crate) fn save(&mut self, chain: &HeaderChain) -> io::Result<()> {
        let count = chain.headers().len().min(MAX_HEADERS);
        let kept = self.kept.unwrap_or(0);
        if count <= kept {
            return Ok(());
        }
        let bytes = |from: usize| -> Vec<u8> {
            chain
                .headers()
                .skip(from)
                .take(count - from)
                .flat_map(|header| header.to_bytes())
                .collect()
        };
        match self.kept {
            Some(kept) => {
                let mut file = OpenOptions::new().append(true).open(&self.path)?;
                file.write_all(&bytes(kept))?;
            }
            None => {
                let head = [MAGIC.as_slice(), &self.chain.0].concat();
                files::replace(&self.path, &[head, bytes(0)].concat())?;
            }
        }
        self.kept = Some(count);
        Ok(())
    }
}

/// The headers of a file of this chain, as bytes.
fn read(path: &Path, chain: &BlockId) -> io::Result<Vec<u8>> {
    let most = HEAD_BYTES + MAX_HEADERS * HEADER_BYTES;
    let mut bytes = Vec::new();
    File::open(path)?.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    match bytes.split_at_checked(HEAD_BYTES) {
        Some((head, headers)) if head == [MAGIC.as_slice(), &chain.0].concat() => {
            Ok(headers.to_vec())
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{NOW, begin, mine},
        *,
    };
    use ashlar_primitives::MerkleRoot;

    fn opened(path: &Path) -> (HeaderChain, Cache) {
        let mut chain = begin();
        let cache = Cache::open(path.to_owned(), &mut chain, NOW);
        (chain, cache)
    }

    fn grow(chain: &mut HeaderChain, root: u8) {
        let header = mine(chain, MerkleRoot([root; 32]));
        chain.extend(&[header], NOW).unwrap();
    }

    #[test]
    fn what_was_proven_is_there_again_and_grows_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.headers");
        let (mut chain, mut cache) = opened(&path);
        for wanted in 1..=3 {
            grow(&mut chain, 1);
            cache.save(&chain).unwrap();
            let (again, _) = opened(&path);
            assert_eq!((again.tip().height, again.tip().id), (wanted, chain.tip().id));
        }
        // Another branch from the first block on.
        let mut other = begin();
        (0..2).for_each(|_| grow(&mut other, 2));
        cache.forget();
        cache.save(&other).unwrap();
        assert_eq!(opened(&path).0.tip().id, other.tip().id);
    }

    #[test]
    fn a_file_that_was_changed_is_believed_as_far_as_it_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.headers");
        let (mut chain, mut cache) = opened(&path);
        (0..3).for_each(|_| grow(&mut chain, 1));
        cache.save(&chain).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let height_of = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            opened(&path).0.tip().height
        };
        let at = |header: usize, byte: usize| {
            let mut bytes = whole.clone();
            bytes[HEAD_BYTES + header * HEADER_BYTES + byte] ^= 1;
            bytes
        };
        assert_eq!(height_of(&at(1, 10)), 1, "it follows another");
        assert_eq!(height_of(&at(0, 4)), 0);
        assert_eq!(height_of(&whole[..whole.len() - 1]), 2, "torn");
        assert_eq!(height_of(&whole[..30]), 0);
        let mut foreign = whole.clone();
        foreign[20] ^= 1;
        assert_eq!(height_of(&foreign), 0, "of another chain");
        // It is mended by the next who proves more.
        std::fs::write(&path, at(1, 10)).unwrap();
        let (mut short, mut cache) = opened(&path);
        grow(&mut short, 1);
        grow(&mut short, 1);
        cache.save(&short).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}
