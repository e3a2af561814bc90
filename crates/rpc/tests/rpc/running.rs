//! A server over a [`Fake`], on a port of its own.

use std::{path::PathBuf, sync::Arc};

use ashlar_rpc::{
    Client, Credentials, UserPassword,
    server::{Limits, ServerConfig, ServerHandle, start_server},
};

use crate::fake::Fake;

/// Its cookie is in a directory of its own.
pub(crate) struct Running {
    pub(crate) node: Arc<Fake>,
    pub(crate) server: ServerHandle,
    pub(crate) cookie_file: PathBuf,
    _directory: tempfile::TempDir,
}

/// The fixed name and password that every test server knows beside its cookie.
pub(crate) fn user() -> UserPassword {
    UserPassword { user: "user".into(), password: "pass".into() }
}

pub(crate) async fn start() -> Running {
    start_with(Fake::new(), |_| ()).await
}

pub(crate) async fn start_with(node: Arc<Fake>, change: impl FnOnce(&mut ServerConfig)) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let cookie_file = directory.path().join(".cookie");
    let mut config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        user: Some(user()),
        allowed_origins: vec!["https://explorer.example".into()],
        limits: Limits::default(),
        ..ServerConfig::new(cookie_file.clone())
    };
    change(&mut config);
    let server = start_server(config, Arc::clone(&node)).await.unwrap();
    Running { node, server, cookie_file, _directory: directory }
}

impl Running {
    pub(crate) fn at(&self) -> String {
        self.server.local_addr().to_string()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.at(), &Credentials::Cookie(self.cookie_file.clone())).unwrap()
    }
}
