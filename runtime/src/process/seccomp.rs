//! System calls that a process of ours never makes, refused by the kernel with `EPERM`.
//!
//! A deny-list, since the gate loads a PKCS#11 module that nobody here wrote: what every module may
//! need stays, what only an attacker needs goes. It is no sandbox by itself; beside the boundary of
//! users or Landlock it takes away the ways around them: other programs, other processes' memory,
//! other namespaces, kernel interfaces with a long history of holes.
//!
//! Numbers of the x32 ABI are refused as well; a call of a foreign architecture ends the process.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// Sockets that may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Those of the same machine alone.
    Unix,
    /// Those, and the internet's (with netlink, by which names are looked up).
    Internet,
}

/// What a process may do beyond what each may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Which sockets it makes.
    pub sockets: Sockets,
    /// Whether it starts other programs.
    pub processes: bool,
}

/// Refuses to the calling thread, and every thread it starts, for ever. Call it from the main thread
/// before there is another. New privileges are forbidden too.
///
/// # Errors
/// When the kernel or the architecture has no filters.
pub fn refuse(calls: Calls) -> Result<(), SeccompError> {
    let arch = architecture()?;
    // First the one with another answer: the second filter refuses nothing that the first needs.
    // glibc takes this for an old kernel and falls back to clone, whose flags can be seen.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let unknown = (unknown, libc::ENOSYS);
    let refused = (rules(calls)?, libc::EPERM);
    for (rules, answer) in [unknown, refused] {
        let answer = SeccompAction::Errno(answer.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, arch)?;
        let program = BpfProgram::try_from(filter)?;
        apply_filter(&program).map_err(|source| SeccompError::Unavailable { source })?;
    }
    Ok(())
}

/// Whether filters are there for this program. Refuses nothing.
///
/// # Errors
/// When they are not.
pub fn probe() -> Result<(), SeccompError> {
    architecture()?;
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    match actions {
        Ok(actions) if actions.split_whitespace().any(|action| action == "errno") => Ok(()),
        _ => Err(SeccompError::Kernel),
    }
}

fn architecture() -> Result<TargetArch, SeccompError> {
    TargetArch::try_from(std::env::consts::ARCH).map_err(|_unknown| SeccompError::Architecture)
}

/// Refused to everyone.
const NEVER: &[c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_tkill,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_personality,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // It makes sockets that no rule here would see.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// What starts another program.
const PROGRAMS: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Set in the number of a call by the x32 ABI.
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;

/// Calls whose x32 numbers are their own: execve, ptrace, rt_sigqueueinfo, kexec_load, rt_tgsigqueueinfo,
/// process_vm_readv, process_vm_writev, execveat.
#[cfg(target_arch = "x86_64")]
const X32_OWN: [c_long; 8] = [520, 521, 524, 528, 536, 539, 540, 545];

/// Namespaces that a new process could begin.
const NAMESPACES: [i32; 8] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWTIME,
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules(calls: Calls) -> Result<Rules, SeccompError> {
    let mut rules: Rules = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    let mut clone = Vec::new();
    for flag in NAMESPACES {
        let flag = u64::from(flag.unsigned_abs());
        clone.push(rule([(0, SeccompCmpOp::MaskedEq(flag), flag)])?);
    }
    if !calls.processes {
        rules.extend(PROGRAMS.iter().map(|call| (*call, Vec::new())));
        let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
        clone.push(rule([(0, SeccompCmpOp::MaskedEq(thread), 0)])?);
    }
    rules.insert(libc::SYS_clone, clone);

    let me = u64::from(std::process::id());
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        // A module's helper must be told to end.
        if !calls.processes {
            rules.insert(call, vec![rule([(0, SeccompCmpOp::Ne, me)])?]);
        }
    }
    let another = [(0, SeccompCmpOp::Ne, me), (0, SeccompCmpOp::Ne, 0)];
    rules.insert(libc::SYS_prlimit64, vec![rule(another)?]);

    let families: &[i32] = match calls.sockets {
        Sockets::Unix => &[libc::AF_UNIX],
        Sockets::Internet => &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
    };
    let none_of = families
        .iter()
        .map(|family| (0, SeccompCmpOp::Ne, u64::from(family.unsigned_abs())));
    rules.insert(libc::SYS_socket, vec![rule(none_of)?]);
    with_x32(&mut rules);
    Ok(rules)
}

