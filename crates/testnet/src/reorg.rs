//! `reorg`: a heavier branch from some blocks below the tip, as another miner could have made it.
//!
//! Nothing is faked. A private node on a copy of the chain takes the blocks above the fork for
//! invalid, and makes the new branch on what is left from its own templates, with the transactions
//! of the blocks that it replaces, without the one that is dropped and what hangs on it, or with
//! the payer's other transaction in its place. The proof of work is found here. The blocks then go
//! to a real node through `submitblock`, and from there to all others, by the rules that every
//! block goes by; each node decides by itself.

use std::{collections::BTreeSet, path::Path, time::Duration};

use ashlar_primitives::{
    Address, Amount, Block, BlockId, Decode as _, Encode as _, Lock, OutPoint, Output, Transaction,
    Txid, address::AddressError, merkle::block_merkle_root,
};
use ashlar_rpc::{
    Client, ClientError,
    prelude::*,
    types::{BlockTemplate, ClockSetting, HeaderResult, Hex, TemplateRequest, Text},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::{
    file::NodeNumber,
    purse::Purse,
    workshop::{Workshop, WorkshopError},
};

/// The deepest reorganisation that can be asked for.
pub const MAX_REORG_DEPTH: u32 = 1_000;
/// Blocks that a branch may need beyond one more than it replaces: where difficulty fell, or the
/// old branch grew meanwhile.
const MAX_EXTRA_BLOCKS: u32 = 200;
/// Headers tried for one block; on a development chain it takes a few, on the slowest that this is
/// meant for some millions.
const MAX_TRIES: u64 = 1 << 30;
/// Transactions handed over at once: the bound of `sendrawtransactions`.
const BATCH_TRANSACTIONS: usize = 1_000;
/// Longest that the node that was handed the branch is waited for: it may have much to undo.
const MOVE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest that the other nodes are waited for. Those beyond a partition do not come.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// Bytes that mark the blocks of a branch.
const MARK_BYTES: usize = 8;

/// What becomes of one payment in the new branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Against {
    /// It is in no block, and waits again: a later block may hold it.
    Drop(Text<Txid>),
    /// Its payer's coins go back to the payer instead: it can never be again.
    DoubleSpend(Text<Txid>),
}

impl Against {
    const fn txid(self) -> Txid {
        match self {
            Self::Drop(txid) | Self::DoubleSpend(txid) => txid.0,
        }
    }
}

/// What a reorganisation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reorganised {
    /// The height of the last block that both branches have.
    pub fork: u32,
    /// The tip that was left.
    pub old_tip: Text<BlockId>,
    /// Its height.
    pub old_height: u32,
    /// The new tip.
    pub new_tip: Text<BlockId>,
    /// Its height.
    pub new_height: u32,
    /// Transactions of the old branch that the new one does not have.
    pub left_out: Vec<Text<Txid>>,
    /// The transaction that took the coins of the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub double_spend: Option<Text<Txid>>,
    /// The nodes that are on the new branch.
    pub followed: Vec<NodeNumber>,
}

