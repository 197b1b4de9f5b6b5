//! A guest that misbehaves in every way that its settings name. For the
//! host's tests; never for use.

use std::hint::black_box;

use sealwright_policy_sdk::{
    Description, Input, Level, SettingsProblem, Usage, Verdict, allow, bindings, deny, glue, log, narrow,
};

struct Hostile;

/// What `describe` does. It has no parameters, so a test overwrites the last
/// five letters in the component's bytes.
static DESCRIBE: &str = "describe-deed=names";

impl bindings::Guest for Hostile {
    fn describe() -> Description {
        let schema = match black_box(DESCRIBE).strip_prefix("describe-deed=") {
            Some("loops") => spin(),
            Some("panic") => panic!("asked to"),
            Some("wrong") => "[]",
            _ => "{}",
        };
        Description {
            name: "hostile".to_owned(),
            version: "1.0.0".to_owned(),
            settings_schema: schema.to_owned(),
        }
    }

    fn validate_settings(settings: String) -> Result<(), Vec<SettingsProblem>> {
        match deed(&settings) {
            ("validate", "loop") => spin(),
            ("validate", "panic") => panic!("asked to"),
            ("validate", "refuse") => {
                return Err(vec![SettingsProblem {
                    path: "validate".to_owned(),
                    message: "is not to my liking\n".to_owned(),
                }]);
            }
            _ => {}
        }
        Ok(())
    }

    fn decide(settings: String, input: Input) -> Verdict {
        let (when, what) = deed(&settings);
        if when != "decide" {
            return allow();
        }
        // On one namespace only: admission does not find such a thing.
        if let Some((deed, namespace)) = what.split_once("-on-") {
            let pod = input.caller.kubernetes.as_ref();
            if pod.is_some_and(|pod| pod.namespace == namespace) {
                match deed {
                    "loop" => spin(),
                    _ => panic!("asked to"),
                }
            }
            return allow();
        }
        match what {
            "loop" => spin(),
            "panic" => panic!("asked to"),
            "panic-loudly" => {
                glue::log_panics();
                panic!("asked to");
            }
            "recurse" => {
                black_box(recurse(black_box(1)));
            }
            "grow" => return grow(),
            "grow-at-once" => {
                let old = core::arch::wasm32::memory_grow::<0>(1 << 15);
                return deny("GREW", format!("{}", old as isize)).into();
            }
            "allocate" => allocate(),
            "huge" => return deny("HUGE", "x".repeat(8 << 20)).into(),
            "flood-lines" => flood(""),
            "flood-bytes" => log(Level::Info, &"x".repeat(32 << 10)),
            "log" => {
                log(Level::Debug, "one");
                log(Level::Error, "two\n\u{1b}[2J");
            }
            "dirty" => return dirty(&input),
            "nan" => return nan(),
            "lifetime" => return narrow().lifetime_seconds(u64::MAX).into(),
            "name" => return narrow().names(vec!["DNS:evil.example".to_owned()]).into(),
            "no-names" => return narrow().names(Vec::new()).into(),
            "server" => return narrow().usages(vec![Usage::Server]).into(),
            "client" => return narrow().usages(vec![Usage::Client]).into(),
            "hour" => return narrow().lifetime_seconds(3600).into(),
            "deny" => return deny("NO", "no").field("caller").hint("go away").into(),
            "forge" => return deny("POLICY_TRAP", "a\nb").into(),
            _ => {}
        }
        allow()
    }
}

/// `{"decide":"loop"}` → `("decide", "loop")`.
fn deed(settings: &str) -> (&str, &str) {
    let mut parts = settings.split('"');
    (parts.nth(1).unwrap_or_default(), parts.nth(1).unwrap_or_default())
}

fn spin() -> ! {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

#[expect(unconditional_recursion, reason = "the deed")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    recurse(black_box(depth + 1)) + black_box(frame[3])
}

fn grow() -> Verdict {
    let mut pages = 0;
    while core::arch::wasm32::memory_grow::<0>(1) != usize::MAX {
        pages += 1;
    }
    deny("GREW", format!("{pages}")).into()
}

fn allocate() {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(Vec::<u8>::with_capacity(1 << 20)));
    }
}

fn flood(line: &str) {
    loop {
        log(Level::Info, line);
    }
}

/// Allows only when a fresh instance is fresh: sees what an earlier decision
/// left in a static or in memory that was never written by this one.
fn dirty(input: &Input) -> Verdict {
    static mut SEEN: u64 = 0;
    let seen = unsafe {
        SEEN += 1;
        SEEN
    };
    // A megabyte, far beyond what the host clears by hand; one byte a page.
    let layout = core::alloc::Layout::from_size_align(1 << 20, 4096).unwrap();
    let block = unsafe {
        let start = std::alloc::alloc(layout);
        core::slice::from_raw_parts_mut(start, layout.size())
    };
    let mut left = 0;
    for page in block.chunks_mut(4096) {
        left += usize::from(black_box(page[2048]) != 0);
        page[2048] = 0xa5;
    }
    black_box(&block);
    if seen != 1 || left != 0 {
        return deny("DIRTY", format!("{seen} {left}")).into();
    }
    narrow()
        .names(input.ceiling.names.iter().take(1).cloned().collect())
        .into()
}

/// Shows the bits of a NaN that arithmetic made.
fn nan() -> Verdict {
    let zero = black_box(0.0_f64);
    let payload = f64::from_bits(black_box(0xfff8_0000_dead_beef));
    let bits = [zero / zero, payload + 1.0, payload * zero, zero - payload]
        .map(|value| format!("{:016x}", black_box(value).to_bits()));
    deny("NAN", bits.join(" ")).into()
}

bindings::export!(Hostile with_types_in bindings);
