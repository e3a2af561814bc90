//! Every bound of this room, each with where it comes from.
//!
//! What bytes on the wire may weigh is PROTOCOL.md §12 and lives in `ashlar_primitives::wire`;
//! here is what a node allows its peers to make it hold, wait for or write down.

use std::time::Duration;

// ---- connections

/// Connections that others may have to us at one time (Bitcoin Core's 125 less its 10 outbound).
pub(crate) const MAX_INBOUND: usize = 115;
/// Inbound connections over [`MAX_INBOUND`] that are open while it is decided who of all has to go.
pub(crate) const EVICTION_ROOM: usize = 4;
/// Who is never asked to go when room is needed: one each of so many networks …
pub(crate) const PROTECTED_GROUPS: usize = 4;
/// … the quickest by ping …
pub(crate) const PROTECTED_QUICK: usize = 8;
/// … those whose transactions were new to us last …
pub(crate) const PROTECTED_TRANSACTION_BRINGERS: usize = 4;
/// … and those whose blocks were (Bitcoin Core's numbers).
pub(crate) const PROTECTED_BLOCK_BRINGERS: usize = 8;
/// Connections that we look for by ourselves; those to configured peers come on top.
pub(crate) const WANTED_OUTBOUND: usize = 8;
/// Inbound connections, handshakes counted, from one IPv4 address or IPv6 /64; loopback is exempt
/// where the operator says so.
pub(crate) const MAX_INBOUND_PER_ORIGIN: usize = 4;
/// Connections that one such origin may begin at once (THREATS N3a) …
pub(crate) const ARRIVAL_BURST: u32 = 8;
/// … and one more each second, as Zebra has it.
pub(crate) const ARRIVAL_MS: u64 = 1_000;
/// Origins whose pace is remembered; each for as long as it takes to be at rest again.
pub(crate) const MAX_ARRIVING: usize = 4_096;
/// Inbound handshakes going on at one time.
pub(crate) const MAX_PENDING_INBOUND: usize = 32;
/// Dials going on at one time.
pub(crate) const MAX_PENDING_OUTBOUND: usize = 16;
/// Two nodes that dialled each other at once may each have refused the other's connection. The one
/// with the greater peer id then waits so much longer, and is found.
pub(crate) const COLLISION_MS: u64 = 1_500;
/// Noise and Yamux together.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without identify for so long is closed.
pub(crate) const IDENTIFY_TIMEOUT_MS: u64 = 15_000;
/// How long a stranger stays connected, so that it too learns why we part: what is under way when a
/// connection closes may be lost.
pub(crate) const PARTING_MS: u64 = 2_000;
/// Connections end by decision or by a failed ping, never by silence.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// THREATS N13: both ways, so that a half-dead link is noticed.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(30);
/// See [`PING_INTERVAL`].
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(60);
/// Yamux streams of one connection; its default is 512 (THREATS §0).
pub(crate) const MAX_STREAMS: usize = 64;
/// What a peer may have sent on all streams of one connection that was not read yet (THREATS §0).
/// Yamux gives each stream 256 KiB, so this is the least that it takes for [`MAX_STREAMS`].
pub(crate) const MAX_CONNECTION_WINDOW_BYTES: usize = MAX_STREAMS * (256 << 10);
/// And on one stream of QUIC.
pub(crate) const MAX_QUIC_STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// A QUIC connection on which nothing comes for so long has ended …
pub(crate) const QUIC_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// … and something is sent so often where nothing else is.
pub(crate) const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Inbound streams of one connection that agree on a protocol at one time; further ones, up to
/// [`MAX_STREAMS`], wait until one of these has or is given up.
pub(crate) const MAX_NEGOTIATING_STREAMS: usize = 32;

// ---- requests

