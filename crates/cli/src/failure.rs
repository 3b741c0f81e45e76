//! How a command ends that does not succeed: with one message and an exit status.

use std::{fmt, process::ExitCode};

#[derive(Debug)]
pub struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// The command was tried and failed: exit status 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    /// The usage or the configuration is wrong: exit status 2.
    pub fn wrong(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 2 }
    }

    pub fn map_message(self, map: impl FnOnce(String) -> String) -> Self {
        Self { message: map(self.message), ..self }
    }

    pub fn store(error: invite_store::Error) -> Self {
        Self::failed(format!("cannot read or write the database: {error}"))
    }

    pub fn status(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl From<invite_client::Error> for Failure {
    fn from(error: invite_client::Error) -> Self {
        match error {
            invite_client::Error::Unusable(_) => Self::wrong(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