#[cfg(target_arch = "x86_64")]
fn with_x32(rules: &mut Rules) {
    let shared: Rules = rules
        .iter()
        .map(|(call, rules)| (call | X32, rules.clone()))
        .collect();
    rules.extend(shared);
    rules.extend(X32_OWN.iter().map(|call| (call | X32, Vec::new())));
}

#[cfg(not(target_arch = "x86_64"))]
fn with_x32(_rules: &mut Rules) {}

/// Conditions on arguments that must all hold.
fn rule(conditions: impl IntoIterator<Item = (u8, SeccompCmpOp, u64)>) -> Result<SeccompRule, SeccompError> {
    let conditions: Result<Vec<_>, _> = conditions
        .into_iter()
        .map(|(argument, comparison, value)| {
            // The kernel reads 32 bits of each of these.
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, comparison, value)
        })
        .collect();
    Ok(SeccompRule::new(conditions?)?)
}

/// Why no system call is refused.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// Not one of x86-64, AArch64 and RISC-V.
    #[error("there are no system call filters for this architecture")]
    Architecture,
    /// The kernel has none.
    #[error("this kernel offers no system call filters (CONFIG_SECCOMP_FILTER)")]
    Kernel,
    /// A rule of ours is none.
    #[error("the system call filter cannot be made")]
    Filter(#[from] BackendError),
    /// The kernel refused it.
    #[error("the kernel refused the system call filter")]
    Unavailable {
        /// Why.
        #[source]
        source: seccompiler::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::{
        io::Errno,
        net::{AddressFamily, SocketType, socket},
        process::{Signal, getpid, getppid, kill_process},
    };

    use super::*;

    /// On a thread of its own: a filter binds the thread that asks, and those it starts.
    fn confined(calls: Calls, then: impl FnOnce() + Send + 'static) {
        std::thread::spawn(move || {
            refuse(calls).unwrap();
            then();
        })
        .join()
        .unwrap();
    }

    fn stream(family: AddressFamily) -> Result<(), Errno> {
        socket(family, SocketType::STREAM, None).map(drop)
    }

    #[test]
    fn the_gate_starts_no_program_and_reaches_no_network() {
        let calls = Calls {
            sockets: Sockets::Unix,
            processes: false,
        };
        confined(calls, || {
            let error = Command::new("/bin/true").status().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            assert_eq!(stream(AddressFamily::INET), Err(Errno::PERM));
            assert_eq!(stream(AddressFamily::INET6), Err(Errno::PERM));
            assert_eq!(stream(AddressFamily::VSOCK), Err(Errno::PERM));
            stream(AddressFamily::UNIX).unwrap();
            let parent = getppid().unwrap();
            assert_eq!(kill_process(parent, Signal::CONT), Err(Errno::PERM));
            kill_process(getpid(), Signal::CONT).unwrap();
            // A thread is no process, though glibc asks for it by clone3 first.
            assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
        });
    }

    #[test]
    fn the_front_has_the_internet_and_no_other_network() {
        let calls = Calls {
            sockets: Sockets::Internet,
            processes: false,
        };
        confined(calls, || {
            stream(AddressFamily::INET).unwrap();
            stream(AddressFamily::UNIX).unwrap();
            assert_eq!(stream(AddressFamily::VSOCK), Err(Errno::PERM));
            Command::new("/bin/true").status().unwrap_err();
        });
    }

    #[test]
    fn a_module_with_helpers_may_start_them() {
        let calls = Calls {
            sockets: Sockets::Unix,
            processes: true,
        };
        confined(calls, || {
            assert!(Command::new("/bin/true").status().unwrap().success());
            let inside = Command::new("unshare").args(["--user", "true"]).status();
            assert!(!inside.unwrap().success(), "a helper is refused the same");
        });
    }

    #[test]
    fn this_kernel_has_filters() {
        probe().unwrap();
    }
}
