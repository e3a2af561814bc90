//! Where the coins of a block's inputs are to be found: told apart once, so that whoever goes
//! through the block afterwards finds each by its place.

use crate::{
    hash::Txid,
    keyed::{KeyedMap, KeyedSet},
    transaction::OutPoint,
};

/// Where the coin of an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Outside the block: at this place in [`Sources::external`].
    Outside(usize),
    /// This earlier transaction of the block makes it, if it has so many outputs.
    Inside(usize),
}

/// Of all inputs of a list of transactions. Judges nothing: whether there are such coins, and
/// whether one is spent twice, is not known here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    external: Vec<OutPoint>,
    each: Vec<Source>,
    len_inside: usize,
}

impl Sources {
    /// Of transactions in order: their ids and inputs.
    pub fn of<'a>(transactions: impl Iterator<Item = (Txid, &'a [OutPoint])>) -> Self {
        let mut earlier = KeyedMap::default();
        let (mut outside, mut each) = (Vec::new(), Vec::new());
        for (number, (txid, inputs)) in transactions.enumerate() {
            for input in inputs {
                let inside = earlier.get(&input.txid).map(|maker| Source::Inside(*maker));
                if inside.is_none() {
                    outside.push((*input, each.len()));
                }
                each.push(inside.unwrap_or(Source::Outside(0)));
            }
            earlier.insert(txid, number);
        }
        let len_inside = each.len().saturating_sub(outside.len());
        outside.sort_unstable();
        let mut external: Vec<OutPoint> = Vec::with_capacity(outside.len());
        for (outpoint, number) in outside {
            if external.last() != Some(&outpoint) {
                external.push(outpoint);
            }
            if let Some(source) = each.get_mut(number) {
                *source = Source::Outside(external.len().saturating_sub(1));
            }
        }
        Self { external, each, len_inside }
    }

    /// The outpoints outside the list, sorted and without repeats.
    pub fn external(&self) -> &[OutPoint] {
        &self.external
    }

    /// Of each input, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Source> {
        self.each.iter()
    }

    /// Those of `inputs` that are made inside: all inputs of the list, in order.
    pub fn inside<'a>(&self, inputs: impl Iterator<Item = &'a OutPoint>) -> KeyedSet<&'a OutPoint> {
        if self.len_inside == 0 {
            return KeyedSet::default();
        }
        let each = inputs.zip(&self.each);
        each.filter(|(_, source)| matches!(source, Source::Inside(_))).map(|(at, _)| at).collect()
    }
}

impl<'a> IntoIterator for &'a Sources {
    type Item = &'a Source;
    type IntoIter = std::slice::Iter<'a, Source>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: u8, index: u16) -> OutPoint {
        OutPoint { txid: Txid([name; 32]), index }
    }

    #[test]
    fn an_earlier_transaction_is_inside_and_a_later_one_is_not() {
        let inputs = [
            vec![at(9, 1), at(2, 0)],
            vec![at(9, 0), at(1, 7)],
            vec![at(2, 3), at(9, 1), at(3, 0)],
        ];
        let txids = [1, 2, 3].map(|name| Txid([name; 32]));
        let sources = Sources::of(txids.into_iter().zip(inputs.iter().map(Vec::as_slice)));
        assert_eq!(sources.external(), [at(2, 0), at(3, 0), at(9, 0), at(9, 1)]);
        let each: Vec<_> = sources.iter().copied().collect();
        let expected = [
            Source::Outside(3),
            Source::Outside(0),
            Source::Outside(2),
            Source::Inside(0),
            Source::Inside(1),
            Source::Outside(3),
            Source::Outside(1),
        ];
        assert_eq!(each, expected);
        let inside = sources.inside(inputs.iter().flatten());
        assert_eq!(inside, [&at(1, 7), &at(2, 3)].into_iter().collect());
        assert_eq!(Sources::of(std::iter::empty()), Sources::default());
    }
}
