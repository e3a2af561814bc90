//! `docs/rpc.md` and the OpenRPC document, made from the source of the traits, types and errors:
//! what the reader is told is what the compiler was told. Something left undescribed, or an
//! example that is refused, is a panic here, and so a failed test.

#![allow(clippy::unwrap_used, reason = "a fault in the source is to be mended, not handled")]

mod openrpc;
mod page;
mod source;
mod world;

use std::path::PathBuf;

pub(crate) use source::Source;
pub(crate) use world::{Over, Shown, call_all};

/// A file that is made from the code.
pub(crate) struct Made {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// The files, as they must be; `examples` are the answers of [`call_all`].
pub(crate) fn files(source: &Source, examples: &[Shown]) -> [Made; 2] {
    let mut openrpc = serde_json::to_string_pretty(&openrpc::document(source, examples)).unwrap();
    openrpc.push('\n');
    let at = |path| source::crate_dir().join(path);
    [
        Made { path: at("../../docs/rpc.md"), text: page::document(source, examples) },
        Made { path: at("openrpc.json"), text: openrpc },
    ]
}
