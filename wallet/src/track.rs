//! Where the wallet's payments stand, by what a node says now.

use std::collections::BTreeMap;

use ashlar_primitives::Txid;

use crate::{
    failure::Failure,
    journal::{Journal, Payment, Purpose, Stage},
    node::{Node, Submitted},
};

/// So deep a payment is settled: nobody asks about it any more. As deep as a coinbase must lie on
/// the main chain before it can be spent.
const SETTLED_CONFIRMATIONS: u32 = 100;

/// Where a payment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// In a block.
    Confirmed { confirmations: u32, height: u32, blockhash: String, time: u32 },
    /// In a block so deep that the node was not asked.
    Settled,
    /// The node has it, no block yet.
    Waiting,
    /// The node does not have it, and nothing speaks against sending it.
    Missing,
    /// The node refused it, or what would replace it stands in its place.
    Refused,
    /// A payment of this wallet took its place.
    Replaced { by: String },
    /// A transaction that this wallet did not make spends its coins.
    Conflicted { by: Option<String> },
    /// Its coins are not there, and the node does not say why: it may be behind.
    Unknown,
}

impl Fate {
    /// One word for tables and scripts.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Confirmed { .. } | Self::Settled => "confirmed",
            Self::Waiting => "waiting",
            Self::Missing => "unsent",
            Self::Refused => "refused",
            Self::Replaced { .. } => "replaced",
            Self::Conflicted { .. } => "conflicted",
            Self::Unknown => "unknown",
        }
    }
}

/// Where every payment stands, by id.
pub(crate) type Fates = BTreeMap<String, Fate>;

/// Asks a node about every payment that is not over.
pub(crate) async fn fates(node: &Node, journal: &Journal) -> Result<Fates, Failure> {
    let mut fates = Fates::new();
    // What the node has comes first: the others are explained by it.
    for payment in journal.payments() {
        if let Some(fate) = plain_fate(node, payment).await? {
            fates.insert(payment.txid.clone(), fate);
        }
    }
    for payment in journal.payments() {
        if !fates.contains_key(&payment.txid) {
            let fate = absent_fate(node, journal, payment, &fates).await?;
            fates.insert(payment.txid.clone(), fate);
        }
    }
    Ok(fates)
}

/// The fate of a payment that is over, or that the node has.
async fn plain_fate(node: &Node, payment: &Payment) -> Result<Option<Fate>, Failure> {
    match payment.stage {
        Stage::Settled => return Ok(Some(Fate::Settled)),
        Stage::Dead => return Ok(Some(Fate::Conflicted { by: None })),
        Stage::Signed | Stage::Sent | Stage::Refused => {}
    }
    let status = node.transaction(&payment.transaction()?.txid()).await?;
    Ok(status.and_then(|status| {
        match (status.confirmations, status.blockheight, &status.blockhash, status.blocktime) {
            (confirmations @ 1.., Some(height), Some(blockhash), Some(time)) => {
                let blockhash = blockhash.to_string();
                Some(Fate::Confirmed { confirmations, height, blockhash, time })
            }
            // Known from a block of another branch alone, it waits nowhere.
            _ => status.time.map(|_| Fate::Waiting),
        }
    }))
}

/// Why the node does not have a payment.
async fn absent_fate(
    node: &Node,
    journal: &Journal,
    payment: &Payment,
    known: &Fates,
) -> Result<Fate, Failure> {
    let taken = |other: &&Payment| {
        matches!(
            known.get(&other.txid),
            Some(Fate::Confirmed { .. } | Fate::Settled | Fate::Waiting)
        )
    };
    if let Some(rival) = journal.rivals(payment).find(taken) {
        return Ok(Fate::Replaced { by: rival.txid.clone() });
    }
    if payment.stage == Stage::Refused {
        return Ok(Fate::Refused);
    }
    for coin in payment.spends.iter().filter_map(|coin| coin.outpoint()) {
        if !node.is_unspent(&coin, false).await? {
            // It may be the change of a payment that waits itself.
            if journal.payment(&coin.txid.to_string()).is_some() {
                match known.get(&coin.txid.to_string()) {
                    Some(Fate::Waiting | Fate::Missing) | None => continue,
                    Some(Fate::Replaced { by }) => {
                        return Ok(Fate::Conflicted { by: Some(by.clone()) });
                    }
                    Some(_) => {}
                }
            }
            let parent = node.transaction(&coin.txid).await?;
            return Ok(match parent {
                Some(parent) if parent.confirmations > 0 => Fate::Conflicted { by: None },
                _ => Fate::Unknown,
            });
        }
        if !node.is_unspent(&coin, true).await? {
            return Ok(Fate::Conflicted { by: None });
        }
    }
    // A newer one that the node does not have either is sent in its place.
    Ok(match journal.replaced_by(&payment.txid) {
        Some(newer) => Fate::Replaced { by: newer.txid.clone() },
        None => Fate::Missing,
    })
}

/// Writes down what the fates decide for good.
pub(crate) fn note(journal: &mut Journal, fates: &Fates) -> Result<(), Failure> {
    let deep = |fate: Option<&Fate>| match fate {
        Some(Fate::Confirmed { confirmations, .. }) => *confirmations >= SETTLED_CONFIRMATIONS,
        fate => fate == Some(&Fate::Settled),
    };
    let mut news = false;
    for (txid, fate) in fates {
        news |= match fate {
            fate if deep(Some(fate)) => journal.set_stage(txid, Stage::Settled),
            Fate::Confirmed { .. } | Fate::Waiting => journal.set_stage(txid, Stage::Sent),
            Fate::Replaced { by } if deep(fates.get(by)) => journal.set_stage(txid, Stage::Dead),
            _ => false,
        };
    }
    if news {
        journal.save()?;
    }
    Ok(())
}

/// One payment that was sent again, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resent {
    pub(crate) txid: String,
    /// Why the node refused it.
    pub(crate) refused: Option<String>,
}

/// Sends again what the node does not have, parents before children.
pub(crate) async fn resend(
    node: &Node,
    journal: &mut Journal,
    fates: &mut Fates,
) -> Result<Vec<Resent>, Failure> {
    let missing = |payment: &&Payment| fates.get(&payment.txid) == Some(&Fate::Missing);
    let missing: Vec<Payment> = journal.payments().iter().filter(missing).cloned().collect();
    let mut resent = Vec::new();
    for payment in missing {
        let refused = match node.submit(&payment.transaction()?).await? {
            Submitted::Taken => {
                journal.set_stage(&payment.txid, Stage::Sent);
                fates.insert(payment.txid.clone(), Fate::Waiting);
                None
            }
            Submitted::Refused { reason } => Some(reason),
        };
        resent.push(Resent { txid: payment.txid, refused });
    }
    if !resent.is_empty() {
        journal.save()?;
    }
    Ok(resent)
}

/// The payment that stands for this one now: itself, or what replaced it last.
pub(crate) fn newest<'a>(journal: &'a Journal, payment: &'a Payment) -> &'a Payment {
    let mut newest = payment;
    while let Some(next) = journal.replaced_by(&newest.txid) {
        newest = next;
    }
    newest
}

/// Whether a payment is to oneself, to undo another.
pub(crate) const fn is_cancel(payment: &Payment) -> bool {
    matches!(payment.purpose, Purpose::Cancel)
}

/// An id as it is typed.
pub(crate) fn parse_txid(text: &str) -> Result<Txid, Failure> {
    text.parse().map_err(|_| Failure::NoTxid { text: text.to_owned() })
}
