//! Where a request stands in a W3C trace: it goes on from host to server to platform.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::trace_state;

/// A span of a trace, as `traceparent` names it, with what tracing systems on the way noted in `tracestate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    pub(super) trace: u128,
    pub(super) span: u64,
    pub(super) flags: u8,
    /// Whether another process named it.
    pub(super) is_remote: bool,
    pub(super) state: Option<Arc<str>>,
}

impl TraceContext {
    /// The span that another process says it calls from; none where `traceparent` is broken. A broken `tracestate` is dropped.
    #[must_use]
    pub fn remote(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        Some(Self { state: tracestate.and_then(trace_state::read), ..Self::read(traceparent)? })
    }

    /// A span of the parent's trace, or the root of a new trace where there is no parent.
    #[must_use]
    pub fn within(parent: Option<&Self>) -> Self {
        match parent {
            Some(parent) => Self { span: unique(), is_remote: false, ..parent.clone() },
            None => {
                Self { trace: u128::from(unique()) << 64 | u128::from(unique()), span: unique(), flags: 1, is_remote: false, state: None }
            }
        }
    }

    /// The id of the trace, in hexadecimal.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// What tracing systems on the way noted, for the header `tracestate`.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Reads a `traceparent`. A later version may have further parts, which are not handed on.
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut number = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
            u128::from_str_radix(part, 16).ok()
        };
        let (version, trace, span, flags) = (number(2)?, number(32)?, number(16)?, number(2)?);
        let is_whole = version < 0xff && trace != 0 && span != 0 && (version > 0 || parts.next().is_none());
        let (span, flags) = (u64::try_from(span).ok()?, u8::try_from(flags & 1).ok()?);
        is_whole.then_some(Self { trace, span, flags, is_remote: true, state: None })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// A number that no other span has. An id is no secret, so it costs no call to the system: a thread's hasher has random keys,
/// and each new one has others.
fn unique() -> u64 {
    RandomState::new().hash_one(0_u8).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn child_of(parent: &str) -> TraceContext {
        TraceContext::within(TraceContext::remote(parent, None).as_ref())
    }

    #[test]
    fn a_trace_goes_on_by_a_span_of_its_own() {
        let child = child_of(PARENT);
        let text = child.to_string();
        assert_eq!((text.len(), &text[..36], &text[52..]), (55, &PARENT[..36], "-01"));
        assert_ne!(text[36..52], PARENT[36..52]);
        assert_eq!(child.trace_id(), PARENT[3..35]);
        let grandchild = TraceContext::within(Some(&child)).to_string();
        assert!(grandchild[..36] == PARENT[..36] && grandchild != text);
        let unsampled = PARENT.replace("-01", "-00");
        assert!(child_of(&unsampled).to_string().ends_with("-00"), "whoever began the trace decides what is kept of it");
        let later = format!("01-{}-more", &PARENT[3..]);
        assert_eq!(child_of(&later).trace_id(), PARENT[3..35]);
    }

    #[test]
    fn a_broken_parent_begins_another_trace() {
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let long = format!("{PARENT}-more");
        for broken in ["", "00-zz-1-01", &zero, &PARENT[..52], &long, &PARENT.replace("00-4", "ff-4"), &PARENT.replace("4bf9", "+bf9")] {
            assert_eq!(TraceContext::remote(broken, Some("vendor=1")), None, "{broken}");
            let root = child_of(broken);
            assert!(root.to_string().len() == 55 && root.trace_id() != PARENT[3..35], "{broken}: {root}");
        }
    }

    #[test]
    fn trace_state_goes_on_with_its_parent_alone() {
        let parent = TraceContext::remote(PARENT, Some("vendor=1"));
        assert_eq!(TraceContext::within(parent.as_ref()).state(), Some("vendor=1"));
        assert_eq!(TraceContext::remote(PARENT, Some("no list")).unwrap().state(), None);
        assert_eq!(TraceContext::within(None).state(), None);
    }

    #[test]
    fn ids_do_not_repeat() {
        let spans: HashSet<String> = (0..100_000).map(|_| TraceContext::within(None).to_string()).collect();
        assert_eq!(spans.len(), 100_000);
    }
}
