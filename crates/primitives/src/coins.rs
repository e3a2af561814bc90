//! Coins by their outpoints, as a sorted list: made in one go, then read in order and looked up.

use crate::{coin::Coin, transaction::OutPoint};

/// Coins in order of outpoint, each outpoint once. What a block spends or makes is put together
/// once and changes no more: a list costs a fraction of what the nodes of a tree do. Its methods
/// are named as those of [`std::collections::BTreeMap`] are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoinList(Vec<(OutPoint, Coin)>);

impl CoinList {
    /// How many coins there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The coin under an outpoint.
    pub fn get(&self, outpoint: &OutPoint) -> Option<&Coin> {
        let place = self.0.binary_search_by(|(at, _)| at.cmp(outpoint)).ok()?;
        self.0.get(place).map(|(_, coin)| coin)
    }

    /// The coins under `outpoints`, which are sorted and without repeats, in their order: faster
    /// than a search for each.
    pub fn get_all<'a>(
        &'a self,
        outpoints: &'a [OutPoint],
    ) -> impl Iterator<Item = Option<&'a Coin>> {
        let mut rest = self.0.iter().peekable();
        outpoints.iter().map(move |outpoint| {
            while rest.next_if(|(at, _)| at < outpoint).is_some() {}
            rest.next_if(|(at, _)| at == outpoint).map(|(_, coin)| coin)
        })
    }

    /// Whether there is a coin under an outpoint.
    pub fn contains_key(&self, outpoint: &OutPoint) -> bool {
        self.get(outpoint).is_some()
    }

    /// In order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&OutPoint, &Coin)> + Clone {
        self.into_iter()
    }

    /// The outpoints, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &OutPoint> + Clone {
        self.0.iter().map(|(outpoint, _)| outpoint)
    }

    /// The coins, in order of their outpoints.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Coin> + Clone {
        self.0.iter().map(|(_, coin)| coin)
    }

    /// The list itself, to be cut into pieces.
    pub fn as_slice(&self) -> &[(OutPoint, Coin)] {
        &self.0
    }

    /// Sorts, if anything is out of order; of one outpoint the last coin stays.
    fn settle(&mut self) {
        if self.0.is_sorted_by(|(before, _), (after, _)| before < after) {
            return;
        }
        // What comes is mostly made of sorted runs, which a stable sort merges.
        self.0.sort_by_key(|(outpoint, _)| *outpoint);
        self.0.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                kept.1 = later.1;
            }
            is_same
        });
    }
}

impl FromIterator<(OutPoint, Coin)> for CoinList {
    /// In any order; of one outpoint the last coin stays.
    fn from_iter<I: IntoIterator<Item = (OutPoint, Coin)>>(coins: I) -> Self {
        let mut list = Self(coins.into_iter().collect());
        list.settle();
        list
    }
}

impl Extend<(OutPoint, Coin)> for CoinList {
    /// As many at a time as there are: each call goes over the whole list.
    fn extend<I: IntoIterator<Item = (OutPoint, Coin)>>(&mut self, coins: I) {
        self.0.extend(coins);
        self.settle();
    }
}

impl<const N: usize> From<[(OutPoint, Coin); N]> for CoinList {
    fn from(coins: [(OutPoint, Coin); N]) -> Self {
        coins.into_iter().collect()
    }
}

impl IntoIterator for CoinList {
    type Item = (OutPoint, Coin);
    type IntoIter = std::vec::IntoIter<(OutPoint, Coin)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a CoinList {
    type Item = (&'a OutPoint, &'a Coin);
    type IntoIter = std::iter::Map<
        std::slice::Iter<'a, (OutPoint, Coin)>,
        fn(&'a (OutPoint, Coin)) -> (&'a OutPoint, &'a Coin),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(outpoint, coin)| (outpoint, coin))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{Amount, Lock, Output, Txid};

    fn outpoint(name: u8) -> OutPoint {
        OutPoint { txid: Txid([name / 4; 32]), index: u16::from(name % 4) }
    }

    fn coin(height: u32) -> Coin {
        let lock = Lock { version: 0, program: [0; 32] };
        Coin { output: Output { value: Amount::from_grains(1), lock }, height, is_coinbase: false }
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_does(
            names in proptest::collection::vec(any::<u8>(), 0..60),
            more in proptest::collection::vec(any::<u8>(), 0..20),
            asked in proptest::collection::btree_set(any::<u8>(), 0..40),
        ) {
            let coins = |names: &[u8], from| -> Vec<_> {
                names.iter().zip(from..).map(|(name, height)| (outpoint(*name), coin(height))).collect()
            };
            let (first, then) = (coins(&names, 0), coins(&more, 100));
            let mut map: BTreeMap<_, _> = first.iter().copied().collect();
            let mut list: CoinList = first.into_iter().collect();
            prop_assert!(list.iter().eq(&map));
            map.extend(then.clone());
            list.extend(then);
            prop_assert!(list.iter().eq(&map) && list.keys().eq(map.keys()));
            prop_assert!(list.values().eq(map.values()));
            prop_assert_eq!((list.len(), list.is_empty()), (map.len(), map.is_empty()));
            let asked: Vec<_> = asked.into_iter().map(outpoint).collect();
            for at in &asked {
                prop_assert_eq!(list.get(at), map.get(at));
                prop_assert_eq!(list.contains_key(at), map.contains_key(at));
            }
            prop_assert!(list.get_all(&asked).eq(asked.iter().map(|at| map.get(at))));
            prop_assert!(list.into_iter().eq(map));
        }
    }
}
