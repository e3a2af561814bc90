//! Nodes in network namespaces of their own, where this machine lets them. Without root, or without
//! `ip`, nothing is tried.

#![allow(clippy::unwrap_used, reason = "a step that fails is the test's failure")]

use std::{fs, process::Command};

use ashlar_processes::{binary, node::kill, wait_for};
use ashlar_testnet::{
    NodeNumber, Testnet, TestnetError,
    control::{Overview, Request},
    lines::{LineState, LinkChange, Sides},
};

/// What a testnet has outside of its folder: namespaces, and ends of lines outside of them. All of
/// it is named after the third byte of its addresses.
fn outside(net: &str) -> Vec<String> {
    let list = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let spaces = String::from_utf8(list.stdout).unwrap();
    let spaces = spaces.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned);
    let interfaces = fs::read_dir("/sys/class/net").unwrap();
    let interfaces = interfaces.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let (bridge, prefixes) =
        (format!("ashlar{net}"), [format!("ashlar{net}-"), format!("ash{net}-")]);
    let is_its = |name: &String| *name == bridge || prefixes.iter().any(|p| name.starts_with(p));
    spaces.chain(interfaces).filter(is_its).collect()
}

fn has(wanted: usize, net: &str) {
    let outside = outside(net);
    assert_eq!(outside.len(), wanted, "{outside:?}");
}

/// The third byte of a testnet's addresses; each of its nodes has one of them.
fn net_byte(overview: &Overview) -> String {
    let host = |node: NodeNumber, rpc: &str| -> String {
        let address = rpc.strip_prefix("http://198.18.").unwrap();
        let (host, _port) = address.split_once(':').unwrap();
        let (net, own) = host.split_once('.').unwrap();
        assert_eq!(own, node.to_string());
        net.to_owned()
    };
    let mut nets: Vec<String> =
        overview.nodes.iter().map(|node| host(node.node, &node.rpc)).collect();
    nets.dedup();
    assert_eq!(nets.len(), 1);
    nets.remove(0)
}

fn run(net: &Testnet, verb: &str) {
    let mut command = Command::new(binary("ashlar-testnet").unwrap());
    let output = command.arg("--dir").arg(net.layout().folder()).arg(verb).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn kill_keeper(net: &Testnet) {
    kill(net.status().unwrap().keeper_pid.unwrap());
    assert!(wait_for(|| net.status().is_err().then_some(())).is_some());
}

#[test]
fn each_node_has_an_address_of_its_own_and_nothing_is_left_of_it() {
    let text = "nodes = 3\nnetns = true\n[mining]\nmode = \"manual\"\n";
    let net = match Testnet::start_with(text) {
        Ok(net) => net,
        // The keeper's word, or the end of its log where it could not begin.
        Err(error @ (TestnetError::Netns(_) | TestnetError::Keeper { .. })) => {
            assert!(error.to_string().contains("`ip "), "{error}");
            eprintln!("skipped: no namespaces here (not root?): {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let byte = net_byte(&net.overview().unwrap());
    // A bridge, and for each node a namespace and the end of its line.
    has(1 + 2 * 3, &byte);
    let meet = |wanted| {
        net.wait_for_one_tip().unwrap();
        let status = net.status().unwrap();
        let tips = status.nodes.iter().map(|node| node.answers.as_ref().unwrap().tip);
        assert!(tips.eq([wanted; 3]), "{status:?}");
    };
    let mined = net.mine(2, Some(2)).unwrap();
    meet(mined.blocks[1]);

    // Lines are cut and slow as ever.
    let sides = Sides::parse(&["1,2/3".to_owned()]).unwrap();
    let _: Vec<LineState> = net.ask(&Request::Partition { sides }).unwrap();
    net.mine(1, Some(1)).unwrap();
    let heavier = net.mine(2, Some(3)).unwrap();
    let _: Vec<LineState> = net.ask(&Request::Heal).unwrap();
    meet(heavier.blocks[1]);
    let change = LinkChange { latency: Some("50ms".parse().unwrap()), ..LinkChange::default() };
    let _: Vec<LineState> = net.ask(&Request::Link { from: 1, to: 2, change }).unwrap();
    meet(net.mine(1, Some(1)).unwrap().blocks[0]);

    // Nodes that are added, and that go.
    let _: Overview = net.ask(&Request::Add { nodes: 1 }).unwrap();
    has(1 + 2 * 4, &byte);
    net.ask::<()>(&Request::Remove { node: 4 }).unwrap();
    has(1 + 2 * 3, &byte);

    // A keeper that is killed leaves its nodes where they are, and another one takes them over.
    kill_keeper(&net);
    has(1 + 2 * 3, &byte);
    run(&net, "up");
    meet(net.mine(1, Some(3)).unwrap().blocks[0]);

    // Killed with all of its nodes, it leaves what only `down` finds.
    let status = net.status().unwrap();
    kill_keeper(&net);
    status.nodes.iter().for_each(|node| kill(node.pid.unwrap()));
    run(&net, "down");
    has(0, &byte);
    run(&net, "up");
    has(1 + 2 * 3, &byte);
    kill_keeper(&net);
    run(&net, "destroy");
    has(0, &byte);
    assert!(!net.layout().folder().exists());
}
