//! Headers first: where the most work is, that way the node goes (PROTOCOL.md §12, tag 1).
//!
//! One peer leads: the one that claims the most work. Its answers are followed batch by batch.
//! Where that takes more than a few seconds the next ones join it, three at most, each along its
//! own chain: who leads along a poor one, or slowly, holds up nobody, and the heaviest wins. One
//! whose claim its headers don't bear out is passed over. Progress is work, never the number of
//! answers. Besides, any peer whose block does not connect is asked where it comes from.

use std::collections::BTreeMap;

use ashlar_consensus::{HeaderState, Work, check_header, header::is_too_new, pow::Target};
use ashlar_ledger::{HeaderRefusal, Store, StoreError};
use ashlar_primitives::{
    BlockId, Header,
    wire::{self, Request},
};
use rand::Rng as _;

use crate::{
    Engine,
    input::Peer,
    limits::{
        CLAIM_PAUSE_MS, CLOCK_NOTICE_INTERVAL_MS, DOWNLOAD_PAUSE_MS, HEADERS_SLOW_MS, LEAD_MS,
        LOW_WORK_BLOCKS, MAX_LEADERS, MAX_LEAP, MAX_TOO_NEW_RETRY_MS, MAX_WALKS, TOO_NEW_RETRY_MS,
    },
    low_work::{Next, Walk},
    offence::{Offence, answered_header},
    output::Notice,
    requests::Purpose,
    timers::Timer,
};

/// The header sync with one peer.
#[derive(Debug, Default)]
pub(crate) struct PeerHeaders {
    /// A request is out.
    asked: bool,
    /// Ask as soon as possible, whatever it claims.
    wanted: bool,
    /// It had a header from the future.
    too_new: bool,
    /// Its claim is not believed before then, unless it changes.
    paused_until_ms: u64,
    paused_for: Option<BlockId>,
    /// Where its last full answer ended.
    last: Option<BlockId>,
    /// The branch below the work bar that it is telling.
    walk: Option<Box<Walk>>,
}

#[cfg(test)]
impl PeerHeaders {
    /// Bits remembered and headers held of a low-work branch.
    pub(crate) fn held(&self) -> Option<(usize, usize)> {
        self.walk.as_ref().map(|walk| walk.held())
    }
}

/// The header sync over all peers.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    /// Something changed that may let somebody be asked.
    pub(crate) dirty: bool,
    /// Whose chains are followed, and since when.
    pub(crate) leaders: BTreeMap<Peer, u64>,
    /// How many more than one may lead.
    joining: usize,
    clock_notice_ms: Option<u64>,
}

impl Headers {
    pub(crate) fn forget(&mut self, peer: Peer) {
        self.leaders.remove(&peer);
        if self.leaders.is_empty() {
            self.joining = 0;
        }
    }

    #[cfg(test)]
    pub(crate) fn leaders(&self) -> usize {
        self.leaders.len()
    }
}

/// How taking a batch of headers ended.
enum Taken {
    /// The peer has more: the last one's id.
    More(BlockId),
    /// That is all that it has, or that can be used now.
    End,
    /// The peer is to blame.
    Offence(Offence),
}

impl<S: Store> Engine<S> {
    /// The work that a branch must have to be stored (§12): the larger of the configured minimum
    /// and our own work less 144 blocks of normal difficulty.
    pub(crate) fn work_bar(&self) -> Work {
        let tip = self.view.tip();
        let normal = Target::from_bits(tip.normal_bits(&self.params)).map(Target::work);
        let slack = normal.unwrap_or(Work::ZERO).saturating_mul(LOW_WORK_BLOCKS);
        self.settings.minimum_work.max(tip.work.saturating_sub(slack))
    }

    /// Asks whoever should be asked now.
    pub(crate) fn schedule_headers(&mut self) -> Result<(), StoreError> {
        if !core::mem::take(&mut self.headers.dirty) {
            return Ok(());
        }
        let wanted: Vec<Peer> = self
            .peers
            .askable()
            .filter(|(_, state)| state.headers.wanted && !state.headers.asked)
            .map(|(peer, _)| peer)
            .collect();
        for peer in wanted {
            self.ask_headers(peer)?;
        }
        while self.headers.leaders.len() <= self.headers.joining
            && let Some(peer) = self.heaviest_claimant()?
        {
            let now_ms = self.now.monotonic_ms;
            self.headers.leaders.insert(peer, now_ms);
            self.timers.set(Timer::HeadersSlow, now_ms.saturating_add(HEADERS_SLOW_MS));
            self.ask_headers(peer)?;
        }
        Ok(())
    }

