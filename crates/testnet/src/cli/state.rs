//! Verbs of time and state: the clock, saves, reorganisations and the tree of blocks.

use std::path::PathBuf;

use ashlar_primitives::Txid;
use clap::{ArgGroup, Subcommand};

use super::Out;
use crate::{
    client::Testnet,
    clock::{Moment, Speed, TimeChange, TimeNow},
    control::Request,
    error::TestnetError,
    file::NodeNumber,
    layout::Layout,
    reorg::{Against, Reorganised},
    saves::{Save, Saves},
    tree::Run,
};

/// What can be typed of time and state.
#[derive(Debug, Subcommand)]
pub(super) enum StateVerb {
    /// The testnet's clock; without a change, show it.
    #[command(subcommand_negates_reqs = true)]
    Time {
        #[command(subcommand)]
        change: Option<TimeVerb>,
    },
    /// Save the whole testnet: chains, waiting payments, wallets, clock.
    Save {
        /// What to call it: lower-case letters, digits and dashes.
        #[arg(value_name = "NAME")]
        save: String,
    },
    /// Put a save in the place of what the testnet is now, which is lost.
    Load {
        /// Its name.
        #[arg(value_name = "NAME")]
        save: String,
    },
    /// The saves.
    List,
    /// Write a save to one file, for somebody else.
    Export {
        /// Its name.
        #[arg(value_name = "NAME")]
        save: String,
        /// Where nothing may be yet.
        file: PathBuf,
    },
    /// Read a file that `export` wrote into a save; where there is no testnet yet, it becomes one.
    Import {
        /// The file.
        file: PathBuf,
        /// Another name than its own.
        #[arg(long = "as", value_name = "NAME")]
        save: Option<String>,
    },
    /// Replace the last blocks by a heavier branch, mined honestly.
    #[command(group(ArgGroup::new("against").args(["drop", "double_spend"])))]
    Reorg {
        /// How many blocks.
        #[arg(long, default_value_t = 1, value_name = "BLOCKS")]
        depth: u32,
        /// Leave this transaction out of the new branch, with what hangs on it: it waits again.
        #[arg(long, value_name = "TXID")]
        drop: Option<Txid>,
        /// Put another in its place that pays the same coins back to their owner.
        #[arg(long, value_name = "TXID")]
        double_spend: Option<Txid>,
        /// The node that hears of the branch first; the first that runs unless given.
        #[arg(long)]
        node: Option<NodeNumber>,
    },
    /// The blocks of all nodes as a tree, and who is on which tip.
    ForkTree,
}

/// What can be done to the clock.
#[derive(Debug, Subcommand)]
pub(super) enum TimeVerb {
    /// Set it, forward or back; it runs on at its speed.
    Set {
        /// 2030-01-01T00:00:00Z, or seconds since 1970.
        moment: Moment,
    },
    /// Go forward at once.
    Advance {
        /// Such as 90m, 36h or 7days.
        #[arg(value_parser = milliseconds)]
        by: u64,
        /// Find so many blocks on the way, spread evenly, as if the time had passed.
        #[arg(long, default_value_t = 0)]
        blocks: u32,
    },
    /// Let it run so many times as fast as the machine's; 0 lets it stand.
    Speed {
        /// 0 to 86400, such as 60 or 0.5.
        speed: Speed,
    },
    /// Give the machine's clock back.
    Real,
}

impl From<TimeVerb> for TimeChange {
    fn from(verb: TimeVerb) -> Self {
        match verb {
            TimeVerb::Set { moment } => Self::Set(moment),
            TimeVerb::Advance { by: step_ms, blocks } => Self::Advance { step_ms, blocks },
            TimeVerb::Speed { speed } => Self::Speed(speed),
            TimeVerb::Real => Self::Real,
        }
    }
}

fn milliseconds(text: &str) -> Result<u64, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    u64::try_from(duration.as_millis()).map_err(|_| "too long".to_owned())
}

