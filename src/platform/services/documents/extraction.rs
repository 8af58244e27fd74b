//! Extraction: the values that a document of a type holds, found by their labels and read by their patterns.

mod rules;
mod values;

use serde_json::{Map, Number, Value};

use crate::error::{Error, Kind, Result};

use rules::{Form, Rule};

/// Most values of a request.
const MAX_ENTITIES: usize = 50;
/// Most lines that are looked at.
const MAX_LINES: usize = 20_000;
/// Longest line that is looked at, in bytes.
const MAX_LINE: usize = 2_000;

/// The values of a document.
#[derive(Debug, Default)]
pub(super) struct Extracted {
    /// Values by name, as answers name them.
    pub(super) values: Map<String, Value>,
    /// Names of values that the document does not show.
    pub(super) missing: Vec<String>,
    /// Mean confidence of what was asked for, 0 to 1; a missing value counts as 0.
    pub(super) confidence: f64,
}

/// Refuses names that cannot be values of a document.
pub(super) fn check_names(names: &[String]) -> Result<()> {
    let fault = |pointer: String, detail: &str| {
        Err(Error::new(Kind::Invalid, "FM-DOC-ENTITIES", "the values to extract cannot be told")
            .hint("Name values as the document does, such as `invoice_number` or `delivery address`.")
            .field(pointer, "name", detail))
    };
    if names.len() > MAX_ENTITIES {
        return fault("/extractionConfig/entities".to_owned(), "has more than 50 names");
    }
    for (place, name) in names.iter().enumerate() {
        if name.chars().count() > 60 || !name.chars().any(char::is_alphanumeric) {
            return fault(format!("/extractionConfig/entities/{place}"), "must be a name of 1 to 60 characters");
        }
    }
    Ok(())
}

/// Extracts the values that are named, or the usual ones of the type.
pub(super) fn extract(text: &str, kind: &str, names: Option<&[String]>) -> Extracted {
    let rules = match names {
        Some(names) if !names.is_empty() => names.iter().map(|name| rules::for_name(name, kind)).collect(),
        _ => rules::usual(kind),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && line.len() <= MAX_LINE).take(MAX_LINES).collect();
    let mut extracted = Extracted::default();
    let mut total = 0.0;
    for rule in &rules {
        let name = camel(&rule.name);
        match find(&lines, rule) {
            Some((value, confidence)) => {
                total += confidence;
                extracted.values.insert(name, value);
            }
            None => extracted.missing.push(name),
        }
    }
    let asked = f64::from(u32::try_from(rules.len().max(1)).unwrap_or(1));
    extracted.confidence = (total / asked * 100.0).round() / 100.0;
    extracted
}

/// Finds a value: behind its label, below it, or by its pattern alone.
fn find(lines: &[&str], rule: &Rule) -> Option<(Value, f64)> {
    for label in &rule.labels {
        for (place, line) in lines.iter().enumerate() {
            let Some(rest) = after_label(line, label) else { continue };
            let marked = rest.starts_with([':', '#', '=', '\t']);
            let value = rest.trim_start_matches(|letter: char| letter.is_whitespace() || ":#=.-–".contains(letter));
            let (value, sure) = match (value.is_empty(), marked) {
                (false, true) => (value, 0.95),
                // Without a colon words behind a label are a sentence.
                (false, false) if matches!(rule.form, Form::Text | Form::Company) => continue,
                (false, false) => (value, 0.85),
                (true, _) => (lines.get(place + 1).copied().unwrap_or_default(), 0.8),
            };
            if let Some((value, certainty)) = read(value, rule.form) {
                return Some((value, sure * certainty));
            }
        }
    }
    by_pattern(lines, rule)
}

/// What follows a label in a line, if the line has the label as words.
fn after_label<'l>(line: &'l str, label: &str) -> Option<&'l str> {
    // ASCII alone is lowered: places in the line stay what they are.
    let lower = line.to_ascii_lowercase();
    let start = lower.match_indices(label).map(|(start, _)| start).find(|start| {
        let before = line.get(..*start).and_then(|before| before.chars().next_back());
        let after = line.get(start + label.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })?;
    line.get(start + label.len()..)
}

fn read(text: &str, form: Form) -> Option<(Value, f64)> {
    match form {
        Form::Code => values::code(text).map(|code| (Value::String(code), 1.0)),
        Form::Amount => {
            let amounts = values::amounts(text);
            let amount = amounts.iter().find(|amount| amount.currency.is_some()).or(amounts.last())?;
            Some((Value::Number(Number::from_f64(amount.value)?), 1.0))
        }
        Form::Currency => values::amounts(text).iter().find_map(|amount| amount.currency).map(|code| (Value::from(code), 1.0)),
        Form::Date => values::date(text).map(|(date, sure)| (Value::String(date), if sure { 1.0 } else { 0.6 })),
        Form::Email => values::email(text).map(|email| (Value::String(email), 1.0)),
        Form::Text | Form::Company => {
            let part = text.split(['\t', '|', ';']).next().unwrap_or_default();
            let part = part.split("  ").next().unwrap_or_default().trim();
            let fits = part.chars().count() <= 200 && part.chars().any(char::is_alphanumeric) && !part.ends_with(':');
            fits.then(|| (Value::from(part), 1.0))
        }
        Form::Parties => None,
    }
}

