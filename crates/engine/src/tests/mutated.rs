//! What marks an id as failed, and whom it costs: for each rule of PROTOCOL.md §8 and each changed
//! body, asked of a peer or gossiped by one, the bad block first and then an honest one.

use std::sync::Arc;

use ashlar_consensus::{HeaderError, Target, open_body};
use ashlar_primitives::{
    Block, BlockId, Decode as _, Header,
    compact::CompactBlock,
    wire::{Answer, Request, Status},
};
use ashlar_testkit::{
    builder::{Chain, Plan},
    mutations::{MUTATIONS, Mutation},
    rules::{Attempt, Fault, rules},
};

use super::world::{World, honest_answer, status_at};
use crate::{GossipData, Notice, Offence, Peer, RequestFailure, Verdict, limits::CUT_SCORE};

/// A node at the tip that an attempt stands on.
struct Scene {
    world: World,
    chain: Chain,
    tip: BlockId,
    node: usize,
}

impl Scene {
    fn new(valid: &Attempt) -> Self {
        let mut world = World::new();
        let node = world.add(valid.chain.genesis());
        world.feed(node, &valid.chain.branch(&valid.tip));
        Self { world, chain: valid.chain.clone(), tip: valid.tip, node }
    }

    /// Before an attempt on a failed parent, that parent.
    fn prepare(&mut self, attempt: &Attempt) {
        if let Some(parent) = attempt.parent.as_ref().filter(|parent| parent.is_known) {
            self.world.submit_block(self.node, &parent.block);
            assert_eq!(self.failed(&parent.block), Some("coinbase-overpays"));
        }
    }

    fn failed(&self, block: &Block) -> Option<&'static str> {
        self.world.nodes[self.node].engine.ledger().failed_code(&block.header.id()).unwrap()
    }

    fn tip(&self) -> BlockId {
        self.world.tip(self.node)
    }

    /// A peer that says that its chain ends in this block, one above the node's own tip or two.
    fn claimant(&mut self, header: &Header, above: u32) -> Peer {
        let peer = self.world.hand(self.node);
        let (id, ..) = self.world.nodes[self.node].asked.pop_back().expect("a question for status");
        let state = &self.chain.state(&self.tip).header;
        let own = Target::from_bits(self.chain.genesis().params().bits).unwrap().work();
        let status = Status {
            tip: header.id(),
            height: state.height + above,
            work: state.work.saturating_add(own.saturating_mul(above.into())).to_le_bytes(),
            ..status_at(&self.chain, &self.tip)
        };
        self.world.answer(self.node, id, Answer::Status(status));
        peer
    }

    /// Everything that is asked of a peer with this header on top of the node's own chain;
    /// `None`: its body does not decode.
    fn serve_one(&mut self, header: Header, body: Option<&Block>) {
        while let Some((id, _, request)) = self.world.nodes[self.node].asked.pop_front() {
            match (request, body) {
                (Request::Headers { .. }, _) => {
                    self.world.answer(self.node, id, Answer::Headers(vec![header]));
                }
                (Request::Blocks { .. }, Some(body)) => {
                    self.world.answer(self.node, id, Answer::Blocks(vec![body.clone()]));
                }
                (Request::Blocks { .. }, None) => {
                    self.world.fail(self.node, id, RequestFailure::Malformed);
                }
                (other, _) => {
                    let answer = honest_answer(&self.chain, &self.tip, &other);
                    self.world.answer(self.node, id, answer);
                }
            }
        }
    }

    /// Another peer has an honest block and one more on it.
    fn recovers(&mut self, honest: Block, what: &str) {
        let honest = self.chain.adopt(honest).unwrap().id();
        let tip = self.chain.extend(&honest, Plan::default()).id();
        self.world.nodes[self.node].asked.clear();
        self.world.hand_at(self.node, &self.chain, &tip);
        self.world.serve(self.node, &self.chain, &tip);
        assert_eq!(self.tip(), tip, "{what}");
    }

    fn tell(&mut self, peer: Peer, block: &Block, salt: u64) -> Option<Verdict> {
        let all: Vec<u32> = (0..).take(block.transactions.len()).collect();
        let compact = CompactBlock::build(block, salt, &all);
        self.world.tell(self.node, peer, GossipData::Block(Arc::new(compact)))
    }

    /// The verdict on what was told last.
    fn verdict(&self) -> Option<Verdict> {
        self.world.nodes[self.node].verdicts.values().next_back().copied()
    }

    /// What the only peer so far did wrong, and is gone for.
    fn cut_for(&self) -> Option<Offence> {
        self.world.offences(self.node).first().copied()
    }
}

