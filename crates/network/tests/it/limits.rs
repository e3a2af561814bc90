//! Every bound of this room has a row here: the tests that meet it from both sides, or why no peer
//! can stretch it. A bound without a row fails, and so does a row whose tests do not exist.

use std::{collections::BTreeMap, fs, path::Path};

/// What is known of one bound. A test is named `file::test`.
enum Row {
    /// Tests at the limit and over it.
    Met(&'static [&'static str]),
    /// A setting that libp2p keeps. The tests show that it was told, and where they can that it
    /// keeps it.
    Told(&'static [&'static str]),
    /// What this node does by itself, or what its operator gives it.
    Ours(&'static str),
}

use Row::{Met, Ours, Told};

const FULL_HOUSE: Row = Met(&["gate::a_full_house_takes_no_more_until_somebody_leaves"]);
const EVICTION: Row = Met(&[
    "eviction::who_is_quick_or_brings_news_or_stayed_long_is_kept",
    "eviction::few_are_all_protected",
]);
const UPLOAD: Row = Met(&[
    "upload::each_bucket_has_its_burst_and_then_its_rate",
    "exchange::who_downloads_without_end_waits_and_keeps_nobody_else_waiting",
]);
const PACE: Row =
    Met(&["codec::big_frames_have_more_time", "codec::a_dripping_peer_runs_out_of_time"]);
const BY_TOPIC: Row = Met(&["gossip::limits_are_by_topic"]);
const VERDICTS: Row = Met(&["exchange::verdicts_that_are_due_are_bounded_in_number_and_time"]);
const SLOW: Row = Met(&["gossip::who_does_not_read_is_cut_and_keeps_nobody_waiting"]);
const IHAVE: Row = Told(&[
    "gossip::gossipsub_is_told_every_limit",
    "gossip::promises_without_end_are_asked_for_within_limits_and_broken_ones_end_in_a_cut",
]);
const SETTINGS: Row = Told(&["gossip::gossipsub_is_told_every_limit"]);
const JUNK: Row = Met(&[
    "hostile::undecodable_requests_are_counted_and_end_in_a_ban",
    "hostile::undecodable_gossip_ends_in_a_ban",
]);
const BUCKETS: Row = Met(&["book::one_network_fills_a_few_buckets_and_leaves_room_for_all_others"]);
const SEEDS: Row = Met(&["seeds::seeds_are_asked_while_peers_lack_and_ever_more_seldom"]);
const QUIC: Row = Told(&["exchange::a_request_is_answered_or_refused"]);

