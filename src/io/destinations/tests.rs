//! Addresses in every spelling, and names that lead elsewhere.

use super::*;

fn public(hosts: &[&str]) -> Destinations {
    Destinations { hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), reach: Reach::Public }
}

#[cfg(feature = "platform")]
fn near(own: &str) -> Destinations {
    Destinations { hosts: vec!["10.1.1.1".to_owned(), "erp.example.com".to_owned()], reach: Reach::Near { own: own.parse().unwrap() } }
}

fn admitted(rules: &Destinations, url: &str) -> Result<(), String> {
    rules.admit(&parse(url)?)
}

fn reachable(rules: &Destinations, name: &str, ips: &[&str]) -> Vec<String> {
    let found = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    rules.reachable(name, found).unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[cfg(feature = "platform")]
#[test]
fn only_this_machine_is_called_and_never_this_platform() {
    for url in [
        "http://127.0.0.1:9000/hook",
        "https://[::1]:1/x?y=1#z",
        "http://127.9.9.9/",
        "http://10.1.1.1/",
        "http://2130706433/",
        "http://localhost:9000/",
        "https://ERP.example.com./api",
    ] {
        admitted(&near("127.0.0.1:7000"), url).unwrap();
    }
    for url in [
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "not a url",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1:7000/entities",
        "http://localhost.:7000/entities",
        "http://0x7f.1:7000/",
        "http://[::ffff:127.0.0.1]:7000/",
        "http://10.0.0.1/",
        "http://0.0.0.0:9000/",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://erp.example.com.evil.example/",
        "http://localhost.evil.example/",
    ] {
        assert!(admitted(&near("127.0.0.1:7000"), url).is_err(), "{url}");
    }
    assert!(admitted(&near("0.0.0.0:7000"), "http://erp.example.com:7000/").is_err());
    admitted(&near("0.0.0.0:7000"), "http://erp.example.com/").unwrap();
}

#[cfg(feature = "platform")]
#[test]
fn only_addresses_that_fit_their_name_are_connected_to() {
    let rules = near("10.9.9.9:7000");
    assert_eq!(reachable(&rules, "localhost", &["127.0.0.1", "10.0.0.1", "::1"]), ["127.0.0.1", "::1"]);
    let rebound = ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "169.254.169.254", "fe80::1", "10.9.9.9", "10.0.0.1"];
    assert_eq!(reachable(&rules, "erp.example.com", &rebound), ["10.0.0.1"]);
    assert!(reachable(&rules, "other.example.com", &["10.0.0.1"]).is_empty());
}

#[test]
fn a_public_receiver_is_an_allowed_host_and_never_within() {
    // Whatever the operator lists, only a loopback address with its port counts, written as it is.
    let rules = public(&[
        "hooks.example.com",
        "93.184.216.34",
        "127.0.0.1:9000",
        "localhost",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00::1]",
        "192.168.1.1:443",
    ]);
    for url in
        ["https://hooks.example.com/a?b=c", "https://HOOKS.example.com.:8443/", "https://93.184.216.34/", "http://127.0.0.1:9000/hook"]
    {
        admitted(&rules, url).unwrap();
    }
    admitted(&rules, "http://0x7f000001:9000/hook").unwrap();
    for url in [
        "http://hooks.example.com/",
        "http://93.184.216.34/",
        "https://other.example.com/",
        "https://hooks.example.com.evil.example/",
        "https://user@hooks.example.com/",
        "https://localhost/",
        "https://127.0.0.1/",
        "http://127.0.0.1:9001/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a00:1]/",
        "https://10.0.0.1/",
        "https://167772161/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://0xa9fea9fe/",
        "https://[fd00::1]/",
        "https://[fe80::1]/",
        "https://0.0.0.0/",
        "https://100.64.0.1/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
    ] {
        assert!(admitted(&rules, url).is_err(), "{url}");
    }
    assert!(admitted(&public(&[]), "https://hooks.example.com/").is_err());
}

#[test]
fn a_name_of_a_public_receiver_leads_to_public_addresses_alone() {
    let rules = public(&["hooks.example.com", "localhost"]);
    let found = [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "10.2.3.4",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::ffff:10.0.0.1",
        "fe80::1",
        "fd12::1",
        "ff02::1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "2001::1",
        "2001:db8::1",
        "93.184.216.34",
        "2606:2800:220:1::1",
    ];
    assert_eq!(reachable(&rules, "hooks.example.com", &found), ["93.184.216.34", "2606:2800:220:1::1"]);
    assert!(reachable(&rules, "other.example.com", &["93.184.216.34"]).is_empty());
    assert!(reachable(&rules, "localhost", &["127.0.0.1", "::1"]).is_empty());
}
