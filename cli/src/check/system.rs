//! The home, the ledger in it, the clock, the boundary, ports and limits.

use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, getrlimit};
use sealwright_gate::server::{Home, HomeError, ledger_path};
use sealwright_identity::{Clock, SystemClock, Timestamp};
use sealwright_ledger::{Filter, LedgerReader, ReadError};
use sealwright_runtime::{Chain, process::boundary::Boundary};

use super::item::Item;
use crate::{launch, settings::Loaded};

/// Descriptors beside those of connections: files, the ledger, the token, sockets of our own.
pub(crate) const SPARE_DESCRIPTORS: u64 = 256;

/// 2026-01-01: a clock before it was never set.
const YOUNGEST: i64 = 1_767_225_600;

/// Whether the gate's home is free. Made only by a start.
pub(super) fn home(loaded: &Loaded) -> Item {
    let home = &loaded.settings.gate.home;
    if !home.exists() {
        return Item::good(
            "home",
            format!("{} will be made by the first start", home.display()),
        );
    }
    match Home::try_lock(home) {
        Ok(_released) => Item::good("home", format!("{} is free", home.display())),
        Err(HomeError::Held { .. }) => {
            Item::held("home", format!("{} is held by a running signer", home.display()))
        }
        Err(error) => Item::failed("home", Chain(&error), "make gate.home writable for this user"),
    }
}

pub(super) fn check(loaded: &Loaded, held: bool) -> Vec<Item> {
    let (database, newest) = database(loaded);
    let mut items = vec![
        database,
        clock(newest),
        disk(loaded),
        boundary(loaded),
        limits(loaded),
    ];
    if !held {
        items.push(port("server.listen", loaded.settings.server.listen));
        items.push(port("http.listen", loaded.settings.http.listen));
    }
    items
}

/// The ledger, and the time of its newest entry.
fn database(loaded: &Loaded) -> (Item, Option<Timestamp>) {
    let path = ledger_path(&loaded.settings.gate.home);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let newest = Filter {
        limit: Some(1),
        ..Filter::default()
    };
    let read = async {
        let reader = LedgerReader::open(&path).await?;
        let head = reader.head().await?;
        let newest = reader.list(&newest).await?.pop().map(|row| row.recorded_at);
        Ok::<_, ReadError>((head, newest))
    };
    match runtime.map(|runtime| runtime.block_on(read)) {
        Ok(Ok((head, newest))) => (
            Item::good("ledger", format!("{}: {} entries", path.display(), head.sequence)),
            newest,
        ),
        Ok(Err(ReadError::Absent(_))) => (
            Item::good(
                "ledger",
                format!("{} will be made by the first start", path.display()),
            ),
            None,
        ),
        Ok(Err(error)) => (
            Item::failed(
                "ledger",
                Chain(&error),
                "run `sealwright log verify`; restore it from a copy",
            ),
            None,
        ),
        Err(error) => (
            Item::failed("ledger", error, "the system refuses what a reader needs"),
            None,
        ),
    }
}

fn clock(newest: Option<Timestamp>) -> Item {
    let now = SystemClock.now();
    let fix = "set the clock, and keep it with NTP";
    if now.unix_seconds() < YOUNGEST {
        return Item::failed("clock", format!("{now} is in the past"), fix);
    }
    match newest {
        Some(newest) if newest > now => Item::failed(
            "clock",
            format!("{now} is before the ledger's newest entry, {newest}"),
            fix,
        ),
        _ => Item::good("clock", now),
    }
}

fn disk(loaded: &Loaded) -> Item {
    let gate = &loaded.settings.gate;
    let existing = gate.home.ancestors().find(|path| path.exists());
    let Some(Ok(disk)) = existing.map(rustix::fs::statvfs) else {
        return Item::warning("disk", "the free space cannot be read", "see gate.home");
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let found = format!(
        "{} MiB free, {} MiB kept in reserve",
        free >> 20,
        gate.disk_reserve_bytes >> 20
    );
    if free < gate.disk_reserve_bytes {
        Item::failed("disk", found, "make room: nothing is signed below the reserve")
    } else {
        Item::good("disk", found)
    }
}

fn boundary(loaded: &Loaded) -> Item {
    match launch::choose_boundary(loaded) {
        Ok(none @ Boundary::None { .. }) => Item::warning(
            "boundary",
            none,
            "start as root with a gate.front_user that reaches the front's files, or use a kernel with Landlock",
        ),
        Ok(boundary) => Item::good("boundary", boundary),
        Err(failure) => Item::failed("boundary", failure, "see gate.boundary"),
    }
}

fn limits(loaded: &Loaded) -> Item {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let connections = u64::try_from(loaded.settings.server.max_connections).unwrap_or(u64::MAX);
    let needed = connections.saturating_add(SPARE_DESCRIPTORS);
    let found = format!("{most} open files, {connections} connections");
    if most < needed {
        Item::warning(
            "limits",
            found,
            "raise the hard limit of open files (LimitNOFILE=), or lower server.max_connections",
        )
    } else {
        Item::good("limits", found)
    }
}

fn port(key: &str, address: SocketAddr) -> Item {
    match TcpListener::bind(address) {
        Ok(_closed) => Item::good(key, address),
        Err(error) => Item::failed(
            key,
            format!("{address}: {error}"),
            "choose another address or port",
        ),
    }
}
