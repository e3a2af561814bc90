//! `crates/rpc/openrpc.json`: the same for programs (OpenRPC 1.3.2, <https://spec.open-rpc.org>).

use std::collections::BTreeMap;

use ashlar_rpc::{DEFAULT_PORT, RpcError};
use serde_json::{Map, Value, json};
use syn::{Item, Type};

use super::{
    page::id_kind,
    source::{Doc, Method, Parameter, Serde, Source, Subscription, Topic, arguments, name_of},
    world::Shown,
};

pub(crate) fn document(source: &Source, examples: &[Shown]) -> Value {
    let methods = source.methods().zip(examples);
    let methods = methods.map(|((topic, method), shown)| describe(topic, method, shown, source));
    let subscriptions = source.subscriptions.iter().flat_map(subscribing(source));
    let schemas = source.types.iter().map(|(name, item)| (name.clone(), schema_of_item(item)));
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "Ashlar",
            "description": "The JSON-RPC interface of an Ashlar node.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "name": "local", "url": format!("http://127.0.0.1:{DEFAULT_PORT}/") }],
        "methods": methods.chain(subscriptions).collect::<Vec<_>>(),
        "components": { "schemas": schemas.collect::<Map<_, _>>() },
    })
}

fn describe(topic: &Topic, method: &Method, shown: &Shown, source: &Source) -> Value {
    assert_eq!(shown.method, method.name);
    let given = shown.params.as_array().unwrap();
    let params = method.parameters.iter().zip(given);
    let params = params.map(|(parameter, value)| json!({ "name": parameter.name, "value": value }));
    json!({
        "name": method.name,
        "tags": [{ "name": topic.name }],
        "summary": first_sentence(&method.text),
        "description": method.text,
        "paramStructure": "either",
        "params": method.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "result": { "name": "result", "schema": schema(&method.result) },
        "errors": errors(method, source),
        "examples": [{
            "name": method.name,
            "params": params.collect::<Vec<_>>(),
            "result": { "name": "result", "value": shown.result },
        }],
        "x-scope": method.scope.name(),
    })
}

/// OpenRPC knows no subscriptions: the two methods of each, and what is told under `x-events`.
fn subscribing(_: &Source) -> impl Fn(&Subscription) -> [Value; 2] {
    |subscription| {
        let id = json!({ "oneOf": [{ "type": "integer" }, { "type": "string" }] });
        let tags = json!([{ "name": "Subscriptions" }]);
        let begin = json!({
            "name": subscription.name,
            "tags": tags,
            "summary": first_sentence(&subscription.text),
            "description": subscription.text,
            "paramStructure": "either",
            "params": subscription.parameters.iter().map(parameter).collect::<Vec<_>>(),
            "result": { "name": "subscription", "schema": id },
            "x-scope": subscription.scope.name(),
            "x-events": { "method": subscription.event, "schema": schema(&subscription.item) },
        });
        let end = json!({
            "name": subscription.unsubscribe,
            "tags": tags,
            "summary": format!("Ends a subscription of `{}`.", subscription.name),
            "paramStructure": "by-position",
            "params": [{ "name": "subscription", "required": true, "schema": id }],
            "result": { "name": "ended", "schema": { "type": "boolean" } },
            "x-scope": subscription.scope.name(),
        });
        [begin, end]
    }
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "description": parameter.meaning,
        "required": !parameter.is_optional,
        "schema": schema(&parameter.kind),
    })
}

