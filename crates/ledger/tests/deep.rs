//! Reorganisations thousands of blocks deep: within a fixed memory, killed half-way, seen by
//! readers who never see the middle. No harness: each part runs in a process of its own, so that
//! the memory it ever used can be read, and so that it can die.
//!
//! `cargo test --release -p ashlar-ledger --features rocksdb --test deep -- --depth N --filler N`:
//! blocks of each branch, and bytes by which each body is filled up.
#![allow(clippy::unwrap_used, reason = "tests")]

#[cfg(not(feature = "rocksdb"))]
fn main() {
    println!("nothing to do without RocksDB");
}

#[cfg(feature = "rocksdb")]
fn main() {
    disk::main();
}

#[cfg(feature = "rocksdb")]
mod disk {
    use std::{
        fs::{self, File},
        io::{self, BufReader, BufWriter, Read as _, Write as _},
        path::Path,
        process::{Command, ExitStatus},
        sync::{
            Arc, Mutex,
            atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
        },
        thread,
        time::Instant,
    };

    use ashlar_consensus::{Genesis, Work, open_body, verify_signatures};
    use ashlar_ledger::{Ledger, Move, RocksOptions, RocksStore, Settings, View};
    use ashlar_primitives::{Amount, Block, BlockId, Decode as _, Encode as _};
    use ashlar_testkit::builder::{
        Chain, GENESIS_TIME, Plan, genesis, genesis_text, lock, output, seal,
    };

    const NOW: u64 = GENESIS_TIME as u64 + 10_000_000;

    /// Everything that a process of this test may ever have resident, the database included.
    const MAX_RESIDENT_BYTES: u64 = 512 << 20;

    /// Where the two branches part.
    const FORK_HEIGHT: usize = 10;

    const DEFAULT_DEPTH: u32 = 5_000;
    /// Bodies of 5 kB: those of 10,000 blocks are more than is kept in memory for them anywhere.
    const DEFAULT_FILLER_BYTES: u32 = 5_000;

