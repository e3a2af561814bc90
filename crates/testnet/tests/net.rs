//! `ashlar-testnet` by its library and its program: nodes under a keeper that may itself die, blocks
//! by wish, money for whoever asks, and the same network for several machines.

#![allow(clippy::unwrap_used, reason = "a step that fails is the test's failure")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Output},
};

use ashlar_processes::{Rpc, binary, node::kill};
use ashlar_testnet::{
    Testnet, TestnetError,
    control::{NodeState, Request},
    layout::Layout,
    lines::{LineState, Sides},
    mining::{Mining, Mode, Share},
    wallets::KnownWallet,
};
use serde_json::{Value, json};

/// Polls until there is a value.
fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    ashlar_processes::wait_for(look).unwrap_or_else(|| panic!("waited too long until {what}"))
}

/// The grains that an address has in confirmed coins, by the word of a node.
fn confirmed(net: &Testnet, node: u16, address: &str) -> u64 {
    let rpc = Rpc::connect(&net.layout().node(node)).unwrap();
    let balance = rpc.call("getaddressbalance", vec![json!([address])]).unwrap();
    balance["balance"].as_u64().unwrap()
}

fn state(net: &Testnet, node: u16) -> NodeState {
    let status = net.status().unwrap();
    status.nodes.iter().find(|row| row.node == node).unwrap().state
}

fn pids(net: &Testnet) -> Vec<Option<u32>> {
    net.status().unwrap().nodes.iter().map(|node| node.pid).collect()
}

fn code(error: &TestnetError) -> String {
    error.code().to_owned()
}

#[test]
fn nodes_are_stopped_killed_paused_added_removed_and_outlive_their_keeper() {
    let net = Testnet::start(3).unwrap();
    net.mine(2, Some(2)).unwrap();
    net.wait_for_one_tip().unwrap();
    let ask = |request: Request| net.ask::<()>(&request);

    // Killed it is down until it is started; stopped as well; each knows what it knew.
    ask(Request::Kill { node: 3 }).unwrap();
    assert_eq!(state(&net, 3), NodeState::Stopped);
    assert_eq!(code(&ask(Request::Kill { node: 3 }).unwrap_err()), "node-down");
    net.mine(1, Some(1)).unwrap();
    ask(Request::Start { node: 3 }).unwrap();
    net.wait_for_one_tip().unwrap();
    assert_eq!(code(&ask(Request::Start { node: 3 }).unwrap_err()), "node-up");
    assert_eq!(code(&ask(Request::Stop { node: 9 }).unwrap_err()), "no-such-node");

    // Paused it stands still and keeps its process.
    let before = pids(&net);
    ask(Request::Pause { node: 2 }).unwrap();
    wait_for("node 2 stands still", || (state(&net, 2) == NodeState::Paused).then_some(()));
    ask(Request::Resume { node: 2 }).unwrap();
    net.mine(1, Some(1)).unwrap();
    net.wait_for_one_tip().unwrap();
    assert_eq!(pids(&net), before);

    // One that ends by itself is told of.
    kill(before[2].unwrap());
    wait_for("the end of node 3 is seen", || (state(&net, 3) == NodeState::Failed).then_some(()));
    ask(Request::Start { node: 3 }).unwrap();

    // A new keeper finds the nodes of one that was killed, whose lines come back with it.
    let before = pids(&net);
    kill(net.status().unwrap().keeper_pid.unwrap());
    wait_for("the keeper is gone", || net.status().is_err().then_some(()));
    let again = Testnet::make(net.layout().clone(), None, None).unwrap();
    assert_eq!(pids(&again), before);
    again.up(None).unwrap();
    net.mine(1, Some(3)).unwrap();
    net.wait_for_one_tip().unwrap();

    let added: Value = net.ask(&Request::Add { nodes: 1 }).unwrap();
    assert_eq!(added["nodes"].as_array().unwrap().len(), 4);
    net.mine(1, Some(4)).unwrap();
    net.wait_for_one_tip().unwrap();
    ask(Request::Remove { node: 4 }).unwrap();
    assert!(!net.layout().node(4).exists());
    assert_eq!(net.status().unwrap().nodes.len(), 3);

    // Another file is another testnet.
    let other = net.layout().folder().join("other.toml");
    fs::write(&other, "nodes = 7\n").unwrap();
    let refused = Testnet::make(net.layout().clone(), Some(&other), None).unwrap_err();
    assert_eq!(code(&refused), "other-file");
}

