//! A JWT as it was received: bounded, read in place, and believed in nothing until its signature was checked.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;

use super::MAX_TOKEN;
use crate::error::{Error, Kind, Result};

/// Longest header, as text; a `kid` and a few names fit well.
const MAX_HEADER: usize = 2048;

/// The three parts of a compact JWS.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    /// Header and claims with the dot between: what is signed.
    pub(super) message: &'a str,
    /// The header, in base64.
    pub(super) header: &'a str,
    claims: &'a str,
    /// The signature, in base64.
    pub(super) signature: &'a str,
}

/// Why a token is refused. The sentence names claims and nothing of what they hold.
pub(super) fn refusal(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(Kind::Unauthenticated, code, message)
}

fn malformed(message: impl Into<String>) -> Error {
    refusal("FM-MCP-TOKEN-MALFORMED", message)
}

/// Refuses what is longer than any token, before anything is made of it.
pub(super) fn check_length(token: &str) -> Result<()> {
    if token.len() > MAX_TOKEN {
        return Err(refusal("FM-MCP-TOKEN-TOO-LONG", format!("the token is longer than {} KiB", MAX_TOKEN / 1024)));
    }
    Ok(())
}

impl<'a> Parts<'a> {
    /// Takes a token apart without reading its parts.
    pub(super) fn of(token: &'a str) -> Result<Self> {
        let parts = token.rsplit_once('.').and_then(|(message, signature)| Some((message, message.split_once('.')?, signature)));
        let Some((message, (header, claims), signature)) = parts else {
            return Err(malformed("the token is not a JWT: it has no three parts"));
        };
        if header.is_empty() || header.len() > MAX_HEADER || claims.is_empty() || claims.contains('.') || signature.is_empty() {
            return Err(malformed("the token is not a signed JWT"));
        }
        Ok(Self { message, header, claims, signature })
    }

    /// The bytes of the header.
    pub(super) fn header_bytes(&self) -> Result<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.header).map_err(|_| malformed("the token's header is not base64"))
    }

    /// The bytes of the claims.
    pub(super) fn claims_bytes(&self) -> Result<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| malformed("the token's claims are not base64"))
    }
}

/// What a header says. Where a key is to be found is never the token's to say.
#[derive(Deserialize)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub(super) alg: Text<'a>,
    #[serde(borrow, default)]
    pub(super) kid: Option<Text<'a>>,
    #[serde(borrow, default)]
    typ: Option<Text<'a>>,
    #[serde(default)]
    jku: Present,
    #[serde(default)]
    jwk: Present,
    #[serde(default)]
    x5u: Present,
    #[serde(default)]
    crit: Present,
}

impl<'a> Header<'a> {
    /// Reads a header, and refuses one that wants more than a signature to be checked.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let header: Self = serde_json::from_slice(bytes).map_err(|_| malformed("the token's header cannot be read"))?;
        for (name, given) in [("jku", header.jku), ("jwk", header.jwk), ("x5u", header.x5u), ("crit", header.crit)] {
            if given.0 {
                return Err(malformed(format!("the token's header has `{name}`, which is not taken")));
            }
        }
        let known = ["JWT", "at+jwt", "application/at+jwt"];
        if header.typ.as_ref().is_some_and(|typ| !known.iter().any(|known| typ.eq_ignore_ascii_case(known))) {
            return Err(refusal("FM-MCP-TOKEN-USE", "the token's header names another type than an access token's"));
        }
        Ok(header)
    }
}

/// What a token claims.
#[derive(Deserialize)]
pub(super) struct Claims<'a> {
    #[serde(borrow, default)]
    pub(super) iss: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) aud: Option<OneOrMany<'a>>,
    #[serde(borrow, default)]
    pub(super) sub: Option<Text<'a>>,
    #[serde(borrow, default, rename = "tenantId")]
    pub(super) tenant: Option<Text<'a>>,
    #[serde(borrow, default, rename = "tenant_id")]
    pub(super) tenant_in_snake_case: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) roles: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    pub(super) permissions: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    pub(super) scope: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) typ: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) token_use: Option<Text<'a>>,
    #[serde(default, rename = "type")]
    kind: Option<Value>,
    #[serde(default)]
    token_type: Option<Value>,
    #[serde(default, rename = "tokenType")]
    token_type_in_camel_case: Option<Value>,
    #[serde(default, rename = "use")]
    usage: Option<Value>,
    #[serde(default)]
    pub(super) exp: Option<Seconds>,
    #[serde(default)]
    pub(super) nbf: Option<Seconds>,
    #[serde(default)]
    pub(super) iat: Option<Seconds>,
}

impl<'a> Claims<'a> {
    /// Reads the claims; a claim of the wrong type or one that is there twice is refused.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let unreadable = || malformed("the token's claims cannot be read: one is of a wrong type or there twice");
        // As text at once: else the encoding of each string is judged by itself.
        let text = std::str::from_utf8(bytes).map_err(|_| unreadable())?;
        serde_json::from_str(text).map_err(|_| unreadable())
    }
}

