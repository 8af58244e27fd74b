//! The recipient: addresses as they are kept, and the channels that reach them.

use lettre::Address;

use crate::api::ids::UserId;
use crate::api::notifications::{NotificationChannel, Recipient};
use crate::error::{Error, Kind, Result};
use crate::platform::identity::users;

/// Rejects a recipient whose addresses are not valid; answers it as it is kept.
pub(super) fn checked(recipient: Recipient) -> Result<Recipient> {
    let Recipient { email, user_id, phone } = recipient;
    let email = match email {
        None => None,
        Some(email) => Some(normal_email(&email).ok_or_else(|| fault("FM-NS-EMAIL", "email", "is an address such as user@company.com"))?),
    };
    let phone =
        match phone {
            None => None,
            Some(phone) => Some(normal_phone(&phone).ok_or_else(|| {
                fault("FM-NS-PHONE", "phone", "is a number with its country, `+` and 7 to 15 digits, such as +14155550100")
            })?),
        };
    if user_id.as_ref().is_some_and(|id| id.as_str().chars().any(char::is_control)) {
        return Err(fault("FM-NS-RECIPIENT", "userId", "holds no control characters"));
    }
    if email.is_none() && phone.is_none() && user_id.is_none() {
        return Err(Error::new(Kind::Invalid, "FM-NS-RECIPIENT", "the recipient has no address")
            .hint("Give at least one of `email`, `userId` and `phone`."));
    }
    Ok(Recipient { email, user_id, phone })
}

/// Takes the e-mail address from the user's account where the recipient has none: many sign in by it.
pub(super) fn complete(recipient: &mut Recipient, user: Option<&users::Row>) {
    if recipient.email.is_none() {
        recipient.email = user.and_then(|user| normal_email(&user.username));
    }
}

/// The address that a channel sends to; nothing where the channel does not reach the recipient.
pub(super) fn address<'r>(recipient: &'r Recipient, channel: &NotificationChannel) -> Option<&'r str> {
    match channel {
        NotificationChannel::Email => recipient.email.as_deref(),
        NotificationChannel::Sms => recipient.phone.as_deref(),
        NotificationChannel::Push => recipient.user_id.as_ref().map(UserId::as_str),
        NotificationChannel::Other(_) => None,
    }
}

/// The field of the recipient that a channel needs.
pub(super) fn field(channel: &NotificationChannel) -> &'static str {
    match channel {
        NotificationChannel::Sms => "phone",
        NotificationChannel::Push => "userId",
        _ => "email",
    }
}

fn fault(code: &'static str, field: &str, detail: &str) -> Error {
    Error::new(Kind::Invalid, code, format!("the recipient's {field} is not valid")).field(format!("/recipient/{field}"), "format", detail)
}

/// An address with its host name in lower case.
fn normal_email(email: &str) -> Option<String> {
    let address: Address = email.trim().parse().ok()?;
    Some(format!("{}@{}", address.user(), address.domain().to_lowercase()))
}

/// A number without the signs that people write between digits.
fn normal_phone(phone: &str) -> Option<String> {
    let digits = phone.trim().strip_prefix('+')?;
    let digits: String = digits.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
    let is_number = (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    is_number.then(|| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_without_what_people_write_between_digits() {
        assert_eq!(normal_phone("+1 (415) 555-0100").as_deref(), Some("+14155550100"));
        for none in ["4155550100", "+1", "+0123456789", "+1415555010012345", "+1415a550100", ""] {
            assert_eq!(normal_phone(none), None, "{none}");
        }
    }

    #[test]
    fn an_address_is_one_that_mail_can_be_sent_to() {
        assert_eq!(normal_email("Ann.Lee@Company.COM").as_deref(), Some("Ann.Lee@company.com"));
        for none in ["", "ann", "@company.com", "ann@", "ann@company.com\r\nBcc: eve@x.com", "Ann <ann@company.com>", "a b@company.com"] {
            assert_eq!(normal_email(none), None, "{none}");
        }
    }
}
