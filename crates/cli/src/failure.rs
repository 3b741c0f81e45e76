//! How a command ends when it does not succeed: one clear message and an exit status.

use std::{fmt, process::ExitCode};

/// Why a command did not succeed.
#[derive(Debug)]
pub struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// It was tried and failed: exit status 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    /// Wrong usage or wrong configuration: exit status 2.
    pub fn wrong(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 2 }
    }

    /// The same in other words.
    pub fn told(self, tell: impl FnOnce(String) -> String) -> Self {
        Self { message: tell(self.message), ..self }
    }

    /// The database said no, or nothing.
    pub fn store(error: invite_store::Error) -> Self {
        Self::failed(format!("cannot read or write the database: {error}"))
    }

    /// The exit status.
    pub fn status(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
