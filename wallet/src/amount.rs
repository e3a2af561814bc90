//! Amounts as people type and read them: ASH with at most 8 decimals, and no floats anywhere.

use ashlar_primitives::Amount;
use thiserror::Error;

const DECIMALS: usize = 8;

/// Text that is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum AmountError {
    #[error("an amount is digits with at most one point: 12 or 0.5")]
    Form,
    #[error("at most {DECIMALS} decimals: the smallest amount is 0.00000001 ASH")]
    TooPrecise,
    #[error("more than there can ever be")]
    TooLarge,
    #[error("nothing can't be paid")]
    Zero,
}

/// Reads `12`, `0.5`, `12.00000001`; no sign, exponent, space or separator.
pub(crate) fn parse(text: &str) -> Result<Amount, AmountError> {
    let (whole, decimals) = match text.split_once('.') {
        Some((_, "")) => return Err(AmountError::Form),
        Some(parts) => parts,
        None => (text, ""),
    };
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(decimals) {
        return Err(AmountError::Form);
    }
    if decimals.len() > DECIMALS {
        return Err(AmountError::TooPrecise);
    }
    let grains: u64 =
        format!("{whole}{decimals:0<DECIMALS$}").parse().map_err(|_| AmountError::TooLarge)?;
    match Amount::from_grains(grains) {
        Amount::ZERO => Err(AmountError::Zero),
        amount if amount.is_in_range() => Ok(amount),
        _ => Err(AmountError::TooLarge),
    }
}

/// `12.5 ASH`: no trailing zeros.
pub(crate) fn show(amount: Amount) -> String {
    let grains = amount.grains();
    let ash = Amount::ASH.grains();
    let decimals = format!("{:0DECIMALS$}", grains % ash);
    match decimals.trim_end_matches('0') {
        "" => format!("{} ASH", grains / ash),
        decimals => format!("{}.{decimals} ASH", grains / ash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_meant() {
        for (text, grains) in [
            ("1", 100_000_000),
            ("0.00000001", 1),
            ("12.5", 1_250_000_000),
            ("90071992.54740991", Amount::MAX_MONEY.grains()),
            ("007", 700_000_000),
        ] {
            assert_eq!(parse(text), Ok(Amount::from_grains(grains)), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e8", "1,0", " 1", "1 ", "0x1", "1.2.3", "١"]
        {
            assert_eq!(parse(text), Err(AmountError::Form), "{text:?}");
        }
        assert_eq!(parse("0.000000001"), Err(AmountError::TooPrecise));
        assert_eq!(parse("90071992.54740992"), Err(AmountError::TooLarge));
        assert_eq!(parse("99999999999999999999"), Err(AmountError::TooLarge));
        assert_eq!(parse("0.0"), Err(AmountError::Zero));
    }

    #[test]
    fn shown_amounts_read_back() {
        for grains in [1, 10, 100_000_000, 1_250_000_000, Amount::MAX_MONEY.grains()] {
            let amount = Amount::from_grains(grains);
            let shown = show(amount);
            assert_eq!(parse(shown.strip_suffix(" ASH").unwrap()), Ok(amount));
        }
    }
}
