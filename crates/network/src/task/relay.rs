//! Gossip: what came is decoded, judged by the engine, and passed on or not.

use std::collections::BTreeMap;

use ashlar_engine::{GossipData, Input, Ticket, Verdict};
use ashlar_primitives::wire;
use libp2p::{
    PeerId,
    gossipsub::{Message, MessageAcceptance, MessageId, PublishError, TopicHash},
};

use super::{Step, Task, peers::Standing};
use crate::{
    limits::{MAX_TICKETS, VERDICT_GRACE_MS, VERDICT_MS},
    log::printable,
};

/// A message that waits for its verdict.
#[derive(Debug)]
struct Waiting {
    message: MessageId,
    source: PeerId,
    is_block: bool,
    overdue_ms: u64,
}

/// All of them, by ticket number; numbers and times rise together.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
}

impl Task {
    /// Exactly one verdict is reported for each message: at once where it is nothing for the
    /// engine, else when the engine has spoken or its time is over.
    pub(super) fn on_gossip(&mut self, source: PeerId, id: MessageId, message: &Message) -> Step {
        let is_block = message.topic == self.topics.block;
        let decoded = if is_block {
            wire::decode_announcement(&message.data).map(|block| GossipData::Block(block.into()))
        } else {
            wire::decode_batch(&message.data).map(|batch| GossipData::Transactions(batch.into()))
        };
        let data = match decoded {
            Ok(data) => data,
            Err(error) => {
                self.report(&id, &source, MessageAcceptance::Reject);
                self.on_junk(&source, "gossip", &error.to_string());
                return Ok(());
            }
        };
        self.announce(&source)?;
        let number = match self.peers.get(&source) {
            Some(peer) if !matches!(peer.standing, Standing::Stranger { .. }) => peer.number,
            _ => {
                self.report(&id, &source, MessageAcceptance::Ignore);
                return Ok(());
            }
        };
        if self.tickets.waiting.len() >= MAX_TICKETS {
            self.report(&id, &source, MessageAcceptance::Ignore);
            return Ok(());
        }
        let deadline_ms = self.now() + VERDICT_MS;
        self.tickets.last += 1;
        let ticket = Ticket { id: self.tickets.last, source: number, deadline_ms };
        let overdue_ms = deadline_ms + VERDICT_GRACE_MS;
        self.tickets
            .waiting
            .insert(ticket.id, Waiting { message: id, source, is_block, overdue_ms });
        let ticket_id = ticket.id;
        let input = Input::Gossip(ticket, data);
        if is_block {
            self.tell(input)
        } else {
            if self.inbox.bulk(input).is_err() {
                self.on_verdict(ticket_id, Verdict::Ignore);
            }
            Ok(())
        }
    }

    pub(super) fn on_verdict(&mut self, ticket: u64, verdict: Verdict) {
        // none: it was overdue, and is ignored already
        if let Some(Waiting { message, source, is_block, .. }) =
            self.tickets.waiting.remove(&ticket)
        {
            let now = self.now();
            if verdict == Verdict::Accept
                && let Some(peer) = self.peers.get_mut(&source)
            {
                let brought = if is_block { &mut peer.block_ms } else { &mut peer.transaction_ms };
                *brought = now;
            }
            let acceptance = match verdict {
                Verdict::Accept => MessageAcceptance::Accept,
                Verdict::Reject => MessageAcceptance::Reject,
                Verdict::Ignore => MessageAcceptance::Ignore,
            };
            self.report(&message, &source, acceptance);
        }
    }

    pub(super) fn ignore_overdue_tickets(&mut self, now: u64) {
        while let Some(first) = self.tickets.waiting.first_entry()
            && first.get().overdue_ms <= now
        {
            let ticket = *first.key();
            tracing::debug!(ticket, "no verdict in time; ignored");
            self.on_verdict(ticket, Verdict::Ignore);
        }
    }

    fn report(&mut self, message: &MessageId, source: &PeerId, acceptance: MessageAcceptance) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        if !gossip.report_message_validation_result(message, source, acceptance) {
            tracing::debug!(%message, "the verdict came after gossipsub forgot the message");
        }
    }

    pub(super) fn publish(&mut self, topic: TopicHash, data: Vec<u8>) {
        match self.swarm.behaviour_mut().gossip.publish(topic, data) {
            Ok(_) | Err(PublishError::Duplicate) => {}
            // others will hear of it when they ask for our status
            Err(PublishError::NoPeersSubscribedToTopic) => tracing::debug!("nobody to publish to"),
            Err(PublishError::AllQueuesFull(peers)) => {
                if let Some(left_out) = self.budgets.unpublished.take(self.now()) {
                    let why = "the queues of all peers are full";
                    tracing::warn!(peers, left_out, "published to nobody: {why}");
                }
            }
            Err(error) => tracing::error!("can't publish: {}", printable(&error.to_string())),
        }
    }
}
