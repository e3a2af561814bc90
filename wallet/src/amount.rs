//! Amounts that are paid: never nothing, and shown with their unit.

use ashlar_primitives::{Amount, Ash, AshError};
use thiserror::Error;

/// Text that is not an amount to be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum AmountError {
    #[error(transparent)]
    Ash(#[from] AshError),
    #[error("nothing can't be paid")]
    Zero,
}

/// Reads `12`, `0.5`, `12.00000001` as [`Ash`].
pub(crate) fn parse(text: &str) -> Result<Amount, AmountError> {
    match text.parse::<Ash>()?.0 {
        Amount::ZERO => Err(AmountError::Zero),
        amount => Ok(amount),
    }
}

/// `12.5 ASH`: no trailing zeros.
pub(crate) fn show(amount: Amount) -> String {
    format!("{} ASH", Ash(amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paid_is_more_than_nothing() {
        assert_eq!(parse("0.0"), Err(AmountError::Zero));
        assert_eq!(parse("1e8"), Err(AmountError::Ash(AshError::Form)));
        let amount = parse("12.50").unwrap();
        assert_eq!(show(amount), "12.5 ASH");
    }
}
