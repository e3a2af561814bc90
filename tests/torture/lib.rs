//! Torture: a real node is killed, starved of its disk or cut off from power at moments that a
//! seed chooses, and after each restart everything that it says is compared with a model of the
//! same blocks. The end-to-end tests run a short form of it, `ashlar-torture`
//! (`scripts/torture.sh`) the long one.
//!
//! Reading order: [`tree`] (what is fed: blocks made beforehand, forks and reorganisations among
//! them), [`fault`] (what is done to the node), [`campaign`] (rounds of feeding, faults and
//! restarts on one data directory), [`verify`] (what must hold after each), [`power`] (a disk
//! whose power can be cut), [`report`] (what was done, in numbers).
//!
//! The code here only makes blocks and reads answers. It knows nodes by `ashlar_processes` alone.

pub mod campaign;
pub mod fault;
pub mod power;
pub mod report;
pub mod tree;
pub mod verify;