/// Finds what needs no label: addresses of e-mail, currencies, companies by their form, and the parties of a contract.
fn by_pattern(lines: &[&str], rule: &Rule) -> Option<(Value, f64)> {
    match rule.form {
        Form::Email => lines.iter().find_map(|line| values::email(line)).map(|email| (Value::String(email), 0.6)),
        Form::Currency => {
            lines.iter().flat_map(|line| values::amounts(line)).find_map(|amount| amount.currency).map(|code| (Value::from(code), 0.8))
        }
        Form::Company => lines.iter().take(15).find(|line| is_company(line)).map(|line| (Value::from(*line), 0.5)),
        Form::Parties => parties(lines).map(|parties| (Value::from(parties), 0.8)),
        _ => None,
    }
}

fn is_company(line: &str) -> bool {
    const FORMS: [&str; 12] = ["Inc", "Inc.", "Ltd", "Ltd.", "LLC", "GmbH", "AG", "SE", "Corp", "Corp.", "Limited", "S.A."];
    let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_end_matches(',')).collect();
    (2..=6).contains(&words.len()) && words.last().is_some_and(|last| FORMS.contains(last))
}

/// The two names in "between A and B".
fn parties(lines: &[&str]) -> Option<Vec<String>> {
    let text = lines.iter().take(200).copied().collect::<Vec<_>>().join(" ");
    let lower = text.to_ascii_lowercase();
    let start = lower.find("between ")? + "between ".len();
    let middle = start + lower.get(start..)?.find(" and ")?;
    let name = |part: &str| part.split(['(', ',', ';']).next().unwrap_or_default().trim_matches([' ', ':', '"']).to_owned();
    let one = name(text.get(start..middle)?);
    let rest = text.get(middle + " and ".len()..)?;
    let end = rest.find(". ").or_else(|| rest.strip_suffix('.').map(str::len)).unwrap_or(rest.len());
    let other = name(rest.get(..end)?);
    let fits = |name: &String| (2..=100).contains(&name.chars().count());
    (fits(&one) && fits(&other)).then(|| vec![one, other])
}

/// The name of a value as answers write it: `invoice_number` is `invoiceNumber`.
fn camel(name: &str) -> String {
    let mut camel = String::new();
    for (place, word) in name.split('_').filter(|word| !word.is_empty()).enumerate() {
        let mut letters = word.chars();
        if let Some(first) = letters.next().filter(|_| place > 0) {
            camel.extend(first.to_uppercase());
            camel.push_str(letters.as_str());
        } else {
            camel.push_str(word);
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_contracts_invoice_gives_its_values() {
        let text = "Supplier Inc.\nINVOICE\nInvoice Number: INV-2025-001\nInvoice date: 7 February 2025\nTotal due   $1,500.00\n";
        let found = extract(text, "invoice", Some(&names(&["invoice_number", "amount", "vendor"])));
        assert_eq!(Value::Object(found.values), json!({ "invoiceNumber": "INV-2025-001", "amount": 1500.0, "vendor": "Supplier Inc." }));
        assert!(found.missing.is_empty());
        let usual = extract(text, "invoice", None);
        assert_eq!((&usual.values["invoiceDate"], &usual.values["currency"]), (&json!("2025-02-07"), &json!("USD")));
        assert!(usual.missing.contains(&"dueDate".to_owned()) && usual.confidence < found.confidence);
    }

    #[test]
    fn a_contract_gives_parties_and_dates() {
        let text = "Lease agreement between Acme Corp (the landlord) and Ben Novak, hereinafter the tenant.\n\
                    Effective date: 2025-03-01\nNotice period: three months\nGoverning law: Germany";
        let found = extract(text, "contract", None).values;
        assert_eq!(found["parties"], json!(["Acme Corp", "Ben Novak"]));
        assert_eq!((&found["effectiveDate"], &found["noticePeriod"]), (&json!("2025-03-01"), &json!("three months")));
    }

    #[test]
    fn any_label_of_the_document_can_be_asked_for() {
        let text = "Delivery address: 5 Cedar Street\nOrder total\n1.250,50 EUR\nshipping fee: none\nOrder totals are final 7";
        let found = extract(text, "other", Some(&names(&["deliveryAddress", "order_total", "shipping fee", "colour"])));
        assert_eq!(
            Value::Object(found.values),
            json!({ "deliveryAddress": "5 Cedar Street", "orderTotal": 1250.5, "shippingFee": "none" })
        );
        assert_eq!(found.missing, ["colour"]);
    }

    #[test]
    fn names_are_bounded() {
        assert!(check_names(&names(&["a", "b_c"])).is_ok());
        for wrong in [names(&["a", "-"]), names(&[&"x".repeat(61)]), vec!["a".to_owned(); 51]] {
            assert_eq!(check_names(&wrong).unwrap_err().code(), "FM-DOC-ENTITIES");
        }
    }
}
