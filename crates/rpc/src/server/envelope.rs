//! What stands round the calls of a message, whichever way it came: is it JSON, is it a batch,
//! and which of its parts are calls, in which dialect.

use core::fmt;

use jsonrpsee::types::{Id, InvalidRequest, Notification, Request};
use serde::{
    Deserializer as _,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::dialect::{Dialect, OldCall};
use crate::error::RpcError;

/// One part of a message.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    /// A call. In the old dialect its own id is the dialect's.
    Call(Request<'a>, Dialect<'a>),
    /// A call without an id, which wants no answer. None of the methods is of use as one: it is
    /// taken, and nothing is done.
    Notification,
    /// JSON, but no call; and the id that it has all the same.
    Fault(Id<'a>, Dialect<'a>),
}

/// What somebody sent.
#[derive(Debug)]
pub(super) enum Message<'a> {
    /// Not in a list.
    Single(Entry<'a>),
    /// A list, not empty.
    Batch(Vec<Entry<'a>>),
}

/// Which dialects are spoken: a WebSocket is younger than the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialects {
    /// JSON-RPC 2.0 and what was before it.
    All,
    /// JSON-RPC 2.0.
    New,
}

impl<'a> Message<'a> {
    /// # Errors
    /// `not-json`, `empty-batch`, `batch-too-long`: there is no part that could be answered.
    pub(super) fn read(
        text: &'a [u8],
        max_calls: usize,
        dialects: Dialects,
    ) -> Result<Self, RpcError> {
        let not_json = |error: serde_json::Error| RpcError::NotJson { reason: error.to_string() };
        match text.trim_ascii_start().first() {
            Some(b'{') => match Entry::read(text, dialects) {
                Entry::Fault(id, dialect) => {
                    serde_json::from_slice::<&RawValue>(text).map_err(not_json)?;
                    Ok(Self::Single(Entry::Fault(id, dialect)))
                }
                entry => Ok(Self::Single(entry)),
            },
            Some(b'[') => match AtMost(max_calls).list(text) {
                Ok(list) if list.is_empty() => Err(RpcError::EmptyBatch),
                Ok(list) => {
                    let entries = list.into_iter();
                    let entry = |json: &'a RawValue| Entry::read(json.get().as_bytes(), dialects);
                    Ok(Self::Batch(entries.map(entry).collect()))
                }
                // By category, a list that is too long is right JSON.
                Err(error) if error.is_data() => Err(RpcError::BatchTooLong { max: max_calls }),
                Err(error) => Err(not_json(error)),
            },
            _ => Err(RpcError::NotJson { reason: "it begins with neither { nor [".to_owned() }),
        }
    }
}

impl<'a> Entry<'a> {
    fn read(json: &'a [u8], dialects: Dialects) -> Self {
        if let Ok(request) = serde_json::from_slice::<Request<'_>>(json) {
            return Self::Call(request, Dialect::New);
        }
        if serde_json::from_slice::<Notification<'_, Option<&RawValue>>>(json).is_ok() {
            return Self::Notification;
        }
        if dialects == Dialects::All
            && let Some(call) = OldCall::read(json)
        {
            let dialect = call.dialect();
            return match call.method() {
                Some(method) => {
                    let params = call.params().map(ToOwned::to_owned);
                    Self::Call(Request::owned(method, params, Id::Null), dialect)
                }
                None => Self::Fault(Id::Null, dialect),
            };
        }
        let id = serde_json::from_slice(json).map_or(Id::Null, |InvalidRequest { id }| id);
        Self::Fault(id, Dialect::New)
    }
}

/// Reads a list of so many values, and refuses a longer one before it holds it.
struct AtMost(usize);

