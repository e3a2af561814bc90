//! Calls and events over a WebSocket.
//!
//! One task reads messages and runs their calls side by side, another writes what there is to
//! send. Each wait is bounded: for a message or a sign of life, for a place among the calls, for a
//! reader that takes nothing.

use std::{sync::Arc, time::Duration};

use futures::io::{BufReader, BufWriter};
use http::{Request, Response};
use hyper::{
    body::{Bytes, Incoming},
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use soketto::{
    base::Error as FrameError,
    connection::Error as SocketError,
    data::ByteSlice125,
    handshake::http::{self as handshake, Server},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::JoinSet,
    time::{self, MissedTickBehavior},
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::{
    caller::Caller,
    calls::{Calls, Events, refusal_text},
    listen::until_stopped,
};
use crate::error::RpcError;

/// Messages that may wait to be written to one WebSocket.
const MAX_WAITING: usize = 64;
/// Messages of one WebSocket that are being answered; it is read on when one is.
const MAX_AT_WORK: usize = 64;
/// How much over its bound a message is still read to its end, so that its sender is told and may
/// go on. After a longer one nothing more can be understood.
const OVERHANG_BYTES: usize = 1024 * 1024;
/// Between two pings of a WebSocket.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// A WebSocket that sends neither a message nor the answer to a ping for so long is closed, and
/// so is one that takes no message for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the last messages may take to be written.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

type Io = BufReader<BufWriter<Compat<TokioIo<Upgraded>>>>;

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked_for<B>(request: &Request<B>) -> bool {
    handshake::is_upgrade_request(request)
}

/// Who is at the other end, and what holds for them.
pub(super) struct Guest {
    pub(super) caller: Caller,
    /// Kept for as long as it is open.
    pub(super) _places: [OwnedSemaphorePermit; 2],
    pub(super) calls: Arc<Calls>,
    pub(super) max_message_bytes: u32,
    /// Held for as long as it is open.
    pub(super) stop: watch::Receiver<bool>,
}

/// The answer that opens a WebSocket, which from then on is served by tasks of its own.
pub(super) fn open(
    mut request: Request<Incoming>,
    guest: Guest,
) -> Result<Response<Bytes>, RpcError> {
    let mut server = Server::new();
    let response = server
        .receive_request(&request)
        .map_err(|error| RpcError::BadHandshake { reason: error.to_string() })?;
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrading.await {
            Ok(upgraded) => {
                let io = BufReader::new(BufWriter::new(TokioIo::new(upgraded).compat()));
                let mut builder = server.into_builder(io);
                builder.set_max_message_size(guest.max_message_bytes as usize + OVERHANG_BYTES);
                let (sender, receiver) = builder.finish();
                serve(sender, receiver, guest).await;
            }
            Err(error) => tracing::debug!(%error, "a WebSocket was not opened"),
        }
    });
    Ok(response.map(|()| Bytes::new()))
}

async fn serve(sender: soketto::Sender<Io>, mut receiver: soketto::Receiver<Io>, guest: Guest) {
    let (outbox, waiting) = mpsc::channel(MAX_WAITING);
    let (close, closing) = watch::channel(());
    let mut writing = tokio::spawn(write(sender, waiting, closing));
    let mut at_work = JoinSet::new();
    let mut stop = guest.stop.clone();
    tokio::select! {
        () = read(&mut receiver, &mut at_work, &guest, &outbox) => {}
        // The writer met an error, or was kept waiting too long.
        () = outbox.closed() => {}
        () = until_stopped(&mut stop) => {
            // Whoever stops the server says how long these may take.
            while at_work.join_next().await.is_some() {}
        }
    }
    // Nobody is there to be answered any more. Those who send events see their channel closed.
    at_work.shutdown().await;
    drop((outbox, close));
    if time::timeout(CLOSE_PATIENCE, &mut writing).await.is_err() {
        writing.abort();
    }
}