/// Each rule that a block on a real chain can break, with the block that does.
fn broken(valid: &Attempt) -> Vec<(Fault, Attempt)> {
    let rules = rules(valid).into_iter().map(|rule| (rule.fault, valid.with(rule.spoil)));
    let broken: Vec<_> = rules.filter(|(_, attempt)| attempt.imagined.is_empty()).collect();
    assert!(broken.len() > 30);
    broken
}

/// Whether it takes the state of the chain to find the fault.
fn needs_state(attempt: &Attempt) -> bool {
    let header = attempt.block().header;
    let height = attempt.chain.state(&header.parent).header.height + 1;
    open_body(&attempt.params, &header, height, &attempt.to_bytes()).is_ok()
}

#[test]
fn each_rule_in_an_answer() {
    let valid = Attempt::new();
    for (fault, attempt) in broken(&valid) {
        let cause = fault.cause();
        let mut scene = Scene::new(&valid);
        scene.prepare(&attempt);
        let bad = attempt.block();
        let above = 1 + u32::from(attempt.parent.is_some());
        let peer = scene.claimant(&bad.header, above);
        scene.serve_one(bad.header, attempt.tail.is_empty().then_some(&bad));

        let expected = match fault {
            Fault::UnknownParent => Some(Offence::WrongAnswer),
            Fault::TooNew { .. } => None,
            Fault::Header(HeaderError::InvalidParent) => Some(Offence::RefusedChain),
            Fault::Header(_) => Some(Offence::InvalidHeader),
            Fault::Body(_) if !attempt.tail.is_empty() => Some(Offence::MalformedAnswer),
            Fault::Body(_) => Some(Offence::InvalidBody),
            Fault::Block(_) if needs_state(&attempt) => Some(Offence::InvalidChain),
            Fault::Block(_) => Some(Offence::InvalidBlock),
        };
        let points = expected.map_or(0, |offence| offence.penalty().points);
        if points < CUT_SCORE {
            assert_eq!(scene.cut_for(), None, "{cause}");
            assert_eq!(scene.world.score(scene.node, peer), Some(points), "{cause}");
        } else {
            assert_eq!(scene.cut_for(), expected, "{cause}");
        }
        let mark = fault.is_remembered().then_some(fault.code());
        assert_eq!(scene.failed(&bad), mark, "{cause}");
        assert_eq!(scene.tip(), scene.tip, "{cause}");

        scene.recovers(valid.block(), cause);
        assert_eq!(scene.failed(&valid.block()), None, "{cause}");
        assert_eq!(scene.failed(&bad), mark, "{cause}");
    }
}

#[test]
fn each_rule_in_gossip() {
    let valid = Attempt::new();
    let honest = valid.block();
    for (fault, attempt) in broken(&valid) {
        if !attempt.tail.is_empty() {
            // What does not decode ends in the network's codec.
            continue;
        }
        let cause = fault.cause();
        let mut scene = Scene::new(&valid);
        scene.prepare(&attempt);
        let bad = attempt.block();
        let peer = scene.world.hand_at(scene.node, &valid.chain, &valid.tip);
        scene.tell(peer, &bad, 7);
        if matches!(fault, Fault::Body(_)) {
            // It can't be rebuilt, for all that is known here. Whole it is no better.
            scene.serve_one(bad.header, Some(&bad));
        }
        let (verdict, offence) = match fault {
            Fault::UnknownParent | Fault::TooNew { .. } => (Verdict::Ignore, None),
            Fault::Header(HeaderError::InvalidParent) => (Verdict::Ignore, None),
            Fault::Header(_) => (Verdict::Reject, Some(Offence::InvalidHeader)),
            Fault::Body(_) => (Verdict::Reject, Some(Offence::InvalidBody)),
            Fault::Block(_) if needs_state(&attempt) => (Verdict::Accept, None),
            Fault::Block(_) => (Verdict::Reject, Some(Offence::InvalidBlock)),
        };
        assert_eq!(scene.verdict(), Some(verdict), "{cause}");
        assert_eq!(scene.cut_for(), offence, "{cause}");
        let mark = fault.is_remembered().then_some(fault.code());
        assert_eq!(scene.failed(&bad), mark, "{cause}");
        if let (Fault::Block(_), id, Some(code)) = (fault, bad.header.id(), mark) {
            let notice = Notice::BlockInvalid { id, code };
            assert!(scene.world.nodes[scene.node].notices.contains(&notice), "{cause}");
        }
        let is_kept = scene.world.nodes[scene.node].engine.ledger().has_body(&bad.header.id());
        assert_eq!(is_kept.unwrap(), verdict == Verdict::Accept, "{cause}");

        // The valid block beside it is news for everybody.
        scene.world.nodes[scene.node].asked.clear();
        let other = scene.world.hand_at(scene.node, &valid.chain, &valid.tip);
        assert_eq!(scene.tell(other, &honest, 8), Some(Verdict::Accept), "{cause}");
        assert_eq!(scene.tip(), honest.header.id(), "{cause}");
        assert_eq!(scene.failed(&bad), mark, "{cause}");
        // The bad one told anew costs nobody anything but the time to look it up, unless its own
        // header is wrong.
        if mark.is_some() {
            assert_eq!(scene.tell(other, &bad, 9), Some(Verdict::Ignore), "{cause}");
            assert_eq!(scene.world.score(scene.node, other), Some(0), "{cause}");
        }
        scene.world.settle();
    }
}

