//! Which tip an answer was made at, told beside its result: an answer that is one number has no
//! place of its own for it.
//!
//! A call's task carries a note. Whoever reads a view or hears the engine writes down its tip;
//! where an answer states a tip itself, that one counts.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use jsonrpsee::{
    core::server::{MethodResponse, ResponsePayload},
    types::{ErrorObject, ErrorObjectOwned, Id},
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::value::RawValue;
use tokio::task_local;

use crate::{error::ErrorData, types::Tip};

task_local! {
    static NOTE: Arc<Note>;
}

/// What one call looked at.
#[derive(Debug, Default)]
pub(super) struct Note(Mutex<Noted>);

#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    seen: Option<Tip>,
    stated: Option<Tip>,
}

impl Note {
    /// The tip to tell; `None` where the call looked at nothing of the chain.
    pub(super) fn tip(&self) -> Option<Tip> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.stated.or(noted.seen)
    }

    fn write(&self, change: impl FnOnce(&mut Noted)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Runs a call that writes to this note.
pub(super) async fn noting<F: Future>(note: Arc<Note>, call: F) -> F::Output {
    NOTE.scope(note, call).await
}

/// The part of a call that runs on another thread, with the note of the task it comes from.
pub(super) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let note = NOTE.try_with(Arc::clone).ok();
    move || match note {
        Some(note) => NOTE.sync_scope(note, work),
        None => work(),
    }
}

/// The call looked at the chain as it was at this tip.
pub(super) fn seen(tip: Tip) {
    note(|noted| noted.seen = Some(tip));
}

/// The answer is of this tip.
pub(super) fn stated(tip: Tip) {
    note(|noted| noted.stated = Some(tip));
}

fn note(change: impl FnOnce(&mut Noted)) {
    // Outside of a call, as for a subscription, nobody asks.
    NOTE.try_with(|note| note.write(change)).ok();
}

/// The response with the tip in it: beside a result, in the `data` of an error.
pub(super) fn told(
    response: MethodResponse,
    id: Id<'_>,
    at: Tip,
    max_bytes: usize,
) -> MethodResponse {
    if !response.is_method_call() {
        // A subscription's answer has been sent; its events have cursors.
        return response;
    }
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        result: Option<&'a RawValue>,
        #[serde(borrow)]
        error: Option<ErrorObject<'a>>,
    }
    match serde_json::from_str(response.as_json().get()) {
        Ok(Answer { result: Some(result), .. }) => {
            MethodResponse::response(id, ResponsePayload::success(Told { result, at }), max_bytes)
        }
        Ok(Answer { error: Some(error), .. }) => match error_told(&error, at) {
            Some(error) => MethodResponse::error(id, error),
            None => response,
        },
        // `null` is a result too, and reads as none.
        Ok(Answer { result: None, error: None }) => {
            let result = RawValue::NULL;
            MethodResponse::response(id, ResponsePayload::success(Told { result, at }), max_bytes)
        }
        Err(error) => {
            tracing::error!(%error, "an RPC answer is no JSON-RPC");
            response
        }
    }
}

fn error_told(error: &ErrorObject<'_>, at: Tip) -> Option<ErrorObjectOwned> {
    let data: ErrorData = serde_json::from_str(error.data()?.get()).ok()?;
    let data = ErrorData { at: Some(at), ..data };
    Some(ErrorObject::owned(error.code(), error.message(), Some(data)))
}

/// A result, and after it the members that tell its tip.
#[derive(Clone)]
struct Told<'a> {
    result: &'a RawValue,
    at: Tip,
}

/// By this name `serde_json` knows text that it is to write as it stands.
const AS_IT_STANDS: &str = "$serde_json::private::RawValue";

impl Serialize for Told<'_> {
    /// jsonrpsee writes the members of a response itself, the result last, and has no place for
    /// another: so the text of the result goes on with them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Tip { tip, tip_height } = self.at;
        let text = format!(r#"{},"tip":"{tip}","tip_height":{tip_height}"#, self.result.get());
        let mut raw = serializer.serialize_struct(AS_IT_STANDS, 1)?;
        raw.serialize_field(AS_IT_STANDS, &text)?;
        raw.end()
    }
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::BlockId;
    use serde_json::{Value, json};

    use super::*;
    use crate::error::RpcError;

    fn tip(height: u32) -> Tip {
        Tip { tip: BlockId([height as u8; 32]).into(), tip_height: height }
    }

    fn told_at(response: MethodResponse, max_bytes: usize) -> Value {
        let told = told(response, Id::Number(7), tip(3), max_bytes);
        serde_json::from_str(told.as_json().get()).unwrap()
    }

    #[test]
    fn a_tip_stands_beside_every_result_and_in_every_error() {
        let id = tip(3).tip.to_string();
        for result in [json!(5), json!(null), json!("a"), json!([1, [2]]), json!({ "tip": "own" })]
        {
            let payload = ResponsePayload::success(result.clone());
            let answer = told_at(MethodResponse::response(Id::Number(7), payload, 1_000), 1_000);
            let whole = json!({ "jsonrpc": "2.0", "id": 7, "result": result, "tip": id,
                "tip_height": 3 });
            assert_eq!(answer, whole);
        }
        let error = RpcError::NotFound { what: "block", id: "x".to_owned() };
        let answer = told_at(MethodResponse::error(Id::Number(7), error), 1_000);
        assert_eq!(answer["error"]["code"], -5);
        assert_eq!(answer["error"]["data"]["code"], "not-found");
        assert_eq!(answer["error"]["data"]["tip"], id);
        assert_eq!(answer["error"]["data"]["tip_height"], 3);
    }

    #[tokio::test]
    async fn what_an_answer_states_counts_before_what_was_looked_at_and_the_last_look_before_others()
     {
        let note = Arc::new(Note::default());
        assert_eq!(note.tip(), None);
        seen(tip(9));
        noting(Arc::clone(&note), async {
            seen(tip(1));
            seen(tip(2));
            assert_eq!(note.tip(), Some(tip(2)));
            let there = tokio::task::spawn_blocking(carried(|| stated(tip(3))));
            there.await.unwrap();
            seen(tip(4));
        })
        .await;
        assert_eq!(note.tip(), Some(tip(3)));
    }
}
