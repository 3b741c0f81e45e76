//! What the gate finds in a document, and at which place.

use std::fmt;

use invite_core::{
    Fault,
    text::{cut, legible},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest pointer, and the longest detail or suggestion, in bytes: they may quote names from the document.
const MAX_POINTER: usize = 300;
const MAX_DETAIL: usize = 1000;

/// Whether a finding keeps a document from going live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but is hardly meant.
    Warning,
}

/// One thing that is wrong or doubtful in a document. Never quotes a secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Finding {
    /// Whether the document is refused for it.
    pub severity: Severity,
    /// The line, from 1.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
    /// A JSON pointer (RFC 6901) into the document; a missing member's ends in its name. Empty for
    /// what concerns the whole, such as syntax.
    pub pointer: String,
    /// A stable word: `syntax`, `unknown-member`, `unknown-provider`, …
    pub code: String,
    /// One sentence: what is wrong and what to do.
    pub detail: String,
    /// What was probably meant, where that can be guessed.
    pub suggestion: Option<String>,
    /// See [`Fault::for_operator`].
    #[serde(skip)]
    pub for_operator: Option<String>,
}

impl Finding {
    /// A fault of a document as a whole, or of one whose text is not at hand.
    pub fn unplaced(severity: Severity, fault: Fault) -> Self {
        Self {
            severity,
            line: 1,
            column: 1,
            pointer: cut(legible(fault.pointer), MAX_POINTER),
            code: fault.code,
            detail: cut(legible(fault.detail), MAX_DETAIL),
            suggestion: fault.suggestion.map(|word| cut(legible(word), MAX_DETAIL)),
            for_operator: fault.for_operator.map(legible),
        }
    }

    /// The finding for whoever runs the gateway: for its log and the command line.
    pub fn for_operator(&self) -> Self {
        let detail = self.for_operator.clone().unwrap_or_else(|| self.detail.clone());
        Self { detail, for_operator: None, ..self.clone() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "line {}, column {}: {severity}", self.line, self.column)?;
        if !self.pointer.is_empty() {
            write!(f, " at {}", self.pointer)?;
        }
        write!(f, ": {}", self.detail)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " (did you mean `{suggestion}`?)"),
            None => Ok(()),
        }
    }
}
