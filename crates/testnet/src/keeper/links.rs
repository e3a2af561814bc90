//! The lines between nodes. Nodes dial the keeper's relay, and it dials the other end: no two nodes
//! know each other's ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ashlar_processes::relay::{Direction, Link, Relay, Target};

use crate::{
    error::TestnetError,
    file::NodeNumber,
    layout::LinkRecord,
    lines::{LineError, LineState, LinkChange, Sides},
    netns::{Namespaces, NetnsError},
};

/// A link by its ends: who dials, and who is reached.
pub(crate) type Ends = (NodeNumber, NodeNumber);

/// All lines of a testnet. Dropped, they end.
#[derive(Debug)]
pub(crate) struct Links {
    relay: Relay,
    lines: Mutex<BTreeMap<Ends, Link>>,
    /// Where nodes take peers: for links that come later.
    targets: Mutex<BTreeMap<NodeNumber, Target>>,
}

impl Links {
    /// None yet.
    pub(crate) fn new() -> Result<Self, TestnetError> {
        let relay = Relay::start().map_err(TestnetError::disk("the relay's thread"))?;
        Ok(Self { relay, lines: Mutex::default(), targets: Mutex::default() })
    }

    /// The lines, to shape and to cut.
    pub(crate) fn lines(&self) -> MutexGuard<'_, BTreeMap<Ends, Link>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn targets(&self) -> MutexGuard<'_, BTreeMap<NodeNumber, Target>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes calls for a link from now on; its port, which is the one it had where that is free.
    pub(crate) fn open(
        &self,
        record: &LinkRecord,
        netns: Option<&Namespaces>,
    ) -> Result<u16, TestnetError> {
        let near = face(record.to, netns)?;
        let target = self.targets().get(&record.to).copied().unwrap_or(Target::Nowhere);
        let seed = u64::from(record.from) << 16 | u64::from(record.to);
        let listen = |port: u16| {
            let address = SocketAddr::from((near, port));
            self.relay.link(address, target, seed)
        };
        let link = match listen(record.port) {
            Err(_) if record.port != 0 => listen(0),
            linked => linked,
        };
        let link = link.map_err(TestnetError::disk("a port of 127.0.0.1"))?;
        if netns.is_some() {
            link.call_from(face(record.from, netns)?.into());
        }
        for direction in Direction::ALL {
            link.set_shape(direction, record.shape);
        }
        let port = link.address().port();
        self.lines().insert((record.from, record.to), link);
        Ok(port)
    }

    /// Ends all links of a node.
    pub(crate) fn close(&self, number: NodeNumber) {
        self.lines().retain(|(from, to), _| *from != number && *to != number);
        self.targets().remove(&number);
    }

    /// Where a node takes peers from now on.
    pub(crate) fn aim(&self, number: NodeNumber, target: Target) {
        self.targets().insert(number, target);
        for (_, link) in self.lines().iter().filter(|((_, to), _)| *to == number) {
            link.aim(target);
        }
    }

    /// Cuts every line between two sides, and joins every other.
    ///
    /// # Errors
    /// Where a side names a node without links: nothing is done then.
    pub(crate) fn partition(&self, sides: &Sides) -> Result<(), LineError> {
        let lines = self.lines();
        for number in sides.named() {
            of(&lines, number)?;
        }
        for ((one, other), link) in lines.iter() {
            cut(link, sides.part(*one, *other));
        }
        Ok(())
    }

    /// Cuts a new node's lines to other sides than its own.
    pub(crate) fn place(&self, number: NodeNumber, sides: &Sides) {
        for ((one, other), link) in self.lines().iter() {
            if [*one, *other].contains(&number) {
                cut(link, sides.part(*one, *other));
            }
        }
    }

    /// Whom each of these nodes can reach by lines that carry both ways, over others of them too:
    /// every node in exactly one part.
    pub(crate) fn parts(&self, nodes: &[NodeNumber]) -> Vec<BTreeSet<NodeNumber>> {
        let mut parts: Vec<BTreeSet<NodeNumber>> =
            nodes.iter().map(|number| BTreeSet::from([*number])).collect();
        for ((one, other), link) in self.lines().iter() {
            let ends = [one, other];
            let is_whole = !Direction::ALL.into_iter().any(|way| link.is_cut(way));
            if is_whole && ends.iter().all(|end| nodes.contains(end)) {
                let (joined, rest): (Vec<_>, Vec<_>) =
                    parts.into_iter().partition(|part| ends.iter().any(|end| part.contains(end)));
                parts = rest;
                parts.push(joined.into_iter().flatten().collect());
            }
        }
        parts
    }

