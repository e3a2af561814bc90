//! A check of a node that goes on.

use ashlar_consensus::{Genesis, signature::Workers};

use super::{CareError, Depth, Report, Watch, check};
use crate::{
    store::{Direction, Entry, Family, KeyRange, Read, StoreError},
    view::View,
};

/// What a view shows, as a store.
struct Shown<'a>(&'a View);

impl Read for Shown<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.snapshot.get(family, key)
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.0.snapshot.get_many(family, keys)
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<Entry>, StoreError> {
        self.0.snapshot.scan(family, range, limit, direction)
    }
}

/// [`check`](super::check()) of the state that a view shows, while the node it is of goes on.
///
/// # Errors
/// Those of [`check`](super::check()).
pub fn check_view(
    view: &View,
    genesis: &Genesis,
    depth: Depth,
    workers: &mut impl Workers,
    watch: &mut Watch<'_>,
) -> Result<Report, CareError> {
    check(&Shown(view), genesis, depth, workers, watch)
}
