//! What people are shown.

use std::fmt::Write as _;

use crate::{
    control::{NodeState, Overview, Status},
    render::Rendered,
};

/// What stands where nothing is known.
const UNKNOWN: &str = "-";

/// A line for each node.
pub(crate) fn status(status: &Status) -> String {
    let mut text = format!(
        "{:<5} {:<9} {:<8} {:<8} {:<6} {:<8} {:<8} {:<9} {}\n",
        "node", "state", "pid", "height", "peers", "waiting", "memory", "cpu", "tip"
    );
    for node in &status.nodes {
        let answers = node.answers.as_ref();
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
        let line = format!(
            "{:<5} {:<9} {:<8} {:<8} {:<6} {:<8} {:<8} {:<9} {}",
            node.node,
            state(node.state),
            or_unknown(node.pid.map(|pid| pid.to_string())),
            or_unknown(answers.map(|answers| answers.height.to_string())),
            or_unknown(answers.map(|answers| answers.peers.to_string())),
            or_unknown(answers.map(|answers| answers.waiting.to_string())),
            or_unknown(node.memory_bytes.map(|bytes| format!("{} MB", bytes / 1_000_000))),
            or_unknown(node.cpu_ms.map(|ms| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100))),
            node.reason
                .clone()
                .unwrap_or_else(|| or_unknown(answers.map(|answers| answers.tip.to_string()))),
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    writeln!(text, "mining: {}", status.mining).expect("a string takes everything");
    text
}

const fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Stopped => "stopped",
        NodeState::Starting => "starting",
        NodeState::Running => "running",
        NodeState::Paused => "paused",
        NodeState::Failed => "failed",
    }
}

/// What there is and where, and what to try next.
pub(crate) fn banner(overview: &Overview) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(format!(
        "The testnet runs: {} node{}, height {}, {}; data in {}",
        overview.nodes.len(),
        if overview.nodes.len() == 1 { "" } else { "s" },
        overview.height,
        overview.mining,
        overview.folder.display()
    ));
    line(String::new());
    for node in &overview.nodes {
        line(format!("node {:<3} RPC {}  cookie {}", node.node, node.rpc, node.cookie.display()));
    }
    line(String::new());
    line(format!(
        "Wallets in {}, password \"{}\". Everybody knows their words:",
        overview.folder.join("wallets").display(),
        overview.wallet_password
    ));
    for wallet in &overview.wallets {
        line(format!("{:<8} {}.json  {}", wallet.name, wallet.name, wallet.address));
        line(format!("         {}", wallet.words));
    }
    if let Some(faucet) = &overview.faucet {
        line(String::new());
        line(format!("faucet   {faucet}"));
    }
    line(String::new());
    line("Try next:".to_owned());
    for command in [
        "wallet balance",
        "wallet -w alice create && scripts/testnet.sh wallet -w alice address",
        "cli 2 getblockchaininfo",
        "status -w",
        "mining on-transaction",
        "kill 2 && scripts/testnet.sh start 2",
    ] {
        line(format!("  scripts/testnet.sh {command}"));
    }
    text
}

/// What was written, and where it belongs.
pub(crate) fn rendered(rendered: &Rendered) -> String {
    let lines = rendered.nodes.iter().map(|node| {
        format!("node {:<3} for {}: {}\n", node.node, node.host, node.folder.display())
    });
    lines.collect::<String>() + "docs/operations.md, \"Many machines\", says what to do with them\n"
}
