//! Who is connected: the status handshake, what each peer says of its chain, scores.

use std::collections::{BTreeMap, BTreeSet};

use ashlar_consensus::Work;
use ashlar_ledger::{Store, StoreError};
use ashlar_primitives::{
    BlockId,
    wire::{Request, Status},
};
use rand::RngExt as _;

use crate::{
    Engine,
    bucket::Bucket,
    headers::PeerHeaders,
    input::{Direction, Peer, PeerConnected, RequestId},
    limits::{
        CUT_SCORE, GOSSIP_SILENCE_MS, HANDSHAKE_TIMEOUT_MS, MAX_PEERS, POLLED_PEERS,
        PRODUCTIVE_BYTES_PER_SECOND, REQUEST_BURST, REQUESTS_PER_SECOND, SCORE_DECAY_MS,
        STATUS_PUSH_INTERVAL_MS, STATUS_REFRESH_MS, UNPRODUCTIVE_BURST_BYTES,
        UNPRODUCTIVE_BYTES_PER_SECOND,
    },
    offence::Offence,
    output::{Event, Notice, Output},
    reconcile::PeerReconcile,
    requests::Purpose,
    timers::Timer,
};

/// What a peer last said of itself.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) tip: BlockId,
    pub(crate) height: u32,
    pub(crate) work: Work,
    pub(crate) services: u32,
    pub(crate) agent: String,
    /// Its tip was found among our headers, so that `available` says so.
    pub(crate) is_placed: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct PeerState {
    pub(crate) direction: Direction,
    pub(crate) address: String,
    pub(crate) identity: String,
    pub(crate) connected_ms: u64,
    /// When anything last came from it.
    pub(crate) seen_ms: u64,
    /// When it last brought a block, or a transaction, that was new here.
    pub(crate) block_ms: Option<u64>,
    pub(crate) transaction_ms: Option<u64>,
    /// `None` before its first status: until then it is answered nothing else.
    pub(crate) claim: Option<Claim>,
    /// Whether it answered our status request, so that it knows ours and answers other requests.
    pub(crate) may_ask: bool,
    /// The highest header of our tree whose block the peer is known to have.
    pub(crate) available: Option<BlockId>,
    /// When we last told it our status.
    pub(crate) status_told_ms: Option<u64>,
    pub(crate) in_flight: BTreeSet<RequestId>,
    /// Bodies asked of it by the download.
    pub(crate) blocks_in_flight: usize,
    pub(crate) download_paused_until_ms: u64,
    /// When it last answered with a body.
    pub(crate) delivered_ms: u64,
    /// How often in a row it kept others waiting for a body.
    pub(crate) stalls: u32,
    /// How far along the best header chain it has bodies, and for which chain that was found.
    pub(crate) useful: Option<Useful>,
    pub(crate) timeouts: u32,
    pub(crate) headers: PeerHeaders,
    pub(crate) reconcile: PeerReconcile,
    pub(crate) batches: usize,
    pub(crate) pending_blocks: usize,
    pub(crate) requests: Bucket,
    pub(crate) unproductive: Bucket,
    pub(crate) productive: Bucket,
    pub(crate) mempool_answered_ms: Option<u64>,
    score: u32,
    scored_ms: u64,
}

/// See [`PeerState::useful`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Useful {
    pub(crate) best_header: BlockId,
    pub(crate) available: BlockId,
    pub(crate) height: u32,
}

impl PeerState {
    fn new(connected: PeerConnected, now_ms: u64) -> Self {
        Self {
            direction: connected.direction,
            address: connected.address,
            identity: connected.identity,
            connected_ms: now_ms,
            seen_ms: now_ms,
            block_ms: None,
            transaction_ms: None,
            claim: None,
            may_ask: false,
            available: None,
            status_told_ms: None,
            in_flight: BTreeSet::new(),
            blocks_in_flight: 0,
            download_paused_until_ms: 0,
            delivered_ms: 0,
            stalls: 0,
            useful: None,
            timeouts: 0,
            headers: PeerHeaders::default(),
            reconcile: PeerReconcile::default(),
            batches: 0,
            pending_blocks: 0,
            requests: Bucket::new(REQUESTS_PER_SECOND, REQUEST_BURST, now_ms),
            unproductive: Bucket::new(
                UNPRODUCTIVE_BYTES_PER_SECOND,
                UNPRODUCTIVE_BURST_BYTES,
                now_ms,
            ),
            productive: Bucket::new(
                PRODUCTIVE_BYTES_PER_SECOND,
                PRODUCTIVE_BYTES_PER_SECOND,
                now_ms,
            ),
            mempool_answered_ms: None,
            score: 0,
            scored_ms: now_ms,
        }
    }

