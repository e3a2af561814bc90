//! Writes `docs/rpc.md` and `crates/rpc/openrpc.json` from the code:
//! `cargo run --release -p ashlar-rpc --example rpc-doc`.

#[allow(dead_code, clippy::unwrap_used, reason = "a tool of tests, which use more of it")]
#[path = "../../tests/rpc/fake.rs"]
mod fake;
#[allow(dead_code, reason = "tests use more of it")]
mod generator;
#[allow(dead_code, clippy::unwrap_used, reason = "a tool of tests, which use more of it")]
#[path = "../../tests/rpc/running.rs"]
mod running;

use generator::{Over, Source};

fn main() -> std::io::Result<()> {
    let source = Source::read();
    let examples = generator::call_all(&source, Over::Http);
    for made in generator::files(&source, &examples) {
        std::fs::write(&made.path, made.text)?;
        println!("wrote {}", made.path.display());
    }
    Ok(())
}
