//! Which addresses are on the public internet, by the registries of special purposes of IANA.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address can be reached from anywhere.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let is_special = match ip.octets() {
        [0 | 10 | 127 | 224..=255, ..]
        | [169, 254, ..]
        | [192, 168, ..]
        | [192, 88, 99, _]
        | [192, 0, 0 | 2, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => true,
        [100, second, ..] => second & 0xC0 == 64,
        [172, second, ..] => second & 0xF0 == 16,
        _ => false,
    };
    !is_special
}

/// Only the global unicast range, less what leads to addresses of IPv4, is for examples, or is for protocols.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        // Teredo, benchmarks and other protocols.
        [0x2001, second, ..] if second < 0x0200 => false,
        // Examples, and 6to4, which holds an address of IPv4.
        [0x2001, 0x0DB8, ..] | [0x2002, ..] => false,
        [0x3FFF, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xE000 == 0x2000,
    }
}
