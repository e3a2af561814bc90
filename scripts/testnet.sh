#!/usr/bin/env bash
# A private testnet of real nodes on this machine: real processes, one chain of its own, blocks,
# money and trouble by wish. `scripts/testnet.sh help` shows what it can do; the work is done by
# ashlar-testnet (crates/testnet), which `up` builds first.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

export ASHLAR_TESTNET_DIR=${ASHLAR_TESTNET_DIR:-$root/.testnet}
export ASHLAR_BIN_DIR=${ASHLAR_BIN_DIR:-$(target_dir)/release}
program=$ASHLAR_BIN_DIR/ashlar-testnet

[ $# -gt 0 ] || set -- help
here=$PWD
for argument; do
    if [ "$argument" = up ]; then
        set_up
        build_all
        break
    fi
    # Anything else may be called up: a wallet, a node's parameter.
    case $argument in -*) ;; *) break ;; esac
done
[ -x "$program" ] || die "nothing is built yet; start a testnet first: scripts/testnet.sh up"
cd "$here"
exec "$program" "$@"