    /// The peer with the most work of those that have something to tell: more than the best header
    /// has, or, since that one's bodies may never come, more than the tip and a header that is new.
    fn heaviest_claimant(&self) -> Result<Option<Peer>, StoreError> {
        let now_ms = self.now.monotonic_ms;
        let best_header = self.ledger.best_header().work;
        let mut best = (self.view.tip().work, None);
        for (peer, state) in self.peers.askable() {
            let Some(claim) = &state.claim else { continue };
            let headers = &state.headers;
            let paused = headers.paused_until_ms > now_ms && headers.paused_for == Some(claim.tip);
            if claim.work > best.0
                && !headers.asked
                && !paused
                && !self.headers.leaders.contains_key(&peer)
                && (claim.work > best_header || self.ledger.header_state(&claim.tip)?.is_none())
            {
                best = (claim.work, Some(peer));
            }
        }
        Ok(best.1)
    }

    /// Asks one peer for what follows the headers that we have.
    pub(crate) fn ask_headers(&mut self, peer: Peer) -> Result<(), StoreError> {
        let Some(state) = self.peers.get_mut(peer) else { return Ok(()) };
        state.headers.wanted = true;
        if state.headers.asked || !state.may_ask {
            return Ok(());
        }
        let locator = match (&state.headers.walk, state.headers.last) {
            (Some(walk), _) => {
                let mut locator: Vec<BlockId> = walk.position().into_iter().collect();
                locator.extend(self.ledger.locator(&walk.fork())?);
                locator.truncate(wire::MAX_LOCATOR);
                locator
            }
            (None, Some(last)) => self.ledger.locator(&self.furthest(last)?)?,
            (None, None) => self.ledger.locator(&self.ledger.best_header().id)?,
        };
        let request = Request::Headers { locator, stop: None };
        if self.ask(peer, request, Purpose::Headers).is_some()
            && let Some(state) = self.peers.get_mut(peer)
        {
            state.headers.asked = true;
            state.headers.wanted = false;
        }
        Ok(())
    }

    /// Where to ask on after this header: others may have led further along the same chain.
    fn furthest(&self, last: BlockId) -> Result<BlockId, StoreError> {
        let best = self.ledger.best_header();
        let Some(from) = self.ledger.header_state(&last)? else { return Ok(best.id) };
        let is_near = best.height.saturating_sub(from.height) <= MAX_LEAP;
        let leaps = is_near && self.ledger.is_descendant(&best.id, &last)?;
        Ok(if leaps { best.id } else { last })
    }

    /// The leaders take their time: another may join them. Where there are as many as may be, and
    /// another waits, the one that led longest makes room when it had its time.
    pub(crate) fn on_headers_slow_timer(&mut self) -> Result<(), StoreError> {
        let now_ms = self.now.monotonic_ms;
        let headers = &mut self.headers;
        let most = MAX_LEADERS.saturating_sub(1);
        let is_full = headers.joining >= most;
        headers.joining = headers.joining.saturating_add(1).min(most);
        headers.dirty = true;
        let Some((&peer, &since_ms)) = headers.leaders.iter().min_by_key(|(_, since)| **since)
        else {
            return Ok(());
        };
        self.timers.set(Timer::HeadersSlow, now_ms.saturating_add(HEADERS_SLOW_MS));
        let had_its_time = now_ms.saturating_sub(since_ms) >= LEAD_MS;
        if is_full && had_its_time && self.heaviest_claimant()?.is_some() {
            self.abandon(peer, LEAD_MS);
        }
        Ok(())
    }

