//! Faults as they come and go, and processes that end and begin again.

use std::time::Duration;

use super::{Event, World};
use crate::{
    disk::DiskFault,
    faults::{End, FaultKind},
    invariants::Violation,
    links::Pair,
    node::{NodeId, Repair},
    trace::Subject,
};

/// A process that stood still answers what it owes so soon after.
const CATCH_UP: Duration = Duration::from_secs(2);

impl World {
    /// The event, where it comes to a process that can take it; one that stands still gets it
    /// when it goes on.
    pub(super) fn reaches(&mut self, event: Event) -> Option<Event> {
        let Some((id, life)) = event.concerns() else { return Some(event) };
        if self.is_villain(id) {
            return Some(event);
        }
        let now = self.now;
        let node = self.nodes.get(id.0)?;
        if !node.is_up() || life.is_some_and(|life| life != node.life) {
            return None;
        }
        let Some(until) = self.stands_still(id) else { return Some(event) };
        if matches!(event, Event::Call { .. }) {
            // Who gets no answer gives up.
            return None;
        }
        let at = match &event {
            Event::Tick(_) if node.wakes_at != Some(now) => return None,
            Event::Tick(_) => {
                self.node(id).wakes_at = Some(until);
                until
            }
            Event::TicketDeadline { .. }
            | Event::CallDeadline { .. }
            | Event::RequestDeadline { .. } => until + CATCH_UP,
            _ => until,
        };
        self.queue.push(at, event);
        None
    }

    /// Until when a process stands still.
    fn stands_still(&self, id: NodeId) -> Option<Duration> {
        let active = self.scenario.faults.iter().filter(|fault| fault.is_active(self.now));
        let pauses = active.filter(|fault| fault.kind == FaultKind::Pause { node: id });
        pauses.map(|fault| fault.until).max()
    }

    /// Whether a node has begun and its process answers.
    pub(super) fn is_there(&self, id: NodeId) -> bool {
        if self.is_villain(id) {
            return self.now < self.scenario.timeline.truce;
        }
        let is_up = self.nodes.get(id.0).is_some_and(crate::node::Node::is_up);
        is_up && self.now >= self.scenario.start_of(id) && self.stands_still(id).is_none()
    }

    pub(super) fn fault_begins(&mut self, number: usize) -> Result<(), Violation> {
        let Some(fault) = self.scenario.faults.get(number).cloned() else { return Ok(()) };
        self.note(None, "fault begins", Subject::Number(number as u64));
        match fault.kind {
            FaultKind::Cut { silent, .. } => {
                for peer in self.links.touched_by(&fault) {
                    match silent {
                        true => self.fall_silent(peer),
                        false => self.close(peer, [self.now; 2]),
                    }
                }
            }
            FaultKind::Pause { node } => {
                for peer in self.links.of(node) {
                    self.fall_silent(peer);
                }
            }
            FaultKind::Down { node, end } => self.goes_down(node, end)?,
            FaultKind::Clock { node, by_ms } => self.node(node).clock_error_ms += by_ms,
            FaultKind::Frozen { node } => {
                let now = self.now;
                self.node(node).freeze_clock(true, now);
            }
            FaultKind::Disk { node, fault } => {
                let failed = self.node(node).disk().fails(fault);
                failed.map_err(|error| Violation::Store { node, error })?;
            }
            FaultKind::Clog { .. } => {}
        }
        Ok(())
    }

    pub(super) fn fault_ends(&mut self, number: usize) -> Result<(), Violation> {
        let Some(fault) = self.scenario.faults.get(number).cloned() else { return Ok(()) };
        self.note(None, "fault ends", Subject::Number(number as u64));
        match fault.kind {
            FaultKind::Cut { .. } => {
                for held in self.links.release(self.now) {
                    self.send(held.peer, held.to, held.message, held.size_bytes);
                }
            }
            FaultKind::Down { node, end } => self.comes_up(node, end == End::Wiped)?,
            FaultKind::Clock { node, by_ms } => self.node(node).clock_error_ms -= by_ms,
            FaultKind::Frozen { node } => {
                let now = self.now;
                self.node(node).freeze_clock(false, now);
            }
            FaultKind::Disk { node, fault } => self.disk_is_mended(node, fault)?,
            FaultKind::Clog { .. } | FaultKind::Pause { .. } => {}
        }
        Ok(())
    }

