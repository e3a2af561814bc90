//! How far long work is: a bar on a terminal, else a line now and then; and being told to stop.

use std::{
    io::IsTerminal,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ashlar_ledger::care::{Progress, Stage};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::Failure;

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Set by the first SIGINT or SIGTERM; work that looks at it ends at the next place where it can
/// be taken up again. The second signal ends the process, which no work is harmed by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for signals, for commands that have no runtime of their own.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let interrupt = Self::default();
        let flag = interrupt.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut int, mut term) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async move {
                for is_first in [true, false] {
                    tokio::select! {
                        _ = int.recv() => {}
                        _ = term.recv() => {}
                    }
                    if is_first {
                        flag.set();
                    }
                }
            });
            std::process::exit(130);
        })?;
        Ok(interrupt)
    }

    /// Told to stop.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn flow(&self) -> ControlFlow<()> {
        if self.0.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Shows one stage after the other.
pub(crate) struct Display {
    interrupt: Interrupt,
    is_terminal: bool,
    shown: Option<Shown>,
}

/// The stage that is shown.
struct Shown {
    stage: Stage,
    begun: Instant,
    begun_at: u64,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Display {
    pub(crate) fn new(interrupt: Interrupt) -> Self {
        Self { interrupt, is_terminal: std::io::stderr().is_terminal(), shown: None }
    }

    /// Never a bar: for work of a running node, among other lines of its log.
    pub(crate) const fn lines(interrupt: Interrupt) -> Self {
        Self { interrupt, is_terminal: false, shown: None }
    }

    /// Shows it; the answer is whether to go on.
    pub(crate) fn watch(&mut self, progress: Progress) -> ControlFlow<()> {
        let Progress { stage, done, total } = progress;
        let now = Instant::now();
        let is_terminal = self.is_terminal;
        match &mut self.shown {
            Some(shown) if shown.stage == stage => match &shown.bar {
                Some(bar) => bar.set_position(done),
                None if now.duration_since(shown.told) >= LINE_INTERVAL => {
                    shown.told = now;
                    let seconds = now.duration_since(shown.begun).as_secs().max(1);
                    let rate = done.saturating_sub(shown.begun_at) / seconds;
                    info!(done, total, per_second = rate, "{stage}");
                }
                None => {}
            },
            shown => {
                if let Some(Shown { bar: Some(bar), .. }) = shown {
                    bar.finish();
                }
                let bar = is_terminal.then(|| bar(stage, total));
                if bar.is_none() {
                    info!(done, total, "{stage}");
                }
                *shown = Some(Shown { stage, begun: now, begun_at: done, told: now, bar });
            }
        }
        self.interrupt.flow()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(Shown { bar: Some(bar), .. }) = &self.shown {
            bar.abandon();
        }
    }
}

fn bar(stage: Stage, total: u64) -> ProgressBar {
    let (bar, template) = match total {
        0 => (ProgressBar::new_spinner(), "{msg:22} {spinner} {human_pos} ({per_sec})"),
        _ => (
            ProgressBar::new(total),
            "{msg:22} [{bar:30}] {human_pos}/{human_len} ({per_sec}, {eta} left)",
        ),
    };
    #[expect(clippy::expect_used, reason = "both templates are constants, tried by a test")]
    let style = ProgressStyle::with_template(template).expect("a template");
    bar.with_style(style).with_message(stage.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_bar_can_be_made_and_an_interrupt_ends_the_work() {
        for total in [0, 10] {
            assert_eq!(bar(Stage::SumCoins, total).message(), "summing coins");
        }
        let interrupt = Interrupt::default();
        let mut display = Display::new(interrupt.clone());
        let progress = Progress { stage: Stage::SumCoins, done: 1, total: 2 };
        assert!(display.watch(progress).is_continue());
        interrupt.set();
        assert!(display.watch(progress).is_break());
    }
}
