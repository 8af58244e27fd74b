//! From settings to the page of figures.

use std::path::Path;

use secrecy::SecretString;

use crate::config::{Config, listen_address};
use crate::error::{Error, Kind, Result};
use crate::server::MetricsOptions;
use crate::telemetry::metrics::Metrics;

/// Fewest characters of a token that nobody guesses.
const MIN_TOKEN: usize = 16;

/// The figures, which are kept where there is a page for them.
pub(crate) fn metrics(config: &Config) -> Result<Metrics> {
    match &config.telemetry.metrics_listen {
        Some(_) => Metrics::kept(config.telemetry.tenant_label.unwrap_or_default()),
        None => Ok(Metrics::default()),
    }
}

/// Where the page is shown, if it is.
///
/// # Errors
/// An address or a token that is none, or an address that needs one.
pub(crate) fn page(config: &Config) -> Result<Option<MetricsOptions>> {
    let Some(listen) = &config.telemetry.metrics_listen else { return Ok(None) };
    let token = config.telemetry.metrics_token_file.as_deref().map(token).transpose()?;
    let options = MetricsOptions { listen: listen_address(listen)?, token };
    options.check()?;
    Ok(Some(options))
}

fn token(path: &Path) -> Result<SecretString> {
    let wrong = |what: String| {
        Error::configuration(Kind::Invalid, "FM-CONFIG-METRICS", format!("the token of the metrics page in {} {what}", path.display()))
            .hint(format!("Name a file with at least {MIN_TOKEN} characters in FLOWMASTER_METRICS_TOKEN_FILE."))
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let token = text.trim();
    if token.len() < MIN_TOKEN {
        return Err(wrong("is too short".to_owned()));
    }
    Ok(token.into())
}
