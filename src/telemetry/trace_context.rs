//! Where a request stands in a W3C trace: it goes on from host to server to platform.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

/// A span of a trace, as `traceparent` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceContext {
    /// A span of the parent's trace, or the root of a new trace where there is no parent or it is broken.
    #[must_use]
    pub fn of(parent: Option<&str>) -> Self {
        match parent.and_then(Self::read) {
            Some(parent) => parent.child(),
            None => Self { trace: u128::from(unique()) << 64 | u128::from(unique()), span: unique(), flags: 1 },
        }
    }

    /// A further span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: unique(), ..self }
    }

    /// The id of the trace, in hexadecimal.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
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
        is_whole.then_some(Self { trace, span: u64::try_from(span).ok()?, flags: u8::try_from(flags & 1).ok()? })
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

    #[test]
    fn a_trace_goes_on_by_a_span_of_its_own() {
        let child = TraceContext::of(Some(PARENT));
        let text = child.to_string();
        assert_eq!((text.len(), &text[..36], &text[52..]), (55, &PARENT[..36], "-01"));
        assert_ne!(text[36..52], PARENT[36..52]);
        assert_eq!(child.trace_id(), PARENT[3..35]);
        let grandchild = child.child().to_string();
        assert!(grandchild[..36] == PARENT[..36] && grandchild != text);
        let unsampled = PARENT.replace("-01", "-00");
        assert!(TraceContext::of(Some(&unsampled)).to_string().ends_with("-00"), "whoever began the trace decides what is kept of it");
        let later = format!("01-{}-more", &PARENT[3..]);
        assert_eq!(TraceContext::of(Some(&later)).trace_id(), PARENT[3..35]);
    }

    #[test]
    fn a_broken_parent_begins_another_trace() {
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let long = format!("{PARENT}-more");
        for broken in ["", "00-zz-1-01", &zero, &PARENT[..52], &long, &PARENT.replace("00-4", "ff-4"), &PARENT.replace("4bf9", "+bf9")] {
            let root = TraceContext::of(Some(broken));
            assert!(root.to_string().len() == 55 && root.trace_id() != PARENT[3..35], "{broken}: {root}");
        }
    }

    #[test]
    fn ids_do_not_repeat() {
        let spans: HashSet<String> = (0..100_000).map(|_| TraceContext::of(None).to_string()).collect();
        assert_eq!(spans.len(), 100_000);
    }
}
