//! Document Intelligence over HTTP: upload, extraction, classification, search, embeddings, and files that cannot be read.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lopdf::{Document, EncryptionState, EncryptionVersion, Object, Permissions, Stream, dictionary};
use serde_json::{Value, json};

use crate::support::platform::{Reply, TestPlatform};

const INVOICE: [&str; 6] = [
    "Supplier Inc.",
    "INVOICE",
    "Invoice Number: INV-2025-001",
    "Invoice date: 7 February 2025",
    "Bill to: Acme Corp",
    "Total due: $1,500.00",
];

/// The PDF of some pages, each of which begins a line by a move.
fn pdf_of(pages: &[Vec<u8>]) -> Document {
    let mut pdf = Document::with_version("1.5");
    let tree = pdf.new_object_id();
    let font =
        pdf.add_object(dictionary! { "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica", "Encoding" => "WinAnsiEncoding" });
    let kids: Vec<Object> = pages
        .iter()
        .map(|content| {
            let content = pdf.add_object(Stream::new(dictionary! {}, content.clone()));
            let resources = dictionary! { "Font" => dictionary! { "F1" => font } };
            pdf.add_object(dictionary! {
                "Type" => "Page", "Parent" => tree, "Contents" => content, "Resources" => resources,
                "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
            })
            .into()
        })
        .collect();
    pdf.objects.insert(tree, dictionary! { "Type" => "Pages", "Count" => i64::try_from(kids.len()).unwrap(), "Kids" => kids }.into());
    let catalog = pdf.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
    let info = pdf.add_object(dictionary! { "Title" => Object::string_literal("Invoice of February") });
    pdf.trailer.set("Root", catalog);
    pdf.trailer.set("Info", info);
    pdf
}

fn page_of(lines: &[&str]) -> Vec<u8> {
    let shown: Vec<String> = lines.iter().map(|line| format!("({line}) Tj 0 -20 Td")).collect();
    format!("BT /F1 12 Tf 50 800 Td {} ET", shown.join(" ")).into_bytes()
}

fn bytes_of(mut pdf: Document) -> Vec<u8> {
    let mut bytes = Vec::new();
    pdf.save_to(&mut bytes).unwrap();
    bytes
}

fn invoice() -> Vec<u8> {
    bytes_of(pdf_of(&[page_of(&INVOICE)]))
}

/// A page that is one image: 8 by 8 grey pixels.
fn scan() -> Vec<u8> {
    let mut pdf = pdf_of(&[b"q 8 0 0 8 0 0 cm /I Do Q".to_vec()]);
    let image = dictionary! {
        "Type" => "XObject", "Subtype" => "Image", "Width" => 8, "Height" => 8, "ColorSpace" => "DeviceGray", "BitsPerComponent" => 8,
    };
    let image = pdf.add_object(Stream::new(image, vec![255; 64]));
    let page = pdf.page_iter().next().unwrap();
    let resources = dictionary! { "XObject" => dictionary! { "I" => image } };
    pdf.get_object_mut(page).unwrap().as_dict_mut().unwrap().set("Resources", resources);
    bytes_of(pdf)
}

fn request(file: &[u8], mut more: Value) -> Value {
    more["document"] = json!(STANDARD.encode(file));
    more
}

async fn upload(bench: &TestPlatform, file: &[u8], more: Value) -> Reply {
    bench.post("/documents/upload", &bench.owner(), request(file, more)).await
}

/// Stores a text and answers its id.
async fn store(bench: &TestPlatform, text: &str) -> String {
    upload(bench, text.as_bytes(), json!({})).await.ok()["documentId"].as_str().unwrap().to_owned()
}

async fn found(bench: &TestPlatform, body: Value) -> Vec<String> {
    let page = bench.post("/documents/search", &bench.owner(), body).await.ok();
    page["items"].as_array().unwrap().iter().map(|item| item["documentId"].as_str().unwrap().to_owned()).collect()
}

