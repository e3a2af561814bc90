//! With root: a network namespace and an address of its own for each node.
//!
//! ```text
//! node 1 ── 198.18.X.1 ═╗                      ╔═ 198.18.X.2 ── node 2
//!                       ╠═ bridge 198.18.X.254 ╣
//!        the relay takes calls for node N on, and calls as node N from, 198.18.X.(128 + N)
//! ```
//!
//! X follows from the testnet's folder, so that several are side by side; 198.18.0.0/15 is set aside
//! for such ends (RFC 2544) and is nobody's in the world. Nodes reach each other through the relay as
//! ever, so every fault works as ever; what is more, a node has interfaces, an address and a routing
//! table of its own, for `ip`, `tc` and `tcpdump` (`ip netns exec NAME …`).

use std::{
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::file::NodeNumber;

/// The last byte of the bridge's address.
const BRIDGE: u8 = 254;
/// What is added to a node's number for the address by which others see it.
const FACE: u8 = 128;

/// Why there are no namespaces.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// `ip` is not there, or refused.
    #[error("`ip {arguments}`: {words}")]
    Ip {
        /// What it was asked.
        arguments: String,
        /// What it said.
        words: String,
    },
    /// More nodes than addresses.
    #[error("node {number} has no address: with --netns nodes are 1 to {}", FACE - 3)]
    Number {
        /// The node.
        number: NodeNumber,
    },
}

/// The namespaces of one testnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespaces {
    /// What tells this testnet's names and addresses from another's.
    net: u8,
}

impl Namespaces {
    /// Those of the testnet in a folder.
    pub(crate) fn of(folder: &Path) -> Self {
        let hash = Sha256::digest(folder.as_os_str().as_encoded_bytes());
        Self { net: hash[0] }
    }

    fn bridge(&self) -> String {
        format!("ashlar{}", self.net)
    }

    /// The name of a node's namespace, for `ip netns exec`.
    pub(crate) fn name(&self, number: NodeNumber) -> String {
        format!("ashlar{}-{number}", self.net)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.net, last)
    }

    fn number(number: NodeNumber) -> Result<u8, NetnsError> {
        let small = u8::try_from(number).ok().filter(|small| (1..FACE - 2).contains(small));
        small.ok_or(NetnsError::Number { number })
    }

    /// The node's own address.
    pub(crate) fn own(&self, number: NodeNumber) -> Result<Ipv4Addr, NetnsError> {
        Ok(self.address(Self::number(number)?))
    }

    /// The address by which others see the node.
    pub(crate) fn face(&self, number: NodeNumber) -> Result<Ipv4Addr, NetnsError> {
        Ok(self.address(FACE + Self::number(number)?))
    }

    /// Makes a node's namespace and what leads to it, where they are not there.
    pub(crate) fn make(&self, number: NodeNumber) -> Result<(), NetnsError> {
        let (bridge, name) = (self.bridge(), self.name(number));
        let (own, face) = (self.own(number)?, self.face(number)?);
        if ip(&["link", "show", &bridge]).is_err() {
            ip(&["link", "add", &bridge, "type", "bridge"])?;
            let address = format!("{}/24", self.address(BRIDGE));
            ip(&["addr", "add", &address, "dev", &bridge])?;
            ip(&["link", "set", &bridge, "up"])?;
        }
        if ip(&["-n", &name, "link", "show", "eth0"]).is_ok() {
            return Ok(());
        }
        let outside = format!("ash{}-{number}", self.net);
        ip(&["netns", "add", &name])?;
        ip(&["link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        ip(&["link", "set", &outside, "master", &bridge, "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{own}/24"), "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&["addr", "add", &format!("{face}/32"), "dev", &bridge])
    }

    /// Takes a node's namespace away.
    pub(crate) fn remove(&self, number: NodeNumber) {
        // What is not there need not go.
        drop(ip(&["netns", "del", &self.name(number)]));
        if let Ok(face) = self.face(number) {
            drop(ip(&["addr", "del", &format!("{face}/32"), "dev", &self.bridge()]));
        }
    }

    /// Takes the bridge away, once no namespace is left.
    pub(crate) fn remove_bridge(&self) {
        drop(ip(&["link", "del", &self.bridge()]));
    }

    /// A program inside a node's namespace: `ip` becomes it.
    pub(crate) fn command(&self, number: NodeNumber, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(number)]).arg(program);
        command
    }
}

fn ip(arguments: &[&str]) -> Result<(), NetnsError> {
    let failed = |words: String| NetnsError::Ip { arguments: arguments.join(" "), words };
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(format!("{error}; is iproute2 installed?")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_two_addresses_of_its_own() {
        let net = Namespaces::of(Path::new("/somewhere/.testnet"));
        let mut seen = std::collections::BTreeSet::from([net.address(BRIDGE)]);
        for number in 1..=crate::file::MAX_NODES {
            assert!(seen.insert(net.own(number).unwrap()), "{number}");
            assert!(seen.insert(net.face(number).unwrap()), "{number}");
            assert!(net.name(number).len() < 16 && net.bridge().len() < 16);
        }
        assert!(net.own(0).is_err() && net.own(126).is_err());
        assert_ne!(net, Namespaces::of(Path::new("/somewhere/.testnet-b")));
    }
}
