//! `ashlar-testnet`: see [`ashlar_testnet::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ashlar_testnet::cli::run()
}