/// Reads messages until the WebSocket is closed or silent, and sets a task to work on each.
async fn read(
    receiver: &mut soketto::Receiver<Io>,
    at_work: &mut JoinSet<()>,
    guest: &Guest,
    outbox: &mpsc::Sender<Box<RawValue>>,
) {
    let connection = Arc::new(guest.calls.connect());
    loop {
        while at_work.len() >= MAX_AT_WORK && at_work.join_next().await.is_some() {}
        while at_work.try_join_next().is_some() {}
        let mut message = Vec::new();
        let received = time::timeout(PATIENCE, receiver.receive(&mut message)).await;
        let is_lost = match received {
            Ok(Ok(soketto::Incoming::Data(_))) => false,
            Ok(Ok(soketto::Incoming::Pong(_))) => continue,
            Ok(Ok(soketto::Incoming::Closed(_)) | Err(SocketError::Closed)) => return,
            Ok(Err(
                SocketError::MessageTooLarge { .. }
                | SocketError::Codec(FrameError::PayloadTooLarge { .. }),
            )) => true,
            Ok(Err(error)) => return tracing::debug!(%error, "a WebSocket broke off"),
            Err(_) => return tracing::debug!("a WebSocket was silent too long"),
        };
        let max_bytes = guest.max_message_bytes;
        if is_lost || message.len() > max_bytes as usize {
            post(outbox, refusal_text(&RpcError::BodyTooLong { max_bytes })).await;
            if is_lost {
                return;
            }
            continue;
        }
        let (calls, caller) = (Arc::clone(&guest.calls), guest.caller.clone());
        let (connection, outbox) = (Arc::clone(&connection), outbox.clone());
        at_work.spawn(async move {
            let answered = calls.answer(&message, &caller, Some(&connection)).await;
            match answered {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    post(&outbox, answer.json).await;
                    for events in answer.events {
                        tokio::spawn(pass_on(events, outbox.clone()));
                    }
                }
                Err(error) => post(&outbox, refusal_text(&error)).await,
            }
        });
    }
}

/// Puts an answer among what waits to be written.
async fn post(outbox: &mpsc::Sender<Box<RawValue>>, json: String) {
    match RawValue::from_string(json) {
        // An error says that the WebSocket is closed: nobody waits for it.
        Ok(json) => drop(outbox.send(json).await),
        Err(error) => tracing::error!(%error, "an RPC answer is no JSON"),
    }
}

/// Passes a subscription's events on until it ends or the WebSocket does.
async fn pass_on(mut events: Events, outbox: mpsc::Sender<Box<RawValue>>) {
    loop {
        let event = tokio::select! {
            () = outbox.closed() => return,
            event = events.recv() => event,
        };
        let Some(event) = event else { return };
        if outbox.send(event).await.is_err() {
            return;
        }
    }
}

/// Writes what waits, and pings, until `closing` is over or the WebSocket is; then the rest of what
/// waits, and that it is closed.
async fn write(
    mut sender: soketto::Sender<Io>,
    mut waiting: mpsc::Receiver<Box<RawValue>>,
    mut closing: watch::Receiver<()>,
) {
    let mut pings = time::interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = waiting.recv() => message,
            _ = pings.tick() => {
                let none = ByteSlice125::try_from(&[][..]).expect("fits: it is empty");
                if !in_time(async { sender.send_ping(none).await?; sender.flush().await }).await {
                    return;
                }
                continue;
            }
            _ = closing.changed() => {
                waiting.close();
                waiting.recv().await
            }
        };
        let Some(message) = message else { break };
        let text = Box::<str>::from(message).into_string();
        if !in_time(async {
            sender.send_text_owned(text).await?;
            sender.flush().await
        })
        .await
        {
            return;
        }
    }
    // An error says that the other end closed it first.
    drop(sender.close().await);
}

/// Whether this was written, and the reader did not keep it waiting too long.
async fn in_time(write: impl Future<Output = Result<(), SocketError>>) -> bool {
    match time::timeout(PATIENCE, write).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a WebSocket was closed by its reader");
            false
        }
        Err(_) => {
            tracing::debug!("a WebSocket's reader was too slow");
            false
        }
    }
}
