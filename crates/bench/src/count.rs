//! Core paths, once each, for a tool that counts instructions (`scripts/counts.sh`): a count says
//! the same on a busy machine, so that a change is judged without noise.

use std::{collections::BTreeSet, hint::black_box, sync::Arc};

use ashlar_consensus::{
    HeaderState, SpentCoins, State, UtxoAccumulator, check_header, open_body, verify_signatures,
    walk,
};
use ashlar_ledger::MemoryStore;
use ashlar_primitives::{Block, Decode as _, merkle::merkle_root};
use ashlar_sha256d::{Kernel, Series};
use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;

use crate::{
    Outcome,
    drive::{self, Driver, Trust},
    growth::mempool::Pool,
    maker::Made,
    payments::Payments,
};

/// Payments in the block, signatures in the batch, transactions that the mempool takes in, headers
/// that are tried.
const EACH: usize = 1_024;

/// A block and all that its path through a node needs.
struct Subject {
    payments: Payments,
    lead: Vec<Made>,
    parent: State,
    next: HeaderState,
    made: Made,
    spent: SpentCoins,
    bytes: Vec<u8>,
}

impl Subject {
    fn new() -> Outcome<Self> {
        let (mut payments, lead) = Payments::new(1, EACH);
        let parent = payments.state().clone();
        let made = payments.block(EACH);
        let next = check_header(&parent.header, payments.genesis().params(), made.block.header())?;
        let spent = SpentCoins { coins: made.diff.spent.clone() };
        let bytes = made.block.to_bytes();
        Ok(Self { payments, lead, parent, next, made, spent, bytes })
    }
}

/// A path: its name, and what it does.
type Path = (&'static str, fn(&Subject) -> Outcome<()>);

/// All of them.
const PATHS: &[Path] = &[
    ("decode a block of 1,024 payments", |it| {
        let mut block = None;
        counted(&mut || block = Some(Block::from_bytes(black_box(&it.bytes))));
        block.ok_or("not run")??;
        Ok(())
    }),
    ("open it", |it| {
        let params = it.payments.genesis().params();
        let (header, height) = (it.made.block.header(), it.next.height);
        let mut opened = None;
        counted(&mut || opened = Some(open_body(params, header, height, black_box(&it.bytes))));
        opened.ok_or("not run")??;
        Ok(())
    }),
    ("walk it", |it| {
        let params = it.payments.genesis().params();
        let (mut next, mut walked) = (Some(it.next.clone()), None);
        counted(&mut || {
            walked =
                next.take().map(|next| walk(&it.parent, next, params, &it.made.block, &it.spent));
        });
        walked.ok_or("not run")?.outcome?;
        Ok(())
    }),
    ("verify its signatures in a batch", |it| {
        let (none, mut random) = (BTreeSet::new(), ChaCha12Rng::seed_from_u64(1));
        let mut verified = None;
        counted(&mut || {
            verified = Some(verify_signatures(black_box(&it.made.checks), &none, &mut random));
        });
        verified.ok_or("not run")?.map_err(|place| format!("a bad signature at {place:?}"))?;
        Ok(())
    }),
    ("take its coins into the accumulator", |it| {
        let empty = UtxoAccumulator::empty();
        counted(&mut || drop(black_box(it.made.diff.applied_to(&empty))));
        Ok(())
    }),
    ("its merkle root", |it| {
        let transactions = it.made.block.transactions().iter();
        let leaves: Vec<_> = transactions.map(|checked| checked.wtxid().0).collect();
        counted(&mut || {
            black_box(merkle_root(black_box(&leaves)));
        });
        Ok(())
    }),
    ("connect it in memory, signatures known, no indexes", |it| connect(it, false)),
    ("connect it in memory, signatures known, both indexes", |it| connect(it, true)),
    ("1,024 payments into a mempool of as many", |_| {
        let mut pool = Pool::new(1);
        let (before, newcomers) = (pool.newcomers(EACH)?, pool.newcomers(EACH)?);
        pool.accept(&before)?;
        let mut accepted = None;
        counted(&mut || accepted = Some(pool.accept(&newcomers)));
        accepted.ok_or("not run")?
    }),
    ("try 1,024 headers, AVX2", |_| {
        let kernels = Kernel::available().into_iter();
        let kernel = kernels.rev().find(|kernel| kernel.lanes() == AVX2_LANES);
        let kernel = kernel.ok_or("this processor has no AVX2")?;
        let series = Series::new(&[7; 80], &[0; 32]);
        counted(&mut || {
            black_box(kernel.find(black_box(&series), 0, EACH as u32));
        });
        Ok(())
    }),
];

const AVX2_LANES: u32 = 8;

fn connect(it: &Subject, indexes: bool) -> Outcome<()> {
    let (store, settings) = (Arc::new(MemoryStore::new()), drive::settings(indexes));
    let mut driver = Driver::open(store, it.payments.genesis(), settings, Trust::Mempool)?;
    let lead: Vec<_> = it.lead.iter().map(|made| Arc::clone(&made.block)).collect();
    driver.go(&lead)?;
    let block = [Arc::clone(&it.made.block)];
    let mut connected = None;
    counted(&mut || connected = Some(driver.go(&block)));
    connected.ok_or("not run")??;
    Ok(())
}

/// What is counted: a function of its own, whose name the tool is told.
#[inline(never)]
pub fn counted(work: &mut dyn FnMut()) {
    work();
}

/// The names of all paths.
pub fn names() -> impl Iterator<Item = &'static str> {
    PATHS.iter().map(|(name, _)| *name)
}

/// Goes one path.
///
/// # Errors
/// There is none of that name, or it failed.
pub fn run(name: &str) -> Outcome<()> {
    let path = PATHS.iter().find(|(known, _)| *known == name);
    let (_, path) = path.ok_or_else(|| format!("no path is called {name:?}"))?;
    path(&Subject::new()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_goes_to_its_end() {
        for name in names() {
            run(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
