//! Traces by OTLP, where the standard variables of OpenTelemetry name a collector.
//!
//! A host's own variables reach the server that it starts, so a fault in them is told and keeps no server from starting.

#[cfg(feature = "otel")]
pub(super) mod export;

use reqwest::Url;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::error::{Error, Kind, Result};
use crate::io::outbound;

/// Variables that name the collector; the first is about traces alone.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// Variables that name the protocol.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
/// Variables with headers of requests, which may hold credentials.
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
/// The protocol that is spoken.
const PROTOCOL: &str = "http/protobuf";

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// The URL as the variable has it.
    url: Url,
}

impl Collector {
    /// Reads the variables; no collector is named by most environments.
    ///
    /// # Errors
    /// Why no traces are exported although a collector is named.
    pub fn read(environment: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| environment(name).filter(|value| !value.is_empty()).map(|value| (*name, value)))
        };
        let Some((variable, endpoint)) = first(&ENDPOINTS) else { return Ok(None) };
        let is_off = environment("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let exporter = environment("OTEL_TRACES_EXPORTER").filter(|value| !value.is_empty());
        if is_off || exporter.as_deref() == Some("none") {
            return Ok(None);
        }
        if !cfg!(feature = "otel") {
            return Err(unexported(format!("{variable} is set, but this build has no feature otel"))
                .hint("Install with `cargo install --features otel`, or set OTEL_TRACES_EXPORTER to none."));
        }
        if let Some(other) = exporter.filter(|value| value != "otlp") {
            return Err(unexported(format!("OTEL_TRACES_EXPORTER is {other:?}")).hint("Set it to otlp or none."));
        }
        if let Some((variable, other)) = first(&PROTOCOLS).filter(|(_, value)| value != PROTOCOL) {
            return Err(unexported(format!("{variable} is {other:?}"))
                .hint(format!("Set it to {PROTOCOL} and name the collector's port for HTTP, most often 4318.")));
        }
        let url = Url::parse(&endpoint).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        let Some(url) = url.filter(|url| url.username().is_empty() && url.password().is_none()) else {
            return Err(unexported(format!("{variable} is not an http:// or https:// URL without a user"))
                .hint("Write it as http://localhost:4318; credentials belong into OTEL_EXPORTER_OTLP_HEADERS."));
        };
        if let Some((headers, _)) = first(&HEADERS).filter(|_| url.scheme() == "http" && !outbound::is_loopback(&url)) {
            return Err(unexported(format!("{headers} would travel unencrypted: {variable} is http:// beyond this machine"))
                .hint("Use https://, or leave the headers out."));
        }
        Ok(Some(Self { url }))
    }

    /// Its scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// A layer that exports spans.
type Exporting<S> = Box<dyn Layer<S> + Send + Sync>;

/// The layer that exports spans, where the environment names a collector.
#[cfg(feature = "otel")]
pub(super) fn layer<S>(environment: &dyn Fn(&str) -> Option<String>, names_tenants: bool) -> Result<Option<Exporting<S>>>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let Some(collector) = Collector::read(environment)? else { return Ok(None) };
    export::layer(&collector, names_tenants).map(|layer| Some(layer.boxed()))
}

/// Without the feature `otel` there is no such layer, which is an error where the environment names a collector.
#[cfg(not(feature = "otel"))]
pub(super) fn layer<S>(environment: &dyn Fn(&str) -> Option<String>, _: bool) -> Result<Option<Exporting<S>>>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    Collector::read(environment).map(|_| None)
}

/// Traces that are not exported, and why.
pub(super) fn unexported(why: impl Into<String>) -> Error {
    Error::configuration(Kind::Invalid, "FM-CONFIG-OTLP", why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

    fn read(variables: &[(&str, &str)]) -> Result<Option<String>> {
        let look_up = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Collector::read(&look_up).map(|collector| collector.map(|collector| collector.origin()))
    }

    #[test]
    fn nothing_is_exported_unless_a_collector_is_named() {
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[("OTEL_SERVICE_NAME", "mcp"), ("OTEL_EXPORTER_OTLP_HEADERS", "a=b")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "true")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(read(variables).unwrap(), None, "{variables:?}");
        }
    }

    #[cfg(not(feature = "otel"))]
    #[test]
    fn a_build_without_the_feature_says_so() {
        let error = read(&[ENDPOINT]).unwrap_err();
        assert!(error.code() == "FM-CONFIG-OTLP" && error.message().contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{error}");
        assert!(error.next_step().unwrap().contains("--features otel"));
    }

    #[cfg(feature = "otel")]
    #[test]
    fn the_variables_are_read_as_opentelemetry_has_them() {
        let of = |more: &[(&str, &str)]| read(&[&[ENDPOINT][..], more].concat());
        let local = Some("http://localhost:4318".to_owned());
        assert_eq!(of(&[]).unwrap(), local);
        assert_eq!(of(&[("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer x")]).unwrap(), local);
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/v1/traces");
        assert_eq!(of(&[traces]).unwrap().as_deref(), Some("https://traces.example"));
        let beyond = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert_eq!(read(&[beyond]).unwrap().as_deref(), Some("http://collector:4318"));
        for (wrong, named) in [
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")][..], "OTEL_EXPORTER_OTLP_ENDPOINT"),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hidden@collector:4318")], "OTEL_EXPORTER_OTLP_ENDPOINT"),
            (&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "OTEL_EXPORTER_OTLP_PROTOCOL"),
            (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "console")], "OTEL_TRACES_EXPORTER"),
            (&[beyond, ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hidden")], "OTEL_EXPORTER_OTLP_HEADERS"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.code() == "FM-CONFIG-OTLP" && error.message().contains(named), "{wrong:?}: {error}");
            assert!(error.next_step().is_some() && !format!("{error:?}").contains("hidden"), "{error:?}");
        }
    }
}