/// Requests in flight in each direction of one peer (THREATS §6).
pub(crate) const MAX_REQUESTS_PER_PEER: usize = 8;
/// All of our own requests in flight (THREATS §6 asks the engine for 64; this is the wall behind).
pub(crate) const MAX_REQUESTS: usize = 256;
/// All requests of peers that wait for the engine.
pub(crate) const MAX_PEER_REQUESTS: usize = 1_024;
/// Encoded answers that wait for their peers to take them, all together.
pub(crate) const MAX_ANSWER_BYTES_QUEUED: usize = 128 << 20;
/// Answers to one peer that leave at once (THREATS N9): a window of eight with large blocks …
pub(crate) const UPLOAD_BURST_BYTES: u64 = 64 << 20;
/// … and how fast further ones do: several times what a node can check.
pub(crate) const UPLOAD_BYTES_PER_SECOND: u64 = 16 << 20;
/// The same of all peers together, for whom it does not pay to come again under another name …
pub(crate) const UPLOAD_TOTAL_BURST_BYTES: u64 = 256 << 20;
/// … about half of what a link of a gigabit carries.
pub(crate) const UPLOAD_TOTAL_BYTES_PER_SECOND: u64 = 64 << 20;
/// A frame must begin to arrive within so long …
pub(crate) const FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// … and may take a second more for each of these.
pub(crate) const FRAME_BYTES_PER_SECOND: usize = 256 << 10;
/// What is set aside for a frame before any of its bytes came.
pub(crate) const FRAME_FIRST_ALLOCATION: usize = 64 << 10;

// ---- gossip

/// What gossipsub's protobuf adds to a message: topic, tags and lengths.
pub(crate) const GOSSIP_FRAMING_BYTES: usize = 1 << 10;
/// gossipsub's decoder measures all that is buffered, which after a read of 8 KiB may hold the
/// beginning of the next message too.
pub(crate) const GOSSIP_READ_AHEAD_BYTES: usize = 16 << 10;
/// How long the engine has for a verdict, on the monotonic clock (THREATS §6).
pub(crate) const VERDICT_MS: u64 = 8_000;
/// Later than that we answer Ignore for it. Messages stay in gossipsub's cache for 12 s.
pub(crate) const VERDICT_GRACE_MS: u64 = 1_000;
/// Messages without a verdict; beyond that they are ignored.
pub(crate) const MAX_TICKETS: usize = 1_024;
/// gossipsub's heartbeat.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);
/// Heartbeats that a message can be asked for, or be judged in: longer than [`VERDICT_MS`].
pub(crate) const GOSSIP_HISTORY: usize = 12;
/// Messages that wait for one peer (THREATS G12).
pub(crate) const GOSSIP_QUEUE: usize = 512;
/// A message waits so long for a peer to take it: a block of 256 KiB needs a moment on a slow link.
pub(crate) const GOSSIP_PATIENCE: Duration = Duration::from_secs(5);
/// A peer for which so many messages found the queue full, or waited too long, in one
/// [`SLOW_WINDOW_MS`], is cut.
pub(crate) const MAX_FAILED_MESSAGES: usize = GOSSIP_QUEUE / 2;
/// See [`MAX_FAILED_MESSAGES`].
pub(crate) const SLOW_WINDOW_MS: u64 = 60_000;
/// Control messages and subscriptions in one RPC of a peer. gossipsub remembers up to 10,000 ids that
/// a peer does not want (THREATS G13), and an id may be as long as this.
pub(crate) const MAX_CONTROL_BYTES: usize = 4 << 10;
/// Message ids that one peer may tell us of, or ask us for, between two heartbeats: 34 bytes each,
/// so that they fit into [`MAX_CONTROL_BYTES`].
pub(crate) const MAX_GOSSIP_IDS: usize = 100;
/// IHAVEs of one peer that are listened to between two heartbeats.
pub(crate) const MAX_IHAVES: usize = 10;
/// How often one peer is sent the same message when it asks.
pub(crate) const MAX_RETRANSMISSIONS: u32 = 2;
/// A message that a peer told us of and was asked for must come within so long, also on a slow link.
pub(crate) const PROMISE_TIMEOUT: Duration = Duration::from_secs(8);
/// Who left the mesh, or was sent away, does not come back for so long.
pub(crate) const PRUNE_BACKOFF: Duration = Duration::from_secs(60);
/// How often it is looked at whom gossipsub no longer listens to.
pub(crate) const SCORE_CHECK_MS: u64 = 1_000;
/// Messages in one RPC of a peer; we send one. An RPC with more ends its stream unread.
pub(crate) const MAX_MESSAGES_PER_RPC: usize = 64;

// ---- misbehaviour that only this room sees

/// Undecodable requests and gossip that a peer may send before it is cut.
pub(crate) const MAX_JUNK: u32 = 3;
/// And for how long it is then kept out.
pub(crate) const JUNK_BAN_MS: u64 = 3_600_000;
/// Peers and addresses kept out at one time (THREATS N7).
pub(crate) const MAX_BANS: usize = 20_000;
/// The longest ban that an operator can set: ten years.
pub(crate) const MAX_BAN_SECONDS: u64 = 10 * 365 * 24 * 3_600;
/// Of the reason of a ban, in characters.
pub(crate) const MAX_BAN_REASON: usize = 120;
/// Log lines a minute from one place that a peer can set off.
pub(crate) const LOG_LINES_PER_MINUTE: u32 = 20;
/// Of any text that came from a peer, in the log.
pub(crate) const MAX_LOGGED_TEXT: usize = 160;

