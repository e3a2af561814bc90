//! Connections: up, identified, down, cut, and whom to dial next.

use ashlar_engine::{Direction, Input, PeerConnected};
use ashlar_primitives::wire::IDENTIFY_PROTOCOL;
use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    identify, ping,
    swarm::{
        ConnectionError, ConnectionId, DialError, ListenError,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::{
    Step, Task,
    peers::{Connected, Standing, teller_scope},
};
use crate::{
    address::{Group, Scope},
    behaviour::remote_address,
    dialler::{Dial, Surroundings, Target},
    gate::Refusal,
    gossip::GRAYLIST,
    limits::{
        IDENTIFY_TIMEOUT_MS, JUNK_BAN_MS, MAX_FAILED_MESSAGES, MAX_JUNK, PARTING_MS,
        SCORE_CHECK_MS, SLOW_WINDOW_MS,
    },
    log::printable,
};

/// What a protocol name says of a chain that is not ours: the `<net>` of `/ashlar/<net>/…`.
fn net_of(protocol: &str) -> Option<&str> {
    let net = protocol.strip_prefix("/ashlar/")?.split('/').next()?;
    (net.len() == 8 && net.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(net)
}

impl Task {
    // ---- up

    pub(super) fn on_established(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        let now = self.now();
        let direction = match endpoint {
            ConnectedPoint::Dialer { .. } => Direction::Outbound,
            ConnectedPoint::Listener { .. } => Direction::Inbound,
        };
        let (address, traffic) = (remote_address(endpoint), self.meter.of(peer));
        self.peers.insert(peer, connection, direction, address, traffic, now);
        if self.dialler.connected(connection, peer)
            && let Some(connected) = self.peers.get_mut(&peer)
        {
            connected.feeler = true;
        }
        self.evict();
    }

    pub(super) fn on_identified(&mut self, peer: PeerId, info: &identify::Info) -> Step {
        let speaks = |name: &str| info.protocols.iter().any(|protocol| protocol.as_ref() == name);
        if !speaks(&self.names.sync) || info.protocol_version != IDENTIFY_PROTOCOL {
            let net = info.protocols.iter().find_map(|protocol| net_of(protocol.as_ref()));
            self.on_stranger(&peer, net);
            return Ok(());
        }
        let knows_others = speaks(&self.names.kad);
        let Some(connected) = self.peers.get_mut(&peer) else { return Ok(()) };
        connected.standing = Standing::Ours;

        let teller = teller_scope(&connected.address);
        let mut addresses = Vec::new();
        // where we reached it comes first, for that is proved
        let reached = (connected.direction == Direction::Outbound)
            .then(|| self.carriers.dialable(&connected.address, Scope::Loopback))
            .flatten();
        let told =
            info.listen_addrs.iter().filter_map(|address| self.carriers.dialable(address, teller));
        for address in reached.into_iter().chain(told) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if knows_others && let Some(discovery) = self.swarm.behaviour_mut().discovery.as_mut() {
            discovery.introduce(&peer, &addresses);
        }
        let now_seconds = self.clocks.moment().unix_seconds;
        self.dialler.book.learn(peer, &addresses, now_seconds);
        if self.peers.get(&peer).is_some_and(|connected| connected.feeler) {
            self.hang_up(&peer);
            return Ok(());
        }
        self.announce(&peer)
    }

    /// Tells the engine of a peer that is of our chain, once.
    pub(super) fn announce(&mut self, peer: &PeerId) -> Step {
        let now = self.now();
        let Some(connected) = self.peers.get_mut(peer) else { return Ok(()) };
        let is_stranger = matches!(connected.standing, Standing::Stranger { .. });
        if connected.announced || connected.feeler || connected.leaving || is_stranger {
            return Ok(());
        }
        connected.announced = true;
        let news = PeerConnected {
            peer: connected.number,
            direction: connected.direction,
            address: connected.address.to_string(),
            identity: peer.to_string(),
        };
        if let Some(left_out) = self.budgets.connected.take(now) {
            let (number, direction) = (news.peer.0, news.direction);
            let address = printable(&news.address);
            tracing::info!(peer = number, identity = %peer, %address, ?direction, left_out, "peer connected");
        }
        self.tell(Input::PeerConnected(news))
    }

    // ---- strangers

    /// Not of our chain. It is let go after a moment, for its operator too shall read why.
    fn on_stranger(&mut self, peer: &PeerId, net: Option<&str>) {
        let now = self.now();
        let Some(connected) = self.peers.get_mut(peer) else { return };
        if matches!(connected.standing, Standing::Stranger { .. }) {
            return;
        }
        connected.standing = Standing::Stranger { until_ms: now + PARTING_MS };
        if let Some(left_out) = self.budgets.stranger.take(now) {
            let address = &connected.address;
            let ours = &self.names.net;
            match net {
                Some(net) if net != ours => tracing::warn!(
                    left_out,
                    "peer {peer} at {address} is of another chain: it speaks {net}, this node {ours}"
                ),
                _ => tracing::warn!(
                    left_out,
                    "peer {peer} at {address} does not speak {IDENTIFY_PROTOCOL} of chain {ours}"
                ),
            }
        }
        self.dialler.estrange(peer, now);
        self.stop_introducing(peer);
    }

    pub(super) fn stop_introducing(&mut self, peer: &PeerId) {
        if let Some(discovery) = self.swarm.behaviour_mut().discovery.as_mut() {
            discovery.forget(peer);
        }
    }

    // ---- down

    pub(super) fn hang_up(&mut self, peer: &PeerId) {
        // an error says that it is not connected, which is what is wanted
        self.swarm.disconnect_peer_id(*peer).unwrap_or_default();
    }

    /// Closes all connections with a peer for a reason, and keeps it out if `ban_ms` says so.
    pub(super) fn cut(&mut self, peer: &PeerId, reason: &str, ban_ms: Option<u64>) {
        let now = self.now();
        let Some(connected) = self.peers.get(peer) else { return };
        if let Some(left_out) = self.budgets.cut.take(now) {
            let (number, address) = (connected.number.0, &connected.address);
            tracing::info!(peer = number, identity = %peer, %address, ban_ms, left_out, "cut a peer: {}", printable(reason));
        }
        if let Some(ban_ms) = ban_ms {
            let moment = self.clocks.moment();
            let gate = &mut self.swarm.behaviour_mut().gate;
            let origin = gate.origin(&connected.address);
            gate.bans.ban(*peer, origin, ban_ms, &printable(reason), moment);
            self.stop_introducing(peer);
            self.save_bans();
        }
        self.hang_up(peer);
    }

    /// Something came that does not decode. Nobody passes on what it could not read itself, so it
    /// is this peer's own fault; still, a mishap is forgiven. Whom gossipsub no longer listens to is
    /// of no more use.
    pub(super) fn on_junk(&mut self, peer: &PeerId, what: &str, error: &str) {
        let now = self.now();
        let Some(connected) = self.peers.get_mut(peer) else { return };
        connected.junk += 1;
        let junk = connected.junk;
        if let Some(left_out) = self.budgets.junk.take(now) {
            let number = connected.number.0;
            tracing::warn!(
                peer = number,
                junk,
                left_out,
                "undecodable {what}: {}",
                printable(error)
            );
        }
        let score = self.swarm.behaviour().gossip.peer_score(peer);
        if junk >= MAX_JUNK || score.is_some_and(|score| score < GRAYLIST) {
            self.cut(peer, "keeps sending what does not decode", Some(JUNK_BAN_MS));
        }
    }

    pub(super) fn on_closed(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        cause: Option<ConnectionError>,
    ) -> Step {
        let Some(gone) = self.peers.remove(&peer, connection) else { return Ok(()) };
        let now = self.now();
        let lasted_ms = now.saturating_sub(gone.since_ms);
        self.dialler.disconnected(&peer, lasted_ms, gone.standing != Standing::Unknown, now);
        self.lookups.hurry(now);
        if !gone.announced {
            return Ok(());
        }
        if let Some(left_out) = self.budgets.gone.take(now) {
            let cause =
                cause.map_or_else(|| "closed".into(), |cause| printable(&cause.to_string()));
            tracing::info!(peer = gone.number.0, identity = %peer, lasted_ms, left_out, "peer gone: {cause}");
        }
        self.tell(Input::PeerGone(gone.number))
    }

    pub(super) fn on_ping_failed(&mut self, connection: ConnectionId, failure: &ping::Failure) {
        if !matches!(failure, ping::Failure::Unsupported) {
            tracing::debug!(%connection, "closing: {}", printable(&failure.to_string()));
            self.swarm.close_connection(connection);
        }
    }

    /// Strangers, and those who never said who they are.
    pub(super) fn end_connections(&mut self, now: u64) {
        let is_over = |connected: &Connected| match connected.standing {
            Standing::Ours => false,
            Standing::Unknown => {
                !connected.announced && now >= connected.since_ms + IDENTIFY_TIMEOUT_MS
            }
            Standing::Stranger { until_ms } => now >= until_ms,
        };
        let over: Vec<_> =
            self.peers.iter().filter(|(_, peer)| is_over(peer)).map(|(id, _)| *id).collect();
        for peer in over {
            self.hang_up(&peer);
        }
    }

    /// gossipsub gave up on messages for this peer. Now and then that happens to anybody on a busy
    /// machine; where it goes on, the peer is cut.
    pub(super) fn on_slow(&mut self, peer: &PeerId, messages: usize) {
        let now = self.now();
        let Some(connected) = self.peers.get_mut(peer) else { return };
        let (failed, since_ms) = &mut connected.failed;
        if now.saturating_sub(*since_ms) > SLOW_WINDOW_MS {
            (*failed, *since_ms) = (0, now);
        }
        *failed = failed.saturating_add(messages);
        if *failed > MAX_FAILED_MESSAGES {
            self.cut(peer, "does not take what we send", None);
        }
    }

    /// Whom gossipsub no longer listens to is of no use to us, nor we to it. It is not banned: its
    /// score is remembered for ten minutes, and a slow link can lead there too. Two looks must find
    /// it so: what lowered the score is the engine's to punish first, and that may be a ban.
    pub(super) fn cut_graylisted(&mut self, now: u64) {
        if now.saturating_sub(self.scores_ms) < SCORE_CHECK_MS {
            return;
        }
        self.scores_ms = now;
        let gossip = &self.swarm.behaviour().gossip;
        let is_low = |peer: &PeerId| gossip.peer_score(peer).is_some_and(|score| score < GRAYLIST);
        let mut over = Vec::new();
        for (id, peer) in self.peers.iter_mut() {
            let was_low = std::mem::replace(&mut peer.is_graylisted, is_low(id));
            if was_low && peer.is_graylisted {
                over.push(*id);
            }
        }
        for peer in over {
            self.cut(&peer, "misbehaves in gossip", None);
        }
    }

    pub(super) fn on_refused(&mut self, from: &Multiaddr, error: &ListenError) {
        if let Some(left_out) = self.budgets.refused.take(self.now()) {
            let error = printable(&error_chain(error));
            tracing::debug!(%from, left_out, "inbound connection refused: {error}");
        }
    }

    // ---- dialling

    pub(super) fn dial(&mut self, now_ms: u64) {
        let gate = &self.swarm.behaviour().gate;
        let dials = self.dialler.due(&Surroundings {
            now_ms,
            outbound: self.peers.outbound(),
            is_connected: &|peer| self.peers.get(peer).is_some(),
            has_group: &|group| {
                self.peers.dialled().any(|(_, peer)| Group::of(&peer.address) == group)
            },
            is_banned: &|peer, address| gate.has_banned(peer, address),
        });
        for Dial { target, peer, addresses } in dials {
            // a port of its own: two nodes that dial each other from their listening ports at once
            // would meet in one TCP connection with two clients
            let options = match peer {
                Some(peer) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .allocate_new_port()
                    .addresses(addresses)
                    .build(),
                None => {
                    let Some(address) = addresses.into_iter().next() else { continue };
                    DialOpts::unknown_peer_id().address(address).allocate_new_port().build()
                }
            };
            let connection = options.connection_id();
            match self.swarm.dial(options) {
                Ok(()) => self.dialler.started(connection, target),
                Err(error) => self.on_failed_dial(&target, &error),
            }
        }
    }

    pub(super) fn on_dial_failed(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        error: &DialError,
    ) {
        let Some(target) = self.dialler.ended(connection) else { return };
        if let Some(peer) = peer
            && let DialError::Denied { cause } = error
            && let Some(Refusal::Connected) = cause.downcast_ref()
        {
            self.dialler.answered(&target, peer);
            return;
        }
        self.on_failed_dial(&target, error);
    }

    /// A kept peer that can't be reached is the operator's concern: once, and then each tenth time.
    /// One from the book is nobody's.
    fn on_failed_dial(&mut self, target: &Target, error: &DialError) {
        // a dial always has addresses; the swarm drops those that it listens on
        if matches!(error, DialError::LocalPeerId { .. } | DialError::NoAddresses) {
            self.dialler.is_self(target);
            if let Target::Kept(address) = target {
                tracing::info!(%address, "this address is the node's own; not dialled again");
            }
            return;
        }
        let nobody = matches!(error, DialError::Transport(_) | DialError::WrongPeerId { .. });
        let failures = self.dialler.failed(target, nobody, self.now());
        let error = printable(&error_chain(error));
        match target {
            Target::Kept(address) if failures % 10 == 1 => {
                tracing::warn!(%address, failures, "can't reach a configured peer, trying on: {error}");
            }
            Target::Kept(address) => tracing::debug!(%address, failures, "can't reach: {error}"),
            Target::Book(peer) | Target::Feeler(peer) => {
                tracing::debug!(%peer, failures, "can't reach: {error}")
            }
        }
    }
}

/// An error with what caused it.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_net_of_a_protocol_name() {
        assert_eq!(net_of("/ashlar/0123abcd/sync/1"), Some("0123abcd"));
        for other in
            ["/ashlar/0123abc/sync/1", "/ashlar/\x1b[31mabc/x", "/ipfs/id/1.0.0", "/ashlar/"]
        {
            assert_eq!(net_of(other), None, "{other:?}");
        }
    }
}
