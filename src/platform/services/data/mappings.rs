//! Proposals which field of a source fills which target field, by the likeness of names and the agreement of types.

use std::collections::HashSet;

use super::profile::{Profile, share};
use super::values::ValueType;
use crate::api::processes::SuggestedMapping;

/// Least likeness of two names for a proposal, 0 to 1.
const MIN_NAME: f64 = 0.5;
/// How much the agreement of types counts beside the names.
const TYPE_WEIGHT: f64 = 0.25;
/// Longest name that is compared, in characters.
const MAX_NAME: usize = 100;
/// Most pairs of fields that are compared.
const MAX_PAIRS: usize = 250_000;

/// A field by its name and its type, where that is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) kind: Option<ValueType>,
}

impl Slot {
    /// The fields of a profile.
    pub(super) fn of_profile(profile: &Profile) -> Vec<Self> {
        profile.fields.iter().map(|field| Self { name: field.name(), kind: field.kind }).collect()
    }
}

/// Words for the same thing in names of fields, each list under its first.
const SYNONYMS: [&[&str]; 18] = [
    &["id", "identifier", "key", "uuid", "guid", "ref", "reference"],
    &["number", "no", "nr", "num"],
    &["mail", "email"],
    &["phone", "telephone", "tel", "mobile", "cell", "fon"],
    &["postcode", "zip", "zipcode", "postal", "plz"],
    &["last", "surname", "family"],
    &["first", "given", "forename"],
    &["company", "organisation", "organization", "org", "firm", "corp"],
    &["customer", "client", "cust", "buyer"],
    &["supplier", "vendor", "seller"],
    &["amount", "total", "sum", "value"],
    &["quantity", "qty", "count"],
    &["address", "addr"],
    &["description", "desc", "note", "comment", "remark"],
    &["created", "creation", "inserted", "added"],
    &["updated", "modified", "changed"],
    &["birthdate", "dob", "birthday"],
    &["city", "town", "locality"],
];

/// The words of a name, each as its list's first: `custEmail` and `client_mail` have the same.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut lower_before = false;
    for letter in name.chars().take(MAX_NAME) {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && lower_before) {
            words.push(std::mem::take(&mut word));
        }
        lower_before = letter.is_lowercase() || letter.is_numeric();
        word.extend(letter.to_lowercase().filter(|letter| letter.is_alphanumeric()));
    }
    words.push(word);
    // "e-mail" is one word.
    words.retain(|word| !word.is_empty() && word != "e");
    let canonical = |word: String| {
        let first = SYNONYMS.iter().find(|list| list.contains(&word.as_str())).and_then(|list| list.first());
        first.map_or(word, |first| (*first).to_owned())
    };
    words.into_iter().map(canonical).collect()
}

/// How alike two names are, 0 to 1: the share of common words, or the likeness of their letters, whichever is greater.
fn alike(one: &[String], other: &[String]) -> f64 {
    if one.is_empty() || other.is_empty() {
        return 0.0;
    }
    if one == other {
        return 1.0;
    }
    let (first, second): (HashSet<&String>, HashSet<&String>) = (one.iter().collect(), other.iter().collect());
    let common = share(2 * first.intersection(&second).count(), first.len() + second.len());
    let letters = strsim::normalized_damerau_levenshtein(&one.concat(), &other.concat());
    // Letters alone are a weak sign: "date" and "rate" differ in one.
    common.max(if letters >= 0.8 { letters * 0.9 } else { 0.0 }).min(0.97)
}

/// How well values of a type can go where another is expected, 0 to 1; unknown types neither help nor harm.
fn agreement(source: Option<ValueType>, target: Option<ValueType>) -> Option<f64> {
    use ValueType::{Date, Integer, Number, String, Timestamp};
    let (source, target) = (source?, target?);
    Some(match (source, target) {
        _ if source == target => 1.0,
        (Integer, Number) => 0.95,
        (Date, Timestamp) | (Timestamp, Date) | (Number, Integer) => 0.8,
        (Date | Timestamp, String) => 0.9,
        (_, String) => 0.7,
        (String, _) => 0.3,
        _ => 0.0,
    })
}

