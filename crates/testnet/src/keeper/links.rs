//! The lines between nodes. Nodes dial the keeper and the keeper dials the other end: no two nodes
//! know each other's ports.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::{error::TestnetError, file::NodeNumber, layout::LinkRecord};

/// Longest that a call waits for a node that is being started.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Where a node takes peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// It will in a moment: callers wait, since nodes that are refused come back late.
    Opening,
    /// There.
    At(SocketAddr),
}

/// Nodes that can be called; the others can't.
type Doors = BTreeMap<NodeNumber, Door>;

/// All lines of a testnet. Dropped, they end.
#[derive(Debug, Default)]
pub(crate) struct Links {
    doors: watch::Sender<Doors>,
    lines: Mutex<BTreeMap<(NodeNumber, NodeNumber), JoinHandle<()>>>,
}

impl Links {
    /// Takes calls for a link from now on; its port, which is the one it had where that is free.
    pub(crate) async fn open(&self, link: &LinkRecord) -> Result<u16, TestnetError> {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, link.port)).await {
            Err(_) if link.port != 0 => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
            bound => bound,
        };
        let bound = listener.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
        let (port, listener) = bound.map_err(TestnetError::disk("127.0.0.1"))?;
        let line = tokio::spawn(serve(listener, link.to, self.doors.subscribe()));
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = lines.insert((link.from, link.to), line) {
            old.abort();
        }
        Ok(port)
    }

    /// Ends all links of a node.
    pub(crate) fn close(&self, number: NodeNumber) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|(from, to), line| {
            let stays = *from != number && *to != number;
            if !stays {
                line.abort();
            }
            stays
        });
    }

    /// Where a node takes peers from now on; `None`: nowhere.
    pub(crate) fn set_door(&self, number: NodeNumber, door: Option<Door>) {
        self.doors.send_modify(|doors| match door {
            Some(door) => drop(doors.insert(number, door)),
            None => drop(doors.remove(&number)),
        });
    }
}

async fn serve(listener: TcpListener, to: NodeNumber, doors: watch::Receiver<Doors>) {
    while let Ok((near, _)) = listener.accept().await {
        tokio::spawn(carry(near, to, doors.clone()));
    }
}

/// Leads a call to a node; without one it ends, as it would without a keeper.
async fn carry(mut near: TcpStream, to: NodeNumber, mut doors: watch::Receiver<Doors>) {
    let opened = doors.wait_for(|doors| doors.get(&to) != Some(&Door::Opening));
    let door = match tokio::time::timeout(START_PATIENCE, opened).await {
        Ok(Ok(doors)) => doors.get(&to).copied(),
        _ => None,
    };
    if let Some(Door::At(address)) = door
        && let Ok(mut far) = TcpStream::connect(address).await
    {
        drop((near.set_nodelay(true), far.set_nodelay(true)));
        drop(copy_bidirectional(&mut near, &mut far).await);
    }
}
