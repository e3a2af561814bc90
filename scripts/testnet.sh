#!/usr/bin/env bash
# A private testnet of real nodes on this machine: real processes, real proof of work, one chain
# of its own. `scripts/testnet.sh help` shows what it can do.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

net=$(realpath -m "${ASHLAR_TESTNET_DIR:-$root/.testnet}")
bin=${ASHLAR_BIN_DIR:-$(target_dir)/release}
# Well known and worthless: 24 words of BIP-39 for 32 zero bytes. Its coins are in genesis.json.
faucet_words="abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art"
# A testnet's wallets hold nothing worth stealing, so their password may be known to all.
password="testnet"
# Longest that a node may take to start or to stop, and the net to agree, in seconds.
start_seconds=60
stop_seconds=30
agree_seconds=120

usage() {
    cat <<USAGE
usage: scripts/testnet.sh COMMAND

  up [-n NODES]            build, make a new chain (or go on with the one that is there), start
                           NODES nodes (3), the first of them mining; return when all agree
  status                   a line for each node
  logs N [-f]              the log of node N; -f follows it
  cli N METHOD [PARAM...]  call a JSON-RPC method of node N
  wallet [-w NAME] [-n N] COMMAND ...
                           ashlar-wallet, with the wallet NAME (faucet, which is funded, or any
                           other name) on node N (1)
  start N | stop N | kill N
                           start a node that is not running, stop it cleanly, or kill -9 it
  down                     stop all nodes; the chain and the wallets stay
  destroy                  down, and delete everything

data: $net   (another place: ASHLAR_TESTNET_DIR)
USAGE
}

node_dir() { printf '%s/node%s\n' "$net" "$1"; }

require_node() {
    case ${1:-} in '' | *[!0-9]*) die "which node? A number from 1 on" ;; esac
    [ -d "$(node_dir "$1")" ] || die "there is no node $1; the testnet has: $(nodes | tr '\n' ' ')"
}

nodes() {
    local directory
    for directory in "$net"/node*; do
        [ -d "$directory" ] && printf '%s\n' "${directory##*/node}"
    done | sort -n
}

# The process that runs node N, where one does. A process id may be another program's by now.
running() {
    local pid
    pid=$(cat "$(node_dir "$1")/pid" 2>/dev/null) || return 1
    kill -0 "$pid" 2>/dev/null && grep -q ashlar-node "/proc/$pid/comm" 2>/dev/null && printf '%s\n' "$pid"
}

# A string field of node N's run.json.
run_field() {
    sed -n "s/^ *\"$2\": \"\\(.*\\)\",\\{0,1\\}\$/\\1/p" "$(node_dir "$1")/run.json"
}

# The address at which other nodes reach node N.
peer_address() {
    sed -n 's/^ *"\(\/ip4\/127.0.0.1\/tcp\/[^"]*\)",\{0,1\}$/\1/p' "$(node_dir "$1")/run.json" | head -n 1
}

cli() {
    local number=$1
    shift
    "$bin/ashlar-node" rpc --datadir "$(node_dir "$number")" "$@"
}

# Waits until a command succeeds, at most so many seconds.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.1
    done
}

is_ready() { [ -f "$(node_dir "$1")/run.json" ] || ! kill -0 "$(cat "$(node_dir "$1")/pid")" 2>/dev/null; }
is_gone() { ! running "$1" >/dev/null; }

# Starts node N and waits until it answers. The ports that it was given first it keeps.
start_node() {
    local number=$1 directory listen rpc arguments
    directory=$(node_dir "$number")
    running "$number" >/dev/null && die "node $number runs already"
    listen=$(cat "$directory/listen" 2>/dev/null || echo /ip4/127.0.0.1/tcp/0)
    rpc=$(cat "$directory/rpc" 2>/dev/null || echo 127.0.0.1:0)
    arguments=(run --datadir "$directory" --listen "$listen" --rpc-listen "$rpc" --profile small --exempt-loopback)
    local other
    for other in $(nodes); do
        [ "$other" != "$number" ] && [ -f "$net/node$other/peer" ] &&
            arguments+=(--peer "$(cat "$net/node$other/peer")")
    done
    [ -f "$directory/mine" ] && arguments+=(--mine "$(cat "$directory/mine")" --mine-threads 1)
    rm -f "$directory/run.json"
    (
        trap '' INT HUP
        exec setsid "$bin/ashlar-node" "${arguments[@]}" >>"$directory/log" 2>&1 </dev/null
    ) &
    echo $! >"$directory/pid"
    disown
    wait_for $start_seconds is_ready "$number" && running "$number" >/dev/null || {
        tail -n 5 "$directory/log" >&2
        die "node $number did not start; its log is $directory/log"
    }
    peer_address "$number" >"$directory/peer"
    sed 's/\/p2p\/.*//' "$directory/peer" >"$directory/listen"
    run_field "$number" rpc >"$directory/rpc"
}

stop_node() {
    local pid
    pid=$(running "$1") || return 0
    kill -TERM "$pid"
    wait_for $stop_seconds is_gone "$1" || die "node $1 did not stop; kill it: scripts/testnet.sh kill $1"
}

kill_node() {
    local pid
    pid=$(running "$1") || die "node $1 does not run"
    kill -KILL "$pid"
    wait_for $stop_seconds is_gone "$1" || die "node $1 (process $pid) can't be killed"
    rm -f "$(node_dir "$1")/run.json"
}

use_wallet() {
    local name=$1 number=$2
    shift 2
    ASHLAR_WALLET_PASSWORD=$password "$bin/ashlar-wallet" --wallet "$net/wallets/$name.json" \
        --datadir "$(node_dir "$number")" "$@"
}