/// Why there was no reorganisation. The nodes are then where they were.
#[derive(Debug, Error)]
pub enum ReorgError {
    /// No blocks, more than allowed, or more than there are.
    #[error("a depth is 1 to {max} here, not {depth}")]
    Depth {
        /// As given.
        depth: u32,
        /// What can be had.
        max: u32,
    },
    /// The transaction is in none of the blocks that are to go.
    #[error("{txid} is in none of the last {depth} blocks; a greater --depth may reach it")]
    NotThere {
        /// Which.
        txid: Txid,
        /// How far was looked.
        depth: u32,
    },
    /// None of the testnet's wallets owns what the transaction spends.
    #[error("no wallet of this testnet has a key of what {txid} spends; --drop it instead")]
    NoKey {
        /// Which.
        txid: Txid,
    },
    /// What the transaction spends is itself only in the blocks that go, and does not come back.
    #[error("what {txid} spends is not in the new branch; a smaller --depth may keep it")]
    NothingToSpend {
        /// Which.
        txid: Txid,
    },
    /// The difficulty is not for this.
    #[error("no proof of work after {MAX_TRIES} tries: the chain is too hard for a reorganisation")]
    NoProof,
    /// The new branch does not get ahead.
    #[error("the new branch is still lighter after {blocks} blocks; stop the miners first")]
    NotHeavier {
        /// How many were made.
        blocks: u32,
    },
    /// A node refused a block of the new branch.
    #[error("a node refused block {height} of the new branch: {code}")]
    Refused {
        /// Its height.
        height: u32,
        /// The rule's code.
        code: String,
    },
    /// The branch is heavier, and the node stays.
    #[error("the node keeps its tip; is reorg.hold set?")]
    Held,
    /// A node does not answer, or not as it should.
    #[error(transparent)]
    Call(#[from] ClientError),
    /// It answered with what does not decode.
    #[error("a node's answer does not decode: {what}")]
    BadAnswer {
        /// What it was to be.
        what: &'static str,
    },
    /// Not an address of the chain.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// There is no private node to make the branch on.
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
}

/// What is needed for a reorganisation beside the wish.
#[derive(Debug)]
pub(crate) struct Tools<'a> {
    /// `ashlar-node`.
    pub(crate) program: &'a Path,
    /// Where the private node may be.
    pub(crate) folder: &'a Path,
    /// How the net's clock runs, where it is not the machine's.
    pub(crate) clock: Option<ClockSetting>,
    /// Whom the new blocks pay.
    pub(crate) pay_to: &'a str,
    /// The prefix of the chain's addresses.
    pub(crate) prefix: &'a str,
    /// The words of the testnet's wallets.
    pub(crate) words: &'a [String],
}

/// Makes a branch that replaces the last `depth` blocks of the first of these nodes and hands it
/// to that one; the others are waited for.
pub(crate) async fn reorganise(
    nodes: &[(NodeNumber, Client)],
    depth: u32,
    against: Option<Against>,
    tools: &Tools<'_>,
) -> Result<Reorganised, ReorgError> {
    let Some((_, source)) = nodes.first() else {
        return Err(ReorgError::BadAnswer { what: "nodes" });
    };
    let old = source.getblockchaininfo().await.map_err(ClientError::from)?.at;
    let max = MAX_REORG_DEPTH.min(old.tip_height);
    if !(1..=max).contains(&depth) {
        return Err(ReorgError::Depth { depth, max });
    }
    let fork = old.tip_height - depth;
    let replaced = read_blocks(source, fork + 1, old.tip_height).await?;
    if let Some(txid) = against.map(Against::txid) {
        let mut old = replaced.iter().flat_map(|block| &block.transactions);
        if !old.any(|transaction| transaction.txid() == txid) {
            return Err(ReorgError::NotThere { txid, depth });
        }
    }
    let workshop = Workshop::open(tools.program, source, tools.folder, tools.clock).await?;
    let made = async {
        let branch = Branch::new(workshop.client().clone(), tools, replaced, against).await?;
        branch.make(source).await
    };
    let made = made.await;
    workshop.close().await;
    let branch = made?;
    submit(source, fork, &branch.blocks).await?;
    let new_tip = branch.blocks.last().map_or(old.tip.0, |block| block.header.id());
    if followers(&nodes[..1], new_tip, MOVE_TIMEOUT).await.is_empty() {
        return Err(ReorgError::Held);
    }
    Ok(Reorganised {
        fork,
        old_tip: old.tip,
        old_height: old.tip_height,
        new_tip: new_tip.into(),
        new_height: fork.saturating_add(branch.length()),
        left_out: branch.left_out(),
        double_spend: branch.rival_txid.map(Text),
        followed: followers(nodes, new_tip, FOLLOW_TIMEOUT).await,
    })
}

