//! Memory that was needed once, given back to the system.
//!
//! The allocator keeps what is freed for whoever asks next, and looks after it only when somebody
//! does: an idle process would keep what the compiler of policies needed for its start.

/// Gives back what the calling thread and the threads that ended have freed. Not for a request's
/// path: what is needed again has to be asked of the system again.
#[expect(unsafe_code, reason = "the allocator offers this as a C function alone")]
pub(crate) fn give_back() {
    // SAFETY: it takes no pointers, and may be called from every thread at any time.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
