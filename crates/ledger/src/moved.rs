//! What lies between two tips: blocks left, blocks joined.

use std::sync::Arc;

use ashlar_consensus::CheckedBlock;
use ashlar_primitives::BlockId;

use crate::{bodies::size, view::View};

/// A block that left or joined the published chain.
#[derive(Clone, Debug)]
pub struct MovedBlock {
    /// Which.
    pub id: BlockId,
    /// Where it stood or stands.
    pub height: u32,
    /// Its body. `None` where the bodies of the move would be more than
    /// [`crate::Settings::moved_body_bytes`]: read it with [`crate::Ledger::block`]. So a
    /// reorganisation of any depth is told in bounded memory: an id for each block, and bodies up
    /// to that bound.
    pub body: Option<Arc<CheckedBlock>>,
}

/// The published tip moved.
#[derive(Clone, Debug)]
pub struct Published {
    /// Of the new tip.
    pub view: Arc<View>,
    /// From the old tip down.
    pub disconnected: Vec<MovedBlock>,
    /// Up to the new tip.
    pub connected: Vec<MovedBlock>,
}

/// The shortest way between two tips, kept while one of them moves: a block that joins after it
/// left, or leaves after it joined, is no part of it.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) disconnected: Vec<MovedBlock>,
    pub(crate) connected: Vec<MovedBlock>,
    body_bytes: usize,
    max_body_bytes: usize,
}

impl Moved {
    /// Nothing yet.
    pub(crate) const fn new(max_body_bytes: usize) -> Self {
        Self { disconnected: Vec::new(), connected: Vec::new(), body_bytes: 0, max_body_bytes }
    }

    /// The tip was disconnected.
    pub(crate) fn disconnect(&mut self, block: MovedBlock) {
        match self.connected.last() {
            Some(last) if last.id == block.id => {
                let last = self.connected.pop();
                self.forget(last);
            }
            _ => {
                let block = self.bounded(block);
                self.disconnected.push(block);
            }
        }
    }

    /// A child of the tip was connected.
    pub(crate) fn connect(&mut self, block: MovedBlock) {
        match self.disconnected.last() {
            // Its parent is the tip, so nothing else was connected since it left.
            Some(last) if last.id == block.id => {
                let last = self.disconnected.pop();
                self.forget(last);
            }
            _ => {
                let block = self.bounded(block);
                self.connected.push(block);
            }
        }
    }

    /// First `self`, then `next`.
    pub(crate) fn then(mut self, next: Self) -> Self {
        for block in next.disconnected {
            self.disconnect(block);
        }
        for block in next.connected {
            self.connect(block);
        }
        self
    }

    fn bounded(&mut self, block: MovedBlock) -> MovedBlock {
        let body = block.body.filter(|body| {
            let bytes = self.body_bytes.saturating_add(size(body));
            let fits = bytes <= self.max_body_bytes;
            if fits {
                self.body_bytes = bytes;
            }
            fits
        });
        MovedBlock { body, ..block }
    }

    fn forget(&mut self, block: Option<MovedBlock>) {
        if let Some(body) = block.and_then(|block| block.body) {
            self.body_bytes = self.body_bytes.saturating_sub(size(&body));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: u8) -> MovedBlock {
        MovedBlock { id: BlockId([name; 32]), height: u32::from(name), body: None }
    }

    fn names(moved: &Moved) -> (Vec<u8>, Vec<u8>) {
        let names = |blocks: &[MovedBlock]| blocks.iter().map(|block| block.id.0[0]).collect();
        (names(&moved.disconnected), names(&moved.connected))
    }

    #[test]
    fn there_and_back_is_nothing() {
        let mut moved = Moved::new(0);
        for name in [3, 2] {
            moved.disconnect(block(name));
        }
        moved.connect(block(12));
        assert_eq!(names(&moved), (vec![3, 2], vec![12]));
        moved.disconnect(block(12));
        moved.connect(block(2));
        assert_eq!(names(&moved), (vec![3], vec![]));
        moved.connect(block(3));
        moved.connect(block(4));
        assert_eq!(names(&moved), (vec![], vec![4]));
    }

    #[test]
    fn two_moves_are_one() {
        let mut first = Moved::new(0);
        first.disconnect(block(3));
        first.connect(block(13));
        first.connect(block(14));
        let mut second = Moved::new(0);
        second.disconnect(block(14));
        second.disconnect(block(13));
        second.disconnect(block(2));
        second.connect(block(22));
        assert_eq!(names(&first.then(second)), (vec![3, 2], vec![22]));
    }
}
