//! What an operator orders of the chain, or asks of its health.

use std::{ops::ControlFlow, time::Duration};

use ashlar_engine::Call;
use ashlar_ledger::care::{CareError, Depth, check_view};
use ashlar_primitives::BlockId;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{self, Instant},
};

use super::{
    backend::Backend,
    context::{Context, tip_of, tip_of_answer},
};
use crate::{
    error::RpcError,
    types::{IndexInfo, IndexState, PrunedChain, Tip, VerifiedChain},
};

/// Blocks undone unless the caller says otherwise, as in Bitcoin Core.
const VERIFIED_BLOCKS: u32 = 6;
/// Most blocks undone.
const MAX_VERIFIED_BLOCKS: u32 = 1_000;
/// Longest wait for a height.
const MAX_WAIT: Duration = Duration::from_secs(100);

/// Orders about one block: an answer once the tip moved as far as it goes.
pub(super) async fn carry_out<B: Backend>(
    context: &Context<B>,
    id: BlockId,
    order: fn(BlockId) -> Call,
) -> Result<Tip, RpcError> {
    let answer = context.call(order(id)).await.map_err(|error| match error {
        // The engine does not say which: there is only one.
        RpcError::NotFound { what, .. } => RpcError::NotFound { what, id: id.to_string() },
        other => other,
    })?;
    Ok(tip_of_answer(&answer))
}

pub(super) async fn prune<B: Backend>(
    context: &Context<B>,
    height: u32,
) -> Result<PrunedChain, RpcError> {
    let tip_height = context.view().tip().height;
    if height > tip_height {
        let reason = format!("the tip is at {tip_height}");
        return Err(RpcError::InvalidParameter { name: "height", reason });
    }
    context.call(Call::Prune { height }).await?;
    let view = context.view();
    let history = view.history();
    Ok(PrunedChain { at: tip_of(&view), pruneheight: history.start, size_on_disk: history.bytes() })
}

/// `limit` is how long calls may run at most: the work ends then, not only its answer.
pub(super) async fn verify<B: Backend>(
    context: &Context<B>,
    nblocks: Option<u32>,
) -> Result<VerifiedChain, RpcError> {
    let blocks = nblocks.unwrap_or(VERIFIED_BLOCKS);
    if blocks > MAX_VERIFIED_BLOCKS {
        return Err(RpcError::TooMany { what: "blocks", max: MAX_VERIFIED_BLOCKS as usize });
    }
    let limit_ms = context.long_call_ms;
    let ends = Instant::now() + Duration::from_millis(limit_ms);
    let backend = std::sync::Arc::clone(&context.backend);
    context
        .read(move |view| {
            let genesis = backend.genesis()?;
            let mut watch = |_| {
                if Instant::now() < ends {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            };
            let depth = Depth::Blocks(blocks);
            let report = check_view(view, &genesis, depth, &mut rand::rng(), &mut watch);
            let report = report.map_err(|error| match error {
                CareError::Interrupted => RpcError::TimedOut { limit_ms },
                other => {
                    tracing::error!(error = %other, "the chain can't be verified");
                    RpcError::Internal
                }
            })?;
            let remedy = report.remedy().map(|remedy| remedy.to_string());
            Ok(VerifiedChain {
                at: tip_of(view),
                sound: report.is_sound(),
                headers: report.headers,
                coins: report.coins,
                blocks: report.blocks,
                findings: report.findings.into_iter().map(|finding| finding.what).collect(),
                remedy,
            })
        })
        .await
}

pub(super) async fn wait_for_height<B: Backend>(
    context: &Context<B>,
    height: u32,
    timeout_ms: Option<u64>,
) -> Result<Tip, RpcError> {
    let wait = match Duration::from_millis(timeout_ms.unwrap_or(0)) {
        Duration::ZERO => MAX_WAIT,
        wait if wait <= MAX_WAIT => wait,
        _ => {
            let reason = format!("at most {}", MAX_WAIT.as_millis());
            return Err(RpcError::InvalidParameter { name: "timeout", reason });
        }
    };
    // Listening first: no event between the look and the wait is missed.
    let mut events = context.backend.events();
    let ends = Instant::now() + wait;
    loop {
        let view = context.view();
        if view.tip().height >= height {
            return Ok(tip_of(&view));
        }
        match time::timeout_at(ends, events.recv()).await {
            // One that fell behind looks at the tip again all the same.
            Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
            Ok(Err(RecvError::Closed)) => return Err(RpcError::Stopping),
            Err(_) => return Ok(tip_of(&context.view())),
        }
    }
}

pub(super) fn index_info<B: Backend>(context: &Context<B>) -> IndexInfo {
    let view = context.view();
    let state = |synced| IndexState {
        synced,
        best_block_height: if synced { view.tip().height } else { 0 },
        start_height: if synced { view.history().start } else { 0 },
    };
    IndexInfo {
        at: tip_of(&view),
        transaction: state(view.transaction_index()),
        address: state(view.lock_index()),
    }
}
