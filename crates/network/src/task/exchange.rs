//! Request and answer, in both directions.

use std::{collections::BTreeMap, io};

use ashlar_engine::{InboundId, Input, Peer, RequestFailure, RequestId};
use libp2p::{
    PeerId,
    request_response::{
        InboundRequestId, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
    },
};

use super::{Step, Task, peers::Standing};
use crate::{
    codec::{SyncAnswer, SyncRequest},
    limits::{MAX_ANSWER_BYTES_QUEUED, MAX_PEER_REQUESTS, MAX_REQUESTS, MAX_REQUESTS_PER_PEER},
    upload::{Bucket, is_urgent},
};

/// A request of ours.
#[derive(Debug)]
struct Asked {
    id: RequestId,
    peer: PeerId,
}

/// A request of a peer. It counts until its answer is sent, or failed to be.
#[derive(Debug)]
struct Asking {
    number: u64,
    peer: PeerId,
    /// Until the engine answers.
    channel: Option<ResponseChannel<SyncAnswer>>,
    /// The answer while it waits for its turn.
    held: Option<Vec<u8>>,
    /// The size of the answer that waits or is on its way.
    queued_bytes: usize,
}

/// All that is in flight.
#[derive(Debug)]
pub(super) struct Exchanges {
    asked: BTreeMap<OutboundRequestId, Asked>,
    asking: BTreeMap<InboundRequestId, Asking>,
    by_number: BTreeMap<u64, InboundRequestId>,
    last_number: u64,
    queued_bytes: usize,
    /// Answers that wait for their turn, first asked first.
    held: BTreeMap<u64, InboundRequestId>,
    /// What all peers together were sent already.
    upload: Bucket,
}

/// Whether one more answer may wait for its peer.
const fn has_room(queued_bytes: usize, answer_bytes: usize) -> bool {
    queued_bytes.saturating_add(answer_bytes) <= MAX_ANSWER_BYTES_QUEUED
}

impl Default for Exchanges {
    fn default() -> Self {
        Self {
            asked: BTreeMap::new(),
            asking: BTreeMap::new(),
            by_number: BTreeMap::new(),
            last_number: 0,
            queued_bytes: 0,
            held: BTreeMap::new(),
            upload: Bucket::of_all(),
        }
    }
}

impl Exchanges {
    fn asked_of(&self, peer: &PeerId) -> usize {
        self.asked.values().filter(|asked| asked.peer == *peer).count()
    }

    fn asking_from(&self, peer: &PeerId) -> usize {
        self.asking.values().filter(|asking| asking.peer == *peer).count()
    }
}

impl Task {
    // ---- ours

    /// A request that can't be sent has failed.
    pub(super) fn request(&mut self, id: RequestId, peer: Peer, frame: Vec<u8>) -> Step {
        let Some(peer) = self.peers.id_of(peer) else {
            return self.tell(Input::RequestFailed(id, RequestFailure::Closed));
        };
        if self.exchanges.asked.len() >= MAX_REQUESTS
            || self.exchanges.asked_of(&peer) >= MAX_REQUESTS_PER_PEER
        {
            tracing::warn!(%peer, request = id.0, "too many requests in flight; refused");
            return self.tell(Input::RequestFailed(id, RequestFailure::Closed));
        }
        let number = self.swarm.behaviour_mut().sync.send_request(&peer, SyncRequest::Frame(frame));
        self.exchanges.asked.insert(number, Asked { id, peer });
        Ok(())
    }