    pub(super) fn main() {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["part", "make", folder, depth, filler] => {
                make(Path::new(folder), number(depth), number(filler));
            }
            ["part", "fill", folder] => fill(Path::new(folder)),
            ["part", "reorganise", folder, dies_at] => {
                reorganise(Path::new(folder), number(dies_at));
            }
            ["part", "orders", folder] => orders(Path::new(folder)),
            // What a test harness is asked by tools that list tests.
            words if words.contains(&"--list") => {}
            // A harness is asked for other tests by name.
            [name, ..] if !name.starts_with('-') && !"deep".contains(name) => {}
            words => {
                all(
                    named(words, "--depth").unwrap_or(DEFAULT_DEPTH),
                    named(words, "--filler").unwrap_or(DEFAULT_FILLER_BYTES),
                );
            }
        }
    }

    fn named(words: &[&str], name: &str) -> Option<u32> {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1).map(|word| number(word))
    }

    fn number(text: &str) -> u32 {
        text.parse().unwrap()
    }

    fn all(depth: u32, filler: u32) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let (depth, filler) = (depth.to_string(), filler.to_string());
        println!("a reorganisation {depth} blocks deep, bodies of {filler} bytes and more");
        assert!(part(&["make", &path, &depth, &filler]).success());
        assert!(part(&["fill", &path]).success());
        // Dies on the way down, then on the way up, then goes through.
        let depth = number(&depth);
        for dies_at in [depth / 2, depth] {
            let status = part(&["reorganise", &path, &dies_at.to_string()]);
            assert!(!status.success(), "it was to die");
        }
        assert!(part(&["reorganise", &path, "0"]).success());
        assert!(part(&["orders", &path]).success());
    }

    fn part(arguments: &[&str]) -> ExitStatus {
        let started = Instant::now();
        let program = std::env::current_exe().unwrap();
        let status = Command::new(program).arg("part").args(arguments).status().unwrap();
        println!("{} took {:.1} s: {status}", arguments[0], started.elapsed().as_secs_f64());
        status
    }

    /// The most memory that this process ever had resident.
    fn assert_resident(what: &str) {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        println!("  {what}: at most {} MiB resident", kib >> 10);
        assert!(kib << 10 <= MAX_RESIDENT_BYTES, "{what}: {kib} KiB");
    }

    // --- the blocks, in files

    fn allocations() -> Vec<(ashlar_primitives::Lock, u64)> {
        (0..20).map(|number| (lock(1 + number % 2), 1_000_000_000 + number)).collect()
    }

    /// Makes both branches and says where they end. All of this process's memory goes with it.
    fn make(folder: &Path, depth: u32, filler: u32) {
        let mut chain = Chain::new(genesis(&allocations()));
        fs::write(folder.join("genesis.json"), genesis_text(&allocations(), &[])).unwrap();
        let fork = chain.extend_by(&chain.genesis_id(), FORK_HEIGHT);
        let short = grow(&mut chain, &fork, depth, filler, 1);
        let long = grow(&mut chain, &fork, depth + 1, filler, 2);
        write(&folder.join("short"), &chain, &short, 0);
        write(&folder.join("long"), &chain, &long, FORK_HEIGHT);
        let ends = [short, long].map(|tip| {
            let commitment = chain.state(&tip).utxo.commitment();
            format!("{tip} {commitment} {}\n", chain.coins(&tip).len())
        });
        fs::write(folder.join("ends"), ends.concat()).unwrap();
    }

    /// A payment in every block, so that coins move, and outputs of no value, which fill the body
    /// and make no coin.
    fn grow(chain: &mut Chain, fork: &BlockId, count: u32, filler: u32, payer: u64) -> BlockId {
        let empty = output(lock(9), 0);
        let outputs = filler as usize / empty.to_bytes().len();
        let mut tip = *fork;
        for number in 0..u64::from(count) {
            let pay = chain.pay(&tip, payer, lock(payer), 1_000 + number, 10);
            let plan = Plan { pay_to: lock(3 + payer), ..Plan::of(vec![pay]) };
            let mut block = chain.draft(&tip, plan);
            block.coinbase.outputs.extend(std::iter::repeat_n(empty, outputs));
            tip = chain.adopt(seal(block)).unwrap().id();
        }
        tip
    }

    fn write(path: &Path, chain: &Chain, tip: &BlockId, above: usize) {
        let mut file = BufWriter::new(File::create(path).unwrap());
        for block in chain.branch(tip).iter().skip(above) {
            let bytes = block.to_bytes();
            file.write_all(&u32::try_from(bytes.len()).unwrap().to_le_bytes()).unwrap();
            file.write_all(&bytes).unwrap();
        }
        file.flush().unwrap();
    }

    /// The blocks of a file, one at a time.
    fn blocks(path: &Path) -> impl Iterator<Item = (Block, Vec<u8>)> {
        let mut file = BufReader::new(File::open(path).unwrap());
        std::iter::from_fn(move || {
            let mut length = [0; 4];
            match file.read_exact(&mut length) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
                read => read.unwrap(),
            }
            let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
            file.read_exact(&mut bytes).unwrap();
            Some((Block::from_bytes(&bytes).unwrap(), bytes))
        })
    }

    /// Tip, commitment and number of coins of the short branch (0) or the long one (1).
    fn end(folder: &Path, branch: usize) -> String {
        fs::read_to_string(folder.join("ends")).unwrap().lines().nth(branch).unwrap().to_owned()
    }

    fn shown(view: &View) -> String {
        format!("{} {} {}", view.tip().id, view.utxo_commitment(), view.coin_count())
    }

    // --- the ledger

    fn open(folder: &Path) -> Ledger<RocksStore> {
        let text = fs::read_to_string(folder.join("genesis.json")).unwrap();
        let genesis = Genesis::parse(&text).unwrap();
        let store = RocksStore::open(&folder.join("ledger"), &RocksOptions::default()).unwrap();
        Ledger::open(Arc::new(store), &genesis, Settings::default()).unwrap()
    }

    /// One move, signatures included; `false` when there is nothing to do.
    fn advance(ledger: &mut Ledger<RocksStore>, now_ms: u64) -> bool {
        match ledger.next_move(now_ms).unwrap() {
            Move::Idle => return false,
            Move::Progress => {}
            Move::Verify(walked) => {
                let verified =
                    verify_signatures(walked.checks(), &Default::default(), &mut rand::rng());
                ledger.complete(walked, verified, now_ms).unwrap();
            }
        }
        ledger.take_published();
        true
    }

    fn keep(
        ledger: &mut Ledger<RocksStore>,
        path: &Path,
        mut then: impl FnMut(&mut Ledger<RocksStore>),
    ) {
        for (block, _) in blocks(path) {
            ledger.accept_header(&block.header, NOW).unwrap().unwrap();
        }
        let params = Arc::clone(ledger.params());
        for (block, bytes) in blocks(path) {
            let height = ledger.header_state(&block.header.id()).unwrap().unwrap().height;
            let block = open_body(&params, &block.header, height, &bytes).unwrap();
            ledger.store_body(Arc::new(block)).unwrap();
            then(ledger);
        }
    }

    /// Connects the short branch as it comes, and keeps all of the long one without a move.
    fn fill(folder: &Path) {
        let mut ledger = open(folder);
        keep(&mut ledger, &folder.join("short"), |ledger| while advance(ledger, 0) {});
        assert_eq!(shown(&ledger.view()), end(folder, 0));
        keep(&mut ledger, &folder.join("long"), |_| {});
        assert_eq!(shown(&ledger.view()), end(folder, 0));
        ledger.flush().unwrap();
        assert_resident("catching up");
    }

    /// Goes to the long branch while another thread reads. Dies after so many moves where that is
    /// not 0.
    fn reorganise(folder: &Path, dies_at: u32) {
        let mut ledger = open(folder);
        let short = end(folder, 0);
        let told = ledger.header_state(&tip_of(&short)).unwrap().unwrap().work;
        let reader = Reader::start(ledger.view(), told);
        let mut moves = 0;
        // A clock that goes on: steps end by age, too.
        while advance(&mut ledger, u64::from(moves)) {
            reader.show(ledger.view());
            moves += 1;
            if moves == dies_at {
                let height = ledger.view().tip().height;
                println!("  dies after {moves} moves; readers are at height {height}");
                std::process::abort();
            }
        }
        assert_eq!(shown(&ledger.view()), end(folder, 1));
        reader.stop();
        println!("  {moves} moves");
        assert_resident("reorganising");
    }

    fn tip_of(end: &str) -> BlockId {
        end.split(' ').next().unwrap().parse().unwrap()
    }

    /// The operator takes the long branch away and gives it back: as deep, by the same path.
    fn orders(folder: &Path) {
        let mut ledger = open(folder);
        let fork = u32::try_from(FORK_HEIGHT).unwrap();
        let first = ledger.view().block_id_at(fork + 1).unwrap().unwrap();
        ledger.invalidate(&first).unwrap();
        while advance(&mut ledger, 0) {}
        assert_eq!(shown(&ledger.view()), end(folder, 0));
        let told = ledger.view().tip().work;
        let reader = Reader::start(ledger.view(), told);
        ledger.reconsider(&first).unwrap();
        while advance(&mut ledger, 0) {
            reader.show(ledger.view());
        }
        assert_eq!(shown(&ledger.view()), end(folder, 1));
        reader.stop();
        assert_resident("there and back by order");
    }

    // --- readers

    /// A thread that looks at what is published, all the time.
    struct Reader {
        shown: Arc<Mutex<Arc<View>>>,
        ends: Arc<AtomicBool>,
        looks: Arc<AtomicU32>,
        thread: thread::JoinHandle<()>,
    }

    impl Reader {
        /// `told`: the work that was announced before, perhaps by a process that died. A view with
        /// less is that of a ledger that was just opened, and must not be followed by another.
        fn start(view: Arc<View>, told: Work) -> Self {
            let shown = Arc::new(Mutex::new(view));
            let (ends, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
            let thread = {
                let (shown, ends, looks) =
                    (Arc::clone(&shown), Arc::clone(&ends), Arc::clone(&looks));
                thread::spawn(move || {
                    let mut last = Arc::clone(&shown.lock().unwrap());
                    while !ends.load(SeqCst) {
                        let view = Arc::clone(&shown.lock().unwrap());
                        let is_same = view.sequence() == last.sequence();
                        assert!(is_same || view.tip().work >= told, "a half-way tip is shown");
                        assert!(view.tip().work >= last.tip().work, "readers went back");
                        assert_consistent(&view, looks.fetch_add(1, SeqCst));
                        last = view;
                        thread::yield_now();
                    }
                })
            };
            Self { shown, ends, looks, thread }
        }

        fn show(&self, view: Arc<View>) {
            assert!(!self.thread.is_finished(), "the reader found something");
            *self.shown.lock().unwrap() = view;
        }

        fn stop(self) {
            // The last view is looked at, too.
            let seen = self.looks.load(SeqCst);
            while self.looks.load(SeqCst) < seen + 2 && !self.thread.is_finished() {
                thread::yield_now();
            }
            self.ends.store(true, SeqCst);
            self.thread.join().unwrap();
            println!("  readers looked {} times", self.looks.load(SeqCst));
        }
    }

    /// Everything in a view is of its tip.
    fn assert_consistent(view: &View, look: u32) {
        let tip = view.tip();
        assert_eq!(view.block_id_at(tip.height).unwrap(), Some(tip.id));
        assert_eq!(view.block_id_at(tip.height + 1).unwrap(), None);
        assert_eq!(view.state().unwrap().utxo.commitment(), view.utxo_commitment());
        let height = 1 + look.wrapping_mul(2_654_435_761) % tip.height;
        let id = view.block_id_at(height).unwrap().unwrap();
        let parent = view.block_id_at(height - 1).unwrap().unwrap();
        assert_eq!(view.header(&id).unwrap().unwrap().header.parent, parent);
        assert!(view.coin_total() <= Amount::MAX_MONEY);
        // The coinbase of a block on this chain has its coin, one of the other branch has none.
        let block = view.block(&id).unwrap().unwrap();
        let outpoint = ashlar_primitives::OutPoint { txid: block.coinbase.id().into(), index: 0 };
        assert!(view.coin(&outpoint).unwrap().is_some());
    }
}