#[test]
fn a_net_in_parts_starts_grows_and_is_joined() {
    let net = Testnet::start(3).unwrap();
    let sides = Sides::parse(&["1,2/3".to_owned()]).unwrap();
    let _: Vec<LineState> = net.ask(&Request::Partition { sides }).unwrap();
    net.mine(1, Some(1)).unwrap();
    let right = net.mine(2, Some(3)).unwrap();
    let tips = || -> Vec<_> {
        let status = net.status().unwrap();
        status.nodes.iter().map(|node| node.answers.as_ref().unwrap().tip).collect()
    };

    // Whoever starts agrees with those whom it hears.
    net.ask::<()>(&Request::Stop { node: 2 }).unwrap();
    net.up(None).unwrap();
    let [one, two, three] = tips()[..] else { panic!("three nodes") };
    assert_eq!((one, three), (two, right.blocks[1]));
    assert_ne!(one, three);

    // Who comes now is named by no side, and joins none of them to another.
    let _: Value = net.ask(&Request::Add { nodes: 1 }).unwrap();
    let is_cut = |line: &LineState| line.is_cut;
    let lines: Vec<LineState> = net.ask(&Request::Links).unwrap();
    let mut of_new = lines.iter().filter(|line| [line.from, line.to].contains(&4));
    assert!(of_new.clone().count() > 0 && of_new.all(is_cut), "{lines:?}");

    let lines: Vec<LineState> = net.ask(&Request::Heal).unwrap();
    assert!(!lines.iter().any(is_cut));
    net.wait_for_one_tip().unwrap();
    assert_eq!(tips(), [right.blocks[1]; 4]);
}

/// An HTTP/1.1 call of the faucet: status and body.
fn call(address: &str, method: &str, headers: &str, body: &str) -> (u16, Value) {
    let host = address.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).unwrap();
    let host_line =
        if headers.contains("Host:") { String::new() } else { format!("Host: {host}\r\n") };
    let length = body.len();
    write!(
        stream,
        "{method} / HTTP/1.1\r\n{host_line}{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn money_comes_for_whoever_asks_and_a_block_as_soon_as_it_waits() {
    let net = Testnet::start_with(
        "nodes = 2\n[mining]\nmode = \"manual\"\n[[wallet]]\nname = \"alice\"\nbalance = \"5\"\n\
         [faucet]\nper_minute = 3\nmost = \"3\"\n",
    )
    .unwrap();
    let overview = net.overview().unwrap();
    let alice = KnownWallet::of("alice", "test");
    assert!(overview.wallets.contains(&alice));
    assert_eq!(confirmed(&net, 2, &alice.address), 500_000_000, "by the genesis");

    // Nothing moves until a block is asked for.
    net.faucet(&alice.address, Some("2.5".parse().unwrap())).unwrap();
    assert_eq!(confirmed(&net, 2, &alice.address), 500_000_000);
    net.mine(1, None).unwrap();
    net.wait_for_one_tip().unwrap();
    assert_eq!(confirmed(&net, 2, &alice.address), 750_000_000);
    assert_eq!(code(&net.faucet("test1qqq", None).unwrap_err()), "invalid-address");

    // Or by itself, from now on.
    net.set_mining(Mining { mode: Mode::OnTransaction, ..Mining::default() }).unwrap();
    let faucet = overview.faucet.unwrap();
    assert_eq!(call(&faucet, "GET", "", "").0, 200);
    let wish = |amount: &str| json!({ "address": alice.address, "amount": amount }).to_string();
    let (status, given) = call(&faucet, "POST", "", &wish("1"));
    assert_eq!((status, given["amount"].as_str()), (200, Some("1")), "{given}");
    wait_for("the faucet's payment is in a block", || {
        (confirmed(&net, 2, &alice.address) == 850_000_000).then_some(())
    });

    let refused = |headers: &str, body: &str, status: u16, code: &str| {
        let (found, answer) = call(&faucet, "POST", headers, body);
        assert_eq!((found, answer["error"]["code"].as_str()), (status, Some(code)), "{answer}");
    };
    refused("Origin: http://evil.example\r\n", &wish("1"), 403, "forbidden");
    refused("Host: evil.example\r\n", &wish("1"), 403, "forbidden");
    refused("", &wish("3.00000001"), 400, "too-much");
    refused("", "{}", 400, "bad-request");
    refused("", &" ".repeat(2_000), 400, "bad-request");
    // What is no address counts as well: the limit comes before any work.
    let wrong = json!({ "address": "test1qqq" }).to_string();
    refused("", &wrong, 400, "invalid-address");
    let statuses: Vec<u16> = (0..5).map(|_| call(&faucet, "POST", "", &wrong).0).collect();
    assert!(statuses.contains(&429), "{statuses:?}");

    // By the clock, and no more.
    let height = || net.overview().unwrap().height;
    net.set_mining(Mining { interval_ms: 50, ..Mining::default() }).unwrap();
    let start = height();
    wait_for("blocks come by the clock", || (height() > start + 2).then_some(()));
    let share = |node, share| Share { node, share };
    let hashrate = Mining { mode: Mode::Hashrate, miners: vec![share(1, 1)], ..Mining::default() };
    assert_eq!(code(&net.set_mining(hashrate).unwrap_err()), "bad-mining");
}

