//! Log lines, as text or JSON, to standard error; what is logged can be changed while it runs.

use std::{
    error::Error,
    io::IsTerminal,
    panic,
    sync::{Mutex, PoisonError},
};

use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::{
    Failure,
    config::{Config, LogFormat},
};

/// What is logged, and the handle to change it.
#[derive(Debug)]
pub(crate) struct LogFilter {
    directives: Mutex<String>,
    handle: reload::Handle<EnvFilter, Registry>,
}

impl LogFilter {
    /// The directives in force, as they were given.
    pub(crate) fn directives(&self) -> String {
        self.directives.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs by other directives from now on; where they can't be read, nothing changes.
    pub(crate) fn set(&self, directives: &str) -> Result<(), String> {
        let filter = parse(directives)?;
        self.handle.reload(filter).map_err(|error| error.to_string())?;
        *self.directives.lock().unwrap_or_else(PoisonError::into_inner) = directives.to_owned();
        tracing::info!(directives, "what is logged was changed");
        Ok(())
    }
}

/// Reads directives, without trying them.
pub(crate) fn parse(directives: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(directives).map_err(|error| error.to_string())
}

/// Starts logging; a filter that can't be read is an error that names it. A thread that dies says
/// so in a line like any other, which whoever collects JSON can read.
pub(crate) fn start(config: &Config) -> Result<LogFilter, Failure> {
    let filter = parse(&config.log)
        .map_err(|reason| format!("the log filter {:?} can't be used: {reason}", config.log))?;
    let (filter, handle) = reload::Layer::new(filter);
    // A line that can't be written is lost. To complain of it where it could not be written would be
    // a panic in whatever thread had something to say: a full disk must not end a node so.
    let lines = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let lines = match config.log_format {
        LogFormat::Text => {
            lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed()
        }
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let place = info.location().map(ToString::to_string);
        let payload = info.payload();
        let words = payload.downcast_ref::<&str>().copied();
        let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let words = words.unwrap_or("no words");
        tracing::error!(thread = thread.name(), place, "a thread died: {words}");
    }));
    Ok(LogFilter { directives: Mutex::new(config.log.clone()), handle })
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
