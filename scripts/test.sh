#!/usr/bin/env bash
# All checks and tests, in the one release profile. Installs what is missing first.
set -euo pipefail
. "$(dirname "$0")/setup.sh"
set_up

CARGO_DENY_VERSION=0.20.2

step() { say "== $*"; }

step "format"
rustup component list --installed 2>/dev/null | grep -q rustfmt || rustup component add rustfmt clippy
cargo fmt --all --check

step "clippy"
cargo clippy --release --locked --workspace --all-targets -- -D warnings

step "cargo-deny: bans, licences, sources"
if ! cargo deny --version >/dev/null 2>&1; then
    # Kept in cargo's own directory from then on.
    cargo install --locked --quiet cargo-deny@"$CARGO_DENY_VERSION"
fi
cargo deny check --hide-inclusion-graph bans licenses sources

step "build"
build_all

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps --quiet

step "tests"
cargo test --release --locked --workspace

step "simulator: worlds of many kinds reach every cause of refusal, and each planted bug is found"
"$(target_dir)/release/ashlar-sim" swarm --seeds 0..40 --threads 2 --coverage 95
# What a world is depends neither on the run nor on how many run beside it.
"$(target_dir)/release/ashlar-sim" swarm --seeds 40..60 --minutes 10 --threads 2 --twice
cargo run --release --locked --quiet -p ashlar-simulator --features canaries \
    -- canaries --minutes 10 --threads 2

step "vectors"
"$(target_dir)/release/examples/vectors" tests/vectors