// ---- addresses

/// Buckets of rumours in the address book (THREATS N1; Bitcoin Core's are 1,024 and 256) …
pub(crate) const NEW_BUCKETS: u64 = 64;
/// … and of those, how many one network's addresses can fall into.
pub(crate) const NEW_BUCKETS_PER_GROUP: u64 = 8;
/// Buckets of peers that were connected …
pub(crate) const TRIED_BUCKETS: u64 = 64;
/// … and of those, how many one network's addresses can fall into.
pub(crate) const TRIED_BUCKETS_PER_GROUP: u64 = 8;
/// Peers in one bucket.
pub(crate) const BUCKET_PEERS: usize = 64;
/// Peers of the last run that are dialled first.
pub(crate) const ANCHORS: usize = 2;
/// Between two feelers, spread by half.
pub(crate) const FEELER_MS: u64 = 120_000;
/// The address book and the bans are written so often, where they changed, and at the end.
pub(crate) const SAVE_MS: u64 = 60_000;
/// Of the file with a closed network's secret: its digits, and some white space.
pub(crate) const MAX_SECRET_FILE_BYTES: u64 = 256;
/// Of a file of ours that is read back: 8,192 peers with 8 addresses each.
pub(crate) const MAX_STATE_FILE_BYTES: u64 = 8 << 20;
/// Addresses of one peer (THREATS N1).
pub(crate) const MAX_ADDRESSES_PER_PEER: usize = 8;
/// Peers that the operator asks us to keep.
pub(crate) const MAX_KEPT: usize = 256;
/// Waits between dials of a kept peer: doubling, for ever.
pub(crate) const KEPT_BACKOFF_MS: (u64, u64) = (1_000, 30_000);
/// Waits between dials of a peer from the book (THREATS N5).
pub(crate) const BOOK_BACKOFF_MS: (u64, u64) = (2_000, 600_000);
/// Failures in a row after which a peer that was once connected leaves the book.
pub(crate) const BOOK_FAILURES: u32 = 20;
/// A rumour that proved false leaves the book at once, and its addresses are not believed from
/// third parties for so long: whoever names a victim's address moves us to one dial (THREATS N5).
pub(crate) const SHUN_MS: u64 = 600_000;
/// Addresses that are not believed.
pub(crate) const MAX_SHUNNED: usize = 4_096;
/// A connection shorter than this counts as a failed dial, so that being cut slows us down.
pub(crate) const STABLE_MS: u64 = 30_000;
/// Waits between look-ups while we lack peers: doubling while nothing new turns up.
pub(crate) const LOOKUP_MS: (u64, u64) = (5_000, 60_000);
/// And while we have enough.
pub(crate) const IDLE_LOOKUP_MS: u64 = 300_000;
/// DNS names in the configuration that are asked for peers.
pub(crate) const MAX_SEEDS: usize = 16;
/// Peers that are taken from the answer of one of them.
pub(crate) const MAX_SEED_PEERS: usize = 64;
/// Outbound connections below which seeds are asked …
pub(crate) const SEED_NEED: usize = 2;
/// … after so long, where there is somebody to dial without them …
pub(crate) const SEED_PATIENCE_MS: u64 = 10_000;
/// … and again after waits that double.
pub(crate) const SEED_MS: (u64, u64) = (60_000, 3_600_000);
/// A seed that does not answer for so long is left.
pub(crate) const SEED_TIMEOUT: Duration = Duration::from_secs(15);
/// Peers on the same link that mDNS may know of (THREATS N6). It keeps them all itself, so where
/// there are more it is switched off.
pub(crate) const MAX_NEIGHBOURS: usize = 256;
/// A look-up that takes longer is given up.
pub(crate) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(20);

// ---- the task itself

/// Commands that wait for the swarm task. What can wait is bounded by what is in flight, far below;
/// a full queue means that the task no longer runs, which ends the node.
pub(crate) const COMMAND_QUEUE: usize = 8_192;
/// How often timers are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// How long listening may take to start, and closing to end.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(10);
/// See [`START_TIMEOUT`].
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(2);
