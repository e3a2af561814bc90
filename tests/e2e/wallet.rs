//! The wallet's life: payments that wait, are replaced, get lost and come back; files that are
//! killed under it; what a script sees.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    FAUCET_WORDS, Net, Node, Terminal, Wallet, binary, dev_genesis, repository, wait_for,
};

/// One ASH, in grains.
const ASH: u64 = 100_000_000;
/// More system calls of one kind than `send` ever makes.
const MAX_STEPS: u32 = 200;
/// Where the wallet is killed: at its n-th call of each kind. Its one thread makes them all.
const KILL_AT: [&str; 3] = ["write,writev,sendto,sendmsg", "fsync", "?rename,?renameat,renameat2"];
/// Where the tracer is missing it is killed after so many milliseconds, then after twice as many …
const KILL_EVERY_MS: u64 = 20;
/// … and so often at most.
const MAX_TIMED_KILLS: u32 = 40;

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// What a failure says with `--json`.
fn failure(output: &Output) -> Value {
    serde_json::from_slice(&output.stderr)
        .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&output.stderr)))
}

fn on<'a>(node: &'a Node, arguments: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["--datadir", node.datadir.to_str().unwrap()];
    all.extend(arguments);
    all
}

fn statuses(wallet: &Wallet, node: &Node) -> Vec<String> {
    let list = wallet.on(node, &["list"]);
    let payments = list.as_array().unwrap().iter();
    payments.map(|payment| payment["status"].as_str().unwrap().to_owned()).collect()
}

fn waiting(node: &Node) -> Vec<String> {
    serde_json::from_value(node.call("getrawmempool", json!([]))).unwrap()
}

fn txid(sent: &Value) -> String {
    sent["txid"].as_str().unwrap().to_owned()
}

/// Every field that a script may meet is in docs/wallet.md.
fn assert_documented(value: &Value) {
    let page = fs::read_to_string(repository().join("docs/wallet.md")).unwrap();
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        match value {
            Value::Array(items) => left.extend(items),
            Value::Object(fields) => {
                for (name, value) in fields {
                    assert!(page.contains(&format!("`{name}`")), "{name}");
                    left.push(value);
                }
            }
            _ => {}
        }
    }
}

fn can_trace() -> bool {
    let works =
        Command::new("strace").args(["-D", "-f", "-qq", "-o", "/dev/null", "true"]).output();
    works.is_ok_and(|output| output.status.success())
}

/// Runs `send` and kills it at one step. Whether it was killed.
fn killed_send(command: &mut Command, calls: Option<&str>, step: u32) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let Some(calls) = calls else {
        let mut child = command.spawn().unwrap();
        thread::sleep(Duration::from_millis(KILL_EVERY_MS * u64::from(step)));
        let ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        return !ended;
    };
    let mut traced = Command::new("strace");
    traced
        .args(["-D", "-f", "-qq", "-e", "signal=none", "-o", "/dev/null"])
        .args(["-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={calls}:signal=KILL:when={step}")])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Killed by a signal: no exit code.
    traced.status().unwrap().code().is_none()
}

/// At every step of `send` the wallet is killed; then the same payment is asked for again under
/// its name. Whatever the step, exactly one payment comes of it, nothing in the mempool is unknown
/// to the journal, and no coin is promised twice.
#[test]
fn a_wallet_killed_at_each_step_of_send_pays_once_and_forgets_nothing() {
    let net = Net::new();
    let node = net.node(&[]);
    let (faucet, payee) = (net.faucet(), net.wallet("payee"));
    let (miner, to) = (net.wallet("miner").address(), payee.address());
    let kinds: Vec<Option<&str>> =
        if can_trace() { KILL_AT.into_iter().map(Some).collect() } else { vec![None] };
    let mut payments = 0;
    for calls in kinds {
        for step in 1..=MAX_STEPS {
            // A journal of its own for each try, so that each makes the same number of calls; what
            // the last one held is in a block.
            fs::remove_file(net.path("faucet.journal.json")).ok();
            let name = format!("{calls:?} {step}");
            let send = ["send", &to, "1", "--fee-rate", "2", "--yes", "--id", &name];
            let killed = killed_send(&mut faucet.command(&on(&node, &send)), calls, step);
            let before = waiting(&node);
            let known: Vec<String> = journal_txids(&net.path("faucet.journal.json"));
            for txid in &before {
                assert!(known.contains(txid), "{name}: the journal forgot {txid}");
            }
            let sent = faucet.on(&node, &send);
            payments += 1;
            assert_eq!(waiting(&node), [txid(&sent)], "{name}: {before:?} before");
            node.generate(1, &miner);
            assert_eq!(payee.balance(&node), payments * ASH, "{name}");
            let enough = calls.is_none() && step == MAX_TIMED_KILLS;
            if !killed || enough {
                assert!(step > 1, "{name}: `send` was never killed");
                break;
            }
            assert!(step < MAX_STEPS, "{name}: no end of steps");
        }
    }
}

