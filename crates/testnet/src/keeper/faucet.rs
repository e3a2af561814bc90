//! The faucet: coins for whoever asks, by the verb without a limit, by HTTP with several.
//!
//! ```text
//! GET  /                                       what it gives
//! POST /   {"address": "test1…", "amount": "5"}   a payment; the amount may be left out
//! ```
//!
//! It listens on loopback alone. A web page that the user happens to look at can't ask it: whatever
//! comes with an `Origin`, or for another host's name (DNS rebinding), is refused.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ashlar_primitives::{Address, Ash};
use ashlar_rpc::types::Text;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HOST, ORIGIN},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore};
use tracing::{info, warn};

use super::Keeper;
use crate::{
    control::Given,
    error::{Refusal, TestnetError},
    wallets::{FAUCET, KnownWallet, PASSWORD},
};

/// Longest body of a request, in bytes: an address and an amount.
const MAX_BODY_BYTES: usize = 1_024;
/// Connections at a time; further ones wait.
const MAX_CONNECTIONS: usize = 32;
/// How long a caller may take over its headers or its body.
const CALLER_PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a failed accept, which mostly means that there are no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The stretch over which gifts are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// How many gifts may be made by HTTP, in any stretch of a minute.
#[derive(Debug)]
pub(super) struct Allowance {
    most: usize,
    given: Mutex<Vec<Instant>>,
}

impl Allowance {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { most: usize::try_from(per_minute).unwrap_or(usize::MAX), given: Mutex::default() }
    }

    /// Takes one gift of the allowance, where there is one left.
    fn take(&self, now: Instant) -> bool {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|at| now.duration_since(*at) < MINUTE);
        let is_left = given.len() < self.most;
        if is_left {
            given.push(now);
        }
        is_left
    }
}

/// What is asked by HTTP.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    address: String,
    #[serde(default)]
    amount: Option<Text<Ash>>,
}

impl Keeper {
    /// Pays from the faucet, through the first node that serves. One payment after another: the
    /// wallet is one file.
    pub(crate) async fn give(
        self: &Arc<Self>,
        address: String,
        amount: Option<Text<Ash>>,
    ) -> Result<Given, TestnetError> {
        Address::parse(&address, &self.chain.params.address_prefix)
            .map_err(|error| TestnetError::Address { address: address.clone(), error })?;
        let amount = amount.unwrap_or(self.file.faucet.amount);
        let number = self.serving().first().copied().ok_or(TestnetError::NoNode)?;
        let _one = self.giving.lock().await;
        let keeper = Arc::clone(self);
        let paying = tokio::task::spawn_blocking(move || {
            let txid = keeper.pay(&keeper.layout.node(number), &address, amount)?;
            Ok(Given { txid, address, amount })
        });
        paying.await.unwrap_or_else(|panic| {
            let words = format!("the payment was broken off: {panic}");
            Err(TestnetError::Wallet { name: FAUCET.to_owned(), words })
        })
    }

    /// Has the wallet's program pay; the payment's id.
    fn pay(
        &self,
        datadir: &std::path::Path,
        address: &str,
        amount: Text<Ash>,
    ) -> Result<String, TestnetError> {
        let file = self.layout.wallet(FAUCET);
        let known = KnownWallet::of(FAUCET, &self.chain.params.address_prefix);
        known.make(&self.programs, &file, &self.layout.genesis())?;
        let mut command = Command::new(&self.programs.wallet);
        command.arg("--wallet").arg(file).arg("--datadir").arg(datadir).arg("--json");
        // The same to the same is what a faucet is asked for.
        command.args(["send", address, &amount.to_string(), "--yes", "--again"]);
        command.env("ASHLAR_WALLET_PASSWORD", PASSWORD).stdin(Stdio::null());
        let output = command.output().map_err(|error| TestnetError::Program {
            program: self.programs.wallet.clone(),
            error,
        })?;
        let paid: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        match paid.get("txid").and_then(Value::as_str) {
            Some(txid) if output.status.success() => Ok(txid.to_owned()),
            _ => {
                let words = String::from_utf8_lossy(&output.stderr);
                let said = paid.pointer("/error/message").and_then(Value::as_str);
                let words = said.unwrap_or(words.trim()).to_owned();
                Err(TestnetError::Wallet { name: FAUCET.to_owned(), words })
            }
        }
    }
}