/// Those of the method that have a code of their own; the others are in its description's page.
fn errors(method: &Method, source: &Source) -> Vec<Value> {
    let mut numbers = BTreeMap::new();
    for (code_and_number, _) in &source.errors {
        if let Some((code, number)) = code_and_number.split_once("` −") {
            let number = number.chars().take_while(char::is_ascii_digit).collect::<String>();
            let number: i64 = number.parse().unwrap();
            numbers.insert(code.trim_start_matches('`').to_owned(), -number);
        }
    }
    let named = method.errors.iter().filter_map(|(code, when)| {
        let code = code.strip_prefix('`')?.strip_suffix('`')?;
        let number = numbers.get(code).copied().unwrap_or_else(|| {
            // A rule's own code: the number that goes with it.
            let code: &'static str = Box::leak(code.to_owned().into_boxed_str());
            RpcError::Refused { code, reason: String::new() }.number().into()
        });
        Some(json!({ "code": number, "message": when, "data": { "code": code } }))
    });
    named.collect()
}

fn first_sentence(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    match paragraph.split_once(". ") {
        Some((sentence, _)) => format!("{sentence}."),
        None => paragraph.to_owned(),
    }
}

/// A type as JSON Schema (draft 7).
fn schema(kind: &Type) -> Value {
    let inner = arguments(kind);
    match (name_of(kind).as_str(), &inner[..]) {
        ("()", _) => json!({ "type": "null" }),
        ("bool", _) => json!({ "type": "boolean" }),
        ("u8" | "u16" | "u32" | "u64" | "usize", _) => json!({ "type": "integer", "minimum": 0 }),
        ("i32" | "i64", _) => json!({ "type": "integer" }),
        ("f64", _) => json!({ "type": "number" }),
        ("String", _) => json!({ "type": "string" }),
        ("Value", _) => json!(true),
        ("Hex", _) => json!({ "type": "string", "pattern": "^([0-9a-fA-F]{2})*$" }),
        ("Verbosity", _) => json!({
            "oneOf": [{ "type": "integer", "minimum": 0 }, { "type": "boolean" }],
        }),
        ("Option", [inner]) => json!({ "oneOf": [schema(inner), { "type": "null" }] }),
        ("Vec", [inner]) => json!({ "type": "array", "items": schema(inner) }),
        ("Box", [inner]) => schema(inner),
        ("BTreeMap", [_, value]) => json!({
            "type": "object",
            "additionalProperties": schema(value),
        }),
        ("Text", [inner]) => json!({
            "title": id_kind(&name_of(inner)),
            "type": "string",
            "pattern": "^[0-9a-fA-F]{64}$",
        }),
        (name, _) => json!({ "$ref": format!("#/components/schemas/{name}") }),
    }
}

fn schema_of_item(item: &Item) -> Value {
    match item {
        Item::Struct(definition) => {
            let about = Doc::of(&definition.attrs, "a type").text;
            let (mut whole, mut properties, mut required) = (Vec::new(), Map::new(), Vec::new());
            for field in &definition.fields {
                let serde = Serde::of(&field.attrs);
                if serde.is_flat {
                    whole.push(schema(&field.ty));
                    continue;
                }
                let is_optional = serde.may_be_absent;
                let kind = match &arguments(&field.ty)[..] {
                    [inner] if is_optional && name_of(&field.ty) == "Option" => schema(inner),
                    _ => schema(&field.ty),
                };
                let name = serde.name(field);
                let meaning = Doc::of(&field.attrs, "a field").text;
                // Beside a `$ref`, draft 7 reads nothing.
                properties.insert(name.clone(), json!({ "description": meaning, "allOf": [kind] }));
                if !is_optional {
                    required.push(name);
                }
            }
            let mut own = json!({ "type": "object", "properties": properties });
            if !required.is_empty() {
                own["required"] = json!(required);
            }
            if !whole.is_empty() {
                whole.push(own);
                own = json!({ "allOf": whole });
            }
            own["description"] = json!(about);
            own
        }
        Item::Enum(definition) => {
            let cases = definition.variants.iter().map(|variant| {
                let mut fields = variant.fields.iter();
                schema(&fields.next().expect("each case holds a value").ty)
            });
            json!({
                "description": Doc::of(&definition.attrs, "a type").text,
                "anyOf": cases.collect::<Vec<_>>(),
            })
        }
        _ => panic!("neither struct nor enum"),
    }
}
