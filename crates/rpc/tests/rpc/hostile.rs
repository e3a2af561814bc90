//! The hostile matrix of the RPC port, on the real port: what a neighbour, a web page, a broken
//! program or an attacker with a token can send. (Tokens by method: `tokens`; dialects and content
//! types: `dialects`; batches, bodies and panics: `limits`.)

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ashlar_primitives::BlockId;
use ashlar_rpc::{
    client::open_websocket,
    prelude::*,
    server::{ServerConfig, StartError, start_server},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    doors::{AUTHORIZATION, request, upgrade},
    fake::{Fake, address},
    running::{Running, start, start_with},
    tokens::all_methods,
};

const PATIENCE: Duration = Duration::from_secs(20);
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"getblockcount","params":[]}"#;
const JSON: &str = "Content-Type: application/json";

async fn post(running: &Running, body: &str) -> (u16, Value) {
    let head = ["POST / HTTP/1.1", JSON, "Host: localhost", AUTHORIZATION];
    let (status, answer) = request(&running.at(), &head, body).await;
    (status, serde_json::from_str(&answer).unwrap_or(Value::Null))
}

/// The status of a call with these headers over HTTP, and of an upgrade with them.
async fn both(running: &Running, headers: &[&str]) -> (u16, u16) {
    let mut head = vec!["POST / HTTP/1.1", JSON];
    head.extend(headers);
    let (status, _) = request(&running.at(), &head, CALL).await;
    (status, upgrade(&running.at(), headers).await.0)
}

fn basic(pair: &str) -> String {
    format!("Authorization: Basic {}", BASE64.encode(pair))
}

/// R1: the cookie is its owner's alone, one start's alone, and not to be guessed quickly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_cookies_are_private_fresh_and_slow_to_guess() {
    let running = start().await;
    let mode = fs::metadata(&running.cookie_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let cookie = fs::read_to_string(&running.cookie_file).unwrap();
    let wrong = [
        String::new(),
        ":".to_owned(),
        cookie[..cookie.len() - 1].to_owned(),
        format!("{cookie}0"),
        cookie.to_uppercase(),
        cookie.replace("__cookie__", "user"),
        "__cookie__:".to_owned(),
        "user:password".to_owned(),
    ];
    for pair in &wrong {
        let begun = Instant::now();
        let authorization = basic(pair);
        let found = both(&running, &["Host: localhost", &authorization]).await;
        assert_eq!(found, (401, 401), "{pair:?}");
        assert!(begun.elapsed() >= Duration::from_millis(500), "two guesses take half a second");
    }
    assert_eq!(both(&running, &["Host: localhost", &basic(&cookie)]).await, (200, 101));

    // The next start's cookie is another, and that of the last one opens nothing.
    let cookie_file = running.cookie_file.clone();
    running.server.stop().await;
    assert!(!cookie_file.exists());
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..ServerConfig::new(cookie_file.clone())
    };
    let server = start_server(config, Fake::new()).await.unwrap();
    let at = server.local_addr().to_string();
    let stale = basic(&cookie);
    let head = ["POST / HTTP/1.1", JSON, "Host: localhost", &stale];
    assert_eq!(request(&at, &head, CALL).await.0, 401);
    let fresh = basic(&fs::read_to_string(&cookie_file).unwrap());
    let head = ["POST / HTTP/1.1", JSON, "Host: localhost", &fresh];
    assert_eq!(request(&at, &head, CALL).await.0, 200);
    server.stop().await;
}

/// R2: nobody listens where somebody does, on this address or on all; and to everyone only behind
/// a lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_a_taken_port_and_an_open_door_are_refused() {
    let running = start().await;
    let directory = tempfile::tempdir().unwrap();
    for host in ["127.0.0.1", "0.0.0.0"] {
        let listen = format!("{host}:{}", running.server.local_addr().port()).parse().unwrap();
        let config = ServerConfig { listen, ..ServerConfig::new(directory.path().join(".cookie")) };
        let refused = start_server(config, Fake::new()).await;
        assert!(matches!(refused, Err(StartError::Listen { .. })), "{host}");
        assert!(!directory.path().join(".cookie").exists());
    }
    let open = ServerConfig {
        listen: "0.0.0.0:0".parse().unwrap(),
        cookie_file: None,
        ..ServerConfig::new(directory.path().join(".cookie"))
    };
    let refused = start_server(open, Fake::new()).await;
    assert!(matches!(refused, Err(StartError::OpenDoor { .. })));
}

