//! `address.json`: addresses and the locks they stand for (PROTOCOL.md §2).

use ashlar_primitives::Address;
use serde::Deserialize;

use super::{
    Check, Failure, Verdict,
    json::{LockJson, ToValue},
};

#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Case {
    Good {
        prefix: String,
        address: String,
        lock: LockJson,
    },
    Bad {
        prefix: String,
        address: String,
        #[expect(dead_code, reason = "for people: any refusal is right")]
        reason: String,
    },
}

impl Check for Case {
    fn check(&self) -> Verdict {
        match self {
            Self::Good { prefix, address, lock } => {
                let expected = Address::new(prefix, lock.to_value()?)?;
                Failure::unless_equal("parsed", &Address::parse(address, prefix)?, &expected)?;
                Failure::unless_equal("shown", &expected.to_string(), &address.to_lowercase())
            }
            Self::Bad { prefix, address, .. } => {
                Failure::unless_refused(Address::parse(address, prefix))
            }
        }
    }
}