/// A platform without a program for text recognition.
async fn without_ocr() -> TestPlatform {
    TestPlatform::start_with(|options| options.ocr_program = PathBuf::from("/nonexistent/tesseract")).await
}

#[tokio::test]
async fn the_contracts_invoice_is_read_out_of_its_pdf() {
    let bench = TestPlatform::start().await;
    let config = json!({ "entities": ["invoice_number", "amount", "vendor"], "includeOcr": true });
    let reply = upload(&bench, &invoice(), json!({ "documentType": "invoice", "extractionConfig": config })).await;
    assert_eq!(reply.status, 201, "{:#}", reply.body);
    let document = reply.body;
    assert!(document["documentId"].as_str().unwrap().starts_with("doc-"));
    assert_eq!(document["type"], "invoice");
    assert_eq!(document["extractedData"], json!({ "invoiceNumber": "INV-2025-001", "amount": 1500.0, "vendor": "Supplier Inc." }));
    assert_eq!(document["embedding"].as_array().unwrap().len(), 256);
    assert!(document["confidence"].as_f64().unwrap() > 0.7, "{document:#}");
    let metadata = &document["metadata"];
    assert_eq!(
        (&metadata["mediaType"], &metadata["pages"], &metadata["title"]),
        (&json!("application/pdf"), &json!(1), &json!("Invoice of February"))
    );

    let events = bench.get("/events/replay?topic=document.*", &bench.owner()).await.ok();
    let topics: Vec<&Value> = events["items"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(topics, ["document.uploaded", "document.extracted"]);
    assert_eq!(events["items"][1]["data"]["documentId"], document["documentId"]);
    assert!(!events.to_string().contains("INV-2025"), "an event names values and holds none");
    let audit = format!("/audit-logs?resourceId={}", document["documentId"].as_str().unwrap());
    assert_eq!(bench.get(&audit, &bench.owner()).await.ok()["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_stored_document_is_extracted_again_and_kept() {
    let bench = TestPlatform::start().await;
    let document = upload(&bench, &invoice(), json!({ "metadata": { "fileName": "feb.pdf" } })).await.ok();
    assert_eq!(document["type"], "invoice", "the type is predicted");
    assert!(document["extractedData"].is_null(), "nothing was asked for");
    let path = format!("/documents/{}/extract", document["documentId"].as_str().unwrap());
    let usual = bench.post(&path, &bench.owner(), json!({})).await.ok();
    assert_eq!(usual["extractedData"]["invoiceDate"], "2025-02-07");
    assert_eq!((&usual["extractedData"]["currency"], &usual["extractedData"]["customer"]), (&json!("USD"), &json!("Acme Corp")));
    assert!(usual["notFound"].as_array().unwrap().contains(&json!("dueDate")), "{usual:#}");
    assert_eq!(usual["metadata"]["fileName"], "feb.pdf");
    let named = json!({ "documentType": "Purchase Order", "extractionConfig": { "entities": ["bill_to", "colour"] } });
    let named = bench.post(&path, &bench.owner(), named).await.ok();
    assert_eq!((&named["type"], &named["extractedData"]), (&json!("purchase_order"), &json!({ "billTo": "Acme Corp" })));
    assert_eq!(named["notFound"], json!(["colour"]));

    let bench = bench.restart().await;
    let page = bench.post("/documents/search", &bench.owner(), json!({ "query": "acme" })).await.ok();
    assert_eq!(page["items"][0]["extractedData"], named["extractedData"]);
}

#[tokio::test]
async fn a_classification_says_what_it_rests_on() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let classified = bench.post("/documents/classify", &owner, request(&invoice(), json!({}))).await.ok();
    assert_eq!(classified["type"], "invoice");
    assert!(classified["evidence"].as_array().unwrap().contains(&json!("invoice number")), "{classified:#}");
    let letter = store(&bench, "# Notice\n\nDear Ms Novak,\nthe agreement ends.\n\nYours sincerely").await;
    let classified = bench.post("/documents/classify", &owner, json!({ "documentId": letter })).await.ok();
    assert_eq!((&classified["type"], &classified["documentId"]), (&json!("letter"), &json!(letter)));
    assert_eq!(classified["alternatives"][0]["type"], "contract");
    for body in [json!({}), request(b"text", json!({ "documentId": letter }))] {
        bench.post("/documents/classify", &owner, body).await.refused(422, "FM-DOC-SOURCE");
    }
}

#[tokio::test]
async fn documents_are_found_by_what_they_are_about() {
    let bench = TestPlatform::start().await;
    let lease = store(&bench, "Lease agreement\nThe rent is due monthly.\nThe notice period is three months.").await;
    let cake = store(&bench, "# Cake\nCherries, chocolate and cream. Bake for an hour.").await;
    let paper =
        upload(&bench, &invoice(), json!({ "metadata": { "sender": "Zenith" } })).await.ok()["documentId"].as_str().unwrap().to_owned();
    let page = bench.post("/documents/search", &bench.owner(), json!({ "query": "which lease mentions a notice period?" })).await.ok();
    assert_eq!(page["items"][0]["documentId"], json!(lease), "{page:#}");
    assert!(page["items"][0]["excerpt"].as_str().unwrap().starts_with("The notice period"), "{page:#}");
    assert!(page["items"][0]["score"].as_f64().unwrap() > 0.4, "{page:#}");
    // No word of the query stands in the text: parts of words make it near.
    assert_eq!(found(&bench, json!({ "query": "chocolates cherry creams" })).await, std::slice::from_ref(&cake));
    assert_eq!(found(&bench, json!({ "query": "zenith" })).await, std::slice::from_ref(&paper), "metadata is searched");
    assert_eq!(found(&bench, json!({ "query": "monthly total", "documentType": "Invoice" })).await, [paper]);
    assert!(found(&bench, json!({ "query": "submarine" })).await.is_empty());
    for syntax in ["lease AND (", "\"", "words:lease", "a* OR", "NEAR(a b)"] {
        let status = bench.post("/documents/search", &bench.owner(), json!({ "query": syntax })).await.status;
        assert!(status == 200 || status == 422, "{syntax}");
    }
    bench.post("/documents/search", &bench.owner(), json!({ "query": "?!" })).await.refused(422, "FM-DOC-QUERY");

    let embeddings = bench.get(&format!("/documents/{lease}/embeddings"), &bench.owner()).await.ok();
    assert_eq!((&embeddings["model"], &embeddings["dimensions"]), (&json!("lexical"), &json!(256)));
    let length: f64 = embeddings["embedding"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap().powi(2)).sum();
    assert!((length - 1.0).abs() < 1e-3, "{length}");
}

#[tokio::test]
async fn a_search_of_documents_is_paged() {
    let bench = TestPlatform::start().await;
    let mut stored = Vec::new();
    for number in 0..5 {
        stored.push(store(&bench, &format!("The same words in each, and number {number}")).await);
    }
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let mut body = json!({ "query": "same words", "limit": 2 });
        if cursor.is_string() {
            body["cursor"] = cursor;
        }
        let page = bench.post("/documents/search", &bench.owner(), body).await.ok();
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["documentId"].as_str().unwrap().to_owned()));
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, stored, "each document is on one page");
    let page = bench.post("/documents/search", &bench.owner(), json!({ "query": "same words", "limit": 2 })).await.ok();
    let other = json!({ "query": "other words", "limit": 2, "cursor": page["nextCursor"] });
    bench.post("/documents/search", &bench.owner(), other).await.refused(422, "FM-AGS-CURSOR");
}

