//! The driver's end: commands to the swarm task, by a bounded queue.

use std::sync::Arc;

use ashlar_engine::{GossipData, Offence, Output, Peer, RequestId, Verdict};
use ashlar_primitives::wire;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{NetworkError, NetworkInfo, PeerTraffic, bans::Ban, limits::COMMAND_QUEUE};

/// What the driver wants done. Bytes are already encoded: that work is the caller's.
#[derive(Debug)]
pub(crate) enum Command {
    Request {
        id: RequestId,
        peer: Peer,
        frame: Vec<u8>,
    },
    Answer {
        id: u64,
        frame: Option<Vec<u8>>,
    },
    PublishBlock(Vec<u8>),
    PublishTransactions(Vec<u8>),
    Verdict {
        ticket: u64,
        verdict: Verdict,
    },
    Cut {
        peer: Peer,
        offence: Offence,
        reason: String,
        ban_ms: Option<u64>,
    },
    Info(oneshot::Sender<NetworkInfo>),
    Peers(oneshot::Sender<Vec<PeerTraffic>>),
    AddPeer {
        address: String,
        done: oneshot::Sender<Result<(), NetworkError>>,
    },
    RemovePeer {
        address: String,
        done: oneshot::Sender<Result<(), NetworkError>>,
    },
    Bans(oneshot::Sender<Vec<Ban>>),
    Ban {
        who: String,
        seconds: u64,
        reason: String,
        done: oneshot::Sender<Result<(), NetworkError>>,
    },
    Unban {
        who: String,
        done: oneshot::Sender<Result<(), NetworkError>>,
    },
    ClearBans(oneshot::Sender<usize>),
    Disconnect {
        who: String,
        away_seconds: u64,
        done: oneshot::Sender<Result<(), NetworkError>>,
    },
    Stop(oneshot::Sender<()>),
}

/// The task's end of the queue.
#[derive(Debug)]
pub(crate) struct Commands {
    pub(crate) queue: mpsc::Receiver<Command>,
    /// Told when a command did not fit.
    pub(crate) overrun: Arc<Notify>,
    /// Keeps the queue open when all handles are gone: only `stop` stops the network.
    pub(crate) _open: mpsc::Sender<Command>,
}

pub(crate) fn channel() -> (NetworkHandle, Commands) {
    let (commands, queue) = mpsc::channel(COMMAND_QUEUE);
    let overrun = Arc::new(Notify::new());
    let handle = NetworkHandle { commands: commands.clone(), overrun: overrun.clone() };
    (handle, Commands { queue, overrun, _open: commands })
}

/// A running network. Dropping it does not stop it; [`Self::stop`] does.
#[derive(Clone, Debug)]
pub struct NetworkHandle {
    commands: mpsc::Sender<Command>,
    overrun: Arc<Notify>,
}

