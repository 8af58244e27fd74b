//! Text in images: the program `tesseract`, where it is installed, as a process of its own under bounds.

use std::path::Path;
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use lopdf::{Document, ObjectId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::pass;
use super::reading::MAX_TEXT;
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;
use crate::platform::turns::gate::Gate;

/// How long one image is read.
const MAX_TIME: Duration = Duration::from_mins(1);
/// Most pages whose images are read.
const MAX_IMAGES: usize = 20;
/// Largest image once it is decompressed, in bytes.
const MAX_IMAGE: usize = 64 * 1024 * 1024;
/// Processes at once.
static RECOGNISING: LazyLock<Gate> = LazyLock::new(|| Gate::new(1));

/// Reads the text of images, one after the other.
pub(super) async fn recognise(cx: &Cx, images: Vec<Vec<u8>>) -> Result<Vec<String>> {
    let _place = pass(&RECOGNISING, cx).await?;
    let mut texts = Vec::new();
    for image in images {
        let text = tokio::time::timeout(MAX_TIME, recognise_one(cx.platform.ocr_program(), image));
        texts.push(text.await.map_err(|_| failed("takes too long"))??);
    }
    Ok(texts)
}

async fn recognise_one(program: &Path, image: Vec<u8>) -> Result<String> {
    let mut child = Command::new(program)
        .args(["stdin", "stdout"])
        .env("OMP_THREAD_LIMIT", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| unavailable().caused_by(error))?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return Err(failed("has no pipes")) };
    let mut read = Vec::new();
    let writing = async move {
        // A program that ends early says why by its status.
        let _ = stdin.write_all(&image).await;
    };
    let mut bounded = stdout.take(u64::try_from(MAX_TEXT).unwrap_or(u64::MAX));
    let ((), reading) = tokio::join!(writing, bounded.read_to_end(&mut read));
    reading.map_err(Error::internal)?;
    drop(bounded);
    let status = child.wait().await.map_err(Error::internal)?;
    // A program that had more to say than is kept ends by its closed pipe.
    if status.success() || read.len() == MAX_TEXT {
        Ok(String::from_utf8_lossy(&read).into_owned())
    } else {
        Err(failed("cannot read the image"))
    }
}

fn unavailable() -> Error {
    Error::new(Kind::Invalid, "FM-DOC-OCR-UNAVAILABLE", "the document is a scan, and text recognition (OCR) is not installed here")
        .hint("Install the program `tesseract`, send a document with text, or store it without text by `includeOcr: false`.")
        .field("/document", "ocr", "holds images and no text")
}

fn failed(why: &str) -> Error {
    Error::new(Kind::Invalid, "FM-DOC-OCR-FAILED", format!("text recognition (OCR) {why}"))
        .hint("Send a clearer image, or store it without text by `includeOcr: false`.")
        .field("/document", "ocr", "holds images that cannot be read")
}

/// The images of a PDF's first pages, in a form that the program reads. Others are left out.
pub(super) fn images_of(document: &Document, pages: &[ObjectId]) -> Vec<Vec<u8>> {
    let mut images = Vec::new();
    for page in pages.iter().take(MAX_IMAGES) {
        let found = document.get_page_images(*page).unwrap_or_default();
        // The largest image of a page is the scan; the others are stamps and logos.
        let Some(scan) = found.iter().max_by_key(|image| image.width.saturating_mul(image.height)) else { continue };
        let filters: Vec<&str> = scan.filters.iter().flatten().map(String::as_str).collect();
        let image = match filters.as_slice() {
            ["DCTDecode"] => Some(scan.content.to_vec()),
            _ => raster(document, scan),
        };
        images.extend(image);
    }
    images
}

/// An image without a format of its own as a portable bitmap, greymap or pixmap.
fn raster(document: &Document, image: &lopdf::xobject::PdfImage<'_>) -> Option<Vec<u8>> {
    let stream = document.get_object(image.id).ok()?.as_stream().ok()?;
    let pixels = stream.get_plain_content_with_limit(MAX_IMAGE).ok()?;
    let (width, height) = (usize::try_from(image.width).ok()?, usize::try_from(image.height).ok()?);
    let (magic, row) = match (image.color_space.as_deref(), image.bits_per_component) {
        (Some("DeviceGray" | "CalGray"), Some(8)) => ("P5", width),
        (Some("DeviceRGB" | "CalRGB"), Some(8)) => ("P6", width.checked_mul(3)?),
        (Some("DeviceGray" | "CalGray"), Some(1)) => ("P4", width.div_ceil(8)),
        _ => return None,
    };
    let pixels = pixels.get(..row.checked_mul(height)?)?;
    // A bit of 1 is black in a bitmap and white in a PDF.
    let (depth, pixels) = if magic == "P4" { ("", pixels.iter().map(|byte| !byte).collect()) } else { ("255\n", pixels.to_vec()) };
    Some([format!("{magic}\n{width} {height}\n{depth}").into_bytes(), pixels].concat())
}
