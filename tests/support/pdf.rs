//! A small reader of PDFs, by the book and not by how ours are written: from the last lines to the cross-reference
//! table, the pages, what they draw, and what each glyph means.

use std::collections::BTreeMap;

/// One piece of text on a page, in points from below and from the left.
#[derive(Debug)]
pub struct Piece {
    /// Its letters.
    pub text: String,
    /// Where its first letter begins.
    pub x: f64,
    /// The line it stands on.
    pub y: f64,
    /// Where its last letter ends.
    pub end: f64,
}

/// A page.
#[derive(Debug)]
pub struct Page {
    /// In points.
    pub width: f64,
    /// In points.
    pub height: f64,
    /// In the order of the file.
    pub pieces: Vec<Piece>,
}

impl Page {
    /// All text without any space: where lines are broken does not count.
    pub fn squeezed(&self) -> String {
        let texts = self.pieces.iter().map(|piece| piece.text.as_str());
        squeezed(&texts.collect::<String>())
    }
}

/// A text without any space.
pub fn squeezed(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).collect()
}

/// The pages of a file.
pub fn pages(bytes: &[u8]) -> Vec<Page> {
    let file = File::new(bytes);
    let trailer = file.trailer.clone();
    let root = file.object(reference(&trailer, "/Root").unwrap());
    let tree = file.object(reference(&root, "/Pages").unwrap());
    let kids = between(&tree, "/Kids [", "]");
    let kids: Vec<_> = kids.split_whitespace().collect();
    let kids = kids.chunks(3).map(|kid| kid[0].parse().unwrap());
    kids.map(|kid| file.page(kid)).collect()
}

struct File<'a> {
    bytes: &'a [u8],
    offsets: Vec<usize>,
    trailer: String,
}

struct Font {
    meanings: BTreeMap<u16, char>,
    widths: Vec<f64>,
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        assert!(bytes.starts_with(b"%PDF-1.7"));
        let tail = String::from_utf8_lossy(&bytes[bytes.len() - 40..]).into_owned();
        let start: usize = between(&tail, "startxref\n", "\n").parse().unwrap();
        let table = std::str::from_utf8(&bytes[start..]).unwrap();
        let (entries, trailer) = table.split_once("trailer").unwrap();
        let entries = entries.lines().skip(2);
        Self {
            bytes,
            offsets: entries.map(|line| line[..10].parse().unwrap()).collect(),
            trailer: trailer.to_owned(),
        }
    }

    fn raw(&self, number: usize) -> &'a [u8] {
        let bytes = &self.bytes[self.offsets[number]..];
        assert!(
            bytes.starts_with(format!("{number} 0 obj").as_bytes()),
            "{number}"
        );
        bytes
    }

    fn object(&self, number: usize) -> String {
        let bytes = self.raw(number);
        let end = position(bytes, b"endobj").min(position(bytes, b"stream\n"));
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    }

    fn stream(&self, number: usize) -> Vec<u8> {
        let (bytes, dictionary) = (self.raw(number), self.object(number));
        let length: usize = word_after(&dictionary, "/Length ").parse().unwrap();
        assert!(dictionary.contains("/FlateDecode"), "{dictionary}");
        let start = position(bytes, b"stream\n") + 7;
        miniz_oxide::inflate::decompress_to_vec_zlib(&bytes[start..start + length]).unwrap()
    }

    fn font(&self, number: usize) -> Font {
        let font = self.object(number);
        let map = String::from_utf8(self.stream(reference(&font, "/ToUnicode").unwrap())).unwrap();
        let meanings = map.lines().filter_map(|line| {
            let (glyph, letters) = line.strip_prefix('<')?.split_once("> <")?;
            let glyph = u16::from_str_radix(glyph, 16).ok()?;
            let letters = letters.strip_suffix('>')?.as_bytes();
            let units: Vec<_> = letters
                .chunks(4)
                .map(|unit| u16::from_str_radix(std::str::from_utf8(unit).unwrap(), 16).unwrap())
                .collect();
            let text = String::from_utf16(&units).unwrap();
            // The range of all codes stands there, too; it has no meaning of one letter.
            text.chars()
                .next()
                .filter(|letter| *letter != '\u{ffff}')
                .map(|letter| (glyph, letter))
        });
        let descendants = between(&font, "/DescendantFonts [", "]").to_owned();
        let cid = self.object(descendants.split(' ').next().unwrap().parse().unwrap());
        // Its program is there.
        let descriptor = self.object(reference(&cid, "/FontDescriptor").unwrap());
        let program = self.stream(reference(&descriptor, "/FontFile2").unwrap());
        assert!(program.starts_with(&[0, 1, 0, 0]) && program.len() < 100_000);
        let widths = between(&cid, "/W [0 [", "]").split_whitespace();
        Font {
            meanings: meanings.collect(),
            widths: widths.map(|width| width.parse().unwrap()).collect(),
        }
    }

    fn page(&self, number: usize) -> Page {
        let page = self.object(number);
        let media: Vec<f64> = between(&page, "/MediaBox [", "]")
            .split_whitespace()
            .map(|number| number.parse().unwrap())
            .collect();
        let named = between(&page, "/Font <<", ">>").to_owned();
        let drawn = self.stream(reference(&page, "/Contents").unwrap());
        let mut pieces = Vec::new();
        let (mut operands, mut font, mut size, mut at) = (Vec::new(), None, 0.0, (0.0, 0.0));
        for token in tokens(&drawn) {
            let number = |back: usize| -> f64 {
                let Some(Token::Word(word)) = operands.get(operands.len() - back) else {
                    panic!("no number in {operands:?}");
                };
                word.parse().unwrap()
            };
            match &token {
                Token::Word(word) if word == "Tf" => {
                    let Some(Token::Word(name)) = operands.first() else {
                        panic!("no font");
                    };
                    font = Some(self.font(reference(&named, name).unwrap()));
                    size = number(1);
                }
                Token::Word(word) if word == "Tm" => at = (number(2), number(1)),
                Token::Word(word) if word == "Tj" => {
                    let (Some(Token::Text(codes)), Some(font)) = (operands.first(), &font) else {
                        panic!("no text");
                    };
                    let codes = codes.chunks(2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                    let wide = codes.clone().map(|code| font.widths[usize::from(code)]);
                    pieces.push(Piece {
                        x: at.0,
                        y: at.1,
                        end: at.0 + wide.sum::<f64>() * size / 1000.0,
                        text: codes.map(|code| font.meanings[&code]).collect(),
                    });
                }
                Token::Word(word) if word.starts_with(|first: char| first.is_ascii_alphabetic()) => {}
                _ => {
                    operands.push(token);
                    continue;
                }
            }
            operands.clear();
        }
        Page {
            width: media[2],
            height: media[3],
            pieces,
        }
    }
}

