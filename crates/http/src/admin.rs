//! What administrators do: the provider document and its revisions, credential checks, API keys,
//! queueing failed invites again, what is held of a person and erasing it, and the record of all that.

pub(crate) mod audit;
mod config;
pub(crate) mod erase;
pub(crate) mod keys;
pub(crate) mod people;
mod probe;
mod redrive;
mod revisions;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::Gateway;

pub(crate) fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(config::get_configuration, config::replace_configuration))
        .routes(routes!(config::check_configuration))
        .routes(routes!(revisions::list_revisions))
        .routes(routes!(revisions::get_revision))
        .routes(routes!(revisions::restore_revision))
        .routes(routes!(probe::probe_provider))
        .routes(routes!(keys::list_keys, keys::create_key))
        .routes(routes!(keys::change_key, keys::revoke_key))
        .routes(routes!(redrive::redrive_invites))
        .routes(routes!(people::get_person, people::find_person))
        .routes(routes!(erase::erase_person))
        .routes(routes!(audit::list_audit))
}