    /// A peer did not answer: its claim waits.
    pub(crate) fn on_headers_lost(&mut self, peer: Peer) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.headers.asked = false;
        }
        self.abandon(peer, DOWNLOAD_PAUSE_MS);
    }

    /// Its claim is looked at at once, whatever came of it before.
    pub(crate) fn believe_again(&mut self, peer: Peer) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.headers.paused_for = None;
        }
        self.headers.dirty = true;
    }

    /// Ends the talk, and what it had come to.
    fn abandon(&mut self, peer: Peer, pause_ms: u64) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.headers.walk = None;
        }
        self.end_talk(peer, pause_ms);
    }

    fn end_talk(&mut self, peer: Peer, pause_ms: u64) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.headers.last = None;
            state.headers.paused_for = state.claim.as_ref().map(|claim| claim.tip);
            state.headers.paused_until_ms = self.now.monotonic_ms.saturating_add(pause_ms);
        }
        self.headers.forget(peer);
        self.headers.dirty = true;
    }

    /// An answer to our locator.
    pub(crate) fn on_headers(&mut self, peer: Peer, headers: &[Header]) -> Result<(), StoreError> {
        if let Some(state) = self.peers.get_mut(peer) {
            state.headers.asked = false;
        }
        self.headers.dirty = true;
        match self.take_headers(peer, headers)? {
            Taken::More(_) if self.is_refuted(peer) => {
                self.abandon(peer, CLAIM_PAUSE_MS);
                Ok(())
            }
            Taken::More(last) => {
                if let Some(state) = self.peers.get_mut(peer) {
                    state.headers.last = Some(last);
                }
                self.ask_headers(peer)
            }
            Taken::End => {
                self.end_talk(peer, CLAIM_PAUSE_MS);
                Ok(())
            }
            Taken::Offence(offence) => {
                self.end_talk(peer, CLAIM_PAUSE_MS);
                self.penalise(peer, offence);
                Ok(())
            }
        }
    }

    /// Whether a peer's low-work branch has come as high as it claims to be without the work that
    /// it claims.
    fn is_refuted(&self, peer: Peer) -> bool {
        let state = self.peers.get(peer);
        let claim = state.and_then(|state| state.claim.as_ref());
        let walk = state.and_then(|state| state.headers.walk.as_ref());
        claim.zip(walk).is_some_and(|(claim, walk)| walk.refutes(claim.height, claim.work))
    }

    fn take_headers(&mut self, peer: Peer, headers: &[Header]) -> Result<Taken, StoreError> {
        let ids: Vec<BlockId> = headers.iter().map(Header::id).collect();
        let linked = headers.iter().skip(1).zip(&ids).all(|(header, id)| header.parent == *id);
        let (Some(first), Some(&last)) = (headers.first(), ids.last()) else {
            if let Some(state) = self.peers.get_mut(peer) {
                state.headers.walk = None;
            }
            return Ok(Taken::End);
        };
        if !linked {
            return Ok(Taken::Offence(Offence::WrongAnswer));
        }
        let is_full = headers.len() >= wire::MAX_HEADERS;
        let walk = self.peers.get_mut(peer).and_then(|state| state.headers.walk.take());
        if let Some(walk) = walk.filter(|walk| walk.follows(first)) {
            return self.walk_on(peer, walk, headers, last);
        }
        let Some(mut parent) = self.ledger.header_state(&first.parent)? else {
            return Ok(Taken::Offence(Offence::WrongAnswer));
        };
        // What is known already tells where the peer is, and nothing else.
        let asked_from = self.peers.get(peer).and_then(|state| state.headers.last);
        let mut unknown = headers;
        for id in &ids {
            let Some(state) = self.ledger.header_state(id)? else { break };
            parent = state;
            unknown = unknown.get(1..).unwrap_or_default();
        }
        if self.ledger.failed_code(&parent.id)?.is_none() && parent.id != first.parent {
            self.note_available(peer, parent.id);
        }
        if unknown.is_empty() {
            let before = asked_from.map(|id| self.ledger.header_state(&id)).transpose()?.flatten();
            let goes_on = before.is_none_or(|before| parent.height > before.height);
            return Ok(if is_full && goes_on { Taken::More(last) } else { Taken::End });
        }
        if parent.work < self.work_bar() {
            match self.measure(&parent, unknown) {
                Err(offence) => return Ok(Taken::Offence(offence)),
                Ok(work) if work >= self.work_bar() => {}
                Ok(_) if !is_full || self.walks() >= MAX_WALKS => return Ok(Taken::End),
                Ok(_) => {
                    let walk = Box::new(Walk::new(parent, self.rng.next_u64()));
                    return self.walk_on(peer, walk, unknown, last);
                }
            }
        }
        self.store_headers(peer, unknown, is_full)
    }

    pub(crate) fn walks(&self) -> usize {
        self.peers.all.values().filter(|state| state.headers.walk.is_some()).count()
    }

    /// The work at the end of a list of headers, without storing any. Stops before one from the
    /// future.
    fn measure(&self, parent: &HeaderState, headers: &[Header]) -> Result<Work, Offence> {
        let now_seconds = self.now.unix_seconds();
        let mut state = parent.clone();
        for header in headers {
            if is_too_new(&self.params, header, now_seconds) {
                break;
            }
            state =
                check_header(&state, &self.params, header).map_err(|_| Offence::InvalidHeader)?;
        }
        Ok(state.work)
    }

    fn walk_on(
        &mut self,
        peer: Peer,
        mut walk: Box<Walk>,
        headers: &[Header],
        last: BlockId,
    ) -> Result<Taken, StoreError> {
        let bar = self.work_bar();
        let is_full = headers.len() >= wire::MAX_HEADERS;
        let Ok(step) = walk.step(&self.params, headers, bar) else {
            return Ok(Taken::Offence(Offence::InvalidHeader));
        };
        if let taken @ (Taken::End | Taken::Offence(_)) =
            self.store_headers(peer, &step.release, true)?
        {
            return Ok(taken);
        }
        Ok(match step.next {
            // The second pass starts over whether or not the first one's last answer was full.
            Next::Again => {
                self.keep_walk(peer, walk);
                Taken::More(last)
            }
            Next::More if is_full => {
                self.keep_walk(peer, walk);
                Taken::More(last)
            }
            Next::Done if is_full => Taken::More(last),
            Next::More | Next::Done | Next::GiveUp => Taken::End,
        })
    }

    fn keep_walk(&mut self, peer: Peer, walk: Box<Walk>) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.headers.walk = Some(walk);
        }
    }

    fn store_headers(
        &mut self,
        peer: Peer,
        headers: &[Header],
        is_full: bool,
    ) -> Result<Taken, StoreError> {
        let now_seconds = self.now.unix_seconds();
        let mut last = None;
        let mut end = None;
        for header in headers {
            match self.ledger.accept_header(header, now_seconds)? {
                Ok(_) => last = Some(header.id()),
                Err(refusal) => {
                    if matches!(refusal, HeaderRefusal::TooNew) {
                        self.note_too_new(peer, header);
                    }
                    end = Some(answered_header(&refusal).map_or(Taken::End, Taken::Offence));
                    break;
                }
            }
        }
        self.note_best_header();
        if let Some(last) = last {
            self.note_available(peer, last);
        }
        Ok(match (end, last) {
            (Some(end), _) => end,
            (None, Some(last)) if is_full => Taken::More(last),
            // Nothing to store is no end while a low-work branch is being walked.
            (None, None) if is_full => Taken::More(self.view.tip().id),
            (None, _) => Taken::End,
        })
    }

    /// A header whose time has not come: nobody's fault, and asked for again when it has.
    pub(crate) fn note_too_new(&mut self, peer: Peer, header: &Header) {
        let now_ms = self.now.monotonic_ms;
        let now_seconds = self.now.unix_seconds();
        let future_seconds = u64::from(self.params.max_future_seconds);
        let wait_ms = u64::from(header.time)
            .saturating_sub(future_seconds)
            .saturating_sub(now_seconds)
            .saturating_mul(1_000);
        if let Some(state) = self.peers.get_mut(peer) {
            state.headers.too_new = true;
        }
        let retry_ms = now_ms.saturating_add(wait_ms.clamp(TOO_NEW_RETRY_MS, MAX_TOO_NEW_RETRY_MS));
        self.timers.set_by(Timer::TooNew, retry_ms);
        let silent = self
            .headers
            .clock_notice_ms
            .is_some_and(|noticed_ms| now_ms.saturating_sub(noticed_ms) < CLOCK_NOTICE_INTERVAL_MS);
        if !silent {
            self.headers.clock_notice_ms = Some(now_ms);
            self.notice(Notice::ClockBehind { header_time: header.time, now_seconds });
        }
    }

    pub(crate) fn on_too_new_timer(&mut self) {
        for state in self.peers.all.values_mut() {
            if core::mem::take(&mut state.headers.too_new) {
                state.headers.wanted = true;
            }
        }
        self.headers.dirty = true;
    }
}
