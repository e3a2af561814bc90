//! Who calls: what they may do, how often, and how much at once.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::token::Token;
use crate::{
    error::RpcError,
    scope::{Scope, is_long, scope_of},
};

/// Seconds of a token's calls that it may save up.
const BURST_SECONDS: u32 = 10;
/// What a call that works, rather than looks up, costs of a token's calls.
const LONG_CALL_COST: u32 = 10;

/// One who may come in. Every request of theirs carries it.
#[derive(Clone, Debug)]
pub(super) struct Caller(Arc<State>);

#[derive(Debug)]
struct State {
    name: String,
    scopes: Vec<Scope>,
    budget: Option<Mutex<Budget>>,
    places: Arc<Semaphore>,
    max_at_once: usize,
}

impl Caller {
    /// The node's own operator: by cookie, by the configured password, or where no password is
    /// asked for. Whoever can stop the node is kept from nothing else.
    pub(super) fn operator(max_at_once: usize) -> Self {
        Self::new("operator", vec![Scope::Admin], None, max_at_once)
    }

    pub(super) fn holder(token: &Token, max_at_once: usize, now: Instant) -> Self {
        let budget = token.calls_per_second.map(|rate| Mutex::new(Budget::new(rate, now)));
        Self::new(&token.name, token.scopes.clone(), budget, max_at_once)
    }

    fn new(
        name: &str,
        scopes: Vec<Scope>,
        budget: Option<Mutex<Budget>>,
        max_at_once: usize,
    ) -> Self {
        let places = Arc::new(Semaphore::new(max_at_once));
        Self(Arc::new(State { name: name.to_owned(), scopes, budget, places, max_at_once }))
    }

    /// For the log.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// A place for one request or WebSocket, given back when it is dropped.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, RpcError> {
        Arc::clone(&self.0.places)
            .try_acquire_owned()
            .map_err(|_| RpcError::TooManyAtOnce { max: self.0.max_at_once })
    }

    /// Whether this call may be made now; if so, it is counted.
    pub(super) fn admit(&self, method: &str, now: Instant) -> Result<(), RpcError> {
        let needed = scope_of(method).ok_or(RpcError::UnknownMethod)?;
        if !self.0.scopes.iter().any(|scope| scope.allows(needed)) {
            return Err(RpcError::Forbidden { scope: needed });
        }
        let Some(budget) = &self.0.budget else { return Ok(()) };
        let cost = if is_long(method) { LONG_CALL_COST } else { 1 };
        let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.take(cost, now).map_err(|wait| RpcError::RateLimited {
            retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1),
        })
    }
}

/// A bucket of calls that fills with time: the virtual clock of GCRA. `full_at` is when it would
/// be full again; it may lie so far ahead as the bucket is deep.
#[derive(Debug)]
struct Budget {
    per_call: Duration,
    depth: Duration,
    full_at: Instant,
}

impl Budget {
    fn new(calls_per_second: u32, now: Instant) -> Self {
        let per_call = Duration::from_secs(1) / calls_per_second.max(1);
        // Even the dearest call fits into a full bucket.
        let calls = calls_per_second.saturating_mul(BURST_SECONDS).max(LONG_CALL_COST);
        Self { per_call, depth: per_call.saturating_mul(calls), full_at: now }
    }

    /// Takes calls out, or says after what time it could. One that is refused costs nothing.
    fn take(&mut self, calls: u32, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + self.per_call.saturating_mul(calls);
        let ahead = full_at.duration_since(now);
        match ahead.checked_sub(self.depth) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = full_at;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::token::new_token;

    fn holder(scopes: &[Scope], calls_per_second: Option<u32>, now: Instant) -> Caller {
        let hash = new_token().unwrap().1;
        let name = "test".to_owned();
        let token = Token { name, hash, scopes: scopes.to_vec(), calls_per_second };
        Caller::holder(&token, 2, now)
    }

    #[test]
    fn a_bucket_gives_its_depth_at_once_then_its_rate_and_says_how_long_to_wait() {
        let now = Instant::now();
        let caller = holder(&[Scope::Read], Some(5), now);
        let admit = |at_ms| caller.admit("getblockcount", now + Duration::from_millis(at_ms));
        for call in 0..50 {
            assert_eq!(admit(0), Ok(()), "{call}");
        }
        let Err(RpcError::RateLimited { retry_after_ms }) = admit(0) else { panic!("a 51st") };
        assert_eq!(retry_after_ms, 201);
        assert!(admit(retry_after_ms - 2).is_err());
        assert_eq!(admit(retry_after_ms), Ok(()));
        assert!(admit(retry_after_ms).is_err());
        // Time that nobody uses is saved up to the depth, and no further.
        assert_eq!((0..100).filter(|_| admit(1_000_000).is_ok()).count(), 50);
    }

    #[test]
    fn a_long_call_costs_ten_and_a_refused_one_nothing() {
        let now = Instant::now();
        let caller = holder(&[Scope::Admin], Some(1), now);
        assert_eq!(caller.admit("backup", now), Ok(()));
        assert!(caller.admit("backup", now).is_err());
        assert!(caller.admit("backup", now + Duration::from_millis(9_990)).is_err());
        assert_eq!(caller.admit("backup", now + Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn a_scope_opens_its_own_methods_and_places_are_given_back() {
        let now = Instant::now();
        let caller = holder(&[Scope::Read, Scope::Mine], None, now);
        assert_eq!(caller.admit("getblockcount", now), Ok(()));
        assert_eq!(caller.admit("submitblock", now), Ok(()));
        let refused = Err(RpcError::Forbidden { scope: Scope::Admin });
        assert_eq!(caller.admit("stop", now), refused);
        let first = caller.place().unwrap();
        let _second = caller.place().unwrap();
        assert_eq!(caller.place().err(), Some(RpcError::TooManyAtOnce { max: 2 }));
        drop(first);
        assert!(caller.place().is_ok());
        assert_eq!(Caller::operator(1).admit("stop", now), Ok(()));
    }
}
