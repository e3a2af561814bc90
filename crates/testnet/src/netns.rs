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
    fs,
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
/// Longest note on an interface (IFALIASZ of linux/if.h, with its end).
const MAX_ALIAS_BYTES: usize = 255;

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
    /// Another testnet has the addresses that follow from this one's folder.
    #[error(
        "198.18.{net}.0/24 is what the testnet in {folder} has, by the bridge {bridge}: end it, or \
         choose another folder for this one"
    )]
    Taken {
        /// The third byte of the addresses.
        net: u8,
        /// Whose they are.
        folder: String,
        /// Their bridge.
        bridge: String,
    },
    /// More nodes than addresses.
    #[error("node {number} has no address: with --netns nodes are 1 to {}", FACE - 3)]
    Number {
        /// The node.
        number: NodeNumber,
    },
}

/// The namespaces of one testnet. What is in the way of names and addresses is found out by asking
/// the system, never remembered: so what a killed keeper left is found as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespaces {
    /// Noted on the bridge, to know it again.
    owner: String,
    /// What tells this testnet's names and addresses from another's.
    net: u8,
}

impl Namespaces {
    /// Those of the testnet in a folder.
    pub(crate) fn of(folder: &Path) -> Self {
        let hash = Sha256::digest(folder.as_os_str().as_encoded_bytes());
        let mut owner = folder.to_string_lossy().into_owned();
        while owner.len() > MAX_ALIAS_BYTES {
            // Of a long path the end tells more.
            owner.remove(0);
        }
        Self { owner, net: hash[0] }
    }

    fn bridge(&self) -> String {
        format!("ashlar{}", self.net)
    }

    /// The name of a node's namespace, for `ip netns exec`.
    pub(crate) fn name(&self, number: NodeNumber) -> String {
        format!("ashlar{}-{number}", self.net)
    }

    /// The end of a node's line outside of its namespace.
    fn line(&self, number: NodeNumber) -> String {
        format!("ash{}-{number}", self.net)
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
        self.make_bridge()?;
        if ip(&["-n", &self.name(number), "link", "show", "lo", "up"])
            .is_ok_and(|up| !up.is_empty())
        {
            return Ok(());
        }
        // What was begun and not ended is begun anew.
        self.remove(number);
        self.make_new(number).inspect_err(|_| self.remove(number))
    }

    /// The bridge, which must be this testnet's where it is there.
    fn make_bridge(&self) -> Result<(), NetnsError> {
        let bridge = self.bridge();
        match self.bridge_owner() {
            Some(owner) if owner == self.owner => return Ok(()),
            // Begun and not ended.
            Some(owner) if owner.is_empty() => drop(ip(&["link", "del", &bridge])),
            Some(folder) => return Err(NetnsError::Taken { net: self.net, folder, bridge }),
            None => {}
        }
        // With a hardware address given to it. Otherwise it takes the lowest of its lines', another
        // one when a node comes or goes, and what is under way to the one before is lost.
        let hardware = format!("02:00:c6:12:{:02x}:{BRIDGE:02x}", self.net);
        ip(&["link", "add", &bridge, "address", &hardware, "type", "bridge"])?;
        let address = format!("{}/24", self.address(BRIDGE));
        ip(&["addr", "add", &address, "dev", &bridge])?;
        // The last: by it the bridge is known to be whole, and whose it is.
        ip(&["link", "set", &bridge, "up", "alias", &self.owner]).map(drop)
    }

    /// The note on the bridge, where there is one.
    fn bridge_owner(&self) -> Option<String> {
        let note = fs::read_to_string(format!("/sys/class/net/{}/ifalias", self.bridge())).ok()?;
        Some(note.trim_end_matches('\n').to_owned())
    }

    fn make_new(&self, number: NodeNumber) -> Result<(), NetnsError> {
        let (bridge, name) = (self.bridge(), self.name(number));
        let (own, face) = (self.own(number)?, self.face(number)?);
        let outside = self.line(number);
        ip(&["netns", "add", &name])?;
        ip(&["link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        ip(&["link", "set", &outside, "master", &bridge, "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{own}/24"), "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        ip(&["addr", "add", &format!("{face}/32"), "dev", &bridge])?;
        // The last: by it a namespace is known to be whole.
        ip(&["-n", &name, "link", "set", "lo", "up"]).map(drop)
    }

    /// Takes a node's namespace away, and its ends of the lines with it.
    pub(crate) fn remove(&self, number: NodeNumber) {
        // What is not there need not go. The line first: with its namespace it would go too, but when
        // the kernel likes.
        drop(ip(&["link", "del", &self.line(number)]));
        drop(ip(&["netns", "del", &self.name(number)]));
        if let Ok(face) = self.face(number) {
            drop(ip(&["addr", "del", &format!("{face}/32"), "dev", &self.bridge()]));
        }
    }

    /// Takes all of this testnet's namespaces away, and the bridge. Another testnet's stay.
    pub(crate) fn remove_all(&self) {
        if self.bridge_owner().is_some_and(|owner| owner == self.owner || owner.is_empty()) {
            let names = ip(&["netns", "list"]).unwrap_or_default();
            let prefix = format!("{}-", self.bridge());
            let number = |line: &str| line.strip_prefix(&prefix)?.split(' ').next()?.parse().ok();
            names.lines().filter_map(number).for_each(|number| self.remove(number));
            drop(ip(&["link", "del", &self.bridge()]));
        }
    }

    /// A program inside a node's namespace: `ip` becomes it.
    pub(crate) fn command(&self, number: NodeNumber, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(number)]).arg(program);
        command
    }
}

/// Asks `ip`; what it said.
fn ip(arguments: &[&str]) -> Result<String, NetnsError> {
    let failed = |words: String| NetnsError::Ip { arguments: arguments.join(" "), words };
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(format!("{error}; is iproute2 installed?")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
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
