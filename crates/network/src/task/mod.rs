//! The one task that owns the swarm.
//!
//! It reacts: to the swarm, to commands, to a timer. Each step is short and none waits. An `Err`
//! out of a step ends the task, and with it the node.

mod commands;
mod connections;
mod eviction;
mod exchange;
mod finding;
pub(crate) mod listening;
mod peers;
mod relay;
mod state;

use std::sync::Arc;

use ashlar_engine::Input;
use ashlar_primitives::wire;
use futures::StreamExt;
use libp2p::{PeerId, Swarm, gossipsub, identify, mdns, ping, request_response, swarm::SwarmEvent};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{
    Clocks, Config, Inbox, NetworkError,
    address::{Carriers, parse_dial},
    behaviour::{self, Behaviour, BehaviourEvent},
    dialler::Dialler,
    gossip::Topics,
    handle::{Command, Commands},
    key,
    limits::TICK,
    log::LogBudget,
    seeds::Seeds,
    traffic::Meter,
};
use exchange::Exchanges;
use finding::Lookups;
use peers::Peers;
use relay::Tickets;
use state::StateFiles;

/// A step's result.
type Step = Result<(), NetworkError>;

/// What peers can make us write, place by place.
#[derive(Debug, Default)]
struct LogBudgets {
    connected: LogBudget,
    gone: LogBudget,
    cut: LogBudget,
    junk: LogBudget,
    stranger: LogBudget,
    refused: LogBudget,
    listener: LogBudget,
    unpublished: LogBudget,
}

pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    inbox: Arc<dyn Inbox>,
    clocks: Clocks,
    commands: Commands,
    timer: Interval,
    local: PeerId,
    carriers: Carriers,
    meter: Meter,
    names: wire::Names,
    topics: Topics,
    peers: Peers,
    dialler: Dialler,
    state: StateFiles,
    lookups: Lookups,
    seeds: Seeds,
    /// When scores were looked at last.
    scores_ms: u64,
    tickets: Tickets,
    exchanges: Exchanges,
    budgets: LogBudgets,
}

impl Task {
    /// Everything but listening.
    pub(crate) fn new(
        config: &Config,
        inbox: Arc<dyn Inbox>,
        clocks: Clocks,
        commands: Commands,
    ) -> Result<Self, NetworkError> {
        let key = key::load_or_create(&config.key_file)?;
        let local = key.public().to_peer_id();
        let names = wire::Names::new(&config.chain_id);
        let state = StateFiles::new(config.state_directory.as_deref());
        let moment = clocks.moment();
        let carriers = config.carriers();
        for address in config.addresses() {
            carriers.check(address)?;
        }
        let mut dialler = Dialler::new(local, state.read_book(local), !config.named_peers_only);
        for address in &config.peers {
            dialler.keep(address)?;
        }
        let bans = state.read_bans(moment);
        let meter = Meter::default();
        let mut swarm = behaviour::build(config, &key, &names, &clocks, bans, &meter)?;
        for text in &config.external_addresses {
            let (address, _) = parse_dial(text)?;
            swarm.add_external_address(address);
        }
        let seeds = if config.named_peers_only { &[][..] } else { &config.dns_seeds };
        let seeds = Seeds::new(seeds)?;
        let mut timer = interval(TICK);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            swarm,
            inbox,
            clocks,
            state,
            commands,
            timer,
            local,
            carriers,
            meter,
            topics: Topics::new(&names),
            names,
            peers: Peers::default(),
            dialler,
            lookups: Lookups::default(),
            seeds,
            scores_ms: 0,
            tickets: Tickets::default(),
            exchanges: Exchanges::default(),
            budgets: LogBudgets::default(),
        })
    }

    /// Until something ends it.
    pub(crate) async fn run(mut self) -> NetworkError {
        loop {
            let step = tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                Some(command) = self.commands.queue.recv() => match command {
                    Command::Stop(done) => return self.close(done).await,
                    command => self.on_command(command),
                },
                Some(told) = self.seeds.told() => {
                    self.on_seeds(told);
                    Ok(())
                }
                _ = self.timer.tick() => self.on_tick(),
                () = self.commands.overrun.notified() => Err(NetworkError::CommandsFull),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn now(&self) -> u64 {
        (self.clocks.monotonic_ms)()
    }

    fn on_tick(&mut self) -> Step {
        let now = self.now();
        self.swarm.behaviour_mut().gate.bans.expire(now);
        self.dialler.book.expire(now);
        self.ignore_overdue_tickets(now);
        self.end_connections(now);
        self.cut_graylisted(now);
        self.send_held();
        self.dial(now);
        self.look_up(now);
        self.ask_seeds(now);
        self.save(now);
        Ok(())
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) -> Step {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
                Ok(())
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                self.on_closed(peer_id, connection_id, cause)
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failed(connection_id, peer_id, &error);
                Ok(())
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                self.on_refused(&send_back_addr, &error);
                Ok(())
            }
            other => {
                self.on_listener_event(other);
                Ok(())
            }
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) -> Step {
        match event {
            BehaviourEvent::Gate(never) => match never {},
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, &info)
            }
            BehaviourEvent::Identify(_) => Ok(()),
            BehaviourEvent::Ping(ping::Event { connection, result: Err(failure), .. }) => {
                self.on_ping_failed(connection, &failure);
                Ok(())
            }
            BehaviourEvent::Ping(ping::Event { peer, result: Ok(round_trip), .. }) => {
                if let Some(connected) = self.peers.get_mut(&peer) {
                    connected.ping_ms = u64::try_from(round_trip.as_millis()).ok();
                }
                Ok(())
            }
            BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            }) => self.on_gossip(propagation_source, message_id, &message),
            BehaviourEvent::Gossip(gossipsub::Event::SlowPeer { peer_id, failed_messages }) => {
                self.on_slow(&peer_id, failed_messages.priority + failed_messages.non_priority);
                Ok(())
            }
            BehaviourEvent::Gossip(_) => Ok(()),
            BehaviourEvent::Sync(request_response::Event::Message { peer, message, .. }) => {
                self.on_exchange_message(peer, message)
            }
            BehaviourEvent::Sync(request_response::Event::OutboundFailure {
                request_id,
                error,
                ..
            }) => self.on_request_failed(request_id, &error),
            BehaviourEvent::Sync(
                request_response::Event::InboundFailure { request_id, .. }
                | request_response::Event::ResponseSent { request_id, .. },
            ) => {
                self.on_exchange_over(request_id);
                Ok(())
            }
            BehaviourEvent::Discovery(found) => {
                self.on_found(found);
                Ok(())
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                self.on_neighbours(found);
                Ok(())
            }
            BehaviourEvent::Mdns(_) => Ok(()),
        }
    }

    /// What the engine must hear of.
    fn tell(&self, input: Input) -> Step {
        self.inbox.urgent(input).map_err(|_| NetworkError::InboxFull)
    }
}
