//! A private node on a copy of another's chain: it knows nobody, and what is made on it stays
//! there until somebody carries it out.
//!
//! The copy is hard links (the RPC method `backup`), so that it takes a moment, whatever the size
//! of the chain.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use ashlar_rpc::{Client, ClientError, RunFile, prelude::*, types::ClockSetting};
use thiserror::Error;
use tokio::{
    process::{Child, Command},
    time::Instant,
};

use crate::{layout::remove_folder, logs};

/// Longest that the node may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// Nobody is looked for, nobody can come.
const SETTINGS: &str =
    "connect = []\nrpc_listen = \"127.0.0.1:0\"\nprofile = \"small\"\nmin_free = \"64MB\"\n";

/// Why there is no private node.
#[derive(Debug, Error)]
pub enum WorkshopError {
    /// The node whose chain was to be copied refused.
    #[error("no copy of the chain: {0}")]
    Copy(ClientError),
    /// A file can't be written or read.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// It ended before it answered, or never did.
    #[error("the private node on the copy does not answer; its log ends with:\n{log}")]
    Silent {
        /// The end of its log.
        log: String,
    },
}

/// The node. Dropped, it is killed and the copy deleted.
#[derive(Debug)]
pub(crate) struct Workshop {
    folder: PathBuf,
    process: Child,
    client: Client,
}

impl Workshop {
    /// Copies the chain of the node that `source` calls to `folder`, on the same machine and
    /// replaced if it is there, and starts `program` on it; its clock runs by `clock`.
    pub(crate) async fn open(
        program: &Path,
        source: &Client,
        folder: &Path,
        clock: Option<ClockSetting>,
    ) -> Result<Self, WorkshopError> {
        let in_folder = |error| WorkshopError::Io { path: folder.to_owned(), error };
        remove_folder(folder).map_err(in_folder)?;
        fs::create_dir_all(folder).map_err(in_folder)?;
        let datadir = folder.join("node");
        let to = datadir.display().to_string();
        source.backup(to).await.map_err(|error| WorkshopError::Copy(error.into()))?;
        let settings = format!("{SETTINGS}dev_clock = {}\n", clock.is_some());
        fs::write(datadir.join("ashlar.toml"), settings).map_err(in_folder)?;
        if let Some(clock) = clock {
            let text = serde_json::to_vec(&clock).expect("numbers alone");
            fs::write(datadir.join("clock.json"), text).map_err(in_folder)?;
        }
        let log = folder.join("log");
        let mut process = Command::new(program)
            .arg("run")
            .arg("--datadir")
            .arg(&datadir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).map_err(in_folder)?)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| WorkshopError::Io { path: program.to_owned(), error })?;
        match ready(&datadir, &mut process).await {
            Some(client) => Ok(Self { folder: folder.to_owned(), process, client }),
            None => Err(WorkshopError::Silent { log: logs::tail(&log) }),
        }
    }

    /// Calls to it.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Ends it: nothing of it is worth a clean stop.
    pub(crate) async fn close(mut self) {
        // An error says that it ended by itself.
        drop(self.process.kill().await);
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        drop(self.process.start_kill());
        if let Err(error) = remove_folder(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "can't remove a copy");
        }
    }
}

/// Calls to the node, once it answers; `None` where it ended, or does not in time.
async fn ready(datadir: &Path, process: &mut Child) -> Option<Client> {
    let credentials = RunFile::credentials(datadir);
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline && matches!(process.try_wait(), Ok(None)) {
        // It is written once the node answers.
        if let Ok(run) = RunFile::read(datadir) {
            return Client::connect(&run.rpc, &credentials).ok();
        }
        tokio::time::sleep(POLL).await;
    }
    None
}
