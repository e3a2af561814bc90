//! Blocks that are put together from transactions which were checked before. No rule is here: it
//! saves hashing.

use std::sync::Arc;

use ashlar_primitives::Transaction;

use crate::CheckedTransaction;

/// A transaction of a block that is put together: a compact block rebuilt from the mempool, or a
/// template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Checked before: its ids are not computed again.
    Checked(Arc<CheckedTransaction>),
    /// As decoded.
    Plain(Transaction),
}

impl From<Arc<CheckedTransaction>> for Part {
    fn from(checked: Arc<CheckedTransaction>) -> Self {
        Self::Checked(checked)
    }
}

impl From<Transaction> for Part {
    fn from(plain: Transaction) -> Self {
        Self::Plain(plain)
    }
}

impl Part {
    pub(crate) fn checked(self) -> Arc<CheckedTransaction> {
        match self {
            Self::Checked(checked) => checked,
            Self::Plain(plain) => Arc::new(CheckedTransaction::unchecked(plain)),
        }
    }
}