/// As another program would read them.
fn journal_txids(path: &Path) -> Vec<String> {
    let Ok(text) = fs::read(path) else { return Vec::new() };
    let journal: Value = serde_json::from_slice(&text).expect("a journal is whole at every moment");
    journal["payments"].as_array().unwrap().iter().map(txid).collect()
}

#[test]
fn a_payment_that_waits_is_replaced_or_taken_back() {
    let net = Net::new();
    let node = net.node(&[]);
    let (faucet, payee) = (net.faucet(), net.wallet("payee"));
    let (miner, to) = (net.wallet("miner").address(), payee.address());
    let sent = faucet.on(&node, &["send", &to, "3", "--yes", "--note", "rent"]);
    let first = txid(&sent);
    assert_eq!(statuses(&faucet, &node), ["waiting"]);
    let bumped = faucet.on(&node, &["bump", &first, "--yes"]);
    let second = txid(&bumped);
    assert!(bumped["fee"].as_u64() > sent["fee"].as_u64());
    assert_eq!(waiting(&node), std::slice::from_ref(&second));
    assert_eq!(statuses(&faucet, &node), ["waiting", "replaced"]);
    // Again, by the first id: the newest one is meant.
    let third = txid(&faucet.on(&node, &["bump", &first, "--fee-rate", "20", "--yes"]));
    assert_eq!(waiting(&node), std::slice::from_ref(&third));
    node.generate(1, &miner);
    assert_eq!(payee.balance(&node), 3 * ASH);
    let waited = faucet.on(&node, &["wait", &third, "--confirmations", "1"]);
    assert_eq!(waited["confirmations"], 1);
    let shown = faucet.on(&node, &["show", &second]);
    assert_eq!((&shown["status"], &shown["replaced_by"]), (&json!("replaced"), &json!(third)));
    for value in [&sent, &bumped, &waited, &shown] {
        assert_documented(value);
    }
    for command in ["list", "history", "balance", "coins", "status", "rebroadcast", "addresses"] {
        assert_documented(&faucet.on(&node, &[command]));
    }
    let refused = faucet.try_run(&on(&node, &["bump", &first, "--yes"]));
    assert_eq!((code(&refused), &failure(&refused)["error"]["kind"]), (5, &json!("money")));
    let never = faucet.try_run(&on(&node, &["wait", &first, "--timeout", "1"]));
    assert_eq!(code(&never), 8, "{never:?}");

    let before = faucet.balance(&node);
    let doomed = txid(&faucet.on(&node, &["send", &to, "5", "--yes"]));
    let cancelled = faucet.on(&node, &["cancel", &doomed, "--yes"]);
    assert_eq!(waiting(&node), [txid(&cancelled)]);
    node.generate(1, &miner);
    assert_eq!(payee.balance(&node), 3 * ASH);
    assert_eq!(faucet.balance(&node), before - cancelled["fee"].as_u64().unwrap());
    // A payment spends the change of one that waits; the parent can't be pulled from under it.
    let parent = txid(&faucet.on(&node, &["send", &to, "1", "--yes"]));
    let change = faucet.on(&node, &["show", &parent])["change"].clone();
    let coin = format!("{}:{}", change["txid"].as_str().unwrap(), change["vout"]);
    let spend = ["send", &to, "1", "--coin", &coin, "--yes"];
    let child = txid(&faucet.on(&node, &spend));
    assert_eq!(code(&faucet.try_run(&on(&node, &["cancel", &parent, "--yes"]))), 5);
    assert_eq!(waiting(&node).len(), 2, "{parent} {child}");
    node.generate(1, &miner);
    assert_eq!(payee.balance(&node), 5 * ASH);
}