/// R3: each way to write a host, on HTTP and on a WebSocket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r3_only_this_machines_plain_names_are_hosts() {
    let running = start().await;
    for (host, known) in [
        ("Host: localhost", true),
        ("Host: LocalHost:9332", true),
        ("Host: 127.0.0.1", true),
        ("Host: 127.0.0.1:80", true),
        ("Host: [::1]", true),
        ("Host: [::1]:9332", true),
        ("Host: evil.example", false),
        ("Host: localhost.", false),
        ("Host: localhost:", false),
        ("Host: localhost:80:80", false),
        ("Host: localhost.evil.example", false),
        ("Host: 127.0.0.1.nip.io", false),
        ("Host: 127.1", false),
        ("Host: 2130706433", false),
        ("Host: 0x7f.1", false),
        ("Host: 0177.0.0.1", false),
        ("Host: 0.0.0.0", false),
        ("Host: ::1", false),
        ("Host: [::ffff:127.0.0.1]", false),
        ("Host: user@localhost", false),
        ("Host:", false),
        ("Host: localhost\r\nHost: localhost", false),
        ("X: y", false),
    ] {
        let expected = if known { (200, 101) } else { (403, 403) };
        assert_eq!(both(&running, &[host, AUTHORIZATION]).await, expected, "{host}");
    }
}

/// R4: what a page can make a browser send, by every way that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_no_page_calls_whatever_it_sends() {
    let running = start().await;
    let origins = [
        "Origin: https://evil.example",
        "Origin: null",
        "Origin: http://localhost",
        "Origin: http://127.0.0.1:9332",
        "Origin: https://explorer.example.evil.example",
        "Origin: file://",
        "Origin:",
    ];
    let kinds = [
        JSON,
        "Content-Type: text/plain",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: multipart/form-data; boundary=x",
    ];
    for origin in origins {
        for kind in kinds {
            for method in ["POST", "GET", "PUT", "OPTIONS", "HEAD"] {
                let first = format!("{method} / HTTP/1.1");
                let head = [&first, kind, "Host: localhost", origin, AUTHORIZATION];
                let (status, body) = request(&running.at(), &head, CALL).await;
                assert_eq!(status, 403, "{method} {kind} {origin}");
                assert!(!body.contains("result"));
            }
        }
        let (status, _) = upgrade(&running.at(), &["Host: localhost", origin, AUTHORIZATION]).await;
        assert_eq!(status, 403, "WebSocket, {origin}");
    }
    // A page that is on the list may; and still no answer tells a browser that others may.
    let known = "Origin: https://explorer.example";
    assert_eq!(both(&running, &["Host: localhost", known, AUTHORIZATION]).await, (200, 101));
    let mut socket = TcpStream::connect(running.at()).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\n{known}\r\n{AUTHORIZATION}\r\n{JSON}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{CALL}",
        CALL.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut answer).await.unwrap();
    assert!(!answer.to_lowercase().contains("access-control"), "{answer}");
}

/// R5: nesting that would break a stack is refused at once, however it is wrapped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_deep_json_is_refused_at_once() {
    let running = start().await;
    let deep = "[".repeat(10_000);
    let closed = format!("{deep}{}", "]".repeat(10_000));
    for body in [
        deep.clone(),
        closed.clone(),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"getblockhash","params":{closed}}}"#),
        format!(r#"{{"method":"getblockhash","params":[{closed}],"id":1}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":{closed},"method":"getblockcount"}}"#),
        r#"{"a":"#.repeat(10_000),
    ] {
        // The quickest of five: the machine has other things to do.
        let mut quickest = PATIENCE;
        for _ in 0..5 {
            let begun = Instant::now();
            let (_, answer) = post(&running, &body).await;
            quickest = quickest.min(begun.elapsed());
            let short: String = answer.to_string().chars().take(200).collect();
            assert!(answer["result"].is_null(), "{short}");
        }
        assert!(quickest < Duration::from_millis(10), "{quickest:?}");
    }
}

