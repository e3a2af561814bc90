//! The marker of the announced tip: one small file beside the database.
//!
//! RocksDB's log ends, by its recovery mode, at the first record that is damaged: a rotten bit in
//! its middle silently takes all that came after, and what is left is whole and old. The marker
//! is written after the step that made a tip was synced and before anybody is told, so an opened
//! database that does not know the marker's tip has gone back.
//!
//! Two slots are written in turns, each in a page of its own: a write that tears leaves the other.
//!
//! | slot | bytes |
//! | --- | --- |
//! | magic | 8 |
//! | number of the write, from 1 | u64 LE |
//! | height | u32 LE |
//! | block id | 32 |
//! | SHA-256 of all that | 32 |

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use ashlar_primitives::{BlockId, hash::sha256};

use crate::store::{Announced, Marker, StoreError};

/// Its name in the database's directory.
const FILE_NAME: &str = "announced-tip";

const MAGIC: [u8; 8] = *b"ASHLTIP1";
const PAYLOAD_BYTES: usize = 52;
const SLOT_BYTES: usize = PAYLOAD_BYTES + 32;

/// How far apart the slots begin: no page holds both.
const SLOT_STRIDE: usize = 4_096;
const SLOTS: usize = 2;
const FILE_BYTES: usize = SLOTS * SLOT_STRIDE;

/// The open marker.
#[derive(Debug)]
pub(crate) struct MarkerFile {
    file: File,
    last: Mutex<Last>,
}

/// What was written last.
#[derive(Clone, Copy, Debug)]
struct Last {
    number: u64,
    marker: Marker,
}

impl MarkerFile {
    /// Opens the marker in `directory`, or makes one that tells of nothing.
    pub(crate) fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE_NAME);
        let opened = || -> io::Result<Self> {
            let file =
                File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            let bytes = fs::read(&path)?;
            if bytes.len() < FILE_BYTES {
                // From now on a write changes no length, and costs one flush of the disk.
                file.write_all_at(&vec![0; FILE_BYTES - bytes.len()], bytes.len() as u64)?;
                file.sync_all()?;
                File::open(directory)?.sync_all()?;
            }
            Ok(Self { file, last: Mutex::new(read(&bytes)) })
        };
        opened().map_err(|error| failed(&error))
    }

    /// What the marker tells.
    pub(crate) fn tip(&self) -> Marker {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).marker
    }

    /// Tells of `tip` from now on; on disk when it returns.
    pub(crate) fn write(&self, tip: Announced) -> Result<(), StoreError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.marker == Marker::Tip(tip) {
            return Ok(());
        }
        let number = last.number.saturating_add(1);
        let place = if number.is_multiple_of(2) { 0 } else { SLOT_STRIDE as u64 };
        self.file
            .write_all_at(&slot(number, tip), place)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| failed(&error))?;
        *last = Last { number, marker: Marker::Tip(tip) };
        Ok(())
    }
}

fn failed(error: &io::Error) -> StoreError {
    StoreError::Io { doing: "keeping the marker of the announced tip", message: error.to_string() }
}

fn slot(number: u64, tip: Announced) -> Vec<u8> {
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&number.to_le_bytes());
    slot.extend_from_slice(&tip.height.to_le_bytes());
    slot.extend_from_slice(&tip.id.0);
    let sum = sha256(&slot);
    slot.extend_from_slice(&sum);
    slot
}

/// The newer of the slots that are whole. One that is not was being written, and nobody was told.
fn read(bytes: &[u8]) -> Last {
    let slots = bytes.chunks(SLOT_STRIDE).take(SLOTS).filter_map(read_slot);
    match slots.max_by_key(|(number, _)| *number) {
        Some((number, tip)) => Last { number, marker: Marker::Tip(tip) },
        None if bytes.iter().all(|byte| *byte == 0) => Last { number: 0, marker: Marker::Absent },
        None => Last { number: 0, marker: Marker::Damaged },
    }
}

fn read_slot(bytes: &[u8]) -> Option<(u64, Announced)> {
    let (payload, rest) = bytes.split_first_chunk::<PAYLOAD_BYTES>()?;
    let (sum, _) = rest.split_first_chunk::<32>()?;
    let (magic, fields) = payload.split_first_chunk::<8>()?;
    let (number, fields) = fields.split_first_chunk::<8>()?;
    let (height, id) = fields.split_first_chunk::<4>()?;
    let id = BlockId(id.try_into().ok()?);
    let tip = Announced { height: u32::from_le_bytes(*height), id };
    let is_whole = *magic == MAGIC && sha256(payload) == *sum;
    is_whole.then_some((u64::from_le_bytes(*number), tip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip(height: u32) -> Announced {
        Announced { height, id: BlockId([height as u8; 32]) }
    }

    fn reopened(folder: &Path) -> Marker {
        MarkerFile::open(folder).unwrap().tip()
    }

    #[test]
    fn the_last_tip_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(reopened(folder.path()), Marker::Absent);
        for height in 1..=5 {
            let marker = MarkerFile::open(folder.path()).unwrap();
            marker.write(tip(height)).unwrap();
            marker.write(tip(height)).unwrap();
            assert_eq!(marker.tip(), Marker::Tip(tip(height)));
            assert_eq!(reopened(folder.path()), Marker::Tip(tip(height)));
        }
    }

    #[test]
    fn a_flipped_bit_gives_this_tip_or_the_one_before_or_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        for written in [1, 2] {
            MarkerFile::open(folder.path()).unwrap().write(tip(written)).unwrap();
            let whole = fs::read(&path).unwrap();
            assert_eq!(whole.len(), FILE_BYTES);
            for at in (0..SLOT_BYTES).chain(SLOT_STRIDE..SLOT_STRIDE + SLOT_BYTES) {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x10;
                fs::write(&path, &bytes).unwrap();
                match (reopened(folder.path()), written) {
                    (Marker::Tip(found), _) => assert!((1..=written).contains(&found.height)),
                    (Marker::Damaged, 1) => {}
                    (other, _) => panic!("{other:?} at {at}"),
                }
            }
            fs::write(&path, &whole[..100]).unwrap();
            assert!(matches!(
                reopened(folder.path()),
                Marker::Tip(_) | Marker::Damaged | Marker::Absent
            ));
            // A marker that can't be read is written over.
            fs::write(&path, [7; 300]).unwrap();
            assert_eq!(reopened(folder.path()), Marker::Damaged);
            let marker = MarkerFile::open(folder.path()).unwrap();
            marker.write(tip(9)).unwrap();
            assert_eq!(reopened(folder.path()), Marker::Tip(tip(9)));
            fs::write(&path, &whole).unwrap();
        }
    }
}
