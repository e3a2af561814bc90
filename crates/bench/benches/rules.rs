//! The core of what a block costs, piece by piece, on a block of 2,000 payments:
//! `cargo bench -p ashlar-bench`.

use std::{collections::BTreeSet, hint::black_box};

use ashlar_bench::{maker::Made, payments::Payments};
use ashlar_consensus::{
    SpentCoins, State, UtxoAccumulator, check_header, open_body, signature::BATCH_SIZE,
    verify_signatures, walk,
};
use ashlar_primitives::{Block, Decode as _, merkle::merkle_root};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SEED: u64 = 1;
const PAYMENTS: usize = 2_000;

struct Subject {
    payments: Payments,
    parent: State,
    made: Made,
    bytes: Vec<u8>,
}

impl Subject {
    fn new() -> Self {
        let (mut payments, _) = Payments::new(SEED, PAYMENTS);
        let parent = payments.state().clone();
        let made = payments.block(PAYMENTS);
        let bytes = made.block.to_bytes();
        Self { payments, parent, made, bytes }
    }
}

fn rules(criterion: &mut Criterion) {
    let Subject { payments, parent, made, bytes } = Subject::new();
    let params = payments.genesis().params();
    let header = made.block.header();
    let next = check_header(&parent.header, params, header).expect("a good header");
    let spent = SpentCoins { coins: made.diff.spent.clone() };

    let mut group = criterion.benchmark_group("block of 2,000 payments");
    group.throughput(Throughput::Elements(PAYMENTS as u64)).sample_size(20);
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Block::from_bytes(black_box(&bytes)).expect("a block"));
    });
    group.bench_function("open", |bencher| {
        bencher.iter(|| open_body(params, header, next.height, black_box(&bytes)).expect("good"));
    });
    group.bench_function("walk", |bencher| {
        bencher.iter(|| walk(&parent, next.clone(), params, black_box(&made.block), &spent));
    });
    group.bench_function("accumulate", |bencher| {
        let empty = UtxoAccumulator::empty();
        bencher.iter(|| black_box(&made.diff).applied_to(&empty));
    });
    let transactions = made.block.transactions();
    let leaves: Vec<_> = transactions.iter().map(|checked| checked.wtxid().0).collect();
    group.bench_function("merkle root", |bencher| bencher.iter(|| merkle_root(black_box(&leaves))));
    group.finish();

    let mut group = criterion.benchmark_group("signatures");
    group.throughput(Throughput::Elements(BATCH_SIZE as u64)).sample_size(20);
    group.bench_function("one batch", |bencher| {
        let batch = &made.checks[..BATCH_SIZE];
        let none = BTreeSet::new();
        bencher
            .iter(|| verify_signatures(black_box(batch), &none, &mut rand::rng()).expect("good"));
    });
    group.finish();
}

criterion_group!(benches, rules);
criterion_main!(benches);
