//! A bounded amount of something, in all and for each who takes of it: memory for bodies, waiting
//! requests, requests under way.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(crate) struct Pool<Who> {
    capacity: usize,
    capacity_of_one: usize,
    taken: Mutex<Taken<Who>>,
}

struct Taken<Who> {
    in_all: usize,
    /// Whoever has taken nothing is not in it.
    of_each: HashMap<Who, usize>,
}

/// An amount that is taken until this is dropped.
pub(crate) struct Permit<Who: Copy + Eq + Hash> {
    pool: Arc<Pool<Who>>,
    who: Who,
    amount: usize,
}

/// Which capacity is exhausted: that of the one who asks, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    Own,
    All,
}

impl<Who: Copy + Eq + Hash> Pool<Who> {
    pub fn new(capacity: usize, capacity_of_one: usize) -> Arc<Self> {
        let taken = Mutex::new(Taken { in_all: 0, of_each: HashMap::new() });
        Arc::new(Self { capacity, capacity_of_one, taken })
    }

    pub fn acquire(self: &Arc<Self>, who: Who, amount: usize) -> Result<Permit<Who>, Exhausted> {
        let mut permit = Permit { pool: self.clone(), who, amount: 0 };
        permit.grow(amount).map(|()| permit)
    }

    fn lock(&self) -> MutexGuard<'_, Taken<Who>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Who: Copy + Eq + Hash> Permit<Who> {
    /// Takes what is missing to an amount. If there is not so much left, nothing is taken.
    pub fn grow(&mut self, amount: usize) -> Result<(), Exhausted> {
        let more = amount.saturating_sub(self.amount);
        if more == 0 {
            return Ok(());
        }
        let mut taken = self.pool.lock();
        let own = taken.of_each.get(&self.who).copied().unwrap_or_default();
        if own.saturating_add(more) > self.pool.capacity_of_one {
            return Err(Exhausted::Own);
        }
        if taken.in_all.saturating_add(more) > self.pool.capacity {
            return Err(Exhausted::All);
        }
        taken.in_all += more;
        taken.of_each.insert(self.who, own + more);
        drop(taken);
        self.amount = amount;
        Ok(())
    }
}

impl<Who: Copy + Eq + Hash> Drop for Permit<Who> {
    fn drop(&mut self) {
        let mut taken = self.pool.lock();
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
        let pool = Pool::new(10, 4);
        let mut first = pool.acquire("a", 3).unwrap();
        assert_eq!(first.grow(5), Err(Exhausted::Own));
        assert_eq!(first.grow(4), Ok(()));
        assert_eq!(pool.acquire("a", 1).err(), Some(Exhausted::Own));
        let others = ["b", "c"].map(|who| pool.acquire(who, 3).unwrap());
        assert_eq!(pool.acquire("d", 1).err(), Some(Exhausted::All));
        drop(others);
        assert!(pool.acquire("d", 4).is_ok());
        drop(first);
        assert!(pool.acquire("a", 4).is_ok());
        assert!(pool.lock().of_each.is_empty());
        assert_eq!(pool.lock().in_all, 0);
    }
}
