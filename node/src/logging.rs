//! Log lines, as text or JSON, to standard error.

use std::error::Error;

use tracing_subscriber::EnvFilter;

use crate::{
    Failure,
    config::{Config, LogFormat},
};

/// Starts logging; a filter that can't be read is an error that names it.
pub(crate) fn start(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|error| format!("the log filter {:?} can't be used: {error}", config.log))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match config.log_format {
        LogFormat::Text => lines.with_target(false).try_init()?,
        LogFormat::Json => lines.json().try_init()?,
    }
    Ok(())
}

/// The last line of a command that failed: the error and all that caused it.
pub(crate) fn fatal(error: &(dyn Error + Send + Sync + 'static)) {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Transparent errors show their cause's text as their own.
        let text = inner.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = inner.source();
    }
    if tracing::dispatcher::has_been_set() {
        tracing::error!("{line}");
    } else {
        eprintln!("ashlar-node: {line}");
    }
}
