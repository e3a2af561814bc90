//! A net on several machines, as `docs/operations.md` has it: its network file, what `render` makes
//! of it, and the very command lines of the service and of the container. A machine is a network
//! namespace with a disk of its own; without root nothing is tried.

#![allow(clippy::unwrap_used, reason = "a step that fails is the test's failure")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use ashlar_processes::binary;
use ashlar_testnet::wallets::{FAUCET, KnownWallet, PASSWORD};
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/operations.md");
const DOCKERFILE: &str = include_str!("../../../scripts/deploy/Dockerfile");
/// Whom services and containers run as: nobody that this machine knows.
const USER: &str = "9333";
/// What a machine has before a program runs on it. `$1` is its disk; no path below exists on the
/// machine that runs the test, nor is one made there.
const DISK: &str = "\
    for place in /etc /var/lib /usr/local/bin; do mount -t tmpfs tmpfs $place; done
    mkdir /var/lib/ashlar && mount --bind \"$1/var\" /var/lib/ashlar
    mkdir /etc/ashlar && mount --bind \"$1/etc\" /etc/ashlar
    mount --bind \"$1/bin\" /usr/local/bin
    cp \"$1/hosts\" /etc/hosts
    shift
    exec \"$@\"";

fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    ashlar_processes::wait_for(look).unwrap_or_else(|| panic!("waited too long until {what}"))
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn give_to_user(path: &Path) {
    let id = USER.parse().unwrap();
    chown(path, Some(id), Some(id)).unwrap();
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| error.to_string())?;
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or_else(said)
}

/// Machines on one switch, and nothing of it in the network of the machine that runs the test.
/// Dropped, all is gone.
struct Site {
    /// Namespaces begin with it.
    prefix: String,
    folder: tempfile::TempDir,
    machines: Vec<Machine>,
}

struct Machine {
    space: String,
    disk: PathBuf,
    node: Option<Child>,
}

impl Site {
    /// Machines with these addresses; the system's word where it has none for us.
    fn new(addresses: &[&str]) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("ashlar-hosts-").tempdir().unwrap();
        let mut site =
            Self { prefix: format!("ashhost{}", std::process::id()), folder, machines: vec![] };
        let switch = format!("{}-switch", site.prefix);
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        for (at, address) in (1..).zip(addresses) {
            let (space, port) = (format!("{}-{at}", site.prefix), format!("port{at}"));
            let disk = site.folder.path().join(at.to_string());
            for place in ["var", "etc", "bin"] {
                fs::create_dir_all(disk.join(place)).unwrap();
            }
            for program in ["ashlar-node", "ashlar-wallet"] {
                fs::copy(binary(program).unwrap(), disk.join("bin").join(program)).unwrap();
            }
            give_to_user(&disk.join("var"));
            site.machines.push(Machine { space: space.clone(), disk, node: None });
            ip(&["netns", "add", &space])?;
            let pair = ["type", "veth", "peer", "name", "eth0", "netns", &space];
            ip(&[&["-n", &switch, "link", "add", &port][..], &pair].concat())?;
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", &space, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
            ip(&["-n", &space, "link", "set", "eth0", "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
        }
        Ok(site)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for node in self.machines.iter_mut().filter_map(|machine| machine.node.as_mut()) {
            drop(node.kill().and_then(|()| node.wait()));
        }
        let spaces = self.machines.iter().map(|machine| machine.space.clone());
        for space in spaces.chain([format!("{}-switch", self.prefix)]) {
            drop(ip(&["netns", "del", &space]));
        }
    }
}

impl Machine {
    /// A command line on this machine. Each program it becomes keeps the process.
    fn command<'a>(&self, line: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space, "unshare", "--mount", "sh", "-ec", DISK, "sh"]);
        command.arg(&self.disk).args(line).stdin(Stdio::null());
        command
    }

    /// The same as the user who runs services.
    fn as_user<'a>(&self, line: impl IntoIterator<Item = &'a str>) -> Command {
        let become_user = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"];
        self.command(become_user.into_iter().chain(line))
    }

    /// Puts a file where a service has it, or a container; its owner alone reads it.
    fn install(&self, from: &Path, place: &str) {
        let to = self.disk.join(place).join(from.file_name().unwrap());
        fs::copy(from, &to).unwrap();
        give_to_user(&to);
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn run(&mut self, mut node: Command) {
        let log = fs::File::create(self.disk.join("log")).unwrap();
        node.stdout(log.try_clone().unwrap()).stderr(log);
        self.node = Some(node.spawn().unwrap());
    }

    /// A call of its node; `None` while it does not answer.
    fn rpc(&self, call: &[&str]) -> Option<Value> {
        let node = ["ashlar-node", "rpc", "--datadir", "/var/lib/ashlar"];
        let output = self.command(node.iter().chain(call).copied()).output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.disk.join("log")).unwrap_or_default()
    }
}