# The first start: a chain stamped with the present second, its nodes and wallets.
make_net() {
    local count=$1 number
    mkdir -p "$net/wallets"
    "$bin/ashlar-node" init --datadir "$net/chain" --genesis "${ASHLAR_TESTNET_GENESIS:-$root/genesis.json}" \
        --genesis-time now >/dev/null
    for number in $(seq 1 "$count"); do
        mkdir -p "$net/node$number"
        cp "$net/chain/genesis.json" "$net/node$number/genesis.json"
    done
    ASHLAR_WALLET_MNEMONIC=$faucet_words ASHLAR_WALLET_PASSWORD=$password \
        "$bin/ashlar-wallet" --wallet "$net/wallets/faucet.json" restore --genesis "$net/chain/genesis.json" \
        --light-kdf >/dev/null
    ASHLAR_WALLET_PASSWORD=$password \
        "$bin/ashlar-wallet" --wallet "$net/wallets/miner.json" create --genesis "$net/chain/genesis.json" \
        --light-kdf >/dev/null 2>&1
    ASHLAR_WALLET_PASSWORD=$password \
        "$bin/ashlar-wallet" --wallet "$net/wallets/miner.json" address >"$net/node1/mine"
}

# Whether all running nodes are on one tip above 0.
agree() {
    local number tip first=
    for number in $(nodes); do
        running "$number" >/dev/null || continue
        tip=$(cli "$number" getbestblockhash 2>/dev/null) || return 1
        [ "$(cli "$number" getblockcount 2>/dev/null || echo 0)" -gt 0 ] || return 1
        [ "${first:=$tip}" = "$tip" ] || return 1
    done
}

up() {
    local count=3 number
    while [ $# -gt 0 ]; do
        case $1 in
        -n | --nodes)
            count=${2:-}
            shift 2 || die "-n wants a number"
            ;;
        *) die "up does not know $1" ;;
        esac
    done
    case $count in '' | *[!0-9]* | 0) die "-n wants a number from 1 on" ;; esac
    set_up
    build_all
    if [ -d "$net/node1" ]; then
        say "going on with the testnet in $net"
        # More nodes than before join the same chain.
        for number in $(seq 1 "$count"); do
            [ -d "$net/node$number" ] && continue
            mkdir -p "$net/node$number"
            cp "$net/chain/genesis.json" "$net/node$number/genesis.json"
        done
    else
        make_net "$count"
    fi
    for number in $(nodes); do
        running "$number" >/dev/null || start_node "$number"
    done
    say "waiting for the first blocks"
    wait_for $agree_seconds agree || die "the nodes do not agree yet; look at scripts/testnet.sh status and logs 1"
    banner
}

banner() {
    local number
    echo "The testnet runs: $(nodes | wc -l) nodes, height $(cli 1 getblockcount), data in $net"
    echo
    for number in $(nodes); do
        printf 'node %s  RPC http://%s  cookie %s\n' "$number" "$(cat "$net/node$number/rpc")" \
            "$net/node$number/.cookie"
    done
    cat <<BANNER

A funded wallet: $net/wallets/faucet.json (password "$password"; its words are public:
"abandon" 23 times, then "art").

Try next:
  scripts/testnet.sh wallet balance
  scripts/testnet.sh wallet -w alice create && scripts/testnet.sh wallet -w alice address
  scripts/testnet.sh cli 2 getblockchaininfo
BANNER
}

status() {
    local number pid
    [ -n "$(nodes)" ] || die "there is no testnet in $net; start one: scripts/testnet.sh up"
    printf '%-5s %-9s %-8s %-8s %-6s %s\n' node state pid height peers tip
    for number in $(nodes); do
        if pid=$(running "$number"); then
            printf '%-5s %-9s %-8s %-8s %-6s %s\n' "$number" running "$pid" \
                "$(cli "$number" getblockcount 2>/dev/null || echo '?')" \
                "$(cli "$number" getnetworkinfo 2>/dev/null | sed -n 's/^ *"connections": \([0-9]*\).*/\1/p')" \
                "$(cli "$number" getbestblockhash 2>/dev/null || echo '?')"
        else
            printf '%-5s %-9s\n' "$number" stopped
        fi
    done
}

wallet() {
    local name=faucet number=1
    while [ $# -gt 0 ]; do
        case $1 in
        -w)
            name=${2:?"-w wants a name"}
            shift 2
            ;;
        -n)
            number=${2:?"-n wants a node"}
            shift 2
            ;;
        *) break ;;
        esac
    done
    require_node "$number"
    local extra=()
    case ${1:-} in create | restore) extra=(--light-kdf) ;; esac
    use_wallet "$name" "$number" "$@" "${extra[@]}"
}

down() {
    local number
    for number in $(nodes); do stop_node "$number"; done
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
up) up "$@" ;;
status) status ;;
logs)
    require_node "${1:-}"
    if [ "${2:-}" = -f ]; then exec tail -n 50 -f "$(node_dir "$1")/log"; else cat "$(node_dir "$1")/log"; fi
    ;;
cli)
    require_node "${1:-}"
    [ $# -ge 2 ] || die "cli N METHOD [PARAM...]"
    cli "$@"
    ;;
wallet) wallet "$@" ;;
start)
    require_node "${1:-}"
    start_node "$1"
    ;;
stop)
    require_node "${1:-}"
    stop_node "$1"
    ;;
kill)
    require_node "${1:-}"
    kill_node "$1"
    ;;
down) down ;;
destroy)
    down
    rm -rf "$net"
    ;;
help | -h | --help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
