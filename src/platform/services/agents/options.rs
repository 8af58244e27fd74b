//! How agents reach language models: providers, times, limits and the cache.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Error, Kind, Result};
use crate::io::outbound;

/// Longest API key, in bytes.
const MAX_KEY: u64 = 8 * 1024;

/// How agents reach language models. Without providers they are answered by local rules.
#[derive(Debug, Clone)]
pub struct Agents {
    /// The providers; the first model of the first one is the model of agents that name none.
    pub providers: Vec<Provider>,
    /// How long one request to a provider may take.
    pub timeout: Duration,
    /// How long a whole answer may take, with other providers and tools.
    pub deadline: Duration,
    /// How long an answer may be given again to the same question; zero gives none again.
    pub cache_for: Duration,
    /// Most calls of a model in a minute by a tenant; 0 sets no limit.
    pub calls_per_minute: u32,
    /// Most tokens of a model in 24 hours for a tenant; 0 sets no limit.
    pub tokens_per_day: u64,
}

/// A provider of language models.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its name in logs.
    pub name: String,
    /// The form of its API.
    pub kind: ProviderKind,
    /// Address of the API, such as `https://api.openai.com/v1` or `https://api.anthropic.com/v1`.
    pub url: String,
    /// The API key; none for a server on this machine that wants none.
    pub key: Option<Key>,
    /// The models that it has.
    pub models: Vec<String>,
    /// Its share of the calls among the providers of the same model, 1 to 1000.
    pub weight: u32,
}

/// The form of a provider's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// The chat completions of `OpenAI`, which many servers have too.
    OpenAi,
    /// The messages of Anthropic.
    Anthropic,
    /// Azure's `OpenAI`: the same form, with the key in a header of its own. The address ends with `/openai/v1`.
    AzureOpenAi,
    /// Cohere's own form, which is rejected: its address in the form of `OpenAI` is used instead.
    Cohere,
}

/// Where an API key is. It is read at each call, so that a new one counts at once.
#[derive(Clone)]
pub enum Key {
    /// The key itself.
    Value(SecretString),
    /// A file that holds it.
    File(PathBuf),
    /// An environment variable that holds it.
    Variable(String),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("a value"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Variable(name) => write!(f, "the variable {name}"),
        }
    }
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            providers: Vec::new(),
            timeout: Duration::from_secs(30),
            deadline: Duration::from_secs(55),
            cache_for: Duration::from_hours(1),
            calls_per_minute: 60,
            tokens_per_day: 2_000_000,
        }
    }
}

impl ProviderKind {
    /// The provider's name in the contract.
    pub(super) fn name(self) -> crate::api::agents::Provider {
        match self {
            Self::OpenAi => crate::api::agents::Provider::OpenAi,
            Self::Anthropic => crate::api::agents::Provider::Anthropic,
            Self::AzureOpenAi => crate::api::agents::Provider::AzureOpenAi,
            Self::Cohere => crate::api::agents::Provider::Cohere,
        }
    }
}

impl Key {
    /// The key. The failure says where it is missing, never what it is.
    pub(super) async fn read(&self) -> Result<SecretString, String> {
        let text = match self {
            Self::Value(key) => return Ok(key.clone()),
            Self::Variable(name) => std::env::var(name).map_err(|_| format!("{self:?} is not set"))?,
            Self::File(path) => {
                let size = tokio::fs::metadata(path).await.map_err(|error| format!("{self:?} cannot be read: {error}"))?.len();
                if size > MAX_KEY {
                    return Err(format!("{self:?} is too large to hold a key"));
                }
                tokio::fs::read_to_string(path).await.map_err(|error| format!("{self:?} cannot be read: {error}"))?
            }
        };
        let text = text.trim();
        if text.is_empty() { Err(format!("{self:?} is empty")) } else { Ok(SecretString::from(text)) }
    }
}

/// Rejects what could never be called, before the platform starts.
pub(crate) fn check(options: &Agents) -> Result<()> {
    for provider in &options.providers {
        let refused = |what: &str| {
            let message = format!("the provider of language models {} {what}", crate::api::arguments::quote(&provider.name));
            Error::configuration(Kind::Invalid, "FM-AIS-CONFIGURATION", message)
        };
        if provider.kind == ProviderKind::Cohere {
            let message = "Cohere's own form of an API is not spoken here";
            return Err(Error::configuration(Kind::Unsupported, "FM-AIS-COHERE-UNSUPPORTED", message)
                .hint("Cohere has the form of OpenAI too: use the kind `openai` with https://api.cohere.ai/compatibility/v1."));
        }
        let url = Url::parse(&provider.url).map_err(|error| refused(&format!("has no address: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(refused("has an address with a user, a query or a fragment").hint("Name the key's file or variable instead."));
        }
        let is_plain = url.scheme() == "http" && outbound::is_loopback(&url);
        if url.scheme() != "https" && !is_plain {
            return Err(refused("would get prompts and key in the clear").hint("Use https, or http on this machine."));
        }
        if provider.models.is_empty() || provider.models.iter().any(|model| model.is_empty() || model.len() > 200) {
            return Err(refused("needs at least one model, each of 1 to 200 characters"));
        }
        if !(1..=1000).contains(&provider.weight) {
            return Err(refused("has a weight that is not between 1 and 1000"));
        }
        if let Some(Key::Value(key)) = &provider.key
            && key.expose_secret().is_empty()
        {
            return Err(refused("has an empty key"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(url: &str, models: &[&str], weight: u32) -> Agents {
        let models = models.iter().map(|model| (*model).to_owned()).collect();
        let provider = Provider { name: "p".to_owned(), kind: ProviderKind::OpenAi, url: url.to_owned(), key: None, models, weight };
        Agents { providers: vec![provider], ..Agents::default() }
    }

    #[test]
    fn a_provider_that_could_leak_or_never_answer_is_rejected() {
        check(&with("https://api.openai.com/v1", &["gpt-4"], 1)).unwrap();
        check(&with("http://127.0.0.1:11434/v1", &["llama"], 1000)).unwrap();
        for options in [
            with("http://api.openai.com/v1", &["gpt-4"], 1),
            with("https://user:secret@api.openai.com/v1", &["gpt-4"], 1),
            with("https://api.openai.com/v1?key=secret", &["gpt-4"], 1),
            with("api.openai.com", &["gpt-4"], 1),
            with("https://api.openai.com/v1", &[], 1),
            with("https://api.openai.com/v1", &[""], 1),
            with("https://api.openai.com/v1", &["gpt-4"], 0),
        ] {
            assert_eq!(check(&options).unwrap_err().code(), "FM-AIS-CONFIGURATION");
        }
    }

    #[tokio::test]
    async fn a_key_is_read_where_it_is_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "sk-secret\n").unwrap();
        assert_eq!(Key::File(path.clone()).read().await.unwrap().expose_secret(), "sk-secret");
        std::fs::write(&path, "  \n").unwrap();
        assert!(Key::File(path).read().await.unwrap_err().contains("is empty"));
        assert!(Key::Variable("FLOWMASTER_NO_SUCH_VARIABLE".to_owned()).read().await.unwrap_err().contains("is not set"));
        assert_eq!(format!("{:?}", Key::Value("sk-secret".into())), "a value");
    }
}
