//! `scripts/testnet.sh`, as a newcomer uses it: real mining on a chain of its own.

use std::process::{Command, Output};

use crate::harness::{Net, binaries, repository, wait_for};

struct Testnet {
    net: Net,
}

impl Testnet {
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new("bash")
            .arg(repository().join("scripts/testnet.sh"))
            .args(arguments)
            .env("ASHLAR_TESTNET_DIR", self.net.path("testnet"))
            .env("ASHLAR_BIN_DIR", binaries())
            .env("ASHLAR_SKIP_BUILD", "1")
            .output()
            .unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "testnet.sh {arguments:?}:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Testnet {
    fn drop(&mut self) {
        self.run(&["destroy"]);
    }
}

#[test]
fn three_nodes_a_payment_and_a_kill() {
    let testnet = Testnet { net: Net::new() };
    let banner = testnet.ok(&["up", "-n", "3"]);
    for wanted in ["RPC http://127.0.0.1:", ".cookie", "faucet.json", "Try next"] {
        assert!(banner.contains(wanted), "{banner}");
    }
    testnet.ok(&["wallet", "-w", "alice", "-n", "3", "create"]);
    let address = testnet.ok(&["wallet", "-w", "alice", "-n", "3", "address"]);
    testnet.ok(&["wallet", "-n", "1", "send", address.trim(), "7.25", "--yes"]);

    testnet.ok(&["kill", "2"]);
    assert!(testnet.ok(&["status"]).contains("stopped"));
    wait_for("the payment is confirmed on node 3", || {
        let balance = testnet.ok(&["wallet", "-w", "alice", "-n", "3", "--json", "balance"]);
        let balance: serde_json::Value = serde_json::from_str(&balance).unwrap();
        (balance["confirmed"] == 725_000_000).then_some(())
    });
    testnet.ok(&["start", "2"]);
    wait_for("node 2 has it too", || {
        let balance = testnet.ok(&["wallet", "-w", "alice", "-n", "2", "--json", "balance"]);
        let balance: serde_json::Value = serde_json::from_str(&balance).unwrap();
        (balance["confirmed"] == 725_000_000).then_some(())
    });
    assert!(testnet.ok(&["logs", "2"]).contains("new tip"));
    let height: u64 = testnet.ok(&["cli", "2", "getblockcount"]).trim().parse().unwrap();
    assert!(height > 0);
    testnet.ok(&["stop", "3"]);
    testnet.ok(&["down"]);
    assert!(!testnet.ok(&["status"]).contains("running"));
    assert!(!testnet.run(&["cli", "9", "getblockcount"]).status.success());
}
