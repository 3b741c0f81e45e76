//! What there is only so much of, for everybody together and for each alone: memory for bodies, places
//! to wait, requests that are under way.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// So much in all, and at most so much for one.
pub(crate) struct Shares<Who> {
    most: usize,
    most_of_one: usize,
    taken: Mutex<Taken<Who>>,
}

struct Taken<Who> {
    in_all: usize,
    /// Of those who have something.
    of_each: HashMap<Who, usize>,
}

/// What one has taken, until it is dropped.
pub(crate) struct Share<Who: Copy + Eq + Hash> {
    shares: Arc<Shares<Who>>,
    who: Who,
    amount: usize,
}

/// Why there is no more to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// One has as much as one may have.
    One,
    /// All of it is taken.
    All,
}

impl<Who: Copy + Eq + Hash> Shares<Who> {
    /// Nothing is taken yet.
    pub fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        let taken = Mutex::new(Taken { in_all: 0, of_each: HashMap::new() });
        Arc::new(Self { most, most_of_one, taken })
    }

    /// Takes so much for this one.
    pub fn take(self: &Arc<Self>, who: Who, amount: usize) -> Result<Share<Who>, Full> {
        let mut share = Share { shares: self.clone(), who, amount: 0 };
        share.grow(amount).map(|()| share)
    }

    fn lock(&self) -> MutexGuard<'_, Taken<Who>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Who: Copy + Eq + Hash> Share<Who> {
    /// Takes what is missing to an amount. If there is not so much, the share stays as it is.
    pub fn grow(&mut self, amount: usize) -> Result<(), Full> {
        let more = amount.saturating_sub(self.amount);
        if more == 0 {
            return Ok(());
        }
        let mut taken = self.shares.lock();
        let own = taken.of_each.get(&self.who).copied().unwrap_or_default();
        if own.saturating_add(more) > self.shares.most_of_one {
            return Err(Full::One);
        }
        if taken.in_all.saturating_add(more) > self.shares.most {
            return Err(Full::All);
        }
        taken.in_all += more;
        taken.of_each.insert(self.who, own + more);
        drop(taken);
        self.amount = amount;
        Ok(())
    }
}

impl<Who: Copy + Eq + Hash> Drop for Share<Who> {
    fn drop(&mut self) {
        let mut taken = self.shares.lock();
        taken.in_all -= self.amount;
        if let Some(own) = taken.of_each.get_mut(&self.who) {
            *own -= self.amount;
            if *own == 0 {
                taken.of_each.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gets_no_more_than_one_may_have_and_all_no_more_than_there_is() {
        let shares = Shares::new(10, 4);
        let mut first = shares.take("a", 3).unwrap();
        assert_eq!(first.grow(5), Err(Full::One));
        assert_eq!(first.grow(4), Ok(()));
        assert_eq!(shares.take("a", 1).err(), Some(Full::One));
        let others = ["b", "c"].map(|who| shares.take(who, 3).unwrap());
        assert_eq!(shares.take("d", 1).err(), Some(Full::All));
        drop(others);
        assert!(shares.take("d", 4).is_ok());
        drop(first);
        assert!(shares.take("a", 4).is_ok());
        assert!(shares.lock().of_each.is_empty());
        assert_eq!(shares.lock().in_all, 0);
    }
}
