//! The one encoding of every value (PROTOCOL.md §1): fixed-width little-endian integers,
//! counted lists, no varints, no optional forms, nothing left over.

use thiserror::Error;

/// Why bytes are not a value. Never a judgement about what the value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ends inside a value, or a count promises more than the input can hold.
    #[error("the input ends too early")]
    Truncated,
    /// Bytes remain after the value.
    #[error("{count} bytes remain after the value")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A version or kind byte that this protocol version does not know.
    #[error("unknown tag {tag} for {what}")]
    UnknownTag {
        /// The type being read.
        what: &'static str,
        /// The byte found.
        tag: u8,
    },
    /// A limit that belongs to the encoding itself (policies, §2; messages, §12).
    #[error("{what} is over its limit")]
    OverLimit {
        /// What is too large, too deep or too many.
        what: &'static str,
    },
    /// A value that has another, canonical encoding, or that the type forbids.
    #[error("{what} is not in its one valid form")]
    NotCanonical {
        /// The offending field.
        what: &'static str,
    },
}

/// A value that has exactly one encoding.
///
/// Encoding can't fail, since every value that came from outside came through [`Decode`], whose
/// counts fit by construction. Only a value that this program built itself can have a list too
/// long for its count; its builder must check (each such limit is a named constant), and
/// encoding such a value panics rather than write bytes that mean another value.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Length of the encoding in bytes, found without encoding.
    fn encoded_len(&self) -> usize;

    /// The encoding alone.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        self.encode(&mut out);
        out
    }
}

/// The inverse of [`Encode`]: total on any input, allocates only by counts that it has checked
/// against the bytes left.
pub trait Decode: Sized {
    /// The fewest bytes that an encoding of this type can have; bounds what a count may promise.
    const MIN_LEN: usize;

    /// Reads one value from the front of the reader.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads a value that is the whole of `bytes`.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// A cursor over bytes that came from anywhere.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not yet read.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes the next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// A count of items of at least `min_len` bytes each, refused where the input can't hold them.
    fn checked_count(&self, count: usize, min_len: usize) -> Result<usize, DecodeError> {
        let needed = count.checked_mul(min_len).ok_or(DecodeError::Truncated)?;
        if needed > self.rest.len() { Err(DecodeError::Truncated) } else { Ok(count) }
    }

    fn items<T: Decode>(&mut self, count: usize) -> Result<Vec<T>, DecodeError> {
        let count = self.checked_count(count, T::MIN_LEN)?;
        // A value can be larger in memory than on the wire. What is set aside at once is no
        // larger than the input, so that a lying count costs what its bytes cost.
        let affordable = self.rest.len().checked_div(size_of::<T>()).unwrap_or(count);
        let mut items = Vec::with_capacity(count.min(affordable));
        for _ in 0..count {
            items.push(T::decode(self)?);
        }
        Ok(items)
    }

    /// `list16<T>`.
    pub fn list16<T: Decode>(&mut self) -> Result<Vec<T>, DecodeError> {
        let count = u16::decode(self)?;
        self.items(usize::from(count))
    }

    /// `list16<T>` of at most `max` items: a longer one is refused by its count alone.
    pub fn list16_at_most<T: Decode>(
        &mut self,
        max: usize,
        what: &'static str,
    ) -> Result<Vec<T>, DecodeError> {
        let count = usize::from(u16::decode(self)?);
        if count > max {
            return Err(DecodeError::OverLimit { what });
        }
        self.items(count)
    }

    /// `list32<T>`.
    pub fn list32<T: Decode>(&mut self) -> Result<Vec<T>, DecodeError> {
        let count = u32::decode(self)?;
        let count = usize::try_from(count).map_err(|_| DecodeError::Truncated)?;
        self.items(count)
    }

    /// `bytes16`.
    pub fn bytes16(&mut self) -> Result<Vec<u8>, DecodeError> {
        let count = u16::decode(self)?;
        Ok(self.bytes(usize::from(count))?.to_vec())
    }

    /// Succeeds where nothing is left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { count }),
        }
    }
}

macro_rules! integer {
    ($($int:ty),*) => {$(
        impl Encode for $int {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn encoded_len(&self) -> usize {
                size_of::<Self>()
            }
        }
        impl Decode for $int {
            const MIN_LEN: usize = size_of::<Self>();
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self::from_le_bytes(reader.array()?))
            }
        }
    )*};
}
integer!(u8, u16, u32, u64);

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn encoded_len(&self) -> usize {
        N
    }
}