/// The network file that the page shows.
fn network_file() -> &'static str {
    let (_, rest) = PAGE.split_once("```toml\n# village.toml\n").unwrap();
    rest.split_once("```").unwrap().0
}

/// A command line of a unit.
fn of_unit<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap().split(' ').collect()
}

/// What the container's environment adds, and its program with the arguments that a composition
/// gives it.
fn of_composition(composition: &str) -> Vec<String> {
    let value = |text: &str, key: &str| -> Vec<String> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
        serde_json::from_str(line.unwrap().trim()).unwrap()
    };
    let environment = DOCKERFILE.lines().find_map(|line| line.strip_prefix("ENV ")).unwrap();
    let mut line = vec!["env".to_owned()];
    line.extend(environment.split(' ').map(str::to_owned));
    line.extend(value(DOCKERFILE, "ENTRYPOINT"));
    line.extend(value(composition, "command:"));
    line
}

#[test]
fn one_network_file_is_a_net_of_three_machines_and_a_payment_crosses_it() {
    let addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    let mut site = match Site::new(&addresses) {
        Ok(site) => site,
        Err(error) => {
            eprintln!("skipped: no namespaces here (not root?): {error}");
            return;
        }
    };
    let file = site.folder.path().join("village.toml");
    fs::write(&file, network_file()).unwrap();
    let village = site.folder.path().join("village");
    let mut render = Command::new(binary("ashlar-testnet").unwrap());
    succeeded(&render.arg("render").arg(&file).arg("--out").arg(&village).output().unwrap());

    // Two services and a container, the last of which the others know by name alone. Who is dialled
    // starts last.
    for (at, machine) in site.machines.iter_mut().enumerate().rev() {
        fs::write(machine.disk.join("hosts"), "127.0.0.1 localhost\n192.0.2.3 three.example.org\n")
            .unwrap();
        let folder = village.join(format!("node{}", at + 1));
        let place = if at == 2 { "etc" } else { "var" };
        for name in ["genesis.json", "ashlar.toml"] {
            machine.install(&folder.join(name), place);
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let node = if at == 2 {
            let line = of_composition(&read("compose.yml"));
            machine.as_user(line.iter().map(String::as_str))
        } else {
            let unit = read("ashlar-node.service");
            let mut check = machine.as_user(of_unit(&unit, "ExecStartPre"));
            succeeded(&check.output().unwrap());
            machine.as_user(of_unit(&unit, "ExecStart"))
        };
        machine.run(node);
    }
    for (at, machine) in site.machines.iter().enumerate() {
        let found = ashlar_processes::wait_for(|| {
            let network = machine.rpc(&["getnetworkinfo"])?;
            (network["connections"].as_u64()? >= 2).then_some(())
        });
        assert!(found.is_some(), "machine {} has not its peers: {}", at + 1, machine.log());
        succeeded(
            &machine
                .as_user(["ashlar-node", "health", "--datadir", "/var/lib/ashlar"])
                .output()
                .unwrap(),
        );
        let status = ["ashlar-node", "status", "--datadir", "/var/lib/ashlar"];
        let status = succeeded(&machine.command(status).output().unwrap());
        assert!(status.contains("peers"), "{status}");
    }

    // Paid on the third machine, confirmed by the first, which mines, and seen on the second.
    let [_, second, third] = &site.machines[..] else { panic!("three machines") };
    let (faucet, alice) = (KnownWallet::of(FAUCET, "test"), KnownWallet::of("alice", "test"));
    let wallet = |arguments: &[&str]| {
        let program = ["ashlar-wallet", "--wallet", "/etc/ashlar/faucet.wallet"];
        let mut command = third.command(program.iter().chain(arguments).copied());
        command.env("ASHLAR_WALLET_PASSWORD", PASSWORD);
        succeeded(&command.env("ASHLAR_WALLET_MNEMONIC", &faucet.words).output().unwrap())
    };
    wallet(&["restore", "--light-kdf", "--genesis", "/etc/ashlar/genesis.json"]);
    wallet(&["--datadir", "/var/lib/ashlar", "send", &alice.address, "7", "--yes"]);
    let addresses = format!("[\"{}\"]", alice.address);
    wait_for("alice is paid in a block of the second machine", || {
        let balance = second.rpc(&["getaddressbalance", &addresses])?;
        (balance["balance"].as_u64()? == 700_000_000).then_some(())
    });
}
