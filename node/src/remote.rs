//! `ashlar-node rpc`: one call to a running node, its answer as JSON.

use std::{fs, path::PathBuf};

use ashlar_rpc::{Client, Credentials, client::UserPassword};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::{
    Failure,
    datadir::{COOKIE_FILE, RUN_FILE},
};

/// What a running node writes into its data directory, and removes when it stops.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunFile {
    /// Its process id.
    pub(crate) pid: u32,
    /// `IP:PORT` of its RPC server.
    pub(crate) rpc: String,
    /// Its peer id.
    pub(crate) identity: String,
    /// Multiaddresses at which peers reach it, its peer id at the end.
    pub(crate) listening: Vec<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RpcArguments {
    /// The data directory of the running node: its address and cookie are read from there.
    #[arg(long, env = "ASHLAR_DATADIR", value_name = "DIR")]
    datadir: Option<PathBuf>,
    /// Address of the RPC server, where there is no data directory at hand.
    #[arg(long, env = "ASHLAR_RPC", value_name = "IP:PORT")]
    rpc: Option<String>,
    /// The cookie file, where it is not in the data directory.
    #[arg(long, env = "ASHLAR_RPC_COOKIE", value_name = "FILE")]
    cookie: Option<PathBuf>,
    /// The method: `getblockcount`.
    method: String,
    /// Its parameters in order, each as JSON; what is not JSON is taken as a string.
    params: Vec<String>,
}

#[derive(Debug, Error)]
enum RemoteError {
    #[error("name a node: --datadir DIR, or --rpc IP:PORT with --cookie FILE")]
    NoNode,
    #[error("no node runs on {datadir} ({file} is not there); start it with `ashlar-node run`")]
    NotRunning { datadir: PathBuf, file: PathBuf },
    #[error("{file} is damaged: {error}; start the node anew")]
    BadRunFile { file: PathBuf, error: serde_json::Error },
}

/// Calls and prints.
pub(crate) fn call(arguments: &RpcArguments) -> Result<(), Failure> {
    let (address, credentials) = node(arguments)?;
    let params = arguments
        .params
        .iter()
        .map(|param| {
            serde_json::from_str(param).unwrap_or_else(|_| Value::String(param.clone()))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        Client::connect(&address, &credentials)?.call(&arguments.method, params).await
    })?;
    match answer {
        Value::String(text) => println!("{text}"),
        other => println!("{other:#}"),
    }
    Ok(())
}

fn node(arguments: &RpcArguments) -> Result<(String, Credentials), Failure> {
    let address = match (&arguments.rpc, &arguments.datadir) {
        (Some(address), _) => address.clone(),
        (None, Some(datadir)) => {
            let file = datadir.join(RUN_FILE);
            let text = fs::read_to_string(&file).map_err(|_| RemoteError::NotRunning {
                datadir: datadir.clone(),
                file: file.clone(),
            })?;
            let run: RunFile = serde_json::from_str(&text)
                .map_err(|error| RemoteError::BadRunFile { file, error })?;
            run.rpc
        }
        (None, None) => return Err(RemoteError::NoNode.into()),
    };
    let credentials = match (&arguments.cookie, &arguments.datadir) {
        (Some(cookie), _) => Credentials::Cookie(cookie.clone()),
        (None, Some(datadir)) => Credentials::Cookie(datadir.join(COOKIE_FILE)),
        (None, None) => match std::env::var("ASHLAR_RPC_PASSWORD") {
            Ok(text) => UserPassword::parse(&text).map_or(Credentials::None, Credentials::Password),
            Err(_) => Credentials::None,
        },
    };
    Ok((address, credentials))
}
