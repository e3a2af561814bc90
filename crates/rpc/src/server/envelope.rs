//! What has to be right about a request before there is a call in it: jsonrpsee finds the same
//! faults, but answers them in words of its own.

use jsonrpsee::types::{InvalidRequest, Notification, Request};
use serde_json::value::RawValue;

use super::dialect::AtMost;
use crate::error::RpcError;

/// A request that is no call, and the id that it has all the same.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: RpcError,
    pub(super) id: Option<Box<RawValue>>,
}

impl From<RpcError> for Fault {
    fn from(error: RpcError) -> Self {
        Self { error, id: None }
    }
}

/// Judges a body in JSON-RPC 2.0, a call or a batch of at most `max_calls`. The calls of a batch
/// are judged one by one where they are answered.
pub(super) fn judge(body: &[u8], is_single: bool, max_calls: usize) -> Result<(), Fault> {
    let not_json = |error: serde_json::Error| RpcError::NotJson { reason: error.to_string() };
    if is_single {
        let is_call = serde_json::from_slice::<Request<'_>>(body).is_ok()
            || serde_json::from_slice::<Notification<'_, Option<&RawValue>>>(body).is_ok();
        if is_call {
            return Ok(());
        }
        serde_json::from_slice::<&RawValue>(body).map_err(not_json)?;
        let id = serde_json::from_slice(body)
            .ok()
            .and_then(|InvalidRequest { id }| serde_json::value::to_raw_value(&id).ok());
        return Err(Fault { error: RpcError::NotACall, id });
    }
    match AtMost(max_calls).list(body) {
        Ok(calls) if calls.is_empty() => Err(RpcError::EmptyBatch.into()),
        Ok(_) => Ok(()),
        // By category, a list that is too long is right JSON.
        Err(error) if error.is_data() => Err(RpcError::BatchTooLong { max: max_calls }.into()),
        Err(error) => Err(not_json(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_an_envelope_has_its_own_cause() {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#;
        let batch = |calls: usize| format!("[{}]", vec![call; calls].join(","));
        for (body, code) in [
            (call.to_owned(), None),
            (r#"{"jsonrpc":"2.0","method":"a","params":[1]}"#.to_owned(), None),
            (batch(1), None),
            (batch(3), None),
            ("[1,2,3]".to_owned(), None),
            (batch(4), Some("batch-too-long")),
            ("[]".to_owned(), Some("empty-batch")),
            ("[1,".to_owned(), Some("not-json")),
            ("[1] 2".to_owned(), Some("not-json")),
            ("[".repeat(10_000), Some("not-json")),
            ("{".to_owned(), Some("not-json")),
            ("{}".to_owned(), Some("not-a-call")),
            (r#"{"jsonrpc":"2.0","id":1,"method":5}"#.to_owned(), Some("not-a-call")),
            (r#"{"jsonrpc":"3.0","id":1,"method":"a"}"#.to_owned(), Some("not-a-call")),
        ] {
            let judged = judge(body.as_bytes(), body.starts_with('{'), 3);
            let found = judged.err().map(|fault| fault.error.code());
            let short: String = body.chars().take(80).collect();
            assert_eq!(found, code, "{short}");
        }
    }

    #[test]
    fn what_is_no_call_is_answered_with_the_id_that_it_has() {
        let fault = judge(br#"{"jsonrpc":"2.0","id":"x","method":5}"#, true, 3).unwrap_err();
        assert_eq!(fault.id.unwrap().get(), "\"x\"");
        assert!(judge(b"{}", true, 3).unwrap_err().id.is_none());
    }
}
