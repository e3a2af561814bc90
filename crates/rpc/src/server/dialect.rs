//! JSON-RPC 1.0 and 1.1, as clients made for old Bitcoin nodes speak it, put into 2.0 and back.
//!
//! They send no `jsonrpc` member (or `"1.0"`, `"1.1"`), any `id` or none, and look for `result`
//! and `error` both, one of them `null`; a single call that fails has an HTTP status that says so
//! (Bitcoin Core, `src/httprpc.cpp` and `src/rpc/request.cpp`). A batch may mix dialects.

use core::fmt;

use http::StatusCode;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// What the ids begin with that stand for an old client's own on the way through.
const ID_PREFIX: &str = "dialect-1-";

/// A request with something of the old dialect in it, put into the new.
pub(super) struct Translated {
    /// The same in JSON-RPC 2.0.
    pub(super) body: Vec<u8>,
    /// Of the calls that were in the old dialect, by the number of their new id.
    ids: Vec<Box<RawValue>>,
    is_single: bool,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: &'a RawValue,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

impl Call<'_> {
    fn is_old(&self) -> bool {
        self.jsonrpc.is_none_or(|version| matches!(version.get(), "\"1.0\"" | "\"1.1\""))
    }
}

#[derive(Serialize)]
struct NewCall<'a> {
    jsonrpc: &'static str,
    id: String,
    method: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct NewAnswer<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tip: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tip_height: Option<&'a RawValue>,
}

/// Of an error, what decides over the status.
#[derive(Deserialize)]
struct ErrorNumber {
    code: i64,
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

/// The calls of a body; more than `max`, which the server refuses anyhow, are not even listed.
fn calls(body: &[u8], max: usize, is_single: bool) -> Option<Vec<&RawValue>> {
    if is_single {
        return Some(vec![serde_json::from_slice(body).ok()?]);
    }
    AtMost(max).list(body).ok()
}

/// Reads a list of so many values, and refuses a longer one before it holds it.
pub(super) struct AtMost(pub(super) usize);

impl AtMost {
    pub(super) fn list(self, body: &[u8]) -> serde_json::Result<Vec<&RawValue>> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let list = json.deserialize_seq(self)?;
        json.end()?;
        Ok(list)
    }
}

impl<'de> Visitor<'de> for AtMost {
    type Value = Vec<&'de RawValue>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {}", self.0)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some(one) = list.next_element()? {
            if found.len() == self.0 {
                return Err(de::Error::invalid_length(self.0, &self));
            }
            found.push(one);
        }
        Ok(found)
    }
}

/// Puts a body into JSON-RPC 2.0; `None` where it is nothing else, or nothing at all: the server
/// answers it as it stands.
pub(super) fn translate(body: &[u8], is_single: bool, max_calls: usize) -> Option<Translated> {
    let mut ids: Vec<Box<RawValue>> = Vec::new();
    let mut translated = Vec::new();
    for call in calls(body, max_calls, is_single)? {
        let new = match serde_json::from_str::<Call<'_>>(call.get()) {
            Ok(old) if old.is_old() => {
                let id = format!("{ID_PREFIX}{}", ids.len());
                ids.push(old.id.map_or(RawValue::NULL, |id| id).to_owned());
                let params = old.params.filter(|params| params.get() != "null");
                let new = NewCall { jsonrpc: "2.0", id, method: old.method, params };
                serde_json::value::to_raw_value(&new).ok()?
            }
            _ => call.to_owned(),
        };
        translated.push(new);
    }
    if ids.is_empty() {
        return None;
    }
    let body = match translated.first() {
        Some(call) if is_single => call.get().as_bytes().to_vec(),
        _ => serde_json::to_vec(&translated).ok()?,
    };
    Some(Translated { body, ids, is_single })
}

impl Translated {
    /// The answer in the caller's dialect, and its status. `None`: it is not what a JSON-RPC
    /// server answers, and is passed on as it is.
    pub(super) fn restore(&self, answer: &[u8]) -> Option<(StatusCode, Vec<u8>)> {
        if self.is_single {
            let (old, error) = self.old(serde_json::from_slice(answer).ok()?)?;
            return Some((status_of(error), old.get().as_bytes().to_vec()));
        }
        let answers: Vec<&RawValue> = serde_json::from_slice(answer).ok()?;
        let restored: Vec<Box<RawValue>> = answers
            .into_iter()
            .map(|answer| self.old(answer).map_or_else(|| answer.to_owned(), |(old, _)| old))
            .collect();
        Some((StatusCode::OK, serde_json::to_vec(&restored).ok()?))
    }

