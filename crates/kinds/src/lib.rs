//! The registry of provider kinds: the only list of them, by which the program, the suites and the rules of the house
//! go.

use std::sync::Arc;

use invite_core::ProviderKind;

/// Every kind of provider there is. Adding one is a line here.
pub fn all() -> Vec<Arc<ProviderKind>> {
    let kinds = [invite_securegate::kind(), invite_rkvst::kind(), invite_turnkey::kind()];
    kinds.map(Arc::new).into()
}
