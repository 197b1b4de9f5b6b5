//! The two fonts: how wide a letter is, which ones are used, and how they are put into a file.

use std::collections::BTreeMap;

use miniz_oxide::deflate::compress_to_vec_zlib;
use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Filter, Finish as _, Name, Pdf, Rect, Ref, Str};
use subsetter::GlyphRemapper;
use ttf_parser::{Face, GlyphId};

use super::EFFORT;
use super::paper::{Length, Look};
use crate::error::Error;
use crate::report::hides;

/// Which font.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// For sentences.
    Text,
    /// For values, whose letters must not be taken for each other.
    Fixed,
}

impl Family {
    /// In a page's resources.
    pub(super) const fn name(self) -> &'static [u8] {
        match self {
            Self::Text => b"T",
            Self::Fixed => b"F",
        }
    }
}

pub(super) struct Fonts {
    text: Font,
    fixed: Font,
}

impl Fonts {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self {
            text: Font::new(
                include_bytes!("../../../fonts/DejaVuSans.ttf"),
                b"SEALWR+DejaVuSans",
                FontFlags::empty(),
            )?,
            fixed: Font::new(
                include_bytes!("../../../fonts/DejaVuSansMono.ttf"),
                b"SEALWR+DejaVuSansMono",
                FontFlags::FIXED_PITCH,
            )?,
        })
    }

    pub(super) fn families(&self) -> [Family; 2] {
        [Family::Text, Family::Fixed]
    }

    pub(super) fn of(&self, family: Family) -> &Font {
        match family {
            Family::Text => &self.text,
            Family::Fixed => &self.fixed,
        }
    }

    pub(super) fn of_mut(&mut self, family: Family) -> &mut Font {
        match family {
            Family::Text => &mut self.text,
            Family::Fixed => &mut self.fixed,
        }
    }

    /// How wide a letter is.
    pub(super) fn advance(&self, look: Look, letter: char) -> Length {
        let font = self.of(look.family);
        let units = u64::from(font.units(font.glyph(letter)));
        let wide = units * u64::from(look.size) / u64::from(font.face.units_per_em());
        u32::try_from(wide).unwrap_or(u32::MAX)
    }

    /// Text that shows every letter: one that a font does not have, or that would hide or turn others, is spelled out.
    pub(super) fn shown(&self, look: Look, text: &str) -> String {
        let font = self.of(look.family);
        let mut out = String::with_capacity(text.len());
        for letter in text.chars() {
            let odd = hides(letter) || turns(letter) || font.glyph(letter).0 == 0;
            if letter != '\n' && odd {
                out.extend(letter.escape_unicode());
            } else {
                out.push(letter);
            }
        }
        out
    }
}

/// Letters that are written from the right or joined, which this writer does not do.
fn turns(letter: char) -> bool {
    matches!(letter, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}')
}

pub(super) struct Font {
    data: &'static [u8],
    face: Face<'static>,
    name: &'static [u8],
    pitch: FontFlags,
    /// From glyphs of the font to those of the file.
    used: GlyphRemapper,
    /// What each glyph of the file means.
    letters: BTreeMap<u16, char>,
}

impl Font {
    fn new(data: &'static [u8], name: &'static [u8], pitch: FontFlags) -> Result<Self, Error> {
        let face = Face::parse(data, 0).map_err(|error| Error::Internal(format!("a font: {error}")))?;
        Ok(Self {
            data,
            face,
            name,
            pitch,
            used: GlyphRemapper::new(),
            letters: BTreeMap::new(),
        })
    }

    fn glyph(&self, letter: char) -> GlyphId {
        self.face.glyph_index(letter).unwrap_or(GlyphId(0))
    }

    fn units(&self, glyph: GlyphId) -> u16 {
        self.face.glyph_hor_advance(glyph).unwrap_or(0)
    }

    /// Text as the file has it: two octets for each glyph.
    pub(super) fn encode(&mut self, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 * text.len());
        for letter in text.chars() {
            let glyph = self.used.remap(self.glyph(letter).0);
            self.letters.entry(glyph).or_insert(letter);
            out.extend(glyph.to_be_bytes());
        }
        out
    }

    /// Puts into the file what was used.
    pub(super) fn write(&self, pdf: &mut Pdf, next: &mut dyn FnMut() -> Ref, id: Ref) -> Result<(), Error> {
        let (cid, descriptor, map, file) = (next(), next(), next(), next());
        let system = SystemInfo {
            registry: Str(b"Adobe"),
            ordering: Str(b"Identity"),
            supplement: 0,
        };
        let scale = 1000.0 / f32::from(self.face.units_per_em());
        pdf.type0_font(id)
            .base_font(Name(self.name))
            .encoding_predefined(Name(b"Identity-H"))
            .descendant_font(cid)
            .to_unicode(map);
        let mut font = pdf.cid_font(cid);
        font.subtype(CidFontType::Type2)
            .base_font(Name(self.name))
            .system_info(system)
            .font_descriptor(descriptor)
            .default_width(0.0)
            .cid_to_gid_map_predefined(Name(b"Identity"));
        let widths = self.used.remapped_gids();
        let widths = widths.map(|glyph| f32::from(self.units(GlyphId(glyph))) * scale);
        font.widths().consecutive(0, widths);
        font.finish();
        let bounds = self.face.global_bounding_box();
        let scaled = |units: i16| f32::from(units) * scale;
        pdf.font_descriptor(descriptor)
            .name(Name(self.name))
            // Its letters are numbered by the file, so by no known alphabet.
            .flags(FontFlags::from_bits_truncate(self.pitch.bits()) | FontFlags::SYMBOLIC)
            .bbox(Rect::new(
                scaled(bounds.x_min),
                scaled(bounds.y_min),
                scaled(bounds.x_max),
                scaled(bounds.y_max),
            ))
            .italic_angle(0.0)
            .ascent(scaled(self.face.ascender()))
            .descent(scaled(self.face.descender()))
            .cap_height(scaled(self.face.capital_height().unwrap_or_default()))
            .stem_v(80.0)
            .font_file2(file);
        let mut meanings = UnicodeCmap::new(Name(b"Letters"), system);
        for (glyph, letter) in &self.letters {
            meanings.pair(*glyph, *letter);
        }
        let meanings = compress_to_vec_zlib(&meanings.finish(), EFFORT);
        pdf.cmap(map, &meanings).filter(Filter::FlateDecode);
        let subset = subsetter::subset(self.data, 0, &self.used)
            .map_err(|error| Error::Internal(format!("a font's letters: {error}")))?;
        let length = i32::try_from(subset.len()).unwrap_or(i32::MAX);
        let subset = compress_to_vec_zlib(&subset, EFFORT);
        pdf.stream(file, &subset)
            .filter(Filter::FlateDecode)
            .pair(Name(b"Length1"), length);
        Ok(())
    }
}
