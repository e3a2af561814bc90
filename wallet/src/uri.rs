//! Payment requests as text: `ashlar:ADDRESS?amount=1.5&label=Bob&message=for%20tea`, after
//! BIP-21.

use ashlar_primitives::{Address, AddressError, Amount, Ash};
use thiserror::Error;

use crate::amount::{self, AmountError};

const SCHEME: &str = "ashlar:";
/// No request is longer.
const MAX_BYTES: usize = 2_048;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) address: Address,
    pub(crate) amount: Option<Amount>,
    /// Whose address it is.
    pub(crate) label: Option<String>,
    /// What for; shown, never sent.
    pub(crate) message: Option<String>,
}

/// Why text is no payment request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum UriError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("the request's amount: {0}")]
    Amount(#[from] AmountError),
    #[error("the request is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the request has a bad escape or a control character in {field:?}")]
    Text { field: String },
    #[error("the request names {field:?} twice")]
    Twice { field: String },
    #[error(
        "the request demands {field:?}, which this wallet does not know: do not pay it with this wallet"
    )]
    Required { field: String },
}

impl Request {
    /// Reads a request, or a bare address.
    pub(crate) fn parse(text: &str, prefix: &str) -> Result<Self, UriError> {
        if text.len() > MAX_BYTES {
            return Err(UriError::TooLong);
        }
        let scheme = text.get(..SCHEME.len()).filter(|start| start.eq_ignore_ascii_case(SCHEME));
        let rest = scheme.map_or(text, |scheme| &text[scheme.len()..]);
        let (address, query) = match (scheme, rest.split_once('?')) {
            (Some(_), Some(parts)) => parts,
            _ => (rest, ""),
        };
        let address = Address::parse(address, prefix)?;
        let mut request = Self { address, amount: None, label: None, message: None };
        for (field, value) in query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| part.split_once('=').unwrap_or((part, "")))
        {
            let value =
                unescape(value).ok_or_else(|| UriError::Text { field: field.to_owned() })?;
            let news = match field {
                "amount" => request.amount.replace(amount::parse(&value)?).is_none(),
                "label" => request.label.replace(value).is_none(),
                "message" => request.message.replace(value).is_none(),
                field if field.starts_with("req-") => {
                    return Err(UriError::Required { field: field.to_owned() });
                }
                // By BIP-21 what is unknown and not required is passed over.
                _ => true,
            };
            if !news {
                return Err(UriError::Twice { field: field.to_owned() });
            }
        }
        Ok(request)
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}", self.address)?;
        let amount = self.amount.map(|amount| Ash(amount).to_string());
        let fields = [("amount", &amount), ("label", &self.label), ("message", &self.message)];
        let mut mark = '?';
        for (field, value) in fields {
            if let Some(value) = value {
                write!(f, "{mark}{field}={}", escape(value))?;
                mark = '&';
            }
        }
        Ok(())
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let mut decoded = [0];
            hex::decode_to_slice(digits, &mut decoded).ok()?;
            bytes.extend(decoded);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::{AshError, Lock, PublicKey};

    use super::*;

    fn request() -> Request {
        Request {
            address: Address::new("ash", Lock::key(PublicKey([7; 32]))).unwrap(),
            amount: Some(Amount::from_grains(150_000_000)),
            label: Some("Bob & Söhne".to_owned()),
            message: Some("50 % of tea?".to_owned()),
        }
    }

    #[test]
    fn what_was_asked_is_what_is_read() {
        let text = request().to_string();
        assert!(
            text.ends_with(
                "?amount=1.5&label=Bob%20%26%20S%C3%B6hne&message=50%20%25%20of%20tea%3F"
            )
        );
        assert_eq!(Request::parse(&text, "ash"), Ok(request()));
        let bare = Request { amount: None, label: None, message: None, ..request() };
        assert_eq!(Request::parse(&bare.to_string(), "ash"), Ok(bare.clone()));
        let address = bare.address.to_string();
        assert_eq!(Request::parse(&address, "ash"), Ok(bare.clone()));
        let loud = format!("ASHLAR:{}?unknown=1", address.to_uppercase());
        assert_eq!(Request::parse(&loud, "ash"), Ok(bare));
    }

    #[test]
    fn what_can_mislead_is_refused() {
        let address = request().address.to_string();
        let parse = |query: &str| Request::parse(&format!("ashlar:{address}?{query}"), "ash");
        assert!(matches!(parse("amount=1&amount=2"), Err(UriError::Twice { .. })));
        assert!(matches!(parse("req-escrow=1"), Err(UriError::Required { .. })));
        assert!(matches!(
            parse("amount=1e8"),
            Err(UriError::Amount(AmountError::Ash(AshError::Form)))
        ));
        for text in ["label=%1b", "label=%", "label=%f", "label=%ff", "label=%zz"] {
            assert!(matches!(parse(text), Err(UriError::Text { .. })), "{text}");
        }
        assert_eq!(parse(&"a".repeat(3_000)), Err(UriError::TooLong));
        assert!(matches!(Request::parse("ashlar:", "ash"), Err(UriError::Address(_))));
        assert!(matches!(Request::parse(&address, "dev"), Err(UriError::Address(_))));
    }
}
