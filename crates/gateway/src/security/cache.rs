//! Tokens that were checked a moment ago: checking a signature costs more than the rest of a call.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use super::principal::Principal;

/// Most tokens that one data-plane thread remembers; when there are more, it starts anew.
const TOKENS_MAX: usize = 4_096;

/// The tokens that one data-plane thread has checked.
#[derive(Debug, Default)]
pub(crate) struct TokenCache(RefCell<HashMap<Box<str>, Entry>>);

#[derive(Debug)]
struct Entry {
    principal: Arc<Principal>,
    until: Duration,
    version: u64,
}

impl TokenCache {
    /// The bearer of a token that was found to hold under keys of this version, if it holds still.
    pub(crate) fn get(&self, token: &str, version: u64, now: Duration) -> Option<Arc<Principal>> {
        let entries = self.0.borrow();
        let entry = entries.get(token).filter(|entry| entry.version == version && entry.until > now)?;
        Some(Arc::clone(&entry.principal))
    }

    /// Remembers a token that holds until then.
    pub(crate) fn put(&self, token: &str, principal: Arc<Principal>, until: Duration, version: u64) {
        let mut entries = self.0.borrow_mut();
        if entries.len() >= TOKENS_MAX && !entries.contains_key(token) {
            entries.clear();
        }
        entries.insert(token.into(), Entry { principal, until, version });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_until_it_ends_or_the_keys_change() {
        let cache = TokenCache::default();
        let at = Duration::from_secs;
        cache.put("t", Arc::new(Principal::anonymous()), at(10), 1);
        assert!(cache.get("t", 1, at(9)).is_some());
        assert!(cache.get("t", 1, at(10)).is_none());
        assert!(cache.get("t", 2, at(9)).is_none() && cache.get("u", 1, at(9)).is_none());
        for index in 0..2 * TOKENS_MAX {
            cache.put(&index.to_string(), Arc::new(Principal::anonymous()), at(10), 1);
        }
        assert!(cache.0.borrow().len() <= TOKENS_MAX);
    }
}
