#!/usr/bin/env bash
# How fast Ashlar is, beside what this machine can do at best: a table in about ten minutes.
# `--all` measures the further parts too, in an hour; `--only PART,…` some alone.
# `--growth` shows how costs grow instead, in up to an hour.
# `scripts/bench.sh --quick` only shows that the benchmark works; --help lists what it takes.
# docs/performance.md holds the last table, and how to read it.
set -euo pipefail
caller=$PWD
. "$(dirname "$0")/setup.sh"
set_up
build_all
# Paths among the arguments are the caller's.
bench=$(realpath "$(target_dir)")/release/ashlar-bench
cd "$caller"
exec "$bench" "$@"
