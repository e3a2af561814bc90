//! The definition as the compiler reads it: traits, types and errors, with what is written of
//! them. Something left undescribed is a panic here, and so a failed test.

use std::{collections::BTreeMap, fs, path::PathBuf};

use ashlar_rpc::scope::{Scope, scope_of};
use syn::{
    Attribute, Expr, ExprLit, FnArg, GenericArgument, Item, ItemTrait, Lit, Meta, Pat,
    PathArguments, ReturnType, TraitItem, TraitItemFn, Type,
};

/// The files of `src/api`, in the order of the page; subscriptions, which are told otherwise,
/// not among them.
const TOPICS: [&str; 7] =
    ["chain", "addresses", "transactions", "mempool", "mining", "network", "control"];

/// All that is defined.
pub(crate) struct Source {
    pub(crate) topics: Vec<Topic>,
    /// What is said of all subscriptions.
    pub(crate) about_subscriptions: String,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Every type of `src/types`, by name.
    pub(crate) types: BTreeMap<String, Item>,
    /// Codes with their numbers, and when.
    pub(crate) errors: Vec<(String, String)>,
}

/// One trait.
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) methods: Vec<Method>,
}

pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) result: Type,
    /// Code, or what stands for several, and when.
    pub(crate) errors: Vec<(String, String)>,
    pub(crate) scope: Scope,
    /// Parameters as a JSON array, with placeholders.
    pub(crate) example: String,
}

pub(crate) struct Parameter {
    pub(crate) name: String,
    /// Without its `Option`.
    pub(crate) kind: Type,
    pub(crate) is_optional: bool,
    pub(crate) meaning: String,
}

pub(crate) struct Subscription {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) event: String,
    pub(crate) item: Type,
    pub(crate) unsubscribe: String,
    pub(crate) errors: Vec<(String, String)>,
    pub(crate) scope: Scope,
}

impl Source {
    pub(crate) fn read() -> Self {
        let subscribing = definition("subscriptions");
        Self {
            topics: TOPICS.iter().map(|topic| read_topic(&definition(topic))).collect(),
            about_subscriptions: Doc::of(&subscribing.attrs, "Subscriptions").text,
            subscriptions: functions(&subscribing).map(read_subscription).collect(),
            types: read_types(),
            errors: read_errors(),
        }
    }

    pub(crate) fn methods(&self) -> impl Iterator<Item = (&Topic, &Method)> {
        self.topics.iter().flat_map(|topic| topic.methods.iter().map(move |method| (topic, method)))
    }
}

