//! The registry of provider kinds: the only list of them. The program, the suites and the rules of the
//! house go by it.

use std::sync::Arc;

use invite_core::ProviderKind;

/// Every kind of provider there is. Adding one is a line here.
pub fn all() -> Vec<Arc<dyn ProviderKind>> {
    vec![
        Arc::new(invite_securegate::SecuregateKind),
        Arc::new(invite_rkvst::RkvstKind),
        Arc::new(invite_turnkey::TurnkeyKind),
    ]
}
