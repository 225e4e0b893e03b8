//! A global allocator for a program that starts, does one thing and ends: what it takes in its first milliseconds lies in one
//! area, one after the other.
//!
//! malloc(3) is made for programs that go on. A start of the `palisade` command takes some thousand small blocks and needs few of
//! them again: the lists of free blocks, their headers, which are written when a block is freed, and the fork(2) in between,
//! after which each page that is written is copied, made an eighth of all the time of a start.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What malloc(3) aligns every block to. There is code that relies on it where it asks for bytes and puts structures there.
const ALIGNMENT: usize = 16;

/// Takes memory in order of its use from an area of `SIZE` bytes, and where that has no room, from malloc(3).
///
/// Of the area only the block that was taken last can be given back. Its pages are the kernel's until they are used, so that
/// those of no use cost nothing. It takes no lock.
///
/// ```
/// use palisade_sys::allocator::StartAllocator;
///
/// #[global_allocator]
/// static ALLOCATOR: StartAllocator<4096> = StartAllocator::new();
/// assert_eq!(vec![1; 1000].len(), 1000);
/// ```
#[derive(Debug)]
pub struct StartAllocator<const SIZE: usize> {
    area: Area<SIZE>,
    /// Where in the area the next block begins.
    next: AtomicUsize,
}

/// As aligned as a page, which is more than any block asks for that is not refused.
#[derive(Debug)]
#[repr(align(4096))]
struct Area<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

// SAFETY: its bytes are only reached through blocks, each of which belongs to whoever took it, and no two overlap.
unsafe impl<const SIZE: usize> Sync for Area<SIZE> {}

impl<const SIZE: usize> StartAllocator<SIZE> {
    /// An allocator whose area nothing was taken from.
    #[expect(clippy::new_without_default, reason = "a default cannot be made for a static")]
    pub const fn new() -> Self {
        Self { area: Area(UnsafeCell::new([0; SIZE])), next: AtomicUsize::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.area.0.get().cast()
    }

    /// Where in the area this block begins, if it is of the area.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        let offset = block.addr().wrapping_sub(self.start().addr());
        (offset < SIZE).then_some(offset)
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        if layout.align() > align_of::<Area<SIZE>>() {
            return None;
        }
        let mut next = self.next.load(Ordering::Relaxed);
        loop {
            let start = next.checked_next_multiple_of(layout.align().max(ALIGNMENT))?;
            let end = start.checked_add(layout.size()).filter(|end| *end <= SIZE)?;
            match self.moved(next, end) {
                // SAFETY: `start` is not past the area's end.
                Ok(()) => return Some(unsafe { self.start().add(start) }),
                Err(other) => next = other,
            }
        }
    }

    /// Moves the mark, or tells where it is instead. What was done in a block before it was given back is done when it is taken
    /// again.
    fn moved(&self, from: usize, to: usize) -> Result<(), usize> {
        self.next.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).map(drop)
    }
}

