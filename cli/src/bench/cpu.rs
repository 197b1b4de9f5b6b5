//! The CPU time and the memory of a signer's processes, from `/proc`.

use std::{collections::BTreeMap, fs};

use crate::failure::{Class, Failure, OrFail};

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, fixed by the kernel's interface.
const TICKS: f64 = 100.0;

/// A supervisor with its front and its gate.
#[derive(Debug)]
pub(super) struct Processes(BTreeMap<&'static str, u32>);

impl Processes {
    pub(super) fn of(supervisor: u32) -> Result<Self, Failure> {
        let path = format!("/proc/{supervisor}/task/{supervisor}/children");
        let children = fs::read_to_string(&path).or_fail_doing(Class::Internal, path)?;
        let mut found = BTreeMap::from([(SUPERVISOR, supervisor)]);
        for child in children
            .split_whitespace()
            .filter_map(|id| id.parse::<u32>().ok())
        {
            let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            let word = line.split(|&byte| byte == 0).nth(1).unwrap_or_default();
            for name in ["front", "gate"] {
                if word == name.as_bytes() {
                    found.insert(name, child);
                }
            }
        }
        Ok(Self(found))
    }

    /// Resident megabytes.
    pub(super) fn memory(&self) -> Result<BTreeMap<&'static str, f64>, Failure> {
        let resident = |(name, id): (&&'static str, &u32)| Ok((*name, resident_mb(*id)?));
        self.0.iter().map(resident).collect()
    }
}

const SUPERVISOR: &str = "supervisor";

/// What can be subtracted.
pub(super) trait Since {
    fn since(self, earlier: Self) -> Self;
}

impl Since for () {
    fn since(self, _earlier: Self) -> Self {}
}

/// CPU milliseconds by process.
#[derive(Debug)]
pub(super) struct CpuMeter(BTreeMap<&'static str, f64>);

impl CpuMeter {
    pub(super) fn read(processes: &Processes) -> Result<Self, Failure> {
        let spent = |(name, id): (&&'static str, &u32)| Ok((*name, milliseconds(*id)?));
        processes
            .0
            .iter()
            // It has no part in a request.
            .filter(|(name, _)| **name != SUPERVISOR)
            .map(spent)
            .collect::<Result<_, Failure>>()
            .map(Self)
    }

    /// Microseconds for each of so many.
    pub(super) fn micros_per(&self, count: u64) -> BTreeMap<&'static str, f64> {
        self.0
            .iter()
            .map(|(name, spent)| (*name, spent * 1000.0 / count.max(1) as f64))
            .collect()
    }
}

impl Since for CpuMeter {
    fn since(mut self, earlier: Self) -> Self {
        for (name, spent) in &mut self.0 {
            *spent -= earlier.0.get(name).copied().unwrap_or_default();
        }
        self
    }
}

fn milliseconds(id: u32) -> Result<f64, Failure> {
    let path = format!("/proc/{id}/stat");
    let stat = fs::read_to_string(&path).or_fail_doing(Class::Internal, &path)?;
    user_and_system(&stat)
        .map(|ticks| ticks * 1000.0 / TICKS)
        .ok_or_else(|| Failure::text(Class::Internal, format!("{path} has another form")))
}

fn resident_mb(id: u32) -> Result<f64, Failure> {
    let path = format!("/proc/{id}/status");
    let status = fs::read_to_string(&path).or_fail_doing(Class::Internal, &path)?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .map(|kilobytes| kilobytes / 1024.0)
        .ok_or_else(|| Failure::text(Class::Internal, format!("{path} has another form")))
}

/// Fields 14 and 15; the name in field 2 may hold spaces and parentheses.
fn user_and_system(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_two_fields_behind_an_odd_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 1 0 5 6 7";
        assert_eq!(user_and_system(stat), Some(300.0));
        assert_eq!(user_and_system("nonsense"), None);
    }
}