#[tokio::test]
async fn files_that_cannot_be_read_are_refused() {
    let bench = without_ocr().await;
    let mut locked = pdf_of(&[page_of(&INVOICE)]);
    locked.trailer.set("ID", vec![Object::string_literal("0123456789abcdef"), Object::string_literal("0123456789abcdef")]);
    let version = EncryptionVersion::V2 {
        document: &locked,
        owner_password: "owner",
        user_password: "user",
        key_length: 128,
        permissions: Permissions::all(),
    };
    let state = EncryptionState::try_from(version).unwrap();
    locked.encrypt(&state).unwrap();
    let whole = invoice();
    let huge = vec![b' '; 33 * 1024 * 1024];
    let mut bomb = pdf_of(&[huge]);
    bomb.compress();
    let bomb = bytes_of(bomb);
    assert!(bomb.len() < 100_000, "{} bytes unpack to 33 MiB", bomb.len());
    for (what, file, code) in [
        ("encrypted", bytes_of(locked), "FM-DOC-PDF-ENCRYPTED"),
        ("a header alone", b"%PDF-1.7\n".to_vec(), "FM-DOC-PDF-BROKEN"),
        ("noise", [b"%PDF-1.4\n".as_slice(), &[0xAB; 2000]].concat(), "FM-DOC-PDF-BROKEN"),
        ("half a file", whole[..200].to_vec(), "FM-DOC-PDF-BROKEN"),
        ("no pages", bytes_of(pdf_of(&[])), "FM-DOC-PDF-BROKEN"),
        ("endless", bomb, "FM-DOC-PDF-ENDLESS"),
        ("a scan", scan(), "FM-DOC-OCR-UNAVAILABLE"),
        ("an image", b"\x89PNG\r\n\x1a\n0000".to_vec(), "FM-DOC-OCR-UNAVAILABLE"),
        ("an office file", b"PK\x03\x04...".to_vec(), "FM-DOC-FORMAT"),
        ("binary", vec![0, 1, 2, 3], "FM-DOC-FORMAT"),
        ("blank", b" \n ".to_vec(), "FM-DOC-EMPTY"),
    ] {
        let refused = upload(&bench, &file, json!({})).await;
        assert_eq!((refused.status, refused.code()), (422, code), "{what}: {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["pointer"], "/document", "{what}");
    }
    for (body, code) in [
        (json!({ "document": "no base64!" }), "FM-DOC-BASE64"),
        (request(b"text", json!({ "extractionConfig": { "entities": ["--"] } })), "FM-DOC-ENTITIES"),
        (request(b"text", json!({ "metadata": { "note": "x".repeat(20_000) } })), "FM-DOC-METADATA"),
        (request(b"text", json!({ "documentTyp": "invoice" })), "FM-DOC-INVALID"),
    ] {
        bench.post("/documents/upload", &bench.owner(), body).await.refused(422, code);
    }
    assert!(found(&bench, json!({ "query": "invoice" })).await.is_empty(), "what is refused leaves nothing behind");
}

#[tokio::test]
async fn a_pdf_that_turns_in_circles_is_answered() {
    let bench = without_ocr().await;
    let mut circle = pdf_of(&[page_of(&["around"])]);
    let tree = circle.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    let kids = circle.get_object_mut(tree).unwrap().as_dict_mut().unwrap().get_mut(b"Kids").unwrap().as_array_mut().unwrap();
    kids.insert(0, tree.into());
    let reply = upload(&bench, &bytes_of(circle), json!({})).await;
    assert!(reply.status == 201 || reply.code().starts_with("FM-DOC-PDF-"), "{:#}", reply.body);
}

#[tokio::test]
async fn a_scan_is_stored_without_text_where_that_is_wanted() {
    let bench = without_ocr().await;
    let config = json!({ "includeOcr": false });
    let stored = upload(&bench, &scan(), json!({ "extractionConfig": config, "metadata": { "fileName": "scan.pdf" } })).await.ok();
    assert_eq!((&stored["type"], &stored["metadata"]["characters"]), (&json!("other"), &json!(0)));
    assert_eq!(found(&bench, json!({ "query": "scan.pdf" })).await.len(), 1, "it is found by its metadata");
    let path = format!("/documents/{}/extract", stored["documentId"].as_str().unwrap());
    bench.post(&path, &bench.owner(), json!({ "extractionConfig": config })).await.refused(422, "FM-DOC-NO-TEXT");
    bench.post(&path, &bench.owner(), json!({})).await.refused(422, "FM-DOC-OCR-UNAVAILABLE");
    let by_id = json!({ "documentId": stored["documentId"] });
    bench.post("/documents/classify", &bench.owner(), by_id).await.refused(422, "FM-DOC-OCR-UNAVAILABLE");
    let blank = upload(&bench, &bytes_of(pdf_of(&[b"0 0 10 10 re f".to_vec()])), json!({})).await.ok();
    let path = format!("/documents/{}/extract", blank["documentId"].as_str().unwrap());
    bench.post(&path, &bench.owner(), json!({})).await.refused(422, "FM-DOC-NO-TEXT");
}

/// A program in place of tesseract: how its answer, its failure and its silence are dealt with.
#[cfg(unix)]
#[tokio::test]
async fn a_scan_is_read_by_the_program_that_is_configured() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str, script: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    };
    // It answers only if it was given the page's image as a portable greymap.
    let reads = program("reads", r#"[ "$1 $2" = "stdin stdout" ] && [ "$(head -c 2)" = P5 ] && echo "Invoice Number: 77""#);
    let bench = TestPlatform::start_with(|options| options.ocr_program = reads).await;
    let config = json!({ "entities": ["invoice_number"], "includeOcr": true });
    let document = upload(&bench, &scan(), json!({ "extractionConfig": config })).await.ok();
    assert_eq!((&document["extractedData"]["invoiceNumber"], &document["metadata"]["ocr"]), (&json!("77"), &json!(true)));
    let fails = program("fails", "exit 1");
    let bench = bench.restart_with(|options| options.ocr_program = fails).await;
    upload(&bench, &scan(), json!({})).await.refused(422, "FM-DOC-OCR-FAILED");
}

