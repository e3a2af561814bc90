//! The same network file on several machines: a folder for each node with all that it needs there.
//!
//! The keeper stays at home, and with it what is its own: blocks by the clock, bad lines, the
//! faucet's door. So the chain must have real proof of work, and nodes mine by themselves.

use std::{
    fmt::Write as _,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::Serialize;
use thiserror::Error;

use crate::{
    error::TestnetError,
    file::{NetworkFile, NodeNumber, NodeTable, Setting},
    layout::write,
    mining::{Mode, Share},
    presets::Chain,
    wallets::{KnownWallet, MINER},
};

/// Peers' port where a node names none.
const DEFAULT_PORT: u16 = 9_333;
/// RPC port where a node names none.
const DEFAULT_RPC_PORT: u16 = 9_332;
/// A node as a service, as `docs/operations.md` has it.
const SERVICE: &str = include_str!("../../../scripts/deploy/ashlar-node.service");

/// A network file that is not for several machines.
#[derive(Debug, Error)]
pub enum RenderError {
    /// A node has no machine.
    #[error("node {number} has no host; give it one: [[node]] number = {number}, host = \"…\"")]
    NoHost {
        /// The node.
        number: NodeNumber,
    },
    /// A machine's name is none.
    #[error("node {number}: {host:?} is neither an IP address nor a host name")]
    Host {
        /// The node.
        number: NodeNumber,
        /// Its machine.
        host: String,
    },
    /// Two nodes have one port of one machine.
    #[error("nodes {one} and {other} both have {address}; give one of them another port")]
    SamePort {
        /// One node.
        one: NodeNumber,
        /// The other.
        other: NodeNumber,
        /// What both have.
        address: String,
    },
    /// Blocks come from a keeper.
    #[error(
        "on several machines nodes mine by themselves, with real proof of work: \
         [genesis] preset = \"work\" and [mining] mode = \"hashrate\""
    )]
    NeedsKeeper,
    /// A line's faults are the keeper's.
    #[error("the lines between machines are what they are: leave latency, loss and the like out")]
    Shape,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rendered {
    /// The chain's genesis file, the same for all.
    pub genesis: PathBuf,
    /// A folder for each node.
    pub nodes: Vec<RenderedNode>,
}

/// A node's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenderedNode {
    /// Its number.
    pub node: NodeNumber,
    /// Its machine.
    pub host: String,
    /// What belongs there.
    pub folder: PathBuf,
}

/// Writes a folder for each node of a network file into `out`.
///
/// # Errors
/// Where the file is not for several machines, or the disk refuses.
pub fn render(path: &Path, out: &Path) -> Result<Rendered, TestnetError> {
    let file = NetworkFile::read(path)?;
    let chain = Chain::make(&file, path.parent().unwrap_or(Path::new("")))?;
    if chain.is_trivial() || file.mining.mode != Mode::Hashrate {
        return Err(RenderError::NeedsKeeper.into());
    }
    if file.links().iter().any(|(from, to)| file.shape(*from, *to) != Default::default()) {
        return Err(RenderError::Shape.into());
    }
    let places = places(&file)?;
    fs::create_dir_all(out).map_err(TestnetError::disk(out))?;
    let genesis = out.join("genesis.json");
    write(&genesis, chain.text.as_bytes())?;
    let mut nodes = Vec::new();
    for place in &places {
        let folder = out.join(format!("node{}", place.number));
        fs::create_dir_all(&folder).map_err(TestnetError::disk(&folder))?;
        write(&folder.join("genesis.json"), chain.text.as_bytes())?;
        let configuration = configuration(&file, &chain, place, &places);
        write(&folder.join("ashlar.toml"), configuration.as_bytes())?;
        write(&folder.join("ashlar-node.service"), SERVICE.as_bytes())?;
        write(&folder.join("compose.yml"), compose(place).as_bytes())?;
        nodes.push(RenderedNode { node: place.number, host: place.host.clone(), folder });
    }
    Ok(Rendered { genesis, nodes })
}

