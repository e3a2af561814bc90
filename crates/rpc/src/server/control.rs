//! The node itself, and what it says of its interface.

use std::sync::OnceLock;

use ashlar_engine::{Call, call::AnswerBody};
use serde_json::Value;

use super::{
    backend::Backend,
    context::{Context, unexpected},
};
use crate::{
    error::RpcError,
    types::{ClockInfo, ClockSetting, LogFilter, MemoryInfo},
};

/// Made from [`crate::api`] by the example `rpc-doc`; a test compares them.
static OPENRPC: &str = include_str!("../../openrpc.json");

/// The OpenRPC document of this interface.
pub(super) fn openrpc() -> &'static Value {
    static PARSED: OnceLock<Value> = OnceLock::new();
    PARSED.get_or_init(|| serde_json::from_str(OPENRPC).expect("a test reads it"))
}

/// `setmocktime`, as in Bitcoin Core: 0 is the machine's clock.
pub(super) fn stand_still<B: Backend>(
    context: &Context<B>,
    unix_seconds: u64,
) -> Result<(), RpcError> {
    let unix_ms = unix_seconds.saturating_mul(1_000);
    let setting = ClockSetting { unix_ms, machine_ms: None, speed_permille: 0 };
    set_clock(context, (unix_seconds != 0).then_some(setting), "timestamp")
}

pub(super) fn clock<B: Backend>(
    context: &Context<B>,
    setting: Option<ClockSetting>,
) -> Result<ClockInfo, RpcError> {
    if setting.is_some() {
        set_clock(context, setting, "setting")?;
    }
    Ok(context.backend.clock())
}

fn set_clock<B: Backend>(
    context: &Context<B>,
    setting: Option<ClockSetting>,
    name: &'static str,
) -> Result<(), RpcError> {
    if setting.is_some_and(|setting| setting.unix_ms > ClockSetting::MAX_UNIX_MS) {
        let max = ClockSetting::MAX_UNIX_MS;
        let reason = format!("no header can have a time beyond {max} ms since 1970");
        return Err(RpcError::InvalidParameter { name, reason });
    }
    if setting.is_some_and(|setting| setting.speed_permille > ClockSetting::MAX_SPEED_PERMILLE) {
        let reason = format!("the highest speed is {} permille", ClockSetting::MAX_SPEED_PERMILLE);
        return Err(RpcError::InvalidParameter { name, reason });
    }
    context.backend.set_clock(setting)?;
    match setting {
        Some(ClockSetting { unix_ms, speed_permille, .. }) => {
            tracing::info!(unix_ms, speed_permille, "the clock was set");
        }
        None => tracing::info!("the clock is the machine's again"),
    }
    Ok(())
}

pub(super) fn log_filter<B: Backend>(
    context: &Context<B>,
    filter: Option<String>,
) -> Result<LogFilter, RpcError> {
    if let Some(filter) = filter {
        context.backend.set_log_filter(&filter)?;
        tracing::info!(filter, "the log filter was changed");
    }
    Ok(LogFilter { filter: context.backend.log_filter() })
}

pub(super) async fn memory<B: Backend>(context: &Context<B>) -> Result<MemoryInfo, RpcError> {
    let answer = context.call(Call::MempoolInfo).await?;
    let AnswerBody::MempoolInfo(mempool) = answer.body else {
        return Err(unexpected(&answer.body));
    };
    let process = context.backend.memory();
    Ok(MemoryInfo {
        resident: process.resident_bytes,
        resident_peak: process.peak_bytes,
        mempool: mempool.memory_bytes as u64,
        mempool_max: mempool.max_bytes as u64,
    })
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `getblock blockhash [verbosity]`
fn usage(method: &Value) -> String {
    list(method, "params").iter().fold(text(method, "name").to_owned(), |line, parameter| {
        let name = text(parameter, "name");
        let is_required = parameter.get("required") == Some(&Value::Bool(true));
        if is_required { format!("{line} {name}") } else { format!("{line} [{name}]") }
    })
}

/// All methods in a line each, or one in full.
pub(super) fn help(command: Option<&str>) -> Result<String, RpcError> {
    let methods = list(openrpc(), "methods");
    let Some(command) = command else {
        let (mut page, mut topic) = (String::new(), "");
        for method in methods {
            let here = list(method, "tags").first().map_or("", |tag| text(tag, "name"));
            if here != topic {
                let space = if topic.is_empty() { "" } else { "\n" };
                page = format!("{page}{space}== {here} ==\n");
                topic = here;
            }
            page = format!("{page}{}\n", usage(method));
        }
        return Ok(page);
    };
    let method = methods.iter().find(|method| text(method, "name") == command);
    let method = method.ok_or(RpcError::UnknownMethod)?;
    let mut page = format!("{}\n\n{}\n", usage(method), text(method, "description"));
    let section = |page: &mut String, title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            page.push_str(&format!("\n{title}:\n  {}\n", lines.join("\n  ")));
        }
    };
    let named = |entry: &Value| format!("{}: {}", text(entry, "name"), text(entry, "description"));
    section(&mut page, "Parameters", list(method, "params").iter().map(named).collect());
    let errors = list(method, "errors").iter().map(|error| {
        let code = error.get("data").map_or("", |data| text(data, "code"));
        format!("{code}: {}", text(error, "message"))
    });
    section(&mut page, "Errors", errors.collect());
    section(&mut page, "Scope", vec![text(method, "x-scope").to_owned()]);
    let examples = list(method, "examples").iter().map(|example| {
        let given = list(example, "params").iter().filter_map(|one| one.get("value"));
        format!("{command} {}", Value::from_iter(given.cloned()))
    });
    section(&mut page, "Example", examples.collect());
    Ok(page)
}
