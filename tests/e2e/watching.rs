//! What watchers and operators ask of a node beside JSON-RPC, on the real program: health,
//! readiness, metrics, logs, configuration, the view of its state, and the doctor.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Net, Node, binary, dev_genesis, repository, run_command, wait_for};

/// A command of the program, to its end.
fn command(arguments: &[&str]) -> Output {
    Command::new(binary("ashlar-node")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A command on a data directory: whether it ended well, and all that it printed.
fn on(datadir: &Path, arguments: &[&str]) -> (bool, String) {
    let datadir = datadir.to_str().unwrap();
    let output = command(&[arguments, &["--datadir", datadir]].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// The status and the body of one request.
fn get(node: &Node, path: &str, headers: &str) -> (u16, String) {
    let at = node.rpc_address();
    let mut socket = TcpStream::connect(&at).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n{headers}Connection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_node_tells_its_health_and_why_it_is_not_ready() {
    let net = Net::new();
    let flags = ["--discovery", "false", "--ready-peers", "1"];
    let node = net.node_with(&[], &flags);
    assert_eq!(get(&node, "/healthy", ""), (200, "{\"healthy\":true,\"reasons\":[]}\n".into()));
    let (status, body) = get(&node, "/ready", "");
    assert_eq!(status, 503);
    assert!(body.contains("it has 0 peers and should have 1"), "{body}");
    let (is_ok, text) = on(&node.datadir, &["health"]);
    assert!(is_ok && text.contains("\"healthy\":true"), "{text}");
    let (is_ok, text) = on(&node.datadir, &["health", "--ready"]);
    assert!(!is_ok && text.contains("0 peers"), "{text}");

    let _peer = net.node_with(&[&node], &["--discovery", "false"]);
    wait_for("it is ready with a peer", || (get(&node, "/ready", "").0 == 200).then_some(()));
    assert!(on(&node.datadir, &["health", "--ready"]).0);
}

#[test]
fn metrics_come_in_both_formats_and_pass_promtool() {
    let net = Net::new();
    let node = net.node(&[]);
    node.generate(3, &net.wallet("m").address());
    let (status, plain) = get(&node, "/metrics", "");
    assert_eq!(status, 200);
    for line in [
        "# TYPE ashlar_blocks_connected_total counter",
        "ashlar_blocks_connected_total 3",
        "ashlar_tip_height 3",
        "# TYPE ashlar_build_info gauge",
        "ashlar_rpc_calls_total{method=\"generatetoaddress\",outcome=\"result\"} 1",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        assert!(plain.lines().any(|found| found == line), "{line} in\n{plain}");
    }
    let (_, open) = get(&node, "/metrics", "Accept: application/openmetrics-text\r\n");
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE ashlar_blocks_connected counter"));

    // Where the machine has it (Debian: the package prometheus).
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        return;
    };
    promtool.stdin.take().unwrap().write_all(plain.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    assert_eq!(String::from_utf8_lossy(&said), "");
}

#[test]
fn every_line_of_a_json_log_is_an_object_to_the_last() {
    let net = Net::new();
    let mut node = net.node_with(&[], &["--log-format", "json"]);
    node.generate(1, &net.wallet("m").address());
    node.stop();
    let log = node.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<&str> =
        lines.iter().map(|line| line["fields"]["message"].as_str().unwrap()).collect();
    for words in ["starting", "ready", "new tip", "stopped"] {
        assert!(said.contains(&words), "{words} in {said:?}");
    }
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()));

    // Also the reason of a start that fails.
    let mut failing = run_command(&node.datadir);
    failing.args(["--log-format", "json", "--mine", "nobody"]);
    let output = failing.output().unwrap();
    let last = String::from_utf8(output.stderr).unwrap();
    let last: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert!(!output.status.success());
    assert!(last["fields"]["message"].as_str().unwrap().contains("--mine nobody"), "{last}");
}

#[test]
fn the_configuration_is_checked_and_shown_with_its_sources() {
    let net = Net::new();
    let directory = net.path("configured");
    fs::create_dir(&directory).unwrap();
    let (is_ok, text) = on(&directory, &["config", "check"]);
    assert!(!is_ok && text.contains("no genesis"), "{text}");
    assert!(on(&directory, &["init", "--genesis", dev_genesis().to_str().unwrap()]).0);
    assert_eq!(
        on(&directory, &["config", "check"]).1,
        "a node can start with this configuration\n"
    );

    let file = directory.join("ashlar.toml");
    fs::write(&file, "mdns = true\npeers = [\"somewhere\"]\n").unwrap();
    let (is_ok, text) = on(&directory, &["config", "check"]);
    assert!(!is_ok && text.contains("somewhere"), "{text}");
    let output = Command::new(binary("ashlar-node"))
        .args(["config", "show", "--mine-threads", "2", "--datadir"])
        .arg(&directory)
        .env("ASHLAR_PROFILE", "small")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for (line, source) in [
        ("mdns = true", format!("file {}", file.display())),
        ("mine_threads = 2", "flag --mine-threads".into()),
        ("profile = \"small\"", "environment ASHLAR_PROFILE".into()),
        ("lock_index = true", "default".into()),
    ] {
        let found = text.lines().find(|found| found.starts_with(line)).unwrap();
        assert_eq!(found.split_once(" # ").unwrap().1, source, "{found}");
    }
}

#[test]
fn the_state_of_a_node_is_shown_at_a_glance() {
    let net = Net::new();
    let node = net.node_with(&[], &["--discovery", "false"]);
    let ids = node.generate(3, &net.wallet("m").address());
    let peer = net.node_with(&[&node], &["--discovery", "false"]);
    wait_for("they are connected and on one tip", || {
        let info = node.call("getnetworkinfo", json!([]));
        (info["connections"] == 1 && peer.height() == 3).then_some(())
    });
    let (is_ok, text) = on(&node.datadir, &["status", "--once"]);
    assert!(is_ok, "{text}");
    for words in ["caught up", "█", "1 in, 0 out", "0 transactions", "all blocks"] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    for id in &ids {
        assert!(text.contains(&id[..16]), "{id} in\n{text}");
    }
    // Without a terminal it prints once by itself, and no commands for one.
    let (is_ok, text) = on(&node.datadir, &["status"]);
    assert!(is_ok && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn the_doctor_finds_what_is_wrong_with_a_node_that_runs_or_does_not() {
    let net = Net::new();
    let (is_ok, text) = on(&net.path("nowhere"), &["doctor"]);
    assert!(!is_ok && text.contains("directory: ") && text.contains("ashlar-node init"), "{text}");

    let genesis = dev_genesis();
    let mut node = net.node_with(&[], &["--discovery", "false"]);
    node.generate(1, &net.wallet("m").address());
    let (_, text) = on(&node.datadir, &["doctor"]);
    assert!(text.contains("runs on it and answers") && text.contains("peers: "), "{text}");
    // Its own port is not "taken" by itself; its lock is not mistaken for a crash.
    assert!(!text.contains("port: ") && !text.contains("crash: "), "{text}");
    node.kill();

    let (is_ok, text) = on(&node.datadir, &["doctor"]);
    assert!(!is_ok && text.contains("crash: "), "{text}");
    fs::remove_file(node.datadir.join("run.json")).unwrap();
    let free = ["doctor", "--rpc-listen", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let (is_ok, text) = on(&node.datadir, &free);
    assert!(is_ok && text.contains("nothing is wrong"), "{text}");

    let key = node.datadir.join("node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let other = net.path("other.json");
    let text = fs::read_to_string(&genesis).unwrap();
    let restamped = net.path("restamped");
    let stamp = ["--genesis-time", "1700000001"];
    let init = ["init", "--genesis", genesis.to_str().unwrap()];
    assert!(on(&restamped, &[&init[..], &stamp].concat()).0, "{text}");
    fs::copy(restamped.join("genesis.json"), &other).unwrap();
    let wrong = [
        "doctor",
        "--genesis",
        other.to_str().unwrap(),
        "--rpc-listen",
        &taken,
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
        "--min-free",
        "4000TB",
    ];
    let (is_ok, text) = on(&node.datadir, &wrong);
    assert!(!is_ok);
    for about in ["genesis: ", "port: ", "secret: ", "disk: "] {
        assert!(text.lines().any(|line| line.starts_with(about)), "{about} in\n{text}");
    }
    assert_eq!(text.matches("to mend: ").count(), 4, "{text}");
}

#[test]
fn systemd_takes_the_service_with_the_program_in_its_place() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let net = Net::new();
    let service = fs::read_to_string(repository().join("scripts/deploy/ashlar-node.service"));
    let program = binary("ashlar-node");
    let service = service.unwrap().replace("/usr/local/bin/ashlar-node", program.to_str().unwrap());
    let file = net.path("ashlar-node.service");
    fs::write(&file, service).unwrap();
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}
