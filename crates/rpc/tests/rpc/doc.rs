//! The definition, what is made from it, and what a node answers say the same.

use std::fs;

use serde_json::{Value, json};

use crate::generator::{self, Over, Source};

fn meta_schema(name: &str) -> Value {
    let path = format!("{}/tests/rpc/meta-schema/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    // Both say that they are written in the second of them, which is draft 7 with names.
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema
}

fn openrpc() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openrpc.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Calls the example of every method over HTTP on a world of its own: an error fails it.
#[test]
fn the_files_are_what_the_code_says_and_every_example_is_answered_over_http() {
    let source = Source::read();
    let examples = generator::call_all(&source, Over::Http);
    for made in generator::files(&source, &examples) {
        let written = fs::read_to_string(&made.path).unwrap_or_default();
        assert!(
            written == made.text,
            "{} is out of date: run `cargo run --release -p ashlar-rpc --example rpc-doc`",
            made.path.display()
        );
    }
}

#[test]
fn every_example_is_answered_over_websocket_as_the_document_says() {
    let examples = generator::call_all(&Source::read(), Over::WebSocket);
    let document = openrpc();
    let methods = document["methods"].as_array().unwrap();
    for shown in &examples {
        let method = methods.iter().find(|method| method["name"] == *shown.method).unwrap();
        assert_eq!(method["examples"][0]["result"]["value"], shown.result, "{}", shown.method);
    }
    assert!(examples.len() > 60, "{} methods", examples.len());
}

#[test]
fn the_document_is_valid_by_the_meta_schema_of_openrpc() {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.set_default_draft(boon::Draft::V7);
    compiler
        .add_resource("https://meta.json-schema.tools/", meta_schema("json-schema-1.8.0.json"))
        .unwrap();
    compiler
        .add_resource("https://meta.open-rpc.org/", meta_schema("openrpc-1.14.9.json"))
        .unwrap();
    let meta = compiler.compile("https://meta.open-rpc.org/", &mut schemas).unwrap();
    let document = openrpc();
    if let Err(error) = schemas.validate(&document, meta) {
        panic!("{error:#}");
    }
    // It would be found.
    let mut broken = document;
    broken["methods"][0]["params"] = json!("none");
    assert!(schemas.validate(&broken, meta).is_err());
}

/// The schemas of the document describe what is really answered.
#[test]
fn every_examples_answer_and_parameters_fit_the_schemas_of_the_document() {
    let document = openrpc();
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.set_default_draft(boon::Draft::V7);
    compiler.add_resource("https://ashlar.example/rpc.json", document.clone()).unwrap();
    let mut fits = |at: String, value: &Value| {
        let location = format!("https://ashlar.example/rpc.json#{at}");
        let schema = compiler.compile(&location, &mut schemas).unwrap();
        schemas.validate(value, schema).map_err(|error| format!("{error:#}"))
    };
    for (number, method) in document["methods"].as_array().unwrap().iter().enumerate() {
        let Some(example) = method["examples"].get(0) else { continue };
        let name = &method["name"];
        let answered =
            fits(format!("/methods/{number}/result/schema"), &example["result"]["value"]);
        assert_eq!(answered, Ok(()), "{name}");
        for (place, given) in example["params"].as_array().unwrap().iter().enumerate() {
            let at = format!("/methods/{number}/params/{place}/schema");
            let is_left_out = given["value"].is_null();
            assert!(is_left_out || fits(at, &given["value"]) == Ok(()), "{name}: {given}");
        }
    }
    assert!(fits("/components/schemas/Tip".to_owned(), &json!({ "tip": 5 })).is_err());
}
