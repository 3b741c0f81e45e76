//! Turnkey's signature of requests: the private key as administrators have it, the `X-Stamp` header, and the name that
//! Turnkey gives to a body.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer},
    elliptic_curve::zeroize::Zeroizing,
};
use sha2::{Digest, Sha256};

/// Signs bodies with a P-256 key (<https://docs.turnkey.com/api-reference/overview/stamps>).
pub struct Stamper {
    key: SigningKey,
    public_key: String,
}

impl Stamper {
    /// Reads a private key: 64 hexadecimal digits, perhaps followed by `:p256` as the Turnkey CLI writes it.
    ///
    /// # Errors
    /// What is wrong with the text, without any of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (digits, curve) = text.split_once(':').unwrap_or((text, "p256"));
        if curve != "p256" {
            return Err("the key names a curve other than p256, and only p256 keys are supported");
        }
        if digits.len() != 64 {
            return Err(
                "a P-256 private key is 64 hexadecimal digits long; this is another length",
            );
        }
        let mut scalar = Zeroizing::new([0; 32]);
        base16ct::mixed::decode(digits, &mut scalar[..])
            .map_err(|_| "the key holds characters that are not hexadecimal digits")?;
        let key = SigningKey::from_slice(&scalar[..])
            .map_err(|_| "the key is zero or too large to be a P-256 private key")?;
        let public_key =
            base16ct::lower::encode_string(key.verifying_key().to_sec1_point(true).as_bytes());
        Ok(Self { key, public_key })
    }

    /// The value of `X-Stamp` for exactly this body, which is the same each time (RFC 6979).
    pub fn stamp(&self, body: &[u8]) -> String {
        let signature: DerSignature = self.key.sign(body);
        let stamp = format!(
            r#"{{"publicKey":"{}","signature":"{}","scheme":"SIGNATURE_SCHEME_TK_API_P256"}}"#,
            self.public_key,
            base16ct::lower::encode_string(signature.as_bytes()),
        );
        BASE64_URL_SAFE_NO_PAD.encode(stamp)
    }
}