/// Where a node is reached.
#[derive(Debug)]
struct Place {
    number: NodeNumber,
    host: String,
    port: u16,
    rpc_port: u16,
}

impl Place {
    /// As peers dial it.
    fn multiaddress(&self) -> String {
        let kind = match self.host.parse() {
            Ok(IpAddr::V4(_)) => "ip4",
            Ok(IpAddr::V6(_)) => "ip6",
            Err(_) => "dns",
        };
        format!("/{kind}/{}/tcp/{}", self.host, self.port)
    }
}

fn places(file: &NetworkFile) -> Result<Vec<Place>, RenderError> {
    let mut places: Vec<Place> = Vec::new();
    for number in 1..=file.count() {
        let table = file.node.iter().find(|node| node.number == number);
        let Some(NodeTable { host: Some(host), port, rpc_port, .. }) = table else {
            return Err(RenderError::NoHost { number });
        };
        let is_name = host.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
        if host.parse::<IpAddr>().is_err() && !is_name {
            return Err(RenderError::Host { number, host: host.clone() });
        }
        let place = Place {
            number,
            host: host.clone(),
            port: port.unwrap_or(DEFAULT_PORT),
            rpc_port: rpc_port.unwrap_or(DEFAULT_RPC_PORT),
        };
        let ports = |place: &Place| [place.port, place.rpc_port];
        let same = |other: &&Place| {
            other.host == place.host && ports(other).iter().any(|port| ports(&place).contains(port))
        };
        if let Some(other) = places.iter().find(same) {
            let address = format!("{}:{} or :{}", place.host, place.port, place.rpc_port);
            return Err(RenderError::SamePort { one: other.number, other: number, address });
        }
        places.push(place);
    }
    Ok(places)
}

fn configuration(file: &NetworkFile, chain: &Chain, place: &Place, places: &[Place]) -> String {
    let number = place.number;
    let links = file.links();
    let dialled = places.iter().filter(|other| links.contains(&(number, other.number)));
    let family = if place.host.contains(':') { "/ip6/::" } else { "/ip4/0.0.0.0" };
    let mut settings = file.settings(number);
    let own = [
        ("listen", Setting::Texts(vec![format!("{family}/tcp/{}", place.port)])),
        ("external_addresses", Setting::Texts(vec![place.multiaddress()])),
        ("peers", Setting::Texts(dialled.map(Place::multiaddress).collect())),
        ("rpc_listen", Setting::Text(format!("127.0.0.1:{}", place.rpc_port))),
        ("profile", Setting::Text(file.profile.name().to_owned())),
    ];
    settings.extend(own.map(|(key, value)| (key.to_owned(), value)));
    let mines = |share: &Share| share.node == number;
    if file.mining.miners.iter().any(mines) || (file.mining.miners.is_empty() && number == 1) {
        let miner = KnownWallet::of(MINER, &chain.params.address_prefix);
        settings.insert("mine".to_owned(), Setting::Text(miner.address));
    }
    let mut text = format!("# Node {number} of the network, on {}.\n", place.host);
    for (key, value) in &settings {
        let value = serde_json::to_string(value).unwrap_or_default();
        writeln!(text, "{key} = {value}").expect("a string takes everything");
    }
    text
}