#[test]
fn real_work_is_split_between_nodes() {
    let net = Testnet::start_with(
        "nodes = 2\n[genesis]\npreset = \"work\"\n[mining]\nmode = \"hashrate\"\ncpu_percent = 30\n\
         miners = [{ node = 1, share = 1 }, { node = 2, share = 1 }]\n",
    )
    .unwrap();
    let finders = || -> Vec<u8> {
        let rpc = Rpc::connect(&net.layout().node(1)).unwrap();
        let height = rpc.info().unwrap().blocks;
        let coinbase = |height| {
            let id = rpc.id_at(height).unwrap();
            let block = rpc.call("getblock", vec![json!(id.to_string()), json!(2)]).unwrap();
            let extra = block["coinbase"]["extra"].as_str().unwrap().to_owned();
            *hex::decode(extra).unwrap().last().unwrap()
        };
        (1..=height).map(coinbase).collect()
    };
    wait_for("both nodes have found a block", || {
        let finders = finders();
        (finders.contains(&1) && finders.contains(&2)).then_some(())
    });
}

#[test]
fn one_file_serves_several_machines_and_any_language() {
    let net = tempfile::tempdir().unwrap();
    let file = net.path().join("net.toml");
    let text = "nodes = 2\n[genesis]\npreset = \"work\"\n[mining]\nmode = \"hashrate\"\n\
        [[node]]\nnumber = 1\nhost = \"192.0.2.1\"\n[[node]]\nnumber = 2\nhost = \"two.example.org\"\n";
    fs::write(&file, text).unwrap();
    let run = |arguments: &[&str]| -> Output {
        let mut command = Command::new(binary("ashlar-testnet").unwrap());
        command
            .args(["--json", "--dir"])
            .arg(net.path().join("none"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let out = net.path().join("out");
    let rendered = run(&["render", file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert!(rendered.status.success(), "{rendered:?}");
    let rendered: Value = serde_json::from_slice(&rendered.stdout).unwrap();
    for node in rendered["nodes"].as_array().unwrap() {
        let folder = node["folder"].as_str().unwrap();
        let check = Command::new(binary("ashlar-node").unwrap())
            .args(["config", "check", "--datadir", folder])
            .output()
            .unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }

    // What goes wrong is one JSON document, too.
    let refused = run(&["status"]);
    assert_eq!(refused.status.code(), Some(1));
    let refused: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(refused["error"]["code"], "no-testnet");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("up"));
    assert!(Layout::at(&net.path().join("none")).unwrap().load().is_err());
}
