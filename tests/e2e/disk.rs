//! A disk without room.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::harness::{Net, binary, dev_genesis, run_command, signal, wait_for};

/// A disk of its own in memory. Dropped, it is unmounted.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this machine does not allow it: only root may mount.
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(path);
        mount.output().is_ok_and(|done| done.status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["-l"]).arg(&self.0).output());
    }
}

#[test]
fn a_start_without_room_is_refused() {
    let net = Net::new();
    let datadir = net.path("node");
    let mut command = run_command(&datadir);
    command.arg("--genesis").arg(dev_genesis()).args(["--min-free", "9000000TiB"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(datadir.to_str().unwrap()) && said.contains("Make room"), "{said}");
    assert!(!datadir.join("ledger").exists(), "nothing was begun");
}

#[test]
fn a_node_whose_disk_fills_stops_cleanly_and_goes_on_when_there_is_room() {
    let net = Net::new();
    let Some(disk) = SmallDisk::mount(&net.path("disk")) else {
        eprintln!("skipped: a small disk can't be mounted here (not root?)");
        return;
    };
    let miner = net.wallet("miner").address();
    let mut node = net.node_in(&disk.0.join("node"), &["--min-free", "32MiB"]);
    node.generate(3, &miner);
    let tip = node.tip();
    assert_eq!(node.warnings(), Vec::<String>::new());

    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; 40 << 20]).unwrap();
    wait_for("the node warns", || (node.warnings().len() == 1).then_some(()));
    fs::write(disk.0.join("more"), vec![1; 12 << 20]).unwrap();
    // Idle or not, it looks every ten seconds.
    let status = node.wait();
    let log = node.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("nearly full") && log.contains("Make room, then start again"), "{log}");
    assert!(!log.contains("storage failed"), "it was too late: {log}");

    fs::remove_file(ballast).unwrap();
    node.start(&[]);
    assert_eq!(node.tip(), tip);
    node.generate(1, &miner);
    node.stop();
}

#[test]
fn a_reindex_and_an_import_keep_the_same_marks() {
    let net = Net::new();
    let mut node = net.node(&[]);
    let miner = net.wallet("miner").address();
    for _ in 0..4 {
        node.generate(500, &miner);
    }
    let tip = node.tip();
    node.stop();
    let command = |arguments: &[&str], datadir: &Path, min_free: &str| {
        let mut command = Command::new(binary("ashlar-node"));
        command.args(arguments).arg("--datadir").arg(datadir).args(["--min-free", min_free]);
        command.arg("--genesis").arg(dev_genesis()).args(["--profile", "small"]);
        command
    };
    let run = |arguments: &[&str], datadir: &Path, min_free: &str| {
        let output = command(arguments, datadir, min_free).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let file = net.path("chain.ashlar");
    let file = file.to_str().unwrap();
    let (is_exported, said) = run(&["export", "--to", file], &node.datadir, "9000000TiB");
    assert!(is_exported, "an export writes elsewhere: {said}");
    for (arguments, datadir) in
        [(&["reindex"][..], node.datadir.clone()), (&["import", file], net.path("fresh"))]
    {
        let (is_done, said) = run(arguments, &datadir, "9000000TiB");
        assert!(!is_done && said.contains("Make room"), "{arguments:?}: {said}");
        assert_eq!(datadir.join("ledger").exists(), arguments[0] == "reindex");
    }
    let (is_done, said) = run(&["check", "--full"], &node.datadir, "1MiB");
    assert!(is_done, "nothing was begun: {said}");

    let Some(disk) = SmallDisk::mount(&net.path("disk")) else {
        eprintln!("skipped: a small disk can't be mounted here (not root?)");
        return;
    };
    let (datadir, ballast) = (disk.0.join("node"), disk.0.join("ballast"));
    let stopped_by_itself = || {
        let mut child = command(&["import", file], &datadir, "32MiB");
        let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(said.any(|line| line.contains("importing blocks")));
        // It looks at most once in a second.
        signal(child.id(), "STOP");
        fs::write(&ballast, vec![1; 52 << 20]).unwrap();
        thread::sleep(Duration::from_millis(1_100));
        signal(child.id(), "CONT");
        let rest: Vec<String> = said.collect();
        (!child.wait().unwrap().success()).then_some(rest)
    };
    // A fast machine may be through before the disk is full.
    let rest = (0..10).find_map(|_| {
        drop((fs::remove_file(&ballast), fs::remove_dir_all(&datadir)));
        stopped_by_itself()
    });
    let rest = rest.unwrap();
    assert!(rest.iter().any(|line| line.contains("nearly full")), "{rest:?}");
    assert!(!rest.iter().any(|line| line.contains("storage failed")), "too late: {rest:?}");

    fs::remove_file(ballast).unwrap();
    let (is_done, said) = run(&["import", file], &datadir, "32MiB");
    assert!(is_done && !said.contains(" 0 were known"), "{said}");
    assert!(said.contains(&tip), "{said}");
}