    /// Joins every line.
    pub(crate) fn heal(&self) {
        self.lines().values().for_each(|link| cut(link, false));
    }

    /// Cuts all of a node's lines, or joins them; `reset` ends its connections too, as a router does
    /// that restarts.
    ///
    /// # Errors
    /// Where it has none.
    pub(crate) fn isolate(
        &self,
        number: NodeNumber,
        is_cut: bool,
        reset: bool,
    ) -> Result<(), LineError> {
        for link in of(&self.lines(), number)? {
            cut(link, is_cut);
            if reset {
                link.reset();
            }
        }
        Ok(())
    }

    /// Changes the line between two nodes.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn change(
        &self,
        from: NodeNumber,
        to: NodeNumber,
        change: &LinkChange,
    ) -> Result<(), LineError> {
        let lines = self.lines();
        let (link, way) = way(&lines, from, to).ok_or(LineError::NoLink(from, to))?;
        for way in Direction::ALL.into_iter().filter(|other| *other == way || !change.one_way) {
            link.set_shape(way, change.apply(link.shape(way)));
            if let Some(is_cut) = change.cut {
                link.set_cut(way, is_cut);
            }
        }
        Ok(())
    }

    /// Every way of every link.
    pub(crate) fn states(&self) -> Vec<LineState> {
        let ways = |((dialler, dialled), link): (&(NodeNumber, NodeNumber), &Link)| {
            Direction::ALL.map(|way| {
                let (from, to) = match way {
                    Direction::Forth => (*dialler, *dialled),
                    Direction::Back => (*dialled, *dialler),
                };
                LineState { from, to, is_cut: link.is_cut(way), shape: link.shape(way) }
            })
        };
        self.lines().iter().flat_map(ways).collect()
    }

    /// Makes the lines that are told of as they were then; the others stay.
    pub(crate) fn restore(&self, states: &[LineState]) {
        let lines = self.lines();
        for LineState { from, to, is_cut, shape } in states {
            if let Some((link, way)) = way(&lines, *from, *to) {
                link.set_shape(way, *shape);
                link.set_cut(way, *is_cut);
            }
        }
    }
}

/// The address by which others see a node.
pub(super) fn face(number: NodeNumber, netns: Option<&Namespaces>) -> Result<Ipv4Addr, NetnsError> {
    netns.map_or(Ok(Ipv4Addr::LOCALHOST), |netns| netns.face(number))
}

/// The link between two nodes, and which of its ways leads from the first to the second.
fn way(
    lines: &BTreeMap<Ends, Link>,
    from: NodeNumber,
    to: NodeNumber,
) -> Option<(&Link, Direction)> {
    let forth = lines.get(&(from, to)).map(|link| (link, Direction::Forth));
    forth.or_else(|| Some((lines.get(&(to, from))?, Direction::Back)))
}

/// A node's links; there must be one.
fn of(lines: &BTreeMap<Ends, Link>, number: NodeNumber) -> Result<Vec<&Link>, LineError> {
    let links = lines.iter().filter(|((from, to), _)| [*from, *to].contains(&number));
    let links: Vec<_> = links.map(|(_, link)| link).collect();
    if links.is_empty() { Err(LineError::NoLinks(number)) } else { Ok(links) }
}

fn cut(link: &Link, is_cut: bool) {
    for way in Direction::ALL {
        link.set_cut(way, is_cut);
    }
}

#[cfg(test)]
mod tests {
    use ashlar_processes::relay::{Delay, Loss, Shape};

    use super::*;
    use crate::lines::Sides;

    fn lines() -> Links {
        let lines = Links::new().unwrap();
        for (from, to) in [(2, 1), (3, 2), (4, 3), (4, 1)] {
            let record = LinkRecord { from, to, port: 0, shape: Shape::default() };
            assert_ne!(lines.open(&record, None).unwrap(), 0);
        }
        lines
    }