/// R6: sockets that say nothing, or a little, take nobody's place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_hundreds_of_slow_callers_do_not_slow_one_with_the_password() {
    let running = start().await;
    let mut slow = Vec::new();
    for number in 0..600 {
        let mut socket = TcpStream::connect(running.at()).await.unwrap();
        let said: &[u8] = match number % 3 {
            0 => b"",
            1 => b"POST / HTTP/1.1\r\nHost: local",
            _ => b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
        };
        // One that made room for another is closed already.
        drop(socket.write_all(said).await);
        slow.push(socket);
    }
    let mut took = Vec::new();
    for _ in 0..21 {
        let begun = Instant::now();
        // A connection of its own each time: a place must be there.
        assert_eq!(post(&running, CALL).await.1["result"], 0);
        took.push(begun.elapsed());
    }
    took.sort();
    assert!(took[10] < Duration::from_millis(100), "{took:?}");
}

/// R6: a body that never comes does not keep a place from others either, with a password as little
/// as without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_bodies_that_never_come_take_their_callers_places_alone() {
    let running = start_with(Fake::new(), |config| {
        config.limits.max_connections_per_caller = 4;
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        let mut socket = TcpStream::connect(running.at()).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\n{AUTHORIZATION}\r\n{JSON}\r\n\
             Content-Length: 1000\r\n\r\n{{"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    let full = async {
        while post(&running, CALL).await.0 != 429 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, full).await.unwrap();
    drop(slow);
    let free = async {
        while post(&running, CALL).await.0 != 200 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, free).await.unwrap();
}

/// R7: subscriptions that come and go leave nothing, and all together are bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_ten_thousand_subscriptions_leave_nothing_behind() {
    let running = start().await;
    let none = async || running.until_listeners(|count| count == 0).await;
    let credentials = ashlar_rpc::Credentials::Password(crate::running::user());
    for _ in 0..1_000 {
        let client = open_websocket(&running.at(), &credentials).await.unwrap();
        for round in 0..10 {
            let subscription = client.subscribetips(None).await.unwrap();
            // Some end with a word; the others with their socket.
            if round % 2 == 0 {
                subscription.unsubscribe().await.unwrap();
            }
        }
        drop(client);
        none().await;
    }

    // 64 of them, by several sockets; the 65th is told why not.
    let mut kept = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..5 {
        let credentials = ashlar_rpc::Credentials::Password(crate::running::user());
        sockets.push(open_websocket(&running.at(), &credentials).await.unwrap());
    }
    for number in 0..64 {
        kept.push(sockets[number / 16].subscribetips(None).await.unwrap());
    }
    let error = sockets[4].subscribetips(None).await.unwrap_err();
    assert_eq!(ashlar_rpc::ClientError::from(error).code(), Some("too-many"));
    // Sockets that die without a word give all of theirs back.
    drop(kept);
    drop(sockets);
    none().await;
}

/// Anything that JSON can say, the nasty more often.
fn nonsense(random: &mut StdRng, depth: u32) -> Value {
    match random.random_range(0..if depth == 0 { 12 } else { 10 }) {
        0 => Value::Null,
        1 => json!(random.random::<bool>()),
        2 => json!(random.random::<i64>()),
        3 => json!(u64::MAX),
        4 => json!([0, 1, -1, 1_000_000][random.random_range(0..4)]),
        5 => json!([1e300, -0.0, 0.5, 1e-300][random.random_range(0..4)]),
        6 => {
            let texts = [
                "",
                "\u{0}",
                "é\u{202e}\u{1b}[31m\n",
                "zz",
                "0x00",
                "../../etc/passwd",
                "-1",
                "1e8",
                "devash1qqqq",
                "add",
                "remove",
                "%s%n",
                "'; --",
            ];
            json!(texts[random.random_range(0..texts.len())])
        }
        7 => json!("ab".repeat([1, 31, 32, 33, 1_000][random.random_range(0..5)])),
        8 => json!(address(random.random_range(1..4))),
        9 => json!("00".repeat(32)),
        10 => Value::from(
            (0..random.random_range(0..4)).map(|_| nonsense(random, depth + 1)).collect::<Vec<_>>(),
        ),
        _ => json!({ "address": nonsense(random, depth + 1), "": nonsense(random, depth + 1) }),
    }
}

/// R9: parameters of every kind for every method: each is answered, none by `internal`, and the
/// server lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_no_parameters_break_any_method() {
    let running = start_with(Fake::new(), |config| config.limits.call_timeout_ms = 2_000).await;
    let names: Vec<String> = all_methods()
        .into_iter()
        // These wait, as they should, or do what they are told.
        .filter(|name| !name.starts_with("waitfor") && name != "generatetoaddress")
        .collect();
    let mut random = StdRng::seed_from_u64(9);
    for round in 0..40 {
        for chunk in names.chunks(25) {
            let calls: Vec<Value> = chunk
                .iter()
                .flat_map(|name| [name, name, name])
                .map(|name| {
                    let count = random.random_range(0..4);
                    let list: Vec<Value> = (0..count).map(|_| nonsense(&mut random, 0)).collect();
                    json!({ "jsonrpc": "2.0", "id": name, "method": name, "params": list })
                })
                .collect();
            let (status, answers) = post(&running, &Value::from(calls.clone()).to_string()).await;
            assert_eq!(status, 200);
            let answers = answers.as_array().unwrap();
            assert_eq!(answers.len(), calls.len());
            for (call, answer) in calls.iter().zip(answers) {
                let code = &answer["error"]["data"]["code"];
                assert_ne!(code, "internal", "round {round}: {call} -> {answer}");
                // `help` says so of the name that it is asked about.
                assert!(call["method"] == "help" || code != "unknown-method", "{call}");
                assert_eq!(answer["id"], call["id"]);
            }
        }
    }
    assert_eq!(post(&running, CALL).await.0, 200);
}

