//! Shares in percent, and the bounds at which canaries stop by themselves.

use sealwright_statement::policy::StopBounds;

use crate::{
    args::ProposeArgs,
    failure::{Class, Failure},
};

/// A share of all: nothing exceeds it.
const WHOLE: u16 = 10_000;

/// The bounds that were asked for; the outer `None` where the old ones stay.
pub(super) fn asked(args: &ProposeArgs) -> Result<Option<Option<StopBounds>>, Failure> {
    if args.no_stop {
        return Ok(Some(None));
    }
    let Some(decisions) = args.stop_after else {
        return Ok(None);
    };
    if args.stop_denied.is_none() && args.stop_aborted.is_none() {
        return Err(Failure::text(
            Class::Usage,
            "--stop-after alone bounds nothing: give --stop-denied, --stop-aborted or both",
        ));
    }
    let bound = |share: &Option<String>| share.as_deref().map_or(Ok(WHOLE), hundredths);
    Ok(Some(Some(StopBounds {
        decisions,
        denied: bound(&args.stop_denied)?,
        aborted: bound(&args.stop_aborted)?,
    })))
}

/// Percent with up to two places, in hundredths.
pub(super) fn hundredths(percent: &str) -> Result<u16, Failure> {
    let malformed = || Failure::text(Class::Usage, format!("{percent:?} is no share such as 5 or 0.25"));
    let digits = percent.strip_suffix('%').unwrap_or(percent);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let part: u16 = match part.len() {
        0 => 0,
        1 => part.parse::<u16>().map_err(|_| malformed())? * 10,
        2 => part.parse().map_err(|_| malformed())?,
        _ => return Err(malformed()),
    };
    let whole: u16 = whole.parse().map_err(|_| malformed())?;
    whole
        .checked_mul(100)
        .and_then(|whole| whole.checked_add(part))
        .ok_or_else(malformed)
}
