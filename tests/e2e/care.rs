//! The commands for a stopped node, and the backup of a running one.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{Net, Node, binaries, dev_genesis, signal, wait_for, wait_for_one_tip};

fn command(arguments: &[&str], datadir: &Path) -> Command {
    let mut command = Command::new(binaries().join("ashlar-node"));
    command.args(arguments).arg("--datadir").arg(datadir).args(["--profile", "small"]);
    command.stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", part(&output.stdout), part(&output.stderr))
}

fn run(arguments: &[&str], datadir: &Path) -> (bool, String) {
    let output = command(arguments, datadir).output().unwrap();
    (output.status.success(), text(&output))
}

fn succeeds(arguments: &[&str], datadir: &Path) -> String {
    let (is_success, said) = run(arguments, datadir);
    assert!(is_success, "{arguments:?}: {said}");
    said
}

fn fails(arguments: &[&str], datadir: &Path) -> String {
    let (is_success, said) = run(arguments, datadir);
    assert!(!is_success, "{arguments:?}: {said}");
    said
}

/// What two nodes on one chain agree on.
fn state(node: &Node) -> (String, Value) {
    (node.tip(), node.call("getblockchaininfo", json!([]))["utxo_commitment"].clone())
}

/// A stopped node with so many blocks, payments among them; its tip and coins.
fn stopped(net: &Net, blocks: u32) -> (Node, (String, Value)) {
    let mut node = net.node(&[]);
    let miner = net.wallet("miner").address();
    node.generate(10, &miner);
    net.faucet().on(&node, &["send", &miner, "5", "--yes"]);
    for done in (10..blocks).step_by(500) {
        node.generate((blocks - done).min(500), &miner);
    }
    let state = state(&node);
    node.stop();
    (node, state)
}

#[test]
fn an_exported_chain_is_imported_into_a_fresh_directory() {
    let net = Net::new();
    let (mut node, state_before) = stopped(&net, 40);
    let said = succeeds(&["check", "--full"], &node.datadir);
    assert!(said.contains("sound") && said.contains("40 replayed"), "{said}");
    succeeds(&["check", "--depth", "5"], &node.datadir);

    let file = net.path("chain.ashlar");
    let to = file.to_str().unwrap();
    succeeds(&["export", "--to", to], &node.datadir);
    let bytes = fs::read(&file).unwrap();
    let said = fails(&["export", "--to", to], &node.datadir);
    assert!(said.contains("--force"), "{said}");
    succeeds(&["export", "--to", to, "--force"], &node.datadir);
    assert_eq!(fs::read(&file).unwrap(), bytes);

    // In use: nothing is done to a node that runs.
    node.start(&[]);
    for arguments in [&["check"][..], &["reindex"], &["import", to], &["backup", "/tmp/no-such"]] {
        let said = fails(arguments, &node.datadir);
        assert!(said.contains("in use by another ashlar-node"), "{arguments:?}: {said}");
    }
    assert_eq!(state(&node), state_before);

    let genesis = dev_genesis();
    let genesis = genesis.to_str().unwrap();
    let fresh = net.path("fresh");
    let said = fails(&["check"], &fresh);
    assert!(said.contains("no ledger") && !fresh.exists(), "{said}");
    // Cut short first: what was whole is in, and the whole file goes on from there.
    let cut = net.path("cut.ashlar");
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let said = fails(&["import", cut.to_str().unwrap(), "--genesis", genesis], &fresh);
    assert!(said.contains("ends early"), "{said}");
    let said = succeeds(&["import", to], &fresh);
    assert!(said.contains("at height 40"), "{said}");
    succeeds(&["check", "--full"], &fresh);
    assert_eq!(state(&net.node_in(&fresh, &[])), state_before);

    // Signatures assumed, everything else judged, the same chain.
    let assumed = net.path("assumed");
    let tip = state_before.0.as_str();
    let arguments = ["import", to, "--genesis", genesis, "--assume-valid"];
    let said = succeeds(&[&arguments[..], &[tip]].concat(), &assumed);
    assert!(said.contains("assumed good"), "{said}");
    succeeds(&["check", "--full"], &assumed);
    let unknown = "11".repeat(32);
    let elsewhere = net.path("elsewhere");
    let said = fails(&[&arguments[..], &[unknown.as_str()]].concat(), &elsewhere);
    assert!(said.contains(&unknown), "{said}");
}

