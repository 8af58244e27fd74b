//! Traces of the real program at a collector, which the standard variables name: spans join those of the host and of the platform,
//! and hold nothing of what is asked.

use serde_json::json;

use crate::support::program::program;

#[cfg(not(feature = "otel"))]
#[test]
fn a_build_without_otel_tells_that_a_named_collector_gets_nothing() {
    let home = tempfile::tempdir().unwrap();
    let named = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"), ("OTEL_EXPORTER_OTLP_HEADERS", "key=to-hide")];
    let served = program(home.path()).envs(named).output().unwrap();
    let told = String::from_utf8_lossy(&served.stderr);
    assert!(served.status.success() && told.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && told.contains("--features otel"), "{told}");
    let looked = program(home.path()).args(["doctor", "--json"]).envs(named).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&looked.stdout).unwrap();
    let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "traces").unwrap();
    assert_eq!(check["state"], json!("care"), "{check}");
    assert!(!told.contains("to-hide") && !report.to_string().contains("to-hide"));
    let unnamed = program(home.path()).env("OTEL_SERVICE_NAME", "mcp").output().unwrap();
    assert!(!String::from_utf8_lossy(&unnamed.stderr).contains("OTEL"), "{unnamed:?}");
}

#[cfg(feature = "otel")]
mod exported {
    use std::fmt::Write as _;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode, Uri};
    use axum::response::IntoResponse as _;
    use prost::Message as _;

    use super::{json, program};
    use crate::support::program::{Host, Revision};
    use crate::support::standin::StandIn;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// What OTLP says of spans, as far as it is looked at.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Export {
        #[prost(message, repeated, tag = "1")]
        resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct ResourceSpans {
        #[prost(message, optional, tag = "1")]
        resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Resource {
        #[prost(message, repeated, tag = "1")]
        attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct ScopeSpans {
        #[prost(message, repeated, tag = "2")]
        spans: Vec<Span>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Span {
        #[prost(bytes = "vec", tag = "1")]
        trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        id: Vec<u8>,
        #[prost(string, tag = "3")]
        trace_state: String,
        #[prost(bytes = "vec", tag = "4")]
        parent_id: Vec<u8>,
        #[prost(string, tag = "5")]
        name: String,
        #[prost(int32, tag = "6")]
        kind: i32,
        #[prost(message, repeated, tag = "9")]
        attributes: Vec<KeyValue>,
        #[prost(message, optional, tag = "15")]
        status: Option<Status>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Status {
        #[prost(int32, tag = "3")]
        code: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct KeyValue {
        #[prost(string, tag = "1")]
        key: String,
        #[prost(message, optional, tag = "2")]
        value: Option<AnyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct AnyValue {
        #[prost(string, optional, tag = "1")]
        text: Option<String>,
        #[prost(int64, optional, tag = "3")]
        number: Option<i64>,
    }

    const INTERNAL: i32 = 1;
    const SERVER: i32 = 2;
    const CLIENT: i32 = 3;
    const ERROR: i32 = 2;

    fn text_of(attributes: &[KeyValue], key: &str) -> Option<String> {
        attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.text
    }

    impl Span {
        fn text(&self, key: &str) -> Option<String> {
            text_of(&self.attributes, key)
        }

        fn number(&self, key: &str) -> Option<i64> {
            self.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.number
        }

        fn traceparent(&self) -> String {
            format!("00-{}-{}-01", hex(&self.trace_id), hex(&self.id))
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    /// A collector that keeps what it is sent.
    #[derive(Clone, Default)]
    struct Collector(Arc<Mutex<Vec<(Uri, HeaderMap, Bytes)>>>);

    impl Collector {
        async fn start(&self) -> String {
            async fn take(State(Collector(taken)): State<Collector>, uri: Uri, headers: HeaderMap, body: Bytes) {
                taken.lock().unwrap().push((uri, headers, body));
            }
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let router = Router::new().fallback(take).with_state(self.clone());
            tokio::spawn(async move { axum::serve(listener, router).await });
            url
        }

        fn taken(&self) -> Vec<(Uri, HeaderMap, Bytes)> {
            self.0.lock().unwrap().clone()
        }

        fn resources(&self) -> Vec<ResourceSpans> {
            self.taken().iter().flat_map(|(_, _, body)| Export::decode(body.clone()).unwrap().resource_spans).collect()
        }

        fn spans(&self, name: &str) -> Vec<Span> {
            let spans = self.resources().into_iter().flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
            spans.filter(|span| span.name == name).collect()
        }
    }

    /// A platform whose list of tasks answers at the second request.
    async fn platform() -> StandIn {
        let has_failed = Arc::new(AtomicBool::new(false));
        StandIn::start(move |asked| {
            let fails = asked.path == "/tasks" && !has_failed.swap(true, Ordering::SeqCst);
            async move {
                if fails { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { axum::Json(json!({ "items": [] })).into_response() }
            }
        })
        .await
    }

    /// Lists tasks by the program, whose collector is at a URL, and ends it. Gives the `traceparent` of each request of the list.
    async fn list_tasks(collector: &str, more: &[(&str, &str)], meta: serde_json::Value) -> Vec<(String, String)> {
        let (platform, home) = (platform().await, tempfile::tempdir().unwrap());
        let settings = [
            ("FLOWMASTER_URL", platform.url.as_str()),
            ("FLOWMASTER_TOKEN", "token-to-hide"),
            ("FLOWMASTER_TENANT", "tenant-7"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
        ];
        let mut host = Host::start_with(home.path(), Revision::V2025_11_25, None, &[&settings, more].concat()).await;
        let params = json!({ "name": "tasks_list", "arguments": { "assignee": "somebody-to-hide" }, "_meta": meta });
        let answer = host.request("tools/call", params).await;
        assert_eq!(answer["result"]["isError"], json!(false), "{answer}");
        assert!(host.end().await.success());
        let asked = platform.asked().into_iter().filter(|asked| asked.path == "/tasks");
        asked.map(|asked| (asked.header("traceparent").to_owned(), asked.header("tracestate").to_owned())).collect()
    }

    #[tokio::test]
    async fn spans_of_a_call_join_those_of_the_host_and_of_the_platform() {
        let collector = Collector::default();
        let url = collector.start().await;
        let more = [("OTEL_EXPORTER_OTLP_HEADERS", "x-key=collectors-key"), ("OTEL_SERVICE_NAME", "desk")];
        let sent = list_tasks(&url, &more, json!({ "traceparent": PARENT, "tracestate": "vendor=1" })).await;
        let one = |name: &str| {
            let [span] = <[Span; 1]>::try_from(collector.spans(name)).unwrap_or_else(|spans| panic!("{name}: {spans:?}"));
            span
        };
        let (tool, call, attempts) = (one("tools/call tasks_list"), one("call tasks_list"), collector.spans("GET /tasks"));
        assert_eq!((hex(&tool.trace_id).as_str(), hex(&tool.parent_id).as_str()), (&PARENT[3..35], &PARENT[36..52]));
        assert_eq!((tool.kind, call.kind, tool.trace_state.as_str()), (SERVER, INTERNAL, "vendor=1"));
        assert_eq!((&call.parent_id, &call.trace_id), (&tool.id, &tool.trace_id));
        assert_eq!(attempts.len(), 2);
        assert!(attempts.iter().all(|attempt| attempt.parent_id == call.id && attempt.kind == CLIENT), "{attempts:?}");
        // Each request names the exported span as its parent.
        let exported: Vec<_> = attempts.iter().map(|attempt| (attempt.traceparent(), "vendor=1".to_owned())).collect();
        assert_eq!(sent, exported);
        let [failed, good] = &attempts[..] else { unreachable!() };
        assert_eq!((failed.text("error.type").as_deref(), failed.status.as_ref().unwrap().code), (Some("HTTP-503"), ERROR));
        assert_eq!((good.number("http.response.status_code"), good.number("http.request.resend_count")), (Some(200), Some(1)));
        assert_eq!(tool.text("gen_ai.tool.name").as_deref(), Some("tasks_list"));
        assert_eq!(call.text("flowmaster.operation").as_deref(), Some("tasks_list"));
        assert_eq!(text_of(&collector.resources()[0].resource.as_ref().unwrap().attributes, "service.name").as_deref(), Some("desk"));
        for (uri, headers, body) in collector.taken() {
            assert_eq!(
                (uri.path(), &headers["content-type"], &headers["x-key"]),
                ("/v1/traces", &"application/x-protobuf".parse().unwrap(), &"collectors-key".parse().unwrap())
            );
            let text = String::from_utf8_lossy(&body).into_owned();
            assert!(!text.contains("to-hide") && !text.contains("tenant-7") && !text.contains("collectors-key"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_call_without_a_parent_is_the_root_of_its_trace_and_names_its_tenant_where_asked() {
        let collector = Collector::default();
        let url = collector.start().await;
        let sent = list_tasks(&url, &[("FLOWMASTER_METRICS_TENANT_LABEL", "true")], json!({})).await;
        let (tool, call) = (&collector.spans("tools/call tasks_list")[0], &collector.spans("call tasks_list")[0]);
        assert!(tool.parent_id.is_empty() && tool.trace_id == call.trace_id, "{tool:?} {call:?}");
        assert!(sent.iter().all(|(parent, state)| parent[3..35] == hex(&tool.trace_id) && state.is_empty()), "{sent:?}");
        assert_eq!(call.text("flowmaster.tenant").as_deref(), Some("tenant-7"));
        let named = text_of(&collector.resources()[0].resource.as_ref().unwrap().attributes, "service.name");
        assert_eq!(named.as_deref(), Some("flowmaster-mcp"));
    }

    #[tokio::test]
    async fn what_is_not_sampled_is_not_sent_and_the_platform_is_told() {
        let collector = Collector::default();
        let url = collector.start().await;
        let sent = list_tasks(&url, &[("OTEL_TRACES_SAMPLER", "always_off")], json!({ "traceparent": PARENT })).await;
        assert!(sent.iter().all(|(parent, _)| parent.starts_with(&PARENT[..36]) && parent.ends_with("-00")), "{sent:?}");
        let unsampled = format!("{}-00", &PARENT[..52]);
        let sent = list_tasks(&url, &[], json!({ "traceparent": unsampled })).await;
        assert!(sent.iter().all(|(parent, _)| parent.ends_with("-00")), "the host decides: {sent:?}");
        assert!(collector.taken().is_empty());
    }

    #[tokio::test]
    async fn neither_a_dead_nor_a_silent_collector_holds_the_program_up() {
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(list_tasks(&format!("http://{dead}"), &[], json!({})).await.len(), 2);
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(list_tasks(&format!("http://{}", silent.local_addr().unwrap()), &[], json!({})).await.len(), 2);
    }

    #[test]
    fn a_collector_that_cannot_be_sent_to_is_told_and_keeps_no_server_from_starting() {
        let home = tempfile::tempdir().unwrap();
        let named = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        let served = program(home.path()).envs(named).output().unwrap();
        let told = String::from_utf8_lossy(&served.stderr);
        assert!(served.status.success() && told.contains("FM-CONFIG-OTLP") && told.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{told}");
        let looked = program(home.path()).args(["doctor", "--json"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/x").output();
        let report: serde_json::Value = serde_json::from_slice(&looked.unwrap().stdout).unwrap();
        let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "traces").unwrap();
        assert_eq!((&check["state"], &check["text"]), (&json!("ok"), &json!("go to http://localhost:4318 by OTLP")));
    }
}
