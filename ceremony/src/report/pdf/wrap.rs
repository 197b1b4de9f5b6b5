//! Lines and columns: text is broken at spaces and commas where it can be, inside a word where it must be, and never
//! left out.

use super::paper::Length;

/// The lines of a text in a column of some width.
pub(super) fn lines(text: &str, width: Length, advance: impl Fn(char) -> Length) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let (mut line, mut used, mut good): (String, Length, Option<usize>) = (String::new(), 0, None);
        for letter in paragraph.chars() {
            let needs = advance(letter);
            // A space at the end of a line may stick out, as nobody sees it.
            if letter != ' ' && used.saturating_add(needs) > width && !line.is_empty() {
                let rest = good
                    .take()
                    .filter(|at| *at < line.len())
                    .map(|at| line.split_off(at));
                lines.push(std::mem::replace(&mut line, rest.unwrap_or_default()));
                used = line.chars().map(&advance).sum();
            }
            line.push(letter);
            used = used.saturating_add(needs);
            if letter == ' ' || letter == ',' {
                good = Some(line.len());
            }
        }
        lines.push(line);
    }
    lines
}

/// The widths of columns, from what each would like. When that is too much, the wide ones give way and become equal;
/// what is left is the last one's.
pub(super) fn columns(wanted: &[Length], width: Length) -> Vec<Length> {
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable();
    let (mut left, mut most) = (width, width);
    let shares = (1..=u32::try_from(sorted.len()).unwrap_or(u32::MAX)).rev();
    for (want, among) in sorted.into_iter().zip(shares) {
        most = left / among;
        if want > most {
            break;
        }
        left -= want;
        most = width;
    }
    let mut widths: Vec<Length> = wanted.iter().map(|want| (*want).min(most)).collect();
    let taken: Length = widths.iter().sum();
    if let Some(last) = widths.last_mut() {
        *last = last.saturating_add(width.saturating_sub(taken));
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(_: char) -> Length {
        1
    }

    #[test]
    fn text_is_broken_where_it_can_be() {
        assert_eq!(lines("one two three", 8, one), ["one two ", "three"]);
        assert_eq!(lines("abcdefghij", 4, one), ["abcd", "efgh", "ij"]);
        assert_eq!(lines("a abcdefgh", 4, one), ["a ", "abcd", "efgh"]);
        assert_eq!(lines("{\"a\":1,\"b\":2}", 8, one), ["{\"a\":1,", "\"b\":2}"]);
        assert_eq!(lines("a\n\nb", 8, one), ["a", "", "b"]);
        assert_eq!(lines("", 8, one), [""]);
    }

    #[test]
    fn wide_columns_give_way() {
        assert_eq!(columns(&[10, 20], 100), [10, 90]);
        assert_eq!(columns(&[10, 200, 300], 110), [10, 50, 50]);
        assert_eq!(columns(&[30, 200, 10], 100), [30, 60, 10]);
        assert_eq!(columns(&[], 100), Vec::<Length>::new());
    }

    proptest! {
        #[test]
        fn nothing_is_left_out_and_nothing_sticks_out(text in "[a-c ,\n]{0,80}", width in 1..20_u32) {
            let broken = lines(&text, width, one);
            prop_assert_eq!(broken.concat(), text.replace('\n', ""));
            for line in broken {
                prop_assert!(line.trim_end_matches(' ').len() <= width as usize, "{line:?}");
            }
        }

        #[test]
        fn columns_fill_the_width(wanted in prop::collection::vec(0..500_u32, 1..12), width in 100..800_u32) {
            let widths = columns(&wanted, width);
            prop_assert_eq!(widths.iter().sum::<u32>(), width);
        }
    }
}