#[test]
fn long_work_killed_or_interrupted_goes_on_and_ends_the_same() {
    let net = Net::new();
    let (mut node, state_before) = stopped(&net, 400);
    let file = net.path("chain.ashlar");
    let to = file.to_str().unwrap();
    succeeds(&["export", "--to", to], &node.datadir);
    let genesis = dev_genesis();
    let fresh = net.path("fresh");
    let import = ["import", to, "--genesis", genesis.to_str().unwrap()];
    let copy = net.path("copy.ashlar");
    let export = ["export", "--force", "--to", copy.to_str().unwrap()];
    let stopped = node.datadir.as_path();
    for (arguments, datadir) in [
        (&["reindex"][..], stopped),
        (&import, &fresh),
        (&export, stopped),
        (&["check", "--full"], stopped),
    ] {
        // Any moment must do; these are spread over the whole run.
        for moment_ms in [5, 30, 60, 90, 120, 160, 200, 300] {
            let mut child = command(arguments, datadir).stderr(Stdio::piped()).spawn().unwrap();
            thread::sleep(Duration::from_millis(moment_ms));
            if moment_ms % 20 == 0 {
                drop(child.kill());
                child.wait().unwrap();
                continue;
            }
            signal(child.id(), "INT");
            let output = child.wait_with_output().unwrap();
            // Ended before, or by its own will, or so early that it had not yet begun to listen.
            let is_clean = output.status.success()
                || output.status.code().is_none()
                || text(&output).contains("interrupted");
            assert!(is_clean, "{}", text(&output));
        }
        succeeds(arguments, datadir);
        let said = succeeds(&["check", "--full"], datadir);
        assert!(said.contains("sound") && said.contains("400 replayed"), "{said}");
        assert_eq!(state(&net.node_in(datadir, &[])), state_before);
    }
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&file).unwrap());
    let left = fs::read_dir(stopped).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name == "check.progress"));
    node.start(&[]);
    assert_eq!(state(&node), state_before);
}

/// Interrupted once it has begun with blocks, a command says that it goes on when called again.
#[test]
fn an_interrupted_check_or_export_takes_up_where_it_was() {
    let net = Net::new();
    let (mut node, _) = stopped(&net, 2_000);
    let datadir = node.datadir.clone();
    let to = net.path("chain.ashlar");
    let export = ["export", "--to", to.to_str().unwrap()];
    let partial = net.path("chain.ashlar.partial");
    let progress = datadir.join("check.progress");
    let begun = |arguments: &[&str], left: &Path| {
        // The stage's first line is said when its first block is done. A fast machine may be
        // through before the signal comes.
        let stage = if arguments[0] == "export" { "exporting blocks" } else { "replaying blocks" };
        for _ in 0..50 {
            drop(fs::remove_file(&to));
            let mut child = command(arguments, &datadir).stderr(Stdio::piped()).spawn().unwrap();
            let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
            assert!(said.any(|line| line.contains(stage)));
            signal(child.id(), "INT");
            let rest: Vec<String> = said.collect();
            if !child.wait().unwrap().success() {
                assert!(rest.iter().any(|line| line.contains("interrupted")), "{rest:?}");
                assert!(left.exists());
                return;
            }
        }
        panic!("{arguments:?} is always through before it is interrupted");
    };
    begun(&export, &partial);
    let said = succeeds(&export, &datadir);
    assert!(said.contains("kept") && !partial.exists(), "{said}");

    begun(&["check", "--full"], &progress);
    let said = succeeds(&["check", "--full"], &datadir);
    assert!(said.contains("going on with the check"), "{said}");
    assert!(said.contains("2000 replayed") && !progress.exists(), "{said}");
    // Another kind of check, or another tip, begins anew and says so.
    begun(&["check", "--full"], &progress);
    let said = succeeds(&["check", "--depth", "3"], &datadir);
    assert!(said.contains("of another depth") && !progress.exists(), "{said}");
    begun(&["check", "--full"], &progress);
    node.start(&[]);
    node.generate(1, &net.wallet("miner2").address());
    node.stop();
    let said = succeeds(&["check", "--full"], &datadir);
    assert!(said.contains("was written to since") && said.contains("2001 replayed"), "{said}");
    // Damage of the progress itself is no damage of the chain.
    fs::write(&progress, b"nothing of the kind").unwrap();
    let said = succeeds(&["check", "--full"], &datadir);
    assert!(said.contains("begins anew") && said.contains("2001 replayed"), "{said}");
}

