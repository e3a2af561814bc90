//! `docs/rpc.md`.

use std::fmt::Write as _;

use ashlar_rpc::{DEFAULT_PORT, server::Limits};
use serde_json::Value;
use syn::{Fields, Item, Type};

use super::{
    source::{Doc, Parameter, Serde, Source, arguments, name_of},
    world::Shown,
};

/// Longest text of an example that is shown whole.
const MAX_TEXT: usize = 72;
/// Most entries of a list in an example that are shown.
const MAX_ENTRIES: usize = 3;

pub(crate) fn document(source: &Source, examples: &[Shown]) -> String {
    let mut page = introduction();
    let mut examples = examples.iter();
    for topic in &source.topics {
        write!(page, "\n## {}\n\n{}\n", topic.name, topic.about).unwrap();
        for method in &topic.methods {
            write!(page, "\n### {}\n\n{}\n\n", method.name, method.text).unwrap();
            list_parameters(&method.parameters, source, &mut page);
            let result = match (name_of(&method.result).as_str(), &arguments(&method.result)[..]) {
                ("Option", [inner]) => format!("{}, or `null`", show(inner, source)),
                _ => show(&method.result, source),
            };
            writeln!(page, "Answers: {result}. Scope: `{}`.", method.scope).unwrap();
            list_errors(&method.errors, &mut page);
            let shown = examples.next().unwrap();
            assert_eq!(shown.method, method.name);
            page.push_str(&example(shown));
        }
    }
    subscribing(source, &mut page);
    page.push_str("\n## Types\n");
    for (name, item) in &source.types {
        describe(name, item, source, &mut page);
    }
    page + &errors(source)
}

fn introduction() -> String {
    let limits = Limits::default();
    let port = DEFAULT_PORT;
    format!(
        "# JSON-RPC\n\n\
         Made from the code of `crates/rpc` by `cargo run --release -p ashlar-rpc --example \
         rpc-doc`; a test compares them. Each example was called on a small chain, and a test \
         calls it again. The same as an OpenRPC document is answered by `rpc.discover`.\n\n\
         JSON-RPC 2.0 over HTTP (`POST`, `Content-Type: application/json`) and WebSocket on one \
         port, `127.0.0.1:{port}` by default. Names and meanings are Bitcoin Core's where the \
         thing is the same. Parameters go by position or by name. Amounts are whole grains \
         (1 ASH = 100,000,000), times seconds since 1970, ids hex of the reversed bytes, raw \
         encodings and keys plain hex. Each answer is made from one consistent view, and each JSON-RPC \
         response to a call says of which tip: `tip` and `tip_height` stand beside `result`, so \
         that numbers and lists keep Bitcoin Core's form; objects that depend on the chain carry \
         the same within. The answer that opens a subscription tells the tip of that moment, and \
         each event the tip that it leads to, the first event too.\n\n\
         Every call shows `Authorization: Basic`: the name and password in the cookie file of the \
         node's data directory, which is new at each start, or those of the configuration; or a token \
         of the configuration, as `Authorization: Bearer TOKEN` or as the password beside any name. \
         A token opens the methods of its scopes (`admin` opens all), and may have a bound on its \
         calls a second. JSON-RPC 1.0 and 1.1 (no `jsonrpc` member), with `Content-Type: \
         text/plain` where `Authorization` is shown, is answered over HTTP as old Bitcoin nodes \
         answer it. What is wrong with a message is told in one form by HTTP and WebSocket: \
         `error.data` has a stable code and a hint. A call without `id` is not carried out, and has \
         no answer (over HTTP an empty one, status 204).\n\n\
         ```sh\n\
         curl --user \"$(cat DATADIR/.cookie)\" -H 'Content-Type: application/json' \\\n\
         \x20 -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"getblockcount\",\"params\":[]}}' \
         http://127.0.0.1:{port}/\n\
         ```\n\n\
         Bounds: a request of twice the chain's largest block and 1 MiB, an answer of {} MiB, \
         {} calls in a batch, {} requests at one time, {} s for a call ({} s for those that work \
         rather than look up), {} subscriptions on one WebSocket and {} on all, {} requests and \
         WebSockets of one caller.\n\n\
         Any call may meet the errors `invalid-parameter`, `overloaded`, `timed-out`, `stopping` \
         and `internal`, and those of the door; those beside them stand with each method. A \
         caller needs the scope that stands with the method.\n",
        limits.max_response_bytes >> 20,
        limits.max_batch_calls,
        limits.max_connections,
        limits.call_timeout_ms / 1_000,
        limits.call_timeout_ms * 12 / 1_000,
        limits.max_subscriptions,
        limits.max_subscriptions_total,
        limits.max_connections_per_caller,
    )
}

fn list_parameters(parameters: &[Parameter], source: &Source, page: &mut String) {
    for Parameter { name, kind, is_optional, meaning } in parameters {
        let optional = if *is_optional { ", optional" } else { "" };
        writeln!(page, "- `{name}` ({}{optional}): {meaning}", show(kind, source)).unwrap();
    }
    if !parameters.is_empty() {
        page.push('\n');
    }
}

fn list_errors(errors: &[(String, String)], page: &mut String) {
    if !errors.is_empty() {
        page.push_str("\nErrors:\n\n");
    }
    for (code, when) in errors {
        writeln!(page, "- {code}: {when}").unwrap();
    }
}

