//! A report as a PDF: the same report is the same bytes, as nothing of the day, the machine or chance is in it.
//!
//! It is laid out here in thousandths of a point, in whole numbers; the file's syntax is `pdf-writer`'s. The two fonts
//! are in this program, and a file has the letters that it uses, with what each means, so that text can be searched and
//! copied. It has no script, no link, no form and no date.

mod font;
mod layout;
mod markdown;
mod paper;
mod wrap;

use std::collections::VecDeque;

use miniz_oxide::deflate::compress_to_vec_zlib;
use pdf_writer::types::{OutlineItemFlags, PageMode};
use pdf_writer::{Content, Filter, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};

use self::font::Fonts;
use self::paper::{Length, Paper, Sheet, points};
use super::Report;
use crate::error::Error;

/// How hard streams are compressed.
const EFFORT: u8 = 6;

/// Numbers of objects, in order.
#[derive(Debug, Default)]
struct Refs(i32);

impl Refs {
    fn next(&mut self) -> Ref {
        self.0 = self.0.saturating_add(1);
        Ref::new(self.0)
    }
}

/// A heading, for the table of contents that viewers show beside the pages.
struct Entry {
    text: String,
    page: Ref,
    top: f32,
}

pub(super) fn document(report: &Report) -> Result<Vec<u8>, Error> {
    let fonts = Fonts::new()?;
    let paper = Paper::LYING;
    let sheets = layout::sheets(report, paper, &fonts);
    file(&report.title, &sheets, paper, fonts)
}

/// A script, upright and with room to write.
pub(super) fn script(title: &str, foot: &str, text: &str) -> Result<Vec<u8>, Error> {
    let fonts = Fonts::new()?;
    let paper = Paper::UPRIGHT;
    let sheets = markdown::sheets(text, foot, paper, &fonts);
    file(title, &sheets, paper, fonts)
}

fn file(title: &str, sheets: &[Sheet], paper: Paper, mut fonts: Fonts) -> Result<Vec<u8>, Error> {
    let (mut pdf, mut refs) = (Pdf::new(), Refs::default());
    let (catalog, tree, info, outline) = (refs.next(), refs.next(), refs.next(), refs.next());
    let families = fonts.families().map(|family| (family, refs.next()));
    let pages: Vec<Ref> = sheets.iter().map(|_| refs.next()).collect();
    let mut entries = VecDeque::new();
    for (sheet, id) in sheets.iter().zip(&pages) {
        let content = refs.next();
        let mut page = pdf.page(*id);
        page.media_box(Rect::new(0.0, 0.0, points(paper.width), points(paper.height)));
        page.parent(tree).contents(content);
        let mut resources = page.resources();
        let mut named = resources.fonts();
        for (family, font) in families {
            named.pair(Name(family.name()), font);
        }
        named.finish();
        resources.finish();
        page.finish();
        let drawn = compress_to_vec_zlib(&drawn(sheet, paper, &mut fonts), EFFORT);
        pdf.stream(content, &drawn).filter(Filter::FlateDecode);
        entries.extend(sheet.headings.iter().map(|(text, down)| Entry {
            text: text.clone(),
            page: *id,
            top: points(paper.height.saturating_sub(*down)),
        }));
    }
    for (family, font) in families {
        fonts.of(family).write(&mut pdf, &mut || refs.next(), font)?;
    }
    contents(&mut pdf, &mut refs, outline, entries);
    let count = i32::try_from(pages.len()).unwrap_or(i32::MAX);
    pdf.pages(tree).kids(pages).count(count);
    pdf.document_info(info)
        .title(TextStr(title))
        .creator(TextStr("sealwright ceremony"));
    let mut root = pdf.catalog(catalog);
    root.pages(tree).outlines(outline).lang(TextStr("en"));
    root.page_mode(PageMode::UseOutlines);
    root.viewer_preferences().display_doc_title(true);
    root.finish();
    Ok(pdf.finish())
}

/// What a viewer draws; a page's origin is below, ours is above.
fn drawn(sheet: &Sheet, paper: Paper, fonts: &mut Fonts) -> Vec<u8> {
    let up = |down: Length| points(paper.height.saturating_sub(down));
    let mut content = Content::new();
    content.set_line_width(0.4).set_stroke_gray(0.6);
    for frame in &sheet.frames {
        let (x, y) = (points(frame.x), up(frame.y.saturating_add(frame.height)));
        let (width, height) = (points(frame.width), points(frame.height));
        if frame.shaded {
            content
                .set_fill_gray(0.92)
                .rect(x, y, width, height)
                .fill_nonzero();
        }
        content.rect(x, y, width, height).stroke();
    }
    content.set_fill_gray(0.0).begin_text();
    for run in &sheet.runs {
        let text = fonts.of_mut(run.look.family).encode(&run.text);
        content.set_font(Name(run.look.family.name()), points(run.look.size));
        content.set_text_matrix([1.0, 0.0, 0.0, 1.0, points(run.x), up(run.y)]);
        content.show(Str(&text));
    }
    content.end_text();
    content.finish().to_vec()
}

fn contents(pdf: &mut Pdf, refs: &mut Refs, outline: Ref, mut entries: VecDeque<Entry>) {
    let ids: Vec<Ref> = entries.iter().map(|_| refs.next()).collect();
    let mut root = pdf.outline(outline);
    if let (Some(first), Some(last)) = (ids.first(), ids.last()) {
        root.first(*first).last(*last);
        root.count(i32::try_from(ids.len()).unwrap_or(i32::MAX));
    }
    root.finish();
    for (at, id) in ids.iter().enumerate() {
        let Some(entry) = entries.pop_front() else { return };
        let mut item = pdf.outline_item(*id);
        item.title(TextStr(&entry.text)).parent(outline);
        item.flags(OutlineItemFlags::empty());
        if let Some(before) = at.checked_sub(1).and_then(|before| ids.get(before)) {
            item.prev(*before);
        }
        if let Some(after) = ids.get(at + 1) {
            item.next(*after);
        }
        item.dest().page(entry.page).xyz(0.0, entry.top, None);
    }
}