impl Claims<'_> {
    /// Claims without a standard by which some issuers tell their refresh tokens apart; other issuers mean other things.
    pub(super) fn other_uses(&self) -> [(&'static str, Option<&Value>); 4] {
        [
            ("type", self.kind.as_ref()),
            ("token_type", self.token_type.as_ref()),
            ("tokenType", self.token_type_in_camel_case.as_ref()),
            ("use", self.usage.as_ref()),
        ]
    }
}

/// Text that is borrowed where JSON has it without escapes.
#[derive(Clone)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

/// An audience: one name, or several.
pub(super) struct OneOrMany<'a>(Vec<Text<'a>>);

impl OneOrMany<'_> {
    /// Whether it names this one.
    pub(super) fn names(&self, wanted: &str) -> bool {
        self.0.iter().any(|name| &**name == wanted)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for OneOrMany<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = OneOrMany<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list of texts")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
                Ok(OneOrMany(vec![Text(Cow::Borrowed(text))]))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(OneOrMany(vec![Text(Cow::Owned(text.to_owned()))]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Self::Value, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(OneOrMany(names))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A moment in seconds since 1970; RFC 7519 lets it have a fraction.
#[derive(Clone, Copy)]
pub(super) struct Seconds(pub(super) i64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        #[expect(clippy::cast_possible_truncation, reason = "a float casts saturating, and a fraction of a second does not matter")]
        let seconds = number.as_i64().or_else(|| number.as_f64().filter(|seconds| seconds.is_finite()).map(|seconds| seconds as i64));
        seconds.map(Self).ok_or_else(|| D::Error::custom("no moment"))
    }
}

/// Whether a member is there, whatever it holds.
#[derive(Clone, Copy, Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_three_parts_is_no_token() {
        for text in ["", ".", "..", "a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", "no token at all"] {
            assert_eq!(Parts::of(text).err().map(|error| error.code().to_owned()).as_deref(), Some("FM-MCP-TOKEN-MALFORMED"), "{text}");
        }
        let parts = Parts::of("aa.bb.cc").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((parts.message, parts.header, parts.claims, parts.signature), ("aa.bb", "aa", "bb", "cc"));
        assert!(check_length(&"x".repeat(MAX_TOKEN)).is_ok());
        assert_eq!(check_length(&"x".repeat(100_000)).unwrap_err().code(), "FM-MCP-TOKEN-TOO-LONG");
    }

    #[test]
    fn a_header_that_brings_its_own_key_is_refused() {
        for name in ["jku", "jwk", "x5u", "crit"] {
            for value in ["null", "\"https://evil.example/keys\"", "{}", "[\"exp\"]"] {
                let header = format!(r#"{{"alg":"EdDSA","{name}":{value}}}"#);
                let refused = Header::read(header.as_bytes()).err().map(|error| error.to_string()).unwrap_or_default();
                assert!(refused.contains(name) && !refused.contains("evil"), "{header}: {refused}");
            }
        }
        for (header, good) in [
            (r#"{"alg":"EdDSA","typ":"at+JWT"}"#, true),
            (r#"{"alg":"EdDSA","typ":"JWT"}"#, true),
            (r#"{"alg":"EdDSA"}"#, true),
            (r#"{"alg":"EdDSA","typ":"logout+jwt"}"#, false),
            (r#"{"alg":"EdDSA","alg":"none"}"#, false),
            (r#"{"alg":5}"#, false),
            ("{}", false),
            ("[]", false),
        ] {
            assert_eq!(Header::read(header.as_bytes()).is_ok(), good, "{header}");
        }
    }

    #[test]
    fn moments_may_have_a_fraction_and_nothing_else() {
        let reads = |json: &str| serde_json::from_str::<Seconds>(json).is_ok();
        assert!(reads("1700000000") && reads("1700000000.5") && reads("-1"));
        assert!(!reads("\"1700000000\"") && !reads("true"));
        assert_eq!(serde_json::from_str::<Seconds>("18446744073709551615").unwrap().0, i64::MAX);
    }

    #[test]
    fn a_claim_twice_or_of_another_type_is_refused() {
        for claims in
            [r#"{"sub":"a","sub":"b"}"#, r#"{"tenantId":["a","b"]}"#, r#"{"tenantId":"a","tenantId":"a"}"#, r#"{"permissions":"*"}"#, "5"]
        {
            assert_eq!(
                Claims::read(claims.as_bytes()).err().map(|error| error.code().to_owned()).as_deref(),
                Some("FM-MCP-TOKEN-MALFORMED"),
                "{claims}"
            );
        }
        let claims = Claims::read(br#"{"aud":["a","b\u0063"],"more":{"deep":[1]},"exp":null}"#).unwrap_or_else(|error| panic!("{error}"));
        assert!(claims.aud.as_ref().is_some_and(|aud| aud.names("a") && aud.names("bc") && !aud.names("b")));
        assert!(claims.exp.is_none());
    }
}
