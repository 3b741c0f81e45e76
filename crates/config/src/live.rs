//! The configuration in force.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::Configuration;

/// The configuration in force, which clones share. Whoever has taken [`current`](Self::current) keeps that one to the end of
/// what it is doing.
#[derive(Clone, Debug)]
pub struct Live(Arc<ArcSwap<Configuration>>);

impl Live {
    /// Puts a first configuration in force.
    pub fn new(configuration: Configuration) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(configuration)))
    }

    /// The one in force now.
    pub fn current(&self) -> Arc<Configuration> {
        self.0.load_full()
    }

    /// Puts another one in force, as a whole and at once.
    pub fn swap(&self, configuration: Configuration) {
        self.0.store(Arc::new(configuration));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;

    #[test]
    fn a_swap_is_seen_by_all_and_leaves_alone_what_was_taken_before() {
        let configuration =
            |revision| made_up::gate(&[]).check("").configuration.unwrap().with_revision(revision);
        let live = Live::new(configuration(1));
        let (other, before) = (live.clone(), live.current());
        live.swap(configuration(2));
        assert_eq!((before.revision(), other.current().revision()), (1, 2));
    }
}