const ROWS: &[(&str, Row)] = &[
    ("MAX_INBOUND", FULL_HOUSE),
    ("EVICTION_ROOM", FULL_HOUSE),
    ("PROTECTED_GROUPS", EVICTION),
    ("PROTECTED_QUICK", EVICTION),
    ("PROTECTED_TRANSACTION_BRINGERS", EVICTION),
    ("PROTECTED_BLOCK_BRINGERS", EVICTION),
    ("WANTED_OUTBOUND", Met(&["dialler::the_book_fills_up_what_is_wanted_and_no_more"])),
    (
        "MAX_INBOUND_PER_ORIGIN",
        Met(&["gate::four_from_one_place_in_any_notation_but_any_number_from_here"]),
    ),
    ("ARRIVAL_BURST", Met(&["gate::whoever_comes_again_and_again_is_slowed_and_others_are_not"])),
    ("ARRIVAL_MS", Met(&["gate::whoever_comes_again_and_again_is_slowed_and_others_are_not"])),
    ("MAX_ARRIVING", Met(&["gate::whoever_comes_again_and_again_is_slowed_and_others_are_not"])),
    ("MAX_PENDING_INBOUND", Met(&["gate::handshakes_are_counted_while_they_last"])),
    ("MAX_PENDING_OUTBOUND", Met(&["dialler::so_many_dials_go_on_at_one_time_and_no_more"])),
    (
        "COLLISION_MS",
        Met(&["dialler::after_a_collision_the_greater_peer_id_waits_until_the_other_has_dialled"]),
    ),
    (
        "HANDSHAKE_TIMEOUT",
        Met(&["hostile::silent_connections_fill_the_handshakes_only_for_a_while"]),
    ),
    ("IDENTIFY_TIMEOUT_MS", Met(&["hostile::who_never_says_who_it_is_is_let_go"])),
    ("PARTING_MS", Met(&["strangers::peers_of_different_chains_part_and_both_say_why"])),
    ("IDLE_TIMEOUT", Ours("never reached: connections end by decision or by a ping that failed")),
    ("PING_INTERVAL", Ours("how often we ask")),
    ("PING_TIMEOUT", Ours("libp2p's ping ends at it, a minute after a peer fell silent")),
    ("MAX_STREAMS", Met(&["muxer::a_stream_too_many_ends_the_connection"])),
    (
        "MAX_CONNECTION_WINDOW_BYTES",
        Met(&["muxer::a_peer_whose_data_nobody_reads_sends_a_window_and_no_more"]),
    ),
    ("MAX_QUIC_STREAM_WINDOW_BYTES", QUIC),
    ("QUIC_IDLE_TIMEOUT", QUIC),
    ("QUIC_KEEP_ALIVE", QUIC),
    (
        "MAX_NEGOTIATING_STREAMS",
        Met(&["hostile::streams_without_a_protocol_are_heard_up_to_a_number_and_the_next_waits"]),
    ),
    (
        "MAX_REQUESTS_PER_PEER",
        Met(&[
            "exchange::a_request_that_can_not_be_sent_fails_at_once",
            "hostile::more_requests_than_allowed_are_refused_and_the_rest_is_served",
        ]),
    ),
    ("MAX_REQUESTS", Ours("the engine asks for a quarter of it; this is the wall behind")),
    ("MAX_PEER_REQUESTS", Ours("more than all peers together may have in flight, eight each")),
    ("MAX_ANSWER_BYTES_QUEUED", Met(&["exchange::answers_on_their_way_have_a_bound"])),
    ("UPLOAD_BURST_BYTES", UPLOAD),
    ("UPLOAD_BYTES_PER_SECOND", UPLOAD),
    ("UPLOAD_TOTAL_BURST_BYTES", UPLOAD),
    ("UPLOAD_TOTAL_BYTES_PER_SECOND", UPLOAD),
    ("FRAME_TIMEOUT", PACE),
    ("FRAME_BYTES_PER_SECOND", PACE),
    ("FRAME_FIRST_ALLOCATION", Met(&["codec::a_claimed_length_alone_costs_little"])),
    ("GOSSIP_FRAMING_BYTES", BY_TOPIC),
    ("GOSSIP_READ_AHEAD_BYTES", BY_TOPIC),
    ("VERDICT_MS", VERDICTS),
    ("VERDICT_GRACE_MS", VERDICTS),
    ("MAX_TICKETS", VERDICTS),
    ("HEARTBEAT", SETTINGS),
    ("GOSSIP_HISTORY", SETTINGS),
    ("GOSSIP_QUEUE", SLOW),
    ("GOSSIP_PATIENCE", SLOW),
    ("MAX_FAILED_MESSAGES", SLOW),
    ("SLOW_WINDOW_MS", SLOW),
    (
        "MAX_CONTROL_BYTES",
        Met(&["gossip::what_a_peer_does_not_want_is_forgotten_where_it_is_too_much"]),
    ),
    ("MAX_GOSSIP_IDS", IHAVE),
    ("MAX_IHAVES", IHAVE),
    (
        "MAX_RETRANSMISSIONS",
        Met(&["gossip::the_same_message_is_sent_a_few_times_however_often_it_is_asked_for"]),
    ),
    ("PROMISE_TIMEOUT", IHAVE),
    ("PRUNE_BACKOFF", Met(&["gossip::who_grafts_before_its_time_again_and_again_is_cut"])),
    ("SCORE_CHECK_MS", Ours("how often we look")),
    (
        "MAX_MESSAGES_PER_RPC",
        Met(&[
            "gossip::gossipsub_is_told_every_limit",
            "gossip::an_rpc_with_a_message_too_many_is_not_read_nor_is_what_follows_it_on_its_stream",
        ]),
    ),
    ("MAX_JUNK", JUNK),
    ("JUNK_BAN_MS", JUNK),
    ("MAX_BANS", Met(&["bans::the_table_is_bounded_and_the_first_to_end_goes"])),
    ("MAX_BAN_SECONDS", Met(&["bans::the_operator_sets_lists_and_lifts"])),
    ("MAX_BAN_REASON", Met(&["bans::the_operator_sets_lists_and_lifts"])),
    ("LOG_LINES_PER_MINUTE", Met(&["log::a_flood_writes_its_allowance_and_then_a_count"])),
    ("MAX_LOGGED_TEXT", Met(&["log::nothing_a_peer_says_moves_the_cursor"])),
    ("NEW_BUCKETS", BUCKETS),
    ("NEW_BUCKETS_PER_GROUP", BUCKETS),
    ("TRIED_BUCKETS", BUCKETS),
    ("TRIED_BUCKETS_PER_GROUP", BUCKETS),
    ("BUCKET_PEERS", BUCKETS),
    ("ANCHORS", Met(&["book::the_book_comes_back_from_its_file_with_its_anchors"])),
    ("FEELER_MS", Met(&["dialler::when_there_are_enough_a_rumour_is_proved_now_and_then"])),
    ("SAVE_MS", Ours("how often we write")),
    ("MAX_SECRET_FILE_BYTES", Ours("the operator's own file")),
    ("MAX_STATE_FILE_BYTES", Ours("files that this node wrote, of tables that are bounded")),
    ("MAX_ADDRESSES_PER_PEER", Met(&["seeds::records_are_rumours_of_bounded_number"])),
    ("MAX_KEPT", Met(&["dialler::the_operators_list_is_bounded_and_can_be_shortened"])),
    (
        "KEPT_BACKOFF_MS",
        Met(&["dialler::a_kept_peer_is_dialled_for_ever_and_ever_slower_up_to_a_limit"]),
    ),
    ("BOOK_BACKOFF_MS", Met(&["book::a_peer_that_was_there_is_tried_for_long"])),
    ("BOOK_FAILURES", Met(&["book::a_peer_that_was_there_is_tried_for_long"])),
    ("SHUN_MS", Met(&["book::a_false_rumour_costs_one_dial_under_whatever_name_it_comes_again"])),
    (
        "MAX_SHUNNED",
        Met(&["book::a_false_rumour_costs_one_dial_under_whatever_name_it_comes_again"]),
    ),
    ("STABLE_MS", Met(&["dialler::a_connected_or_dialled_peer_is_not_dialled"])),
    ("LOOKUP_MS", Met(&["finding::lookups_slow_down_until_there_is_news"])),
    ("IDLE_LOOKUP_MS", Met(&["finding::lookups_slow_down_until_there_is_news"])),
    ("MAX_SEEDS", Met(&["seeds::seeds_are_names_and_few"])),
    ("MAX_SEED_PEERS", Met(&["seeds::records_are_rumours_of_bounded_number"])),
    ("SEED_NEED", Ours("when we ask")),
    ("SEED_PATIENCE_MS", SEEDS),
    ("SEED_MS", SEEDS),
    ("SEED_TIMEOUT", Ours("how long we wait for the operator's own seeds")),
    ("MAX_NEIGHBOURS", Met(&["finding::a_link_has_room_for_so_many"])),
    ("LOOKUP_TIMEOUT", Ours("how long we wait for an answer that nobody needs")),
    ("COMMAND_QUEUE", Ours("filled by the driver; bounded by what is in flight")),
    ("TICK", Ours("how often we look")),
    ("START_TIMEOUT", Ours("the operating system's answer to our own listening")),
    ("STOP_TIMEOUT", Ours("how long we wait at our own end")),
];

