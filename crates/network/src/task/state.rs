//! What outlives the process: the address book and the bans.

use std::path::{Path, PathBuf};

use libp2p::PeerId;

use super::Task;
use crate::{
    bans::{BAN_VERSION, BanFile, Bans, Moment},
    book::{BOOK_VERSION, Book, BookFile},
    files,
    limits::SAVE_MS,
};

/// Where it is kept, and when it was written.
#[derive(Debug, Default)]
pub(super) struct StateFiles {
    book: Option<PathBuf>,
    bans: Option<PathBuf>,
    saved_ms: Option<u64>,
}

impl StateFiles {
    /// `None`: nothing is kept.
    pub(super) fn new(directory: Option<&Path>) -> Self {
        let file = |name| directory.map(|directory| directory.join(name));
        Self { book: file("peers.json"), bans: file("bans.json"), saved_ms: None }
    }

    pub(super) fn read_book(&self, local: PeerId) -> Book {
        let file: Option<BookFile> = self.book.as_deref().and_then(files::read);
        match file.filter(|file| file.version == BOOK_VERSION) {
            Some(file) => Book::from_file(local, file),
            None => Book::new(local),
        }
    }

    pub(super) fn read_bans(&self, moment: Moment) -> Bans {
        let file: Option<BanFile> = self.bans.as_deref().and_then(files::read);
        match file.filter(|file| file.version == BAN_VERSION) {
            Some(file) => Bans::from_file(file, moment),
            None => Bans::default(),
        }
    }
}

impl Task {
    /// Writes what changed, now and then.
    pub(super) fn save(&mut self, now_ms: u64) {
        let saved_ms = *self.state.saved_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(saved_ms) >= SAVE_MS {
            self.state.saved_ms = Some(now_ms);
            self.save_bans();
            self.save_book();
        }
    }

    /// A ban that was decided shall not be forgotten by a crash.
    pub(super) fn save_bans(&mut self) {
        let moment = self.clocks.moment();
        let Some(path) = self.state.bans.clone() else { return };
        if let Some(file) = self.swarm.behaviour_mut().gate.bans.take_file(moment) {
            files::write(&path, &file);
        }
    }

    pub(super) fn save_book(&self) {
        let Some(path) = &self.state.book else { return };
        // Those that are connected for longest come first.
        let mut company: Vec<_> =
            self.peers.dialled().map(|(&id, peer)| (peer.since_ms, id)).collect();
        company.sort_unstable();
        let company: Vec<PeerId> = company.into_iter().map(|(_, id)| id).collect();
        files::write(path, &self.dialler.book.to_file(&company));
    }
}
