//! What must hold after every restart, and how a node can fail it.

use std::{collections::BTreeMap, fs, path::Path, process::ExitStatus};

use ashlar_primitives::{BlockId, OutPoint};
use ashlar_processes::{
    node::{Launch, tail},
    rpc::Rpc,
};
use ashlar_rpc::ClientError;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::tree::Tree;

/// Blocks below the tip that are read back and compared.
const BLOCKS_READ: usize = 4;

/// A promise that the node broke.
#[derive(Debug, Error)]
pub enum Loss {
    /// It must open whatever a fault left.
    #[error("the node does not start: {log}")]
    DoesNotStart {
        /// Its last words.
        log: String,
    },
    /// It serves, but a call brought nothing.
    #[error("{method} failed on a node that nothing was done to: {error}")]
    NoAnswer {
        /// Which call.
        method: &'static str,
        /// What came instead.
        error: ClientError,
    },
    /// The tip is no block that was ever fed.
    #[error("the tip {tip} is no block that anybody made")]
    UnknownTip {
        /// The tip.
        tip: BlockId,
    },
    /// What was told is gone.
    #[error(
        "the tip {wanted} (height {wanted_height}) was acknowledged; after the restart it is {found} (height {found_height})"
    )]
    TipLost {
        /// What was acknowledged.
        wanted: BlockId,
        /// Its height.
        wanted_height: u32,
        /// What is there.
        found: BlockId,
        /// Its height.
        found_height: u32,
    },
    /// A figure of the state is not the model's.
    #[error("{what} at the tip {tip} is {found}, by the model {expected}")]
    WrongState {
        /// Which figure.
        what: &'static str,
        /// Where.
        tip: BlockId,
        /// By the node.
        found: String,
        /// By the model.
        expected: String,
    },
    /// Nothing that is fed breaks a rule.
    #[error("the valid block {id} is marked invalid")]
    MarkedInvalid {
        /// The end of the branch.
        id: BlockId,
    },
    /// A block was answered otherwise than its place in the tree says.
    #[error("block {id} (number {place}) was answered {found:?}, expected {expected:?}")]
    WrongAnswer {
        /// Which block.
        id: BlockId,
        /// How many were fed before it.
        place: usize,
        /// The answer.
        found: Option<String>,
        /// What it should be.
        expected: Option<String>,
    },
    /// A disk that failed is to be named, and the node is to end with an error.
    #[error("the node ended with {status} and names no disk: {log}")]
    IllEnd {
        /// How it ended.
        status: ExitStatus,
        /// Its last words.
        log: String,
    },
    /// It neither serves nor ends.
    #[error("the node does not {what}: {log}")]
    Hangs {
        /// What it was to do.
        what: &'static str,
        /// Its last words.
        log: String,
    },
    /// What was exported is no chain of the tree.
    #[error("the exported chain is wrong at byte {at}: {what}")]
    WrongExport {
        /// Where in the file.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A command on the stopped node found a fault.
    #[error("`ashlar-node {command}` on the stopped node: {output}")]
    Command {
        /// Which.
        command: &'static str,
        /// What it printed.
        output: String,
    },
}

/// A call that must be answered.
pub fn answered<T>(method: &'static str, result: Result<T, ClientError>) -> Result<T, Loss> {
    result.map_err(|error| Loss::NoAnswer { method, error })
}

fn same<T: PartialEq + core::fmt::Debug>(
    what: &'static str,
    tip: BlockId,
    found: &T,
    expected: &T,
) -> Result<(), Loss> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
    Err(Loss::WrongState { what, tip, found, expected })
}

/// Compares all that a node says with the tree: totals and commitment, every unspent coin, the
/// newest blocks, the transaction index. Returns its tip.
pub fn everything(tree: &Tree, rpc: &Rpc) -> Result<BlockId, Loss> {
    loop {
        let tip = answered("getblockchaininfo", rpc.info())?.bestblockhash.0;
        let outcome = at(tree, rpc, tip);
        // Answers before and after a move of the tip don't fit together. Tips only rise, so that
        // this ends.
        if answered("getblockchaininfo", rpc.info())?.bestblockhash.0 == tip {
            return outcome.map(|()| tip);
        }
    }
}

/// The same for a node that stays at `tip` meanwhile.
fn at(tree: &Tree, rpc: &Rpc, tip: BlockId) -> Result<(), Loss> {
    let info = answered("getblockchaininfo", rpc.info())?;
    let expected = tree.expected(&tip).ok_or(Loss::UnknownTip { tip })?;
    same("the height", tip, &info.blocks, &expected.height)?;
    same("the commitment", tip, &info.utxo_commitment.0, &expected.commitment)?;
    same("the number of coins", tip, &info.coins, &expected.coins)?;
    same("the supply", tip, &info.supply, &expected.supply)?;
    for end in answered("getchaintips", rpc.tips())? {
        if end.status == "invalid" {
            return Err(Loss::MarkedInvalid { id: end.hash.0 });
        }
    }
    coins(tree, rpc, tip)?;
    newest_blocks(tree, rpc, tip)
}