    /// A node that meets what is wrong with its disk stops, with an error that says so. Nothing
    /// else excuses an error of storage.
    pub(super) fn stops(&mut self, violation: Violation) -> Result<(), Violation> {
        let Violation::Store { node, error } = &violation else { return Err(violation) };
        let is_explained = self.scenario.faults.iter().any(|fault| match fault.kind {
            FaultKind::Disk { node: of, fault: kind } => {
                of == *node && fault.is_active(self.now) && kind.explains(error)
            }
            _ => false,
        });
        if !is_explained {
            return Err(violation);
        }
        let node = *node;
        self.tally.stops += 1;
        self.note(Some(node), "stops, its disk fails", Subject::Number(self.tally.stops));
        self.close_all(node, End::Killed);
        self.node(node).stop(End::Killed).map_err(|error| Violation::Store { node, error })
    }

    /// The operator has done what there is to do. Damage that the node never met he finds himself
    /// (`ashlar-node check`); of anything else that it never met it runs on.
    fn disk_is_mended(&mut self, id: NodeId, fault: DiskFault) -> Result<(), Violation> {
        if self.node(id).is_up() {
            if !self.node(id).disk().is_damaged() {
                self.node(id).disk().recovers();
                return Ok(());
            }
            self.close_all(id, End::Killed);
            let stopped = self.node(id).stop(End::Killed);
            stopped.map_err(|error| Violation::Store { node: id, error })?;
        }
        let Some(node) = self.nodes.get_mut(id.0) else { return Ok(()) };
        let repair = node.repair(fault, &self.genesis, &mut self.node_random);
        let (kind, count, has_less) = match repair {
            Repair::Mended => ("has its disk back", &mut self.tally.mended, false),
            Repair::Reindexed { lost_bodies } => {
                ("was reindexed", &mut self.tally.reindexed, lost_bodies > 0)
            }
            Repair::Anew => ("has an empty disk", &mut self.tally.resynced, true),
        };
        *count += 1;
        let count = *count;
        self.note(Some(id), kind, Subject::Number(count));
        self.comes_up(id, has_less)
    }

    /// A stopped process closes its connections, and so does the system under a killed one; of a
    /// machine without power nobody hears.
    fn goes_down(&mut self, id: NodeId, end: End) -> Result<(), Violation> {
        self.look_at_marks(id, 0)?;
        self.close_all(id, end);
        self.node(id).stop(end).map_err(|error| Violation::Store { node: id, error })
    }

    pub(super) fn close_all(&mut self, id: NodeId, end: End) {
        for peer in self.links.of(id) {
            let now = self.now;
            let learns = match end {
                End::Stopped | End::Killed => now,
                End::PowerCut { .. } | End::Wiped => now + self.draw_keep_alive(),
            };
            let Some(pair) = self.links.pair_of(peer) else { continue };
            let Pair { dialler, .. } = self.links.pair(pair);
            let at = if dialler == id { [now, learns] } else { [learns, now] };
            self.close(peer, at);
        }
        self.suspects.remove(&id);
    }

    /// The state that it finds is one that it was in, and not older than what it told others,
    /// unless its disk is known to have less.
    pub(super) fn comes_up(&mut self, id: NodeId, has_less: bool) -> Result<(), Violation> {
        self.tally.restarts += 1;
        let node = self.nodes.get_mut(id.0).filter(|node| !node.is_up());
        let Some(node) = node else { return Ok(()) };
        let warning = node
            .start(&self.genesis, &mut self.node_random)
            .map_err(|error| Violation::not_opened(id, &error))?;
        if let Some(warning) = warning.filter(|_| !has_less) {
            return Err(Violation::WentBack { node: id, warning });
        }
        if let Some(view) = node.view() {
            self.note(Some(id), "restarted at", Subject::Block(view.tip().id));
            self.checks.restarted(&mut self.judge, id, &view, has_less)?;
        }
        self.schedule_wakeup(id);
        Ok(())
    }
}
