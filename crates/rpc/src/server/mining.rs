//! Making blocks.

use std::{sync::Arc, time::Duration};

use ashlar_consensus::{Target, Work};
use ashlar_engine::{
    Answer, Call,
    call::{AnswerBody, BlockVerdict, Template},
};
use ashlar_ledger::View;
use ashlar_primitives::{BlockId, Encode, Lock};
use tokio::{sync::broadcast::error::RecvError, task, time};

use super::{
    backend::{Backend, ChainEvent},
    burial::relief_warning,
    context::{Context, tip_of, tip_of_answer, unexpected},
    decoded::{bits_text, stored_header, target_text},
};
use crate::{
    error::RpcError,
    types::{
        BlockTemplate, MiningInfo, NextBlock, TemplateRequest, TemplateTransaction, Text, Tip,
        from_hex,
    },
};

/// Blocks over which the network's hash rate is measured, as in Bitcoin Core.
const RATE_BLOCKS: u32 = 120;
/// Most blocks of one `generatetoaddress`.
const MAX_GENERATED: u32 = 1_000;
/// Nonces tried for each block unless the caller says otherwise.
const TRIES_PER_BLOCK: u64 = 1_000_000;
/// Between two looks at whether a template stands on the block just found. The engine publishes
/// a block before it answers, so a second look is rare.
const TEMPLATE_POLL: Duration = Duration::from_millis(20);
/// Longest that a caller waits for a better template, as in Bitcoin Core.
const LONG_POLL: Duration = Duration::from_secs(60);
/// Between two looks at the mempool meanwhile: miners need not restart for each payment.
const LONG_POLL_LOOK: Duration = Duration::from_secs(5);
/// Most looks for one template.
const MAX_TEMPLATE_LOOKS: usize = 100;

pub(super) async fn info<B: Backend>(context: &Context<B>) -> Result<MiningInfo, RpcError> {
    let (view, answer) = context.call_at_view(Call::MempoolInfo).await?;
    let AnswerBody::MempoolInfo(mempool) = answer.body else {
        return Err(unexpected(&answer.body));
    };
    let own = context.backend.mining();
    let mut warnings = context.backend.warnings();
    context
        .read_at(view, move |view| {
            warnings.extend(relief_warning(view)?);
            let (params, tip) = (view.params(), view.tip());
            let height = tip.height.saturating_add(1);
            let bits = tip.normal_bits(params);
            Ok(MiningInfo {
                at: tip_of(view),
                blocks: tip.height,
                chain: params.name.clone(),
                networkhashps: hash_rate(view, tip.height, RATE_BLOCKS)?,
                pooledtx: mempool.count as u64,
                threads: own.threads as u64,
                hashps: own.hash_rate,
                next: NextBlock {
                    height,
                    bits: bits_text(bits),
                    target: target_text(bits),
                    subsidy: params.subsidy(height).grains(),
                },
                warnings,
            })
        })
        .await
}

pub(super) async fn network_hash_rate<B: Backend>(
    context: &Context<B>,
    nblocks: Option<u32>,
    height: Option<u32>,
) -> Result<u64, RpcError> {
    let nblocks = nblocks.unwrap_or(RATE_BLOCKS);
    if nblocks == 0 {
        let reason = "at least 1".to_owned();
        return Err(RpcError::InvalidParameter { name: "nblocks", reason });
    }
    context
        .read(move |view| {
            let tip_height = view.tip().height;
            match height.unwrap_or(tip_height) {
                height if height <= tip_height => hash_rate(view, height, nblocks),
                _ => {
                    let reason = format!("the tip is at {tip_height}");
                    Err(RpcError::InvalidParameter { name: "height", reason })
                }
            }
        })
        .await
}

/// The work of some blocks up to a height over the time from the first of them to the last; 0
/// while there is no block, or no time between them.
fn hash_rate(view: &View, height: u32, blocks: u32) -> Result<u64, RpcError> {
    let at = |height| match view.block_id_at(height)? {
        Some(id) => stored_header(view, &id).map(Some),
        None => Ok(None),
    };
    let (Some(first), Some(last)) = (at(height.saturating_sub(blocks))?, at(height)?) else {
        return Ok(0);
    };
    let seconds = last.header.time.saturating_sub(first.header.time);
    Ok(rate(last.work.saturating_sub(first.work), seconds))
}

/// Work by time in whole hashes a second, at most `u64::MAX`.
fn rate(work: Work, seconds: u32) -> u64 {
    let [high, low] = halves(work.to_be_bytes());
    let work = if high == 0 { low } else { u128::MAX };
    let hashes = work.checked_div(seconds.into()).unwrap_or(0);
    u64::try_from(hashes).unwrap_or(u64::MAX)
}

