//! Writes `docs/rpc.md` from the code: `cargo run --release -p ashlar-rpc --example rpc-doc`.

mod generator;

fn main() -> std::io::Result<()> {
    let path = generator::document_path();
    std::fs::write(&path, generator::document())?;
    println!("wrote {}", path.display());
    Ok(())
}
