//! Every bound and interval of the engine, each with where it comes from. What the wire format
//! itself bounds (locators, lists, sizes of messages) is in `ashlar_primitives::wire`.

use ashlar_primitives::wire;

// ---- peers

/// Connections that the engine keeps state for. The network's own limits (125 by default) are
/// lower; this one holds if they are configured away.
pub(crate) const MAX_PEERS: usize = 512;
/// A peer that has not told its status by then is cut. Status is the first message and small.
pub(crate) const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// Score at which a peer is cut.
pub(crate) const CUT_SCORE: u32 = 100;
/// Time in which one point is forgotten, so that years of small faults add up to nothing.
pub(crate) const SCORE_DECAY_MS: u64 = 10_000;
/// Requests in a row without an answer in time, after which a peer is cut (and not banned: a
/// link can fail without anybody's fault).
pub(crate) const MAX_TIMEOUTS: u32 = 6;
/// Keeping out who broke a rule that no honest node breaks (THREATS.md §6: 24 h).
pub(crate) const BAN_MS: u64 = 24 * 3_600_000;
/// Requests that one peer may make at once, refilled at [`REQUESTS_PER_SECOND`].
pub(crate) const REQUEST_BURST: u64 = 10_000;
/// Requests a second that one peer may make for long: far more than any link lets a syncing node
/// use, for it asks for blocks by the dozen.
pub(crate) const REQUESTS_PER_SECOND: u64 = 2_000;
/// Between two answers to `mempool` for one peer: each sorts the mempool.
pub(crate) const MEMPOOL_ANSWER_INTERVAL_MS: u64 = 2_000;

// ---- our own requests

/// Of ours in flight to one peer (THREATS.md §6).
pub(crate) const MAX_REQUESTS_PER_PEER: usize = 8;
/// Of ours in flight, status and headers not counted (THREATS.md §6).
pub(crate) const MAX_REQUESTS: usize = 64;
/// For an answer of a few hundred bytes. These three are the engine's own, behind the network's
/// (THREATS.md §6: 10 s, and 1 s for each 256 KiB): they hold if the driver forgets a request.
pub(crate) const SMALL_ANSWER_TIMEOUT_MS: u64 = 15_000;
/// For 2,000 headers.
pub(crate) const HEADERS_TIMEOUT_MS: u64 = 20_000;
/// For the largest answer.
pub(crate) const LARGE_ANSWER_TIMEOUT_MS: u64 = 50_000;
/// After which another peer is asked for headers as well (THREATS.md P2: a peer must keep pace).
pub(crate) const HEADERS_SLOW_MS: u64 = 3_000;
/// Peers whose header chains are followed at one time.
pub(crate) const MAX_LEADERS: usize = 3;
/// After so long one of them makes room where another waits: 12 million headers at 20,000 a second.
pub(crate) const LEAD_MS: u64 = 600_000;
/// Headers that one leader may be behind the others and still go on where they are.
pub(crate) const MAX_LEAP: u32 = 6_000;
/// A peer whose headers do not bear out what it claims is passed over for so long.
pub(crate) const CLAIM_PAUSE_MS: u64 = 15_000;

// ---- status and headers

/// Without block gossip for so long, random peers are asked for their status (THREATS.md §6).
pub(crate) const GOSSIP_SILENCE_MS: u64 = 10_000;
/// How many are asked then.
pub(crate) const POLLED_PEERS: usize = 2;
/// Between two statuses pushed to one peer because our tip moved otherwise than by gossip.
pub(crate) const STATUS_PUSH_INTERVAL_MS: u64 = 2_000;
/// Between two questions to a peer that was behind us when it last said where it is.
pub(crate) const STATUS_REFRESH_MS: u64 = 30_000;
/// Blocks of normal difficulty that a branch may lack of our own work and still be stored (§12).
pub(crate) const LOW_WORK_BLOCKS: u64 = 144;
/// Low-work branches that are walked at one time, one a peer (THREATS.md P1).
pub(crate) const MAX_WALKS: usize = 3;
/// One bit in so many headers is remembered between the two passes of a low-work walk.
pub(crate) const COMMITMENT_PERIOD: u64 = 32;
/// Headers that follow a header before it is stored in the second pass. The bits among them,
/// 64, can't be guessed.
pub(crate) const COMMITMENT_DEPTH: usize = 2_048;
/// Bits remembered for one walk, a byte each: 33 million headers, ten years of them at 10 s.
pub(crate) const MAX_COMMITMENTS: usize = 1_048_576;
/// A header from the future is asked for again no sooner than this.
pub(crate) const TOO_NEW_RETRY_MS: u64 = 1_000;
/// And no later, however far ahead it is: the clock may be put right before.
pub(crate) const MAX_TOO_NEW_RETRY_MS: u64 = 10_000;
/// Between two `ClockBehind` notices.
pub(crate) const CLOCK_NOTICE_INTERVAL_MS: u64 = 60_000;

