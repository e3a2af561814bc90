//! Which tip an answer was made at, told beside its result: an answer that is one number has no
//! place of its own for it.
//!
//! A call's task carries a note. Whoever reads a view or hears the engine writes down its tip;
//! where an answer states a tip itself, that one counts.

use core::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task_local;

use crate::types::Tip;

/// Most bytes that [`told`] adds: 64 digits of an id, ten of a height, and their names.
pub(super) const MAX_TOLD_BYTES: usize = 128;

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

/// An answer that is right JSON-RPC, with the tip beside its result: the members of a response are
/// in no order, so two more go before its last brace.
pub(super) fn told(mut answer: String, at: Tip) -> String {
    let Tip { tip, tip_height } = at;
    debug_assert!(answer.ends_with('}'), "a response is an object: {answer}");
    answer.pop();
    answer.push_str(&format!(r#","tip":"{tip}","tip_height":{tip_height}}}"#));
    answer
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::BlockId;
    use serde_json::{Value, json};

    use super::*;

    fn tip(height: u32) -> Tip {
        Tip { tip: BlockId([height as u8; 32]).into(), tip_height: height }
    }

    #[test]
    fn a_tip_stands_beside_every_result() {
        let at = Tip { tip_height: u32::MAX, ..tip(3) };
        for result in [json!(5), json!(null), json!("}"), json!([1, [2]]), json!({ "tip": "own" })]
        {
            let answer = json!({ "jsonrpc": "2.0", "id": 7, "result": result });
            let told = told(answer.to_string(), at);
            assert!(told.len() <= answer.to_string().len() + MAX_TOLD_BYTES);
            let told: Value = serde_json::from_str(&told).unwrap();
            let whole = json!({ "jsonrpc": "2.0", "id": 7, "result": result,
                "tip": at.tip.to_string(), "tip_height": u32::MAX });
            assert_eq!(told, whole);
        }
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