    /// Points now, the forgotten ones taken off.
    pub(crate) fn score(&self, now_ms: u64) -> u32 {
        let forgotten = now_ms.saturating_sub(self.scored_ms) / SCORE_DECAY_MS;
        self.score.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    fn add_points(&mut self, points: u32, now_ms: u64) -> u32 {
        self.score = self.score(now_ms).saturating_add(points);
        self.scored_ms = now_ms;
        self.score
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    pub(crate) all: BTreeMap<Peer, PeerState>,
    /// When a block last came by gossip and was passed on.
    pub(crate) block_gossip_ms: u64,
}

impl Peers {
    pub(crate) fn get(&self, peer: Peer) -> Option<&PeerState> {
        self.all.get(&peer)
    }

    pub(crate) fn get_mut(&mut self, peer: Peer) -> Option<&mut PeerState> {
        self.all.get_mut(&peer)
    }

    /// Something came from it.
    pub(crate) fn note_seen(&mut self, peer: Peer, now_ms: u64) {
        if let Some(state) = self.get_mut(peer) {
            state.seen_ms = now_ms;
        }
    }

    /// It brought a block that was new here.
    pub(crate) fn note_block(&mut self, peer: Peer, now_ms: u64) {
        if let Some(state) = self.get_mut(peer) {
            state.block_ms = Some(now_ms);
        }
    }

    /// It brought a transaction that was new here.
    pub(crate) fn note_transaction(&mut self, peer: Peer, now_ms: u64) {
        if let Some(state) = self.get_mut(peer) {
            state.transaction_ms = Some(now_ms);
        }
    }

    /// Whether its handshake went so far that what it sends counts.
    pub(crate) fn is_known(&self, peer: Peer) -> bool {
        self.get(peer).is_some_and(|state| state.claim.is_some())
    }

    /// Peers that answer questions, in order of connection.
    pub(crate) fn askable(&self) -> impl Iterator<Item = (Peer, &PeerState)> {
        self.all.iter().filter(|(_, state)| state.may_ask).map(|(&peer, state)| (peer, state))
    }
}

impl<S: Store> Engine<S> {
    pub(crate) fn on_connected(&mut self, connected: PeerConnected) {
        let now_ms = self.now.monotonic_ms;
        let peer = connected.peer;
        if self.peers.all.len() >= MAX_PEERS {
            let offence = Offence::NoRoom;
            let reason = offence.reason().to_owned();
            self.out.push(Output::Cut { peer, offence, reason, ban_ms: None });
            return;
        }
        let direction = connected.direction;
        self.peers.all.insert(peer, PeerState::new(connected, now_ms));
        self.timers.set(Timer::Handshake(peer), now_ms.saturating_add(HANDSHAKE_TIMEOUT_MS));
        match direction {
            Direction::Outbound => self.ask_status(peer),
            // The dialler speaks first; we ask when it has.
            Direction::Inbound => {}
        }
    }

    pub(crate) fn on_handshake_timer(&mut self, peer: Peer) {
        if self.peers.get(peer).is_some_and(|state| !state.may_ask) {
            self.cut(peer, Offence::NoStatus);
        }
    }

    /// Our side of the handshake, at this moment.
    pub(crate) fn own_status(&self) -> Status {
        let tip = self.view.tip();
        Status {
            chain_id: self.params.chain_id,
            tip: tip.id,
            height: tip.height,
            work: tip.work.to_le_bytes(),
            services: self.services(),
            agent: self.settings.agent.clone(),
        }
    }

    /// What we can serve: never more than is there (PROTOCOL.md §12).
    pub(crate) fn services(&self) -> u32 {
        let start = self.view.history().start;
        if start == 0 {
            return Status::ALL_BODIES | Status::RECENT_BODIES;
        }
        let kept = self.view.tip().height.saturating_add(1).saturating_sub(start);
        let has_recent = kept >= Status::recent_blocks(self.params.block_interval);
        if has_recent { Status::RECENT_BODIES } else { 0 }
    }

    /// Asks for a peer's status, which tells it ours.
    pub(crate) fn ask_status(&mut self, peer: Peer) {
        let status = self.own_status();
        if self.ask(peer, Request::Status(status), Purpose::Status).is_some()
            && let Some(state) = self.peers.get_mut(peer)
        {
            state.status_told_ms = Some(self.now.monotonic_ms);
        }
    }

    /// A peer's status, as its question or as its answer (`answered`).
    pub(crate) fn on_status(
        &mut self,
        peer: Peer,
        status: Status,
        answered: bool,
    ) -> Result<(), StoreError> {
        let Some(state) = self.peers.get_mut(peer) else { return Ok(()) };
        if status.chain_id != self.params.chain_id {
            let address = state.address.clone();
            self.notice(Notice::PeerOfOtherChain { peer, address, chain_id: status.chain_id });
            self.cut(peer, Offence::OtherChain);
            return Ok(());
        }
        if (status.height == 0) != (status.tip == status.chain_id) {
            self.cut(peer, Offence::BadStatus);
            return Ok(());
        }
        let is_new = !state.may_ask && answered;
        state.may_ask |= answered;
        state.claim = Some(Claim {
            tip: status.tip,
            height: status.height,
            work: Work::from_le_bytes(status.work),
            services: status.services,
            agent: status.agent,
            is_placed: false,
        });
        if is_new {
            // Parents of what this peer will gossip, and what we may have missed.
            state.reconcile.wanted = true;
            self.reconcile_dirty = true;
            self.timers.clear(Timer::Handshake(peer));
        }
        self.place_claim(peer)?;
        self.headers.dirty = true;
        Ok(())
    }

    /// Where a peer claims to be at a header that we know, or know by now, it has what leads there.
    pub(crate) fn place_claim(&mut self, peer: Peer) -> Result<(), StoreError> {
        let claim = self.peers.get_mut(peer).and_then(|state| state.claim.as_mut());
        let Some(claim) = claim.filter(|claim| !claim.is_placed) else { return Ok(()) };
        let tip = claim.tip;
        if self.ledger.header_state(&tip)?.is_some() {
            claim.is_placed = true;
            if self.ledger.failed_code(&tip)?.is_none() {
                self.note_available(peer, tip);
            }
        }
        Ok(())
    }

    /// The peer has the block of a header in our tree, and all before it.
    pub(crate) fn note_available(&mut self, peer: Peer, id: BlockId) {
        if let Some(state) = self.peers.get_mut(peer)
            && state.available != Some(id)
        {
            state.available = Some(id);
            self.download.dirty = true;
        }
    }

    /// Silence of gossip: random peers are asked how far they are (PROTOCOL.md §12).
    pub(crate) fn on_poll_timer(&mut self) {
        let now_ms = self.now.monotonic_ms;
        self.timers.set(Timer::Poll, now_ms.saturating_add(GOSSIP_SILENCE_MS));
        if now_ms.saturating_sub(self.peers.block_gossip_ms) < GOSSIP_SILENCE_MS {
            return;
        }
        let mut candidates: Vec<Peer> = self.peers.askable().map(|(peer, _)| peer).collect();
        for _ in 0..POLLED_PEERS.min(candidates.len()) {
            let chosen = self.rng.random_range(0..candidates.len());
            let peer = candidates.swap_remove(chosen);
            self.ask_status(peer);
        }
    }

    /// Our tip moved otherwise than by gossip: peers that are behind hear of it at once.
    pub(crate) fn push_status(&mut self) {
        self.ask_those_behind(STATUS_PUSH_INTERVAL_MS);
    }

    /// A peer that gets all blocks from us never gossips one back: only when asked does it say
    /// where it is by now.
    pub(crate) fn refresh_statuses(&mut self) {
        self.ask_those_behind(STATUS_REFRESH_MS);
    }

    /// Those who last claimed less work than we have, unless we spoke so lately.
    fn ask_those_behind(&mut self, interval_ms: u64) {
        let now_ms = self.now.monotonic_ms;
        let work = self.view.tip().work;
        let behind: Vec<Peer> = self
            .peers
            .askable()
            .filter(|(_, state)| state.claim.as_ref().is_some_and(|claim| claim.work < work))
            .filter(|(_, state)| {
                state
                    .status_told_ms
                    .is_none_or(|told_ms| now_ms.saturating_sub(told_ms) >= interval_ms)
            })
            .map(|(peer, _)| peer)
            .collect();
        for peer in behind {
            self.ask_status(peer);
        }
    }

    /// Books an offence; at the limit the peer is cut.
    pub(crate) fn penalise(&mut self, peer: Peer, offence: Offence) {
        let now_ms = self.now.monotonic_ms;
        let points = offence.penalty().points;
        let Some(state) = self.peers.get_mut(peer) else { return };
        if state.add_points(points, now_ms) >= CUT_SCORE {
            self.cut(peer, offence);
        }
    }

    /// Ends a connection and forgets the peer.
    pub(crate) fn cut(&mut self, peer: Peer, offence: Offence) {
        if self.peers.get(peer).is_none() {
            return;
        }
        let reason = offence.reason().to_owned();
        self.out.push(Output::Cut { peer, offence, reason, ban_ms: offence.penalty().ban_ms });
        self.drop_peer(peer);
    }

    /// Frees everything that a peer held; what was asked of it is asked of others.
    pub(crate) fn drop_peer(&mut self, peer: Peer) {
        let Some(state) = self.peers.all.remove(&peer) else { return };
        self.timers.clear(Timer::Handshake(peer));
        for id in state.in_flight {
            self.timers.clear(Timer::Request(id));
            if let Some(pending) = self.requests.remove(id) {
                self.on_request_lost(peer, pending.purpose);
            }
        }
        self.orphans.remove_peer(peer);
        self.headers.forget(peer);
        self.headers.dirty = true;
        self.download.dirty = true;
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        self.out.push(Output::Event(Event::Notice(notice)));
    }
}