/// Proposes pairs, the surest first. Each field of source and target is in one pair at most.
pub(super) fn suggest(sources: &[Slot], targets: &[Slot]) -> Vec<SuggestedMapping> {
    let read = |slots: &[Slot]| slots.iter().map(|slot| words(&slot.name)).collect::<Vec<_>>();
    let (from, to) = (read(sources), read(targets));
    let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
    let places = (0..sources.len()).flat_map(|source| (0..targets.len()).map(move |target| (source, target)));
    for (source, target) in places.take(MAX_PAIRS) {
        let (Some(source_words), Some(target_words)) = (from.get(source), to.get(target)) else { continue };
        let name = alike(source_words, target_words);
        if name < MIN_NAME {
            continue;
        }
        let types = agreement(sources.get(source).and_then(|slot| slot.kind), targets.get(target).and_then(|slot| slot.kind));
        let confidence = types.map_or(name * 0.95, |types| name * (1.0 - TYPE_WEIGHT) + types * TYPE_WEIGHT);
        // A value that cannot go there is no proposal, whatever the names are.
        if types != Some(0.0) {
            pairs.push(((confidence * 100.0).round() / 100.0, source, target));
        }
    }
    pairs.sort_by(|one, other| other.0.total_cmp(&one.0).then((one.1, one.2).cmp(&(other.1, other.2))));
    let (mut used_sources, mut used_targets) = (HashSet::new(), HashSet::new());
    let mut suggested = Vec::new();
    for (confidence, source, target) in pairs {
        if used_sources.contains(&source) || used_targets.contains(&target) {
            continue;
        }
        used_sources.insert(source);
        used_targets.insert(target);
        if let (Some(source), Some(target)) = (sources.get(source), targets.get(target)) {
            suggested.push(SuggestedMapping { source: source.name.clone(), target: target.name.clone(), confidence });
        }
    }
    suggested
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(fields: &[(&str, Option<ValueType>)]) -> Vec<Slot> {
        fields.iter().map(|(name, kind)| Slot { name: (*name).to_owned(), kind: *kind }).collect()
    }

    fn pairs(sources: &[(&str, Option<ValueType>)], targets: &[(&str, Option<ValueType>)]) -> Vec<(String, String)> {
        suggest(&slots(sources), &slots(targets)).into_iter().map(|mapping| (mapping.source, mapping.target)).collect()
    }

    #[test]
    fn names_are_alike_whatever_their_spelling() {
        for (one, other) in [
            ("custEmail", "customer_e-mail"),
            ("client-no", "CustomerNumber"),
            ("zip", "postal_code"),
            ("createdAt", "created_at"),
            ("invoice_ammount", "invoiceAmount"),
        ] {
            assert_eq!(pairs(&[(one, None)], &[(other, None)]), [(one.to_owned(), other.to_owned())]);
        }
        for (one, other) in [("date", "rate"), ("name", "price"), ("", "x"), ("--", "--")] {
            assert!(pairs(&[(one, None)], &[(other, None)]).is_empty(), "{one} {other}");
        }
    }

    #[test]
    fn types_decide_between_names_and_rule_out_what_cannot_be() {
        use ValueType::{Array, Number, String};
        let found = pairs(&[("amount", Some(Number)), ("total", Some(String))], &[("total_amount", Some(Number))]);
        assert_eq!(found, [("amount".to_owned(), "total_amount".to_owned())]);
        assert!(pairs(&[("tags", Some(Array))], &[("tags", Some(Number))]).is_empty());
        let sure = suggest(&slots(&[("n", Some(Number))]), &slots(&[("n", Some(Number))]));
        assert!((sure[0].confidence - 1.0).abs() < f64::EPSILON);
        assert!(suggest(&slots(&[("n", Some(String))]), &slots(&[("n", Some(Number))]))[0].confidence < 0.9);
    }

    #[test]
    fn a_field_is_in_one_pair_at_most() {
        let found = pairs(&[("id", None), ("customer_id", None)], &[("customerId", None), ("id", None)]);
        assert_eq!(found.len(), 2);
        assert!(found.contains(&("id".to_owned(), "id".to_owned())));
    }
}
