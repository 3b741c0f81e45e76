//! Keyed hashes (HMAC-SHA-256) of what has to be recognized without being kept. Without the key nobody can find the text of
//! one by trying addresses.

use hmac::{Hmac, KeyInit, Mac};
use invite_core::random;
use sha2::Sha256;

use crate::{Error, connection::Connection, statement::Statement};

/// What a keyed hash begins with, as in some columns there may be a plain text instead.
pub(crate) const MARK: &str = "hmac:";

/// The key of a database, of the block length of HMAC-SHA-256.
pub(crate) struct HashKey([u8; 64]);

impl HashKey {
    /// The key of this database, which is made if there is none yet.
    pub(crate) async fn of(connection: &mut Connection) -> Result<Self, Error> {
        if let Some(key) = find(connection).await? {
            return Ok(key);
        }
        Statement::new("INSERT INTO hash_keys (name, secret) VALUES ('gateway', ")
            .bind(base16ct::lower::encode_string(&random::bytes::<64>()))
            .text(") ON CONFLICT (name) DO NOTHING")
            .execute(connection)
            .await?;
        let missing = || Error::Unavailable("its key for hashes cannot be stored".into());
        find(connection).await?.ok_or_else(missing)
    }

    /// The hash of a text; equal texts of different kinds have different hashes.
    pub(crate) fn hash(&self, kind: &str, text: &str) -> String {
        let mut mac = Hmac::<Sha256>::new(&self.0.into());
        for part in [kind.as_bytes(), &[0], text.as_bytes()] {
            mac.update(part);
        }
        format!("{MARK}{}", base16ct::lower::encode_string(&mac.finalize().into_bytes()))
    }

    /// What stands for a provider's id of an invite.
    pub(crate) fn provider_ref_hash(&self, provider_ref: &str) -> String {
        self.hash("provider id", provider_ref)
    }

    /// What stands for the fingerprint of a call's bytes.
    pub(crate) fn fingerprint(&self, fingerprint: &str) -> String {
        self.hash("fingerprint", fingerprint)
    }
}

async fn find(connection: &mut Connection) -> Result<Option<HashKey>, Error> {
    let secret = Statement::new("SELECT secret FROM hash_keys")
        .first(connection, |row| row.string())
        .await?;
    let Some(secret) = secret else { return Ok(None) };
    let mut key = [0; 64];
    match base16ct::lower::decode(&secret, &mut key).map(<[u8]>::len) {
        Ok(64) => Ok(Some(HashKey(key))),
        _ => Err(Error::Corrupt { what: "secret".to_owned() }),
    }
}
