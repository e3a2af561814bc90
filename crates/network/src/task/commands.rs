//! What the driver wants done.

use ashlar_engine::{Direction, Offence, Peer};
use futures::StreamExt;
use libp2p::PeerId;
use tokio::{sync::oneshot, time::timeout};

use super::{Step, Task};
use crate::{
    NetworkError, NetworkInfo, PeerTraffic, address::parse_dial, handle::Command,
    limits::STOP_TIMEOUT, log::printable,
};

/// What a ban for a while says, after a connection was ended.
const DISCONNECTED: &str = "disconnected by the operator";

impl Task {
    pub(super) fn on_command(&mut self, command: Command) -> Step {
        match command {
            Command::Request { id, peer, frame } => return self.request(id, peer, frame),
            Command::Answer { id, frame } => self.answer(id, frame),
            Command::PublishBlock(data) => self.publish(self.topics.block.clone(), data),
            Command::PublishTransactions(data) => self.publish(self.topics.tx.clone(), data),
            Command::Verdict { ticket, verdict } => self.on_verdict(ticket, verdict),
            Command::Cut { peer, offence, reason, ban_ms } => {
                self.on_cut(peer, offence, &reason, ban_ms);
            }
            Command::Info(reply) => give(reply, self.info()),
            Command::Peers(reply) => give(reply, self.traffic_of_peers()),
            Command::AddPeer { address, done } => {
                let result =
                    self.carriers.check(&address).and_then(|()| self.dialler.keep(&address));
                if result.is_ok() {
                    self.want_again(&address);
                }
                self.dial(self.now());
                give(done, result);
            }
            Command::RemovePeer { address, done } => give(done, self.dialler.forget(&address)),
            Command::Bans(reply) => {
                give(reply, self.swarm.behaviour().gate.bans.list(self.clocks.moment()));
            }
            Command::Ban { who, seconds, reason, done } => {
                give(done, self.ban(&who, seconds, &reason));
            }
            Command::Unban { who, done } => {
                let lifted = self.swarm.behaviour_mut().gate.bans.lift(&who);
                self.save_bans();
                give(done, lifted);
            }
            Command::ClearBans(reply) => {
                let lifted = self.swarm.behaviour_mut().gate.bans.clear();
                self.save_bans();
                give(reply, lifted);
            }
            Command::Disconnect { who, away_seconds, done } => {
                give(done, self.disconnect(&who, away_seconds));
            }
            Command::Stop(_) => return Err(NetworkError::Stopped),
        }
        Ok(())
    }

    fn on_cut(&mut self, peer: Peer, offence: Offence, reason: &str, ban_ms: Option<u64>) {
        if let Some(peer) = self.peers.id_of(peer) {
            self.cut(&peer, &format!("{offence:?}, {reason}"), ban_ms);
        }
    }

    fn info(&self) -> NetworkInfo {
        let count = |direction| {
            let known = self.peers.iter().filter(|(_, peer)| peer.announced);
            known.filter(|(_, peer)| peer.direction == direction).count()
        };
        let (inbound, outbound) = (count(Direction::Inbound), count(Direction::Outbound));
        NetworkInfo {
            identity: self.local.to_string(),
            listening: self.swarm.listeners().map(ToString::to_string).collect(),
            connections: inbound + outbound,
            inbound,
            outbound,
            bytes_received: self.meter.all().received_bytes(),
            bytes_sent: self.meter.all().sent_bytes(),
        }
    }

    fn traffic_of_peers(&self) -> Vec<PeerTraffic> {
        let gossip = &self.swarm.behaviour().gossip;
        let known = self.peers.iter().filter(|(_, peer)| peer.announced);
        let mut peers: Vec<PeerTraffic> = known
            .map(|(id, peer)| PeerTraffic {
                peer: peer.number,
                bytes_received: peer.traffic.received_bytes(),
                bytes_sent: peer.traffic.sent_bytes(),
                ping_ms: peer.ping_ms,
                gossip_score: gossip.peer_score(id).unwrap_or_default(),
            })
            .collect();
        peers.sort_by_key(|traffic| traffic.peer);
        peers
    }

    /// The operator's ban; whoever is connected and meant by it is hung up on.
    fn ban(&mut self, who: &str, seconds: u64, reason: &str) -> Step {
        let moment = self.clocks.moment();
        self.swarm.behaviour_mut().gate.bans.set(who, seconds, &printable(reason), moment)?;
        self.save_bans();
        let gate = &self.swarm.behaviour().gate;
        let banned: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(id, peer)| gate.has_banned(Some(id), &peer.address))
            .map(|(id, _)| *id)
            .collect();
        for peer in banned {
            self.stop_introducing(&peer);
            self.hang_up(&peer);
        }
        Ok(())
    }

    fn disconnect(&mut self, who: &str, away_seconds: u64) -> Step {
        let found = if let Ok(number) = who.parse() {
            self.peers.id_of(Peer(number))
        } else if let Ok(peer) = who.parse::<PeerId>() {
            self.peers.get(&peer).map(|_| peer)
        } else {
            self.peer_at(who)
        };
        let peer = found.ok_or_else(|| NetworkError::NotConnected { who: who.into() })?;
        if away_seconds > 0 {
            let (moment, away_ms) = (self.clocks.moment(), away_seconds.saturating_mul(1_000));
            let bans = &mut self.swarm.behaviour_mut().gate.bans;
            bans.ban(peer, None, away_ms, DISCONNECTED, moment);
            self.save_bans();
        }
        self.hang_up(&peer);
        Ok(())
    }

    /// The operator names a peer: that a connection was ended before is over.
    fn want_again(&mut self, address: &str) {
        if let Ok((_, Some(peer))) = parse_dial(address)
            && self.swarm.behaviour_mut().gate.bans.pardon(peer, DISCONNECTED)
        {
            self.save_bans();
        }
    }

    fn peer_at(&self, text: &str) -> Option<PeerId> {
        let (address, peer) = parse_dial(text).ok()?;
        let mut peers = self.peers.iter();
        let found = peers.find(|(id, connected)| {
            connected.address == address && peer.is_none_or(|peer| peer == **id)
        });
        found.map(|(id, _)| *id)
    }

    /// Closes what is open, for a bounded time.
    pub(super) async fn close(mut self, done: oneshot::Sender<()>) -> NetworkError {
        self.save_bans();
        self.save_book();
        let everyone: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in &everyone {
            self.hang_up(peer);
        }
        let closing = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        if timeout(STOP_TIMEOUT, closing).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
        drop(self);
        give(done, ());
        NetworkError::Stopped
    }
}

/// Whoever asked may no longer wait.
fn give<T>(reply: oneshot::Sender<T>, value: T) {
    drop(reply.send(value));
}
