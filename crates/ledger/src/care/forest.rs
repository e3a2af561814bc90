//! Every stored header, found from its parent: the tree as the rules build it, whatever its
//! records say.

use ashlar_consensus::{HeaderState, Params, check_header};
use ashlar_primitives::BlockId;

use crate::{
    headers::read_record,
    records::HeaderRecord,
    store::{Read, StoreError},
};

/// A header, and what is known of its body. All of them are held in memory, 76 bytes each: that
/// is what care takes beyond a running node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) parent: BlockId,
    pub(super) id: BlockId,
    /// That the stored body claims; `None` where there is no body that belongs to the header.
    pub(super) body_height: Option<u32>,
    /// Whether the rules lead to it from genesis.
    pub(super) is_linked: bool,
}

impl Known {
    pub(super) const fn new(id: BlockId, parent: BlockId) -> Self {
        Self { parent, id, body_height: None, is_linked: false }
    }
}

/// What descends from a header.
pub(super) struct Forest {
    /// By parent, then id.
    headers: Vec<Known>,
}

/// A header that keeps the rules.
pub(super) struct Linked<F> {
    pub(super) state: HeaderState,
    pub(super) body_height: Option<u32>,
    pub(super) record: HeaderRecord,
    /// What the visitor answered for the parent.
    pub(super) inherited: F,
    /// No header that keeps the rules follows it.
    pub(super) is_tip: bool,
}

/// A child that keeps the rules: its state, its record, and the height that its body claims.
type Child = (HeaderState, HeaderRecord, Option<u32>);

impl Forest {
    pub(super) fn new(mut headers: Vec<Known>) -> Self {
        headers.sort_unstable_by_key(|known| (known.parent, known.id));
        Self { headers }
    }

    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }

    /// Those that no rule-keeping way leads to, once [`Forest::visit`] is through.
    pub(super) fn unlinked(&self) -> impl Iterator<Item = &BlockId> {
        self.headers.iter().filter(|known| !known.is_linked).map(|known| &known.id)
    }

    /// Visits every header that keeps the rules, genesis not among them, parents before children
    /// and siblings by id. What the visitor answers is handed to the children. `root` is
    /// genesis's state with what its children inherit; answers whether any child follows it.
    pub(super) fn visit<F: Clone, E: From<StoreError>>(
        &mut self,
        store: &impl Read,
        params: &Params,
        root: (&HeaderState, F),
        mut visitor: impl FnMut(Linked<F>) -> Result<F, E>,
    ) -> Result<bool, E> {
        let roots = self.good_children(store, params, root.0)?;
        let has_children = !roots.is_empty();
        let mut waiting: Vec<_> =
            roots.into_iter().rev().map(|child| (child, root.1.clone())).collect();
        while let Some(((state, record, body_height), inherited)) = waiting.pop() {
            let children = self.good_children(store, params, &state)?;
            let is_tip = children.is_empty();
            let answer = visitor(Linked { state, body_height, record, inherited, is_tip })?;
            waiting.extend(children.into_iter().rev().map(|child| (child, answer.clone())));
        }
        Ok(has_children)
    }

    fn good_children(
        &mut self,
        store: &impl Read,
        params: &Params,
        parent: &HeaderState,
    ) -> Result<Vec<Child>, StoreError> {
        let from = self.headers.partition_point(|known| known.parent < parent.id);
        let mut good = Vec::new();
        for known in self.headers.iter_mut().skip(from) {
            if known.parent != parent.id {
                break;
            }
            let Some(record) = read_record(store, &known.id)? else { continue };
            if let Ok(state) = check_header(parent, params, &record.header) {
                known.is_linked = true;
                good.push((state, record, known.body_height));
            }
        }
        Ok(good)
    }
}
