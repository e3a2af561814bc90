//! Questions about peers.

use std::collections::BTreeMap;

use ashlar_engine::{Call, Direction, call::AnswerBody};

use super::{
    backend::{Backend, PeerTraffic},
    context::{Context, unexpected},
};
use crate::{
    error::RpcError,
    types::{InFlight, NetTotals, NetworkInfo, PeerInfo, PeerName},
};

/// The version of PROTOCOL.md.
const PROTOCOL_VERSION: u32 = 1;

pub(super) async fn peers<B: Backend>(context: &Context<B>) -> Result<Vec<PeerInfo>, RpcError> {
    let (answer, traffic) = tokio::join!(context.call(Call::Peers), context.backend.traffic());
    let answer = answer?;
    let traffic: BTreeMap<u64, PeerTraffic> =
        traffic.into_iter().map(|traffic| (traffic.peer, traffic)).collect();
    let AnswerBody::Peers(peers) = answer.body else { return Err(unexpected(&answer.body)) };
    Ok(peers
        .into_iter()
        // One that connected between the two answers has moved nothing yet.
        .map(|peer| (traffic.get(&peer.peer.0).copied().unwrap_or_default(), peer))
        .map(|(traffic, peer)| PeerInfo {
            id: peer.peer.0,
            addr: peer.address,
            identity: peer.identity,
            inbound: peer.direction == Direction::Inbound,
            subver: peer.agent,
            synced_headers: peer.synced_headers,
            synced_blocks: peer.height,
            tip: peer.tip.map(Into::into),
            services: peer.services,
            connected_ms: peer.connected_ms,
            last_seen: peer.last_seen_unix,
            last_block: peer.last_block_unix,
            last_transaction: peer.last_transaction_unix,
            inflight: InFlight {
                status: peer.in_flight.status as u64,
                headers: peer.in_flight.headers as u64,
                blocks: peer.in_flight.blocks as u64,
                block_transactions: peer.in_flight.block_transactions as u64,
                transactions: peer.in_flight.transactions as u64,
            },
            banscore: peer.score,
            bytesrecv: traffic.bytes_received,
            bytessent: traffic.bytes_sent,
            ping_ms: traffic.ping_ms,
            gossip_score: traffic.gossip_score,
        })
        .collect())
}

pub(super) async fn info<B: Backend>(context: &Context<B>) -> Result<NetworkInfo, RpcError> {
    let state = context.backend.network().await;
    let networkactive = state.is_some();
    let state = state.unwrap_or_default();
    let (inbound, outbound) = (state.inbound as u64, state.outbound as u64);
    let chain_id = context.view().params().chain_id.to_string();
    Ok(NetworkInfo {
        subversion: context.agent.clone(),
        protocolversion: PROTOCOL_VERSION,
        network: chain_id.chars().take(8).collect(),
        identity: state.identity,
        networkactive,
        connections: inbound.saturating_add(outbound),
        connections_in: inbound,
        connections_out: outbound,
        localaddresses: state.listening,
        warnings: context.warnings().await?,
    })
}

pub(super) async fn totals<B: Backend>(context: &Context<B>) -> Result<NetTotals, RpcError> {
    let state = context.backend.network().await.ok_or(RpcError::Stopping)?;
    Ok(NetTotals {
        totalbytesrecv: state.bytes_received,
        totalbytessent: state.bytes_sent,
        timemillis: state.unix_ms,
    })
}

/// How long a peer stays away that was disconnected, in seconds: nodes come back at once to whom
/// they know, and then nothing would have been done.
const DISCONNECTED_SECONDS: u64 = 300;

pub(super) async fn disconnect<B: Backend>(
    context: &Context<B>,
    peer: &PeerName,
) -> Result<(), RpcError> {
    Ok(context.backend.disconnect_node(peer.to_string(), DISCONNECTED_SECONDS).await?)
}

/// Of a ban without `bantime`, in seconds: a day, as Bitcoin Core has it.
const DEFAULT_BAN_SECONDS: u64 = 24 * 3_600;

pub(super) async fn set_ban<B: Backend>(
    context: &Context<B>,
    subnet: String,
    command: &str,
    bantime: Option<u64>,
) -> Result<(), RpcError> {
    match command {
        "add" => context.backend.ban(subnet, bantime.unwrap_or(DEFAULT_BAN_SECONDS)).await?,
        "remove" => context.backend.unban(subnet).await?,
        _ => {
            return Err(RpcError::InvalidParameter {
                name: "command",
                reason: "\"add\" or \"remove\"".to_owned(),
            });
        }
    }
    Ok(())
}

pub(super) async fn add_node<B: Backend>(
    context: &Context<B>,
    node: String,
    command: Option<&str>,
) -> Result<(), RpcError> {
    match command {
        None | Some("add") => context.backend.add_node(node).await?,
        Some("remove") => context.backend.remove_node(node).await?,
        Some(_) => {
            return Err(RpcError::InvalidParameter {
                name: "command",
                reason: "\"add\" or \"remove\"".to_owned(),
            });
        }
    }
    Ok(())
}
