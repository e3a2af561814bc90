//! Fuzzing without coverage: the corpus, and from it what a seed makes of it. The same seed tries
//! the same inputs on every machine.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{MAX_LEN, Target};

/// Changes to one input at most.
const MAX_CHANGES: usize = 6;

/// Bytes of an input out of nothing at most.
const MAX_INVENTED: usize = 512;

/// Numbers at which limits break.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    (1 << 53) - 1,
    1 << 53,
    u64::MAX,
];

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many executions; the corpus itself is always run whole.
    Executions(u64),
    /// For so long.
    Elapsed(Duration),
}

/// What a run did.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Inputs of the corpus.
    pub corpus: usize,
    /// Inputs tried, the corpus among them.
    pub executions: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// An input on which a target panicked.
#[derive(Clone, Debug)]
pub struct Crash {
    /// To be kept in the corpus once the fault is mended.
    pub input: Vec<u8>,
    /// Of the panic.
    pub message: String,
}

/// `fuzz/corpus/NAME`.
pub fn corpus_directory(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name)
}

/// The inputs kept for a target, in the order of their names; none where there is no directory.
pub fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(corpus_directory(target)).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs a target over its corpus, then over what `seed` makes of it.
///
/// # Errors
/// The first input on which the target panics.
pub fn run(target: &Target, seed: u64, until: Until) -> Result<Summary, Box<Crash>> {
    let started = Instant::now();
    let corpus = corpus(target);
    let mut executions = 0;
    for input in &corpus {
        execute(target, input)?;
        executions += 1;
    }
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        let is_over = match until {
            Until::Executions(count) => executions >= count,
            Until::Elapsed(span) => started.elapsed() >= span,
        };
        if is_over {
            return Ok(Summary { corpus: corpus.len(), executions, elapsed: started.elapsed() });
        }
        let input = invent(&mut rng, &corpus);
        execute(target, &input)?;
        executions += 1;
    }
}

fn execute(target: &Target, input: &[u8]) -> Result<(), Box<Crash>> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Box::new(Crash { input: input.to_vec(), message: text.unwrap_or("a panic").to_owned() })
    })
}

/// An input out of nothing, or one of the corpus changed in a few places.
fn invent(rng: &mut StdRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = match corpus.choose(rng) {
        Some(input) if rng.random_range(0..8) > 0 => input.clone(),
        _ => (0..rng.random_range(0..=MAX_INVENTED)).map(|_| rng.random()).collect(),
    };
    for _ in 0..rng.random_range(1..=MAX_CHANGES) {
        change(rng, &mut input, corpus);
    }
    input.truncate(MAX_LEN);
    input
}

fn change(rng: &mut StdRng, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let place = rng.random_range(0..=input.len());
    match rng.random_range(0..8) {
        0 => input.truncate(place),
        1 => input.insert(place, rng.random()),
        2 => {
            let end = (place + rng.random_range(0..64)).min(input.len());
            input.drain(place..end);
        }
        // A number at a limit, in any width.
        3 => {
            let edge = EDGES.choose(rng).unwrap().to_le_bytes();
            let width = 1 << rng.random_range(0..4);
            for (byte, edge) in input[place..].iter_mut().zip(&edge[..width]) {
                *byte = *edge;
            }
        }
        // The end of another.
        4 => {
            if let Some(other) = corpus.choose(rng) {
                input.truncate(place);
                input.extend_from_slice(&other[rng.random_range(0..=other.len())..]);
            }
        }
        // A piece of itself once more.
        5 => {
            let end = (place + rng.random_range(0..64)).min(input.len());
            let piece = input[place..end].to_vec();
            let at = rng.random_range(0..=input.len());
            input.splice(at..at, piece);
        }
        6 => input.iter_mut().skip(place).take(1).for_each(|byte| *byte = rng.random()),
        _ => input
            .iter_mut()
            .skip(place)
            .take(1)
            .for_each(|byte| *byte ^= 1 << rng.random_range(0..8)),
    }
}
