//! Blocks to work on: chosen by the mempool, checked as a job before they are served, kept until
//! something better can be made.
//!
//! The *choice* (transactions and fees) is made and checked once for each tip and state of the
//! mempool, at most once a second; a template for a caller is a choice with a coinbase and the
//! present time. Whom the coinbase pays changes nothing that the check looks at.

use std::sync::Arc;

use ashlar_consensus::{
    BlockError, CheckedTransaction, OpenError, Part, SpentCoins, header::latest_time,
};
use ashlar_ledger::{Store, StoreError};
use ashlar_primitives::{
    Amount, Block, BlockId, Coinbase, Header, Lock, MerkleRoot, OutPoint, Output as Coined,
    merkle::merkle_root,
};

use crate::{
    Engine,
    call::{AnswerBody, CallError, CallId, Template},
    job::Job,
    jobs::JobPurpose,
    limits::{
        MAX_COINBASE_EXTRA_BYTES, MAX_TEMPLATE_CULPRITS, MAX_TEMPLATE_WAITERS,
        TEMPLATE_OVERHEAD_BYTES, TEMPLATE_REFRESH_MS,
    },
    offence::open_error_code,
    output::Notice,
};

/// The version of a header whose free bits are all zero (PROTOCOL.md §4).
const HEADER_VERSION: u32 = 0x2000_0000;

/// Transactions for a block on a tip.
#[derive(Clone, Debug)]
struct Choice {
    tip: BlockId,
    mempool_sequence: u64,
    made_ms: u64,
    transactions: Vec<Arc<CheckedTransaction>>,
    fees: Vec<Amount>,
}

impl Choice {
    fn sum_of_fees(&self) -> Amount {
        Amount::checked_sum(self.fees.iter().copied()).unwrap_or(Amount::ZERO)
    }
}

/// A call that waits for a template.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    call: CallId,
    pay_to: Lock,
    extra: Vec<u8>,
}

/// The choice in force, the one being checked, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    checked: Option<Choice>,
    checking: Option<Choice>,
    culprits: u32,
    pub(crate) waiters: Vec<Waiter>,
    /// The last one served, while its second lasts.
    served: Option<(Lock, Vec<u8>, Arc<Template>)>,
}

impl<S: Store> Engine<S> {
    pub(crate) fn on_template_call(
        &mut self,
        call: CallId,
        pay_to: Lock,
        extra: Vec<u8>,
    ) -> Result<(), StoreError> {
        let refusal = if !pay_to.is_known() {
            Some(CallError::UnknownLock { version: pay_to.version })
        } else if extra.len() > MAX_COINBASE_EXTRA_BYTES {
            Some(CallError::ExtraTooLong { length: extra.len(), max: MAX_COINBASE_EXTRA_BYTES })
        } else if self.templates.waiters.len() >= MAX_TEMPLATE_WAITERS {
            Some(CallError::Overloaded)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.refuse(call, refusal);
            return Ok(());
        }
        let waiter = Waiter { call, pay_to, extra };
        match &self.templates.checked {
            Some(choice) if self.is_good_enough(choice) => {
                let choice = choice.clone();
                self.serve_template(waiter, &choice);
                Ok(())
            }
            _ => {
                self.templates.waiters.push(waiter);
                self.choose()
            }
        }
    }

    /// Nothing better can be made, or not yet again.
    fn is_good_enough(&self, choice: &Choice) -> bool {
        let age_ms = self.now.monotonic_ms.saturating_sub(choice.made_ms);
        let is_latest = choice.mempool_sequence == self.mempool.sequence();
        choice.tip == self.view.tip().id && (is_latest || age_ms < TEMPLATE_REFRESH_MS)
    }

    /// Chooses and has the choice checked, unless one is being checked already.
    fn choose(&mut self) -> Result<(), StoreError> {
        let Some(waiter) = self.templates.waiters.first().cloned() else { return Ok(()) };
        if self.templates.checking.is_some() {
            return Ok(());
        }
        let max_bytes = usize::try_from(self.params.max_block_bytes).unwrap_or(usize::MAX);
        // Where one transaction after the other is refused, an empty block is still a block.
        let budget = match self.templates.culprits {
            0..MAX_TEMPLATE_CULPRITS => max_bytes.saturating_sub(TEMPLATE_OVERHEAD_BYTES),
            _ => 0,
        };
        let selected = self.mempool.select(budget);
        let choice = Choice {
            tip: self.view.tip().id,
            mempool_sequence: self.mempool.sequence(),
            made_ms: self.now.monotonic_ms,
            transactions: selected.iter().map(|entry| entry.transaction.clone()).collect(),
            fees: selected.iter().map(|entry| entry.fee).collect(),
        };
        let (header, coinbase) = self.template_head(&waiter, &choice);
        let outpoints: Vec<OutPoint> = choice
            .transactions
            .iter()
            .flat_map(|checked| checked.transaction().inputs.iter().copied())
            .collect();
        let coins = self.view.coins(&outpoints)?;
        let found = outpoints.into_iter().zip(coins);
        let coins = found.filter_map(|(outpoint, coin)| Some((outpoint, coin?))).collect();
        let job = Job::CheckTemplate {
            params: self.params.clone(),
            parent: Box::new(self.view.state()?),
            header,
            coinbase,
            parts: choice.transactions.iter().cloned().map(Part::Checked).collect(),
            coins: SpentCoins { coins },
        };
        self.templates.checking = Some(choice);
        self.start_job(JobPurpose::CheckTemplate, job);
        Ok(())
    }

