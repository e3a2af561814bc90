//! Who asks what: a line of JSON in, a line of JSON out, and the connection ends.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};
use tracing::debug;

use super::Keeper;
use crate::{
    control::{MAX_REQUEST_BYTES, Reply, Request},
    error::{Refusal, TestnetError},
};

/// Serves one caller.
pub(super) async fn serve(keeper: &Arc<Keeper>, stream: UnixStream) {
    let mut line = String::new();
    let mut stream = BufReader::new(stream);
    let read = (&mut stream).take(MAX_REQUEST_BYTES).read_line(&mut line).await;
    if read.is_err() {
        return;
    }
    let request = serde_json::from_str(&line);
    let is_down = matches!(request, Ok(Request::Down));
    let reply = match request {
        Ok(request) => match answer(keeper, request).await {
            Ok(value) => Reply::Ok(value),
            Err(error) => Reply::Error(Refusal::from(&error)),
        },
        Err(error) => Reply::Error(Refusal {
            code: "bad-request".to_owned(),
            message: format!("the keeper does not know this request: {error}"),
            hint: Some("`down` and `up` start the keeper of this build".to_owned()),
        }),
    };
    let mut text = serde_json::to_vec(&reply).unwrap_or_default();
    text.push(b'\n');
    if let Err(error) = stream.get_mut().write_all(&text).await {
        debug!(%error, "the caller is gone");
    }
    if is_down {
        keeper.end.notify_one();
    }
}

/// Does what is asked.
async fn answer(keeper: &Arc<Keeper>, request: Request) -> Result<Value, TestnetError> {
    match request {
        Request::Up { nodes } => {
            keeper.up(nodes).await?;
            value(&keeper.overview().await)
        }
        Request::Overview => value(&keeper.overview().await),
        Request::Status => value(&keeper.status().await),
        Request::Add { nodes } => {
            keeper.add(nodes).await?;
            value(&keeper.overview().await)
        }
        Request::Remove { node } => value(&keeper.remove(node).await?),
        Request::Start { node } => value(&keeper.start(node).await?),
        Request::Stop { node } => value(&keeper.stop(node).await?),
        Request::Kill { node } => value(&keeper.kill(node).await?),
        Request::Pause { node } => value(&keeper.pause(node, true)?),
        Request::Resume { node } => {
            keeper.pause(node, false)?;
            keeper.tell_clock(node).await;
            value(&())
        }
        Request::Mine { blocks, node } => {
            let first = keeper.serving().first().copied().unwrap_or(1);
            let _alone = keeper.finding.lock().await;
            value(&keeper.generate(node.unwrap_or(first), blocks).await?)
        }
        Request::Mining { change } => value(&keeper.set_mining(change)?),
        Request::Faucet { address, amount } => value(&keeper.give(address, amount).await?),
        Request::Time { change: None } => value(&keeper.time()),
        Request::Time { change: Some(change) } => value(&keeper.change_time(change).await?),
        Request::Save { name } => value(&keeper.save_as(&name).await?),
        Request::Load { name } => value(&keeper.load_save(&name).await?),
        Request::Reorg { depth, against, node } => {
            value(&keeper.reorganise(depth, against, node).await?)
        }
        Request::Tree => value(&keeper.tree().await?),
        Request::Partition { sides } => value(&keeper.partition(&sides)?),
        Request::Heal => value(&keeper.heal()?),
        Request::Links => value(&keeper.links.states()),
        Request::Link { from, to, change } => value(&keeper.change_link(from, to, &change)?),
        Request::Flap { node, times, period_ms, wait } => {
            value(&keeper.flap(node, times, period_ms, wait).await?)
        }
        Request::Clock { node, change } => value(&keeper.set_clock(node, change).await?),
        Request::DiskFull { node } => value(&keeper.fill_disk(node)?),
        Request::Down => {
            keeper.stop_all().await;
            Ok(Value::Null)
        }
    }
}

fn value(answer: &impl Serialize) -> Result<Value, TestnetError> {
    serde_json::to_value(answer)
        .map_err(|error| TestnetError::BadAnswer { reason: error.to_string() })
}
