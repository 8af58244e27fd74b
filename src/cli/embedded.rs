//! The embedded platform as an origin: opened at the first call, and again when the process that hosted it ends.

pub(crate) mod service_account;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tokio::sync::RwLock;

use crate::client::{Located, Origin};
use crate::config::{Config, ProviderForm, ProviderSettings};
use crate::error::Result;
use crate::platform::folder::{self, Opened};
use crate::platform::{Key, Options, Provider, ProviderKind, RouteLimit};

/// See the module. Hand it to a client; keep a clone of the `Arc` to close it.
pub struct Embedded {
    options: Options,
    opened: RwLock<Option<Place>>,
}

/// The platform as it was last opened.
struct Place {
    opened: Opened,
    located: Located,
}

/// How the settings have the platform run. Keys of providers are read when they are needed.
pub(super) fn platform_options(config: &Config) -> Options {
    let mut options = Options::new(&config.data_dir);
    let limits = config.embedded.routes.iter();
    options.route_limits = limits.map(|route| RouteLimit { path: route.path.clone(), limit: route.rate_limit.clone() }).collect();
    options.webhooks.hosts.clone_from(&config.embedded.hosts);
    options.agents.providers = config.agents.providers.iter().map(provider).collect();
    options.agents.calls_per_minute = config.agents.calls_per_minute.unwrap_or(options.agents.calls_per_minute);
    options.agents.tokens_per_day = config.agents.tokens_per_day.unwrap_or(options.agents.tokens_per_day);
    options
}

fn provider(settings: &ProviderSettings) -> Provider {
    Provider {
        name: settings.name.clone(),
        kind: match settings.kind {
            ProviderForm::Openai => ProviderKind::OpenAi,
            ProviderForm::Anthropic => ProviderKind::Anthropic,
            ProviderForm::AzureOpenai => ProviderKind::AzureOpenAi,
            ProviderForm::Cohere => ProviderKind::Cohere,
        },
        url: settings.url.clone(),
        key: settings.key_file.clone().map(Key::File).or_else(|| settings.key_variable.clone().map(Key::Variable)),
        models: settings.models.clone(),
        weight: settings.weight.unwrap_or(1),
    }
}

impl Embedded {
    /// The platform in a data folder. Nothing is opened yet.
    #[must_use]
    pub fn new(options: Options) -> Arc<Self> {
        Arc::new(Self { options, opened: RwLock::new(None) })
    }

    /// Lets go of the folder; a platform hosted here drains and ends.
    pub async fn close(&self) {
        if let Some(Place { opened: Opened::Leader(running), .. }) = self.opened.write().await.take() {
            running.shutdown().await;
        }
    }

    async fn current(&self) -> Result<Located> {
        if let Some(place) = &*self.opened.read().await
            && place.is_good()
        {
            return Ok(place.located.clone());
        }
        let mut slot = self.opened.write().await;
        if let Some(place) = &*slot
            && place.is_good()
        {
            return Ok(place.located.clone());
        }
        *slot = None;
        let place = Place::open(self.options.clone()).await?;
        let located = place.located.clone();
        *slot = Some(place);
        Ok(located)
    }
}

impl Place {
    async fn open(options: Options) -> Result<Self> {
        let owner_token: SecretString = folder::owner_token(&options.data_dir)?;
        let opened = folder::open(options).await?;
        let base = match &opened {
            Opened::Leader(running) => running.url(),
            Opened::Follower(guest) => guest.url().to_owned(),
        };
        let located = Located { base: base.into(), owner_token: Some(owner_token), loopback: true };
        Ok(Self { opened, located })
    }

    /// Whether the address still belongs to the one who proved that it knows the folder's key.
    fn is_good(&self) -> bool {
        match &self.opened {
            Opened::Leader(_) => true,
            Opened::Follower(guest) => guest.is_alive(),
        }
    }
}

impl Origin for Embedded {
    fn locate(&self) -> BoxFuture<'_, Result<Located>> {
        Box::pin(self.current())
    }

    fn is_at<'a>(&'a self, base: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move { self.opened.read().await.as_ref().is_some_and(|place| *place.located.base == *base && place.is_good()) })
    }
}
