//! Which values documents of a type hold, by which labels they go, and what they look like.

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Amount,
    Code,
    Company,
    Currency,
    Date,
    Email,
    Parties,
    Text,
}

/// A value, and how it is found.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Name of the value, in lower case with `_` between words.
    pub(super) name: String,
    /// Labels in lower case, the surest first.
    pub(super) labels: Vec<String>,
    pub(super) form: Form,
}

type Row = (&'static str, Form, &'static [&'static str]);

const INVOICE: [Row; 9] = [
    ("invoice_number", Form::Code, &["invoice number", "invoice no", "invoice id", "rechnungsnummer", "rechnung nr", "invoice", "number"]),
    (
        "amount",
        Form::Amount,
        &["total due", "amount due", "balance due", "grand total", "total amount", "invoice total", "gesamtbetrag", "total", "amount"],
    ),
    ("currency", Form::Currency, &["currency"]),
    ("vendor", Form::Company, &["vendor", "supplier", "seller", "from", "billed by", "lieferant"]),
    ("customer", Form::Text, &["bill to", "billed to", "customer", "client", "buyer", "kunde"]),
    ("invoice_date", Form::Date, &["invoice date", "date of issue", "issue date", "rechnungsdatum", "date", "datum"]),
    ("due_date", Form::Date, &["due date", "payment due", "due by", "due on", "zahlbar bis"]),
    ("tax", Form::Amount, &["vat", "sales tax", "tax", "mwst"]),
    ("purchase_order", Form::Code, &["purchase order", "po number", "po no", "order number"]),
];
const CONTRACT: [Row; 7] = [
    ("contract_number", Form::Code, &["contract number", "contract no", "agreement number", "agreement no", "vertragsnummer"]),
    ("parties", Form::Parties, &[]),
    (
        "effective_date",
        Form::Date,
        &["effective date", "commencement date", "start date", "effective as of", "beginning on", "vertragsbeginn"],
    ),
    ("end_date", Form::Date, &["end date", "expiry date", "expiration date", "terminates on", "ends on", "vertragsende"]),
    ("notice_period", Form::Text, &["notice period", "kündigungsfrist"]),
    ("governing_law", Form::Text, &["governing law", "applicable law"]),
    ("amount", Form::Amount, &["monthly rent", "contract value", "annual fee", "fee", "rent", "price"]),
];
const FORM: [Row; 5] = [
    ("name", Form::Text, &["full name", "applicant name", "name of applicant", "applicant", "name"]),
    ("date_of_birth", Form::Date, &["date of birth", "birth date", "geburtsdatum"]),
    ("email", Form::Email, &["e-mail address", "email address", "e-mail", "email"]),
    ("phone", Form::Text, &["telephone number", "phone number", "telephone", "phone", "mobile"]),
    ("address", Form::Text, &["postal address", "home address", "address", "anschrift"]),
];
const RECEIPT: [Row; 4] = [
    ("amount", Form::Amount, &["grand total", "total paid", "amount paid", "total", "summe"]),
    ("currency", Form::Currency, &["currency"]),
    ("vendor", Form::Company, &["merchant", "vendor", "store", "shop"]),
    ("date", Form::Date, &["date of purchase", "transaction date", "date", "datum"]),
];
const ORDER: [Row; 5] = [
    (
        "order_number",
        Form::Code,
        &["purchase order number", "po number", "order number", "order no", "po no", "bestellnummer", "purchase order"],
    ),
    ("vendor", Form::Company, &["vendor", "supplier", "seller"]),
    ("amount", Form::Amount, &["order total", "grand total", "total amount", "total"]),
    ("order_date", Form::Date, &["order date", "date of order", "date"]),
    ("delivery_date", Form::Date, &["delivery date", "deliver by", "required by"]),
];
const GENERAL: [Row; 4] = [
    ("title", Form::Text, &["title", "subject", "re", "betreff"]),
    ("date", Form::Date, &["date", "dated", "datum"]),
    ("author", Form::Text, &["author", "prepared by", "written by", "from"]),
    ("email", Form::Email, &["e-mail", "email"]),
];

fn rows(kind: &str) -> &'static [Row] {
    match kind {
        "invoice" => &INVOICE,
        "contract" => &CONTRACT,
        "form" => &FORM,
        "receipt" => &RECEIPT,
        "purchase_order" => &ORDER,
        _ => &GENERAL,
    }
}

fn rule_of((name, form, labels): &Row) -> Rule {
    Rule { name: (*name).to_owned(), labels: labels.iter().map(|label| (*label).to_owned()).collect(), form: *form }
}

/// The usual values of a type.
pub(super) fn usual(kind: &str) -> Vec<Rule> {
    rows(kind).iter().map(rule_of).collect()
}

/// The value of a name: one that the type has, one that another type has, or any that goes by its name as a label.
pub(super) fn for_name(name: &str, kind: &str) -> Rule {
    let words = words(name);
    let (snake, label) = (words.join("_"), words.join(" "));
    let all = rows(kind).iter().chain([&INVOICE[..], &CONTRACT, &FORM, &RECEIPT, &ORDER, &GENERAL].into_iter().flatten());
    if let Some(row) = all.into_iter().find(|(known, _, _)| *known == snake) {
        return rule_of(row);
    }
    let ends = |parts: &[&str]| words.last().is_some_and(|last| parts.contains(&last.as_str()));
    let form = if ends(&["date"]) {
        Form::Date
    } else if ends(&["amount", "total", "price", "cost", "sum", "rent"]) {
        Form::Amount
    } else if ends(&["email"]) {
        Form::Email
    } else if ends(&["number", "no", "id"]) {
        Form::Code
    } else {
        Form::Text
    };
    Rule { name: snake, labels: vec![label], form }
}

/// The words of a name in lower case: `invoiceNumber`, `invoice_number` and `Invoice number` have the same.
fn words(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut lower_before = false;
    for letter in name.chars() {
        if letter.is_uppercase() && lower_before {
            spaced.push(' ');
        }
        lower_before = letter.is_lowercase();
        spaced.push_str(&if letter.is_alphanumeric() { letter.to_lowercase().collect::<String>() } else { " ".to_owned() });
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}
