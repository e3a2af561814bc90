//! Peers that misbehave on purpose, against a real node.
//!
//! Each attack is a row of a table: what is done, what must become of who did it, and how much
//! memory it may cost meanwhile. After every row the node serves an honest stranger, keeps the
//! connection of its friend, takes the friend's next block, and its memory is as it was.
//! The figures are printed; `ASHLAR_HOSTILE_ROUNDS=20` goes through the tables so often in one life
//! of the node (`scripts/hostile.sh`).

mod arena;
mod blocks;
mod floods;
mod frames;
mod gossip;
mod silence;

use arena::{Arena, Attack, Fate};
use serde_json::json;

const fn row(
    name: &'static str,
    must: Fate,
    peak_mib: u64,
    run: fn(&mut Arena) -> Vec<ashlar_hostile::Peer>,
) -> Attack {
    Attack { name, must, peak_mib, run }
}

/// Below our own protocols, and in their frames.
const FRAMES: &[Attack] = &[
    row("another chain by identify", Fate::Cut, 16, frames::another_chain),
    row("another chain by status", Fate::Cut, 16, frames::another_chain_by_status),
    row("a contradictory status", Fate::Banned, 16, frames::contradictory_status),
    row("questions before status", Fate::Cut, 16, frames::questions_before_status),
    row("yamux: a first frame over its limit", Fate::Cut, 16, frames::long_first_frame),
    row("yamux: more than the window", Fate::Cut, 16, frames::over_the_window),
    row("yamux: garbage", Fate::Cut, 16, frames::garbage),
    row("yamux: streams opened and reset", Fate::Borne, 16, frames::endless_streams),
    row("oversized requests", Fate::Banned, 16, frames::oversized_requests),
    row("requests that are none", Fate::Banned, 16, frames::garbled_requests),
    row("locators over the limit", Fate::Banned, 16, frames::long_locators),
    row("endless locators", Fate::Borne, 16, frames::endless_locators),
    row("answers of four gigabytes", Fate::Banned, 16, frames::oversized_answers),
    row("answers that are none", Fate::Banned, 16, frames::garbled_answers),
];

/// Headers, bodies, compact blocks.
const BLOCKS: &[Attack] = &[
    row("a header without work in gossip", Fate::Banned, 16, blocks::workless_gossip),
    row("bad header with a valid sibling", Fate::Banned, 16, blocks::bad_header_good_sibling),
    row("headers from nowhere", Fate::Banned, 16, blocks::headers_from_nowhere),
    row("bodies that nobody asked for", Fate::Banned, 16, blocks::unrequested_bodies),
    row("a mutated body in an answer", Fate::Banned, 16, blocks::mutated_body),
    row("a mutated body behind gossip", Fate::Banned, 16, blocks::mutated_gossip),
    row("a block that breaks a rule", Fate::Banned, 16, blocks::invalid_block),
    row("short ids that collide on purpose", Fate::Banned, 16, blocks::colliding_short_ids),
    row("wrong missing transactions", Fate::Borne, 16, blocks::wrong_missing),
    row("wrong ones, and a wrong body", Fate::Banned, 16, blocks::wrong_missing_wrong_body),
    row("a block that is withheld", Fate::Borne, 16, blocks::withheld),
];

/// gossipsub.
const GOSSIP: &[Attack] = &[
    row("gossip that is none", Fate::Banned, 16, gossip::garbled),
    row("a message over its limit", Fate::Borne, 16, gossip::oversized),
    row("messages with an author", Fate::Cut, 16, gossip::signed),
    row("IHAVE of what nobody has", Fate::Borne, 16, gossip::ihave),
    row("IWANT again and again", Fate::Borne, 16, gossip::iwant),
    row("GRAFT and PRUNE again and again", Fate::Cut, 16, gossip::graft),
    row("endless topics", Fate::Borne, 16, gossip::topics),
    row("IDONTWANT without end", Fate::Borne, 16, gossip::idontwant),
];

/// By mass.
const FLOODS: &[Attack] = &[
    row("orphans", Fate::Borne, 32, floods::orphans),
    row("payments without a fee", Fate::Borne, 32, floods::free_payments),
    row("bad signatures", Fate::Banned, 16, floods::bad_signatures),
    row("answers that nobody reads", Fate::Borne, 160, floods::unread_answers),
    row("500 connections", Fate::Borne, 64, floods::crowd),
    row("dials that end at once", Fate::Borne, 16, floods::knocking),
];

const HEADERS: &[Attack] = &[row("headers of little work", Fate::Borne, 16, floods::low_work)];

/// All at once.
const SILENCE: &[Attack] = &[
    row("no status", Fate::Cut, 16, silence::no_status),
    row("no identify", Fate::Cut, 16, silence::nameless),
    row("no answers", Fate::Borne, 16, silence::no_answers),
    row("answers byte by byte", Fate::Borne, 16, silence::dripped_answers),
    row("bodies withheld", Fate::Borne, 16, silence::withheld_bodies),
    row("requests byte by byte", Fate::Borne, 16, silence::dripped_requests),
    row("silent sockets", Fate::Borne, 16, silence::sockets),
];

#[test]
fn frames_of_no_honest_peer() {
    Arena::new().suffer(FRAMES);
}

#[test]
fn blocks_of_no_honest_peer() {
    Arena::new().suffer(BLOCKS);
}

#[test]
fn gossip_of_no_honest_peer() {
    Arena::new().suffer(GOSSIP);
}

#[test]
fn floods_of_no_honest_peer() {
    Arena::with(&[], floods::big_block).suffer(FLOODS);
}

#[test]
fn headers_that_can_never_win() {
    let easy = floods::EASY_AT_FIRST.iter().map(|(name, value)| (*name, json!(value)));
    let easy: Vec<_> = easy.collect();
    Arena::with(&easy, floods::hard_chain).suffer(HEADERS);
}

#[test]
fn silence_of_many_kinds() {
    Arena::new().suffer_together(SILENCE);
}
