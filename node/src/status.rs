//! `ashlar-node status`: a running node at a glance, again and again on a terminal, once elsewhere.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use ashlar_primitives::BlockId;
use ashlar_rpc::{
    Client, ClientError,
    prelude::*,
    types::{
        BlockResult, BlockSummary, BlockchainInfo, MempoolInfo, MiningInfo, NetworkInfo, PeerInfo,
        Verbosity,
    },
};
use clap::Args;
use indicatif::HumanDuration;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Failure, clock::machine_unix_ms, remote::RpcPlace, size::ByteSize};

/// Between two looks on a terminal.
const INTERVAL: Duration = Duration::from_secs(1);
/// The newest blocks that are shown.
const BLOCKS: usize = 8;
/// Peers that are shown; the others are counted.
const PEERS: usize = 8;
/// Cells of the bar.
const BAR_CELLS: u64 = 40;
/// Another page of the terminal without cursor, and back: what was there before is there again.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner; to clear the rest of a line, of the page.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K\r\n";
const CLEAR_BELOW: &str = "\x1b[J";

#[derive(Clone, Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    place: RpcPlace,
    /// Print once and end, as it does by itself where there is no terminal.
    #[arg(long)]
    once: bool,
}

/// All that is shown, asked one after the other: parts may be of tips one block apart.
struct Seen {
    chain: BlockchainInfo,
    mempool: MempoolInfo,
    mining: MiningInfo,
    network: NetworkInfo,
    peers: Vec<PeerInfo>,
    /// Newest first.
    blocks: Vec<BlockSummary>,
}

/// Shows the node until a signal comes.
pub(crate) fn status(arguments: &StatusArguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = arguments.place.connect()?;
        let mut blocks = BTreeMap::new();
        if arguments.once || !std::io::stdout().is_terminal() {
            print!("{}", page(&look(&client, &mut blocks).await?, now_seconds()));
            return Ok(());
        }
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let _screen = Screen::enter()?;
        loop {
            let text = match look(&arguments.place.connect()?, &mut blocks).await {
                Ok(seen) => page(&seen, now_seconds()),
                // It may be starting again, with another cookie: the next look finds it.
                Err(error) => format!("{error}\n"),
            };
            let mut out = std::io::stdout().lock();
            write!(out, "{HOME}{}{CLEAR_BELOW}", text.replace('\n', CLEAR_LINE))?;
            out.flush()?;
            drop(out);
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
            }
        }
    })
}

/// The terminal's other page; however the command ends, the first one is back.
struct Screen;

impl Screen {
    fn enter() -> std::io::Result<Self> {
        print!("{ENTER}");
        std::io::stdout().flush()?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print!("{LEAVE}");
        // There is nobody left to tell of a terminal that is gone.
        drop(std::io::stdout().flush());
    }
}

fn now_seconds() -> u64 {
    machine_unix_ms() / 1_000
}

/// Asks the node; blocks that were asked for before are not asked for again.
async fn look(
    client: &Client,
    known: &mut BTreeMap<BlockId, BlockSummary>,
) -> Result<Seen, ClientError> {
    let chain = client.getblockchaininfo().await?;
    let mut blocks = Vec::new();
    let mut next = Some(chain.bestblockhash);
    while let (Some(id), true) = (next, blocks.len() < BLOCKS) {
        let block = match known.remove(&id.0) {
            Some(block) => block,
            None => {
                match client.getblock(id, Some(Verbosity(1))).await.map_err(ClientError::from) {
                    Ok(BlockResult::Summary(block)) => *block,
                    Ok(_) => break,
                    // Below what a pruned node keeps.
                    Err(ClientError::Call { .. }) => break,
                    Err(error) => return Err(error),
                }
            }
        };
        next = block.header.previousblockhash;
        blocks.push(block);
    }
    *known = blocks.iter().map(|block| (block.header.hash.0, block.clone())).collect();
    Ok(Seen {
        chain,
        mempool: client.getmempoolinfo().await?,
        mining: client.getmininginfo().await?,
        network: client.getnetworkinfo().await?,
        peers: client.getpeerinfo().await?,
        blocks,
    })
}

