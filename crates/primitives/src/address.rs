//! Addresses: locks as people write them, in bech32m (PROTOCOL.md §2, after BIP-350).

use core::{fmt, iter};

use bech32::{
    Bech32m, ByteIterExt, Fe32, Fe32IterExt, Hrp,
    primitives::decode::{CharError, UncheckedHrpstring, UncheckedHrpstringError},
};
use thiserror::Error;

use crate::lock::Lock;

/// A lock and the prefix of the chain that it is meant for.
///
/// Made by [`Address::new`] and [`Address::parse`] alone, so that every one can be written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Address {
    /// The chain's `address_prefix`, in lower case.
    pub prefix: String,
    /// Who is paid.
    pub lock: Lock,
}

/// Why text is not an address of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// No prefix, no separator `1`, or nothing behind it.
    #[error("an address is a prefix, the digit 1 and the data; part of that is missing")]
    Layout,
    /// A character that no address has.
    #[error("an address can't contain {character:?}")]
    Character {
        /// The first such.
        character: char,
    },
    /// Upper and lower case together.
    #[error("an address is all lower case or all upper case, not both")]
    MixedCase,
    /// An address of another chain.
    #[error("this address starts with {found:?}, but those of this chain with {expected:?}")]
    WrongPrefix {
        /// This chain's.
        expected: String,
        /// In the text.
        found: String,
    },
    /// The bech32m checksum is wrong: something was mistyped or left out.
    #[error("the checksum is wrong: look for a mistyped character")]
    Checksum,
    /// A correct checksum over data of another length.
    #[error("an address holds a version and 32 bytes, this one is shorter or longer")]
    ProgramLength,
    /// The bits behind the last byte are not zero.
    #[error("the padding behind the last byte is not zero")]
    Padding,
    /// A lock version that this protocol version does not know.
    #[error("lock version {version} is unknown: the address may need newer software")]
    UnknownVersion {
        /// The version found.
        version: u8,
    },
    /// A chain prefix that is not 1 to 16 lower-case letters (§7).
    #[error("{prefix:?} can't be an address prefix: it must be 1 to 16 lower-case letters")]
    Prefix {
        /// What was given.
        prefix: String,
    },
}

impl Address {
    /// Most letters of a chain's address prefix (§7).
    pub const MAX_PREFIX_LEN: usize = 16;

    /// 5-bit groups of an address: one for the version, 52 for 256 bits.
    const GROUPS: usize = 1 + 52;
    /// The last group carries one bit of the program, then zeros.
    const PADDING_MASK: u8 = 0b0000_1111;

    /// The address of a lock on the chain with this prefix.
    ///
    /// # Errors
    /// Where the lock's version is unknown, so that nobody could be paid there, and where no
    /// chain can have this prefix.
    pub fn new(prefix: &str, lock: Lock) -> Result<Self, AddressError> {
        if !Self::is_prefix(prefix) {
            return Err(AddressError::Prefix { prefix: prefix.to_owned() });
        }
        if !lock.is_known() {
            return Err(AddressError::UnknownVersion { version: lock.version });
        }
        Ok(Self { prefix: prefix.to_owned(), lock })
    }

    /// Whether a chain may have this prefix: 1 to 16 lower-case ASCII letters (§7).
    pub fn is_prefix(text: &str) -> bool {
        (1..=Self::MAX_PREFIX_LEN).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase())
    }

    /// Reads an address of the chain with this prefix.
    ///
    /// # Errors
    /// The first reason why the text is not one.
    pub fn parse(text: &str, prefix: &str) -> Result<Self, AddressError> {
        let unchecked = UncheckedHrpstring::new(text)?;
        let found = unchecked.hrp().to_lowercase();
        if found != prefix {
            return Err(AddressError::WrongPrefix { expected: prefix.to_owned(), found });
        }
        let checked = unchecked
            .validate_and_remove_checksum::<Bech32m>()
            .map_err(|_| AddressError::Checksum)?;

        let mut groups = checked.fe32_iter();
        let version = groups.next().ok_or(AddressError::ProgramLength)?.to_u8();
        if checked.data_part_ascii_no_checksum().len() != Self::GROUPS {
            return Err(AddressError::ProgramLength);
        }
        let last = checked.fe32_iter().last().map_or(0, Fe32::to_u8);
        if last & Self::PADDING_MASK != 0 {
            return Err(AddressError::Padding);
        }
        let program = groups
            .fes_to_bytes()
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| AddressError::ProgramLength)?;
        Self::new(prefix, Lock { version, program })
    }
}

impl From<UncheckedHrpstringError> for AddressError {
    fn from(error: UncheckedHrpstringError) -> Self {
        match error {
            UncheckedHrpstringError::Char(CharError::InvalidChar(character)) => {
                Self::Character { character }
            }
            UncheckedHrpstringError::Char(CharError::MixedCase) => Self::MixedCase,
            _ => Self::Layout,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = Hrp::parse(&self.prefix).map_err(|_| fmt::Error)?;
        let version = Fe32::try_from(self.lock.version).map_err(|_| fmt::Error)?;
        let groups = iter::once(version).chain(self.lock.program.into_iter().bytes_to_fes());
        groups
            .with_checksum::<Bech32m>(&prefix)
            .chars()
            .try_for_each(|character| fmt::Write::write_char(f, character))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_written_is_an_address() {
        let lock = Lock { version: 1, program: [7; 32] };
        for prefix in ["a", "ash", "abcdefghijklmnop"] {
            let address = Address::new(prefix, lock).unwrap();
            let text = address.to_string();
            assert_eq!(Address::parse(&text, prefix), Ok(address.clone()));
            assert_eq!(Address::parse(&text.to_uppercase(), prefix), Ok(address));
        }
        for prefix in ["", "Ash", "a1", "ä", "abcdefghijklmnopq"] {
            let refusal = Err(AddressError::Prefix { prefix: prefix.to_owned() });
            assert_eq!(Address::new(prefix, lock), refusal);
        }
        let unknown = Lock { version: 200, program: [7; 32] };
        assert_eq!(
            Address::new("ash", unknown),
            Err(AddressError::UnknownVersion { version: 200 })
        );
    }

    #[test]
    fn every_mistyped_letter_is_noticed() {
        let text = Address::new("ash", Lock { version: 0, program: [0x5a; 32] }).unwrap();
        let text = text.to_string();
        for place in 0..text.len() {
            for wrong in "023456789acdefghjklmnpqrstuvwxyz".chars() {
                let mut typed = text.clone();
                typed.replace_range(place..=place, &wrong.to_string());
                assert_eq!(Address::parse(&typed, "ash").is_ok(), typed == text, "{typed}");
            }
        }
    }
}
