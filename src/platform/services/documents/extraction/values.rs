//! Values within a line: amounts of money, dates, codes and addresses of e-mail, as people write them.

use chrono::NaiveDate;

/// An amount of money.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Money {
    pub(super) value: f64,
    /// ISO 4217, where the text says it.
    pub(super) currency: Option<&'static str>,
}

const SYMBOLS: [(char, &str); 4] = [('$', "USD"), ('€', "EUR"), ('£', "GBP"), ('¥', "JPY")];
const CODES: [&str; 10] = ["USD", "EUR", "GBP", "CHF", "JPY", "CAD", "AUD", "SEK", "PLN", "INR"];
const MONTHS: [&[&str]; 12] = [
    &["january", "jan", "januar"],
    &["february", "feb", "februar"],
    &["march", "mar", "märz"],
    &["april", "apr"],
    &["may", "mai"],
    &["june", "jun", "juni"],
    &["july", "jul", "juli"],
    &["august", "aug"],
    &["september", "sep", "sept"],
    &["october", "oct", "oktober", "okt"],
    &["november", "nov"],
    &["december", "dec", "dezember", "dez"],
];

/// The amounts of a line, in their order.
pub(super) fn amounts(line: &str) -> Vec<Money> {
    let letters: Vec<char> = line.chars().collect();
    let at = |place: usize| letters.get(place).copied();
    let mut found = Vec::new();
    let mut place = 0;
    while let Some(letter) = at(place) {
        if !letter.is_ascii_digit() {
            place += 1;
            continue;
        }
        let start = place;
        while let Some(letter) = at(place) {
            let joins = matches!(letter, '.' | ',' | '\'' | ' ' | '\u{a0}') && is_group(&letters, place);
            if !letter.is_ascii_digit() && !joins {
                break;
            }
            place += 1;
        }
        let before = start.checked_sub(1).and_then(at);
        // Digits within a word or a code, a percentage, a date.
        let within = before.is_some_and(|letter| letter.is_alphanumeric() || "-/.#".contains(letter))
            || at(place).is_some_and(|letter| letter.is_alphanumeric() || "%-/".contains(letter))
            || (at(place) == Some(' ') && at(place + 1) == Some('%'));
        let token: String = letters.get(start..place).unwrap_or_default().iter().collect();
        if let Some(value) = number_of(&token).filter(|_| !within) {
            found.push(Money { value, currency: currency_near(&letters, start, place) });
        }
    }
    found
}

/// Whether a separator stands between digits; a space only before a group of three.
fn is_group(letters: &[char], place: usize) -> bool {
    let digit = |place: usize| letters.get(place).is_some_and(char::is_ascii_digit);
    let three = digit(place + 1) && digit(place + 2) && digit(place + 3) && !digit(place + 4);
    match letters.get(place) {
        Some(' ' | '\u{a0}') => three,
        _ => digit(place + 1),
    }
}

/// A number as people group it: `1,500.00`, `1.500,00`, `1'500.00`, `1 500`.
fn number_of(token: &str) -> Option<f64> {
    let last = token.rfind(['.', ',']);
    let decimals = last.map_or(0, |place| token.len() - place - 1);
    // A separator before three digits groups them, unless the number would begin with a zero.
    let is_decimal = last.is_some() && (decimals != 3 || token.starts_with("0."));
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).collect::<String>();
    let text = match last.filter(|_| is_decimal) {
        Some(place) => format!("{}.{}", digits(token.get(..place)?), digits(token.get(place + 1..)?)),
        None => digits(token),
    };
    if text.len() > 18 { None } else { text.parse().ok() }
}

fn currency_near(letters: &[char], start: usize, end: usize) -> Option<&'static str> {
    let symbol =
        |letter: Option<&char>| letter.and_then(|letter| SYMBOLS.iter().find(|(symbol, _)| symbol == letter)).map(|(_, code)| *code);
    let code = |part: Option<&[char]>| {
        let word: String = part?.iter().filter(|letter| letter.is_ascii_alphabetic()).collect();
        CODES.into_iter().find(|code| *code == word)
    };
    let spaced = |place: usize| letters.get(place) == Some(&' ');
    let before = start.checked_sub(1).map(|place| if spaced(place) { place.saturating_sub(1) } else { place });
    let after = if spaced(end) { end + 1 } else { end };
    symbol(before.and_then(|place| letters.get(place)))
        .or_else(|| symbol(letters.get(after)))
        .or_else(|| code(before.and_then(|place| letters.get(place.saturating_sub(2)..=place))))
        .or_else(|| code(letters.get(after..after + 3)))
}