/// Opens the faucet's door, on the port that it had where that is free, and serves for ever.
pub(super) async fn open(keeper: &Arc<Keeper>) -> Result<(), TestnetError> {
    let kept = keeper.state().faucet_port;
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, kept)).await {
        Err(_) if kept != 0 => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
        bound => bound,
    };
    let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(TestnetError::disk("the faucet's port"))?;
    keeper.state().faucet_port = address.port();
    keeper.save()?;
    tokio::spawn(serve(Arc::clone(keeper), listener, address));
    Ok(())
}

async fn serve(keeper: Arc<Keeper>, listener: TcpListener, address: SocketAddr) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let allowance = Arc::new(Allowance::new(keeper.file.faucet.per_minute));
    info!(%address, "the faucet is open");
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (keeper, allowance) = (Arc::clone(&keeper), Arc::clone(&allowance));
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let (keeper, allowance) = (Arc::clone(&keeper), Arc::clone(&allowance));
                async move {
                    let answer = match reply(&keeper, &allowance, address, request).await {
                        Ok(value) => (StatusCode::OK, value),
                        Err((status, refusal)) => (status, json!({ "error": refusal })),
                    };
                    Ok::<_, Infallible>(response(answer))
                }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(CALLER_PATIENCE).keep_alive(false);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a caller of the faucet is gone");
            }
            drop(place);
        });
    }
}

fn response((status, value): (StatusCode, Value)) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{value}\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

/// Why a caller gets nothing.
type No = (StatusCode, Refusal);

fn no(status: StatusCode, code: &str, message: String, hint: &str) -> No {
    (status, Refusal { code: code.to_owned(), message, hint: Some(hint.to_owned()) })
}

async fn reply(
    keeper: &Arc<Keeper>,
    allowance: &Allowance,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Result<Value, No> {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let port = address.port();
    let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    if header(ORIGIN).is_some() || !header(HOST).is_some_and(|host| hosts.iter().any(|h| h == host))
    {
        let message = "web pages and other hosts' names get nothing".to_owned();
        let hint = "call it by 127.0.0.1, from a program on this machine";
        return Err(no(StatusCode::FORBIDDEN, "forbidden", message, hint));
    }
    let faucet = &keeper.file.faucet;
    let usage = "POST {\"address\": …, \"amount\": …} to /";
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => {
            return Ok(json!({
                "chain": keeper.chain.params.name,
                "amount": faucet.amount,
                "most": faucet.most,
                "per_minute": faucet.per_minute,
                "usage": usage,
            }));
        }
        (&Method::POST, "/") => {}
        _ => {
            let message = "there is only /".to_owned();
            return Err(no(StatusCode::NOT_FOUND, "not-found", message, usage));
        }
    }
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    let body = match tokio::time::timeout(CALLER_PATIENCE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => {
            let message = format!("no body of at most {MAX_BODY_BYTES} bytes came in time");
            return Err(no(StatusCode::BAD_REQUEST, "bad-request", message, usage));
        }
    };
    let wish: Wish = serde_json::from_slice(&body)
        .map_err(|e| no(StatusCode::BAD_REQUEST, "bad-request", e.to_string(), usage))?;
    if wish.amount.is_some_and(|amount| amount > faucet.most) {
        let message = format!("at most {} ASH at once", faucet.most);
        return Err(no(StatusCode::BAD_REQUEST, "too-much", message, "ask for less"));
    }
    if !allowance.take(Instant::now()) {
        let message = format!("{} payments in a minute are enough", faucet.per_minute);
        return Err(no(StatusCode::TOO_MANY_REQUESTS, "too-many", message, "wait a minute"));
    }
    match keeper.give(wish.address, wish.amount).await {
        Ok(given) => Ok(json!(given)),
        Err(error) => {
            let status = match error {
                TestnetError::Address { .. } => StatusCode::BAD_REQUEST,
                _ => {
                    warn!(%error, "nothing given");
                    StatusCode::SERVICE_UNAVAILABLE
                }
            };
            Err((status, Refusal::from(&error)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_comes_back_after_a_minute() {
        let allowance = Allowance::new(3);
        let start = Instant::now();
        let taken = |ms: u64| allowance.take(start + Duration::from_millis(ms));
        assert_eq!([0, 10, 20, 30].map(taken), [true, true, true, false]);
        assert_eq!([59_999, 60_000, 60_005, 60_010].map(taken), [false, true, false, true]);
        assert!(!Allowance::new(0).take(start));
    }
}
