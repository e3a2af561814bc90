//! Who may connect: bans and connection limits in one place.
//!
//! A behaviour without a protocol. The swarm asks it before a handshake and again when the peer is
//! known. Everything that it counts is forgotten with the connection, so free peer ids fill nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fmt,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};

use crate::{
    Clock,
    address::Origin,
    bans::Bans,
    limits::{
        ARRIVAL_BURST, ARRIVAL_MS, EVICTION_ROOM, MAX_ARRIVING, MAX_INBOUND,
        MAX_INBOUND_PER_ORIGIN, MAX_PENDING_INBOUND,
    },
};

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("banned")]
    Banned,
    #[error("not among the allowed peers")]
    NotAllowed,
    #[error("{MAX_PENDING_INBOUND} handshakes are going on")]
    TooManyHandshakes,
    #[error("{MAX_INBOUND} inbound connections are open")]
    TooManyInbound,
    #[error("{MAX_INBOUND_PER_ORIGIN} connections from there are open")]
    TooManyFromThere,
    #[error("connections from there come too fast")]
    TooFast,
    #[error("this peer is connected already")]
    Connected,
}

impl From<Refusal> for ConnectionDenied {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal)
    }
}

#[derive(Clone, Copy, Debug)]
struct Inbound {
    origin: Option<Origin>,
    established: bool,
}

/// How fast each origin may come: [`ARRIVAL_BURST`] at once, and one more each
/// [`ARRIVAL_MS`]. Kept is when an origin's burst will be whole again, and only until then.
#[derive(Debug, Default)]
struct Arrivals(BTreeMap<Origin, u64>);

impl Arrivals {
    /// Whether one more may come now.
    fn take(&mut self, origin: Origin, now_ms: u64) -> bool {
        if self.0.len() >= MAX_ARRIVING && !self.0.contains_key(&origin) {
            self.0.retain(|_, whole_ms| *whole_ms > now_ms);
            // So many addresses at once are no single one's doing: the count of handshakes, which
            // holds for all of them together, is what protects us then.
            if self.0.len() >= MAX_ARRIVING {
                return true;
            }
        }
        let whole_ms = self.0.entry(origin).or_insert(now_ms);
        let next_ms = (*whole_ms).max(now_ms) + ARRIVAL_MS;
        let may_come = next_ms <= now_ms + u64::from(ARRIVAL_BURST) * ARRIVAL_MS;
        if may_come {
            *whole_ms = next_ms;
        }
        may_come
    }
}

/// See the module's text.
pub(crate) struct Gate {
    pub(crate) bans: Bans,
    now_ms: Clock,
    /// Whether this machine's own address is left out of bans and counts.
    exempts_loopback: bool,
    /// Who may connect at all; `None`: anybody.
    allowed: Option<BTreeSet<PeerId>>,
    inbound: BTreeMap<ConnectionId, Inbound>,
    arrivals: Arrivals,
    /// One connection each. gossipsub says what it subscribes to on a peer's first connection only,
    /// and does not wake up for a message while another connection has the peer's queue: with two,
    /// it goes deaf or dumb when one of them closes.
    open: BTreeSet<PeerId>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("inbound", &self.inbound.len()).finish_non_exhaustive()
    }
}

impl Gate {
    pub(crate) fn new(
        now_ms: Clock,
        bans: Bans,
        exempts_loopback: bool,
        allowed: Option<BTreeSet<PeerId>>,
    ) -> Self {
        Self {
            bans,
            now_ms,
            exempts_loopback,
            allowed,
            inbound: BTreeMap::new(),
            arrivals: Arrivals::default(),
            open: BTreeSet::new(),
        }
    }

    /// Whom to count and to ban with a peer at this address.
    pub(crate) fn origin(&self, address: &Multiaddr) -> Option<Origin> {
        Origin::of(address).filter(|origin| !(self.exempts_loopback && origin.is_loopback()))
    }

    /// Whether whoever is there is kept out now.
    pub(crate) fn has_banned(&self, peer: Option<&PeerId>, address: &Multiaddr) -> bool {
        let now_ms = (self.now_ms)();
        peer.is_some_and(|peer| self.bans.has_peer(peer, now_ms))
            || self.bans.has_origin(self.origin(address), now_ms)
    }

    fn count(&self, which: impl Fn(&Inbound) -> bool) -> usize {
        self.inbound.values().filter(|inbound| which(inbound)).count()
    }

    fn check_address(&self, address: &Multiaddr) -> Result<(), Refusal> {
        if self.has_banned(None, address) { Err(Refusal::Banned) } else { Ok(()) }
    }

