//! A world of engines: many nodes in one thread, in virtual time, from one number.
//!
//! The code that decides in `ashlar-node` decides here too: every node is an
//! [`ashlar_engine::Engine`] over a memory store, and this crate is only its other driver. What
//! the real driver takes from sockets, clocks and the system's entropy, this one draws from the
//! seed, so that a run can be repeated exactly: seed and commit are the whole report of a bug.
//!
//! A run has a *safety* phase (miners, payments, faults of links, clocks, disks and processes, a
//! late joiner) and then a *liveness* phase: faults stop, one miner goes on alone, and all nodes must come to one tip and
//! confirm a payment. What must hold is asserted outside the nodes, in [`invariants`], by a second
//! implementation of the rules, the [`judge`].
//!
//! It must not know real sockets, clocks or disks, nor how an engine reaches its decisions.
//!
//! Reading order: [`scenario`] and [`faults`] (what a seed decides), [`queue`] (time), [`world`] (the loop and
//! what it does with each output), [`links`] and [`mesh`] (how messages travel; [`readable`]
//! sees to it that they could), [`node`] (one
//! engine and the promises open around it), [`disk`] (what it keeps), [`people`] and [`purse`] (miners and wallets), [`villain`] and
//! [`craft`] (who does not keep the rules, and what he makes), [`invariants`] and [`excuses`],
//! [`trace`], [`report`], [`scripts`] (one world for each kind of trouble), and [`swarm`] (many worlds).

pub mod craft;
pub mod disk;
pub mod excuses;
pub mod faults;
pub mod invariants;
pub mod judge;
pub mod links;
pub mod mesh;
pub mod node;
pub mod people;
pub mod purse;
pub mod queue;
pub mod random;
pub mod readable;
pub mod report;
pub mod scale;
pub mod scenario;
pub mod scripts;
pub mod swarm;
pub mod trace;
pub mod villain;
pub mod world;

pub use invariants::{Class, Violation};
pub use node::NodeId;
pub use report::{Failure, Report};
pub use scenario::Scenario;
pub use world::World;
