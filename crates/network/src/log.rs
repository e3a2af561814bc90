//! Log lines that a peer can set off: bounded in number and in what they hold (THREATS P15, R11).

use crate::limits::{LOG_LINES_PER_MINUTE, MAX_LOGGED_TEXT};

const MINUTE_MS: u64 = 60_000;

/// One place's allowance.
#[derive(Debug, Default)]
pub(crate) struct LogBudget {
    window: u64,
    written: u32,
    suppressed: u64,
}

impl LogBudget {
    /// Whether to write a line now, and if so how many were left out since the last one.
    pub(crate) fn take(&mut self, now_ms: u64) -> Option<u64> {
        let window = now_ms / MINUTE_MS;
        if window != self.window {
            self.window = window;
            self.written = 0;
        }
        if self.written >= LOG_LINES_PER_MINUTE {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Text from elsewhere, made safe for a terminal and short enough for a line.
pub(crate) fn printable(text: &str) -> String {
    let mut out: String =
        text.chars().take(MAX_LOGGED_TEXT).flat_map(char::escape_default).collect();
    if text.chars().nth(MAX_LOGGED_TEXT).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_its_allowance_and_then_a_count() {
        let mut budget = LogBudget::default();
        let written = (0..1_000_000).filter(|_| budget.take(5).is_some()).count();
        assert_eq!(written, LOG_LINES_PER_MINUTE as usize);
        let suppressed = 1_000_000 - u64::from(LOG_LINES_PER_MINUTE);
        assert_eq!(budget.take(MINUTE_MS), Some(suppressed));
        assert_eq!(budget.take(MINUTE_MS), Some(0));
    }

    #[test]
    fn nothing_a_peer_says_moves_the_cursor() {
        assert_eq!(printable("ok\n\x1b[31mforged"), "ok\\n\\u{1b}[31mforged");
        let longest = "x".repeat(MAX_LOGGED_TEXT);
        assert_eq!(printable(&longest), longest);
        assert_eq!(printable(&format!("{longest}x")), format!("{longest}…"));
        assert!(printable(&"é".repeat(10_000)).len() < 1_200);
    }
}
