//! Scripted worlds: each runs, comes to what it must, and would not without its trouble.
#![allow(clippy::unwrap_used, reason = "tests")]

use ashlar_simulator::{Report, Scenario, World, scripts::SCRIPTS};

fn run(scenario: Scenario) -> Report {
    World::new(scenario, false).run().unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn every_script_comes_to_what_it_must() {
    for script in &SCRIPTS {
        let report = run((script.scenario)());
        assert_eq!(script.judge(&report), Ok(()), "{}: {report}", script.name);
    }
}

/// What a script expects comes of its trouble, not of anything else.
#[test]
fn no_script_is_content_with_a_calm_world() {
    for script in &SCRIPTS {
        let scenario = Scenario { faults: Vec::new(), villains: Vec::new(), ..(script.scenario)() };
        assert!(script.judge(&run(scenario)).is_err(), "{}", script.name);
    }
}

#[test]
fn every_script_shows_its_forks() {
    for script in &SCRIPTS {
        assert!(script.explanation.contains("```text\n"), "{}", script.name);
        assert!(script.explanation.contains("──"), "{}", script.name);
        assert!(script.summary().ends_with('.'), "{}", script.name);
    }
}