/// The bodies of a stretch of a node's best chain.
async fn read_blocks(node: &Client, from: u32, to: u32) -> Result<Vec<Block>, ReorgError> {
    let mut blocks = Vec::new();
    for height in from..=to {
        let id = node.getblockhash(height).await.map_err(ClientError::from)?;
        let hex = node.call("getblock", vec![id.to_string().into(), 0.into()]).await?;
        blocks.push(decode(hex.as_str().unwrap_or_default(), "a block")?);
    }
    Ok(blocks)
}

fn decode<T: ashlar_primitives::Decode>(hex: &str, what: &'static str) -> Result<T, ReorgError> {
    let bytes = hex::decode(hex).map_err(|_| ReorgError::BadAnswer { what })?;
    T::from_bytes(&bytes).map_err(|_| ReorgError::BadAnswer { what })
}

/// The new branch while it is made, on a private node.
#[derive(Debug)]
struct Branch<'a> {
    workshop: Client,
    pay_to: &'a str,
    /// Of the old tip's id: what no block of the old branch can have in its coinbase.
    mark: [u8; MARK_BYTES],
    /// Ids of transactions that must not be in it: the one that goes and what hangs on it.
    unwanted: BTreeSet<Txid>,
    against: Option<Against>,
    /// What takes the payment's coins, until it is in a block, and its fee.
    rival: Option<(Transaction, Amount)>,
    rival_txid: Option<Txid>,
    /// The ids of what the replaced blocks held.
    old: Vec<Txid>,
    placed: BTreeSet<Txid>,
    blocks: Vec<Block>,
    depth: u32,
}

impl<'a> Branch<'a> {
    /// Takes the private node back to the fork and hands it the transactions of the blocks that
    /// are replaced, without those that are not wanted.
    async fn new(
        workshop: Client,
        tools: &Tools<'a>,
        replaced: Vec<Block>,
        against: Option<Against>,
    ) -> Result<Self, ReorgError> {
        let first = replaced.first().map(|block| block.header.id()).unwrap_or(BlockId::ZERO);
        workshop.invalidateblock(first.into()).await.map_err(ClientError::from)?;
        let depth = u32::try_from(replaced.len()).unwrap_or(u32::MAX);
        let last = replaced.last().map(|block| block.header.id()).unwrap_or(BlockId::ZERO);
        let mut mark = [0; MARK_BYTES];
        mark.copy_from_slice(&last.0[..MARK_BYTES]);
        let transactions: Vec<Transaction> =
            replaced.into_iter().flat_map(|block| block.transactions).collect();
        let mut branch = Self {
            workshop,
            pay_to: tools.pay_to,
            mark,
            unwanted: against.iter().map(|against| against.txid()).collect(),
            against,
            rival: None,
            rival_txid: None,
            old: transactions.iter().map(Transaction::txid).collect(),
            placed: BTreeSet::new(),
            blocks: Vec::new(),
            depth,
        };
        if let Some(Against::DoubleSpend(txid)) = against {
            let rival = branch.rival_of(txid.0, &transactions, tools).await?;
            branch.rival_txid = Some(rival.0.txid());
            branch.rival = Some(rival);
        }
        let mut wanted = Vec::new();
        for transaction in &transactions {
            if !branch.is_unwanted(transaction) {
                wanted.push(hex::encode(transaction.to_bytes()));
            }
        }
        for batch in wanted.chunks(BATCH_TRANSACTIONS) {
            // What is there already, or can't be any more, such as what spends a coinbase that
            // goes, is told one by one and left out.
            branch.workshop.sendrawtransactions(batch.to_vec()).await.map_err(ClientError::from)?;
        }
        Ok(branch)
    }

