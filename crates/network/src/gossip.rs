//! gossipsub, set for our rates: a block each 10 s, transaction batches a few times a second, nets
//! of two nodes and of hundreds.

use std::time::Duration;

use ashlar_primitives::wire;
use libp2p::gossipsub::{
    Behaviour, Config, ConfigBuilder, IdentTopic, Message, MessageAuthenticity, MessageId,
    PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams, ValidationMode,
    WhitelistSubscriptionFilter, score_parameter_decay,
};

use crate::limits::{
    GOSSIP_FRAMING_BYTES, GOSSIP_HISTORY, GOSSIP_PATIENCE, GOSSIP_QUEUE, GOSSIP_READ_AHEAD_BYTES,
    HEARTBEAT, MAX_CONTROL_BYTES, MAX_GOSSIP_IDS, MAX_IHAVES, MAX_MESSAGES_PER_RPC,
    MAX_RETRANSMISSIONS, PROMISE_TIMEOUT, PRUNE_BACKOFF,
};

/// Decompression there is none; subscriptions are to our two topics or not kept (THREATS G11).
pub(crate) type Gossip =
    Behaviour<libp2p::gossipsub::IdentityTransform, WhitelistSubscriptionFilter>;

/// Counters of misbehaviour are down to a tenth after so long.
const DECAY: Duration = Duration::from_secs(600);

/// Below this score nothing of a peer is listened to.
pub(crate) const GRAYLIST: f64 = -100.0;

/// The two topics of a chain.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    pub(crate) block: TopicHash,
    pub(crate) tx: TopicHash,
}

impl Topics {
    pub(crate) fn new(names: &wire::Names) -> Self {
        Self { block: TopicHash::from_raw(&*names.block), tx: TopicHash::from_raw(&*names.tx) }
    }
}

/// The id of a message is what it says: the same data is the same message from whomever it comes.
fn message_id(message: &Message) -> MessageId {
    MessageId::new(&wire::message_id(&message.data))
}

fn config(topics: &Topics) -> Config {
    let largest = wire::MAX_COMPACT_BYTES + GOSSIP_FRAMING_BYTES;
    ConfigBuilder::default()
        .validate_messages()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(message_id)
        .max_transmit_size(largest + GOSSIP_READ_AHEAD_BYTES)
        .max_transmit_size_for_topic(largest, topics.block.clone())
        .max_transmit_size_for_topic(
            wire::MAX_BATCH_BYTES + GOSSIP_FRAMING_BYTES,
            topics.tx.clone(),
        )
        // THREATS G8; a net smaller than the mesh is a full mesh
        .mesh_n(8)
        .mesh_n_low(6)
        .mesh_n_high(12)
        .mesh_outbound_min(3)
        .gossip_lazy(8)
        .flood_publish(true)
        .heartbeat_interval(HEARTBEAT)
        .heartbeat_initial_delay(HEARTBEAT)
        .history_length(GOSSIP_HISTORY)
        .history_gossip(3)
        .duplicate_cache_time(Duration::from_secs(120))
        .gossip_retransimission(MAX_RETRANSMISSIONS)
        .iwant_followup_time(PROMISE_TIMEOUT)
        .max_ihave_messages_heartbeat(MAX_IHAVES)
        .max_control_messages_sent(MAX_GOSSIP_IDS)
        .max_control_message_size(MAX_CONTROL_BYTES)
        .prune_backoff(PRUNE_BACKOFF)
        .max_publish_messages(MAX_MESSAGES_PER_RPC)
        .connection_handler_queue_len(GOSSIP_QUEUE)
        .publish_queue_duration(GOSSIP_PATIENCE)
        .forward_queue_duration(GOSSIP_PATIENCE)
        .build()
        .expect("constants; a test builds them")
}

/// Being first earns little; what is invalid for everyone costs much. `invalid_weight` is for one
/// invalid message; the penalty grows with the square of their number.
///
/// Mesh deliveries are not scored: at our rates an honest peer delivers nothing for minutes.
fn topic_score(invalid_weight: f64) -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.5,
        time_in_mesh_quantum: Duration::from_secs(60),
        time_in_mesh_cap: 10.0,
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_decay: score_parameter_decay(DECAY),
        first_message_deliveries_cap: 20.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: invalid_weight,
        invalid_message_deliveries_decay: score_parameter_decay(DECAY),
        ..TopicScoreParams::default()
    }
}

