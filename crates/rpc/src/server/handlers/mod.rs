//! The methods of [`crate::api`], each handed to the room that knows its subject.

mod addresses;
mod chain;
mod control;
mod mempool;
mod mining;
mod network;
mod transactions;

use std::sync::Arc;

use jsonrpsee::Methods;

use super::{backend::Backend, context::Context, subscriptions::Subscriptions};
use crate::{
    api::{
        AddressesServer, ChainServer, ControlServer, MempoolServer, MiningServer, NetworkServer,
        SubscriptionsServer as _, TransactionsServer,
    },
    error::RpcError,
};

/// Implements the traits of every topic.
pub(super) struct Handlers<B>(Arc<Context<B>>);

impl<B> Clone for Handlers<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

type Answer<T> = Result<T, RpcError>;

/// All methods of all topics.
pub(super) fn methods<B: Backend>(context: Arc<Context<B>>) -> Methods {
    let handlers = Handlers(Arc::clone(&context));
    let topics: [Methods; 8] = [
        AddressesServer::into_rpc(handlers.clone()).into(),
        ChainServer::into_rpc(handlers.clone()).into(),
        ControlServer::into_rpc(handlers.clone()).into(),
        MempoolServer::into_rpc(handlers.clone()).into(),
        MiningServer::into_rpc(handlers.clone()).into(),
        NetworkServer::into_rpc(handlers.clone()).into(),
        TransactionsServer::into_rpc(handlers).into(),
        Subscriptions(context).into_rpc().into(),
    ];
    let mut all = Methods::new();
    for topic in topics {
        all.merge(topic).expect("no two topics share a name: a test starts the server");
    }
    all
}
