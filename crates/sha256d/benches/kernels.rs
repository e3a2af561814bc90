//! Headers a second by each kernel that this processor has: `cargo bench -p ashlar-sha256d`.

use std::hint::black_box;

use ashlar_sha256d::{Kernel, Series};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const NONCES: u32 = 1 << 16;

fn kernels(criterion: &mut Criterion) {
    // Nothing meets this target, so that all nonces are tried.
    let series = Series::new(&[7; 80], &[0; 32]);
    let mut group = criterion.benchmark_group("headers");
    group.throughput(Throughput::Elements(NONCES.into())).sample_size(20);
    for kernel in Kernel::available() {
        group.bench_function(kernel.name(), |bencher| {
            bencher.iter(|| kernel.find(black_box(&series), 0, NONCES));
        });
    }
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