/// The first date of a line as `YYYY-MM-DD`, or as written where day and month cannot be told apart.
pub(super) fn date(line: &str) -> Option<(String, bool)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    (0..words.len()).take(40).find_map(|start| {
        let word = |place: usize| words.get(start + place).map(|word| word.trim_matches(|letter: char| ",;()".contains(letter)));
        plain_date(word(0)?).or_else(|| {
            let (one, two, three) = (word(0)?, word(1)?, word(2)?);
            let year = whole(three.trim_end_matches('.'))?;
            let (day, month) = match (month_of(one), month_of(two)) {
                (None, Some(month)) => (one, month),
                (Some(month), None) => (two, month),
                _ => return None,
            };
            let day = day.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == '.');
            iso(year, month, whole(day)?)
        })
    })
}

fn plain_date(word: &str) -> Option<(String, bool)> {
    let word = word.trim_end_matches('.');
    let parts: Vec<&str> = word.split(['-', '.', '/']).collect();
    let [one, two, three] = parts.as_slice() else { return None };
    let (first, second, third) = (whole(one)?, whole(two)?, whole(three)?);
    if one.len() == 4 {
        return iso(first, second, third);
    }
    if three.len() != 4 {
        return None;
    }
    if !word.contains('/') || first > 12 || first == second {
        return iso(third, second, first);
    }
    if second > 12 {
        return iso(third, first, second);
    }
    // 02/03/2025 is in March or in February.
    iso(third, second, first).map(|_| (word.to_owned(), false))
}

fn iso(year: u32, month: u32, day: u32) -> Option<(String, bool)> {
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day).filter(|_| (1900..2200).contains(&year))?;
    Some((date.to_string(), true))
}

fn whole(text: &str) -> Option<u32> {
    if (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn month_of(word: &str) -> Option<u32> {
    let word = word.trim_end_matches('.').to_lowercase();
    MONTHS.iter().zip(1..).find(|(names, _)| names.contains(&word.as_str())).map(|(_, month)| month)
}

/// The first word of a line, if it is a code: it has a digit.
pub(super) fn code(line: &str) -> Option<String> {
    let word = line.split_whitespace().next()?.trim_matches(|letter: char| ".,;:()".contains(letter));
    let fits = (1..=40).contains(&word.chars().count())
        && word.chars().any(|letter| letter.is_ascii_digit())
        && word.chars().all(|letter| letter.is_alphanumeric() || "-_/.#".contains(letter));
    fits.then(|| word.to_owned())
}

/// The first e-mail address of a text.
pub(super) fn email(line: &str) -> Option<String> {
    line.split(|letter: char| letter.is_whitespace() || ",;()<>:\"".contains(letter))
        .map(|word| word.trim_end_matches('.'))
        .find(|word| crate::platform::services::data::is_email(word))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_however_they_are_grouped() {
        for (line, value, currency) in [
            ("$1,500.00", 1500.0, Some("USD")),
            ("1.500,00 €", 1500.0, Some("EUR")),
            ("EUR 1 500,00", 1500.0, Some("EUR")),
            ("CHF 1'500.50", 1500.5, Some("CHF")),
            ("1500", 1500.0, None),
            ("12,500", 12500.0, None),
            ("0.125 USD", 0.125, Some("USD")),
            ("€5", 5.0, Some("EUR")),
        ] {
            assert_eq!(amounts(line), [Money { value, currency }], "{line}");
        }
        assert_eq!(amounts("VAT 19% 285.00 of INV-2025-001 on 2025-02-07"), [Money { value: 285.0, currency: None }]);
        assert!(amounts("A4 b2b 20 %").is_empty());
    }

    #[test]
    fn dates_are_read_however_they_are_written() {
        for (line, date_text, sure) in [
            ("2025-02-07", "2025-02-07", true),
            ("07.02.2025", "2025-02-07", true),
            ("on 7 February 2025.", "2025-02-07", true),
            ("February 7th, 2025", "2025-02-07", true),
            ("7. März 2025", "2025-03-07", true),
            ("25/12/2024", "2024-12-25", true),
            ("12/25/2024", "2024-12-25", true),
            ("02/03/2025", "02/03/2025", false),
        ] {
            assert_eq!(date(line), Some((date_text.to_owned(), sure)), "{line}");
        }
        for none in ["", "2025-02-30", "1.2.3", "32.01.2025", "May 5"] {
            assert_eq!(date(none), None, "{none}");
        }
    }

    #[test]
    fn codes_and_addresses_are_told_from_words() {
        assert_eq!(code("INV-2025-001, of today"), Some("INV-2025-001".to_owned()));
        assert_eq!(code("date: 5"), None);
        assert_eq!(email("write to <anna@acme.example>."), Some("anna@acme.example".to_owned()));
        assert_eq!(email("a@b"), None);
    }
}