/// The node that took a payment is gone for good, its data too; then a branch without the payment
/// wins at the next one.
#[test]
fn a_payment_outlives_its_node_and_a_reorganisation() {
    let net = Net::new();
    let (first, second, third) = (net.node(&[]), net.node(&[]), net.node(&[]));
    let (faucet, payee) = (net.faucet(), net.wallet("payee"));
    let (miner, to) = (net.wallet("miner").address(), payee.address());
    let paid = txid(&faucet.on(&first, &["send", &to, "2", "--yes"]));
    drop(first);
    assert_eq!(statuses(&faucet, &second), ["unsent"]);
    // Its coins are promised: what is sent next takes others, and the lost one goes along.
    let next = txid(&faucet.on(&second, &["send", &to, "1", "--yes"]));
    let both = waiting(&second);
    assert!(both.len() == 2 && both.contains(&paid) && both.contains(&next), "{both:?}");
    second.generate(1, &miner);
    assert_eq!(statuses(&faucet, &second), ["confirmed", "confirmed"]);
    third.generate(3, &net.wallet("other").address());
    second.call("addnode", json!([third.address()]));
    wait_for("the longer branch wins", || (second.tip() == third.tip()).then_some(()));
    assert_eq!(faucet.on(&second, &["show", &paid])["confirmations"], 0);
    faucet.on(&second, &["rebroadcast"]);
    assert_eq!(statuses(&faucet, &second), ["waiting", "waiting"]);
    second.generate(1, &miner);
    faucet.on(&second, &["wait", &paid, "--timeout", "30"]);
    assert_eq!(payee.balance(&second), 3 * ASH);
}