/// Does what was typed.
pub(super) fn dispatch(verb: StateVerb, layout: &Layout, out: &Out) -> Result<(), TestnetError> {
    let there = || Testnet::at(layout.folder());
    match verb {
        StateVerb::Time { change } => {
            let now: TimeNow = there()?.ask(&Request::Time { change: change.map(Into::into) })?;
            out.say(&now, |now| format!("{now}\n"));
        }
        StateVerb::Save { save: name } => {
            let save: Save = there()?.ask(&Request::Save { name })?;
            out.say(&save, |save| format!("saved {}\n", line(save)));
        }
        StateVerb::Load { save: name } => {
            let save: Save = there()?.ask(&Request::Load { name })?;
            out.say(&save, |save| format!("loaded {}\n", line(save)));
        }
        StateVerb::List => {
            layout.load()?;
            let saves = Saves::of(layout).list()?;
            out.say(&saves, |saves| saves.iter().map(|save| line(save) + "\n").collect());
        }
        StateVerb::Export { save: name, file } => {
            let save = Saves::of(layout).export(&name, &file)?;
            out.say(&save, |save| format!("wrote {} to {}\n", line(save), file.display()));
        }
        StateVerb::Import { file, save } => import(layout, &file, save.as_deref(), out)?,
        StateVerb::Reorg { depth, drop, double_spend, node } => {
            let against = drop.map(|txid| Against::Drop(txid.into()));
            let against =
                against.or_else(|| double_spend.map(|txid| Against::DoubleSpend(txid.into())));
            let done: Reorganised = there()?.ask(&Request::Reorg { depth, against, node })?;
            out.say(&done, reorganised);
        }
        StateVerb::ForkTree => {
            let tree: Run = there()?.ask(&Request::Tree)?;
            out.say(&tree, Run::draw);
        }
    }
    Ok(())
}

/// Into a save; where nothing is in the folder yet, into a testnet that can go on with it.
fn import(
    layout: &Layout,
    file: &std::path::Path,
    name: Option<&str>,
    out: &Out,
) -> Result<(), TestnetError> {
    let is_new = !layout.exists();
    let save = Saves::of(layout).import(file, name)?;
    if is_new {
        Saves::of(layout).restore(&save.name)?;
    }
    let next = match is_new {
        true => "go on with it: scripts/testnet.sh up".to_owned(),
        false => format!("go over to it: scripts/testnet.sh load {}", save.name),
    };
    out.say(&save, |save| format!("read {}; {next}\n", line(save)));
    Ok(())
}

fn line(save: &Save) -> String {
    let ran = save.nodes.values().flatten().count();
    let all = save.nodes.len();
    let (height, clock) = (save.height(), Moment(save.clock_ms));
    format!("{}: block {height}, {ran} of {all} nodes running, clock {clock}", save.name)
}

fn reorganised(done: &Reorganised) -> String {
    let mut text = format!(
        "block {} and those on it were replaced: from {} at {} to {} at {}\n",
        done.fork + 1,
        done.old_tip,
        done.old_height,
        done.new_tip,
        done.new_height
    );
    for txid in &done.left_out {
        text += &format!("left out: {txid}\n");
    }
    if let Some(txid) = &done.double_spend {
        text += &format!("in its place: {txid}\n");
    }
    let nodes: Vec<String> = done.followed.iter().map(ToString::to_string).collect();
    text + &format!("on the new branch: nodes {}\n", nodes.join(" "))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Arguments, Verb};
    use super::*;

    #[test]
    fn the_name_of_a_save_is_not_that_of_a_testnet() {
        for words in [&["save", "one"][..], &["load", "one"], &["export", "one", "file"]] {
            let typed = Arguments::parse_from(["ashlar-testnet"].iter().chain(words));
            assert_eq!(typed.name, None, "{words:?}");
        }
        let typed = Arguments::parse_from(["ashlar-testnet", "import", "f", "--as", "two"]);
        let Verb::State(StateVerb::Import { save, .. }) = typed.verb else { panic!("another") };
        assert_eq!((typed.name, save.as_deref()), (None, Some("two")));
    }
}
