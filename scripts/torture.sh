#!/usr/bin/env bash
# The long torture of a real node: killed at random moments and at the N-th system call, given
# errors of the disk, cut off from power, its files damaged; after each fault everything is
# compared with the model. Prints counts and seeds, and ends non-zero on any loss.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

usage() {
    cat <<USAGE
usage: scripts/torture.sh [--rounds N] [--seed S] [--only KIND,...]

  --rounds N   faults of each kind (200)
  --seed S     what decides everything but the machine's own timing (the clock)
  --only KIND  of these, which:
                 kill     SIGKILL at random moments
                 syscall  SIGKILL at the N-th system call of a kind, for growing N    (strace)
                 errno    ENOSPC and EIO from the N-th system call of a kind          (strace)
                 power    power cuts of an ext4 image          (root, a loop device, mkfs.ext4)
                 flip     flipped bits anywhere in the data directory
What the machine does not allow is skipped, and said so. Files: under \$TMPDIR (/tmp).
USAGE
}

rounds=200
seed=$(date +%s)
kinds=kill,syscall,errno,power,flip
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=${2:?} && shift 2 ;;
        --seed) seed=${2:?} && shift 2 ;;
        --only) kinds=${2:?} && shift 2 ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && exit 2 ;;
    esac
done
wants() { case ",$kinds," in *",$1,"*) true ;; *) false ;; esac }

set_up
if { wants syscall || wants errno; } && ! command -v strace >/dev/null && [ "$(id -u)" -eq 0 ]; then
    install_packages strace || say "strace can't be installed"
fi
build_all

# Everything runs in one process group of its own, so that nothing is left behind.
folder=$(mktemp -d "${TMPDIR:-/tmp}/ashlar-torture.XXXXXX")
group=
clean_up() {
    if [ -n "$group" ]; then
        kill -KILL -- "-$group" 2>/dev/null || true
        # A killed process may stay in an uninterruptible call; what is then left is said.
        for _ in $(seq 100); do pgrep -g "$group" >/dev/null || break; sleep 0.1; done
        ! pgrep -g "$group" >/dev/null || say "processes of group $group do not end"
    fi
    grep -o " $folder[^ ]*" /proc/mounts | while read -r mounted; do umount -l "$mounted"; done || true
}
trap 'clean_up; rm -rf "$folder"; exit 130' INT TERM
trap clean_up EXIT

run() {
    set -m
    "$@" &
    group=$!
    set +m
    local outcome=0
    wait "$group" || outcome=$?
    group=
    return "$outcome"
}

failed=0
others=$(printf '%s\n' "$kinds" | tr ',' '\n' | grep -vx flip | paste -sd, || true)
if [ -n "$others" ]; then
    run "$(target_dir)/release/ashlar-torture" --rounds "$rounds" --seed "$seed" --only "$others" \
        --folder "$folder" || failed=1
fi
if wants flip; then
    cargo build --release --locked --quiet --workspace --example flip
    TMPDIR=$folder run "$(target_dir)/release/examples/flip" --flips $((rounds * 2)) --seed "$seed" ||
        failed=1
fi
if [ "$failed" -ne 0 ]; then
    say "losses, or it could not run: see above; files are in $folder"
    exit 1
fi
rm -rf "$folder"
