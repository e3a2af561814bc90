//! What can be asked of the lines between nodes, and how they are: every link is a relay's, so what
//! a fault does to it is real for real nodes (`ashlar_processes::relay`).
//!
//! Cuts and shapes are two things: `heal` joins what was cut and leaves slow lines slow.

use std::{collections::BTreeSet, fmt};

use ashlar_processes::relay::{Bandwidth, Delay, Loss, Shape};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::file::NodeNumber;

/// Why a fault can't be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LineError {
    /// No line leads there.
    #[error("no link is between {0} and {1}; `status` shows those that there are")]
    NoLink(NodeNumber, NodeNumber),
    /// A node without lines, or none at all.
    #[error("no link leads to node {0}; `status` shows nodes and links")]
    NoLinks(NodeNumber),
    /// A partition that names a node twice.
    #[error("node {0} can be on one side only")]
    TwoSides(NodeNumber),
    /// A partition that parts nothing.
    #[error("name the sides, like `partition 1,2 / 3,4`: there must be two, each with a node")]
    OneSide,
    /// A side that is no list of nodes.
    #[error("{0:?} is no list of nodes; write it like 1,2 / 3,4")]
    BadSides(String),
    /// No time to move a clock by.
    #[error("{0:?} moves no clock; write it like +1h, -90s or +2d, or `reset`")]
    BadClock(String),
}

/// The sides of a partition. Nodes that no side names are one more side together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides(Vec<BTreeSet<NodeNumber>>);

impl Sides {
    /// From sides that are thought out already.
    ///
    /// # Errors
    /// Where a node is on two of them, or one is empty.
    pub fn new(sides: Vec<BTreeSet<NodeNumber>>) -> Result<Self, LineError> {
        let mut seen = BTreeSet::new();
        for number in sides.iter().flatten() {
            if !seen.insert(*number) {
                return Err(LineError::TwoSides(*number));
            }
        }
        if sides.is_empty() || sides.iter().any(BTreeSet::is_empty) {
            return Err(LineError::OneSide);
        }
        Ok(Self(sides))
    }

    /// From `1,2 / 3,4`, in as many arguments as the shell made of it.
    ///
    /// # Errors
    /// Where that is no partition.
    pub fn parse(words: &[String]) -> Result<Self, LineError> {
        let text = words.concat();
        let side = |side: &str| {
            let numbers = side.split(',').map(|number| number.trim().parse());
            numbers.collect::<Result<BTreeSet<_>, _>>()
        };
        let sides = text.split('/').map(side).collect::<Result<_, _>>();
        Self::new(sides.map_err(|_| LineError::BadSides(words.join(" ")))?)
    }

    /// Nodes that are named.
    pub fn named(&self) -> impl Iterator<Item = NodeNumber> {
        self.0.iter().flatten().copied()
    }

    /// Which side a node is on; `None` for the side of all that are not named.
    fn side(&self, number: NodeNumber) -> Option<usize> {
        self.0.iter().position(|side| side.contains(&number))
    }

    /// Whether two nodes can't hear each other.
    pub fn part(&self, one: NodeNumber, other: NodeNumber) -> bool {
        self.side(one) != self.side(other)
    }
}

impl fmt::Display for Sides {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |side: &BTreeSet<NodeNumber>| {
            side.iter().map(NodeNumber::to_string).collect::<Vec<_>>().join(",")
        };
        out.write_str(&self.0.iter().map(side).collect::<Vec<_>>().join(" / "))
    }
}

/// What of a line is to change; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkChange {
    /// First make it as it was at first: no delay, no loss, no bound.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plain: bool,
    /// See [`Shape`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Delay>,
    /// See [`Shape`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Delay>,
    /// See [`Shape`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// See [`Shape`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// Cut it, or join it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<bool>,
    /// Only from the first node to the second.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
}

impl LinkChange {
    pub(crate) fn apply(&self, shape: Shape) -> Shape {
        let old = if self.plain { Shape::default() } else { shape };
        Shape {
            latency: self.latency.unwrap_or(old.latency),
            jitter: self.jitter.unwrap_or(old.jitter),
            loss: self.loss.unwrap_or(old.loss),
            bandwidth: self.bandwidth.or(old.bandwidth),
            ..old
        }
    }
}

/// One way of one link, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineState {
    /// From this node.
    pub from: NodeNumber,
    /// To this one.
    pub to: NodeNumber,
    /// Whether bytes wait.
    pub is_cut: bool,
    /// What happens to them otherwise.
    pub shape: Shape,
}

impl LineState {
    /// What happens to what it carries, in words.
    pub fn what(&self) -> String {
        match (self.is_cut, self.shape == Shape::default()) {
            (true, true) => "cut".to_owned(),
            (true, false) => format!("cut, {}", self.shape),
            (false, _) => self.shape.to_string(),
        }
    }
}

impl fmt::Display for LineState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} -> {}: {}", self.from, self.to, self.what())
    }
}
