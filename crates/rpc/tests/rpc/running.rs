//! A server over a [`Fake`], on a port of its own.

use std::{path::PathBuf, sync::Arc, time::Duration};

use ashlar_rpc::{
    Client, Credentials, UserPassword,
    server::{Limits, ServerConfig, ServerHandle, start_server},
};

use tokio::time::{sleep, timeout};

use crate::fake::Fake;

/// Longest that a test waits for the server's tasks to begin or to end.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(1);

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
    /// Polls until the number of tasks that listen for events fits, for a bounded time.
    pub(crate) async fn until_listeners(&self, fits: impl Fn(usize) -> bool) {
        let polling = async {
            while !fits(self.node.listeners()) {
                sleep(POLL).await;
            }
        };
        timeout(PATIENCE, polling).await.unwrap();
    }

    pub(crate) fn at(&self) -> String {
        self.server.local_addr().to_string()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.at(), &Credentials::Cookie(self.cookie_file.clone())).unwrap()
    }
}
