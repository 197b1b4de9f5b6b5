//! The allocator of a policy: hands out memory and never takes it back.
//!
//! An instance lives for one decision, so freeing is work for nothing, and a
//! general allocator was a good third of what a small decision costs. A policy
//! whose garbage does not fit its memory limit traps, which denies; the block
//! that was handed out last can grow in place and is given back.

use core::{
    alloc::{GlobalAlloc, Layout},
    arch::wasm32::{memory_grow, memory_size},
    cell::Cell,
    ptr,
};

const PAGE: usize = 64 << 10;
/// Pages taken at a time: enough for most decisions at once.
const CHUNK_PAGES: usize = 2;

/// See the module. [`crate::export!`] installs it.
pub struct Bump {
    /// The first free byte; 0 before the first allocation.
    next: Cell<usize>,
    /// The first byte that is not ours.
    end: Cell<usize>,
}

// A component of this world has one thread.
unsafe impl Sync for Bump {}

impl Bump {
    /// An allocator that has no memory yet.
    #[allow(clippy::new_without_default, reason = "only for statics")]
    pub const fn new() -> Self {
        Self {
            next: Cell::new(0),
            end: Cell::new(0),
        }
    }

    /// Moves the end out until `wanted` is inside.
    #[cold]
    fn grow(&self, wanted: usize) -> bool {
        let missing = (wanted - self.end.get()).div_ceil(PAGE);
        for pages in [missing.max(CHUNK_PAGES), missing] {
            let before = memory_grow::<0>(pages);
            if before != usize::MAX {
                // Not where ours ends: the policy grew the memory itself.
                let ours = before * PAGE == self.end.get();
                if ours {
                    self.end.set((before + pages) * PAGE);
                }
                return ours;
            }
        }
        false
    }

    fn take(&self, start: usize, size: usize) -> *mut u8 {
        let Some(next) = start.checked_add(size) else {
            return ptr::null_mut();
        };
        if next > self.end.get() && !self.grow(next) {
            return ptr::null_mut();
        }
        self.next.set(next);
        start as *mut u8
    }
}

unsafe impl GlobalAlloc for Bump {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.end.get() == 0 {
            // Everything from here on is ours.
            let end = memory_size::<0>() * PAGE;
            self.next.set(end);
            self.end.set(end);
        }
        let mask = layout.align() - 1;
        match self.next.get().checked_add(mask) {
            Some(above) => self.take(above & !mask, layout.size()),
            None => ptr::null_mut(),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if block as usize + layout.size() == self.next.get() {
            self.next.set(block as usize);
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if block as usize + layout.size() == self.next.get() {
            return self.take(block as usize, size);
        }
        if size <= layout.size() {
            return block;
        }
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size());
            }
            moved
        }
    }
}
