//! What a process of ours does to itself and its surroundings before it reads any input.
//!
//! [`harden`] closes it to debuggers and core dumps; [`boundary`] decides what separates the
//! front from the gate; [`landlock`] puts the front behind it; [`confinement`] takes from the gate
//! what its PKCS#11 module does not need; [`seccomp`] refuses both what neither needs.

pub mod boundary;
pub mod confinement;
pub mod landlock;
pub mod seccomp;

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
};

use rustix::{
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
    process::{
        DumpableBehavior, Resource, Rlimit, Signal, getppid, getrlimit, set_dumpable_behavior,
        set_parent_process_death_signal, setrlimit,
    },
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs},
};

/// Makes the process non-dumpable (no core, no debugger of the same user, no reading of its
/// memory) and forbids it new privileges. Call it first.
///
/// # Errors
/// When the kernel refuses.
pub fn harden() -> Result<(), ProcessError> {
    let failed = |what| {
        move |source: rustix::io::Errno| ProcessError::System {
            what,
            source: source.into(),
        }
    };
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("PR_SET_DUMPABLE"))?;
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, no_core).map_err(failed("RLIMIT_CORE"))?;
    set_no_new_privs(true).map_err(failed("PR_SET_NO_NEW_PRIVS"))
}

/// Gives up what root may do beyond others, for ever: tracing, modules, raw devices, mounts, other
/// users' processes. Ports below 1024 and files of other users stay, as far as Landlock lets.
///
/// Landlock does not cover all that root may do; without this a front that runs as root could
/// get around it. Call it from the main thread before there is another. Nothing for other users.
///
/// # Errors
/// When the kernel refuses.
pub fn drop_capabilities() -> Result<(), ProcessError> {
    keep_capabilities(CapabilitySet::NET_BIND_SERVICE | CapabilitySet::DAC_OVERRIDE)
}

/// The same for the gate: what is left opens the files and devices of tokens, whoever owns them, and
/// keeps memory from being swapped.
///
/// # Errors
/// When the kernel refuses.
pub fn drop_capabilities_of_gate() -> Result<(), ProcessError> {
    keep_capabilities(CapabilitySet::DAC_OVERRIDE | CapabilitySet::IPC_LOCK)
}

fn keep_capabilities(kept: CapabilitySet) -> Result<(), ProcessError> {
    let failed = |source: rustix::io::Errno| ProcessError::System {
        what: "capset",
        source: source.into(),
    };
    let has = capabilities(None).map_err(failed)?;
    let kept = has.permitted & kept;
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
    .map_err(failed)
}

/// Has the kernel kill this process when `parent` is gone, which may be so already.
///
/// # Errors
/// When the parent is another process, or the kernel refuses.
pub fn die_with_parent(parent: u32) -> Result<(), ProcessError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|source| ProcessError::System {
        what: "PR_SET_PDEATHSIG",
        source: source.into(),
    })?;
    // Between the start and the call above the parent may have died: then there is another.
    let now = getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now == parent {
        Ok(())
    } else {
        Err(ProcessError::Orphan { parent })
    }
}

/// Ends this process well and at once: what C code registered for an orderly exit does not run.
///
/// A PKCS#11 module's exit handlers may wait for ever for a lock that one of its threads held.
#[expect(
    unsafe_code,
    reason = "the standard library ends a process only with its exit handlers"
)]
pub fn end_well() -> ! {
    // SAFETY: it touches nothing of this process, and does not return.
    unsafe { libc::_exit(0) }
}

/// Raises the limit of open files as far as the process may. Returns the limit now.
#[must_use]
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // A refusal leaves the old limit, which the caller reports.
    let _refused = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Takes the descriptor that was given to this process as its standard input, and leaves
/// `/dev/null` there. How a supervisor hands over a socket without inherited numbers.
///
/// # Errors
/// When standard input is closed.
pub fn take_stdin() -> Result<OwnedFd, ProcessError> {
    let failed = |what| move |source: io::Error| ProcessError::System { what, source };
    let given = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(failed("dup of standard input"))?;
    let null = File::open("/dev/null").map_err(failed("/dev/null"))?;
    rustix::stdio::dup2_stdin(&null).map_err(|source| ProcessError::System {
        what: "dup2",
        source: source.into(),
    })?;
    Ok(given)
}

/// Closes every inherited descriptor above standard error to the programs this one starts.
///
/// # Errors
/// When the list of descriptors cannot be read.
pub fn keep_descriptors_private() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<RawFd>().ok());
        if let Some(number) = number.filter(|&number| number > 2) {
            // The directory's own descriptor is among them and gone by the time.
            let _closed = set_inherited(number, false);
        }
    }
    Ok(())
}

/// Says whether programs started from now on inherit a descriptor.
///
/// # Errors
/// When there is no such descriptor.
pub fn set_inherited(number: RawFd, inherited: bool) -> io::Result<()> {
    let descriptor = borrow(number).ok_or(io::ErrorKind::InvalidInput)?;
    let mut flags = fcntl_getfd(descriptor)?;
    flags.set(FdFlags::CLOEXEC, !inherited);
    Ok(fcntl_setfd(descriptor, flags)?)
}

#[expect(
    unsafe_code,
    reason = "descriptors inherited from the caller's shell have no owner in this program; only \
              their close-on-exec flag is touched, and an unused number gives EBADF"
)]
fn borrow(number: RawFd) -> Option<BorrowedFd<'static>> {
    // SAFETY: not -1, and used only for fcntl with F_GETFD and F_SETFD while borrowed.
    (number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

/// What went wrong before the process could begin.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A system call failed.
    #[error("the system refused {what}")]
    System {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The supervisor is not there.
    #[error("process {parent}, which started this one, is gone")]
    Orphan {
        /// Its id.
        parent: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_dropped_its_capabilities_has_no_others() {
        // Capabilities are the thread's own, so the other tests keep theirs.
        std::thread::spawn(|| {
            drop_capabilities().unwrap();
            let left = capabilities(None).unwrap();
            assert!(!left.permitted.contains(CapabilitySet::SYS_PTRACE));
            assert!(!left.permitted.contains(CapabilitySet::SYS_MODULE));
            assert_eq!(left.effective, left.permitted);
        })
        .join()
        .unwrap();
    }
}