// ---- bodies

/// A known header chain that leads the tip by more than this means catching up (DESIGN.md).
pub(crate) const SYNC_LEAD_BLOCKS: u32 = 24;
/// Between two `Syncing` notices.
pub(crate) const SYNC_NOTICE_INTERVAL_MS: u64 = 10_000;
/// How far above what is connected bodies are fetched (DESIGN.md).
pub(crate) const WINDOW_BLOCKS: usize = 1_024;
/// The same in bytes.
pub(crate) const WINDOW_BYTES: u64 = 128 * 1_048_576;
/// Blocks asked of one peer and not yet there (THREATS.md P5).
pub(crate) const BLOCKS_PER_PEER: usize = 16;
/// Blocks asked for in one request, so that a peer's two requests overlap.
pub(crate) const BLOCKS_PER_REQUEST: usize = 8;
/// The lowest block of the window may be out for so long before another peer is asked for it;
/// doubles with every stall, and shrinks by an eighth with every body that comes (THREATS.md P5).
pub(crate) const FIRST_STALL_MS: u64 = 2_000;
/// See [`FIRST_STALL_MS`]: where bodies come fast.
pub(crate) const MIN_STALL_MS: u64 = 1_000;
/// See [`FIRST_STALL_MS`].
pub(crate) const MAX_STALL_MS: u64 = 64_000;
/// A peer that did not deliver is not asked for bodies for so long; one that kept others waiting
/// for twice as long each time, up to the maximum.
pub(crate) const DOWNLOAD_PAUSE_MS: u64 = 10_000;
/// See [`DOWNLOAD_PAUSE_MS`].
pub(crate) const MAX_DOWNLOAD_PAUSE_MS: u64 = 600_000;
/// Where no peer keeps the next body for so long, though there are some that had it, the operator
/// is told.
pub(crate) const ONLY_PRUNED_MS: u64 = 10_000;
/// Of the tip's height while catching up, one a second: speed is that of the last minute.
pub(crate) const SPEED_SAMPLES: usize = 60;
/// Where the best header chain's next body comes from nobody for so long, its bodies count as
/// withheld: the node is no longer behind because of it.
pub(crate) const WITHHELD_MS: u64 = 60_000;

// ---- block relay

/// A compact block is passed on if its branch has the work of the best chain's sixth-last block:
/// the tip's ancestor by this many (§12).
pub(crate) const RELAY_DEPTH: u32 = 5;
/// Announced blocks that wait for a missing part.
pub(crate) const MAX_PENDING_BLOCKS: usize = 16;
/// The same from one peer.
pub(crate) const MAX_PENDING_BLOCKS_PER_PEER: usize = 4;
/// Blocks kept decoded for rebuilding, serving and reorganisation.
pub(crate) const RECENT_BLOCKS: usize = 12;
/// The same in bytes of their encodings.
pub(crate) const RECENT_BLOCK_BYTES: usize = 16 * 1_048_576;
/// Transactions that left the mempool unconfirmed, kept because a block may still hold them.
pub(crate) const RECENT_TRANSACTION_BYTES: usize = 4 * 1_048_576;
/// Bytes of transactions that an announcement carries whole because peers can't have them.
pub(crate) const PREFILL_BYTES: usize = 65_536;
/// Ids of blocks that passed through our gossip lately.
pub(crate) const RELAYED_IDS: usize = 64;

// ---- transaction relay

