//! The lines between nodes. Nodes dial the keeper's relay, and it dials the other end: no two nodes
//! know each other's ports.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ashlar_processes::relay::{Direction, Link, Relay, Target};

use crate::{error::TestnetError, file::NodeNumber, layout::LinkRecord};

/// A link by its ends: who dials, and who is reached.
pub(crate) type Ends = (NodeNumber, NodeNumber);

/// All lines of a testnet. Dropped, they end.
#[derive(Debug)]
pub(crate) struct Links {
    relay: Relay,
    lines: Mutex<BTreeMap<Ends, Link>>,
    /// Where nodes take peers: for links that come later.
    targets: Mutex<BTreeMap<NodeNumber, Target>>,
}

impl Links {
    /// None yet.
    pub(crate) fn new() -> Result<Self, TestnetError> {
        let relay = Relay::start().map_err(TestnetError::disk("the relay's thread"))?;
        Ok(Self { relay, lines: Mutex::default(), targets: Mutex::default() })
    }

    /// The lines, to shape and to cut.
    pub(crate) fn lines(&self) -> MutexGuard<'_, BTreeMap<Ends, Link>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn targets(&self) -> MutexGuard<'_, BTreeMap<NodeNumber, Target>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes calls for a link from now on; its port, which is the one it had where that is free.
    pub(crate) fn open(&self, record: &LinkRecord) -> Result<u16, TestnetError> {
        let target = self.targets().get(&record.to).copied().unwrap_or(Target::Nowhere);
        let seed = u64::from(record.from) << 16 | u64::from(record.to);
        let listen = |port: u16| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            self.relay.link(address, target, seed)
        };
        let link = match listen(record.port) {
            Err(_) if record.port != 0 => listen(0),
            linked => linked,
        };
        let link = link.map_err(TestnetError::disk("a port of 127.0.0.1"))?;
        for direction in Direction::ALL {
            link.set_shape(direction, record.shape);
        }
        let port = link.address().port();
        self.lines().insert((record.from, record.to), link);
        Ok(port)
    }

    /// Ends all links of a node.
    pub(crate) fn close(&self, number: NodeNumber) {
        self.lines().retain(|(from, to), _| *from != number && *to != number);
        self.targets().remove(&number);
    }

    /// Where a node takes peers from now on.
    pub(crate) fn aim(&self, number: NodeNumber, target: Target) {
        self.targets().insert(number, target);
        for (_, link) in self.lines().iter().filter(|((_, to), _)| *to == number) {
            link.aim(target);
        }
    }
}