#[tokio::test]
async fn a_file_larger_than_other_bodies_is_taken() {
    let bench = TestPlatform::start().await;
    let text = "A word, and again. ".repeat(80_000);
    let stored = upload(&bench, text.as_bytes(), json!({})).await.ok();
    assert_eq!(stored["metadata"]["truncated"], true, "a part of the text is kept");
    assert_eq!(stored["metadata"]["size"], text.len());
    let large = json!({ "query": "x".repeat(2 * 1024 * 1024) });
    bench.post("/documents/search", &bench.owner(), large).await.refused(413, "FM-AGS-TOO-LARGE");
}

#[tokio::test]
async fn another_tenants_document_does_not_exist() {
    let bench = TestPlatform::start().await;
    let document = store(&bench, "A secret lease with a notice period.").await;
    let stranger = bench.signed_in("tenant-b", "stranger", &["document:*"]).await;
    let page = bench.post("/documents/search", &stranger, json!({ "query": "secret lease" })).await.ok();
    assert_eq!(page["items"], json!([]));
    bench.get(&format!("/documents/{document}/embeddings"), &stranger).await.refused(404, "FM-DOC-NOT-FOUND");
    bench.post(&format!("/documents/{document}/extract"), &stranger, json!({})).await.refused(404, "FM-DOC-NOT-FOUND");
    bench.post("/documents/classify", &stranger, json!({ "documentId": document })).await.refused(404, "FM-DOC-NOT-FOUND");
    // The same file in another tenant is another document, and its own file.
    let own = bench.post("/documents/upload", &stranger, request(b"A secret lease with a notice period.", json!({}))).await.ok();
    assert_ne!(own["documentId"], json!(document));
    let reader = bench.signed_in("tenant-b", "reader", &["document:view"]).await;
    bench.post("/documents/upload", &reader, request(b"text", json!({}))).await.refused(403, "FM-AAS-FORBIDDEN");
}
