//! A disk without room.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{Net, dev_genesis, run_command, wait_for};

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
