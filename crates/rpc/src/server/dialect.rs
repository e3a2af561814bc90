//! JSON-RPC 1.0 and 1.1, as clients made for old Bitcoin nodes speak it.
//!
//! They send no `jsonrpc` member (or `"1.0"`, `"1.1"`), any `id` or none, and look for `result`
//! and `error` both, one of them `null`; a single call that fails has an HTTP status that says so
//! (Bitcoin Core, `src/httprpc.cpp` and `src/rpc/request.cpp`). A batch may mix dialects.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How a call is answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialect<'a> {
    /// As JSON-RPC 2.0 says.
    New,
    /// As 1.0 and 1.1 did, with the id that came, which may be anything.
    Old(&'a RawValue),
}

/// A call in the old dialect.
#[derive(Debug, Deserialize)]
pub(super) struct OldCall<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: &'a RawValue,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

impl<'a> OldCall<'a> {
    /// `None`: it is of another dialect, or no call at all.
    pub(super) fn read(json: &'a [u8]) -> Option<Self> {
        let call: Self = serde_json::from_slice(json).ok()?;
        let is_old =
            call.jsonrpc.is_none_or(|version| matches!(version.get(), "\"1.0\"" | "\"1.1\""));
        is_old.then_some(call)
    }

    /// The name of its method, where that is text.
    pub(super) fn method(&self) -> Option<String> {
        serde_json::from_str(self.method.get()).ok()
    }

    /// `null` stands for none.
    pub(super) fn params(&self) -> Option<&'a RawValue> {
        self.params.filter(|params| params.get() != "null")
    }

    /// How it is to be answered.
    pub(super) fn dialect(&self) -> Dialect<'a> {
        Dialect::Old(self.id.unwrap_or(RawValue::NULL))
    }
}

#[derive(Deserialize)]
struct NewAnswer<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tip: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tip_height: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct OldAnswer<'a> {
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    id: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    tip: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tip_height: Option<&'a RawValue>,
}

impl Dialect<'_> {
    /// An answer of JSON-RPC 2.0 in this dialect.
    pub(super) fn write(self, answer: String) -> String {
        let Self::Old(id) = self else { return answer };
        let old = || {
            let NewAnswer { result, error, tip, tip_height } = serde_json::from_str(&answer)?;
            serde_json::to_string(&OldAnswer { result, error, id, tip, tip_height })
        };
        old().unwrap_or_else(|error| {
            tracing::error!(%error, "an RPC answer is no JSON-RPC");
            answer
        })
    }

    /// The HTTP status of a single call that failed with this number, or did not fail: 2.0 tells
    /// no more by it than that there is an answer; 1.0 what Bitcoin Core's `JSONErrorReply` does.
    pub(super) fn status(self, error: Option<i32>) -> StatusCode {
        match (self, error) {
            (Self::New, _) | (_, None) => StatusCode::OK,
            (Self::Old(_), Some(-32_600)) => StatusCode::BAD_REQUEST,
            (Self::Old(_), Some(-32_601)) => StatusCode::NOT_FOUND,
            (Self::Old(_), Some(_)) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn answers_go_back_with_the_id_that_came_whatever_it_was() {
        for (id, told) in [
            (r#""id":{"a":[1]},"#, json!({ "a": [1] })),
            (r#""id":1.50,"#, json!(1.5)),
            (r#""id":null,"#, Value::Null),
            ("", Value::Null),
        ] {
            let call = format!(r#"{{{id}"method":"m","params":null}}"#);
            let call = OldCall::read(call.as_bytes()).unwrap();
            assert!(call.params().is_none());
            let answer = r#"{"jsonrpc":"2.0","id":null,"result":null,"tip":"a","tip_height":3}"#;
            let old: Value =
                serde_json::from_str(&call.dialect().write(answer.to_owned())).unwrap();
            let whole = json!({ "result": null, "error": null, "id": told, "tip": "a",
                "tip_height": 3 });
            assert_eq!(old, whole);
        }
    }

    #[test]
    fn a_failed_call_has_a_status_in_the_old_dialect_alone() {
        let old = Dialect::Old(RawValue::NULL);
        for (number, status) in [(-8, 500), (-32_601, 404), (-32_600, 400)] {
            assert_eq!(old.status(Some(number)), status);
            assert_eq!(Dialect::New.status(Some(number)), StatusCode::OK);
        }
        assert_eq!(old.status(None), StatusCode::OK);
        let answer = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-8,"message":"so"}}"#;
        assert_eq!(
            old.write(answer.to_owned()),
            r#"{"result":null,"error":{"code":-8,"message":"so"},"id":null}"#
        );
        assert_eq!(Dialect::New.write(answer.to_owned()), answer);
    }
}