/// One invalid block, or four invalid batches, and a peer is no longer listened to (THREATS G9). The
/// engine bans for the third batch (C19), which it must still be able to hear.
/// How many peers share an address is the gate's business.
fn score(topics: &Topics) -> (PeerScoreParams, PeerScoreThresholds) {
    let params = PeerScoreParams {
        topics: [
            (topics.block.clone(), topic_score(-200.0)),
            (topics.tx.clone(), topic_score(-10.0)),
        ]
        .into(),
        topic_score_cap: 30.0,
        app_specific_weight: 0.0,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -16.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: score_parameter_decay(DECAY),
        retain_score: DECAY,
        slow_peer_weight: -1.0,
        ..PeerScoreParams::default()
    };
    let thresholds = PeerScoreThresholds {
        gossip_threshold: -20.0,
        publish_threshold: -60.0,
        graylist_threshold: GRAYLIST,
        accept_px_threshold: 1_000.0,
        opportunistic_graft_threshold: 1.0,
    };
    (params, thresholds)
}

/// Subscribed to both topics.
pub(crate) fn gossip(names: &wire::Names) -> Gossip {
    let topics = Topics::new(names);
    let filter = WhitelistSubscriptionFilter(
        [topics.block.clone(), topics.tx.clone()].into_iter().collect(),
    );
    let mut gossip = Gossip::new_with_subscription_filter(
        MessageAuthenticity::Anonymous,
        config(&topics),
        filter,
    )
    .expect("anonymous authenticity and validation fit; a test builds them");
    let (params, thresholds) = score(&topics);
    gossip.with_peer_score(params, thresholds).expect("constants; a test builds them");
    for name in [&names.block, &names.tx] {
        gossip.subscribe(&IdentTopic::new(name)).expect("whitelisted above");
    }
    gossip
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::BlockId;

    use super::*;

    fn names() -> wire::Names {
        wire::Names::new(&BlockId([7; 32]))
    }

    #[test]
    fn the_constants_fit_together() {
        assert_eq!(gossip(&names()).topics().count(), 2);
        let config = config(&Topics::new(&names()));
        let life_ms = config.history_length() as u128 * config.heartbeat_interval().as_millis();
        assert!(life_ms > u128::from(crate::limits::VERDICT_MS + crate::limits::VERDICT_GRACE_MS));
        // An IHAVE of ours is one that our peers take: ids, their tags, the topic.
        let id = wire::message_id(b"any").len() + 2;
        assert!(MAX_GOSSIP_IDS * id + 128 <= MAX_CONTROL_BYTES);
    }

    #[test]
    fn gossipsub_is_told_every_limit() {
        let config = config(&Topics::new(&names()));
        assert_eq!(config.heartbeat_interval(), HEARTBEAT);
        assert_eq!(config.history_length(), GOSSIP_HISTORY);
        assert_eq!(config.connection_handler_queue_len(), GOSSIP_QUEUE);
        assert_eq!(config.publish_queue_duration(), GOSSIP_PATIENCE);
        assert_eq!(config.forward_queue_duration(), GOSSIP_PATIENCE);
        assert_eq!(config.max_control_message_size(), MAX_CONTROL_BYTES);
        assert_eq!(config.max_control_messages_sent(), MAX_GOSSIP_IDS);
        assert_eq!(config.max_ihave_messages_heartbeat(), MAX_IHAVES);
        assert_eq!(config.gossip_retransimission(), MAX_RETRANSMISSIONS);
        assert_eq!(config.max_publish_messages(), MAX_MESSAGES_PER_RPC);
        assert_eq!(config.iwant_followup_time(), PROMISE_TIMEOUT);
        assert_eq!(config.prune_backoff(), PRUNE_BACKOFF);
        assert!(config.validate_messages() && !config.do_px());
    }

    #[test]
    fn limits_are_by_topic() {
        let topics = Topics::new(&names());
        let config = config(&topics);
        assert_eq!(config.max_transmit_size_for_topic(&topics.block), 262_144 + 1_024);
        assert_eq!(config.max_transmit_size_for_topic(&topics.tx), 65_536 + 1_024);
    }

    #[test]
    fn nothing_good_outweighs_one_invalid_block_or_four_invalid_batches() {
        let topics = Topics::new(&names());
        let (params, thresholds) = score(&topics);
        let penalty = |topic, count: f64| {
            params.topics[topic].invalid_message_deliveries_weight * count * count
        };
        let best = params.topic_score_cap;
        assert!(best + penalty(&topics.block, 1.0) < thresholds.graylist_threshold);
        assert!(best + penalty(&topics.tx, 4.0) < thresholds.graylist_threshold);
        let third = penalty(&topics.tx, 3.0);
        assert!(third > thresholds.graylist_threshold, "the engine hears the one that it bans for");
        assert!(penalty(&topics.tx, 1.0) > thresholds.publish_threshold, "one may be a mishap");
    }
}