/// Names of constants in this text.
fn constants(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("pub(crate) const ")?.split(':').next())
        .collect()
}

/// The text of each Rust file below, by its name without the ending.
fn sources(directory: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.entry(name).or_default().push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_limit_has_a_row_and_every_row_its_tests() {
    let limits = constants(include_str!("../../src/limits.rs"));
    let rows: BTreeMap<_, _> = ROWS.iter().map(|(name, row)| (*name, row)).collect();
    assert_eq!(rows.len(), ROWS.len(), "a row stands twice");
    let without: Vec<_> = limits.iter().filter(|name| !rows.contains_key(**name)).collect();
    assert!(without.is_empty(), "limits without a row: {without:?}");
    let stale: Vec<_> = rows.keys().filter(|name| !limits.contains(name)).collect();
    assert!(stale.is_empty(), "rows without a limit: {stale:?}");

    let mut files = BTreeMap::new();
    for part in ["src", "tests"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(part), &mut files);
    }
    for (name, row) in rows {
        let tests = match row {
            Met(tests) | Told(tests) => tests,
            Ours(why) => {
                assert!(!why.is_empty(), "{name}");
                continue;
            }
        };
        for test in *tests {
            let (file, function) = test.split_once("::").unwrap();
            let text = files.get(file).unwrap_or_else(|| panic!("{name}: no file {file}"));
            assert!(text.contains(&format!("fn {function}(")), "{name}: no test {test}");
        }
    }
}