fn halves(bytes: [u8; 32]) -> [u128; 2] {
    let mut halves = [[0; 16]; 2];
    halves.as_flattened_mut().copy_from_slice(&bytes);
    halves.map(u128::from_be_bytes)
}

pub(super) async fn template<B: Backend>(
    context: &Context<B>,
    request: TemplateRequest,
) -> Result<BlockTemplate, RpcError> {
    let pay_to = context.lock(&request.address)?;
    let answer = context.call(Call::SyncStatus).await?;
    let AnswerBody::Sync(sync) = answer.body else { return Err(unexpected(&answer.body)) };
    if sync.syncing {
        return Err(RpcError::WarmingUp { height: sync.height, target: sync.best_header_height });
    }
    if let Some(known) = &request.longpollid {
        wait_for_better(context, known).await?;
    }
    let extra = request.extra.unwrap_or_default().0;
    let (at, template) = fetch_template(context, pay_to, extra).await?;
    context.read(move |view| Ok(describe(at, &template, view.params().max_block_bytes))).await
}

/// Waits until a template would be another than the one that `known` names, see [`LONG_POLL`].
async fn wait_for_better<B: Backend>(context: &Context<B>, known: &str) -> Result<(), RpcError> {
    let _place = context.polls.try_acquire().map_err(|_| RpcError::Overloaded)?;
    let started = time::Instant::now();
    // First the events, then the look: a tip that comes between the two is not missed.
    let mut events = context.backend.events();
    loop {
        let answer = context.call(Call::MempoolInfo).await?;
        let AnswerBody::MempoolInfo(mempool) = &answer.body else {
            return Err(unexpected(&answer.body));
        };
        let is_tip = known.strip_prefix(&answer.tip.to_string()).is_some();
        let is_latest = known == poll_id(answer.tip, mempool.sequence);
        let waited = started.elapsed();
        if !is_tip || waited >= LONG_POLL || (!is_latest && waited >= LONG_POLL_LOOK) {
            return Ok(());
        }
        let look = time::sleep(LONG_POLL_LOOK);
        tokio::pin!(look);
        loop {
            tokio::select! {
                () = &mut look => break,
                event = events.recv() => match event {
                    Ok(ChainEvent::Tip { .. }) | Err(RecvError::Lagged(_)) => break,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return Err(RpcError::Stopping),
                },
            }
        }
    }
}

/// Names what a template was made from.
fn poll_id(tip: BlockId, mempool_sequence: u64) -> String {
    format!("{tip}-{mempool_sequence}")
}

async fn fetch_template<B: Backend>(
    context: &Context<B>,
    pay_to: Lock,
    extra: Vec<u8>,
) -> Result<(Tip, Arc<Template>), RpcError> {
    let answer: Answer = context.call(Call::Template { pay_to, extra }).await?;
    let at = tip_of_answer(&answer);
    match answer.body {
        AnswerBody::Template(template) => Ok((at, template)),
        other => Err(unexpected(&other)),
    }
}

fn describe(at: Tip, template: &Template, sizelimit: u32) -> BlockTemplate {
    let block = &template.block;
    let paid = block.coinbase.outputs.iter().map(|output| output.value.grains());
    BlockTemplate {
        at,
        version: block.header.version,
        previousblockhash: block.header.parent.into(),
        height: template.height,
        merkleroot: block.header.merkle_root.into(),
        coinbase: block.coinbase.to_bytes().into(),
        coinbasevalue: paid.fold(0, u64::saturating_add),
        utxo_commitment: block.coinbase.utxo_commitment.into(),
        transactions: block
            .transactions
            .iter()
            .zip(&template.transaction_fees)
            .map(|(transaction, fee)| TemplateTransaction {
                data: transaction.to_bytes().into(),
                txid: transaction.txid().into(),
                hash: transaction.wtxid().into(),
                fee: fee.grains(),
            })
            .collect(),
        curtime: block.header.time,
        mintime: template.min_time,
        maxtime: template.max_time,
        bits: bits_text(block.header.bits),
        target: target_text(block.header.bits),
        sizelimit,
        longpollid: poll_id(block.header.parent, template.mempool_sequence),
        block: block.to_bytes().into(),
    }
}