    /// The payer's other transaction.
    async fn rival_of(
        &self,
        txid: Txid,
        transactions: &[Transaction],
        tools: &Tools<'_>,
    ) -> Result<(Transaction, Amount), ReorgError> {
        let found = transactions.iter().find(|transaction| transaction.txid() == txid);
        let payment = found.ok_or(ReorgError::NotThere { txid, depth: self.depth })?;
        let mut coins = Vec::new();
        for outpoint in &payment.inputs {
            if let Some(output) = self.coin(*outpoint, transactions, tools.prefix).await? {
                coins.push((*outpoint, output));
            }
        }
        if coins.is_empty() {
            return Err(ReorgError::NothingToSpend { txid });
        }
        let mut purse = Purse::default();
        for words in tools.words {
            purse
                .add(words)
                .map_err(|_| ReorgError::BadAnswer { what: "the words of a wallet" })?;
        }
        let genesis = self.workshop.getblockhash(0).await.map_err(ClientError::from)?;
        purse.take_back(&genesis, &coins).ok_or(ReorgError::NoKey { txid })
    }

    /// A coin as it is at the fork, or as one of the transactions that come back makes it.
    async fn coin(
        &self,
        outpoint: OutPoint,
        transactions: &[Transaction],
        prefix: &str,
    ) -> Result<Option<Output>, ReorgError> {
        let maker = transactions.iter().find(|transaction| transaction.txid() == outpoint.txid);
        if let Some(maker) = maker {
            return Ok(maker.outputs.get(usize::from(outpoint.index)).copied());
        }
        let coin = self.workshop.gettxout(outpoint.txid.into(), outpoint.index, Some(false));
        let Some(coin) = coin.await.map_err(ClientError::from)? else { return Ok(None) };
        let lock: Lock = Address::parse(&coin.address, prefix)?.lock;
        Ok(Some(Output { value: Amount::from_grains(coin.value), lock }))
    }

    /// Whether a transaction must not be in the branch, or hangs on one that must not.
    fn is_unwanted(&mut self, transaction: &Transaction) -> bool {
        let txid = transaction.txid();
        let is_so = self.unwanted.contains(&txid)
            || transaction.inputs.iter().any(|input| self.unwanted.contains(&input.txid));
        if is_so {
            self.unwanted.insert(txid);
        }
        is_so
    }

    /// Makes blocks until the branch has more work than the source's chain.
    async fn make(mut self, source: &Client) -> Result<Self, ReorgError> {
        while self.length() <= self.depth || work(&self.workshop).await? <= work(source).await? {
            if self.length() > self.depth.saturating_add(MAX_EXTRA_BLOCKS) {
                return Err(ReorgError::NotHeavier { blocks: self.length() });
            }
            self.make_block().await?;
        }
        match self.against {
            Some(against) if self.rival.is_some() => {
                Err(ReorgError::NothingToSpend { txid: against.txid() })
            }
            _ => Ok(self),
        }
    }

