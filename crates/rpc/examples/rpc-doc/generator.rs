//! `docs/rpc.md`, made from the source of the traits, types and errors: what the reader of the
//! page is told is what the compiler was told. Something left undescribed is a panic here, and so
//! a failed test.

#![allow(clippy::unwrap_used, reason = "a fault in the source is to be mended, not handled")]

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use ashlar_rpc::{DEFAULT_PORT, scope::scope_of, server::Limits};
use syn::{
    Attribute, Expr, ExprLit, Fields, FnArg, GenericArgument, Item, ItemTrait, Lit, Meta, Pat,
    PathArguments, ReturnType, TraitItem, TraitItemFn, Type,
};

/// The files of `src/api`, in the order of the page; subscriptions, which are told otherwise,
/// not among them.
const TOPICS: [&str; 7] =
    ["chain", "addresses", "transactions", "mempool", "mining", "network", "control"];

/// Where the page stands.
pub(crate) fn document_path() -> PathBuf {
    crate_dir().join("../../docs/rpc.md")
}

/// The page.
pub(crate) fn document() -> String {
    let types = Types::read();
    let mut page = introduction();
    for topic in TOPICS {
        methods(&definition(topic), &types, &mut page);
    }
    subscribing(&definition("subscriptions"), &types, &mut page);
    page + &types.document() + &errors()
}

fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn parse(path: &str) -> syn::File {
    let text = fs::read_to_string(crate_dir().join(path)).unwrap();
    syn::parse_file(&text).unwrap()
}

/// The trait of a topic.
fn definition(topic: &str) -> ItemTrait {
    let mut items = parse(&format!("src/api/{topic}.rs")).items.into_iter();
    items
        .find_map(|item| match item {
            Item::Trait(definition) => Some(definition),
            _ => None,
        })
        .unwrap()
}

fn introduction() -> String {
    let limits = Limits::default();
    let port = DEFAULT_PORT;
    format!(
        "# JSON-RPC\n\n\
         Made from the code of `crates/rpc` by `cargo run --release -p ashlar-rpc --example \
         rpc-doc`; a test compares them.\n\n\
         JSON-RPC 2.0 over HTTP (`POST`, `Content-Type: application/json`) and WebSocket on one \
         port, `127.0.0.1:{port}` by default. Names and meanings are Bitcoin Core's where the \
         thing is the same. Parameters go by position or by name. Amounts are whole grains \
         (1 ASH = 100,000,000), times seconds since 1970, ids hex of the reversed bytes, raw \
         encodings and keys plain hex. Objects that depend on the chain carry the `tip` that they \
         were made at; each answer is made from one consistent view.\n\n\
         Every call shows `Authorization: Basic`: the name and password in the cookie file of the \
         node's data directory, which is new at each start, or those of the configuration.\n\n\
         ```sh\n\
         curl --user \"$(cat DATADIR/.cookie)\" -H 'Content-Type: application/json' \\\n\
         \x20 -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"getblockcount\",\"params\":[]}}' \
         http://127.0.0.1:{port}/\n\
         ```\n\n\
         Bounds: a request of twice the chain's largest block and 1 MiB, an answer of {} MiB, \
         {} calls in a batch, {} requests at one time, {} s for a call (`generatetoaddress`, `backup`: \
         {} s), {} subscriptions on one WebSocket.\n\n\
         Any call may meet the errors `invalid-parameter`, `overloaded`, `timed-out`, `stopping` \
         and `internal`; those beside them stand with each method.\n",
        limits.max_response_bytes >> 20,
        limits.max_batch_calls,
        limits.max_connections,
        limits.call_timeout_ms / 1_000,
        limits.call_timeout_ms * 12 / 1_000,
        limits.max_subscriptions,
    )
}

fn functions(definition: &ItemTrait) -> impl Iterator<Item = &TraitItemFn> {
    definition.items.iter().map(|item| match item {
        TraitItem::Fn(function) => function,
        _ => panic!("only methods are described"),
    })
}

/// What stands in the parentheses of an attribute of jsonrpsee's.
fn settings(function: &TraitItemFn, attribute: &str) -> String {
    let found = function.attrs.iter().find(|found| found.path().is_ident(attribute));
    found.unwrap().meta.require_list().unwrap().tokens.to_string()
}

