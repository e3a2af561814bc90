//! A partially signed transaction for people: what it does, and what is still missing.

use ashlar_primitives::{Lock, Policy};

use super::Partial;
use crate::{
    amount::show,
    policy::{satisfy::AtHand, terms::key_text},
};

/// The tree of a policy, a line for each node; with `at_hand` each leaf says whether it holds.
pub(crate) fn policy_lines(
    policy: &Policy,
    at_hand: Option<&AtHand<'_>>,
    prefix: &str,
) -> Vec<String> {
    let mut lines = Vec::new();
    node_lines(policy, at_hand, prefix, 1, &mut lines);
    lines
}

fn node_lines(
    policy: &Policy,
    at_hand: Option<&AtHand<'_>>,
    prefix: &str,
    depth: usize,
    lines: &mut Vec<String>,
) {
    let mark = match at_hand {
        None => "",
        Some(_) if matches!(policy, Policy::Threshold { .. }) => "    ",
        Some(at_hand) if at_hand.leaf(policy).is_some() => "[x] ",
        Some(_) => "[ ] ",
    };
    let text = match policy {
        Policy::Opaque(id) => format!("hidden: {id}"),
        Policy::Key(key) => format!("signature by {}", key_text(key, prefix)),
        Policy::Hash(digest) => format!("preimage of {}", hex::encode(digest)),
        Policy::After(height) => format!("from height {height} on"),
        Policy::Older(blocks) => format!("{blocks} blocks after the coin"),
        Policy::Threshold { k, children } if usize::from(*k) == children.len() => {
            "all of:".to_owned()
        }
        Policy::Threshold { k, children } => format!("{k} of these {}:", children.len()),
    };
    lines.push(format!("{:indent$}{mark}{text}", "", indent = 2 * depth));
    if let Policy::Threshold { children, .. } = policy {
        for child in children {
            node_lines(child, at_hand, prefix, depth + 1, lines);
        }
    }
}

impl Partial {
    /// What the transaction does and what it lacks. `is_own` says which addresses are the
    /// reader's; `next_height` is that of the next block, where known.
    pub(crate) fn outline(
        &self,
        is_own: impl Fn(&str) -> bool,
        next_height: Option<u32>,
    ) -> Vec<String> {
        let prefix = &self.chain().address_prefix;
        let mut lines = vec![format!("transaction {}", self.transaction().txid())];
        lines.push(format!("for the chain {} ({})", self.chain().name, self.chain().id));
        let whose = |address: &str| if is_own(address) { "  (this wallet's)" } else { "" };
        lines.push("spends".to_owned());
        for coin in self.coins() {
            let address = self.address_text(coin.output.lock);
            lines.push(format!("  {:>24}  {address}{}", show(coin.output.value), whose(&address)));
        }
        lines.push("pays".to_owned());
        for output in &self.transaction().outputs {
            let address = self.address_text(output.lock);
            lines.push(format!("  {:>24}  {address}{}", show(output.value), whose(&address)));
        }
        if let Ok(fee) = self.fee() {
            lines.push(format!("fee {fee} grains, {}", show(fee)));
        }
        if self.transaction().not_before > 0 {
            lines.push(format!("not before height {}", self.transaction().not_before));
        }
        if !self.transaction().memo.is_empty() {
            let memo = String::from_utf8_lossy(&self.transaction().memo);
            lines.push(format!("memo {:?}", memo));
        }
        for lock in self.locks() {
            lines.push(format!("to spend from {}", self.address_text(lock)));
            let at_hand = self.at_hand(lock, next_height);
            let policy = match self.policy_of(lock) {
                Some(policy) => policy.clone(),
                None => Policy::Key(ashlar_primitives::PublicKey(lock.program)),
            };
            debug_assert!(lock.version <= Lock::POLICY);
            lines.extend(policy_lines(&policy, Some(&at_hand), prefix));
        }
        let state = match self.finalize(next_height) {
            Ok(_) => "complete: `tx finalize`, then `tx broadcast`",
            Err(_) => "not complete: what is not ticked is missing, or not needed",
        };
        lines.push(state.to_owned());
        lines
    }
}

#[cfg(test)]
mod tests {
    use ashlar_primitives::keys::SecretKey;

    use crate::offline::tests::shared;

    #[test]
    fn an_outline_shows_amounts_fee_and_what_is_missing() {
        let mut partial = shared();
        let text = partial.outline(|_| false, None).join("\n");
        for part in [
            "0.0001 ASH",
            "0.00029 ASH",
            "fee 1000 grains",
            "memo \"rent\"",
            "2 of these 3:",
            "not complete",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(!text.contains("[x]"), "{text}");
        let digest = partial.digest().unwrap();
        for number in [1, 3, 4] {
            let key = SecretKey::from_bytes(&[number; 32]);
            partial.add_signatures([(key.public_key(), key.sign(&digest))]).unwrap();
        }
        let text = partial.outline(|_| true, None).join("\n");
        assert_eq!(text.matches("[x]").count(), 3, "{text}");
        assert!(text.contains("(this wallet's)") && text.contains("\ncomplete"), "{text}");
    }
}
