# Sourced by the other scripts: makes sure that the machine can build Ashlar.
# What is missing is installed on Debian and Ubuntu where this may be done (root, or sudo without
# a password); elsewhere it is named.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}

have_libclang() {
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null && return 0
    [ -n "${LIBCLANG_PATH:-}" ] || ldconfig -p 2>/dev/null | grep -q 'libclang[-.0-9]*\.so'
}

install_packages() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null && sudo -n true 2>/dev/null ||
            die "these packages are missing; install them, then start again: $*"
        as_root=(sudo -n)
    fi
    command -v apt-get >/dev/null ||
        die "install the equivalents of these Debian packages, then start again: $*"
    say "installing $*"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

set_up() {
    if ! command -v cargo >/dev/null && [ -f "$HOME/.cargo/env" ]; then
        # shellcheck disable=SC1091
        . "$HOME/.cargo/env"
    fi
    command -v cargo >/dev/null || die "cargo is missing; install Rust with rustup (https://rustup.rs)"
    local missing=()
    command -v c++ >/dev/null && command -v make >/dev/null || missing+=(build-essential)
    have_libclang || missing+=(libclang-dev)
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
    cd "$root" || exit 1
}

# Everything is built by one selection of packages in one profile: another selection would choose
# other features of shared build dependencies and compile RocksDB's C++ a second time.
build_all() {
    # For the tests of these scripts, which bring their binaries.
    [ -z "${ASHLAR_SKIP_BUILD:-}" ] || return 0
    say "building (the first time takes ten to twenty minutes, most of it RocksDB's C++)"
    cargo build --release --locked --workspace --bins
}

target_dir() {
    printf '%s\n' "${CARGO_TARGET_DIR:-$root/target}"
}
