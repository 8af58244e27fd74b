//! Signatures of messages as Standard Webhooks writes them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

#[cfg(feature = "platform")]
use crate::error::Error;

/// Most signatures of a message: one for each key while keys change.
#[cfg(feature = "platform")]
const MAX_SIGNATURES: usize = 8;

/// The key in `whsec_` and base64, of which earlier releases wrote the other alphabet; the failure completes a sentence about
/// what the key belongs to.
pub(crate) fn key_of(secret: &str) -> Result<hmac::Key, &'static str> {
    bytes_of(secret).map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key))
}

/// The bytes of the key.
pub(crate) fn bytes_of(secret: &str) -> Result<Vec<u8>, &'static str> {
    let decode = |text: &str| STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).ok();
    let key = secret.strip_prefix("whsec_").and_then(decode).filter(|key| !key.is_empty());
    key.ok_or("has a key that is not `whsec_` and base64")
}

/// A new key of signatures.
#[cfg(feature = "platform")]
pub(crate) fn new_secret() -> Result<String, Error> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(Error::internal)?;
    Ok(format!("whsec_{}", STANDARD.encode(key)))
}

/// The value of `webhook-signature` over id, time in seconds and body.
pub(crate) fn signature(key: &hmac::Key, id: &str, timestamp: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag.as_ref()))
}

/// Whether one of the signatures in a header is good over id, time and body; the time that it takes does not tell where one
/// differs.
#[cfg(feature = "platform")]
pub(crate) fn is_signed(key: &hmac::Key, id: &str, timestamp: i64, body: &[u8], signatures: &str) -> bool {
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let given = signatures.split(' ').take(MAX_SIGNATURES).filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    given.fold(false, |good, tag| hmac::verify(key, &signed, &tag).is_ok() | good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_standard_webhooks() {
        // The example of the specification's libraries.
        let key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        for (text, good) in
            [("plain text", false), ("whsec_", false), ("whsec_a!", false), ("whsec_-_-_AA", true), ("whsec_+/+/AA==", true)]
        {
            assert_eq!(key_of(text).is_ok(), good, "{text}");
        }
        let body = br#"{"test": 2432232314}"#;
        let holds = |id: &str, at: i64, body: &[u8], given: &str| is_signed(&key, id, at, body, given);
        let (id, at) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330);
        assert!(holds(id, at, body, &signed) && holds(id, at, body, &format!("v1,AAAA {signed}")));
        assert!(!holds("msg_other", at, body, &signed) && !holds(id, at + 1, body, &signed) && !holds(id, at, b"{}", &signed));
        assert!(!holds(id, at, body, "") && !holds(id, at, body, &signed.replace("v1,", "v2,")));
    }
}