/// The node in a container: beside it lie its configuration and its chain.
fn compose(place: &Place) -> String {
    let Place { number, port, .. } = place;
    format!(
        "# Node {number}: docker compose up -d, in this folder. The image is made by\n\
         # docker build -t ashlar -f scripts/deploy/Dockerfile . in the repository.\n\
         name: ashlar-node{number}\n\
         services:\n\
         \x20 node:\n\
         \x20   image: ashlar\n\
         \x20   command: [\"run\", \"--config\", \"/etc/ashlar/ashlar.toml\", \"--genesis\", \"/etc/ashlar/genesis.json\"]\n\
         \x20   environment:\n\
         \x20     ASHLAR_LOG_FORMAT: json\n\
         \x20   volumes:\n\
         \x20     - data:/var/lib/ashlar\n\
         \x20     - ./ashlar.toml:/etc/ashlar/ashlar.toml:ro\n\
         \x20     - ./genesis.json:/etc/ashlar/genesis.json:ro\n\
         \x20   ports:\n\
         \x20     - \"{port}:{port}\"\n\
         \x20   healthcheck:\n\
         \x20     test: [\"CMD\", \"ashlar-node\", \"health\"]\n\
         \x20   restart: unless-stopped\n\
         \x20   stop_grace_period: 30s\n\
         \x20   security_opt: [\"no-new-privileges:true\"]\n\
         \x20   cap_drop: [ALL]\n\
         volumes:\n\
         \x20 data:\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &str = "\
        nodes = 3\ntopology = \"ring\"\n\
        [genesis]\npreset = \"work\"\ntime = 1800000000\n\
        [mining]\nmode = \"hashrate\"\nminers = [{ node = 2, share = 1 }]\n\
        [[node]]\nnumber = 1\nhost = \"192.0.2.1\"\nsettings = { prune = \"1GB\" }\n\
        [[node]]\nnumber = 2\nhost = \"2001:db8::2\"\n\
        [[node]]\nnumber = 3\nhost = \"three.example.org\"\nport = 9400\n";

    fn try_render(text: &str) -> (tempfile::TempDir, Result<Rendered, TestnetError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.toml");
        fs::write(&path, text).unwrap();
        let rendered = render(&path, &folder.path().join("out"));
        (folder, rendered)
    }

    #[test]
    fn every_node_gets_what_it_needs_on_its_machine() {
        let (folder, rendered) = try_render(THREE);
        let rendered = rendered.unwrap();
        assert_eq!(rendered.nodes.len(), 3);
        let read = |name: &str| fs::read_to_string(folder.path().join("out").join(name)).unwrap();
        let configuration = read("node3/ashlar.toml");
        for line in [
            "peers = [\"/ip4/192.0.2.1/tcp/9333\",\"/ip6/2001:db8::2/tcp/9333\"]",
            "listen = [\"/ip4/0.0.0.0/tcp/9400\"]",
            "external_addresses = [\"/dns/three.example.org/tcp/9400\"]",
        ] {
            assert!(configuration.lines().any(|found| found == line), "{line}\n{configuration}");
        }
        assert!(read("node1/ashlar.toml").contains("prune = \"1GB\""));
        assert!(read("node2/ashlar.toml").contains("mine = \"test1"));
        assert!(!configuration.contains("mine ="));
        assert!(read("node2/ashlar.toml").contains("/ip6/::/tcp/9333"));
        assert_eq!(read("node1/genesis.json"), read("genesis.json"));
        assert!(read("node3/compose.yml").contains("\"9400:9400\""));
        assert!(read("node3/ashlar-node.service").contains("ExecStart="));
    }

    #[test]
    fn what_needs_a_keeper_or_a_machine_is_refused() {
        for (from, to, wanted) in [
            ("host = \"192.0.2.1\"", "", "no host"),
            ("192.0.2.1", "not a host", "neither"),
            ("192.0.2.1", "2001:db8::2", "another port"),
            ("preset = \"work\"", "", "real proof of work"),
            ("mode = \"hashrate\"", "", "real proof of work"),
            (
                "[[node]]\nnumber = 1",
                "[[link]]\nbetween = [1, 2]\nloss = \"5%\"\n[[node]]\nnumber = 1",
                "what they are",
            ),
        ] {
            let (_folder, rendered) = try_render(&THREE.replacen(from, to, 1));
            let error = rendered.unwrap_err().to_string();
            assert!(error.contains(wanted), "{from}: {error}");
        }
    }
}
