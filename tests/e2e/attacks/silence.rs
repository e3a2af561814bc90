//! Who says nothing, or takes its time. Each costs the node a deadline of its own, so all of them
//! are there at once.

use ashlar_hostile::{Peer, Pipe as _, Reply, peer::dial};
use ashlar_primitives::{
    BlockId,
    wire::{self, Answer, Request, Status, tag},
};
use tokio::io::AsyncReadExt as _;

use super::{
    arena::{Arena, GOING, empty},
    frames::frame,
};

/// More than the node lets shake hands at one time.
const SILENT_SOCKETS: usize = 100;

/// Connected, and not a byte: hung up on, and honest dials get in as soon as there is room.
pub(crate) fn sockets(arena: &mut Arena) -> Vec<Peer> {
    let target = arena.target;
    let sources: Vec<_> = (0..SILENT_SOCKETS).map(|_| arena.source()).collect();
    arena.runtime.block_on(async {
        let mut silent = Vec::new();
        for source in sources {
            silent.extend(dial(target, source).await.ok());
        }
        for mut socket in silent {
            let end = tokio::time::timeout(GOING, socket.read(&mut [0; 64])).await;
            // the greeting of the node may come first; it has sent it when it hangs up
            assert!(end.is_ok(), "a silent socket is kept");
        }
    });
    Vec::new()
}

/// Noise and Yamux, and nothing more.
pub(crate) fn nameless(arena: &mut Arena) -> Vec<Peer> {
    let manners = arena.manners(arena.status(&arena.tip), |_| Reply::Silence);
    vec![arena.connect(manners.nameless())]
}

pub(crate) fn no_status(arena: &mut Arena) -> Vec<Peer> {
    vec![arena.connect(arena.manners(arena.status(&arena.tip), |_| Reply::Silence))]
}

/// Says that it has more work than anybody.
fn boasts(arena: &Arena) -> Status {
    let mut status = arena.status(&arena.tip);
    status.tip = BlockId([7; 32]);
    status.height += 1;
    status.work[20] = 1;
    status
}

pub(crate) fn no_answers(arena: &mut Arena) -> Vec<Peer> {
    vec![arena.introduced(boasts(arena), |_| Reply::Silence)]
}

pub(crate) fn dripped_answers(arena: &mut Arena) -> Vec<Peer> {
    let drip = frame(1 + 2 + 2_000 * 80, &[tag::HEADERS; 4_096]);
    vec![arena.introduced(boasts(arena), move |_| Reply::Drip(drip.clone()))]
}

/// As many requests as may be open, each a byte at a time.
pub(crate) fn dripped_requests(arena: &mut Arena) -> Vec<Peer> {
    let peer = arena.honest();
    arena.runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..8 {
            let mut stream = peer.open_sync().await.unwrap();
            stream.send(&frame(wire::MAX_REQUEST_BYTES as u32, &[tag::HEADERS])).await.unwrap();
            streams.push(stream);
        }
        // until the node gives the last of them up
        while let Some(stream) = streams.last_mut() {
            if stream.send(&[0]).await.is_err() {
                streams.pop();
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    vec![peer]
}

/// Shows headers with real work, and keeps the bodies to itself.
pub(crate) fn withheld_bodies(arena: &mut Arena) -> Vec<Peer> {
    let mut chain = arena.chain.clone();
    let tip = chain.extend_by(&arena.tip, 3);
    let headers: Vec<_> =
        chain.branch(&tip).iter().rev().take(3).rev().map(|block| *block.header()).collect();
    let header = &chain.state(&tip).header;
    let status = Status {
        tip,
        height: header.height,
        work: header.work.to_le_bytes(),
        ..arena.status(&arena.tip)
    };
    vec![arena.introduced(status, move |request| match request {
        Request::Headers { .. } => Reply::answer(&Answer::Headers(headers.clone())),
        Request::Blocks { .. } | Request::BlockTransactions { .. } => Reply::Silence,
        request => Reply::answer(&empty(request)),
    })]
}