// SAFETY: a block is either malloc's, and then all that is done to it is done by malloc, or of the area: aligned, in it, and
// apart from every other that is in use, since the mark is behind its end until it is given back. Nothing panics.
unsafe impl<const SIZE: usize> GlobalAlloc for StartAllocator<SIZE> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises a size that is not zero.
        self.take(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(block) = self.take(layout) else {
            // SAFETY: as above.
            return unsafe { System.alloc_zeroed(layout) };
        };
        // Something else may have been there.
        // SAFETY: the block is of that size.
        unsafe { block.write_bytes(0, layout.size()) };
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            // The mark is at its end exactly when nothing in use was taken after it.
            Some(start) => drop(self.moved(start + layout.size(), start)),
            // SAFETY: the caller promises that this allocator gave it out, and it is not of the area.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(start) = self.offset(block) else {
            // SAFETY: as in `dealloc`.
            return unsafe { System.realloc(block, layout, size) };
        };
        let end = start.checked_add(size).filter(|end| *end <= SIZE);
        if end.is_some_and(|end| self.moved(start + layout.size(), end).is_ok()) || size <= layout.size() {
            return block;
        }
        // SAFETY: the caller promises that `size` is not too large for this alignment.
        let larger = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: `size` is more than a size that was not zero.
        let other = unsafe { self.alloc(larger) };
        if !other.is_null() {
            // SAFETY: both blocks are at least that long, and apart, since the first is still in use.
            unsafe { other.copy_from_nonoverlapping(block, layout.size()) };
        }
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout")
    }

    /// The block's bytes.
    fn bytes<'a>(block: *mut u8, size: usize) -> &'a mut [u8] {
        assert!(!block.is_null());
        // SAFETY: the tests give only blocks that they have taken, of this size, which their allocators outlive.
        unsafe { std::slice::from_raw_parts_mut(block, size) }
    }

    #[test]
    fn blocks_are_aligned_and_apart() {
        let allocator = StartAllocator::<8192>::new();
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for (size, align) in [(1, 1), (8, 8), (3, 1), (24, 16), (1, 1), (100, 64), (5, 4096)] {
            // SAFETY: no size is zero.
            let block = unsafe { allocator.alloc(layout(size, align)) };
            assert!(allocator.offset(block).is_some(), "{size} bytes are of the area");
            assert_eq!(block.addr() % align.max(ALIGNMENT), 0);
            assert!(taken.iter().all(|(start, end)| block.addr() >= *end || block.addr() + size <= *start));
            taken.push((block.addr(), block.addr() + size));
            bytes(block, size).fill(0xff);
        }
    }

    #[test]
    fn what_has_no_room_is_mallocs() {
        let allocator = StartAllocator::<4096>::new();
        for layout in [layout(4097, 1), layout(1, 8192)] {
            // SAFETY: no size is zero, and each block is given back as what it was taken.
            unsafe {
                let block = allocator.alloc(layout);
                bytes(block, layout.size()).fill(1);
                assert_eq!(allocator.offset(block), None);
                let larger = allocator.realloc(block, layout, 2 * layout.size());
                assert_eq!(bytes(larger, 1), [1]);
                allocator
                    .dealloc(larger, Layout::from_size_align_unchecked(2 * layout.size(), layout.align()));
                let zeroed = allocator.alloc_zeroed(layout);
                assert!(bytes(zeroed, layout.size()).iter().all(|byte| *byte == 0));
                allocator.dealloc(zeroed, layout);
            }
        }
        // SAFETY: the size is not zero.
        let whole = unsafe { allocator.alloc(layout(4096, 1)) };
        assert!(allocator.offset(whole).is_some(), "to the last byte");
    }

    #[test]
    fn the_last_block_grows_and_shrinks_where_it_is_and_is_given_back() {
        let allocator = StartAllocator::<4096>::new();
        let four = layout(4, 4);
        // SAFETY: no size is zero, and each block is given back as what it was taken or made.
        unsafe {
            let first = allocator.alloc(four);
            bytes(first, 4).copy_from_slice(b"four");
            assert_eq!(allocator.realloc(first, four, 8), first);
            let second = allocator.alloc(four);
            bytes(second, 4).fill(7);
            let moved = allocator.realloc(first, layout(8, 4), 12);
            assert_ne!(moved, first, "another one is behind it");
            assert_eq!(&bytes(moved, 12)[..4], b"four");
            assert_eq!(bytes(second, 4), [7; 4]);

            allocator.dealloc(first, layout(8, 4));
            assert_ne!(allocator.alloc(layout(8, 4)), first, "it was not the last");
            let last = allocator.alloc(four);
            bytes(last, 4).fill(9);
            assert_eq!(allocator.realloc(last, four, 2), last);
            allocator.dealloc(last, layout(2, 4));
            assert_eq!(allocator.alloc_zeroed(four), last);
            assert_eq!(bytes(last, 4), [0; 4], "nothing of what was there");
        }
    }

    #[test]
    fn threads_get_blocks_of_their_own() {
        static ALLOCATOR: StartAllocator<{ 1 << 20 }> = StartAllocator::new();
        let fill = |mark: u8| {
            let blocks: Vec<*mut u8> = (0..2000)
                .map(|number: usize| {
                    let layout = layout(1 + number % 60, 1);
                    // SAFETY: the size is not zero. Every second block is given back at once, as what it was taken.
                    let block = unsafe { ALLOCATOR.alloc(layout) };
                    bytes(block, layout.size()).fill(mark);
                    if number % 2 == 1 {
                        // SAFETY: as above.
                        unsafe { ALLOCATOR.dealloc(block, layout) };
                    }
                    block
                })
                .collect();
            for (number, block) in blocks.into_iter().enumerate().filter(|(number, _)| number % 2 == 0) {
                assert!(bytes(block, 1 + number % 60).iter().all(|byte| *byte == mark));
            }
        };
        std::thread::scope(|scope| {
            for mark in 1..=4 {
                scope.spawn(move || fill(mark));
            }
        });
    }
}
