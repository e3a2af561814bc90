//! `ashlar-node rpc`: one call to a running node, its answer as JSON.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use ashlar_rpc::{Client, Credentials, RunFile, UserPassword, client::Way};
use clap::Args;
use serde_json::Value;
use thiserror::Error;

use crate::Failure;

/// Which node to call.
#[derive(Clone, Debug, Args)]
pub(crate) struct RpcPlace {
    /// The data directory of the running node: its address and cookie are read from there.
    #[arg(long, env = "ASHLAR_DATADIR", value_name = "DIR")]
    datadir: Option<PathBuf>,
    /// Address of the RPC server, where there is no data directory at hand.
    #[arg(long, env = "ASHLAR_RPC", value_name = "IP:PORT or URL")]
    rpc: Option<String>,
    /// The cookie file, where it is not in the data directory.
    #[arg(long, env = "ASHLAR_RPC_COOKIE", value_name = "FILE")]
    cookie: Option<PathBuf>,
    /// Speak TLS, as https:// does: the PEM file of the node's certificate, or of who signed it.
    #[arg(long, env = "ASHLAR_RPC_CA", value_name = "FILE")]
    rpc_ca: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RpcArguments {
    #[command(flatten)]
    place: RpcPlace,
    /// The method: `getblockcount`.
    method: String,
    /// Its parameters in order, each as JSON; what is not JSON is taken as a string.
    params: Vec<String>,
}

#[derive(Debug, Error)]
enum RemoteError {
    #[error("name a node: --datadir DIR, or --rpc IP:PORT with --cookie FILE")]
    NoNode,
}

/// Calls and prints.
pub(crate) fn call(arguments: &RpcArguments) -> Result<(), Failure> {
    let params = arguments
        .params
        .iter()
        .map(|param| serde_json::from_str(param).unwrap_or_else(|_| Value::String(param.clone())))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let answer = arguments.place.connect()?.call(&arguments.method, params).await;
        answer.map_err(Failure::from)
    })?;
    match answer {
        Value::String(text) => println!("{text}"),
        other => println!("{other:#}"),
    }
    Ok(())
}

impl RpcPlace {
    /// The way to that node.
    pub(crate) fn way(&self) -> Result<Way, Failure> {
        let address = match (&self.rpc, &self.datadir) {
            (Some(address), _) => address.clone(),
            (None, Some(datadir)) => own_address(&RunFile::read(datadir)?.rpc),
            (None, None) => return Err(RemoteError::NoNode.into()),
        };
        Ok(Way::new(&address, self.rpc_ca.as_deref())?)
    }

    /// A client of that node. Must be called on a Tokio runtime.
    pub(crate) fn connect(&self) -> Result<Client, Failure> {
        let credentials = match (&self.cookie, &self.datadir) {
            (Some(cookie), _) => Credentials::Cookie(cookie.clone()),
            (None, Some(datadir)) => RunFile::credentials(datadir),
            (None, None) => match std::env::var("ASHLAR_RPC_PASSWORD") {
                Ok(text) => {
                    UserPassword::parse(&text).map_or(Credentials::None, Credentials::Password)
                }
                Err(_) => Credentials::None,
            },
        };
        Ok(Client::connect_by(self.way()?, &credentials)?)
    }
}

/// Whoever listens on all addresses is reached by the loopback one, which he also is called by.
fn own_address(listening: &str) -> String {
    match listening.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let own = match address.ip() {
                IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
            };
            SocketAddr::new(own, address.port()).to_string()
        }
        _ => listening.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_listens_everywhere_is_called_at_home() {
        assert_eq!(own_address("0.0.0.0:9332"), "127.0.0.1:9332");
        assert_eq!(own_address("[::]:9332"), "[::1]:9332");
        assert_eq!(own_address("10.0.0.5:9332"), "10.0.0.5:9332");
    }
}