    /// One answer in the old dialect, with the number of its error; `None` for an answer to a call
    /// that was not.
    fn old(&self, answer: &RawValue) -> Option<(Box<RawValue>, Option<i64>)> {
        let new: NewAnswer<'_> = serde_json::from_str(answer.get()).ok()?;
        let id: String = serde_json::from_str(new.id.get()).ok()?;
        let place: usize = id.strip_prefix(ID_PREFIX)?.parse().ok()?;
        let NewAnswer { result, error, tip, tip_height, .. } = new;
        let old = OldAnswer { result, error, id: self.ids.get(place)?, tip, tip_height };
        let number = new.error.and_then(|error| serde_json::from_str(error.get()).ok());
        Some((serde_json::value::to_raw_value(&old).ok()?, number.map(|ErrorNumber { code }| code)))
    }
}

/// As Bitcoin Core's `JSONErrorReply` chooses it.
fn status_of(error: Option<i64>) -> StatusCode {
    match error {
        None => StatusCode::OK,
        Some(-32_600) => StatusCode::BAD_REQUEST,
        Some(-32_601) => StatusCode::NOT_FOUND,
        Some(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    fn single(call: &str) -> Option<Translated> {
        translate(call.as_bytes(), true, 10)
    }

    #[test]
    fn calls_without_a_version_or_of_the_first_are_translated_and_others_left_alone() {
        for old in [
            r#"{"method":"getblockhash","params":[1],"id":"x"}"#,
            r#"{"jsonrpc":"1.0","id":"x","method":"getblockhash","params":[1]}"#,
            r#"{"version":"1.1","method":"getblockhash","params":[1],"id":"x"}"#,
            r#"{"jsonrpc":"1.1","id":"x","method":"getblockhash","params":[1]}"#,
        ] {
            let translated = single(old).unwrap();
            let expected = json!({ "jsonrpc": "2.0", "id": "dialect-1-0",
                "method": "getblockhash", "params": [1] });
            assert_eq!(value(&translated.body), expected, "{old}");
        }
        for other in [
            r#"{"jsonrpc":"2.0","id":1,"method":"getblockcount"}"#,
            r#"{"jsonrpc":"3.0","id":1,"method":"getblockcount"}"#,
            r#"{"jsonrpc":2,"id":1,"method":"getblockcount"}"#,
            "{}",
            "7",
            "{",
            "",
            r#"{"method":"a","method":"b"}"#,
        ] {
            assert!(single(other).is_none(), "{other}");
        }
    }

    #[test]
    fn answers_go_back_with_the_id_that_came_whatever_it_was() {
        for (id, told) in [
            (r#""id":{"a":[1]},"#, json!({ "a": [1] })),
            (r#""id":1.50,"#, json!(1.5)),
            (r#""id":null,"#, Value::Null),
            ("", Value::Null),
        ] {
            let translated = single(&format!(r#"{{{id}"method":"m","params":null}}"#)).unwrap();
            assert_eq!(value(&translated.body).get("params"), None);
            let answer = br#"{"jsonrpc":"2.0","id":"dialect-1-0","result":null}"#;
            let (status, old) = translated.restore(answer).unwrap();
            assert_eq!(status, 200);
            assert_eq!(value(&old), json!({ "result": null, "error": null, "id": told }));
        }
    }

    #[test]
    fn a_failed_single_call_has_a_status_and_a_batch_has_none() {
        let translated = single(r#"{"method":"m","params":[],"id":1}"#).unwrap();
        for (number, status) in [(-8, 500), (-32_601, 404), (-32_600, 400)] {
            let error = json!({ "code": number, "message": "so" });
            let answer = json!({ "jsonrpc": "2.0", "id": "dialect-1-0", "error": error });
            let (found, old) = translated.restore(answer.to_string().as_bytes()).unwrap();
            assert_eq!(found, status);
            assert_eq!(value(&old), json!({ "result": null, "error": error, "id": 1 }));
        }
        let batch = r#"[{"method":"a","id":7},{"jsonrpc":"2.0","id":8,"method":"b"},
            {"jsonrpc":"2.0","method":"c"}, 9, {"method":"d"}]"#;
        let translated = translate(batch.as_bytes(), false, 5).unwrap();
        let answer = json!([
            { "jsonrpc": "2.0", "id": "dialect-1-0", "result": 1 },
            { "jsonrpc": "2.0", "id": 8, "result": 2 },
            { "jsonrpc": "2.0", "id": null, "error": { "code": -32_600, "message": "no" } },
            { "jsonrpc": "2.0", "id": "dialect-1-1", "error": { "code": -8, "message": "so" } },
        ]);
        let (status, old) = translated.restore(answer.to_string().as_bytes()).unwrap();
        let mut expected = answer;
        expected[0] = json!({ "result": 1, "error": null, "id": 7 });
        expected[3] =
            json!({ "result": null, "error": { "code": -8, "message": "so" }, "id": null });
        assert_eq!((status, value(&old)), (StatusCode::OK, expected));
        // One call too many: it is the server's to refuse.
        assert!(translate(batch.as_bytes(), false, 4).is_none());
        // An answer that is none of ours goes back as it is.
        assert!(translated.restore(b"nonsense").is_none());
    }
}
