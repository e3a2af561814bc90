#!/usr/bin/env bash
# Fuzzing led by coverage. fuzz/README.md says what each target holds to.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

usage() {
    cat <<USAGE
usage: scripts/fuzz.sh [TARGET...] [--seconds N] [--sanitizer NAME] [--keep]

  TARGET            one of: $(names)
                    (all of them, one after the other)
  --seconds N       for each target (60)
  --sanitizer NAME  of rustc: address, or none (none)
  --keep            afterwards merge what was found into the corpus, smallest inputs first

Ends with 1 where a target failed; the input is then in fuzz/artifacts/TARGET.
USAGE
}

names() { (cd "$root/fuzz/corpus" && echo *); }

seconds=60 sanitizer=none keep=no targets=()
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=${2:?"--seconds needs a number"} && shift ;;
    --sanitizer) sanitizer=${2:?"--sanitizer needs a name"} && shift ;;
    --keep) keep=yes ;;
    -*) usage && exit 2 ;;
    *) [ -f "$root/fuzz/fuzz_targets/$1.rs" ] || die "no target $1; there are: $(names)"
        targets+=("$1") ;;
    esac
    shift
done
[ ${#targets[@]} -gt 0 ] || read -ra targets <<<"$(names)"
cd "$root"

# What one target's corpus may weigh: all of them are in the repository.
keep_bytes=18000
# An input that takes longer, or more memory, counts as a failure.
timeout_seconds=20
memory_mb=2048

# Without libFuzzer: the same functions, led by a seed alone.
driver() {
    say "$1: running the seeded driver instead, which coverage does not lead"
    [ "$keep" = no ] || say "--keep does nothing then: what reaches something new is not known"
    cargo build --quiet --release --locked --package ashlar-fuzz
    local status=0 target
    for target in "${targets[@]}"; do
        nice -n 10 "$(target_dir)/release/ashlar-fuzz" run "$target" \
            --seconds "$seconds" --seed "$RANDOM" || status=1
    done
    exit "$status"
}

# In a folder of its own, with flags of its own, so that the main build stays warm.
fuzz() {
    local command=$1
    shift
    CARGO_TARGET_DIR="$root/fuzz/target" RUSTC_BOOTSTRAP=1 RUSTFLAGS="" nice -n 10 \
        cargo fuzz "$command" --fuzz-dir fuzz --sanitizer "$sanitizer" "$@"
}

command -v cargo-fuzz >/dev/null || cargo install --locked --quiet cargo-fuzz ||
    driver "cargo-fuzz is not here and can't be installed"
fuzz build || driver "the targets can't be built with libFuzzer here"

# Adds to the corpus what reaches something new, smallest first, while there is room. (cargo-fuzz
# puts directories behind all other arguments; libFuzzer merges into the first one.)
keep_found() {
    local target=$1 corpus=fuzz/corpus/$1 merged size file bytes
    merged=$(mktemp -d)
    cp "$corpus"/* "$merged/"
    fuzz run "$target" "$merged" "fuzz/found/$target" -- -merge=1 >>"fuzz/found/$target.log" 2>&1 ||
        say "$target: merging failed; see fuzz/found/$target.log"
    while read -r size file; do
        [ ! -e "$corpus/$file" ] || continue
        bytes=$(cat "$corpus"/* | wc -c)
        [ $((bytes + size)) -le "$keep_bytes" ] || break
        cp "$merged/$file" "$corpus/"
        say "$target: kept $file, $size bytes"
    done < <(find "$merged" -type f -printf '%s %f\n' | sort -n)
    rm -r "$merged"
}

status=0
for target in "${targets[@]}"; do
    found=fuzz/found/$target log=fuzz/found/$target.log
    mkdir -p "$found"
    say "$target for $seconds s; the log is $log"
    fuzz run "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout="$timeout_seconds" \
        -rss_limit_mb="$memory_mb" -use_value_profile=1 -print_final_stats=1 \
        >"$log" 2>&1 || status=1
    grep -E 'cov: ' "$log" | tail -1 || true
    grep -E 'number_of_executed_units|panicked|SUMMARY|Test unit written' "$log" || true
    [ "$keep" = no ] || keep_found "$target"
done
exit "$status"
