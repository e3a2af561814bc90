//! The page and the code say the same.

#[path = "../../examples/rpc-doc/generator.rs"]
mod generator;

#[test]
fn docs_rpc_md_is_what_the_code_says() {
    let path = generator::document_path();
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == generator::document(),
        "docs/rpc.md is out of date: run `cargo run --release -p ashlar-rpc --example rpc-doc`"
    );
}