    pub(super) fn on_request_failed(
        &mut self,
        number: OutboundRequestId,
        failure: &OutboundFailure,
    ) -> Step {
        let Some(asked) = self.exchanges.asked.remove(&number) else { return Ok(()) };
        let failure = match failure {
            OutboundFailure::Timeout => RequestFailure::Timeout,
            OutboundFailure::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData => RequestFailure::Malformed,
                io::ErrorKind::TimedOut => RequestFailure::Timeout,
                _ => RequestFailure::Closed,
            },
            OutboundFailure::DialFailure
            | OutboundFailure::ConnectionClosed
            | OutboundFailure::UnsupportedProtocols => RequestFailure::Closed,
        };
        self.tell(Input::RequestFailed(asked.id, failure))
    }

    // ---- both

    pub(super) fn on_exchange_message(
        &mut self,
        peer: PeerId,
        message: Message<SyncRequest, SyncAnswer>,
    ) -> Step {
        match message {
            Message::Response { request_id, response: SyncAnswer::Read(answer) } => {
                match self.exchanges.asked.remove(&request_id) {
                    Some(asked) => self.tell(Input::Response(asked.id, answer)),
                    None => Ok(()),
                }
            }
            Message::Request { request_id, request: SyncRequest::Read(request), channel } => {
                self.announce(&peer)?;
                if let Some((number, id)) = self.take_in(peer, request_id, channel)
                    && self.inbox.bulk(Input::Request(InboundId(id), number, request)).is_err()
                {
                    self.answer(id, None);
                }
                Ok(())
            }
            Message::Request { request: SyncRequest::Junk(error), .. } => {
                self.on_junk(&peer, "request", &error);
                Ok(())
            }
            // the codec reads neither
            Message::Request { request: SyncRequest::Frame(_), .. }
            | Message::Response { response: SyncAnswer::Frame(_), .. } => Ok(()),
        }
    }

    // ---- theirs

    /// Numbers a peer's request. `None` refuses it: dropping the channel closes the stream.
    fn take_in(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        channel: ResponseChannel<SyncAnswer>,
    ) -> Option<(Peer, u64)> {
        let connected = self.peers.get(&peer)?;
        if matches!(connected.standing, Standing::Stranger { .. })
            || self.exchanges.asking.len() >= MAX_PEER_REQUESTS
            || self.exchanges.asking_from(&peer) >= MAX_REQUESTS_PER_PEER
        {
            tracing::debug!(%peer, "a request refused: too many in flight");
            return None;
        }
        self.exchanges.last_number += 1;
        let number = self.exchanges.last_number;
        let asking = Asking { number, peer, channel: Some(channel), held: None, queued_bytes: 0 };
        self.exchanges.asking.insert(id, asking);
        self.exchanges.by_number.insert(number, id);
        Some((connected.number, number))
    }

    /// `None` refuses.
    pub(super) fn answer(&mut self, number: u64, frame: Option<Vec<u8>>) {
        let exchanges = &mut self.exchanges;
        let Some(id) = exchanges.by_number.remove(&number) else { return };
        let Some(asking) = exchanges.asking.get_mut(&id) else { return };
        let Some(frame) = frame else {
            // dropping it closes the stream
            asking.channel = None;
            return;
        };
        if !has_room(exchanges.queued_bytes, frame.len()) {
            tracing::debug!(peer = %asking.peer, "a request refused: too many answers on their way");
            asking.channel = None;
            return;
        }
        asking.queued_bytes = frame.len();
        exchanges.queued_bytes += frame.len();
        let is_urgent = is_urgent(&frame);
        asking.held = Some(frame);
        if is_urgent {
            self.send(id);
        } else {
            exchanges.held.insert(number, id);
            self.send_held();
        }
    }

    /// Sends the answers whose turn has come. One that waits for its peer's bucket keeps nobody
    /// else's waiting.
    pub(super) fn send_held(&mut self) {
        let now = self.now();
        let held: Vec<_> = self.exchanges.held.iter().map(|(&number, &id)| (number, id)).collect();
        for (number, id) in held {
            if !self.exchanges.upload.is_open(now) {
                return;
            }
            let Some(peer) = self.exchanges.asking.get(&id).map(|asking| asking.peer) else {
                continue;
            };
            let connected = self.peers.get_mut(&peer);
            // a peer that is gone: sending fails, and the answer is forgotten
            if connected.is_none_or(|connected| connected.upload.is_open(now)) {
                self.exchanges.held.remove(&number);
                self.send(id);
            }
        }
    }

    fn send(&mut self, id: InboundRequestId) {
        let Some(asking) = self.exchanges.asking.get_mut(&id) else { return };
        let (Some(channel), Some(frame)) = (asking.channel.take(), asking.held.take()) else {
            return;
        };
        self.exchanges.upload.spend(frame.len());
        if let Some(connected) = self.peers.get_mut(&asking.peer) {
            connected.upload.spend(frame.len());
        }
        // an error gives the answer back: the peer gave up, of which we hear by another event
        let given_up =
            self.swarm.behaviour_mut().sync.send_response(channel, SyncAnswer::Frame(frame));
        drop(given_up);
    }

    /// The answer was sent, or will never be.
    pub(super) fn on_exchange_over(&mut self, id: InboundRequestId) {
        if let Some(asking) = self.exchanges.asking.remove(&id) {
            self.exchanges.by_number.remove(&asking.number);
            self.exchanges.held.remove(&asking.number);
            self.exchanges.queued_bytes -= asking.queued_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_on_their_way_have_a_bound() {
        assert!(has_room(MAX_ANSWER_BYTES_QUEUED - 9, 9));
        assert!(!has_room(MAX_ANSWER_BYTES_QUEUED - 9, 10));
        assert!(!has_room(1, usize::MAX));
    }
}