impl NetworkHandle {
    /// Carries out Request, Answer, Publish, Verdict, Cut; other outputs are the driver's own and
    /// do nothing here. Encodes on the caller's thread and never waits: where a peer's queue is
    /// full that peer is cut, where the command queue itself is full the network ends.
    pub fn perform(&self, output: Output) {
        let command = match output {
            Output::Request(id, peer, request) => {
                Command::Request { id, peer, frame: request.to_frame() }
            }
            Output::Answer(id, answer) => {
                Command::Answer { id: id.0, frame: answer.map(|answer| answer.to_frame()) }
            }
            Output::Publish(GossipData::Block(compact)) => {
                Command::PublishBlock(wire::encode_announcement(&compact))
            }
            Output::Publish(GossipData::Transactions(transactions)) => {
                Command::PublishTransactions(wire::encode_batch(&transactions))
            }
            Output::Verdict(ticket, verdict) => Command::Verdict { ticket: ticket.id, verdict },
            Output::Cut { peer, offence, reason, ban_ms } => {
                Command::Cut { peer, offence, reason, ban_ms }
            }
            Output::Reply(..) | Output::Job(..) | Output::Event(..) => return,
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = self.commands.try_send(command) {
            self.overrun.notify_one();
        }
    }

    /// `None` when the network has ended.
    pub async fn info(&self) -> Option<NetworkInfo> {
        let (reply, info) = oneshot::channel();
        self.commands.send(Command::Info(reply)).await.ok()?;
        info.await.ok()
    }

    /// What each connection moved, those of this chain only, by number. Empty when the network has
    /// ended.
    pub async fn peers(&self) -> Vec<PeerTraffic> {
        let (reply, peers) = oneshot::channel();
        match self.commands.send(Command::Peers(reply)).await {
            Ok(()) => peers.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Dials a multiaddress and keeps dialling it whenever it is not connected.
    ///
    /// # Errors
    ///
    /// Not an address, too many of them, stopped.
    pub async fn add_peer(&self, address: &str) -> Result<(), NetworkError> {
        let address = address.to_owned();
        self.order(|done| Command::AddPeer { address, done }).await
    }

    /// Stops dialling what `add_peer` or the configuration named; a connection stays.
    ///
    /// # Errors
    ///
    /// Not an address, not among those kept, stopped.
    pub async fn remove_peer(&self, address: &str) -> Result<(), NetworkError> {
        let address = address.to_owned();
        self.order(|done| Command::RemovePeer { address, done }).await
    }

    /// Closes the connection with a peer, named by connection number, peer id or the multiaddress
    /// that it is connected from or at, and keeps it away for so long, as a ban of its peer id does;
    /// 0: it may come back at once, and a kept peer is dialled again.
    ///
    /// # Errors
    ///
    /// Nobody such is connected, stopped.
    pub async fn disconnect(&self, who: &str, away_seconds: u64) -> Result<(), NetworkError> {
        let who = who.to_owned();
        self.order(|done| Command::Disconnect { who, away_seconds, done }).await
    }

    /// Who is kept out, the ban that ends first first.
    ///
    /// # Errors
    ///
    /// Stopped.
    pub async fn bans(&self) -> Result<Vec<Ban>, NetworkError> {
        let (reply, bans) = oneshot::channel();
        self.commands.send(Command::Bans(reply)).await.map_err(|_| NetworkError::Stopped)?;
        bans.await.map_err(|_| NetworkError::Stopped)
    }

    /// Keeps a peer id, an IPv4 address or an IPv6 /64 out for so long (ten years at most), in
    /// place of a ban that stands, and closes its connections.
    ///
    /// # Errors
    ///
    /// Neither a peer id nor an IP address, stopped.
    pub async fn ban(&self, who: &str, seconds: u64, reason: &str) -> Result<(), NetworkError> {
        let (who, reason) = (who.to_owned(), reason.to_owned());
        self.order(|done| Command::Ban { who, seconds, reason, done }).await
    }

    /// Lifts one ban.
    ///
    /// # Errors
    ///
    /// Neither a peer id nor an IP address, not banned, stopped.
    pub async fn unban(&self, who: &str) -> Result<(), NetworkError> {
        let who = who.to_owned();
        self.order(|done| Command::Unban { who, done }).await
    }

    /// Lifts all bans and tells how many there were.
    ///
    /// # Errors
    ///
    /// Stopped.
    pub async fn clear_bans(&self) -> Result<usize, NetworkError> {
        let (reply, lifted) = oneshot::channel();
        self.commands.send(Command::ClearBans(reply)).await.map_err(|_| NetworkError::Stopped)?;
        lifted.await.map_err(|_| NetworkError::Stopped)
    }

    /// Closes all connections and ends the task. Returns when it is done.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            // an error says the same: the task is gone
            stopped.await.unwrap_or_default();
        }
    }

    async fn order(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), NetworkError>>) -> Command,
    ) -> Result<(), NetworkError> {
        let (done, result) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| NetworkError::Stopped)?;
        result.await.map_err(|_| NetworkError::Stopped)?
    }
}
