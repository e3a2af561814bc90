//! What a node refuses to do, and that it says why.

use std::{fs, process::Stdio};

use serde_json::json;

use crate::harness::{Net, binaries, dev_genesis, repository, run_command, wait_for};

/// Runs a node that must end by itself; what it said.
fn fails(command: &mut std::process::Command) -> String {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let status = wait_for("the node gives up", || child.try_wait().unwrap());
    assert!(!status.success());
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut text).unwrap();
    text
}

#[test]
fn a_second_process_on_the_same_data_directory_is_refused() {
    let net = Net::new();
    let node = net.node(&[]);
    let said = fails(&mut run_command(&node.datadir));
    assert!(said.contains("in use by another ashlar-node"), "{said}");
    assert_eq!(node.height(), 0);
}

#[test]
fn a_data_directory_of_another_chain_is_refused_with_both_ids() {
    let net = Net::new();
    let mut node = net.node(&[]);
    let ours = node.call("getblockhash", json!([0]));
    node.stop();
    let other = repository().join("genesis.json");
    let said = fails(run_command(&node.datadir).arg("--genesis").arg(&other));
    assert!(said.contains(ours.as_str().unwrap()), "{said}");
    let ids = said.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 64);
    let distinct: std::collections::BTreeSet<&str> = ids.collect();
    assert!(distinct.len() >= 2, "{said}");
}

#[test]
fn the_clock_can_be_set_only_with_dev_clock_on_a_development_chain() {
    let net = Net::new();
    let real = net.path("real");
    let said = fails(
        run_command(&real)
            .arg("--genesis")
            .arg(repository().join("genesis.json"))
            .arg("--dev-clock"),
    );
    assert!(said.contains("development"), "{said}");

    let node = net.node(&[]);
    assert!(node.try_call("setmocktime", json!([1_800_000_000])).is_err());
    let settable = net.node_with(&[], &["--dev-clock"]);
    settable.call("setmocktime", json!([1_900_000_000]));
    settable.generate(1, &net.wallet("miner").address());
    let tip = settable.call("getblockheader", json!([settable.tip()]));
    assert_eq!(tip["time"], 1_900_000_000);
}

#[test]
fn unknown_configuration_keys_and_bad_files_are_refused() {
    let net = Net::new();
    let datadir = net.path("bad");
    fs::create_dir_all(&datadir).unwrap();
    fs::write(datadir.join("ashlar.toml"), "mine_treads = 2\n").unwrap();
    let said = fails(run_command(&datadir).arg("--genesis").arg(dev_genesis()));
    assert!(said.contains("mine_treads"), "{said}");
    let said = fails(run_command(&datadir).args(["--config", "/nonexistent.toml"]));
    assert!(said.contains("/nonexistent.toml"), "{said}");

    fs::remove_file(datadir.join("ashlar.toml")).unwrap();
    let said = fails(&mut run_command(&datadir));
    assert!(said.contains("--genesis") && said.contains("init"), "{said}");

    let broken = net.path("broken.json");
    fs::write(&broken, "{\"name\": \"x\"}").unwrap();
    let said = fails(run_command(&datadir).arg("--genesis").arg(&broken));
    assert!(said.contains("broken.json"), "{said}");

    let said = fails(
        run_command(&datadir).arg("--genesis").arg(dev_genesis()).args(["--mine", "nonsense"]),
    );
    assert!(said.contains("--mine"), "{said}");
}

#[test]
fn a_port_in_use_is_named() {
    let net = Net::new();
    let node = net.node(&[]);
    let address = node.rpc_address();
    let port = node.address().split("/p2p/").next().unwrap().to_owned();
    for (listen, rpc, named) in [
        ("/ip4/127.0.0.1/tcp/0", address.as_str(), address.as_str()),
        (port.as_str(), "127.0.0.1:0", port.as_str()),
    ] {
        let mut command = std::process::Command::new(binaries().join("ashlar-node"));
        command.args(["run", "--listen", listen, "--rpc-listen", rpc]);
        command.arg("--datadir").arg(net.path("second")).arg("--genesis").arg(dev_genesis());
        let said = fails(&mut command);
        assert!(said.contains(named), "{said}");
    }
}

#[test]
fn peers_of_another_chain_part_at_once_and_say_so() {
    let net = Net::new();
    let other_genesis = net.path("genesis.json");
    let text = fs::read_to_string(dev_genesis()).unwrap();
    fs::write(&other_genesis, text.replace("1767225600", "1767225601")).unwrap();
    let node = net.node(&[]);
    let stranger = net.node_on(&other_genesis, &[&node], &[]);
    wait_for("one of them says that they part", || {
        (node.log().contains("another chain") || stranger.log().contains("another chain"))
            .then_some(())
    });
    for one in [&node, &stranger] {
        assert_eq!(one.call("getpeerinfo", json!([])), json!([]));
    }
}

#[test]
fn a_wallet_refuses_addresses_and_nodes_of_another_chain_and_typing_errors() {
    let net = Net::new();
    let other_genesis = net.path("genesis.json");
    let text = fs::read_to_string(dev_genesis()).unwrap();
    fs::write(&other_genesis, text.replace("1767225600", "1767225601")).unwrap();
    let node = net.node(&[]);
    let stranger = net.node_on(&other_genesis, &[], &[]);
    let faucet = net.faucet();
    let payee = net.wallet("payee").address();
    let on = |node: &crate::harness::Node, arguments: &[&str]| {
        let mut all = vec!["--datadir", node.datadir.to_str().unwrap()];
        all.extend(arguments);
        let output = faucet.try_run(&all);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let main_chain = "ash1qkf30urakm486r0w9vdl4cty34ksyyy7jw09vh6mj2546nk7wj8vsagmf9p";
    let said = on(&node, &["send", main_chain, "1", "--yes"]);
    assert!(said.contains("devash"), "{said}");
    let mut typo = payee.clone();
    let last = typo.pop().unwrap();
    typo.push(if last == 'q' { 'p' } else { 'q' });
    on(&node, &["send", &typo, "1", "--yes"]);
    on(&node, &["send", &payee, "1e3", "--yes"]);
    on(&node, &["send", &payee, "0.000000001", "--yes"]);
    let said = on(&node, &["send", &payee, "2000000", "--yes"]);
    assert!(said.contains("not enough"), "{said}");
    // Without a terminal nobody can be asked, and nothing is sent.
    let said = on(&node, &["send", &payee, "1"]);
    assert!(said.contains("--yes"), "{said}");
    for command in [&["balance"][..], &["history"], &["send", &payee, "1", "--yes"]] {
        let said = on(&stranger, command);
        assert!(said.contains("chain"), "{said}");
    }
    assert_eq!(node.call("getmempoolinfo", json!([]))["size"], 0);
}
