//! The type of a document by the phrases that documents of a type hold. Each decision names the phrases that it rests on.

/// The type of a document without a phrase that tells.
pub(super) const OTHER: &str = "other";
/// Most text that is looked at, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// Weight of the possibility that it is of none of these types.
const PRIOR: f64 = 3.0;
/// Least confidence of a type.
const MIN_CONFIDENCE: f64 = 0.2;
/// Most phrases that a decision names.
const NAMED: usize = 5;

/// The phrases of each type, with what each is worth.
const TYPES: [(&str, &[(&str, f64)]); 8] = [
    (
        "invoice",
        &[
            ("invoice", 3.0),
            ("invoice number", 3.0),
            ("invoice no", 3.0),
            ("invoice date", 2.0),
            ("bill to", 2.0),
            ("amount due", 2.0),
            ("total due", 2.0),
            ("due date", 1.0),
            ("payment terms", 1.0),
            ("subtotal", 1.0),
            ("vat", 1.0),
            ("rechnung", 3.0),
            ("rechnungsnummer", 3.0),
            ("mwst", 1.0),
            ("zahlbar", 1.0),
            ("facture", 3.0),
        ],
    ),
    (
        "contract",
        &[
            ("agreement", 2.5),
            ("contract", 2.5),
            ("hereinafter", 2.0),
            ("the parties", 2.0),
            ("party", 0.5),
            ("governing law", 2.0),
            ("termination", 1.5),
            ("notice period", 1.5),
            ("effective date", 1.5),
            ("in witness whereof", 3.0),
            ("whereas", 2.0),
            ("lease", 1.5),
            ("tenant", 1.0),
            ("landlord", 1.5),
            ("vertrag", 2.5),
            ("vertragsparteien", 2.5),
            ("kündigung", 1.5),
            ("mietvertrag", 3.0),
        ],
    ),
    (
        "form",
        &[
            ("application form", 3.0),
            ("registration form", 3.0),
            ("form", 1.0),
            ("please complete", 2.5),
            ("please fill", 2.5),
            ("date of birth", 1.5),
            ("applicant", 1.5),
            ("signature", 1.0),
            ("tick", 1.0),
            ("block letters", 2.0),
            ("antrag", 2.0),
            ("formular", 2.5),
            ("geburtsdatum", 1.5),
        ],
    ),
    (
        "receipt",
        &[
            ("receipt", 3.0),
            ("cash", 1.0),
            ("change", 0.5),
            ("card ending", 2.0),
            ("thank you for your purchase", 3.0),
            ("cashier", 2.0),
            ("paid", 1.0),
            ("quittung", 3.0),
            ("kassenbon", 3.0),
        ],
    ),
    (
        "purchase_order",
        &[
            ("purchase order", 4.0),
            ("po number", 3.0),
            ("ship to", 2.0),
            ("delivery date", 1.5),
            ("unit price", 1.0),
            ("quantity", 0.5),
            ("bestellung", 3.0),
            ("bestellnummer", 2.0),
        ],
    ),
    (
        "resume",
        &[
            ("curriculum vitae", 4.0),
            ("resume", 2.0),
            ("work experience", 3.0),
            ("education", 1.5),
            ("skills", 1.5),
            ("references", 0.5),
            ("lebenslauf", 4.0),
            ("berufserfahrung", 3.0),
        ],
    ),
    (
        "report",
        &[
            ("report", 2.0),
            ("executive summary", 3.0),
            ("findings", 1.5),
            ("recommendations", 1.5),
            ("conclusion", 1.5),
            ("introduction", 1.0),
            ("bericht", 2.0),
            ("zusammenfassung", 2.0),
        ],
    ),
    (
        "letter",
        &[
            ("dear", 2.0),
            ("yours sincerely", 3.0),
            ("yours faithfully", 3.0),
            ("kind regards", 2.5),
            ("best regards", 2.5),
            ("sehr geehrte", 3.0),
            ("mit freundlichen grüßen", 3.0),
        ],
    ),
];

/// A type and how sure it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scored {
    pub(super) kind: &'static str,
    /// 0 to 1.
    pub(super) confidence: f64,
    /// The phrases that speak for it, the weightiest first.
    pub(super) evidence: Vec<&'static str>,
}

/// The types that a text may be of, the likeliest first; never empty.
pub(super) fn classify(text: &str) -> Vec<Scored> {
    let text = plain(text);
    let mut scores: Vec<(f64, Scored)> = Vec::new();
    for (kind, phrases) in TYPES {
        let mut found: Vec<(f64, &'static str)> = Vec::new();
        for (phrase, worth) in phrases {
            // A phrase that is repeated counts more, but not each time again.
            let times = text.matches(&format!(" {phrase} ")).take(9).count();
            if times > 0 {
                found.push((worth * f64::from(u8::try_from(times).unwrap_or(9)).sqrt(), phrase));
            }
        }
        found.sort_by(|one, other| other.0.total_cmp(&one.0));
        let score: f64 = found.iter().map(|(worth, _)| worth).sum();
        let evidence = found.iter().take(NAMED).map(|(_, phrase)| *phrase).collect();
        scores.push((score, Scored { kind, confidence: 0.0, evidence }));
    }
    let total: f64 = scores.iter().map(|(score, _)| score).sum::<f64>() + PRIOR;
    let mut ranked: Vec<Scored> = scores
        .into_iter()
        .filter(|(score, _)| *score > 0.0)
        .map(|(score, scored)| Scored { confidence: (score / total * 100.0).round() / 100.0, ..scored })
        .collect();
    ranked.sort_by(|one, other| other.confidence.total_cmp(&one.confidence));
    // Nothing that tells is a weak sign that it is of another type.
    if ranked.first().is_none_or(|best| best.confidence < MIN_CONFIDENCE) {
        ranked.insert(0, Scored { kind: OTHER, confidence: (PRIOR / total * 50.0).round() / 100.0, evidence: Vec::new() });
    }
    ranked
}

/// Lower-case words with one space around each.
fn plain(text: &str) -> String {
    let mut plain = String::from(" ");
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        plain.extend(word.chars().flat_map(char::to_lowercase));
        plain.push(' ');
        if plain.len() > MAX_TEXT {
            break;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_told_by_its_phrases() {
        for (text, kind) in [
            ("INVOICE\nInvoice number: INV-1\nBill to: Acme\nTotal due: $5", "invoice"),
            ("This lease agreement is made between the parties. The notice period is three months. Termination …", "contract"),
            ("Application form. Please complete in block letters. Date of birth:", "form"),
            ("Rechnung\nRechnungsnummer: 5\nzzgl. MwSt", "invoice"),
            ("Dear Ms Jansen,\nthank you.\nYours sincerely", "letter"),
            ("the cat sat on the mat", OTHER),
            ("", OTHER),
        ] {
            let best = &classify(text)[0];
            assert_eq!(best.kind, kind, "{text}: {best:?}");
            assert!(best.kind == OTHER || !best.evidence.is_empty());
        }
    }

    #[test]
    fn more_evidence_is_more_confidence() {
        let weak = &classify("invoice")[0];
        let strong = &classify("invoice number 5, invoice date, bill to, amount due, subtotal, vat, invoice")[0];
        assert!(weak.confidence < strong.confidence && strong.confidence < 1.0, "{weak:?} {strong:?}");
        assert_eq!(weak.evidence, ["invoice"]);
        assert_eq!(classify("invoiced").len(), 1, "a part of a word is not the word");
    }
}