impl AtMost {
    fn list(self, body: &[u8]) -> serde_json::Result<Vec<&RawValue>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Message<'_>, RpcError> {
        Message::read(text.as_bytes(), 3, Dialects::All)
    }

    /// `method params id`, of a call in the new or the old dialect; what else it is.
    fn shown(entry: &Entry<'_>) -> String {
        let id_of = |id: &Id<'_>| serde_json::to_string(id).unwrap();
        match entry {
            Entry::Call(request, dialect) => {
                let params = request.params.as_ref().map_or("-", |params| params.get());
                let id = match dialect {
                    Dialect::New => format!("new {}", id_of(&request.id)),
                    Dialect::Old(id) => format!("old {id}"),
                };
                format!("{} {params} {id}", request.method)
            }
            Entry::Notification => "notification".to_owned(),
            Entry::Fault(_, Dialect::Old(id)) => format!("fault old {id}"),
            Entry::Fault(id, Dialect::New) => format!("fault new {}", id_of(id)),
        }
    }

    #[test]
    fn a_single_call_is_known_by_its_dialect_and_a_fault_has_the_id_that_came() {
        for (text, expected) in [
            (r#" {"jsonrpc":"2.0","id":1,"method":"m"}"#, "m - new 1"),
            (r#"{"jsonrpc":"2.0","id":"x","method":"m","params":[1]}"#, "m [1] new \"x\""),
            (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, "m - new null"),
            (r#"{"method":"m","params":[1],"id":"x"}"#, "m [1] old \"x\""),
            (r#"{"jsonrpc":"1.0","id":"x","method":"m","params":null}"#, "m - old \"x\""),
            (r#"{"version":"1.1","method":"m","id":[1]}"#, "m - old [1]"),
            (r#"{"jsonrpc":"1.1","method":"m"}"#, "m - old null"),
            (r#"{"jsonrpc":"2.0","method":"m","params":[1]}"#, "notification"),
            (r#"{"method":5,"id":7}"#, "fault old 7"),
            (r#"{"jsonrpc":"2.0","id":"x","method":5}"#, "fault new \"x\""),
            (r#"{"jsonrpc":"3.0","id":1,"method":"m"}"#, "fault new 1"),
            (r#"{"jsonrpc":2,"id":1,"method":"m"}"#, "fault new 1"),
            (r#"{"method":"a","method":"b"}"#, "fault new null"),
            ("{}", "fault new null"),
        ] {
            let Message::Single(entry) = read(text).unwrap() else { panic!("{text}") };
            assert_eq!(shown(&entry), expected, "{text}");
        }
        let old = br#"{"method":"m","id":1}"#;
        let Message::Single(entry) = Message::read(old, 3, Dialects::New).unwrap() else {
            panic!("one call")
        };
        assert_eq!(shown(&entry), "fault new 1", "where the old dialect is not spoken");
    }

    #[test]
    fn a_batch_has_its_parts_in_order_whatever_they_are() {
        let batch = r#"[{"method":"a","id":7}, 9, {"jsonrpc":"2.0","id":8,"method":"b"}]"#;
        let Message::Batch(entries) = read(batch).unwrap() else { panic!("a list") };
        let shown: Vec<String> = entries.iter().map(shown).collect();
        assert_eq!(shown, ["a - old 7", "fault new null", "b - new 8"]);
    }

    #[test]
    fn each_fault_of_a_whole_message_has_its_own_cause() {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#;
        let batch = |calls: usize| format!("[{}]", vec![call; calls].join(","));
        for (text, code) in [
            (batch(1), None),
            (batch(3), None),
            ("[1,2,3]".to_owned(), None),
            (batch(4), Some("batch-too-long")),
            ("[]".to_owned(), Some("empty-batch")),
            ("[1,".to_owned(), Some("not-json")),
            ("[1] 2".to_owned(), Some("not-json")),
            ("[".repeat(10_000), Some("not-json")),
            ("{".to_owned(), Some("not-json")),
            ("{} {}".to_owned(), Some("not-json")),
            (String::new(), Some("not-json")),
            ("nonsense".to_owned(), Some("not-json")),
        ] {
            let found = read(&text).err().map(|error| error.code());
            let short: String = text.chars().take(80).collect();
            assert_eq!(found, code, "{short}");
        }
    }
}