#[test]
fn what_is_wrong_for_now_connects_later() {
    let valid = Attempt::new();
    let mut seen = 0;
    for (fault, attempt) in broken(&valid) {
        if !matches!(fault, Fault::UnknownParent | Fault::TooNew { .. }) {
            continue;
        }
        let mut scene = Scene::new(&valid);
        let early = attempt.block();
        scene.chain = attempt.chain.clone();
        let id = scene.chain.adopt(early.clone()).unwrap().id();
        let peer = scene.world.hand_at(scene.node, &valid.chain, &valid.tip);
        assert_eq!(scene.tell(peer, &early, 7), Some(Verdict::Ignore));
        assert_eq!(scene.failed(&early), None);
        // Whoever told it is asked: at once for the parent, or when the time has come, which is a
        // second away.
        for _ in 0..10 {
            scene.world.serve(scene.node, &scene.chain, &id);
            scene.world.advance(1_000);
        }
        assert_eq!(scene.tip(), id, "{}", fault.cause());
        assert!(scene.world.offences(scene.node).is_empty());
        seen += 1;
    }
    assert_eq!(seen, 2);
}

/// The changed body as a peer could send it; `None` where it does not decode.
fn decoded(mutation: &Mutation, honest: &Block) -> Option<Block> {
    let decoded = Block::from_bytes(&(mutation.bytes)(honest)).ok();
    assert_eq!(decoded.is_none(), mutation.code == "malformed", "{}", mutation.name);
    decoded
}

#[test]
fn a_changed_body_in_an_answer_never_keeps_the_honest_one_out() {
    let valid = Attempt::new();
    let honest = valid.block();
    for mutation in MUTATIONS {
        let body = decoded(mutation, &honest);
        let mut scene = Scene::new(&valid);
        scene.claimant(&honest.header, 1);
        scene.serve_one(honest.header, body.as_ref());
        let offence = match body {
            Some(_) => Offence::InvalidBody,
            None => Offence::MalformedAnswer,
        };
        assert_eq!(scene.cut_for(), Some(offence), "{}", mutation.name);
        assert_eq!(scene.failed(&honest), None, "{}", mutation.name);
        assert_eq!(scene.tip(), scene.tip, "{}", mutation.name);
        scene.recovers(honest.clone(), mutation.name);
    }
}

#[test]
fn a_changed_body_in_gossip_never_keeps_the_honest_one_out() {
    let valid = Attempt::new();
    let honest = valid.block();
    for mutation in MUTATIONS {
        let Some(body) = decoded(mutation, &honest) else { continue };
        // Asked for the whole block, the culprit stays with its story, or tells the truth.
        for (told, offence) in [(&body, Offence::InvalidBody), (&honest, Offence::InvalidCompact)] {
            let mut scene = Scene::new(&valid);
            let peer = scene.world.hand_at(scene.node, &valid.chain, &valid.tip);
            assert_eq!(scene.tell(peer, &body, 7), None, "{}", mutation.name);
            scene.serve_one(honest.header, Some(told));
            if body.transactions.is_empty() && told == &honest {
                // No lie: that is how a block is announced that is too large for gossip.
                assert_eq!(scene.verdict(), Some(Verdict::Accept));
                continue;
            }
            assert_eq!(scene.verdict(), Some(Verdict::Reject), "{}", mutation.name);
            assert_eq!(scene.cut_for(), Some(offence), "{}", mutation.name);
            assert_eq!(scene.failed(&honest), None, "{}", mutation.name);

            let other = scene.world.hand_at(scene.node, &valid.chain, &valid.tip);
            let verdict = scene.tell(other, &honest, 8);
            assert_eq!(verdict, Some(Verdict::Accept), "{}", mutation.name);
            assert_eq!(scene.tip(), honest.header.id(), "{}", mutation.name);
            scene.world.settle();
        }
    }
}