fn coins(tree: &Tree, rpc: &Rpc, tip: BlockId) -> Result<(), Loss> {
    let found = answered("getaddressutxos", rpc.coins(&tree.addresses()))?;
    let found: BTreeMap<OutPoint, (u64, u32, bool)> = found
        .into_iter()
        .map(|coin| {
            let outpoint = OutPoint { txid: coin.txid.0, index: coin.vout };
            (outpoint, (coin.value, coin.height, coin.coinbase))
        })
        .collect();
    let expected: BTreeMap<OutPoint, (u64, u32, bool)> = tree
        .coins(&tip)
        .into_iter()
        .map(|(outpoint, coin)| {
            (outpoint, (coin.output.value.grains(), coin.height, coin.is_coinbase))
        })
        .collect();
    if found == expected {
        return Ok(());
    }
    let differs = |(outpoint, coin): &(&OutPoint, &(u64, u32, bool)),
                   other: &BTreeMap<OutPoint, (u64, u32, bool)>| {
        other.get(outpoint) != Some(coin)
    };
    let wrong: Vec<_> = found.iter().filter(|entry| differs(entry, &expected)).take(3).collect();
    let missing: Vec<_> = expected.iter().filter(|entry| differs(entry, &found)).take(3).collect();
    same("the set of coins (first that differ)", tip, &wrong, &missing)
}

fn newest_blocks(tree: &Tree, rpc: &Rpc, tip: BlockId) -> Result<(), Loss> {
    let branch = tree.branch(&tip);
    let newest = branch.len().saturating_sub(BLOCKS_READ);
    for (height, id) in (1..).zip(&branch).skip(newest) {
        same("a block's id", tip, &answered("getblockhash", rpc.id_at(height))?, id)?;
        same("a block's bytes", tip, &answered("getblock", rpc.block(*id))?, &tree.bytes(id))?;
        for transaction in tree.transactions(id).iter().take(2) {
            let found = answered("gettransaction", rpc.confirmed(transaction.txid()))?;
            same("a transaction's block", tip, &found, &Some(*id))?;
        }
    }
    Ok(())
}

/// What a command that must end well printed.
fn done(command: &'static str, (is_good, output): (bool, String)) -> Result<String, Loss> {
    match is_good {
        true => Ok(output),
        false => Err(Loss::Command { command, output: tail(&output) }),
    }
}

/// The free space that nodes on a torture's small disks ask for.
pub const MIN_FREE: &str = "64MiB";

/// Makes everything of a stopped node anew from its stored bodies.
pub fn reindexed(launch: &Launch) -> Result<(), Loss> {
    done("reindex", launch.run(&["reindex", "--min-free", MIN_FREE])).map(drop)
}

/// Compares what the commands on a stopped node find: the whole chain replayed from what is
/// stored, and exported to `file`, which must be a branch of the tree to the byte.
pub fn stopped(tree: &Tree, launch: &Launch, file: &Path) -> Result<(), Loss> {
    let checked = done("check --full", launch.run(&["check", "--full"]))?;
    if !checked.contains("sound") {
        return Err(Loss::Command { command: "check --full", output: tail(&checked) });
    }
    let to = file.display().to_string();
    done("export", launch.run(&["export", "--force", "--to", &to]))?;
    exported(tree, &fs::read(file).unwrap_or_default())
}

/// The file's magic and version.
const EXPORT_HEAD: &[u8] = b"ASHLARCHAIN\n\x01";

/// Reads a chain file without the code that wrote it.
fn exported(tree: &Tree, file: &[u8]) -> Result<(), Loss> {
    let total = file.len();
    let wrong = |rest: &[u8], what| Loss::WrongExport { at: total - rest.len(), what };
    let chain_id = tree.tip_after(0);
    let head = [EXPORT_HEAD, chain_id.as_bytes()].concat();
    let mut rest = file.strip_prefix(head.as_slice()).ok_or_else(|| wrong(file, "the head"))?;
    let mut parent = chain_id;
    let mut count = 0_u32;
    loop {
        let (length, after) = rest.split_first_chunk().ok_or_else(|| wrong(rest, "it ends"))?;
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 {
            rest = after;
            break;
        }
        let block = after.get(..length).ok_or_else(|| wrong(rest, "a block is cut short"))?;
        let next = tree.child_with(&parent, block);
        parent = next.ok_or_else(|| wrong(rest, "a block that nobody made here"))?;
        count += 1;
        rest = &after[length..];
    }
    let sum = rest.strip_prefix(&count.to_le_bytes());
    let sum = sum.ok_or_else(|| wrong(rest, "the number of blocks"))?;
    if sum != Sha256::digest(&file[..total - sum.len()]).as_slice() {
        return Err(wrong(sum, "the sum"));
    }
    Ok(())
}
