//! What a hostile module would try, from inside the gate: the errno of each, in a file.
//!
//! Each line is `NAME=ERRNO`, 0 for what was let through. Nothing is left behind by what works.

use std::{fs, io, path::Path, ptr};

type Attempt = fn() -> io::Result<()>;

const ATTEMPTS: [(&str, Attempt); 18] = [
    ("execve", execve),
    ("fork", fork),
    ("thread", thread),
    ("socket_inet", || socket(libc::AF_INET)),
    ("socket_inet6", || socket(libc::AF_INET6)),
    ("socket_vsock", || socket(libc::AF_VSOCK)),
    ("socket_unix", || socket(libc::AF_UNIX)),
    ("ptrace", ptrace),
    ("process_vm_readv", process_vm_readv),
    ("kill_parent", kill_parent),
    ("unshare", || {
        call(libc::SYS_unshare, [libc::CLONE_NEWNS.into(), 0, 0])
    }),
    ("bpf", || call(libc::SYS_bpf, [0, 0, 0])),
    ("keyctl", || call(libc::SYS_keyctl, [0, -2, 0])),
    ("perf_event_open", || call(libc::SYS_perf_event_open, [0, 0, -1])),
    ("userfaultfd", || call(libc::SYS_userfaultfd, [0, 0, 0])),
    ("io_uring_setup", || call(libc::SYS_io_uring_setup, [1, 0, 0])),
    ("write_outside", write_outside),
    ("read_outside", || fs::read("/etc/hostname").map(drop)),
];

/// Tries everything and writes what came of it.
pub(crate) fn run(report: &Path) {
    let lines = ATTEMPTS.map(|(name, attempt)| {
        let errno = match attempt() {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(-1),
        };
        format!("{name}={errno}\n")
    });
    let new = report.with_extension("new");
    // A report that cannot be written is one that the test misses.
    let _written = fs::write(&new, lines.concat()).and_then(|()| fs::rename(&new, report));
}

fn checked(answer: i64) -> io::Result<i64> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        other => Ok(other),
    }
}

fn call(number: libc::c_long, arguments: [libc::c_long; 3]) -> io::Result<()> {
    let [first, second, third] = arguments;
    // SAFETY: each of the calls above takes numbers, or a null pointer, which it refuses by itself.
    checked(unsafe { libc::syscall(number, first, second, third, 0, 0) }).map(drop)
}

fn execve() -> io::Result<()> {
    let arguments = [c"/bin/true".as_ptr(), ptr::null()];
    let missing = c"/nonexistent/program".as_ptr();
    // SAFETY: both end with a null pointer. The file is not there, so nothing takes this process's place.
    match checked(unsafe { libc::execv(missing, arguments.as_ptr()) }.into()) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.map(drop),
    }
}

fn fork() -> io::Result<()> {
    // SAFETY: the child ends at once, without touching anything.
    let child = checked(unsafe { libc::fork() }.into())?;
    if child == 0 {
        // SAFETY: as it says.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    let child = libc::pid_t::try_from(child).map_err(io::Error::other)?;
    // SAFETY: the child is ours, and the status may be written.
    checked(unsafe { libc::waitpid(child, &raw mut status, 0) }.into()).map(drop)
}

fn thread() -> io::Result<()> {
    std::thread::Builder::new().spawn(|| {})?.join().ok();
    Ok(())
}

fn socket(family: i32) -> io::Result<()> {
    // SAFETY: takes numbers alone.
    let socket = checked(unsafe { libc::socket(family, libc::SOCK_STREAM, 0) }.into())?;
    let socket = i32::try_from(socket).map_err(io::Error::other)?;
    // SAFETY: ours, and closed once.
    checked(unsafe { libc::close(socket) }.into()).map(drop)
}

fn parent() -> libc::pid_t {
    // SAFETY: always is.
    unsafe { libc::getppid() }
}

fn ptrace() -> io::Result<()> {
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: attaches or not; what is attached is let go below.
    checked(unsafe { libc::ptrace(libc::PTRACE_SEIZE, parent(), none, none) })?;
    // SAFETY: as above.
    checked(unsafe { libc::ptrace(libc::PTRACE_DETACH, parent(), none, none) }).map(drop)
}

fn process_vm_readv() -> io::Result<()> {
    let mut byte = 0_u8;
    let ours = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let theirs = libc::iovec {
        iov_base: ptr::without_provenance_mut(align_of::<u64>()),
        iov_len: 1,
    };
    // SAFETY: one byte of ours may be written; theirs is the kernel's to check.
    let answer = unsafe { libc::process_vm_readv(parent(), &raw const ours, 1, &raw const theirs, 1, 0) };
    checked(i64::try_from(answer).map_err(io::Error::other)?).map(drop)
}

fn kill_parent() -> io::Result<()> {
    // SAFETY: signal 0 asks whether one could be sent.
    checked(unsafe { libc::kill(parent(), 0) }.into()).map(drop)
}

fn write_outside() -> io::Result<()> {
    let path = std::env::temp_dir().join(format!("sealwright-probe-{}", std::process::id()));
    fs::write(&path, "probe")?;
    fs::remove_file(path)
}
