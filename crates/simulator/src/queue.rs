//! Virtual time: the ordered queue of what is to happen.

use std::{collections::BTreeMap, time::Duration};

/// What is to happen, in order of time and, at one time, in the order in which it was scheduled.
/// That order is total, so that nothing else (no map's iteration, no thread) ever decides.
#[derive(Debug)]
pub struct Queue<E> {
    waiting: BTreeMap<(Duration, u64), E>,
    next_sequence: u64,
}

impl<E> Queue<E> {
    /// With nothing to happen.
    pub const fn new() -> Self {
        Self { waiting: BTreeMap::new(), next_sequence: 0 }
    }

    /// Schedules `event` at `at`, counted from the beginning of the world, behind whatever is
    /// already scheduled for that moment.
    pub fn push(&mut self, at: Duration, event: E) {
        self.waiting.insert((at, self.next_sequence), event);
        self.next_sequence += 1;
    }

    /// Takes what happens next.
    pub fn pop(&mut self) -> Option<(Duration, E)> {
        self.waiting.pop_first().map(|((at, _), event)| (at, event))
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_first_then_order_of_scheduling() {
        let mut queue = Queue::new();
        let (early, late) = (Duration::from_micros(1), Duration::from_micros(2));
        queue.push(late, "c");
        queue.push(early, "a");
        queue.push(late, "d");
        queue.push(early, "b");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [(early, "a"), (early, "b"), (late, "c"), (late, "d")]);
    }
}