pub(super) async fn submit<B: Backend>(
    context: &Context<B>,
    hexdata: &str,
) -> Result<Option<String>, RpcError> {
    let Ok(bytes) = from_hex(hexdata) else {
        return Err(RpcError::Refused { code: "malformed", reason: "not hex".to_owned() });
    };
    Ok(match submit_bytes(context, bytes).await? {
        BlockVerdict::Accepted(_) => None,
        BlockVerdict::Side(_) => Some("inconclusive".to_owned()),
        BlockVerdict::Known(_) => Some("duplicate".to_owned()),
        BlockVerdict::Refused { code, .. } => Some(code.to_owned()),
    })
}

async fn submit_bytes<B: Backend>(
    context: &Context<B>,
    bytes: Vec<u8>,
) -> Result<BlockVerdict, RpcError> {
    let answer = context.call(Call::SubmitBlock(bytes)).await?;
    // What is answered now is of the tip after the block, not of that before it.
    tip_of_answer(&answer);
    match answer.body {
        AnswerBody::Block(verdict) => Ok(verdict),
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn generate<B: Backend>(
    context: &Context<B>,
    nblocks: u32,
    address: &str,
    maxtries: Option<u64>,
) -> Result<Vec<Text<BlockId>>, RpcError> {
    if nblocks > MAX_GENERATED {
        return Err(RpcError::TooMany { what: "blocks", max: MAX_GENERATED as usize });
    }
    let pay_to = context.lock(address)?;
    let mut tries = maxtries.unwrap_or_else(|| TRIES_PER_BLOCK.saturating_mul(u64::from(nblocks)));
    let _one_at_a_time = context.generating.lock().await;
    let (mut ids, mut height) = (Vec::new(), 0);
    while ids.len() < nblocks as usize && tries > 0 {
        let template = template_above(context, pay_to, height).await?;
        let Some((id, bytes)) = find(&template, &mut tries).await? else { break };
        match submit_bytes(context, bytes).await? {
            BlockVerdict::Accepted(_) => {
                ids.push(id.into());
                height = template.height;
            }
            // Another block came first: work on that one.
            BlockVerdict::Side(_) | BlockVerdict::Known(_) => {}
            BlockVerdict::Refused { code, message } => {
                return Err(RpcError::Refused { code, reason: message });
            }
        }
    }
    Ok(ids)
}

/// A template above the block found last, which may take a moment to be published; or, after
/// some looks, whatever there is: a rival branch may have more work at a lower height.
async fn template_above<B: Backend>(
    context: &Context<B>,
    pay_to: Lock,
    height: u32,
) -> Result<Arc<Template>, RpcError> {
    let mut looks = 1;
    loop {
        let (_, template) = fetch_template(context, pay_to, Vec::new()).await?;
        if template.height > height || looks >= MAX_TEMPLATE_LOOKS {
            return Ok(template);
        }
        looks += 1;
        time::sleep(TEMPLATE_POLL).await;
    }
}

/// Most nonces tried between two looks at whether the caller is still there.
const TRIES_PER_SLICE: u64 = 1 << 20;

/// Searches off the async threads, within what is left of `tries`.
async fn find(
    template: &Arc<Template>,
    tries: &mut u64,
) -> Result<Option<(BlockId, Vec<u8>)>, RpcError> {
    let mut header = template.block.header;
    let Some(target) = Target::from_bits(header.bits).map(Target::to_be_bytes) else {
        tracing::error!(bits = header.bits, "a template's bits stand for no target");
        return Err(RpcError::Internal);
    };
    while *tries > 0 {
        let slice = TRIES_PER_SLICE.min(*tries);
        let found = task::spawn_blocking(move || ashlar_miner::search(header, &target, slice))
            .await
            .map_err(|_| RpcError::Internal)?;
        let used = match &found {
            Some(found) => u64::from(found.nonce.wrapping_sub(header.nonce)).saturating_add(1),
            None => slice,
        };
        *tries = tries.saturating_sub(used);
        if let Some(found) = found {
            let mut block = template.block.clone();
            block.header = found;
            return Ok(Some((found.id(), block.to_bytes())));
        }
        // A slice is far shorter than the range of nonces, so it never rolled the version.
        match header.nonce.checked_add(slice as u32) {
            Some(nonce) => header.nonce = nonce,
            None => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_rate_is_work_by_time_and_never_overflows() {
        let mut work = [0; 32];
        work[0] = 200;
        assert_eq!(rate(Work::from_le_bytes(work), 10), 20);
        assert_eq!(rate(Work::from_le_bytes(work), 0), 0);
        work[9] = 1;
        assert_eq!(rate(Work::from_le_bytes(work), 1), u64::MAX);
        work[31] = 1;
        assert_eq!(rate(Work::from_le_bytes(work), 2), u64::MAX);
    }
}