impl<const N: usize> Decode for [u8; N] {
    const MIN_LEN: usize = N;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }
    fn encoded_len(&self) -> usize {
        self.0.encoded_len().saturating_add(self.1.encoded_len())
    }
}

impl<A: Decode, B: Decode> Decode for (A, B) {
    const MIN_LEN: usize = A::MIN_LEN + B::MIN_LEN;
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((A::decode(reader)?, B::decode(reader)?))
    }
}

fn items_len<T: Encode>(count_len: usize, items: &[T]) -> usize {
    items.iter().map(T::encoded_len).fold(count_len, usize::saturating_add)
}

/// Length of a `list16` in bytes.
pub fn list16_len<T: Encode>(items: &[T]) -> usize {
    items_len(size_of::<u16>(), items)
}

/// Length of a `list32` in bytes.
pub fn list32_len<T: Encode>(items: &[T]) -> usize {
    items_len(size_of::<u32>(), items)
}

/// Length of a `bytes16` in bytes.
pub const fn bytes16_len(bytes: &[u8]) -> usize {
    bytes.len().saturating_add(size_of::<u16>())
}

/// Appends a `list16`. A value longer than its count can say has no encoding: the types that
/// reach this are built by decoding, or by builders that check the same limits first.
///
/// # Panics
/// Where `items` has more than 65,535 entries: no value of this protocol may.
#[expect(clippy::expect_used, reason = "a list without an encoding is a bug of its builder")]
pub fn put_list16<T: Encode>(out: &mut Vec<u8>, items: &[T]) {
    u16::try_from(items.len()).expect("a list16 holds at most 65,535 items").encode(out);
    for item in items {
        item.encode(out);
    }
}

/// Appends a `list32`.
///
/// # Panics
/// Where `items` has more than `u32::MAX` entries, which no message limit lets through.
#[expect(clippy::expect_used, reason = "a list without an encoding is a bug of its builder")]
pub fn put_list32<T: Encode>(out: &mut Vec<u8>, items: &[T]) {
    u32::try_from(items.len()).expect("a list32 holds at most 2^32 - 1 items").encode(out);
    for item in items {
        item.encode(out);
    }
}

/// Appends a `bytes16`.
///
/// # Panics
/// Where `bytes` is longer than 65,535.
#[expect(clippy::expect_used, reason = "a string without an encoding is a bug of its builder")]
pub fn put_bytes16(out: &mut Vec<u8>, bytes: &[u8]) {
    u16::try_from(bytes.len()).expect("a bytes16 holds at most 65,535 bytes").encode(out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_checked_against_the_bytes_left() {
        let lie = [0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6];
        assert_eq!(Reader::new(&lie).list32::<[u8; 32]>(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&lie).list16::<u32>(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&lie).bytes16(), Err(DecodeError::Truncated));
        assert_eq!(
            Reader::new(&lie).list16_at_most::<u8>(65_534, "test list"),
            Err(DecodeError::OverLimit { what: "test list" })
        );
    }

    #[test]
    fn what_is_set_aside_is_no_larger_than_the_input() {
        /// One byte on the wire, a hundred in memory.
        struct Bloated([u8; 100]);
        impl Decode for Bloated {
            const MIN_LEN: usize = 1;
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                match u8::decode(reader)? {
                    0 => Ok(Self([0; 100])),
                    tag => Err(DecodeError::UnknownTag { what: "bloated", tag }),
                }
            }
        }
        let mut input = 400_u16.to_le_bytes().to_vec();
        input.extend([0; 400]);
        let items = Reader::new(&input).list16::<Bloated>().unwrap();
        assert!(items.iter().all(|item| item.0 == [0; 100]));
        assert_eq!(items.len(), 400);
    }

    #[test]
    fn nothing_may_be_left_over() {
        assert_eq!(u16::from_bytes(&[1, 2]), Ok(0x0201));
        assert_eq!(u16::from_bytes(&[1, 2, 3, 4]), Err(DecodeError::Trailing { count: 2 }));
        assert_eq!(u16::from_bytes(&[1]), Err(DecodeError::Truncated));
    }

    #[test]
    #[should_panic(expected = "a list16 holds at most")]
    fn a_list_without_an_encoding_is_not_encoded_as_another() {
        put_list16(&mut Vec::new(), &[0_u8; 65_536]);
    }
}
