//! What engines want of the world.

use std::time::Duration;

use ashlar_engine::{
    Event as EngineEvent, GossipData, InboundId, Job, JobId, Output, Peer, RequestId, Ticket,
    Verdict,
    output::{Notice, Offence},
};
use ashlar_ledger::View;
use ashlar_primitives::{BlockId, wire};

use super::{
    Event, World,
    transport::{answer_kind, request_kind},
};
use crate::{
    excuses::is_silence,
    invariants::Violation,
    links::Message,
    mesh::GossipMessage,
    node::{MAX_REQUESTS_PER_PEER, NodeId, REQUEST_TIMEOUT},
    readable,
    trace::Subject,
};

/// For so long after a cut its effects excuse a node: requests that were out have ended by then.
const EXCUSED: Duration = Duration::from_secs(60);

impl World {
    pub(super) fn perform(&mut self, node: NodeId, output: Output) -> Result<(), Violation> {
        match output {
            Output::Request(id, peer, request) => self.request(node, id, peer, request),
            Output::Answer(inbound, answer) => self.answer(node, &inbound, answer),
            Output::Publish(data) => self.publish(node, data),
            Output::Verdict(ticket, verdict) => self.verdict(node, &ticket, verdict),
            Output::Cut { peer, offence, reason, .. } => self.cut_peer(node, peer, offence, reason),
            Output::Reply(call, result) => self.reply(node, call, result),
            Output::Job(id, job) => {
                self.job(node, id, job);
                Ok(())
            }
            Output::Event(EngineEvent::Tip { view, disconnected, connected, .. }) => {
                self.tip(node, &view, &disconnected, &connected)
            }
            Output::Event(
                EngineEvent::TransactionAccepted { .. }
                | EngineEvent::TransactionsLeft(_)
                | EngineEvent::View(_),
            ) => Ok(()),
            Output::Event(EngineEvent::Notice(notice)) => self.notice(node, &notice),
        }
    }

    fn request(
        &mut self,
        node: NodeId,
        id: RequestId,
        peer: Peer,
        request: wire::Request,
    ) -> Result<(), Violation> {
        self.tally.requests += 1;
        let what = request_kind(&request);
        let size_bytes = readable::request(&request).map_err(|fault| Violation::Unreadable {
            node,
            what,
            fault,
        })?;
        let (now, life) = (self.now, self.node(node).life);
        if !self.node(node).ask(id, peer, now) {
            return Err(Violation::RequestNumber { node, request: id.0 });
        }
        if !self.node(node).peers.contains(&peer) {
            // The engine was told before that this peer is gone.
            self.queue.push(now, Event::Unsent { node, life, request: id });
            return Ok(());
        }
        let deadline = Event::RequestDeadline { node, life, request: id };
        self.queue.push(now + REQUEST_TIMEOUT, deadline);
        if let Some(other) = self.links.other_end(peer, node) {
            let in_flight = self.node(node).in_flight(peer);
            if in_flight > MAX_REQUESTS_PER_PEER
                && !self.was_troubled_lately(peer)
                && !self.is_villain(other)
            {
                return Err(Violation::TooManyRequests { node, other, in_flight });
            }
            self.send(peer, other, Message::Request(id, request), size_bytes);
        }
        Ok(())
    }

    fn answer(
        &mut self,
        node: NodeId,
        inbound: &InboundId,
        answer: Option<wire::Answer>,
    ) -> Result<(), Violation> {
        let size_bytes = match &answer {
            Some(answer) => {
                let what = answer_kind(answer);
                readable::answer(answer, self.scenario.chain.max_block_bytes)
                    .map_err(|fault| Violation::Unreadable { node, what, fault })?
            }
            None => 0,
        };
        let (peer, theirs) = self
            .node(node)
            .answer(inbound)
            .ok_or(Violation::SecondAnswer { node, inbound: inbound.0 })?;
        if let Some(other) = self.links.other_end(peer, node) {
            self.send(peer, other, Message::Answer(theirs, answer), size_bytes);
        }
        Ok(())
    }

