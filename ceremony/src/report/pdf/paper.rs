//! Sheets of paper: where something stands, in thousandths of a point from above and from the left.

use super::font::Family;

/// Thousandths of a point.
pub(super) type Length = u32;

/// A sheet and what is written in its cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paper {
    pub(super) width: Length,
    pub(super) height: Length,
    /// Of text in tables.
    pub(super) cell: Look,
    /// How high a row is at least; more where somebody writes by hand.
    pub(super) row: Length,
    /// How wide a column without any text is at least.
    pub(super) blank: Length,
}

impl Paper {
    /// A4 lying, for tables with many columns.
    pub(super) const LYING: Self = Self {
        width: 841_890,
        height: 595_276,
        cell: Look::new(Family::Fixed, 6_500),
        row: 0,
        blank: 0,
    };

    /// A4 upright, for what people write on.
    pub(super) const UPRIGHT: Self = Self {
        width: 595_276,
        height: 841_890,
        cell: Look::new(Family::Text, 8_500),
        row: 24_000,
        blank: 60_000,
    };
}

/// How text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) family: Family,
    pub(super) size: Length,
}

impl Look {
    pub(super) const fn new(family: Family, size: Length) -> Self {
        Self { family, size }
    }

    /// From one line to the next.
    pub(super) const fn leading(self) -> Length {
        self.size.saturating_add(self.size / 4)
    }
}

/// Text in one line.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) x: Length,
    /// Of the line that letters stand on.
    pub(super) y: Length,
    pub(super) look: Look,
    pub(super) text: String,
}

/// The frame of a cell.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) x: Length,
    /// Its upper edge.
    pub(super) y: Length,
    pub(super) width: Length,
    pub(super) height: Length,
    pub(super) shaded: bool,
}

/// What is on one page.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub(super) frames: Vec<Frame>,
    pub(super) runs: Vec<Run>,
    /// Each with the upper edge of its place.
    pub(super) headings: Vec<(String, Length)>,
}

/// As the file has it.
pub(super) fn points(length: Length) -> f32 {
    // Below 2^24, so that it is exact before the division, which is the same on every machine.
    length as f32 / 1000.0
}
