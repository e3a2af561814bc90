//! All entries of a family, page by page.

use std::{collections::VecDeque, ops::Bound};

use crate::store::{Direction, Entry, Family, Read, StoreError};

/// About how much one page takes in memory.
const PAGE_BYTES: usize = 4 << 20;

/// Most entries of a page.
const MAX_PAGE_ENTRIES: usize = 16_384;

/// The first page: entries may be as large as blocks.
const FIRST_PAGE_ENTRIES: usize = 16;

/// Goes through a family in key order.
pub(super) struct Scan<'a, R> {
    store: &'a R,
    family: Family,
    page: VecDeque<Entry>,
    last: Option<Vec<u8>>,
    page_entries: usize,
    is_done: bool,
}

impl<'a, R: Read> Scan<'a, R> {
    pub(super) const fn new(store: &'a R, family: Family) -> Self {
        Self {
            store,
            family,
            page: VecDeque::new(),
            last: None,
            page_entries: FIRST_PAGE_ENTRIES,
            is_done: false,
        }
    }

    /// What follows a key; everything where that is empty.
    pub(super) fn after(store: &'a R, family: Family, last: &[u8]) -> Self {
        let last = (!last.is_empty()).then(|| last.to_vec());
        Self { last, ..Self::new(store, family) }
    }

    fn next_page(&mut self) -> Result<(), StoreError> {
        let after = self.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = (after, Bound::Unbounded);
        let page = self.store.scan(self.family, range, self.page_entries, Direction::Forward)?;
        self.is_done = page.is_empty();
        self.last = page.last().map(|(key, _)| key.clone()).or(self.last.take());
        // The next page is as long as entries of this one's size allow.
        let bytes: usize = page.iter().map(|(key, value)| key.len() + value.len()).sum();
        let fitting = PAGE_BYTES.saturating_mul(page.len().max(1)) / bytes.max(1);
        self.page_entries = fitting.clamp(1, MAX_PAGE_ENTRIES).min(self.page_entries * 4);
        self.page = page.into();
        Ok(())
    }
}

impl<R: Read> Iterator for Scan<'_, R> {
    type Item = Result<Entry, StoreError>;

    /// After an error nothing more comes: where the next entry begins is not known.
    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.is_done
            && let Err(error) = self.next_page()
        {
            self.is_done = true;
            return Some(Err(error));
        }
        self.page.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        MemoryStore,
        store::{Batch, Durability, Store as _},
    };

    #[test]
    fn every_entry_comes_once_in_order() {
        let store = MemoryStore::new();
        let mut batch = Batch::default();
        for number in 0..1_000_u32 {
            let length = if number % 100 == 0 { 1 << 20 } else { 3 };
            batch.put(Family::Coins, number.to_be_bytes().to_vec(), vec![1; length]);
        }
        store.commit(batch, Durability::Later).unwrap();
        let keys: Vec<_> = Scan::new(&store, Family::Coins).map(|entry| entry.unwrap().0).collect();
        let expected: Vec<_> = (0..1_000_u32).map(|number| number.to_be_bytes().to_vec()).collect();
        assert_eq!(keys, expected);
        assert_eq!(Scan::new(&store, Family::Tips).count(), 0);
        for (last, left) in [(vec![], 1_000), (vec![0; 4], 999), (999_u32.to_be_bytes().into(), 0)]
        {
            assert_eq!(Scan::after(&store, Family::Coins, &last).count(), left);
        }
    }
}