    fn sides(text: &str) -> Result<Sides, LineError> {
        Sides::parse(&[text.to_owned()])
    }

    fn cuts(lines: &Links) -> Vec<(NodeNumber, NodeNumber)> {
        let states = lines.states().into_iter().filter(|state| state.is_cut);
        states.map(|state| (state.from, state.to)).collect()
    }

    #[test]
    fn a_partition_cuts_between_its_sides_alone_and_heals() {
        let lines = lines();
        lines.partition(&sides("1,2 / 3,4").unwrap()).unwrap();
        assert_eq!(cuts(&lines), [(3, 2), (2, 3), (4, 1), (1, 4)]);
        // Who is not named is a side of its own.
        lines.partition(&sides("1").unwrap()).unwrap();
        assert_eq!(cuts(&lines), [(2, 1), (1, 2), (4, 1), (1, 4)]);
        lines.heal();
        assert_eq!(cuts(&lines), []);
        lines.isolate(3, true, true).unwrap();
        assert_eq!(cuts(&lines), [(3, 2), (2, 3), (4, 3), (3, 4)]);
    }

    #[test]
    fn parts_are_who_can_hear_each_other() {
        let lines = lines();
        let parts = |nodes: &[NodeNumber]| {
            let mut parts = lines.parts(nodes);
            parts.sort();
            parts.into_iter().map(Vec::from_iter).collect::<Vec<_>>()
        };
        assert_eq!(parts(&[1, 2, 3, 4]), [[1, 2, 3, 4]]);
        assert_eq!(parts(&[1, 3]), [[1], [3]], "no line of their own");
        lines.partition(&sides("1,2").unwrap()).unwrap();
        assert_eq!(parts(&[1, 2, 3, 4]), [[1, 2], [3, 4]]);
        // What is heard one way alone is no agreement.
        lines.heal();
        let deaf = LinkChange { cut: Some(true), one_way: true, ..LinkChange::default() };
        for (from, to) in [(1, 2), (3, 2)] {
            lines.change(from, to, &deaf).unwrap();
        }
        assert_eq!(parts(&[1, 2, 3, 4]), [vec![1, 3, 4], vec![2]]);
        // Who comes while the net is parted is on its own side.
        lines.heal();
        lines.place(4, &sides("1,2 / 3").unwrap());
        assert_eq!(cuts(&lines), [(4, 1), (1, 4), (4, 3), (3, 4)]);
    }

    #[test]
    fn sides_are_read_however_the_shell_cuts_them() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let read = Sides::parse(&words(&["1,2", "/", "3,", "4"])).unwrap();
        assert_eq!(read, sides("1,2/3,4").unwrap());
        assert_eq!(read.to_string(), "1,2 / 3,4");
        assert_eq!(sides("1,2 / 2"), Err(LineError::TwoSides(2)));
        for text in ["", "/", "1,2 /", "one / two", "1 2 / 3x"] {
            assert!(sides(text).is_err(), "{text}");
        }
        let unknown = lines().partition(&sides("1 / 9").unwrap());
        assert_eq!(unknown, Err(LineError::NoLinks(9)));
    }

    #[test]
    fn a_change_goes_both_ways_or_one_and_keeps_the_rest() {
        let lines = lines();
        let change = LinkChange { latency: Some(Delay::from_ms(200)), ..LinkChange::default() };
        lines.change(1, 2, &change).unwrap();
        let loss = LinkChange {
            loss: Some(Loss::from_percent(5)),
            cut: Some(true),
            one_way: true,
            ..LinkChange::default()
        };
        lines.change(1, 2, &loss).unwrap();
        let told: Vec<String> = lines.states()[..2].iter().map(LineState::to_string).collect();
        assert_eq!(told, ["2 -> 1: latency 200ms", "1 -> 2: cut, latency 200ms, loss 5%"]);
        let states = lines.states();
        let plain = LinkChange { plain: true, cut: Some(false), ..LinkChange::default() };
        lines.change(2, 1, &plain).unwrap();
        assert_eq!(lines.states()[1].to_string(), "1 -> 2: plain");
        lines.restore(&states);
        assert_eq!(lines.states(), states);
        assert_eq!(lines.change(1, 3, &plain), Err(LineError::NoLink(1, 3)));
    }
}
