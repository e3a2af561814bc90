//! Tokens, old clients and TLS on a real node, as an operator would set them up.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Net, Node, binary};

/// `ashlar-node token new`: the token, and the lines for the configuration.
fn new_token(arguments: &[&str]) -> (String, String) {
    let output = Command::new(binary("ashlar-node"))
        .args(["token", "new"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let token = said.lines().next().unwrap().to_owned();
    let (_, table) = said.split_once("[[rpc_tokens]]").unwrap();
    (token, format!("[[rpc_tokens]]{table}"))
}

/// A node whose configuration holds these lines.
fn node_with(net: &Net, lines: &str, flags: &[&str]) -> Node {
    let datadir = net.path("configured");
    fs::create_dir_all(&datadir).unwrap();
    fs::write(datadir.join("ashlar.toml"), lines).unwrap();
    net.node_in(&datadir, flags)
}

fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20"]).args(arguments);
    command.stdin(Stdio::null()).output().expect("curl is installed")
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_token_opens_what_it_is_for_and_no_more() {
    let net = Net::new();
    let (reader, table) =
        new_token(&["--name", "reader", "--scope", "read", "--calls-per-second", "2"]);
    let (miner, second) = new_token(&["--name", "miner", "--scope", "mine"]);
    assert!(!table.contains(&reader), "the configuration never sees the token");
    let node = node_with(&net, &format!("{table}\n{second}"), &[]);
    let url = format!("http://{}/", node.rpc_address());
    let call = |token: &str, method: &str, params: Value| {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let (bearer, body) = (format!("Authorization: Bearer {token}"), body.to_string());
        let json = "Content-Type: application/json";
        json_of(&curl(&["-H", json, "-H", &bearer, "-d", &body, &url]))
    };
    assert_eq!(call(&reader, "getblockcount", json!([]))["result"], 0);
    for (token, method) in [(&reader, "stop"), (&reader, "submitblock"), (&miner, "getblockcount")]
    {
        let refused = call(token, method, json!([]));
        assert_eq!(refused["error"]["data"]["code"], "forbidden", "{refused}");
    }
    let address = net.wallet("miner").address();
    assert!(call(&miner, "generatetoaddress", json!([1, address]))["result"].is_array());
    assert_eq!(node.height(), 1);
    // Twenty calls are what two a second save up in ten seconds; no batch of forty takes so long
    // that the rest come in.
    let one = json!({ "jsonrpc": "2.0", "id": 1, "method": "getblockcount" });
    let batch = Value::from(vec![one; 40]).to_string();
    let bearer = format!("Authorization: Bearer {reader}");
    let json = "Content-Type: application/json";
    let answers = json_of(&curl(&["-H", json, "-H", &bearer, "-d", &batch, &url]));
    assert_eq!(answers[0]["result"], 1);
    let refused = &answers[39]["error"]["data"];
    assert_eq!(refused["code"], "rate-limited", "{answers}");
    assert!(refused["retry_after_ms"].as_u64().unwrap() <= 501, "{refused}");
    assert_eq!(node.height(), 1, "others go on");
    let unknown = call(&reader.replace("ashlar_", "ashlar_0"), "getblockcount", json!([]));
    assert_eq!(unknown["error"]["data"]["code"], "unauthorised");
}

#[test]
fn the_lines_of_bitcoins_help_texts_work() {
    let net = Net::new();
    let node = net.node(&[]);
    let cookie = fs::read_to_string(node.datadir.join(".cookie")).unwrap();
    let url = format!("http://{}/", node.rpc_address());
    let body = r#"{"jsonrpc": "1.0", "id":"curltest", "method": "getblockcount", "params": [] }"#;
    let plain = "content-type: text/plain;";
    let output = curl(&["--user", &cookie, "--data-binary", body, "-H", plain, &url]);
    let answer = json_of(&output);
    assert_eq!((&answer["result"], &answer["id"]), (&json!(0), &json!("curltest")));
    assert_eq!(answer.get("error"), Some(&Value::Null), "as they look for it");
    // Beside the number, the tip that it was true at.
    assert_eq!((&answer["tip"], &answer["tip_height"]), (&json!(node.tip()), &json!(0)));
    let body = r#"{"method":"getblockhash","params":[9],"id":1}"#;
    let write = ["-w", "%{stderr}%{http_code}"];
    let output = curl(
        &[&["--user", &cookie, "--data-binary", body, "-H", plain, &url][..], &write].concat(),
    );
    assert_eq!(output.stderr, b"500");
    assert_eq!(json_of(&output)["result"], Value::Null);
}

/// As docs/operations.md has it.
fn make_certificate(certificate: &Path, key: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "1", "-subj", "/CN=localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn files_make_the_port_speak_tls_and_half_of_them_or_nonsense_is_named() {
    let net = Net::new();
    let (certificate, key) = (net.path("cert.pem"), net.path("key.pem"));
    make_certificate(&certificate, &key);
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let flags = ["--rpc-tls-certificate", certificate, "--rpc-tls-key", key];
    let node = node_with(&net, "", &flags);
    let cookie = fs::read_to_string(node.datadir.join(".cookie")).unwrap();
    let url = format!("https://{}/", node.rpc_address());
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"getblockcount"}"#;
    let json = "Content-Type: application/json";
    let call = ["--user", &cookie, "-H", json, "-d", body, &url];
    let output = curl(&[&["--cacert", certificate][..], &call].concat());
    assert_eq!(json_of(&output)["result"], 0);
    // Who does not know the certificate does not trust it.
    assert!(!curl(&call).status.success());
    // The node's own tools on this machine, and as if they were on another.
    assert_eq!(node.height(), 0);
    let cookie_file = node.datadir.join(".cookie");
    let place = ["--rpc", &url, "--cookie", cookie_file.to_str().unwrap()];
    let trusting = [&place[..], &["--rpc-ca", certificate]].concat();
    let tool = |program: &str, flags: &[&str], rest: &[&str]| {
        let output = Command::new(binary(program))
            .args(&rest[..1])
            .args(flags)
            .args(&rest[1..])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    for (rest, shown) in [
        (&["rpc", "getblockcount"][..], "0"),
        (&["status", "--once"], "ashlar-dev"),
        (&["health"], "healthy"),
    ] {
        let (is_ok, said) = tool("ashlar-node", &trusting, rest);
        assert!(is_ok && said.contains(shown), "{rest:?}: {said}");
    }
    let wallet = net.wallet("far");
    let far = wallet.run(&[&trusting[..], &["status"]].concat());
    assert_eq!(far["node"]["height"], 0);
    let (is_ok, said) = tool("ashlar-node", &place, &["rpc", "getblockcount"]);
    assert!(!is_ok && said.contains("--rpc-ca"), "{said}");
    // Another's certificate vouches for nothing here.
    let stranger = net.path("stranger.pem");
    make_certificate(&stranger, &net.path("stranger-key.pem"));
    let strange = [&place[..], &["--rpc-ca", stranger.to_str().unwrap()]].concat();
    let (is_ok, said) = tool("ashlar-node", &strange, &["rpc", "getblockcount"]);
    assert!(!is_ok && said.contains("certificate"), "{said}");

    for (flags, named) in [
        (vec!["--rpc-tls-key", key], "go together"),
        (vec!["--rpc-tls-key", certificate, "--rpc-tls-certificate", certificate], "TLS"),
    ] {
        let mut command = crate::harness::run_command(&net.path("refused"));
        let genesis = crate::harness::dev_genesis();
        let output = command.arg("--genesis").arg(genesis).args(&flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(named), "{flags:?}: {said}");
    }
}
