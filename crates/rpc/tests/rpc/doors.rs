//! Who may come in, on the real port: requests written byte by byte.

use std::{
    fs,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use ashlar_rpc::{
    Client, ClientError, Credentials, UserPassword,
    client::open_websocket,
    prelude::*,
    server::{ServerConfig, StartError, start_server},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::fake::Fake;
use crate::running::{Running, start, start_with};

/// `user:pass`
pub(crate) const AUTHORIZATION: &str = "Authorization: Basic dXNlcjpwYXNz";
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"getblockcount","params":[]}"#;
const JSON: &str = "Content-Type: application/json";

/// Sends one request on a connection of its own; its status and body.
pub(crate) async fn request(at: &str, head: &[&str], body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(at).await.unwrap();
    let length = format!("Content-Length: {}", body.len());
    let mut text = head.join("\r\n");
    text.push_str(&format!("\r\n{length}\r\nConnection: close\r\n\r\n{body}"));
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

/// Asks for a WebSocket; the status of the answer (101: open), and the socket.
pub(crate) async fn upgrade(at: &str, head: &[&str]) -> (u16, TcpStream) {
    let mut socket = TcpStream::connect(at).await.unwrap();
    let text = format!(
        "GET / HTTP/1.1\r\n{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        head.join("\r\n")
    );
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    (std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap(), socket)
}

/// The same headers on HTTP and on a WebSocket's upgrade are judged alike.
async fn both(running: &Running, headers: &[&str]) -> (u16, String) {
    let at = running.at();
    let mut head = vec!["POST / HTTP/1.1", JSON];
    head.extend(headers);
    let (status, body) = request(&at, &head, CALL).await;
    let expected = if status == 200 { 101 } else { status };
    assert_eq!(upgrade(&at, headers).await.0, expected, "{headers:?}");
    (status, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_asked_for_on_http_and_websocket() {
    let running = start().await;
    let host = "Host: localhost";
    let cookie = fs::read_to_string(&running.cookie_file).unwrap();
    assert!(cookie.starts_with("__cookie__:"));
    for (headers, status) in [
        (vec![host, AUTHORIZATION], 200),
        (vec![host], 401),
        (vec![host, "Authorization: Basic dXNlcjp3cm9uZw=="], 401),
        (vec![host, "Authorization: Basic dXNlcjpwYXNzdw=="], 401),
        (vec![host, "Authorization: Bearer dXNlcjpwYXNz"], 401),
        (vec![host, AUTHORIZATION, "Authorization: Basic eDp5"], 401),
    ] {
        let (found, body) = both(&running, &headers).await;
        assert_eq!(found, status, "{headers:?}");
        if status == 401 {
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["error"]["data"]["code"], "unauthorised");
            assert_eq!(body["id"], serde_json::Value::Null);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_and_origins_of_others_are_refused_even_with_the_password() {
    let running = start().await;
    for (headers, status, code) in [
        (vec!["Host: 127.0.0.1:9332"], 200, ""),
        (vec!["Host: [::1]"], 200, ""),
        (vec!["Host: evil.example"], 403, "host-refused"),
        (vec!["Host: localhost."], 403, "host-refused"),
        (vec!["Host: 2130706433"], 403, "host-refused"),
        (vec!["Host: localhost", "Origin: https://explorer.example"], 200, ""),
        (vec!["Host: localhost", "Origin: null"], 403, "origin-refused"),
        (vec!["Host: localhost", "Origin: http://localhost:9332"], 403, "origin-refused"),
    ] {
        let mut headers = headers;
        headers.push(AUTHORIZATION);
        let (found, body) = both(&running, &headers).await;
        assert_eq!(found, status, "{headers:?}");
        assert!(body.contains(code), "{headers:?}: {body}");
    }
    // No header at all: HTTP/1.1 needs a Host.
    let (status, _) = request(&running.at(), &["POST / HTTP/1.1", JSON, AUTHORIZATION], CALL).await;
    assert_eq!(status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_page_can_send_without_asking_is_no_call() {
    let running = start().await;
    let head = ["Host: localhost", AUTHORIZATION];
    for (first, kind, status, code) in [
        (
            "POST / HTTP/1.1",
            "Content-Type: application/x-www-form-urlencoded",
            415,
            "not-said-json",
        ),
        ("GET / HTTP/1.1", JSON, 405, "not-posted"),
        ("OPTIONS / HTTP/1.1", JSON, 405, "not-posted"),
        ("POST / HTTP/1.1", JSON, 200, "result"),
    ] {
        let (found, said) = request(&running.at(), &[first, kind, head[0], head[1]], CALL).await;
        assert_eq!(found, status, "{first} {kind}");
        assert!(said.contains(code), "{first} {kind}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_open_the_door_with_cookie_or_password() {
    let running = start().await;
    let at = running.at();
    let right = UserPassword::parse("user:pass").unwrap();
    let wrong = UserPassword::parse("user:wrong").unwrap();
    let password = Client::connect(&at, &Credentials::Password(right)).unwrap();
    assert_eq!(password.getblockcount().await.unwrap(), 0);
    assert_eq!(running.client().getblockcount().await.unwrap(), 0);
    let cookie = Credentials::Cookie(running.cookie_file.clone());
    let websocket = open_websocket(&at, &cookie).await.unwrap();
    assert_eq!(websocket.getblockcount().await.unwrap(), 0);

    let refused = Client::connect(&at, &Credentials::Password(wrong.clone())).unwrap();
    let error = ClientError::from(refused.getblockcount().await.unwrap_err());
    assert!(matches!(error, ClientError::Unauthorised), "{error}");
    let error = open_websocket(&at, &Credentials::Password(wrong)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unauthorised), "{error}");
    let missing = Credentials::Cookie("/nonexistent/.cookie".into());
    assert!(matches!(Client::connect(&at, &missing), Err(ClientError::Cookie { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_removes_the_cookie_and_frees_the_port() {
    let running = start().await;
    let (at, cookie_file) = (running.at(), running.cookie_file.clone());
    let client = running.client();
    assert_eq!(client.getblockcount().await.unwrap(), 0);
    // A WebSocket that stays open does not keep the server.
    let credentials = Credentials::Cookie(cookie_file.clone());
    let websocket = open_websocket(&at, &credentials).await.unwrap();
    running.server.stop().await;
    assert!(!cookie_file.exists());
    assert!(TcpStream::connect(&at).await.is_err());
    let error = ClientError::from(client.getblockcount().await.unwrap_err());
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(websocket.getblockcount().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_door_to_everyone_is_refused_and_a_taken_port_keeps_the_cookie() {
    let running = start().await;
    let directory = tempfile::tempdir().unwrap();
    let open = ServerConfig {
        listen: "0.0.0.0:0".parse().unwrap(),
        cookie_file: None,
        ..ServerConfig::new(directory.path().join(".cookie"))
    };
    let refused = start_server(open, Fake::new()).await;
    assert!(matches!(refused, Err(StartError::OpenDoor { .. })));

    let before = fs::read_to_string(&running.cookie_file).unwrap();
    let second = ServerConfig {
        listen: running.server.local_addr(),
        ..ServerConfig::new(running.cookie_file.clone())
    };
    let refused = start_server(second, Fake::new()).await;
    assert!(matches!(refused, Err(StartError::Listen { .. })));
    assert_eq!(fs::read_to_string(&running.cookie_file).unwrap(), before);

    // Without authentication, on loopback, Host and Origin still count.
    let lax = start_with(Fake::new(), |config| {
        config.cookie_file = None;
        config.user = None;
    })
    .await;
    let post = ["POST / HTTP/1.1", JSON, "Host: localhost"];
    assert_eq!(request(&lax.at(), &post, CALL).await.0, 200);
    let page = ["POST / HTTP/1.1", JSON, "Host: localhost", "Origin: https://evil.example"];
    assert_eq!(request(&lax.at(), &page, CALL).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_open_to_this_machine_by_its_own_names_and_to_a_get_alone() {
    let running = start_with(Fake::new(), |config| {
        config.allowed_hosts = vec!["node.example".into()];
        config.limits.call_timeout_ms = 300;
    })
    .await;
    let at = running.at();
    let (get, post) = ("GET /metrics HTTP/1.1", "POST /metrics HTTP/1.1");
    for (head, status) in [
        (vec![get, "Host: localhost"], 200),
        (vec![get, "Host: 127.0.0.1:9332"], 200),
        (vec![get, "Host: node.example"], 401),
        (vec![get, "Host: node.example", AUTHORIZATION], 200),
        (vec![get, "Host: evil.example", AUTHORIZATION], 403),
        (vec![get, "Host: localhost", "Origin: https://evil.example"], 403),
        (vec![post, "Host: localhost", AUTHORIZATION], 405),
        // No other path is open.
        (vec!["GET /metrics/ HTTP/1.1", "Host: localhost"], 401),
    ] {
        let (found, body) = request(&at, &head, "").await;
        assert_eq!(found, status, "{head:?}");
        assert_eq!(body == "ashlar_tip_height 0\n", status == 200, "{body}");
    }
    // Prometheus names the format that it would rather have.
    let accepts = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let (_, body) = request(&at, &[get, "Host: localhost", accepts], "").await;
    assert_eq!(body, "ashlar_tip_height 0\n# EOF\n");
    // A node that does not answer does not keep the scraper.
    running.node.stuck.store(true, Ordering::Relaxed);
    let (status, body) = request(&at, &[get, "Host: localhost"], "").await;
    assert!(status == 408 && body.contains("timed-out"), "{status} {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_to_whoever_may_reach_the_port_with_reasons_and_once_a_second() {
    let running = start_with(Fake::new(), |config| config.limits.call_timeout_ms = 300).await;
    let at = running.at();
    let (healthy, ready) = ("GET /healthy HTTP/1.1", "GET /ready HTTP/1.1");
    for (head, status, told) in [
        (vec![healthy, "Host: localhost"], 200, "{\"healthy\":true,\"reasons\":[]}"),
        (vec![ready, "Host: localhost"], 503, "\"reasons\":[\"it is catching up"),
        (vec![healthy, "Host: evil.example"], 403, "host-refused"),
        (vec![healthy, "Host: localhost", "Origin: https://evil.example"], 403, "origin-refused"),
        (vec!["POST /healthy HTTP/1.1", "Host: localhost"], 405, "use GET"),
    ] {
        let (found, body) = request(&at, &head, "").await;
        assert!(found == status && body.contains(told), "{head:?}: {found} {body}");
    }
    running.node.stuck.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(30);
    let (status, body) = loop {
        // What was seen holds for a second, then the node is asked again, in vain.
        let (status, body) = request(&at, &[healthy, "Host: localhost"], "").await;
        if status != 200 || Instant::now() > deadline {
            break (status, body);
        }
    };
    assert!(status == 503 && body.contains("did not answer within"), "{status} {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_noted_by_a_name_that_callers_cannot_make_up() {
    let running = start().await;
    for method in ["getblockcount", "stop-the-world", "getblockhash"] {
        let call =
            format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":[]}}");
        let head = ["POST / HTTP/1.1", JSON, "Host: localhost", AUTHORIZATION];
        assert_eq!(request(&running.at(), &head, &call).await.0, 200);
    }
    let noted = running.node.calls.lock().unwrap().clone();
    let expected = [("getblockcount", true), ("unknown", false), ("getblockhash", false)];
    assert_eq!(noted, expected.map(|(method, is_ok)| (method.to_owned(), is_ok)));
}