/// The names in it.
fn quoted(function: &TraitItemFn, attribute: &str) -> Vec<String> {
    settings(function, attribute).split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn methods(definition: &ItemTrait, types: &Types, page: &mut String) {
    let about = Doc::of(&definition.attrs, "a topic").text;
    write!(page, "\n## {}\n\n{about}\n", definition.ident).unwrap();
    for function in functions(definition) {
        let name = quoted(function, "method")[0].clone();
        let doc = Doc::of(&function.attrs, &name);
        write!(page, "\n### {name}\n\n{}\n\n", doc.text).unwrap();
        let mut described: BTreeMap<_, _> = doc.list("Parameters").into_iter().collect();
        for argument in &function.sig.inputs {
            let FnArg::Typed(argument) = argument else { continue };
            let Pat::Ident(ident) = &*argument.pat else { panic!("{name}: a pattern") };
            let parameter = ident.ident.to_string();
            let meaning = described
                .remove(&format!("`{parameter}`"))
                .unwrap_or_else(|| panic!("{name}: {parameter} is not described"));
            let kind = types.show(&argument.ty);
            writeln!(page, "- `{parameter}` ({kind}): {meaning}").unwrap();
        }
        assert!(described.is_empty(), "{name}: no such parameters: {described:?}");
        let ReturnType::Type(_, result) = &function.sig.output else { panic!("{name}: no result") };
        let shown = types.show(arguments(result)[0]).replace(", optional", ", or `null`");
        let space = if function.sig.inputs.len() > 1 { "\n" } else { "" };
        let scope = scope_of(&name).unwrap_or_else(|| panic!("{name} has no scope"));
        writeln!(page, "{space}Answers: {shown}. Scope: `{scope}`.").unwrap();
        let errors = doc.list("Errors");
        if !errors.is_empty() {
            page.push_str("\nErrors:\n\n");
        }
        for (code, when) in errors {
            writeln!(page, "- {code}: {when}").unwrap();
        }
    }
}

fn subscribing(definition: &ItemTrait, types: &Types, page: &mut String) {
    let about = Doc::of(&definition.attrs, "Subscriptions");
    write!(page, "\n## Subscriptions\n\n{}\n", about.text).unwrap();
    for function in functions(definition) {
        let name = function.sig.ident.to_string();
        let doc = Doc::of(&function.attrs, &name);
        let settings = settings(function, "subscription");
        let names = quoted(function, "subscription");
        let [subscribe, event, unsubscribe] = &names[..] else { panic!("{name}: {settings}") };
        assert_eq!(*subscribe, name);
        for method in [subscribe, unsubscribe] {
            assert!(scope_of(method).is_some(), "{method} has no scope");
        }
        let item = settings.rsplit("item =").next().unwrap().trim();
        let item = types.show(&syn::parse_str(item).unwrap());
        write!(
            page,
            "\n### {name}\n\n{}\n\nMessages `{event}`: {item}. Ended by `{unsubscribe}`.\n",
            doc.text
        )
        .unwrap();
    }
}

fn errors() -> String {
    let mut page = String::from(
        "\n## Errors\n\n\
         An error's `data` is `{ \"code\": …, \"hint\": … }`. The code is stable: branch on it. \
         The number is Bitcoin Core's where Core has such an error. Faults of the envelope itself \
         (text that is not JSON, a batch or body over its bound) have JSON-RPC's own numbers, \
         from −32700 to −32600 and −32011 to −32005, and say in `data` what is wrong.\n\n\
         | code and number | when |\n| --- | --- |\n",
    );
    let variants = parse("src/error.rs").items.into_iter().find_map(|item| match item {
        Item::Enum(list) if list.ident == "RpcError" => Some(list.variants),
        _ => None,
    });
    for variant in variants.unwrap() {
        let doc = Doc::of(&variant.attrs, &variant.ident.to_string());
        let (code, when) = doc.text.split_once(": ").unwrap();
        writeln!(page, "| {code} | {when} |").unwrap();
    }
    page
}

/// A doc comment, cut at its headings.
struct Doc {
    text: String,
    sections: BTreeMap<String, String>,
}

impl Doc {
    fn of(attributes: &[Attribute], what: &str) -> Self {
        let mut lines = Vec::new();
        for attribute in attributes {
            if let Meta::NameValue(meta) = &attribute.meta
                && meta.path.is_ident("doc")
                && let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &meta.value
            {
                lines.push(line.value().trim_end().trim_start_matches(' ').to_owned());
            }
        }
        assert!(!lines.is_empty(), "{what} is not described");
        let text = lines.join("\n");
        let mut parts = text.split("\n# ");
        let first = flow(parts.next().unwrap());
        let sections = parts.map(|part| {
            let (heading, rest) = part.split_once('\n').unwrap();
            (heading.to_owned(), rest.to_owned())
        });
        Self { text: first, sections: sections.collect() }
    }

    /// The entries of a list under a heading: "- `name`: meaning", or "- any …: meaning".
    fn list(&self, heading: &str) -> Vec<(String, String)> {
        let Some(text) = self.sections.get(heading) else { return Vec::new() };
        format!("\n{text}")
            .split("\n- ")
            .skip(1)
            .map(|entry| {
                let (name, meaning) = entry.split_once(": ").unwrap();
                (name.to_owned(), flow(meaning))
            })
            .collect()
    }
}

/// Paragraphs on one line each.
fn flow(text: &str) -> String {
    let paragraphs = text.trim().split("\n\n");
    paragraphs.map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

fn arguments(kind: &Type) -> Vec<&Type> {
    let Type::Path(path) = kind else { return Vec::new() };
    let Some(last) = path.path.segments.last() else { return Vec::new() };
    let PathArguments::AngleBracketed(list) = &last.arguments else { return Vec::new() };
    list.args
        .iter()
        .filter_map(|argument| match argument {
            GenericArgument::Type(kind) => Some(kind),
            _ => None,
        })
        .collect()
}

fn name_of(kind: &Type) -> String {
    match kind {
        Type::Path(path) => path.path.segments.last().unwrap().ident.to_string(),
        Type::Tuple(tuple) if tuple.elems.is_empty() => "()".to_owned(),
        _ => panic!("a type without a name"),
    }
}

/// Every type of `src/types`, by name.
struct Types(BTreeMap<String, Item>);

impl Types {
    fn read() -> Self {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(crate_dir().join("src/types")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // `text` holds the ways to write a value, which `show` names itself.
            if name != "text.rs" {
                collect(parse(&format!("src/types/{name}")), &mut all);
            }
        }
        let errors = parse("src/error.rs");
        let data = errors.items.into_iter().find(
            |item| matches!(item, Item::Struct(definition) if definition.ident == "ErrorData"),
        );
        all.insert("ErrorData".to_owned(), data.unwrap());
        Self(all)
    }

    /// A type in the words of JSON.
    fn show(&self, kind: &Type) -> String {
        let inner = arguments(kind);
        match (name_of(kind).as_str(), &inner[..]) {
            ("()", _) => "`null`".to_owned(),
            ("bool", _) => "true or false".to_owned(),
            ("u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64", _) => "integer".to_owned(),
            ("f64", _) => "number".to_owned(),
            ("String", _) => "text".to_owned(),
            ("Hex", _) => "hex".to_owned(),
            ("Verbosity", _) => "integer, or true or false".to_owned(),
            ("Option", [inner]) => format!("{}, optional", self.show(inner)),
            ("Vec", [inner]) => format!("list of {}", self.show(inner)),
            ("Box", [inner]) => self.show(inner),
            ("BTreeMap", [key, value]) => {
                format!("object of {} by {}", self.show(value), self.show(key))
            }
            ("Text", [inner]) => match name_of(inner).as_str() {
                "BlockId" => "block id",
                "Txid" => "transaction id",
                "Wtxid" => "transaction id with witnesses",
                "CoinbaseId" => "coinbase id",
                "MerkleRoot" => "merkle root",
                "Commitment" => "commitment, hex",
                other => panic!("{other} is not described"),
            }
            .to_owned(),
            (name, _) if self.0.contains_key(name) => {
                format!("[{name}](#{})", name.to_lowercase())
            }
            (name, _) => panic!("{name} is not described"),
        }
    }

    fn document(&self) -> String {
        let mut page = String::from("\n## Types\n");
        for (name, item) in &self.0 {
            let (attributes, body) = match item {
                Item::Struct(definition) => (&definition.attrs, self.fields(&definition.fields)),
                Item::Enum(definition) => {
                    let cases = definition.variants.iter().map(|variant| {
                        let kind = variant.fields.iter().next().map(|field| self.show(&field.ty));
                        let meaning = Doc::of(&variant.attrs, name).text;
                        format!("- {}: {meaning}", kind.unwrap())
                    });
                    (
                        &definition.attrs,
                        format!("One of:\n\n{}\n", cases.collect::<Vec<_>>().join("\n")),
                    )
                }
                _ => panic!("{name}: neither struct nor enum"),
            };
            write!(page, "\n### {name}\n\n{}\n\n{body}", Doc::of(attributes, name).text).unwrap();
        }
        page
    }

    fn fields(&self, fields: &Fields) -> String {
        let mut table = String::from("| field | type | meaning |\n| --- | --- | --- |\n");
        for field in fields {
            let name = field.ident.as_ref().unwrap().to_string();
            let meaning = Doc::of(&field.attrs, &name).text;
            let kind = self.show(&field.ty);
            let serde = serde_settings(&field.attrs);
            if serde.contains("flatten") {
                writeln!(table, "| (all of {kind}) | | {meaning} |").unwrap();
                continue;
            }
            let renamed = serde.split("rename = \"").nth(1).and_then(|rest| rest.split('"').next());
            writeln!(table, "| `{}` | {kind} | {meaning} |", renamed.unwrap_or(&name)).unwrap();
        }
        table
    }
}

fn serde_settings(attributes: &[Attribute]) -> String {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"))
        .map(|attribute| attribute.meta.require_list().unwrap().tokens.to_string())
        .collect()
}

fn collect(file: syn::File, all: &mut BTreeMap<String, Item>) {
    for item in file.items {
        let name = match &item {
            Item::Struct(definition) => definition.ident.to_string(),
            Item::Enum(definition) => definition.ident.to_string(),
            _ => continue,
        };
        assert!(all.insert(name.clone(), item).is_none(), "{name} stands twice");
    }
}
