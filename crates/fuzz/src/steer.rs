//! Bytes as choices: what steers a generator, so that mutating the bytes changes what is made.

/// A cursor over a fuzzer's bytes. At their end every choice is the first one, so that any bytes
/// steer something and a cut input steers less of the same.
#[derive(Clone, Debug)]
pub struct Steer<'a> {
    rest: &'a [u8],
}

impl<'a> Steer<'a> {
    /// Starts at the front.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all choices from here on are the first ones.
    pub const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not yet used, all of it.
    pub const fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// The next bytes as an array, zeros after the end.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let (taken, rest) = self.rest.split_at(N.min(self.rest.len()));
        array[..taken.len()].copy_from_slice(taken);
        self.rest = rest;
        array
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    /// Any number.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Below `bound`, which is at least 1; one byte where that is enough.
    pub fn below(&mut self, bound: usize) -> usize {
        let number = if bound <= 256 {
            usize::from(self.byte())
        } else {
            usize::try_from(self.u32()).unwrap()
        };
        number % bound
    }

    /// One of two: the first one after the end.
    pub fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    /// True once in so many times, and never after the end.
    pub fn one_in(&mut self, times: usize) -> bool {
        !self.is_done() && self.below(times) == times - 1
    }

    /// One of these.
    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// A number where limits are: small, just around a power of two, or anything.
    pub fn edge(&mut self) -> u64 {
        let byte = self.byte();
        let power = 1_u64 << (byte % 64);
        match self.byte() % 5 {
            0 => u64::from(byte),
            1 => power - 1,
            2 => power,
            3 => power + 1,
            _ => self.u64(),
        }
    }

    /// The same in 32 bits.
    pub fn edge32(&mut self) -> u32 {
        let edge = self.edge();
        u32::try_from(edge).unwrap_or(u32::MAX - u32::try_from(edge % 3).unwrap())
    }

    /// So many bytes, zeros after the end.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}
