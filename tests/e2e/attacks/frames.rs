//! Attacks on the connection itself and on the frames of requests and answers.

use ashlar_hostile::{
    Manners, Peer, Pipe as _, Reply,
    yamux::{self, Kind},
};
use ashlar_primitives::{
    BlockId,
    wire::{self, Request, Status, tag},
};

use super::arena::Arena;
use crate::harness::wait_for;

/// A frame whose length says what it likes.
pub(crate) fn frame(length: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn another_chain(arena: &mut Arena) -> Vec<Peer> {
    let names = wire::Names::new(&BlockId([9; 32]));
    vec![arena.connect(Manners::new(&names, |_| Reply::Silence))]
}

pub(crate) fn another_chain_by_status(arena: &mut Arena) -> Vec<Peer> {
    let peer = arena.connect(arena.manners(arena.status(&arena.tip), |_| Reply::Silence));
    let status = Status { chain_id: BlockId([9; 32]), ..arena.status(&arena.tip) };
    // the node answers or hangs up at once
    arena.runtime.block_on(peer.introduce(status)).ok();
    vec![peer]
}

pub(crate) fn contradictory_status(arena: &mut Arena) -> Vec<Peer> {
    let peer = arena.connect(arena.manners(arena.status(&arena.tip), |_| Reply::Silence));
    let status = Status { height: 0, ..arena.status(&arena.tip) };
    arena.runtime.block_on(peer.introduce(status)).ok();
    vec![peer]
}

pub(crate) fn questions_before_status(arena: &mut Arena) -> Vec<Peer> {
    let peer = arena.connect(arena.manners(arena.status(&arena.tip), |_| Reply::Silence));
    for _ in 0..8 {
        let answer = arena.runtime.block_on(peer.ask_raw(&Request::Mempool.to_frame()));
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.is_empty()), "answered");
    }
    vec![peer]
}

/// CVE-2026-32314.
pub(crate) fn long_first_frame(arena: &mut Arena) -> Vec<Peer> {
    let peer = arena.honest();
    let length = 256 * 1_024 + 2;
    let id = peer.session.next_id();
    let bytes = yamux::frame(Kind::Data, yamux::SYN, id, length, &vec![0; length as usize]);
    arena.runtime.block_on(peer.session.raw(bytes)).unwrap();
    vec![peer]
}

pub(crate) fn over_the_window(arena: &mut Arena) -> Vec<Peer> {
    let peer = arena.honest();
    arena.runtime.block_on(async {
        // a request that is announced and never ends keeps the window shut
        let mut stream = peer.open_sync().await.unwrap();
        stream.send(&frame(wire::MAX_REQUEST_BYTES as u32, &[0])).await.unwrap();
        // twice the window in one frame: nothing can be read meanwhile that would open it again
        let length = 512 * 1_024;
        let part = vec![0; length as usize];
        let bytes = yamux::frame(Kind::Data, 0, stream.id(), length, &part);
        // an error says that the node hung up before it had all
        peer.session.raw(bytes).await.unwrap_or_default();
    });
    vec![peer]
}

pub(crate) fn garbage(arena: &mut Arena) -> Vec<Peer> {
    let peer = arena.honest();
    arena.runtime.block_on(async {
        for _ in 0..64 {
            if peer.session.raw(vec![0xff; 16 * 1_024]).await.is_err() {
                return;
            }
        }
    });
    vec![peer]
}

/// CVE-2024-32984: whatever the node wants to say about them, nobody reads it.
pub(crate) fn endless_streams(arena: &mut Arena) -> Vec<Peer> {
    let peer = arena.honest();
    peer.session.set_reading(false);
    arena.runtime.block_on(async {
        for _ in 0..1_000 {
            let mut bytes = Vec::new();
            for _ in 0..200 {
                let id = peer.session.next_id();
                bytes.extend(yamux::frame(Kind::Window, yamux::SYN, id, 0, &[]));
                bytes.extend(yamux::frame(Kind::Data, yamux::RST, id, 0, &[]));
                bytes.extend(yamux::frame(Kind::Ping, yamux::SYN, 0, id, &[]));
            }
            if peer.session.raw(bytes).await.is_err() {
                break;
            }
        }
        peer.session.set_reading(true);
    });
    vec![peer]
}

fn asks(arena: &mut Arena, frames: &[Vec<u8>]) -> Vec<Peer> {
    let peer = arena.honest();
    for frame in frames {
        // refused, or cut off in the middle
        arena.runtime.block_on(peer.ask_raw(frame)).ok();
    }
    vec![peer]
}

pub(crate) fn oversized_requests(arena: &mut Arena) -> Vec<Peer> {
    let length = wire::MAX_REQUEST_BYTES as u32 + 1;
    asks(arena, &[frame(length, &[1; 4_096]), frame(u32::MAX, &[1; 64]), frame(0, &[])])
}

pub(crate) fn garbled_requests(arena: &mut Arena) -> Vec<Peer> {
    asks(arena, &[frame(1, &[200]), frame(3, &[tag::HEADERS, 0xff, 0xff]), frame(2, &[4, 4])])
}

pub(crate) fn long_locators(arena: &mut Arena) -> Vec<Peer> {
    let locator = vec![BlockId([7; 32]); wire::MAX_LOCATOR + 1];
    let long = Request::Headers { locator, stop: None }.to_frame();
    asks(arena, &[long.clone(), long.clone(), long])
}

/// As long as may be, of blocks that nobody knows, again and again.
pub(crate) fn endless_locators(arena: &mut Arena) -> Vec<Peer> {
    let peer = arena.honest();
    let ids = (0..wire::MAX_LOCATOR as u8).map(|number| BlockId([number; 32]));
    let request = Request::Headers { locator: ids.collect(), stop: None }.to_frame();
    arena.runtime.block_on(async {
        for _ in 0..1_000 {
            peer.ask_raw(&request).await.unwrap();
        }
    });
    vec![peer]
}

/// The node asks whoever says that it has more work; every answer is the same.
fn answers(arena: &mut Arena, answer: &[u8]) -> Vec<Peer> {
    let mut status = arena.status(&arena.tip);
    status.tip = BlockId([7; 32]);
    status.height += 1;
    status.work[20] = 1;
    let answer = answer.to_vec();
    let peer = arena.introduced(status, move |_| Reply::Bytes(answer.clone()));
    let heard = peer.heard.clone();
    wait_for("the node asked", || {
        (heard.requests.load(std::sync::atomic::Ordering::Relaxed) > 0).then_some(())
    });
    vec![peer]
}

pub(crate) fn oversized_answers(arena: &mut Arena) -> Vec<Peer> {
    answers(arena, &frame(u32::MAX, &[tag::HEADERS; 4_096]))
}

pub(crate) fn garbled_answers(arena: &mut Arena) -> Vec<Peer> {
    answers(arena, &frame(3, &[tag::HEADERS, 0xff, 0xff]))
}