    fn check_peer(&self, peer: &PeerId) -> Result<(), Refusal> {
        if self.bans.has_peer(peer, (self.now_ms)()) {
            Err(Refusal::Banned)
        } else if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(peer)) {
            Err(Refusal::NotAllowed)
        } else if self.open.contains(peer) {
            Err(Refusal::Connected)
        } else {
            Ok(())
        }
    }

    fn check_arrival(&mut self, address: &Multiaddr) -> Result<(), Refusal> {
        self.check_address(address)?;
        let origin = self.origin(address);
        let now_ms = (self.now_ms)();
        if origin.is_some_and(|origin| !self.arrivals.take(origin, now_ms)) {
            Err(Refusal::TooFast)
        } else if self.count(|inbound| !inbound.established) >= MAX_PENDING_INBOUND {
            Err(Refusal::TooManyHandshakes)
        } else if origin.is_some()
            && self.count(|inbound| inbound.origin == origin) >= MAX_INBOUND_PER_ORIGIN
        {
            Err(Refusal::TooManyFromThere)
        } else {
            Ok(())
        }
    }

    fn check_inbound(&self, peer: &PeerId) -> Result<(), Refusal> {
        self.check_peer(peer)?;
        if self.count(|inbound| inbound.established) >= MAX_INBOUND + EVICTION_ROOM {
            return Err(Refusal::TooManyInbound);
        }
        Ok(())
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.check_arrival(remote)?;
        let inbound = Inbound { origin: self.origin(remote), established: false };
        self.inbound.insert(connection, inbound);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_inbound(&peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            self.check_peer(&peer)?;
        }
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_address(address)?;
        self.check_peer(&peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                self.open.insert(event.peer_id);
                if let Some(inbound) = self.inbound.get_mut(&event.connection_id) {
                    inbound.established = true;
                }
            }
            FromSwarm::ConnectionClosed(event) => {
                self.inbound.remove(&event.connection_id);
                self.open.remove(&event.peer_id);
            }
            FromSwarm::ListenFailure(event) => {
                self.inbound.remove(&event.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use libp2p::{
        core::ConnectedPoint,
        swarm::{ConnectionClosed, behaviour::ConnectionEstablished},
    };

    use super::*;
    use crate::bans::Moment;

    fn gate() -> Gate {
        Gate::new(Arc::new(|| 1_000), Bans::default(), true, None)
    }

    fn from(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn local() -> Multiaddr {
        from("/ip4/127.0.0.1/tcp/1")
    }

    /// What the swarm does for a connection that comes in and completes its handshake.
    fn arrive(gate: &mut Gate, id: usize, peer: PeerId, remote: &Multiaddr) -> Result<(), Refusal> {
        let id = ConnectionId::new_unchecked(id);
        let refused = |denied: ConnectionDenied| denied.downcast::<Refusal>().unwrap();
        gate.handle_pending_inbound_connection(id, &local(), remote).map_err(refused)?;
        let endpoint = endpoint(remote);
        if let Err(denied) = gate.handle_established_inbound_connection(id, peer, &local(), remote)
        {
            gate.inbound.remove(&id);
            return Err(refused(denied));
        }
        gate.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: peer,
            connection_id: id,
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
        Ok(())
    }

    fn leave(gate: &mut Gate, id: usize, peer: PeerId, remote: &Multiaddr) {
        gate.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: peer,
            connection_id: ConnectionId::new_unchecked(id),
            endpoint: &endpoint(remote),
            cause: None,
            remaining_established: 0,
        }));
    }

    fn endpoint(remote: &Multiaddr) -> ConnectedPoint {
        ConnectedPoint::Listener { local_addr: local(), send_back_addr: remote.clone() }
    }

    #[test]
    fn four_from_one_place_in_any_notation_but_any_number_from_here() {
        let mut gate = gate();
        for id in 0..MAX_INBOUND_PER_ORIGIN {
            let remote = from(&format!("/ip4/8.8.8.8/tcp/{}", 10 + id));
            arrive(&mut gate, id, PeerId::random(), &remote).unwrap();
        }
        let mapped = from("/ip6/::ffff:8.8.8.8/tcp/99");
        let fifth = arrive(&mut gate, 90, PeerId::random(), &mapped);
        assert_eq!(fifth, Err(Refusal::TooManyFromThere));
        for id in 100..110 {
            arrive(&mut gate, id, PeerId::random(), &local()).unwrap();
        }
        gate.exempts_loopback = false;
        for id in 200..200 + MAX_INBOUND_PER_ORIGIN {
            arrive(&mut gate, id, PeerId::random(), &local()).unwrap();
        }
        let over = arrive(&mut gate, 300, PeerId::random(), &local());
        assert_eq!(over, Err(Refusal::TooManyFromThere), "unless it is treated like any other");
    }

    #[test]
    fn a_full_house_takes_no_more_until_somebody_leaves() {
        let mut gate = gate();
        let first = PeerId::random();
        arrive(&mut gate, 0, first, &local()).unwrap();
        for id in 1..MAX_INBOUND + EVICTION_ROOM {
            arrive(&mut gate, id, PeerId::random(), &local()).unwrap();
        }
        let over = arrive(&mut gate, 500, PeerId::random(), &local());
        assert_eq!(over, Err(Refusal::TooManyInbound));
        leave(&mut gate, 0, first, &local());
        arrive(&mut gate, 501, PeerId::random(), &local()).unwrap();
    }

    #[test]
    fn whoever_comes_again_and_again_is_slowed_and_others_are_not() {
        let mut arrivals = Arrivals::default();
        let origin = |number: u32| {
            let [a, b, c, d] = number.to_be_bytes();
            Origin::of(&from(&format!("/ip4/{a}.{b}.{c}.{d}/udp/9/quic-v1"))).unwrap()
        };
        let one = origin(1);
        let come = |arrivals: &mut Arrivals, now_ms, times: u32| {
            (0..times).filter(|_| arrivals.take(one, now_ms)).count()
        };
        assert_eq!(come(&mut arrivals, 5, 1_000), ARRIVAL_BURST as usize);
        assert_eq!(come(&mut arrivals, 5 + ARRIVAL_MS - 1, 1_000), 0);
        assert_eq!(come(&mut arrivals, 5 + ARRIVAL_MS, 1_000), 1, "knocking in vain costs nothing");
        assert!(arrivals.take(origin(2), 5 + ARRIVAL_MS));
        assert_eq!(come(&mut arrivals, 1_000_000, 1_000), ARRIVAL_BURST as usize);

        for number in 10..20_000 {
            assert!(arrivals.take(origin(number), 1_000_000));
            assert!(arrivals.0.len() <= MAX_ARRIVING);
        }
        assert_eq!(arrivals.0.len(), MAX_ARRIVING);
        assert_eq!(come(&mut arrivals, 1_000_000, 9), 0, "who is slowed stays slowed");
        let later = 1_000_000 + u64::from(ARRIVAL_BURST) * ARRIVAL_MS;
        assert!(arrivals.take(origin(9), later));
        assert_eq!(arrivals.0.len(), 1, "and nothing is kept for long");
    }

    #[test]
    fn an_arrival_too_fast_is_refused_before_anything_else_is_done_for_it() {
        let mut gate = gate();
        let remote = from("/ip4/8.8.8.8/udp/5/quic-v1");
        let mut refusals = Vec::new();
        for id in 0..=ARRIVAL_BURST as usize {
            let connection = ConnectionId::new_unchecked(id);
            let arrival = gate.handle_pending_inbound_connection(connection, &local(), &remote);
            refusals.extend(arrival.err().map(|denied| denied.downcast::<Refusal>().unwrap()));
        }
        let crowded = ARRIVAL_BURST as usize - MAX_INBOUND_PER_ORIGIN;
        assert_eq!(refusals.len(), crowded + 1);
        assert_eq!(refusals.last(), Some(&Refusal::TooFast));
        assert!(refusals[..crowded].iter().all(|refusal| *refusal == Refusal::TooManyFromThere));
    }

    #[test]
    fn handshakes_are_counted_while_they_last() {
        let mut gate = gate();
        let begin = |gate: &mut Gate, id| {
            let id = ConnectionId::new_unchecked(id);
            gate.handle_pending_inbound_connection(id, &local(), &local())
        };
        for id in 0..MAX_PENDING_INBOUND {
            begin(&mut gate, id).unwrap();
        }
        let denied = begin(&mut gate, 99).unwrap_err();
        assert_eq!(denied.downcast::<Refusal>().unwrap(), Refusal::TooManyHandshakes);
    }

    #[test]
    fn one_connection_a_peer_and_nothing_is_kept_of_those_who_left() {
        let mut gate = gate();
        let peer = PeerId::random();
        arrive(&mut gate, 1, peer, &local()).unwrap();
        assert_eq!(arrive(&mut gate, 2, peer, &local()), Err(Refusal::Connected));
        leave(&mut gate, 1, peer, &local());
        arrive(&mut gate, 3, peer, &local()).unwrap();
        leave(&mut gate, 3, peer, &local());
        assert!(gate.open.is_empty() && gate.inbound.is_empty());
    }

    #[test]
    fn the_banned_stay_out_both_ways() {
        let mut gate = gate();
        let (peer, remote) = (PeerId::random(), from("/ip4/8.8.8.8/tcp/5"));
        let moment = Moment { now_ms: 1_000, unix_seconds: 0 };
        gate.bans.ban(peer, gate.origin(&remote), 1_000, "test", moment);
        let same_place = from("/ip6/::ffff:8.8.8.8/tcp/6");
        assert_eq!(arrive(&mut gate, 1, PeerId::random(), &same_place), Err(Refusal::Banned));
        assert_eq!(arrive(&mut gate, 2, peer, &local()), Err(Refusal::Banned));
        let dial = gate.handle_pending_outbound_connection(
            ConnectionId::new_unchecked(3),
            Some(peer),
            &[local()],
            Endpoint::Dialer,
        );
        assert!(dial.is_err());
    }

    #[test]
    fn where_some_are_allowed_all_others_are_not() {
        let (friend, other) = (PeerId::random(), PeerId::random());
        let mut gate = gate();
        gate.allowed = Some([friend].into());
        arrive(&mut gate, 1, friend, &local()).unwrap();
        assert_eq!(arrive(&mut gate, 2, other, &local()), Err(Refusal::NotAllowed));
        let dial = gate.handle_pending_outbound_connection(
            ConnectionId::new_unchecked(3),
            Some(other),
            &[local()],
            Endpoint::Dialer,
        );
        assert!(dial.is_err());
    }
}