/// What is shown.
fn page(seen: &Seen, now: u64) -> String {
    let Seen { chain, mempool, mining, network, peers, blocks } = seen;
    let mut text = String::new();
    let mut line = |what: &str, words: String| {
        text.push_str(&format!("{what:<9} {words}\n"));
    };
    line("chain", format!("{} · {} · {}", chain.chain, network.subversion, chain.chain_id));
    line("sync", sync(chain));
    let age = HumanDuration(Duration::from_secs(now.saturating_sub(chain.time.into())));
    line("tip", format!("{} · {} · {age} ago", chain.blocks, chain.bestblockhash));
    line("network", hash_rate(mining.networkhashps));
    line(
        "miner",
        match mining.threads {
            0 => "off".to_owned(),
            threads => format!("{}, {threads} threads", hash_rate(mining.hashps)),
        },
    );
    line(
        "mempool",
        format!(
            "{} transactions, {}, memory {} of {}, from {} grains for 1,000 bytes",
            mempool.size,
            ByteSize(mempool.bytes),
            ByteSize(mempool.usage),
            ByteSize(mempool.maxmempool),
            mempool.mempoolminfee,
        ),
    );
    line(
        "stored",
        match chain.pruneheight {
            Some(start) => format!("{}, blocks from {start} on", ByteSize(chain.size_on_disk)),
            None => format!("{}, all blocks", ByteSize(chain.size_on_disk)),
        },
    );
    line("peers", format!("{} in, {} out", network.connections_in, network.connections_out));
    for peer in peers.iter().take(PEERS) {
        let way = if peer.inbound { "in " } else { "out" };
        let height = peer.synced_blocks.map_or_else(|| "?".to_owned(), |height| height.to_string());
        let ping = peer.ping_ms.map_or_else(|| "?".to_owned(), |ping| ping.to_string());
        let agent = printable(peer.subver.as_deref().unwrap_or("?"));
        line("", format!("{way} {} · {agent} · block {height} · {ping} ms", printable(&peer.addr)));
    }
    if peers.len() > PEERS {
        line("", format!("and {} more", peers.len() - PEERS));
    }
    for (index, block) in blocks.iter().enumerate() {
        let header = &block.header;
        let age = HumanDuration(Duration::from_secs(now.saturating_sub(header.time.into())));
        let relieved = if header.relieved { " · relieved" } else { "" };
        line(
            if index == 0 { "blocks" } else { "" },
            format!(
                "{:>8} · {} · {:>5} transactions · {:>8} · {age} ago{relieved}",
                header.height,
                &header.hash.to_string()[..16],
                block.transaction_count.saturating_sub(1),
                ByteSize(block.size).to_string(),
            ),
        );
    }
    for warning in &chain.warnings {
        line("WARNING", warning.clone());
    }
    text
}

/// A bar from the genesis block to where the node goes.
fn sync(chain: &BlockchainInfo) -> String {
    let target = chain.sync.as_ref().map_or(chain.headers, |sync| sync.target_height);
    let target = u64::from(target.max(chain.blocks).max(1));
    let height = u64::from(chain.blocks);
    let cells = if chain.initialblockdownload { height * BAR_CELLS / target } else { BAR_CELLS };
    let bar: String = (0..BAR_CELLS).map(|cell| if cell < cells { '█' } else { '░' }).collect();
    match &chain.sync {
        None if chain.initialblockdownload => format!("{bar} {height} of {target}"),
        None => format!("{bar} caught up"),
        Some(sync) => {
            let speed = sync.blocks_per_second.map(|speed| format!(", {speed:.1} blocks/s"));
            let left = sync
                .seconds_left
                .map(|seconds| format!(", {} left", HumanDuration(Duration::from_secs(seconds))));
            let percent = height * 100 / target;
            let (speed, left) = (speed.unwrap_or_default(), left.unwrap_or_default());
            format!("{bar} {percent} %, {height} of {target}{speed}{left}")
        }
    }
}

/// `12.3 kH/s`: three figures and a prefix.
fn hash_rate(number: u64) -> String {
    let prefixes = [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3)];
    for (prefix, power) in prefixes {
        let unit = 10_u64.pow(power);
        if number >= unit {
            let (whole, tenth) = (number / unit, number % unit / (unit / 10));
            return format!("{whole}.{tenth} {prefix}H/s");
        }
    }
    format!("{number} H/s")
}

/// What a peer says of itself, without the characters that move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(change: serde_json::Value) -> BlockchainInfo {
        let id = BlockId([1; 32]).to_string();
        let zero = "0".repeat(64);
        let mut chain = json!({
            "tip": id, "tip_height": 50, "chain": "t", "chain_id": id, "address_prefix": "t",
            "blocks": 50, "headers": 50, "bestblockhash": id, "bits": "1f00ffff", "target": zero,
            "time": 1_000, "mediantime": 900, "initialblockdownload": false,
            "chainwork": zero, "coins": 1, "supply": 1, "claimed": 1, "utxo_commitment": zero,
            "next_subsidy": 1, "coinbase_maturity": 100, "block_interval": 60,
            "max_block_bytes": 1_000_000, "transaction_index": true, "address_index": true,
            "size_on_disk": 1, "pruned": false, "warnings": [],
        });
        chain.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(chain).unwrap()
    }

    #[test]
    fn the_bar_goes_to_where_the_node_goes() {
        let caught_up = sync(&chain(json!({})));
        assert!(caught_up.contains(&"█".repeat(40)) && caught_up.contains("caught up"));
        let half = json!({
            "initialblockdownload": true, "headers": 100,
            "sync": {
                "height": 50, "target_height": 100, "blocks_per_second": 12.34, "seconds_left": 4,
            },
        });
        let text = sync(&chain(half));
        let bar = format!("{}{}", "█".repeat(20), "░".repeat(20));
        assert_eq!(text, format!("{bar} 50 %, 50 of 100, 12.3 blocks/s, 4 seconds left"));
    }

    #[test]
    fn numbers_and_names_are_made_for_a_terminal() {
        for (number, text) in
            [(0, "0 H/s"), (999, "999 H/s"), (12_345, "12.3 kH/s"), (2_000_000, "2.0 MH/s")]
        {
            assert_eq!(hash_rate(number), text);
        }
        assert_eq!(printable("a\x1b[2Jb\n"), "a·[2Jb·");
    }
}
