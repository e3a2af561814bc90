//! `ashlar-wallet --verify`: what a node says, with and without a proof.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use ashlar_consensus::Target;
use ashlar_primitives::{Decode as _, Encode as _, Header};
use serde_json::{Value, json};

use crate::harness::{Net, Node, dev_genesis, wait_for_one_tip};

/// A lie that is no answer at all.
const HANG_UP: &str = "the line is dead";

/// A node between the wallet and a real one, that changes what it answers.
struct Liar {
    address: String,
}

impl Liar {
    /// Passes every call to `node`, with what `lie` makes of the answer to each method.
    fn before(node: &Node, lie: fn(&str, &mut Value)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let upstream = node.rpc_address();
        thread::spawn(move || {
            for wallet in listener.incoming() {
                let (Ok(wallet), upstream) = (wallet, upstream.clone()) else { return };
                thread::spawn(move || converse(wallet, &upstream, lie));
            }
        });
        Self { address }
    }
}

/// Call after call on one connection, until the wallet hangs up.
fn converse(wallet: TcpStream, upstream: &str, lie: fn(&str, &mut Value)) {
    let mut from_wallet = BufReader::new(wallet.try_clone().unwrap());
    let mut to_wallet = wallet;
    while let Some((head, body)) = message(&mut from_wallet) {
        let call: Value = serde_json::from_slice(&body).unwrap();
        let mut node = TcpStream::connect(upstream).unwrap();
        let own_host = |line: &String| !line.to_ascii_lowercase().starts_with("host:");
        let lines: Vec<String> = head.into_iter().filter(own_host).collect();
        let head = format!("{}\r\nhost: {upstream}\r\n\r\n", lines.join("\r\n"));
        node.write_all(&[head.as_bytes(), body.as_slice()].concat()).unwrap();
        let (head, body) = message(&mut BufReader::new(node)).unwrap();
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        if let Some(result) = answer.get_mut("result") {
            lie(call["method"].as_str().unwrap(), result);
        }
        let (status, body) = (&head[0], answer.to_string());
        let length = body.len();
        let type_and_length = "content-type: application/json\r\ncontent-length";
        if answer["result"] == HANG_UP {
            return;
        }
        let answer = format!("{status}\r\n{type_and_length}: {length}\r\n\r\n{body}");
        if to_wallet.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The lines of a head, and a body of the length that it names; `None` at the end.
fn message(stream: &mut impl BufRead) -> Option<(Vec<String>, Vec<u8>)> {
    let mut head = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push(line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// The header with another merkle root, and with the work for it or without.
fn forged(header: &Value, has_work: bool) -> Value {
    let mut header = Header::from_bytes(&hex::decode(header.as_str().unwrap()).unwrap()).unwrap();
    let target = Target::from_bits(header.bits).unwrap();
    header.merkle_root.0 = [7; 32];
    while target.is_met_by(&header.id()) != has_work {
        header.nonce = header.nonce.wrapping_add(1);
    }
    json!(hex::encode(header.to_bytes()))
}

/// A coin worth a thousand times as much, a payment buried deeper, headers without work, a proof of
/// something else: each is believed without `--verify` or at least not noticed, and none with it.
#[test]
fn what_a_lying_node_makes_up_is_found_out() {
    let net = Net::new();
    let node = net.node(&[]);
    let (faucet, receiver) = (net.faucet(), net.wallet("receiver"));
    let sent = faucet.on(&node, &["send", &receiver.address(), "2.5", "--yes"]);
    node.generate(3, &net.wallet("miner").address());
    let txid = sent["txid"].as_str().unwrap().to_owned();

    let verify = format!("--verify={}", dev_genesis().display());
    let honest = receiver.on(&node, &["balance", &verify]);
    assert_eq!(honest["confirmed"], 250_000_000, "{honest}");
    // The datadir's own genesis file will do too: the wallet's chain id is the judge.
    assert_eq!(receiver.on(&node, &["--verify", "status"])["proven"]["height"], 3);
    assert_eq!(faucet.on(&node, &["--verify", "history"]).as_array().unwrap().len(), 2);
    faucet.on(&node, &["--verify", "wait", &txid, "--confirmations", "3"]);

    let lies: [fn(&str, &mut Value); 6] = [
        |method, result| {
            if method == "getaddressutxos" {
                result["utxos"][0]["value"] = json!(250_000_000_000_u64);
            }
        },
        |method, result| {
            if method == "getaddressutxos" {
                result["utxos"][0]["txid"] = json!("11".repeat(32));
            }
        },
        |method, result| {
            if method == "getaddressutxos" {
                result["utxos"][0]["height"] = json!(2);
            }
        },
        |method, result| {
            if method == "getblockheaders" {
                result["headers"][1] = forged(&result["headers"][1], false);
            }
        },
        |method, result| {
            if method == "getblockheaders" {
                result["headers"][1] = forged(&result["headers"][1], true);
            }
        },
        |method, result| {
            if method == "getmerkleproof" {
                result["position"] = json!(0);
            }
        },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        // Each is met without what was proven before.
        fs::remove_file(net.path("receiver.headers")).unwrap_or_default();
        let liar = Liar::before(&node, lie);
        let cookie = node.datadir.join(".cookie");
        let flags = ["--rpc", liar.address.as_str(), "--cookie", cookie.to_str().unwrap()];
        let output = receiver.try_run(&[&flags[..], &[verify.as_str(), "balance"]].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(9), "lie {number}: {error}");
        assert!(error.contains("trust"), "lie {number}: {error}");
    }
    let liar = Liar::before(&node, lies[0]);
    let cookie = node.datadir.join(".cookie");
    let flags = ["--rpc", liar.address.as_str(), "--cookie", cookie.to_str().unwrap()];
    let believed = receiver.run(&[&flags[..], &["balance"]].concat());
    assert_eq!(believed["confirmed"], 250_000_000_000_u64, "the liar is a node in all else");
    // What is to be spent is looked up by its id before anything is signed, always.
    let payee = faucet.address();
    let send = ["send", payee.as_str(), "2000", "--yes"];
    let output = receiver.try_run(&[&flags[..], &send].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(9) && said.contains("trust"), "{said}");
    assert_eq!(receiver.on(&node, &["list"]), json!([]), "nothing was signed");
}

/// What was proven is not asked for again, and a chain with less work is not taken in its place.
#[test]
fn proven_headers_are_kept_and_a_lighter_chain_is_refused() {
    let net = Net::new();
    let (mut node, other) = (net.node(&[]), net.node(&[]));
    let receiver = net.wallet("receiver");
    let miner = receiver.address();
    node.generate(4, &miner);
    other.generate(2, &net.wallet("miner").address());
    let verify = format!("--verify={}", dev_genesis().display());
    let proven = |node: &Node| receiver.on(node, &[&verify, "status"])["proven"].clone();
    assert_eq!(proven(&node)["height"], 4);
    let file = net.path("receiver.headers");
    assert_eq!(fs::metadata(&file).unwrap().len(), 48 + 4 * 80);
    // The first headers are asked for no more: a lie about them goes unnoticed.
    let liar = Liar::before(&node, |method, result| {
        if method == "getblockheaders" && result["start"] == 0 {
            result["headers"] = json!([]);
        }
    });
    let cookie = node.datadir.join(".cookie");
    let flags = ["--rpc", &liar.address, "--cookie", cookie.to_str().unwrap(), &verify];
    assert_eq!(receiver.run(&[&flags[..], &["status"]].concat())["proven"]["height"], 4);
    node.generate(1, &miner);
    assert_eq!(proven(&node)["height"], 5);
    assert_eq!(fs::metadata(&file).unwrap().len(), 48 + 5 * 80);
    let behind = receiver.try_run(&[
        "--datadir",
        other.datadir.to_str().unwrap(),
        verify.as_str(),
        "status",
    ]);
    let said = String::from_utf8_lossy(&behind.stderr);
    assert_eq!(behind.status.code(), Some(6), "{said}");
    assert!(said.contains("less work"), "{said}");
    // A heavier branch is followed from the fork on.
    other.generate(4, &net.wallet("another").address());
    node.stop();
    node.start(&[&other]);
    wait_for_one_tip(&[&node, &other]);
    assert_eq!(proven(&node)["height"], 6);
    assert_eq!(proven(&other)["tip"], other.tip());
}

/// The node takes a payment and the line goes dead: the wallet does not know, and does not pay
/// twice unless it is told to.
#[test]
fn what_may_have_been_paid_is_paid_again_only_where_it_is_said() {
    let net = Net::new();
    let node = net.node(&[]);
    let (faucet, payee) = (net.faucet(), net.wallet("payee"));
    let to = payee.address();
    let cut = Liar::before(&node, |method, result| {
        if method == "sendrawtransaction" {
            *result = json!(HANG_UP);
        }
    });
    let waiting = || node.call("getrawmempool", json!([])).as_array().unwrap().len();
    let cookie = node.datadir.join(".cookie");
    let cut_off = |amount: &str| {
        let flags = ["--rpc", &cut.address, "--cookie", cookie.to_str().unwrap()];
        let output = faucet.try_run(&[&flags[..], &["send", &to, amount, "--yes"]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{said}");
        assert!(said.contains("signed and written down"), "{said}");
    };
    cut_off("1");
    assert_eq!(waiting(), 1, "the node has it all the same");
    let datadir = node.datadir.to_str().unwrap();
    let refused = faucet.try_run(&["--datadir", datadir, "send", &to, "1", "--yes"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("--again") && waiting() == 1, "{said}");
    cut_off("2");
    assert_eq!(waiting(), 2);
    faucet.on(&node, &["send", &to, "2", "--yes", "--again"]);
    assert_eq!(waiting(), 3);
    node.generate(1, &net.wallet("miner").address());
    assert_eq!(payee.balance(&node), 500_000_000);
}
