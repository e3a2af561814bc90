//! A data directory with a rotten bit.
#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod flips;

use std::collections::BTreeSet;

use flips::{Flip, Original, Outcome, kind_of, suffer_many};

/// Of the long run, `cargo run --release -p ashlar-ledger --features rocksdb --example flip`.
const FLIPS: usize = 36;

#[test]
fn a_flipped_bit_never_gives_other_coins() {
    let folder = tempfile::tempdir().unwrap();
    let original = Original::make(folder.path());
    let kinds: BTreeSet<String> = original.files().map(|(file, _)| kind_of(file)).collect();
    for kind in ["sst", "blob", "log", "MANIFEST", "CURRENT", "OPTIONS", "announced-tip"] {
        assert!(kinds.contains(kind), "{kind} is missing: {kinds:?}");
    }
    let counts = suffer_many(&original, FLIPS, 1);
    println!("{counts:#?}");
    assert!(counts.keys().any(|(_, outcome)| outcome.starts_with("refused, mended")));

    // A log that is damaged early on loses all that follows, and says so.
    let (log, size) = original.files().find(|(file, _)| kind_of(file) == "log").unwrap();
    let flip = Flip { file: log.to_owned(), offset: size / 5, bit: 3 };
    assert_eq!(original.suffer(&flip), Outcome::WentBack);

    for flip in original.endless() {
        let Outcome::Refused(text) = original.suffer(&flip) else { panic!("{flip:?}: opened") };
        assert!(text.contains("is damaged") && text.contains("sync again"), "{text}");
    }
}