/// Four scripts at once on one wallet: each waits for its turn, and no coin is promised twice.
#[test]
fn commands_at_once_spend_different_coins() {
    let net = Net::new();
    let node = net.node(&[]);
    let (faucet, payee) = (net.faucet(), net.wallet("payee"));
    let (miner, to) = (net.wallet("miner").address(), payee.address());
    let send = ["send", &to, "1", "--yes", "--confirmed"];
    let spawn = |_| {
        let mut command = faucet.command(&on(&node, &send));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let sends: Vec<_> = (0..4).map(spawn).collect();
    for send in sends {
        let output = send.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(waiting(&node).len(), 4);
    node.generate(1, &miner);
    assert_eq!(payee.balance(&node), 4 * ASH);
}

#[test]
fn several_are_paid_coins_are_named_frozen_and_swept() {
    let net = Net::new();
    let node = net.node(&[]);
    let (faucet, payee, other) = (net.faucet(), net.wallet("payee"), net.wallet("other"));
    let miner = net.wallet("miner").address();
    let to = payee.address();
    for round in 0..3 {
        let also = format!("{}={}", other.address(), round + 1);
        faucet.on(&node, &["send", &to, "1.5", "--to", &also, "--memo", "three", "--yes"]);
        node.generate(1, &miner);
    }
    assert_eq!((payee.balance(&node), other.balance(&node)), (450_000_000, 6 * ASH));
    let coins = other.on(&node, &["coins"]);
    let coin = |place: usize| coins[place]["coin"].as_str().unwrap().to_owned();
    // The largest is frozen: what is left does not pay 4.
    other.run(&["freeze", &coin(0)]);
    assert_eq!(other.balance(&node), 3 * ASH);
    let poor = other.try_run(&on(&node, &["send", &to, "4", "--yes"]));
    assert_eq!((code(&poor), &failure(&poor)["error"]["kind"]), (5, &json!("money")));
    let named = other.on(&node, &["send", &to, "0.5", "--coin", &coin(2), "--yes"]);
    let shown = other.on(&node, &["show", &txid(&named)]);
    assert_eq!(shown["spends"].as_array().unwrap().len(), 1);
    other.run(&["unfreeze", &coin(0)]);
    node.generate(1, &miner);
    let before = other.balance(&node);
    let dry = other.on(&node, &["send", &to, "--max", "--dry-run"]);
    assert_eq!(dry["amount"].as_u64().unwrap() + dry["fee"].as_u64().unwrap(), before);
    assert!(waiting(&node).is_empty());
    let swept = other.on(&node, &["send", &to, "--max", "--yes"]);
    node.generate(1, &miner);
    assert_eq!(other.balance(&node), 0);
    assert_eq!(payee.balance(&node), 500_000_000 + swept["amount"].as_u64().unwrap());

    payee.run(&["label", &to, "shop, \"till\""]);
    faucet.run(&["label", &to, "the shop"]);
    let csv = faucet.text(&on(&node, &["history", "--csv"]));
    assert!(csv.starts_with("time,height,"), "{csv}");
    assert!(csv.contains(",the shop,"), "{csv}");
    let request = payee.run(&["address", "--uri", "--amount", "0.25", "--message", "tea & cake"]);
    let request = request["uri"].as_str().unwrap().to_owned();
    let paid = faucet.on(&node, &["send", &request, "--yes"]);
    assert_eq!(paid["amount"], 25_000_000);
    let code_block = payee.text(&["address", "--qr"]);
    assert!(code_block.contains('█') && code_block.lines().count() > 15, "{code_block}");
}

#[test]
fn files_are_backed_up_put_under_another_password_and_watched() {
    let net = Net::new();
    let node = net.node(&[]);
    let (faucet, payee) = (net.faucet(), net.wallet("payee"));
    let miner = net.wallet("miner").address();
    let paid = txid(&faucet.on(&node, &["send", &payee.address(), "1", "--yes"]));
    let file = net.path("backup.json");
    faucet.run(&["backup", file.to_str().unwrap()]);
    assert_eq!(code(&faucet.try_run(&["backup", file.to_str().unwrap()])), 3);
    for name in ["backup.json", "faucet.json", "faucet.journal.json"] {
        let text = fs::read_to_string(net.path(name)).unwrap();
        assert!(!text.contains("abandon") && !text.contains("correct horse"), "{name}");
    }
    let mut changing = faucet.command(&["change-password", "--light-kdf"]);
    changing.env("ASHLAR_WALLET_NEW_PASSWORD", "battery staple");
    assert!(changing.output().unwrap().status.success());
    let old = faucet.try_run(&["show-mnemonic", "--yes"]);
    assert_eq!((code(&old), &failure(&old)["error"]["kind"]), (3, &json!("wallet")));
    let mut showing = faucet.command(&["show-mnemonic", "--yes"]);
    let shown = showing.env("ASHLAR_WALLET_PASSWORD", "battery staple").output().unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert!(shown["mnemonic"].as_str().unwrap().ends_with(" art"));
    // Words are shown to nobody without a yes, and nobody is asked without a terminal.
    assert_eq!(code(&faucet.try_run(&["show-mnemonic"])), 4);

    let again = Wallet { file: net.path("again.json") };
    again.run(&["restore", "--from", file.to_str().unwrap()]);
    assert_eq!(again.on(&node, &["show", &paid])["status"], "waiting");
    again.run(&["show-mnemonic", "--yes"]);
    assert_eq!(code(&again.try_run(&["restore", "--from", file.to_str().unwrap()])), 3);

    let list = net.path("list.txt");
    fs::write(&list, format!("{} the payee\n\n{}\n", payee.address(), miner)).unwrap();
    let eye = Wallet { file: net.path("eye.json") };
    let genesis = dev_genesis();
    eye.run(&["watch", "--file", list.to_str().unwrap(), "--genesis", genesis.to_str().unwrap()]);
    node.generate(1, &miner);
    assert_eq!(eye.balance(&node), ASH);
    assert!(eye.run(&["addresses"]).to_string().contains("the payee"));
    let blind = eye.try_run(&on(&node, &["send", &miner, "0.1", "--yes"]));
    assert_eq!(code(&blind), 3);
    assert_eq!(code(&eye.try_run(&["--rpc", "127.0.0.1:1", "balance"])), 6);
    assert_eq!(code(&eye.try_run(&["no-such-command"])), 2);
}

/// Other words come of the same words with a passphrase; named wallets lie in a folder.
#[test]
fn named_wallets_have_a_default_and_passphrases_are_other_wallets() {
    let net = Net::new();
    let folder = net.path("wallets");
    let genesis = dev_genesis();
    let wallet = |arguments: &[&str], passphrase: Option<&str>| {
        let mut command = Command::new(binary("ashlar-wallet"));
        command
            .env("ASHLAR_WALLETS", &folder)
            .env("ASHLAR_WALLET_PASSWORD", "correct horse")
            .env("ASHLAR_WALLET_MNEMONIC", FAUCET_WORDS)
            .args(["--json"])
            .args(arguments)
            .stdin(Stdio::null());
        if let Some(passphrase) = passphrase {
            command.env("ASHLAR_WALLET_PASSPHRASE", passphrase);
        }
        command.output().unwrap()
    };
    let restore = ["restore", "--light-kdf", "--genesis", genesis.to_str().unwrap()];
    let address = |name: &str| {
        let output = wallet(&["-w", name, "address"], None);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        value["address"].as_str().unwrap().to_owned()
    };
    for (name, passphrase) in [("plain", None), ("hidden", Some("x")), ("other", Some("y"))] {
        let mut arguments = vec!["-w", name];
        arguments.extend(restore);
        arguments.extend(passphrase.map(|_| "--passphrase"));
        let output = wallet(&arguments, passphrase);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_ne!(address("plain"), address("hidden"));
    assert_ne!(address("hidden"), address("other"));
    assert!(wallet(&["use", "hidden"], None).status.success());
    let listed: Value = serde_json::from_slice(&wallet(&["wallets"], None).stdout).unwrap();
    assert_eq!(listed, json!({ "wallets": ["hidden", "other", "plain"], "default": "hidden" }));
    let default: Value = serde_json::from_slice(&wallet(&["address"], None).stdout).unwrap();
    assert_eq!(default["address"], address("hidden"));
    assert_eq!(code(&wallet(&["use", "nobody"], None)), 3);
    let short = Command::new(binary("ashlar-wallet"))
        .args(["-w", "people", "create", "--genesis", genesis.to_str().unwrap()])
        .env("ASHLAR_WALLETS", &folder)
        .env("ASHLAR_WALLET_PASSWORD", "short")
        .output()
        .unwrap();
    assert_eq!(code(&short), 3);
}

/// Testnets' wallets cost little to open, people's much (and the file says so).
#[test]
fn a_testnets_wallet_is_cheap_to_open_and_a_persons_is_not() {
    let net = Net::new();
    let genesis = dev_genesis();
    let make = |name: &str, flags: &[&str]| -> Value {
        let wallet = Wallet { file: net.path(name) };
        let mut arguments = vec!["create", "--genesis", genesis.to_str().unwrap()];
        arguments.extend(flags);
        wallet.run(&arguments);
        serde_json::from_slice(&fs::read(net.path(name)).unwrap()).unwrap()
    };
    let light = make("light.json", &["--light-kdf"]);
    assert_eq!(light["cost"], json!({ "memory_kib": 65_536, "passes": 3, "lanes": 1 }));
    let strong = make("strong.json", &[]);
    assert_eq!(strong["cost"], json!({ "memory_kib": 262_144, "passes": 3, "lanes": 1 }));
}

/// Completions and manual come from the definition of the command line.
#[test]
fn completions_and_manual_know_every_command() {
    let net = Net::new();
    let wallet = Wallet { file: net.path("none.json") };
    for shell in ["bash", "zsh", "fish"] {
        let script = wallet.text(&["completions", shell]);
        assert!(script.contains("change-password") && script.contains("rebroadcast"), "{shell}");
    }
    let folder: PathBuf = net.path("man");
    fs::create_dir(&folder).unwrap();
    wallet.text(&["man", folder.to_str().unwrap()]);
    for page in ["ashlar-wallet.1", "ashlar-wallet-send.1", "ashlar-wallet-bump.1"] {
        assert!(fs::read_to_string(folder.join(page)).unwrap().contains(".TH"), "{page}");
    }
}

/// What is signed apart has its coins to itself, is a payment once it is sent, and can be given up.
#[test]
fn coins_are_kept_for_what_is_signed_apart_and_it_is_a_payment_once_sent() {
    let net = Net::new();
    let node = net.node(&[]);
    let (faucet, owner) = (net.faucet(), net.wallet("owner"));
    let (miner, own, payee) = (net.wallet("miner").address(), owner.address(), net.wallet("payee"));
    let to = payee.address();
    for amount in ["4", "1.5", "2.5"] {
        faucet.on(&node, &["send", &own, amount, "--yes"]);
    }
    node.generate(1, &miner);
    let file = |name: &str| net.path(name).to_str().unwrap().to_owned();
    let (first, second) = (file("first.pst"), file("second.pst"));
    let create = |pay: &str, out: &str| {
        let pay = format!("{to}={pay}");
        owner.try_run(&on(&node, &["tx", "create", &pay, "--fee-rate", "2", "--out", out]))
    };
    let made = create("3.9", &first);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["spends"].as_array().unwrap().len(), 1, "the four pay it: {made}");
    let states = |state: &str| {
        let coins = owner.on(&node, &["coins"]);
        coins.as_array().unwrap().iter().filter(|coin| coin["state"] == state).count()
    };
    assert_eq!((states("promised"), states("free")), (1, 2));
    // Neither another file nor a payment takes them.
    let poor = create("4.5", &second);
    assert_eq!(code(&poor), 5, "{}", String::from_utf8_lossy(&poor.stderr));
    let poor = owner.try_run(&on(&node, &["send", &to, "4.5", "--yes"]));
    assert_eq!(code(&poor), 5);
    assert_eq!(owner.balance(&node), 4 * ASH);
    assert!(create("3", &second).status.success());
    assert_eq!((states("promised"), states("free")), (3, 0));
    owner.run(&["tx", "discard", &second]);
    assert_eq!((states("promised"), states("free")), (1, 2));

    owner.run(&["tx", "sign", &first, "--yes"]);
    let sent = txid(&owner.on(&node, &["tx", "broadcast", &first]));
    let shown = owner.on(&node, &["show", &sent]);
    assert_eq!((&shown["status"], &shown["purpose"]), (&json!("waiting"), &json!("shared")));
    let paid = json!([{ "address": to, "amount": 390_000_000 }]);
    assert_eq!((&shown["recipients"], &shown["fee"]), (&paid, &made["fee"]));
    assert_eq!(payee.on(&node, &["balance"])["incoming"], 390_000_000);
    let coming = payee.on(&node, &["history"]);
    assert_eq!((&coming[0]["txid"], &coming[0]["height"]), (&json!(sent), &Value::Null));
    assert_eq!(
        (&coming[0]["kind"], &coming[0]["received"]),
        (&json!("received"), &json!(390_000_000))
    );
    let csv = payee.text(&on(&node, &["history", "--csv"]));
    assert!(csv.contains(&format!(",,0,received,+3.9,,,{sent}")), "{csv}");
    node.generate(1, &miner);
    owner.on(&node, &["wait", &sent, "--confirmations", "1"]);
    assert_eq!(payee.on(&node, &["balance"])["incoming"], 0);
    assert_eq!(payee.balance(&node), 390_000_000);
    assert_eq!(states("promised"), 0);
    for value in [&made, &shown, &coming, &owner.run(&["tx", "discard", &second])] {
        assert_documented(value);
    }
}

/// Money that nobody can spend before its time, and a backup that knows of it.
#[test]
fn a_timelock_opens_in_its_time_and_comes_back_from_a_backup() {
    let net = Net::new();
    let node = net.node(&[]);
    let (faucet, owner) = (net.faucet(), net.wallet("owner"));
    let (miner, own) = (net.wallet("miner").address(), owner.address());
    for (label, condition) in [("vault", ["--older", "3"]), ("pension", ["--after", "7"])] {
        owner.run(&[&["policy", "timelock", &own, "--label", label][..], &condition].concat());
    }
    let address = |label: &str| {
        owner.run(&["policy", "address", label])["address"].as_str().unwrap().to_owned()
    };
    faucet.on(&node, &["send", &address("vault"), "3", "--yes"]);
    faucet.on(&node, &["send", &address("pension"), "5", "--yes"]);
    node.generate(1, &miner);

    let backup = net.path("backup.json");
    owner.run(&["backup", backup.to_str().unwrap()]);
    let again = Wallet { file: net.path("again.json") };
    again.run(&["restore", "--from", backup.to_str().unwrap()]);
    let listed = again.on(&node, &["policy", "list"]);
    let held: Vec<_> = listed.as_array().unwrap().iter().map(|one| &one["confirmed"]).collect();
    assert_eq!(held.len(), 2, "{listed}");
    assert!(held.contains(&&json!(3 * ASH)) && held.contains(&&json!(5 * ASH)), "{listed}");

    let to = format!("{own}=max");
    let spend = |label: &str| {
        let file = net.path(label).to_str().unwrap().to_owned();
        again.on(&node, &["tx", "create", &to, "--from", label, "--out", &file]);
        again.run(&["tx", "sign", &file, "--yes"]);
        file
    };
    let (vault, pension) = (spend("vault"), spend("pension"));
    let broadcast = |file: &str| again.try_run(&on(&node, &["tx", "broadcast", file]));
    // The coin is of block 1: block 4 may spend it, and block 7 the other.
    for height in 1..=6_u64 {
        assert_eq!(node.height(), height);
        for (file, opens) in [(&vault, 4), (&pension, 7)] {
            if height + 1 < opens {
                let early = broadcast(file);
                assert_eq!(code(&early), 8, "{}", String::from_utf8_lossy(&early.stderr));
            } else if height + 1 == opens {
                let sent = broadcast(file);
                assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
            }
        }
        node.generate(1, &miner);
    }
    let balance = again.balance(&node);
    assert!((8 * ASH - 20_000..8 * ASH).contains(&balance), "{balance}");
    assert_eq!(statuses(&again, &node), ["confirmed", "confirmed"]);
}

/// As a person does it: a terminal, prompts, a typed yes.
#[test]
fn a_person_pays_at_a_terminal_and_sees_it_confirmed() {
    let net = Net::new();
    let node = net.node(&[]);
    let (faucet, payee) = (net.faucet(), net.wallet("payee"));
    let to = payee.address();
    let people = net.path("people");
    let typed = |arguments: &[&str]| {
        let places = [("ASHLAR_WALLETS", people.as_path()), ("ASHLAR_DATADIR", &node.datadir)];
        Terminal::start(&binary("ashlar-wallet"), arguments, &places)
    };
    let mut create = typed(&["-w", "anna", "create", "--light-kdf"]);
    create.answer("new password:", "a horse on a staple");
    create.answer("same password again:", "a horse on a staple");
    // The prompt stands a moment before the terminal stops showing what is typed, and this person
    // is faster than that, so that nothing can be said about the echo.
    let (is_ok, shown) = create.end();
    assert!(is_ok, "{shown}");
    let (_, shown) = typed(&["-w", "anna", "address"]).end();
    let anna = shown.split_whitespace().find(|word| word.starts_with("devash1")).unwrap();
    faucet.on(&node, &["send", anna, "20", "--yes"]);
    node.generate(1, &net.wallet("miner").address());

    let send = ["-w", "anna", "send", to.as_str(), "12.5"];
    let mut refused = typed(&send);
    let seen = refused.answer("Send it? [y/N]", "n");
    assert!(seen.contains("12.5 ASH") && seen.contains(&to) && seen.contains("fee"), "{seen}");
    let (is_ok, rest) = refused.end();
    assert!(!is_ok && rest.contains("not done"), "{rest}");
    assert!(waiting(&node).is_empty());

    let mut paid = typed(&send);
    paid.answer("Send it? [y/N]", "y");
    paid.answer("password:", "a horse on a staple");
    let (is_ok, rest) = paid.end();
    assert!(is_ok && rest.contains("Sent 12.5 ASH"), "{rest}");
    assert_eq!(waiting(&node).len(), 1);
    node.generate(1, &net.wallet("miners").address());
    let (is_ok, rest) = typed(&["-w", "anna", "wait"]).end();
    assert!(is_ok && rest.contains("is confirmed (1 confirmation)"), "{rest}");
    assert_eq!(payee.balance(&node), 1_250_000_000);
}
