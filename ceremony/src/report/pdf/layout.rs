//! Blocks become sheets: sentences, tables whose head stands on every page, rows that go on overleaf.

use super::font::{Family, Fonts};
use super::paper::{Frame, Length, Look, Paper, Run, Sheet};
use super::wrap::{columns, lines};
use crate::report::{Block, Report};

/// Around what is printed.
const MARGIN: Length = 36_000;
/// The line at the foot stands in the margin.
const FOOT: Length = 20_000;
/// Between a cell's frame and its text.
const PAD: Length = 2_500;
/// What follows a heading stands on the same page, as far as this.
const TOGETHER: Length = 60_000;
/// Lines of a row on a page, at least, when it goes on overleaf.
const LINES: u32 = 3;

pub(super) const TITLE: Look = Look::new(Family::Text, 17_000);
const HEADING: Look = Look::new(Family::Text, 12_500);
pub(super) const BODY: Look = Look::new(Family::Text, 9_500);
const HEAD: Look = Look::new(Family::Text, 7_000);
const SMALL: Look = Look::new(Family::Fixed, 6_000);

pub(super) fn sheets(report: &Report, paper: Paper, fonts: &Fonts) -> Vec<Sheet> {
    let mut layout = Layout::new(paper, fonts);
    layout.text(TITLE, &report.title);
    for block in &report.blocks {
        match block {
            Block::Heading(text) => layout.heading(text),
            Block::Text(text) => layout.text(BODY, text),
            Block::Pairs(pairs) => {
                let rows: Vec<_> = pairs
                    .iter()
                    .map(|(name, value)| vec![(HEAD, *name), (paper.cell, value.as_str())])
                    .collect();
                layout.table(&[], &rows);
            }
            Block::Table(head, rows) => {
                let rows = rows
                    .iter()
                    .map(|row| row.iter().map(|cell| (paper.cell, cell.as_str())).collect());
                layout.table(head, &rows.collect::<Vec<_>>());
            }
        }
    }
    layout.finish(&report.foot)
}

/// What is being laid out, from above.
pub(super) struct Layout<'a> {
    fonts: &'a Fonts,
    paper: Paper,
    done: Vec<Sheet>,
    sheet: Sheet,
    /// Where the next thing begins.
    y: Length,
}

/// A row whose cells are broken into lines.
struct Row {
    cells: Vec<(Look, Vec<String>)>,
    shaded: bool,
    /// At least.
    height: Length,
}

impl Row {
    /// Of its highest cell.
    fn lines(&self) -> u32 {
        let most = self.cells.iter().map(|(_, lines)| lines.len()).max();
        u32::try_from(most.unwrap_or_default()).unwrap_or(u32::MAX)
    }

    fn leading(&self) -> Length {
        let leading = self.cells.iter().map(|(look, _)| look.leading());
        leading.max().unwrap_or(1).max(1)
    }

    fn height(&self, lines: u32) -> Length {
        let high = lines.saturating_mul(self.leading()).saturating_add(2 * PAD);
        high.max(self.height)
    }
}

impl<'a> Layout<'a> {
    pub(super) fn new(paper: Paper, fonts: &'a Fonts) -> Self {
        Self {
            fonts,
            paper,
            done: Vec::new(),
            sheet: Sheet::default(),
            y: MARGIN,
        }
    }
}