    fn length(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    /// What the replaced blocks held and the new ones do not.
    fn left_out(&self) -> Vec<Text<Txid>> {
        self.old.iter().filter(|txid| !self.placed.contains(txid)).copied().map(Text).collect()
    }

    async fn make_block(&mut self) -> Result<(), ReorgError> {
        let request = TemplateRequest {
            address: self.pay_to.to_owned(),
            // The old block may have the same parent, time and payee: this one must be another.
            extra: Some(Hex(self.mark.to_vec())),
            longpollid: None,
        };
        let template = self.workshop.getblocktemplate(request).await.map_err(ClientError::from)?;
        let block = self.amend(&template)?;
        let mut target = [0; 32];
        hex::decode_to_slice(&template.target, &mut target)
            .map_err(|_| ReorgError::BadAnswer { what: "a target" })?;
        let header = block.header;
        let found =
            tokio::task::spawn_blocking(move || ashlar_miner::search(header, &target, MAX_TRIES));
        let header = found.await.ok().flatten().ok_or(ReorgError::NoProof)?;
        let block = Block { header, ..block };
        let hex = hex::encode(block.to_bytes());
        if let Some(code) = self.workshop.submitblock(hex).await.map_err(ClientError::from)? {
            return Err(ReorgError::Refused { height: block.coinbase.height, code });
        }
        self.placed.extend(block.transactions.iter().map(Transaction::txid));
        self.blocks.push(block);
        Ok(())
    }

    /// The template's block without what is not wanted, with the rival as soon as what it spends
    /// is there; the coinbase claims the fees of what is in it.
    fn amend(&mut self, template: &BlockTemplate) -> Result<Block, ReorgError> {
        const WHAT: &str = "a template";
        let mut block = Block::from_bytes(&template.block.0)
            .map_err(|_| ReorgError::BadAnswer { what: WHAT })?;
        let mut claimed = template.coinbasevalue;
        let fees: Vec<u64> = template.transactions.iter().map(|listed| listed.fee).collect();
        let mut kept = Vec::new();
        for (transaction, fee) in block.transactions.into_iter().zip(fees) {
            if self.is_unwanted(&transaction) {
                claimed = claimed.saturating_sub(fee);
            } else {
                kept.push(transaction);
            }
        }
        let here: BTreeSet<Txid> = kept.iter().map(Transaction::txid).collect();
        let is_made = |input: &OutPoint| {
            !self.old.contains(&input.txid)
                || self.placed.contains(&input.txid)
                || here.contains(&input.txid)
        };
        if let Some((rival, fee)) =
            self.rival.take_if(|(rival, _)| rival.inputs.iter().all(is_made))
        {
            kept.push(rival);
            claimed = claimed.saturating_add(fee.grains());
        }
        block.transactions = kept;
        let paid = block.coinbase.outputs.first_mut();
        paid.ok_or(ReorgError::BadAnswer { what: WHAT })?.value = Amount::from_grains(claimed);
        block.header.merkle_root =
            block_merkle_root(&block).ok_or(ReorgError::BadAnswer { what: WHAT })?;
        Ok(block)
    }
}

/// The work of a node's chain, as a text of a fixed length.
async fn work(node: &Client) -> Result<String, ReorgError> {
    let tip = node.getbestblockhash().await.map_err(ClientError::from)?;
    match node.getblockheader(tip, None).await.map_err(ClientError::from)? {
        HeaderResult::Detail(header) => Ok(header.chainwork),
        HeaderResult::Raw(_) => Err(ReorgError::BadAnswer { what: "a header" }),
    }
}

/// Hands a branch to a node, lowest block first.
async fn submit(node: &Client, fork: u32, blocks: &[Block]) -> Result<(), ReorgError> {
    for (height, block) in (fork + 1..).zip(blocks) {
        let hex = hex::encode(block.to_bytes());
        match node.submitblock(hex).await.map_err(ClientError::from)?.as_deref() {
            None | Some("inconclusive" | "duplicate") => {}
            Some(code) => return Err(ReorgError::Refused { height, code: code.to_owned() }),
        }
    }
    Ok(())
}

/// Whether a block is of a node's best chain.
async fn is_on(node: &Client, id: BlockId) -> Result<bool, ReorgError> {
    match node.getblockheader(id.into(), None).await.map_err(ClientError::from) {
        Ok(HeaderResult::Detail(header)) => Ok(header.confirmations > 0),
        Ok(HeaderResult::Raw(_)) => Ok(false),
        Err(error) if error.code() == Some("not-found") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Those on whose best chain the block is, once all are, or the time is over.
async fn followers(
    nodes: &[(NodeNumber, Client)],
    tip: BlockId,
    patience: Duration,
) -> Vec<NodeNumber> {
    let deadline = Instant::now() + patience;
    loop {
        let mut there = Vec::new();
        for (number, node) in nodes {
            if matches!(is_on(node, tip).await, Ok(true)) {
                there.push(*number);
            }
        }
        if there.len() == nodes.len() || Instant::now() > deadline {
            return there;
        }
        tokio::time::sleep(POLL).await;
    }
}
