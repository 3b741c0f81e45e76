//! The client of a running gateway, for the commands that call one.

use std::time::Duration;

use invite_client::Client;
use secrecy::zeroize::Zeroizing;

use crate::{failure::Failure, settings::Settings};

/// The environment variable that holds the API key, unless a command names another one.
pub const KEY_VARIABLE: &str = "INVITE_GATEWAY_KEY";

/// For how long a command that has begun waits for a gateway that starts again, or asks to be left alone.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A client of the gateway at `url`, or else of the one that these settings are for. The key is in the environment. Who
/// waits for a command is told at once what went wrong.
pub fn of(settings: &Settings, url: Option<&str>, key_variable: &str) -> Result<Client, Failure> {
    let scheme = if settings.server.tls().is_some() { "https" } else { "http" };
    let own = format!("{scheme}://{}", settings.server.listen);
    let key = invite_config::process_environment()(key_variable).map(Zeroizing::new);
    let key = key.map_err(|_| {
        Failure::wrong(format!(
            "the environment variable {key_variable} holds no API key; --key-env names another"
        ))
    })?;
    Ok(Client::new(url.unwrap_or(&own), key.trim())?.with_patience(Duration::ZERO))
}
