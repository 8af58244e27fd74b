//! What the look of a portal must be like.

use reqwest::Url;

use crate::api::portals::Branding;
use crate::error::{Error, Kind, Result};

const MAX_URL: usize = 2_048;

/// Rejects a look that no browser could show; answers it as it is stored. `at` is the pointer to the branding.
pub(super) fn checked(at: &str, mut branding: Branding) -> Result<Branding> {
    if let Some(logo) = &branding.logo {
        check_logo(logo).map_err(|detail| fault("FM-PMS-LOGO", format!("{at}/logo"), "the logo is not an address of an image", detail))?;
    }
    if branding.primary_color.as_deref().is_some_and(|color| !is_color(color)) {
        let detail = "is `#` and six hexadecimal digits, such as #FF6B35";
        return Err(fault("FM-PMS-COLOR", format!("{at}/primaryColor"), "the main colour is not a colour", detail));
    }
    if let Some(domain) = &mut branding.custom_domain {
        domain.make_ascii_lowercase();
        check_domain(domain)
            .map_err(|detail| fault("FM-PMS-DOMAIN", format!("{at}/customDomain"), "the portal cannot have this host name", detail))?;
    }
    Ok(branding)
}

fn fault(code: &'static str, pointer: String, message: &str, detail: &str) -> Error {
    Error::new(Kind::Invalid, code, message).field(pointer, "format", detail)
}

fn check_logo(logo: &str) -> std::result::Result<(), &'static str> {
    if logo.len() > MAX_URL {
        return Err("has at most 2048 bytes");
    }
    let url = Url::parse(logo).map_err(|_| "is an address such as https://acme.com/logo.png")?;
    // A page over https shows no image over http, and an address with a script would run in the portal.
    if url.scheme() != "https" || url.host_str().is_none_or(str::is_empty) {
        return Err("begins with https:// and a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds no user and no password, which every visitor would see");
    }
    Ok(())
}

fn is_color(color: &str) -> bool {
    color.strip_prefix('#').is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn check_domain(domain: &str) -> std::result::Result<(), &'static str> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if domain.len() > 253 || !domain.split('.').all(is_label) {
        return Err("is a host name of letters, digits, `-` and dots, such as portal.acme.com; other letters go by their xn-- form");
    }
    let top = domain.rsplit_once('.').map(|(_, top)| top);
    if !top.is_some_and(|top| top.len() >= 2 && top.bytes().any(|byte| byte.is_ascii_alphabetic())) {
        return Err("is a full host name such as portal.acme.com, not an IP address or a single word");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_full_host_name() {
        for domain in ["portal.acme.com", "xn--mnchen-3ya.de", "a.b.c.d.co", "1.acme.com"] {
            assert_eq!(check_domain(domain), Ok(()), "{domain}");
        }
        for domain in ["", "portal", "10.0.0.1", "portal.acme.com.", "https://a.com", "a.com/x", "a.com:80", "a_b.com", "-a.com", "a..com"]
        {
            assert!(check_domain(domain).is_err(), "{domain}");
        }
    }

    #[test]
    fn a_logo_is_an_image_that_every_visitor_may_load() {
        assert_eq!(check_logo("https://acme.com/logo.png"), Ok(()));
        for logo in ["http://acme.com/logo.png", "javascript:alert(1)", "data:image/png;base64,AA==", "/logo.png", "https://u:p@acme.com/"]
        {
            assert!(check_logo(logo).is_err(), "{logo}");
        }
    }
}