/// R9: envelopes that are cut, flipped and mixed by chance, in both dialects and over a WebSocket's
/// port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_no_envelope_breaks_the_server() {
    let running = start().await;
    let good = [
        CALL.to_owned(),
        r#"{"method":"getblockhash","params":[0],"id":"x"}"#.to_owned(),
        format!("[{CALL},{CALL}]"),
        r#"[{"method":"getblockcount"},{"jsonrpc":"2.0","method":"getblockcount"}]"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"getblockhash","params":{"height":0}}"#.to_owned(),
    ];
    let mut random = StdRng::seed_from_u64(10);
    for _ in 0..1_500 {
        let mut bytes = good[random.random_range(0..good.len())].clone().into_bytes();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(0..bytes.len());
            match random.random_range(0..3) {
                0 => bytes.truncate(place + 1),
                1 => bytes[place] = *b"{}[]\",:0x\\"[..].get(random.random_range(0..10)).unwrap(),
                _ => drop(bytes.remove(place)),
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        let body = String::from_utf8(bytes).unwrap();
        let (status, _) = post(&running, &body).await;
        assert!([200, 204, 400, 404, 500].contains(&status), "{status}: {body}");
    }
    assert_eq!(post(&running, CALL).await.1["result"], 0);
}

/// R10: while the tip goes back and forth, an answer is about one tip and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_no_answer_mixes_two_tips() {
    let running = start().await;
    let (node, stop) = (Arc::clone(&running.node), Arc::new(AtomicBool::new(false)));
    let genesis = running.client().getbestblockhash().await.unwrap().0;
    let stopping = Arc::clone(&stop);
    let mining = tokio::task::spawn_blocking(move || {
        let mut branches: [BlockId; 2] = [genesis; 2];
        let mut turn = 0;
        while !stopping.load(Ordering::Relaxed) {
            // Each in turn becomes the longer one.
            for _ in 0..2 {
                branches[turn] = node.mine_on(Some(branches[turn]));
            }
            turn = 1 - turn;
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let who = address(1);
    let batch: Vec<Value> = (0..14)
        .flat_map(|_| {
            [
                "getblockchaininfo",
                "getaddressbalance",
                "getaddressutxos",
                "getmempoolinfo",
                "getmininginfo",
                "getblockcount",
                "getbestblockhash",
            ]
        })
        .map(|name| {
            let params = if name.contains("address") { json!([who]) } else { json!([]) };
            json!({ "jsonrpc": "2.0", "id": name, "method": name, "params": params })
        })
        .collect();
    let batch = Value::from(batch).to_string();
    let mut heights: BTreeMap<String, u64> = BTreeMap::new();
    let mut supplies: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..100 {
        let (_, answers) = post(&running, &batch).await;
        for answer in answers.as_array().unwrap() {
            let (name, result) = (answer["id"].as_str().unwrap(), &answer["result"]);
            assert!(!result.is_null(), "{answer}");
            let (Some(tip), Some(height)) = (answer["tip"].as_str(), answer["tip_height"].as_u64())
            else {
                panic!("{name} says no tip: {answer}");
            };
            let within = match name {
                "getblockcount" => result == height,
                "getbestblockhash" => result == tip,
                _ => result["tip"] == tip && result["tip_height"] == height,
            };
            assert!(within, "{name}: {answer}");
            assert_eq!(*heights.entry(tip.to_owned()).or_insert(height), height, "{name}");
            match name {
                "getblockchaininfo" => {
                    assert_eq!(
                        (&result["bestblockhash"], &result["blocks"]),
                        (&json!(tip), &json!(height))
                    );
                    let supply = result["supply"].as_u64().unwrap();
                    assert_eq!(*supplies.entry(tip.to_owned()).or_insert(supply), supply);
                }
                "getaddressbalance" => {
                    assert_eq!(result["balance"], crate::fake::ALLOCATION);
                }
                _ => {}
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    mining.await.unwrap();
    assert!(heights.len() > 20, "the tip moved: {}", heights.len());
}

/// Where the log goes in a test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// R11: what callers send makes no line of its own in the log, and answers tell no secret.
#[tokio::test]
async fn r11_nothing_that_is_sent_forges_a_log_line_or_brings_a_secret_back() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // This test runs on one thread, and so does its server.
    let _guard = tracing::subscriber::set_default(subscriber);
    let running = start().await;
    let cookie = fs::read_to_string(&running.cookie_file).unwrap();
    let forged = "x\n2026-01-01T00:00:00Z ERROR forged: \u{1b}[31mlisten\r\n";
    for (method, params) in [
        (forged, json!([])),
        ("getblock", json!([forged])),
        ("addnode", json!([forged])),
        ("setban", json!([forged, "add"])),
        ("getblockhash", json!([forged])),
        ("getaddressbalance", json!([forged])),
    ] {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        post(&running, &call.to_string()).await;
    }
    running.node.broken.store(true, Ordering::Relaxed);
    let call = json!({ "jsonrpc": "2.0", "id": forged, "method": "getmininginfo", "params": [] });
    let (_, answer) = post(&running, &call.to_string()).await;
    // A fault of ours is `internal`, and no word of what it was.
    assert_eq!(answer["error"]["data"]["code"], "internal");
    assert!(!answer.to_string().contains("broken for a test"));
    let wrong = basic("user:hunter2-secret");
    let head = ["POST / HTTP/1.1", JSON, "Host: localhost", &wrong];
    let (_, refused) = request(&running.at(), &head, CALL).await;
    assert!(!refused.contains("hunter2"));

    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(written.contains("panicked"), "the log is that of the server: {written}");
    for line in written.lines() {
        assert!(!line.starts_with("2026-01-01T00:00:00Z ERROR forged"), "{line}");
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        assert!(!line.contains("hunter2") && !line.contains(cookie.trim()), "{line}");
    }
}