#[test]
fn a_backup_made_while_blocks_come_is_a_data_directory() {
    let net = Net::new();
    let node = net.node(&[]);
    let miner = net.wallet("miner").address();
    node.generate(20, &miner);
    let refused =
        |directory: &str| node.try_call("backup", json!([directory])).unwrap_err().to_string();
    assert!(refused("relative/path").contains("absolute"));
    assert!(refused(node.datadir.to_str().unwrap()).contains("exists"));
    assert!(refused("/nowhere-at-all/copy").contains("nowhere-at-all"));

    let copies: Vec<_> = thread::scope(|scope| {
        let mining = scope.spawn(|| node.generate(150, &miner));
        let copies = (0..5)
            .map(|number| {
                let height = node.height();
                wait_for("more blocks came", || {
                    (mining.is_finished() || node.height() > height).then_some(())
                });
                let to = net.path(&format!("copy{number}"));
                let tip = node.call("backup", json!([to.to_str().unwrap()]));
                (to, tip)
            })
            .collect();
        mining.join().unwrap();
        copies
    });
    for (copy, told) in &copies {
        // Its own genesis file is in it.
        let said = succeeds(&["check", "--full"], copy);
        assert!(said.contains("sound"), "{said}");
        assert!(!copy.join("node.key").exists() && !copy.join(".cookie").exists());
        let restored = net.node_in(copy, &[]);
        let height = told["tip_height"].as_u64().unwrap();
        assert!(restored.height() >= height);
        assert_eq!(restored.call("getblockhash", json!([height])), told["tip"]);
    }
    let before = state(&node);
    drop(node);
    // Of a stopped node, by command; and a rotten bit in any of its tables.
    let stopped = &copies[0].0;
    let second = net.path("second");
    succeeds(&["backup", second.to_str().unwrap()], stopped);
    assert!(fails(&["backup", second.to_str().unwrap()], stopped).contains("exists already"));
    assert_ne!(before.0, "");
    let tables: Vec<_> = fs::read_dir(second.join("ledger"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "sst"))
        .collect();
    assert!(tables.len() >= 7, "{tables:?}");
    // A peer that has everything.
    let whole = net.node_in(&copies[1].0, &[]);
    let (mut mended, mut beyond, mut torn) = (0, 0, 0);
    for table in &tables {
        let sound = fs::read(table).unwrap();
        let mut rotten = sound.clone();
        rotten[20] ^= 4;
        let damaged = net.path("damaged");
        succeeds(&["backup", damaged.to_str().unwrap()], &second);
        // Linked files are the other directory's, too.
        let place = damaged.join("ledger").join(table.file_name().unwrap());
        fs::remove_file(&place).unwrap();
        fs::write(&place, rotten).unwrap();
        let said = fails(&["check", "--full"], &damaged);
        assert!(said.contains("reindex") || said.contains("restore a backup"), "{said}");
        let (is_mended, said) = run(&["reindex"], &damaged);
        if is_mended {
            succeeds(&["check", "--full"], &damaged);
            mended += 1;
        } else {
            // What names the chain itself.
            assert!(said.contains("sync again"), "{said}");
            beyond += 1;
        }
        if said.contains("copied out of a table") {
            torn += 1;
            assert!(said.contains("dropped") && said.contains("at height"), "{said}");
            // The node fetches what was lost.
            let address = whole.address();
            let node = net.node_in(&damaged, &["--peer", &address]);
            wait_for_one_tip(&[&node, &whole]);
        }
        fs::remove_dir_all(&damaged).unwrap();
    }
    assert!(mended >= 7 && beyond <= 2 && torn >= 1, "{mended}, {beyond}, {torn}");
}
