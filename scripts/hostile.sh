#!/usr/bin/env bash
# Every attack of tests/e2e/attacks against real nodes, round after round in one life of each, with
# the memory that it cost. CI runs one round; leaks show in many.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

usage() {
    cat <<USAGE
usage: scripts/hostile.sh [--rounds N] [--only WORD]

  --rounds N   how often each table is gone through (10)
  --only WORD  only the tests whose names hold this word:
                 frames, blocks, gossip, floods, headers, silence
USAGE
}

rounds=10
only=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=${2:?} && shift 2 ;;
        --only) only=${2:?} && shift 2 ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && exit 2 ;;
    esac
done

set_up
build_all
# One test after the other: figures of one node alone.
ASHLAR_HOSTILE_ROUNDS=$rounds cargo test --release --locked -p ashlar-e2e --test e2e -- \
    "attacks::$only" --nocapture --test-threads 1
