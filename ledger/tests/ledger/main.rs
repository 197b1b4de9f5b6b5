//! The ledger from outside: written, read, tampered with, exported, killed.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod export;
#[cfg(test)]
mod prune;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tamper;
#[cfg(test)]
mod writing;