fn example(shown: &Shown) -> String {
    let request =
        serde_json::json!({ "method": shown.method, "params": shorten(&shown.params) }).to_string();
    let answer = serde_json::to_string_pretty(&shorten(&shown.result)).unwrap();
    format!("\n```json\n{request}\n```\n\n```json\n{answer}\n```\n")
}

/// What is long is cut: the whole stands in the OpenRPC document.
fn shorten(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > MAX_TEXT => {
            let start: String = text.chars().take(MAX_TEXT / 2).collect();
            Value::String(format!("{start}…"))
        }
        Value::Array(entries) if entries.len() > MAX_ENTRIES => {
            let shown = entries.iter().take(MAX_ENTRIES).map(shorten);
            shown.chain([Value::String("…".to_owned())]).collect()
        }
        Value::Array(entries) => entries.iter().map(shorten).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), shorten(value))).collect()
        }
        other => other.clone(),
    }
}

fn subscribing(source: &Source, page: &mut String) {
    write!(page, "\n## Subscriptions\n\n{}\n", source.about_subscriptions).unwrap();
    for subscription in &source.subscriptions {
        write!(page, "\n### {}\n\n{}\n\n", subscription.name, subscription.text).unwrap();
        list_parameters(&subscription.parameters, source, page);
        writeln!(
            page,
            "Messages `{}`: {}. Ended by `{}`. Scope: `{}`.",
            subscription.event,
            show(&subscription.item, source),
            subscription.unsubscribe,
            subscription.scope
        )
        .unwrap();
        list_errors(&subscription.errors, page);
    }
}

fn errors(source: &Source) -> String {
    let mut page = String::from(
        "\n## Errors\n\n\
         An error's `data` is `{ \"code\": …, \"hint\": … }`. The code is stable: branch on it. \
         The number is Bitcoin Core's where Core has such an error. Where the call looked at the \
         chain, `data` holds the `tip` and `tip_height` too. Over a WebSocket three faults of the \
         envelope (text that is not JSON or no call, a message or batch over its bound) have \
         JSON-RPC's own numbers (−32700, −32600, −32007, −32010) and no code.\n\n\
         | code and number | when |\n| --- | --- |\n",
    );
    for (code, when) in &source.errors {
        writeln!(page, "| {code} | {when} |").unwrap();
    }
    page
}

/// A type in the words of JSON.
fn show(kind: &Type, source: &Source) -> String {
    let inner = arguments(kind);
    match (name_of(kind).as_str(), &inner[..]) {
        ("()", _) => "`null`".to_owned(),
        ("bool", _) => "true or false".to_owned(),
        ("u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64", _) => "integer".to_owned(),
        ("f64", _) => "number".to_owned(),
        ("String", _) => "text".to_owned(),
        ("Value", _) => "any JSON".to_owned(),
        ("Hex", _) => "hex".to_owned(),
        ("Verbosity", _) => "integer, or true or false".to_owned(),
        ("Option", [inner]) => format!("{}, optional", show(inner, source)),
        ("Vec", [inner]) => format!("list of {}", show(inner, source)),
        ("Box", [inner]) => show(inner, source),
        ("BTreeMap", [key, value]) => {
            format!("object of {} by {}", show(value, source), show(key, source))
        }
        ("Text", [inner]) => id_kind(&name_of(inner)).to_owned(),
        (name, _) if source.types.contains_key(name) => {
            format!("[{name}](#{})", name.to_lowercase())
        }
        (name, _) => panic!("{name} is not described"),
    }
}

/// What is written as an id is.
pub(crate) fn id_kind(name: &str) -> &'static str {
    match name {
        "BlockId" => "block id",
        "Txid" => "transaction id",
        "Wtxid" => "transaction id with witnesses",
        "CoinbaseId" => "coinbase id",
        "MerkleRoot" => "merkle root",
        "Commitment" => "commitment, hex",
        other => panic!("{other} is not described"),
    }
}

fn describe(name: &str, item: &Item, source: &Source, page: &mut String) {
    let (attributes, body) = match item {
        Item::Struct(definition) => (&definition.attrs, fields(&definition.fields, source)),
        Item::Enum(definition) => {
            let cases = definition.variants.iter().map(|variant| {
                let kind = variant.fields.iter().next().map(|field| show(&field.ty, source));
                let kind = kind.unwrap_or_else(|| panic!("{name}: a case without a value"));
                format!("- {kind}: {}", Doc::of(&variant.attrs, name).text)
            });
            let cases = cases.collect::<Vec<_>>().join("\n");
            (&definition.attrs, format!("One of:\n\n{cases}\n"))
        }
        _ => panic!("{name}: neither struct nor enum"),
    };
    write!(page, "\n### {name}\n\n{}\n\n{body}", Doc::of(attributes, name).text).unwrap();
}

fn fields(fields: &Fields, source: &Source) -> String {
    let mut table = String::from("| field | type | meaning |\n| --- | --- | --- |\n");
    for field in fields {
        let meaning = Doc::of(&field.attrs, "a field").text;
        let kind = show(&field.ty, source);
        let serde = Serde::of(&field.attrs);
        if serde.is_flat {
            writeln!(table, "| (all of {kind}) | | {meaning} |").unwrap();
        } else {
            writeln!(table, "| `{}` | {kind} | {meaning} |", serde.name(field)).unwrap();
        }
    }
    table
}