    /// A choice was checked: it is served, or who spoils it leaves the mempool.
    pub(crate) fn on_template_checked(
        &mut self,
        result: Result<(), OpenError>,
    ) -> Result<(), StoreError> {
        let Some(choice) = self.templates.checking.take() else { return Ok(()) };
        if choice.tip != self.view.tip().id {
            return self.choose();
        }
        let Err(error) = result else {
            self.templates.culprits = 0;
            self.templates.checked = Some(choice.clone());
            for waiter in core::mem::take(&mut self.templates.waiters) {
                self.serve_template(waiter, &choice);
            }
            return Ok(());
        };
        let culprit = match error {
            OpenError::Block(BlockError::Transaction { index, .. }) => {
                usize::try_from(index).ok().and_then(|index| choice.transactions.get(index))
            }
            OpenError::Block(_) | OpenError::Body(_) => None,
        };
        let txid = culprit.map(|transaction| transaction.txid());
        let code = open_error_code(&error);
        self.notice(Notice::TemplateRefused { code, txid });
        match txid {
            Some(txid) => {
                self.templates.culprits = self.templates.culprits.saturating_add(1);
                self.mempool.remove(&txid);
            }
            None if choice.transactions.is_empty() => {
                for waiter in core::mem::take(&mut self.templates.waiters) {
                    self.refuse(waiter.call, CallError::NoTemplate { code });
                }
            }
            // No single transaction is to blame: an empty block then.
            None => self.templates.culprits = MAX_TEMPLATE_CULPRITS,
        }
        self.choose()
    }

    /// The tip moved: who waits gets a template on the new one.
    pub(crate) fn rebuild_template(&mut self) -> Result<(), StoreError> {
        self.templates.checked = None;
        self.templates.served = None;
        self.templates.culprits = 0;
        self.choose()
    }

    fn serve_template(&mut self, waiter: Waiter, choice: &Choice) {
        let header = self.template_header();
        // A median in the future: nobody whose clock is like this one would take the block.
        let latest = latest_time(&self.params, self.now.unix_seconds());
        let wait_seconds = u64::from(header.time).saturating_sub(latest);
        if wait_seconds > 0 {
            return self.refuse(waiter.call, CallError::TipAhead { wait_seconds });
        }
        let template = match &self.templates.served {
            Some((pay_to, extra, template))
                if *pay_to == waiter.pay_to
                    && *extra == waiter.extra
                    && template.mempool_sequence == choice.mempool_sequence
                    && template.block.header.time == header.time =>
            {
                template.clone()
            }
            _ => Arc::new(self.make_template(&waiter, choice)),
        };
        self.templates.served = Some((waiter.pay_to, waiter.extra, template.clone()));
        self.reply(waiter.call, AnswerBody::Template(template));
    }

    /// On the published tip, now; the root is still to come.
    fn template_header(&self) -> Header {
        let parent = self.view.tip();
        let time = self.now.unix_seconds().max(parent.min_time());
        let time = u32::try_from(time).unwrap_or(u32::MAX);
        Header {
            version: HEADER_VERSION,
            parent: parent.id,
            merkle_root: MerkleRoot::ZERO,
            time,
            bits: parent.required_bits(&self.params, time),
            nonce: 0,
        }
    }

    fn make_template(&self, waiter: &Waiter, choice: &Choice) -> Template {
        let (header, coinbase) = self.template_head(waiter, choice);
        let parent = self.view.tip();
        let transactions =
            choice.transactions.iter().map(|checked| checked.transaction().clone()).collect();
        Template {
            height: coinbase.height,
            min_time: u32::try_from(parent.min_time()).unwrap_or(u32::MAX),
            max_time: parent.max_time(&self.params, header.time).unwrap_or(u32::MAX),
            fees: choice.sum_of_fees(),
            subsidy: self.params.subsidy(coinbase.height),
            mempool_sequence: choice.mempool_sequence,
            transaction_fees: choice.fees.clone(),
            block: Block { header, coinbase, transactions },
        }
    }

    /// All of a template but its transactions.
    fn template_head(&self, waiter: &Waiter, choice: &Choice) -> (Header, Coinbase) {
        let height = self.view.tip().height.saturating_add(1);
        let subsidy = self.params.subsidy(height);
        let value = subsidy.checked_add(choice.sum_of_fees()).unwrap_or(subsidy);
        let coinbase = Coinbase {
            version: Coinbase::VERSION,
            height,
            utxo_commitment: self.view.utxo_commitment(),
            outputs: vec![Coined { value, lock: waiter.pay_to }],
            extra: waiter.extra.clone(),
        };
        let mut leaves = vec![coinbase.id().0];
        leaves.extend(choice.transactions.iter().map(|transaction| transaction.wtxid().0));
        let header = Header { merkle_root: merkle_root(&leaves), ..self.template_header() };
        (header, coinbase)
    }
}
