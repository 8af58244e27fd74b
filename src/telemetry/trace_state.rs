//! `tracestate`: what the tracing systems on a request's way noted, as W3C Trace Context writes it.

use std::collections::HashSet;
use std::sync::Arc;

/// Maximum members, as W3C has it; a longer list is rejected.
const MAX_MEMBERS: usize = 32;
/// Maximum bytes that are handed on. Members are dropped beyond it: first long ones, then from the end.
const MAX_BYTES: usize = 512;
/// Maximum bytes of a member that is not dropped first.
const SHORT_MEMBER: usize = 128;
/// Maximum bytes that are looked at.
const MAX_READ: usize = 8 * 1024;

/// Reads a list of members. A list with one broken member is rejected as a whole.
pub(super) fn read(text: &str) -> Option<Arc<str>> {
    if text.len() > MAX_READ {
        return None;
    }
    let mut keys = HashSet::new();
    let mut members: Vec<&str> = Vec::new();
    // Empty members are allowed and say nothing.
    for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty()) {
        let (key, value) = member.split_once('=')?;
        if members.len() == MAX_MEMBERS || !is_key(key) || !is_value(value) || !keys.insert(key) {
            return None;
        }
        members.push(member);
    }
    while bytes_of(&members) > MAX_BYTES {
        let last_long = members.iter().rposition(|member| member.len() > SHORT_MEMBER);
        members.remove(last_long.unwrap_or(members.len() - 1));
    }
    (!members.is_empty()).then(|| members.join(",").into())
}

/// The bytes of a list with its commas.
fn bytes_of(members: &[&str]) -> usize {
    members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1)
}

/// A name, or `tenant@system`.
fn is_key(key: &str) -> bool {
    let is_name = |name: &str, longest: usize, may_begin_with_digit: bool| {
        let begins = |first: u8| first.is_ascii_lowercase() || (may_begin_with_digit && first.is_ascii_digit());
        let goes_on = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte);
        name.len() <= longest && name.bytes().next().is_some_and(begins) && name.bytes().all(goes_on)
    };
    match key.split_once('@') {
        Some((tenant, system)) => is_name(tenant, 241, true) && is_name(system, 14, false),
        None => is_name(key, 256, true),
    }
}

/// Printable ASCII without `,` and `=`; its end is no space, since it was trimmed.
fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len()) && value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b',' && byte != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_w3c_writes_them() {
        for (text, read_as) in [
            ("rojo=00f067aa0ba902b7", "rojo=00f067aa0ba902b7"),
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
            (" a=1 ,\tb=two words ,, c=3", "a=1,b=two words,c=3"),
            ("fw529a3039@dt=FfuBf,0-*/_z=~!", "fw529a3039@dt=FfuBf,0-*/_z=~!"),
        ] {
            assert_eq!(read(text).as_deref(), Some(read_as));
        }
    }

    #[test]
    fn broken_lists_are_rejected_as_a_whole() {
        let key = "k".repeat(257);
        let many = (0..=MAX_MEMBERS).map(|number| format!("k{number}=1")).collect::<Vec<_>>().join(",");
        let broken = [
            "",
            " , ",
            "a",
            "a=",
            "=1",
            "A=1",
            "a =1",
            "a=1=2",
            "a=ü",
            "a=1\r\nx: y",
            "a=1,a=2",
            "a@=1",
            "@dt=1",
            "a@0t=1",
            "a@b@c=1",
            "good=1,Bad=2",
            &format!("{key}=1"),
            &format!("a={}", "v".repeat(257)),
            "t@system-of-fifteen=1",
            &many,
            &"a=1,".repeat(MAX_READ),
        ];
        for text in broken {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn long_lists_lose_long_members_and_then_the_last() {
        let long = format!("long={}", "v".repeat(200));
        let short: Vec<String> = (0..8).map(|number| format!("k{number}={}", "v".repeat(60))).collect();
        let text = format!("{},{long},{}", short[0], short[1..].join(","));
        assert_eq!(read(&text).as_deref(), Some(short[..8].join(",").as_str()), "511 bytes are left");
        let text = format!("{},more={}", short.join(","), "v".repeat(100));
        assert_eq!(read(&text).as_deref(), Some(short.join(",").as_str()));
    }
}
