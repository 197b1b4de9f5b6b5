//! A report as one HTML page: no script, nothing from elsewhere, everything escaped.

use std::fmt::Write as _;

use super::{Block, Report, hides};

const HEAD: &str = "\
<meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<meta name=\"viewport\" content=\"width=device-width\">
<style>
body { font: 15px/1.4 serif; max-width: 75em; margin: 2em auto; padding: 0 1em; color: #111; background: #fff; }
table { border-collapse: collapse; width: 100%; margin: 0.5em 0 1.5em; }
th, td { border: 1px solid #999; padding: 0.2em 0.5em; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
td { font: 12px/1.4 monospace; white-space: pre-wrap; }
th { background: #eee; }
tr { break-inside: avoid; }
</style>
";

pub(super) fn page(report: &Report) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n");
    page.push_str(HEAD);
    // Writing to a text does not fail.
    let _ = writeln!(page, "<title>{}</title>\n</head>\n<body>", escaped(&report.title));
    let _ = writeln!(page, "<h1>{}</h1>", escaped(&report.title));
    for block in &report.blocks {
        match block {
            Block::Heading(text) => {
                let _ = writeln!(page, "<h2>{}</h2>", escaped(text));
            }
            Block::Text(text) => {
                let _ = writeln!(page, "<p>{}</p>", escaped(text));
            }
            Block::Pairs(pairs) => {
                page.push_str("<table>\n");
                for (name, value) in pairs {
                    let (name, value) = (escaped(name), escaped(value));
                    let _ = writeln!(page, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
                }
                page.push_str("</table>\n");
            }
            Block::Table(head, rows) => {
                page.push_str("<table>\n<thead><tr>");
                for name in *head {
                    let _ = write!(page, "<th scope=\"col\">{}</th>", escaped(name));
                }
                page.push_str("</tr></thead>\n<tbody>\n");
                for row in rows {
                    page.push_str("<tr>");
                    for cell in row {
                        let _ = write!(page, "<td>{}</td>", escaped(cell));
                    }
                    page.push_str("</tr>\n");
                }
                page.push_str("</tbody>\n</table>\n");
            }
        }
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// Text that stays text, and looks like what it is: what would turn or hide other characters is spelled out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            letter if hides(letter) => out.extend(letter.escape_unicode()),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let report = Report {
            title: "<script>alert('1')</script>".to_owned(),
            foot: String::new(),
            blocks: vec![
                Block::Text("a & b \u{202e}\u{7}".to_owned()),
                Block::Pairs(vec![("name", "\"x\" onload=\"y\"".to_owned())]),
                Block::Table(&["one"], vec![vec!["</td></table><img src=x>".to_owned()]]),
            ],
        };
        let page = page(&report);
        for odd in ["<script", "<img", "onload=\"", "\u{202e}", "\u{7}"] {
            assert!(!page.contains(odd), "{odd:?}");
        }
        for shown in ["&lt;script&gt;", "a &amp; b \\u{202e}\\u{7}", "&lt;/td&gt;"] {
            assert!(page.contains(shown), "{shown}");
        }
        assert_eq!(page, super::page(&report));
        // Turning, hidden, or the end of a line to some.
        for odd in [
            '\u{ad}', '\u{61c}', '\u{200b}', '\u{2028}', '\u{2029}', '\u{2066}', '\u{feff}',
        ] {
            assert_eq!(escaped(&odd.to_string()), odd.escape_unicode().to_string());
        }
    }
}