#[derive(Debug)]
enum Token {
    Word(String),
    Text(Vec<u8>),
}

fn tokens(bytes: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'(' => {
                let (mut text, mut depth) = (Vec::new(), 1);
                while let Some(byte) = rest.next() {
                    match byte {
                        b'\\' => text.push(match rest.next().unwrap() {
                            b'n' => b'\n',
                            b'r' => b'\r',
                            b't' => b'\t',
                            b'b' => 8,
                            b'f' => 12,
                            digit @ b'0'..=b'7' => {
                                let digits = [digit, rest.next().unwrap(), rest.next().unwrap()];
                                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 8).unwrap()
                            }
                            other => other,
                        }),
                        b'(' => {
                            depth += 1;
                            text.push(byte);
                        }
                        b')' if depth == 1 => break,
                        b')' => {
                            depth -= 1;
                            text.push(byte);
                        }
                        other => text.push(other),
                    }
                }
                tokens.push(Token::Text(text));
            }
            b'<' => {
                let digits: String = rest
                    .by_ref()
                    .take_while(|byte| *byte != b'>')
                    .map(char::from)
                    .collect();
                let pairs = digits.as_bytes().chunks(2);
                let octets =
                    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
                tokens.push(Token::Text(octets.collect()));
            }
            space if space.is_ascii_whitespace() => {}
            first => {
                let mut word = String::from(char::from(first));
                while let Some(next) =
                    rest.next_if(|next| !next.is_ascii_whitespace() && !b"(<".contains(next))
                {
                    word.push(char::from(next));
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    tokens
}

fn position(bytes: &[u8], what: &[u8]) -> usize {
    let found = bytes.windows(what.len()).position(|window| window == what);
    found.unwrap_or(bytes.len())
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let (_, rest) = text
        .split_once(start)
        .unwrap_or_else(|| panic!("no {start:?} in {text}"));
    rest.split_once(end).unwrap().0
}

fn word_after<'t>(text: &'t str, name: &str) -> &'t str {
    let (_, rest) = text
        .split_once(name)
        .unwrap_or_else(|| panic!("no {name:?} in {text}"));
    rest.split_whitespace().next().unwrap()
}

/// The object that a name of a dictionary refers to.
fn reference(text: &str, name: &str) -> Option<usize> {
    let (_, rest) = text.split_once(&format!("{name} "))?;
    let mut words = rest.split_whitespace();
    let number = words.next()?.parse().ok()?;
    (words.next()? == "0" && words.next()?.starts_with('R')).then_some(number)
}