impl Layout<'_> {
    fn width(&self) -> Length {
        self.paper.width.saturating_sub(2 * MARGIN)
    }

    fn bottom(&self) -> Length {
        self.paper.height.saturating_sub(MARGIN)
    }

    /// What is left of the page.
    fn room(&self) -> Length {
        self.bottom().saturating_sub(self.y)
    }

    fn turn(&mut self) {
        self.done.push(std::mem::take(&mut self.sheet));
        self.y = MARGIN;
    }

    fn broken(&self, look: Look, text: &str, width: Length) -> Vec<String> {
        let text = self.fonts.shown(look, text);
        lines(&text, width, |letter| self.fonts.advance(look, letter))
    }

    fn wide(&self, look: Look, text: &str) -> Length {
        let text = self.fonts.shown(look, text);
        let lines = text
            .split('\n')
            .map(|line| line.chars().map(|letter| self.fonts.advance(look, letter)).sum());
        lines.max().unwrap_or_default()
    }

    pub(super) fn heading(&mut self, text: &str) {
        if self.room() < TOGETHER {
            self.turn();
        }
        if self.y > MARGIN {
            self.y = self.y.saturating_add(HEADING.size / 2);
        }
        self.sheet.headings.push((text.to_owned(), self.y));
        self.text(HEADING, text);
    }

    pub(super) fn text(&mut self, look: Look, text: &str) {
        for line in self.broken(look, text, self.width()) {
            if self.room() < look.leading() {
                self.turn();
            }
            self.run(MARGIN, self.y, look, line);
            self.y = self.y.saturating_add(look.leading());
        }
        self.y = self.y.saturating_add(look.size / 2);
    }

    /// One line whose upper edge is at `y`.
    fn run(&mut self, x: Length, y: Length, look: Look, text: String) {
        if !text.is_empty() {
            let y = y.saturating_add(look.size);
            self.sheet.runs.push(Run { x, y, look, text });
        }
    }

    pub(super) fn table(&mut self, head: &[&str], rows: &[Vec<(Look, &str)>]) {
        let words = |text: &str| text.split(' ').map(|word| self.wide(HEAD, word)).max();
        let mut wanted: Vec<_> = head.iter().map(|name| words(name).unwrap_or_default()).collect();
        for row in rows {
            wanted.resize(wanted.len().max(row.len()), 0);
            for (want, (look, text)) in wanted.iter_mut().zip(row) {
                *want = (*want).max(self.wide(*look, text));
            }
        }
        for (at, want) in wanted.iter_mut().enumerate() {
            if rows
                .iter()
                .all(|row| row.get(at).is_none_or(|(_, text)| text.is_empty()))
            {
                *want = (*want).max(self.paper.blank);
            }
        }
        // One more, so that rounding breaks nothing that was measured whole.
        let wanted: Vec<_> = wanted.iter().map(|want| want + 2 * PAD + 1).collect();
        let widths = columns(&wanted, self.width());
        let row = |cells: &[(Look, &str)], shaded, height| {
            let cells = cells.iter().zip(&widths).map(|((look, text), width)| {
                let width = width.saturating_sub(2 * PAD);
                (*look, self.broken(*look, text, width))
            });
            Row {
                cells: cells.collect(),
                shaded,
                height,
            }
        };
        let names: Vec<_> = head.iter().map(|name| (HEAD, *name)).collect();
        let head = (!head.is_empty()).then(|| row(&names, true, 0));
        let rows: Vec<_> = rows
            .iter()
            .map(|cells| row(cells, false, self.paper.row))
            .collect();
        if let Some(head) = &head {
            // A head does not stand alone at the foot of a page.
            let first = rows.first().map_or(0, |row| row.height(row.lines().min(LINES)));
            if self.room() < head.height(head.lines()).saturating_add(first) {
                self.turn();
            }
            self.part(head, &widths, 0, head.lines());
        }
        for row in &rows {
            self.row(row, &widths, head.as_ref());
        }
        self.y = self.y.saturating_add(BODY.size);
    }

    /// A row, on as many pages as it takes.
    fn row(&mut self, row: &Row, widths: &[Length], head: Option<&Row>) {
        let above = head.map_or(0, |head| head.height(head.lines()));
        let page = self.bottom().saturating_sub(MARGIN).saturating_sub(above);
        let mut from = 0;
        let all = row.lines();
        while from < all {
            let rest = all - from;
            let fit = self.room().saturating_sub(2 * PAD) / row.leading();
            let fresh = self.y <= MARGIN.saturating_add(above);
            if row.height(rest) <= self.room() {
                self.part(row, widths, from, rest);
                return;
            }
            if !fresh && (row.height(rest) <= page || fit < LINES) {
                self.turn();
                if let Some(head) = head {
                    self.part(head, widths, 0, head.lines());
                }
                continue;
            }
            let fit = fit.clamp(1, rest);
            self.part(row, widths, from, fit);
            from += fit;
            if from < all {
                self.turn();
                if let Some(head) = head {
                    self.part(head, widths, 0, head.lines());
                }
            }
        }
    }

    /// Some lines of a row.
    fn part(&mut self, row: &Row, widths: &[Length], from: u32, count: u32) {
        let height = row.height(count);
        let skip = usize::try_from(from).unwrap_or(usize::MAX);
        let take = usize::try_from(count).unwrap_or(usize::MAX);
        let (mut x, leading) = (MARGIN, row.leading());
        for ((look, lines), width) in row.cells.iter().zip(widths) {
            self.sheet.frames.push(Frame {
                x,
                y: self.y,
                width: *width,
                height,
                shaded: row.shaded,
            });
            let mut y = self.y.saturating_add(PAD);
            for line in lines.iter().skip(skip).take(take) {
                self.run(x.saturating_add(PAD), y, *look, line.clone());
                y = y.saturating_add(leading);
            }
            x = x.saturating_add(*width);
        }
        self.y = self.y.saturating_add(height);
    }

    /// The foot of each page: which one it is, of how many, and of what.
    pub(super) fn finish(mut self, foot: &str) -> Vec<Sheet> {
        self.turn();
        let count = self.done.len();
        let foot = self.fonts.shown(SMALL, foot);
        let y = self.paper.height.saturating_sub(FOOT);
        let mut done = std::mem::take(&mut self.done);
        for (number, sheet) in (1..).zip(&mut done) {
            let page = format!("page {number} of {count}");
            let x = self.paper.width.saturating_sub(MARGIN);
            let right = x.saturating_sub(self.wide(SMALL, &page));
            for (x, text) in [(MARGIN, foot.clone()), (right, page)] {
                let look = SMALL;
                sheet.runs.push(Run { x, y, look, text });
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is too long for a page goes on overleaf, below the table's head, and nothing of it is left out.
    #[test]
    fn a_long_row_goes_on_overleaf() {
        let long: String = (0..40_000_u32)
            .map(|number| char::from_digit(number * 7 % 16, 16).unwrap())
            .collect();
        let rows = vec![
            vec!["1".to_owned(), "short".to_owned()],
            vec!["2".to_owned(), long.clone()],
            vec!["3".to_owned(), "last".to_owned()],
        ];
        let report = Report {
            title: "A title".to_owned(),
            foot: "at the foot".to_owned(),
            blocks: vec![Block::Heading("Rows"), Block::Table(&["", "value"], rows)],
        };
        let fonts = Fonts::new().unwrap();
        let paper = Paper::LYING;
        let sheets = sheets(&report, paper, &fonts);
        assert!(sheets.len() > 3);
        let mut found = String::new();
        for sheet in &sheets {
            let heads = sheet.runs.iter().filter(|run| run.text == "value");
            assert_eq!(heads.count(), 1);
            for run in &sheet.runs {
                let wide: Length = run
                    .text
                    .chars()
                    .map(|letter| fonts.advance(run.look, letter))
                    .sum();
                assert!(run.x + wide <= paper.width - MARGIN, "{run:?}");
                assert!(run.y <= paper.height - MARGIN + FOOT, "{run:?}");
                if run.text.len() > 30 {
                    found.push_str(&run.text);
                }
            }
        }
        assert!(long.starts_with(&found) && long.len() - found.len() <= 30);
        assert_eq!(sheets.first().map(|sheet| sheet.headings.len()), Some(1));
    }
}