/// How long accepted transactions are gathered before they are published together.
pub(crate) const GATHER_MS: u64 = 20;
/// Accepted transactions waiting to be published while the node catches up; what is over is left
/// to reconciliation.
pub(crate) const MAX_OUTGOING_BYTES: usize = 1_048_576;
/// While catching up nothing is relayed; looked at again after this.
pub(crate) const GATHER_RETRY_MS: u64 = 1_000;
/// Batches being judged. A batch holds at most 1,000 transactions or 65,536 bytes.
pub(crate) const MAX_BATCHES: usize = 128;
/// The same from all peers: the rest is for callers and for what waits inside.
pub(crate) const MAX_PEER_BATCHES: usize = 96;
/// The same from one peer: what 8,000 payments a second are, gathered for 20 ms each time, while a
/// large block connects.
pub(crate) const MAX_BATCHES_PER_PEER: usize = 32;
/// Bytes of gossip that brought nothing new, a second and peer, for long (THREATS.md §6).
pub(crate) const UNPRODUCTIVE_BYTES_PER_SECOND: u64 = 65_536;
/// The same at once.
pub(crate) const UNPRODUCTIVE_BURST_BYTES: u64 = 1_048_576;
/// Bytes of gossip that brought something, a second and peer (THREATS.md §6); also the burst.
pub(crate) const PRODUCTIVE_BYTES_PER_SECOND: u64 = 8 * 1_048_576;
/// Orphans in all (THREATS.md P7).
pub(crate) const MAX_ORPHANS: usize = 100;
/// The same in bytes.
pub(crate) const MAX_ORPHAN_BYTES: usize = 400_000;
/// The same from one peer.
pub(crate) const MAX_ORPHANS_PER_PEER: usize = 10;
/// An orphan whose parents did not come by then is dropped.
pub(crate) const ORPHAN_EXPIRY_MS: u64 = 300_000;
/// Orphans judged again in one go (THREATS.md P7).
pub(crate) const ORPHANS_PER_ROUND: usize = 10;
/// Exchanges of mempools at one time: what one brings, the next need not.
pub(crate) const MAX_RECONCILES: usize = 4;
/// Between two exchanges of mempool ids with one peer.
pub(crate) const RECONCILE_INTERVAL_MS: u64 = 10_000;
/// An answer of transactions this close to its limit was cut off by it, not by lack.
pub(crate) const FULL_TRANSACTIONS_ANSWER_BYTES: usize =
    wire::MAX_TRANSACTIONS_BYTES.saturating_sub(100_000);

// ---- reorganisations

/// How long `getblockchaininfo` warns of a deep reorganisation.
pub(crate) const DEEP_REORG_WARNING_MS: u64 = 24 * 3_600_000;

// ---- calls

/// Submitted blocks being judged.
pub(crate) const MAX_SUBMISSIONS: usize = 16;
/// Calls waiting for one template.
pub(crate) const MAX_TEMPLATE_WAITERS: usize = 64;
/// Orders waiting for the tip to stand still.
pub(crate) const MAX_ORDERS: usize = 16;
/// A template's choice of transactions is made anew at most so often on one tip.
pub(crate) const TEMPLATE_REFRESH_MS: u64 = 1_000;
/// A coinbase's `extra` (PROTOCOL.md §4).
pub(crate) const MAX_COINBASE_EXTRA_BYTES: usize = 96;
/// What a template holds beside its transactions: the header, their count, and a coinbase with
/// one output and the longest `extra`.
pub(crate) const TEMPLATE_OVERHEAD_BYTES: usize = 80 + 4 + (1 + 4 + 32 + 2 + 41 + 2 + 96);
/// Transactions dropped from one template, one by one, before the rest of it is given up.
pub(crate) const MAX_TEMPLATE_CULPRITS: u32 = 16;
/// The picture of the mempool's feerates behind estimates is this old at most.
pub(crate) const FEE_PICTURE_MS: u64 = 5_000;
/// The longest wait that an estimate is made for.
pub(crate) const MAX_FEE_TARGET_BLOCKS: u32 = 1_008;

// ---- housekeeping

/// Expiry of orphans and mempool, waiting exchanges.
pub(crate) const HOUSEKEEPING_MS: u64 = 1_000;
/// Old transactions are looked for this often.
pub(crate) const MEMPOOL_EXPIRY_MS: u64 = 60_000;
/// Timers that fire in one call; the rest follow at once in the next.
pub(crate) const TIMERS_PER_TICK: usize = 64;
