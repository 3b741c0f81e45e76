//! Verifies stamps, which say who signed exactly these bytes. What a key may do is in `keys`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{DerSignature, VerifyingKey};
use serde::Deserialize;

use super::rpc::Problem;

/// The one scheme that is simulated.
const P256: &str = "SIGNATURE_SCHEME_TK_API_P256";

/// A stamp, whose members may come in any order and beside others.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stamp {
    /// A compressed point, in hexadecimal.
    pub public_key: String,
    /// DER, in hexadecimal.
    pub signature: String,
    pub scheme: String,
}

/// Reads the header and verifies its signature over the body, byte for byte.
pub(super) fn verified(header: Option<&str>, body: &[u8]) -> Result<Stamp, Problem> {
    let unauthorized = StatusCode::UNAUTHORIZED;
    let malformed = |what: &str| {
        Problem::new(unauthorized, "", format!("could not parse X-Stamp header: {what}"))
    };
    let header = header.ok_or_else(|| {
        Problem::new(unauthorized, "SIGNATURE_MISSING", "no X-Stamp header was provided")
    })?;
    let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed("not base64url"))?;
    let stamp: Stamp = serde_json::from_slice(&json).map_err(|_| malformed("not a stamp"))?;
    if stamp.scheme != P256 {
        return Err(malformed("unknown signature scheme"));
    }
    let from_hex = |text: &str| base16ct::mixed::decode_vec(text).ok();
    let key = from_hex(&stamp.public_key)
        .filter(|bytes| bytes.len() == 33)
        .and_then(|bytes| VerifyingKey::from_sec1_bytes(&bytes).ok())
        .ok_or_else(|| malformed("publicKey is not a compressed P-256 point"))?;
    let signature = from_hex(&stamp.signature)
        .and_then(|bytes| DerSignature::try_from(bytes.as_slice()).ok())
        .ok_or_else(|| malformed("signature is not DER"))?;
    // Both the low and the high s are accepted, as the provider was seen to do.
    key.verify(body, &signature).map_err(|_| {
        Problem::new(unauthorized, "SIGNATURE_INVALID", "could not verify api key signature")
    })?;
    Ok(stamp)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DOCS_HEADER: &str = "eyJwdWJsaWNLZXkiOiIwMzI3YTUwMDMyZTZmMDYzMWQ1NjA1YjZhZGEzMmI3NzkwNzRmMzQ2ZTgxYjY4ZTEyODAxNjQwZjFjOWVlMDNkYWUiLCJzaWduYXR1cmUiOiIzMDQ0MDIyMDM2MjNkZWZkNjE4ZWIzZTIxOTk3MDQ5NjQwN2ViZTkyNDQ3MzE3ZGFkNzVlNDEyYmQ0YTYyNjdjM2I1ZTIyMjMwMjIwMjQ1Yjc0MDg0OGE3MmQwOGI2MGQ2Yzg0ZjMzOTczN2I2M2RiM2JjYmFkYjNiZDBkY2IxYmZiODY1NzE1ZDhiNSIsInNjaGVtZSI6IlNJR05BVFVSRV9TQ0hFTUVfVEtfQVBJX1AyNTYifQ";

    fn refused(header: Option<&str>, body: &[u8]) -> String {
        let reply = verified(header, body).unwrap_err().reply();
        assert_eq!(reply.status(), 401);
        let body: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
        assert_eq!(body["code"], 16);
        body["turnkeyErrorCode"].as_str().unwrap().to_owned()
    }

    fn header(public_key: &str, signature: &str) -> String {
        let stamp = json!({ "scheme": P256, "signature": signature, "publicKey": public_key });
        // Python's way: another order, and white space.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec_pretty(&stamp).unwrap())
    }

    #[test]
    fn the_documents_own_stamp_verifies_over_its_body_only() {
        let stamp = verified(Some(DOCS_HEADER), b"{\"payload\": \"hello from TKHQ\"}").unwrap();
        assert!(stamp.public_key.starts_with("0327a50032e6"));
        let without_space = refused(Some(DOCS_HEADER), b"{\"payload\":\"hello from TKHQ\"}");
        assert_eq!(without_space, "SIGNATURE_INVALID");
    }

    #[test]
    fn a_recorded_signature_with_a_high_s_verifies() {
        let body = r#"{"type":"ACTIVITY_TYPE_DELETE_SUB_ORGANIZATION","timestampMs":"1754952030221","organizationId":"35e5c619-ba95-417c-bb48-b16f1543aea0","parameters":{"deleteWithoutExport":true}}"#;
        let key = "020404a8505f87edc73f7a8f7a6dca61eb1b0b3617720c7161fab7970ce31c4e12";
        let signature = "3046022100d8188e89ef1330881fc2d951f2284467a462840acafc80115ae871847f6a1f93022100a07fcacd0614e2ea729fc7f5e7378a108a8267a18fa1551845487acabcd97403";
        verified(Some(&header(key, signature)), body.as_bytes()).unwrap();
        let tampered = body.replace("true", "True");
        let refused = refused(Some(&header(key, signature)), tampered.as_bytes());
        assert_eq!(refused, "SIGNATURE_INVALID");
    }

    #[test]
    fn a_missing_or_malformed_stamp_is_told_apart_from_a_wrong_one() {
        assert_eq!(refused(None, b"{}"), "SIGNATURE_MISSING");
        let padded = format!("{DOCS_HEADER}==");
        let not_der = header(&"02".repeat(33), "00");
        let uncompressed = header(&format!("04{}", "11".repeat(64)), "3006020101020101");
        for malformed in ["%", "e30", padded.as_str(), &not_der, &uncompressed] {
            assert_eq!(refused(Some(malformed), b"{}"), "", "{malformed}");
        }
    }
}
