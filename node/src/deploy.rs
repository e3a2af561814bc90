//! What `scripts/deploy/` holds is well-formed and speaks of commands and flags that there are.

use std::{collections::BTreeSet, fs, path::PathBuf};

use clap::CommandFactory as _;
use yaml_rust2::{Yaml, YamlLoader};

use crate::Arguments;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/deploy").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn yaml(name: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(&text(name)).unwrap();
    assert_eq!(documents.len(), 1, "{name}");
    documents.remove(0)
}

/// Fails where the program does not take these words; `datadir` comes from the environment there.
fn is_command(words: &[&str], datadir: &str) {
    let given = words.contains(&"--datadir");
    let rest = if given { vec![] } else { vec!["--datadir", datadir] };
    let words = words.iter().chain(&rest);
    if let Err(error) = Arguments::command().try_get_matches_from(words) {
        panic!("{error}");
    }
}

/// The names of variables that `run` reads.
fn variables() -> BTreeSet<String> {
    let command = Arguments::command();
    let run = command.find_subcommand("run").unwrap();
    let names = run.get_arguments().filter_map(|argument| argument.get_env());
    names.map(|name| name.to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_service_starts_a_node_with_flags_that_there_are() {
    let service = text("ashlar-node.service");
    let mut sections = Vec::new();
    let mut commands = 0;
    for line in service.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            sections.push(name.strip_suffix(']').unwrap());
            continue;
        }
        let (key, value) = line.split_once('=').unwrap();
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric()), "{line}");
        if key.starts_with("Exec") {
            let words: Vec<&str> = value.split(' ').collect();
            assert_eq!(words[0], "/usr/local/bin/ashlar-node");
            is_command(&words, "");
            commands += 1;
        }
    }
    assert_eq!((sections, commands), (vec!["Unit", "Service", "Install"], 2));
}

#[test]
fn the_image_runs_a_node_and_asks_for_its_health() {
    let file = text("Dockerfile").replace("\\\n", "");
    let mut words = Vec::new();
    let mut checks = 0;
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (instruction, rest) = line.split_once(' ').unwrap();
        let array = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap();
        match instruction {
            "FROM" | "RUN" | "WORKDIR" | "COPY" | "USER" | "VOLUME" | "EXPOSE" | "STOPSIGNAL" => {}
            "ENV" => {
                for (name, _) in rest.split(' ').map(|pair| pair.split_once('=').unwrap()) {
                    assert!(variables().contains(name), "{name}");
                }
            }
            "ENTRYPOINT" | "CMD" => words.extend(array(rest)),
            "HEALTHCHECK" => {
                let check = array(rest.split_once(" CMD ").unwrap().1);
                is_command(&check.iter().map(String::as_str).collect::<Vec<_>>(), "/d");
                checks += 1;
            }
            other => panic!("{other}"),
        }
    }
    is_command(&words.iter().map(String::as_str).collect::<Vec<_>>(), "/d");
    assert_eq!(checks, 1);
}

#[test]
fn compose_checks_the_health_of_every_service_and_mounts_what_is_there() {
    let compose = yaml("compose.yml");
    let services = compose["services"].as_hash().unwrap();
    let names: Vec<&str> = services.keys().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names, ["node", "prometheus", "grafana"]);
    let volumes = compose["volumes"].as_hash().unwrap();
    for (name, service) in services {
        let check = service["healthcheck"]["test"].as_vec().unwrap();
        let check: Vec<&str> = check.iter().map(|word| word.as_str().unwrap()).collect();
        assert_eq!(check[0], "CMD");
        for needed in service["depends_on"].as_hash().into_iter().flatten() {
            assert!(services.contains_key(needed.0), "{needed:?}");
            assert_eq!(needed.1["condition"].as_str(), Some("service_healthy"));
        }
        for volume in service["volumes"].as_vec().unwrap() {
            let from = volume.as_str().unwrap().split(':').next().unwrap();
            let is_there = match from.starts_with('.') {
                true => path(from).exists(),
                false => volumes.contains_key(&Yaml::String(from.to_owned())),
            };
            assert!(is_there, "{from}");
        }
        if name.as_str() == Some("node") {
            is_command(&check[1..], "/d");
            let command = service["command"].as_vec().unwrap();
            let command = command.iter().map(|word| word.as_str().unwrap());
            is_command(&["ashlar-node"].into_iter().chain(command).collect::<Vec<_>>(), "/d");
            let build = &service["build"];
            assert!(path(build["context"].as_str().unwrap()).join("Cargo.toml").exists());
            assert!(build["dockerfile"].as_str().unwrap().ends_with("scripts/deploy/Dockerfile"));
            for (variable, _) in service["environment"].as_hash().unwrap() {
                assert!(variables().contains(variable.as_str().unwrap()), "{variable:?}");
            }
        }
    }
}

#[test]
fn prometheus_and_grafana_find_their_files() {
    let prometheus = yaml("prometheus/prometheus.yml");
    for rules in prometheus["rule_files"].as_vec().unwrap() {
        let rules = yaml(&format!("prometheus/{}", rules.as_str().unwrap()));
        let rules = rules["groups"][0]["rules"].as_vec().unwrap();
        let operations = include_str!("../../docs/operations.md");
        for rule in rules {
            let name = rule["alert"].as_str().unwrap();
            assert!(rule["expr"].as_str().is_some(), "{name}");
            assert!(rule["annotations"]["summary"].as_str().is_some(), "{name}");
            assert!(operations.contains(&format!("`{name}`")), "{name} is not in operations.md");
        }
    }
    let job = &prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0];
    assert_eq!(job.as_str(), Some("127.0.0.1:9332"));
    let provided = yaml("grafana/provisioning/dashboards/ashlar.yml");
    let dashboards = provided["providers"][0]["options"]["path"].as_str().unwrap();
    let compose = text("compose.yml");
    assert!(compose.contains(&format!("./grafana/ashlar.json:{dashboards}/ashlar.json:ro")));
    let source = yaml("grafana/provisioning/datasources/ashlar.yml");
    assert_eq!(source["datasources"][0]["url"].as_str(), Some("http://127.0.0.1:9090"));
}