/// The name by which Turnkey knows the activity that was submitted with exactly this body.
pub fn fingerprint(body: &[u8]) -> String {
    format!("sha256:{}", base16ct::lower::encode_string(&Sha256::digest(body)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use turnkey_api_key_stamper::{Stamp, TurnkeyP256ApiKey};

    use super::*;
    use crate::canned::{KEY, verifies};

    /// Vector 4: made with the official stamper.
    const BODY: &str = r#"{"type":"ACTIVITY_TYPE_CREATE_INVITATIONS","timestampMs":"1746736509954","organizationId":"89881fc7-6ff3-4b43-b962-916698f8ff58","parameters":{"invitations":[{"receiverUserName":"Ada Lovelace","receiverUserEmail":"ada@example.org","receiverUserTags":[],"accessType":"ACCESS_TYPE_WEB","senderUserId":"c7517305-6772-4e74-8101-108fbab0c11e"}]}}"#;
    const STAMP: &str = "eyJwdWJsaWNLZXkiOiIwMmI4ODc3YWVjNzg2ZGJiMTgyZmRiNjUxM2Y5YTk5ODgwNmJmMGQyMWM0OGFkYjM1ZWRiNTdlZGQ1ZjJmZjU3MjUiLCJzaWduYXR1cmUiOiIzMDQ1MDIyMTAwOWJiNWUwYWViNjBiZGNhNjAyMzVlNzA3Y2JiMTI1NDhmZWY5OWI1ZjQ1N2RiZjdhNjQ1NmI2ZDBmZDg3MDNkZDAyMjAzZjUxMTM3OWJiZTE2NDZhYzYyYzM4ZGUxNTg3NTQxZmE2ZDg1ODcwNmQ4MGYwN2IzMmI1ZDM1YTM2YmI4NWViIiwic2NoZW1lIjoiU0lHTkFUVVJFX1NDSEVNRV9US19BUElfUDI1NiJ9";

    #[test]
    fn the_stamp_of_vector_4_is_byte_for_byte_the_official_one() {
        assert_eq!(BODY.len(), 341);
        assert_eq!(Stamper::parse(KEY).unwrap().stamp(BODY.as_bytes()), STAMP);
        assert_eq!(
            fingerprint(BODY.as_bytes()),
            "sha256:198af166f6390e43aca47562ad07db269cf3f0f95b494636f9cfc9530618b28f"
        );
    }

    #[test]
    fn stamps_equal_those_of_the_official_crate_for_any_body() {
        let ours = Stamper::parse(KEY).unwrap();
        let theirs = TurnkeyP256ApiKey::from_strings(KEY, None).unwrap();
        for body in (0..200).map(|n| format!(r#"{{"n":{n},"text":"Zoë"}}"#)) {
            assert_eq!(ours.stamp(body.as_bytes()), theirs.stamp(body.as_bytes()).unwrap().value);
        }
    }

    #[test]
    fn vector_1_verifies_over_the_exact_body_only() {
        let header = "eyJwdWJsaWNLZXkiOiIwMzI3YTUwMDMyZTZmMDYzMWQ1NjA1YjZhZGEzMmI3NzkwNzRmMzQ2ZTgxYjY4ZTEyODAxNjQwZjFjOWVlMDNkYWUiLCJzaWduYXR1cmUiOiIzMDQ0MDIyMDM2MjNkZWZkNjE4ZWIzZTIxOTk3MDQ5NjQwN2ViZTkyNDQ3MzE3ZGFkNzVlNDEyYmQ0YTYyNjdjM2I1ZTIyMjMwMjIwMjQ1Yjc0MDg0OGE3MmQwOGI2MGQ2Yzg0ZjMzOTczN2I2M2RiM2JjYmFkYjNiZDBkY2IxYmZiODY1NzE1ZDhiNSIsInNjaGVtZSI6IlNJR05BVFVSRV9TQ0hFTUVfVEtfQVBJX1AyNTYifQ";
        let stamp: Value =
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        let verifies_over = |body: &str| {
            let part = |name: &str| stamp[name].as_str().unwrap();
            verifies(part("publicKey"), part("signature"), body.as_bytes())
        };
        assert!(verifies_over(r#"{"payload": "hello from TKHQ"}"#));
        assert!(!verifies_over(r#"{"payload":"hello from TKHQ"}"#));
    }

    #[test]
    fn vector_2_accepted_by_production_has_our_fingerprint() {
        let body = r#"{"type":"ACTIVITY_TYPE_DELETE_SUB_ORGANIZATION","timestampMs":"1754952030221","organizationId":"35e5c619-ba95-417c-bb48-b16f1543aea0","parameters":{"deleteWithoutExport":true}}"#;
        assert!(verifies(
            "020404a8505f87edc73f7a8f7a6dca61eb1b0b3617720c7161fab7970ce31c4e12",
            "3046022100d8188e89ef1330881fc2d951f2284467a462840acafc80115ae871847f6a1f93022100a07fcacd0614e2ea729fc7f5e7378a108a8267a18fa1551845487acabcd97403",
            body.as_bytes()
        ));
        assert_eq!(
            fingerprint(body.as_bytes()),
            "sha256:143e777f907453d71c5a3213059d641f54b28737276c4bc6b405ef06831876cb"
        );
    }

    #[test]
    fn official_private_keys_give_their_public_keys() {
        for (private, public) in [
            (
                "9720de87f61537e481f95f4433bed97b9d60719457c4dd20dac4bbf377f59c69",
                "02a1d9ee281053cf73c07678d6c1231216e8434f87662b75f08c66882c2f95ee45",
            ),
            (
                "487f361ddfd73440e707f4daa6775b376859e8a3c9f29b3bb694a12927c0213c",
                "02f739f8c77b32f4d5f13265861febd76e7a9c61a1140d296b8c16302508870316",
            ),
        ] {
            assert_eq!(Stamper::parse(private).unwrap().public_key, public);
        }
    }

    #[test]
    fn a_key_is_taken_as_the_command_line_client_writes_it() {
        let plain = Stamper::parse(KEY).unwrap().public_key;
        for text in [format!("{KEY}:p256"), format!(" {KEY}\n"), KEY.to_uppercase()] {
            assert_eq!(Stamper::parse(&text).unwrap().public_key, plain);
        }
    }

    #[test]
    fn an_unusable_key_is_an_error_that_shows_nothing_of_it() {
        let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
        for (text, why) in [
            (format!("{KEY}:secp256k1"), "curve"),
            (format!("{KEY}:"), "curve"),
            ("2555c3".repeat(21), "64 hexadecimal digits"),
            (KEY[..62].to_owned(), "64 hexadecimal digits"),
            (String::new(), "64 hexadecimal digits"),
            ("é".repeat(32), "not hexadecimal"),
            ("x".repeat(64), "not hexadecimal"),
            ("0".repeat(64), "zero or too large"),
            (order.to_owned(), "zero or too large"),
            ("f".repeat(64), "zero or too large"),
        ] {
            let error = Stamper::parse(&text).err().unwrap();
            assert!(error.contains(why), "{error}");
            assert!(text.is_empty() || !error.contains(&text));
        }
    }
}
