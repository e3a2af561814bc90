//! Malformed and oversized input on every port is answered and survived.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{Net, Node, throw};

/// Longest that a socket of these tests waits for bytes.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(20);

fn cookie(node: &Node) -> String {
    std::fs::read_to_string(node.datadir.join(".cookie")).unwrap()
}

/// One HTTP request by hand; the whole answer.
fn http(node: &Node, headers: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(node.rpc_address()).unwrap();
    stream.set_read_timeout(Some(SOCKET_TIMEOUT)).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    );
    // The server may answer and hang up before it has read all.
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

fn authorization(node: &Node) -> String {
    format!("Authorization: Basic {}\r\n", base64(cookie(node).trim_end().as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let word = chunk
                .iter()
                .enumerate()
                .fold(0u32, |word, (index, byte)| word | u32::from(*byte) << (16 - 8 * index));
            (0..4).map(move |index| {
                if index > chunk.len() {
                    '='
                } else {
                    char::from(DIGITS[(word >> (18 - 6 * index) & 63) as usize])
                }
            })
        })
        .collect()
}

#[test]
fn the_rpc_port_survives_what_comes() {
    let net = Net::new();
    let node = net.node(&[]);
    let authorization = authorization(&node);
    let good = br#"{"jsonrpc":"2.0","id":1,"method":"getblockcount","params":[]}"#;
    assert!(http(&node, &authorization, good).contains("\"result\":0"));

    let refused = http(&node, "", good);
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let refused = http(&node, "Authorization: Basic bm9ib2R5Om5vdGhpbmc=\r\n", good);
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let with_origin = format!("{authorization}Origin: https://evil.example\r\n");
    let refused = http(&node, &with_origin, good);
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");

    let nonsense = http(&node, &authorization, b"{\"jsonrpc\":");
    assert!(nonsense.contains("-32700"), "{nonsense}");
    let unknown =
        http(&node, &authorization, br#"{"jsonrpc":"2.0","id":1,"method":"no","params":[]}"#);
    assert!(unknown.contains("-32601"), "{unknown}");
    let batch = vec![r#"{"jsonrpc":"2.0","id":1,"method":"getblockcount"}"#; 101].join(",");
    let refused = http(&node, &authorization, format!("[{batch}]").as_bytes());
    assert!(refused.contains("error") && !refused.contains("\"result\":0"), "{refused}");
    let deep = "[".repeat(100_000);
    http(&node, &authorization, deep.as_bytes());
    let huge = vec![b'0'; 10 * 1024 * 1024];
    let refused = http(&node, &authorization, &huge);
    assert!(refused.starts_with("HTTP/1.1 413") || refused.contains("error"), "{refused}");
    throw(&node.rpc_address(), &[0xff; 4096]);
    throw(&node.rpc_address(), b"\x16\x03\x01\x02\x00");

    for (method, params) in [
        ("getblockhash", json!([-1])),
        ("getblockhash", json!([u64::MAX])),
        ("getblock", json!(["zz"])),
        ("sendrawtransaction", json!(["00"])),
        ("sendrawtransaction", json!(["zz"])),
        ("submitblock", json!(["00"])),
        ("getaddressbalance", json!(["devash1qqqq"])),
        ("generatetoaddress", json!([1, "nobody"])),
    ] {
        assert!(
            node.try_call(method, params.clone()).is_err() || method == "submitblock",
            "{method} {params}"
        );
    }
    assert_eq!(node.height(), 0);
    assert!(http(&node, &authorization, good).contains("\"result\":0"));
}

#[test]
fn the_peer_port_survives_what_comes() {
    let net = Net::new();
    let node = net.node(&[]);
    let port = node.address().split('/').nth(4).unwrap().to_owned();
    let address = format!("127.0.0.1:{port}");
    throw(&address, b"GET / HTTP/1.1\r\n\r\n");
    throw(&address, &[0; 100_000]);
    throw(&address, &[0xff; 100_000]);
    // A good beginning, then nonsense: multistream-select's greeting and noise's name.
    let mut greeting = b"\x13/multistream/1.0.0\n\x07/noise\n".to_vec();
    greeting.extend([0xee; 70_000]);
    throw(&address, &greeting);
    let silent: Vec<TcpStream> =
        (0..50).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    let peer = net.node(&[&node]);
    node.generate(3, &net.wallet("miner").address());
    crate::harness::wait_for_one_tip(&[&node, &peer]);
    drop(silent);
}

/// A block that breaks a rule, by the door of miners: refused by its code, and nothing moves.
#[test]
fn a_tampered_block_is_refused_by_its_code() {
    let net = Net::new();
    let (a, b) = (net.node(&[]), net.node(&[]));
    let id = a.generate(1, &net.wallet("miner").address()).remove(0);
    let Value::String(block) = a.call("getblock", json!([id, 0])) else { panic!("hex") };
    let mut body = block.clone();
    body.replace_range(200..201, if &block[200..201] == "0" { "1" } else { "0" });
    let refused = b.call("submitblock", json!([body]));
    assert_eq!(refused, json!("bad-merkle-root"));
    assert_eq!(b.height(), 0);
    // The honest body of the same header is still welcome.
    assert_eq!(b.call("submitblock", json!([block])), Value::Null);
    assert_eq!(b.height(), 1);
    let known = b.call("submitblock", json!([block]));
    assert!(known == json!("duplicate") || known == json!("known"), "{known}");
}
