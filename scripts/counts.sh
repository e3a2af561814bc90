#!/usr/bin/env bash
# How many instructions each core path takes, by callgrind: the same on a busy machine as on an idle
# one. Without arguments: beside docs/counts.json, which says what they were, with the difference.
# `scripts/counts.sh --record` writes that file anew.
set -euo pipefail
. "$(dirname "$0")/setup.sh"
command -v valgrind >/dev/null || { echo "valgrind is not here; install the package valgrind" >&2; exit 1; }
set_up
build_all
bench=$(realpath "$(target_dir)")/release/ashlar-bench
exec python3 - "$bench" docs/counts.json "$@" <<'PYTHON'
import json, re, subprocess, sys

bench, recorded, *options = sys.argv[1:]

def count(path):
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
         "--toggle-collect=*count*counted*", bench, "count", path],
        capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", run.stderr).group(1))

try:
    with open(recorded) as file:
        before = json.load(file)
except FileNotFoundError:
    before = {}
names = subprocess.run([bench, "count"], capture_output=True, text=True, check=True).stdout.splitlines()
now = {}
for name in names:
    now[name] = count(name)
    change = f"{100 * (now[name] / before[name] - 1):+.2f} %" if before.get(name) else "new"
    print(f"{now[name]:>15,}  {change:>9}  {name}", flush=True)
if "--record" in options:
    with open(recorded, "w") as file:
        json.dump(now, file, indent=2)
        file.write("\n")
PYTHON