    fn publish(&mut self, node: NodeId, data: GossipData) -> Result<(), Violation> {
        let (kind, what) = match &data {
            GossipData::Block(_) => ("published block", "a block announcement"),
            GossipData::Transactions(_) => ("published txs", "a batch of transactions"),
        };
        let message = GossipMessage::new(data).map_err(|fault| Violation::Unreadable {
            node,
            what,
            fault,
        })?;
        self.note(Some(node), kind, Subject::Message(message.id));
        let to = self.mesh.publish(node, &message, self.now);
        self.spread(node, &message, to);
        Ok(())
    }

    fn verdict(
        &mut self,
        node: NodeId,
        ticket: &Ticket,
        verdict: Verdict,
    ) -> Result<(), Violation> {
        let id = self
            .node(node)
            .settle_ticket(ticket)
            .ok_or(Violation::SecondVerdict { node, ticket: ticket.id })?;
        let source = self.links.other_end(ticket.source, node);
        match verdict {
            Verdict::Reject if source.is_none_or(|source| self.is_villain(source)) => Ok(()),
            Verdict::Reject => Err(Violation::HonestMessageRejected { node, verdict }),
            Verdict::Ignore => Ok(()),
            Verdict::Accept => {
                if let Some((message, onward)) = self.mesh.accept(node, &id) {
                    self.spread(node, &message, onward);
                }
                Ok(())
            }
        }
    }

    /// Only silence can be held against an honest node, and only while trouble can be its cause.
    fn cut_peer(
        &mut self,
        node: NodeId,
        peer: Peer,
        offence: Offence,
        reason: String,
    ) -> Result<(), Violation> {
        self.note(Some(node), "cut off", Subject::Number(peer.0));
        let Some(other) = self.links.other_end(peer, node) else { return Ok(()) };
        self.tally.offences.insert(offence);
        if !self.is_villain(other) && (!is_silence(offence) || !self.was_troubled_lately(peer)) {
            return Err(Violation::HonestPeerCut { node, other, offence, reason });
        }
        self.close(peer, [self.now; 2]);
        Ok(())
    }

    /// Whether something was wrong between the ends of a connection in the last minute.
    pub(super) fn was_troubled_lately(&self, peer: Peer) -> bool {
        let since = self.now.saturating_sub(EXCUSED);
        let pair = self.links.pair_of(peer);
        pair.is_some_and(|pair| self.links.was_troubled(pair, since, self.now))
    }

    fn job(&mut self, node: NodeId, id: JobId, job: Job) {
        let (now, life) = (self.now, self.node(node).life);
        let done_at = self.node(node).schedule_job(&job, now);
        let result = Box::new(job.run(&mut self.job_random));
        self.queue.push(done_at, Event::JobDone { node, life, job: id, result });
    }

    fn tip(
        &mut self,
        node: NodeId,
        view: &View,
        disconnected: &[BlockId],
        connected: &[BlockId],
    ) -> Result<(), Violation> {
        let id = view.tip().id;
        self.note(Some(node), "tip", Subject::Block(id));
        self.checks.tip(&mut self.judge, node, view, connected)?;
        if !disconnected.is_empty() {
            let depth = u32::try_from(disconnected.len()).unwrap_or(u32::MAX);
            self.tally.reorganisations += 1;
            self.tally.deepest_reorganisation = self.tally.deepest_reorganisation.max(depth);
            self.reorganised.insert(node);
            self.note_overfull(node, view)?;
        }
        let now = self.now;
        match self.first_tips.get(&id) {
            None => {
                self.first_tips.insert(id, now);
            }
            // Blocks that came alone: who catches up says nothing about how they spread.
            Some(first) if disconnected.is_empty() && connected.len() == 1 => {
                self.tally.spreading.push(now - *first);
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn notice(&mut self, node: NodeId, notice: &Notice) -> Result<(), Violation> {
        match notice {
            Notice::BlockInvalid { id, code } => {
                self.tally.codes.insert(code);
                self.block_marked(node, *id, code)
            }
            Notice::PeerOfOtherChain { peer, .. } => {
                Err(Violation::OtherChain { node, other: peer.0 })
            }
            Notice::TemplateRefused { code, .. } => Err(Violation::TemplateRefused { node, code }),
            Notice::ClockBehind { .. }
            | Notice::Reorganised { .. }
            | Notice::ReorganisationHeld { .. }
            | Notice::Syncing(_)
            | Notice::Lacking(_)
            | Notice::Synced { .. } => Ok(()),
        }
    }
}