pub(crate) fn crate_dir() -> PathBuf {
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

fn scope_or_panic(method: &str) -> Scope {
    scope_of(method).unwrap_or_else(|| panic!("{method} has no scope: see src/scope.rs"))
}

fn read_topic(definition: &ItemTrait) -> Topic {
    Topic {
        name: definition.ident.to_string(),
        about: Doc::of(&definition.attrs, "a topic").text,
        methods: functions(definition).map(read_method).collect(),
    }
}

fn read_method(function: &TraitItemFn) -> Method {
    let name = quoted(function, "method")[0].clone();
    let doc = Doc::of(&function.attrs, &name);
    let ReturnType::Type(_, result) = &function.sig.output else { panic!("{name}: no result") };
    let example = doc.sections.get("Example").map(|text| text.trim().to_owned());
    assert!(example.is_some(), "{name} has no # Example: its parameters as a JSON array");
    Method {
        parameters: read_parameters(function, &doc, &name),
        result: arguments(result)[0].clone(),
        errors: doc.list("Errors"),
        scope: scope_or_panic(&name),
        example: example.unwrap_or_default(),
        text: doc.text,
        name,
    }
}

fn read_parameters(function: &TraitItemFn, doc: &Doc, name: &str) -> Vec<Parameter> {
    let mut described: BTreeMap<_, _> = doc.list("Parameters").into_iter().collect();
    let mut parameters = Vec::new();
    for argument in &function.sig.inputs {
        let FnArg::Typed(argument) = argument else { continue };
        let Pat::Ident(ident) = &*argument.pat else { panic!("{name}: a pattern") };
        let parameter = ident.ident.to_string();
        let meaning = described
            .remove(&format!("`{parameter}`"))
            .unwrap_or_else(|| panic!("{name}: {parameter} is not described"));
        let is_optional = name_of(&argument.ty) == "Option";
        let kind = if is_optional { arguments(&argument.ty)[0] } else { &argument.ty };
        parameters.push(Parameter { name: parameter, kind: kind.clone(), is_optional, meaning });
    }
    assert!(described.is_empty(), "{name}: no such parameters: {described:?}");
    parameters
}

fn read_subscription(function: &TraitItemFn) -> Subscription {
    let settings = settings(function, "subscription");
    let names = quoted(function, "subscription");
    let [name, event, unsubscribe] = &names[..] else { panic!("{settings}") };
    let item = settings.rsplit("item =").next().unwrap().trim();
    scope_or_panic(unsubscribe);
    let doc = Doc::of(&function.attrs, name);
    Subscription {
        parameters: read_parameters(function, &doc, name),
        errors: doc.list("Errors"),
        text: doc.text,
        event: event.clone(),
        item: syn::parse_str(item).unwrap(),
        unsubscribe: unsubscribe.clone(),
        scope: scope_or_panic(name),
        name: name.clone(),
    }
}

fn read_types() -> BTreeMap<String, Item> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(crate_dir().join("src/types")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // `text` holds the ways to write a value, which are told where they stand.
        if name != "text.rs" {
            collect(parse(&format!("src/types/{name}")), &mut all);
        }
    }
    let errors = parse("src/error.rs");
    let data = errors
        .items
        .into_iter()
        .find(|item| matches!(item, Item::Struct(definition) if definition.ident == "ErrorData"));
    all.insert("ErrorData".to_owned(), data.unwrap());
    all
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

fn read_errors() -> Vec<(String, String)> {
    let variants = parse("src/error.rs").items.into_iter().find_map(|item| match item {
        Item::Enum(list) if list.ident == "RpcError" => Some(list.variants),
        _ => None,
    });
    let read = |variant: syn::Variant| {
        let doc = Doc::of(&variant.attrs, &variant.ident.to_string());
        let (code, when) = doc.text.split_once(": ").unwrap();
        (code.to_owned(), when.to_owned())
    };
    variants.unwrap().into_iter().map(read).collect()
}

/// A doc comment, cut at its headings.
pub(crate) struct Doc {
    pub(crate) text: String,
    sections: BTreeMap<String, String>,
}

impl Doc {
    pub(crate) fn of(attributes: &[Attribute], what: &str) -> Self {
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

/// The types between a type's angle brackets.
pub(crate) fn arguments(kind: &Type) -> Vec<&Type> {
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

/// The last word of a type's path.
pub(crate) fn name_of(kind: &Type) -> String {
    match kind {
        Type::Path(path) => path.path.segments.last().unwrap().ident.to_string(),
        Type::Tuple(tuple) if tuple.elems.is_empty() => "()".to_owned(),
        _ => panic!("a type without a name"),
    }
}

/// What serde is told of a field.
pub(crate) struct Serde {
    pub(crate) is_flat: bool,
    pub(crate) may_be_absent: bool,
    renamed: Option<String>,
}

impl Serde {
    pub(crate) fn of(attributes: &[Attribute]) -> Self {
        let settings: String = attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("serde"))
            .map(|attribute| attribute.meta.require_list().unwrap().tokens.to_string())
            .collect();
        let renamed = settings.split("rename = \"").nth(1).and_then(|rest| rest.split('"').next());
        Self {
            is_flat: settings.contains("flatten"),
            may_be_absent: settings.contains("default"),
            renamed: renamed.map(str::to_owned),
        }
    }

    /// The name in JSON.
    pub(crate) fn name(self, field: &syn::Field) -> String {
        self.renamed.unwrap_or_else(|| field.ident.as_ref().unwrap().to_string())
    }
}
