//! A script's Markdown on paper. It reads what `script.rs` writes and no more of Markdown: headings, tables, boxes to
//! tick, sentences. What it does not know is a sentence, so nothing is lost.

use super::font::Fonts;
use super::layout::{BODY, Layout, TITLE};
use super::paper::{Paper, Sheet};

pub(super) fn sheets(text: &str, foot: &str, paper: Paper, fonts: &Fonts) -> Vec<Sheet> {
    let mut layout = Layout::new(paper, fonts);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("# ") {
            layout.text(TITLE, title);
        } else if let Some(heading) = line.strip_prefix("## ") {
            layout.heading(heading);
        } else if let Some(words) = line.strip_prefix("- [ ] ") {
            layout.text(BODY, &format!("\u{2610}  {words}"));
        } else if line.starts_with("| ") {
            let head = cells(line);
            let mut rows = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with("| ")) {
                if !line.starts_with("| ---") {
                    rows.push(cells(line));
                }
            }
            let rows: Vec<Vec<_>> = rows
                .iter()
                .map(|row| row.iter().map(|cell| (paper.cell, *cell)).collect())
                .collect();
            layout.table(&head, &rows);
        } else if !line.is_empty() {
            layout.text(BODY, &line.replace('`', ""));
        }
    }
    layout.finish(foot)
}

/// The cells of a row. A bar in a quoted name is none of the table's.
fn cells(line: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let bar = |letter: char| {
        match letter {
            '"' if !escaped => quoted = !quoted,
            '|' if !quoted => return true,
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
        false
    };
    let inner = line.strip_prefix('|').unwrap_or(line);
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    inner.split(bar).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_bars_and_quotes() {
        let odd = format!("| a | the token {:?} |  |  |", "x|\"y|\\");
        assert_eq!(cells(&odd), ["a", r#"the token "x|\"y|\\""#, "", ""]);
        assert_eq!(cells("| one | two |"), ["one", "two"]);
    }
}
