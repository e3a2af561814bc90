//! The chains that blocks are connected from, each kept as a file as `ashlar-node export` writes
//! them: made once from a seed, and by whichever run needs it first.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
    sync::Arc,
};

use ashlar_consensus::{CheckedBlock, Genesis};
use ashlar_ledger::chain_file;

use crate::{
    Outcome,
    maker::{Made, Maker},
    parts::Bench,
    payments::{Kind, Payments},
};

/// A chain of one kind of transactions.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) genesis: Genesis,
    /// All its blocks.
    pub(crate) file: PathBuf,
    /// The blocks that make the first coins, never timed.
    pub(crate) lead: Vec<Arc<CheckedBlock>>,
    /// The blocks of payments.
    pub(crate) made: Vec<Made>,
    pub(crate) blocks: Vec<Arc<CheckedBlock>>,
    /// Coins that they spend: of each payment one.
    pub(crate) payments: usize,
}

impl Workload {
    /// From its file in the benchmark's directory, beside which lies its `genesis.json`: a node can
    /// import it.
    pub(crate) fn new(
        bench: &Bench<'_>,
        (kind, name): (Kind, &str),
        blocks: usize,
        per_block: usize,
    ) -> Outcome<Self> {
        let stem = format!("ashlar-workload-{}-{name}-{blocks}x{per_block}", bench.seed);
        let file = bench.directory.join(format!("{stem}.chain"));
        let text = Payments::genesis_text_of(kind, per_block);
        if !file.exists() {
            eprintln!("making {}", file.display());
            fs::write(bench.directory.join(format!("{stem}.genesis.json")), &text)?;
            make(bench.seed, kind, (blocks, per_block), &file)?;
        }
        let genesis = Genesis::parse(&text)?;
        let params = genesis.params();
        let from = BufReader::new(File::open(&file)?);
        let mut reader = chain_file::Reader::new(from, &params.chain_id, params.max_block_bytes)?;
        let mut maker = Maker::new(genesis.clone());
        let mut coins: BTreeMap<_, _> = genesis.diff().created.clone().into_iter().collect();
        let mut made = Vec::new();
        while let Some(bytes) = reader.next_block()? {
            let block = maker.adopt(&bytes, |outpoint| coins.get(outpoint).copied());
            for outpoint in block.diff.spent.keys() {
                coins.remove(outpoint);
            }
            coins.extend(block.diff.created.iter().map(|(outpoint, coin)| (*outpoint, *coin)));
            made.push(block);
        }
        let lead = made.len().checked_sub(blocks).ok_or("the workload's file is another's")?;
        let lead = made.drain(..lead).map(|made| made.block).collect();
        let blocks = made.iter().map(|made: &Made| Arc::clone(&made.block)).collect();
        let payments = made.len() * per_block * kind.inputs();
        Ok(Self { genesis, file, lead, blocks, payments, made })
    }

    /// Of payments, as large as the benchmark is told.
    pub(crate) fn of_payments(bench: &Bench<'_>) -> Outcome<Self> {
        let (blocks, per_block) = (bench.scale.blocks, bench.scale.payments_per_block);
        Self::new(bench, Kind::ALL[0], blocks, per_block)
    }
}

/// Makes the file of a workload: whole, or not at all.
fn make(seed: u64, kind: Kind, (blocks, per_block): (usize, usize), file: &Path) -> Outcome<()> {
    let (mut payments, lead) = Payments::of(kind, seed, per_block);
    let unfinished = file.with_extension("unfinished");
    let out = BufWriter::new(File::create(&unfinished)?);
    let mut writer = chain_file::Writer::new(out, &payments.genesis().params().chain_id)?;
    for made in lead {
        writer.push(&made.block.to_bytes())?;
    }
    for _ in 0..blocks {
        writer.push(&payments.block(per_block).block.to_bytes())?;
    }
    writer.finish()?;
    Ok(fs::rename(unfinished, file)?)
}
