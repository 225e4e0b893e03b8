//! The machine: entry point, system calls, memory routines. The only file of the probe with `unsafe`.
//!
//! Owns the two kernel entries (`syscall` and `int 0x80`), the initial stack and the static memory that the
//! program hands to the kernel. Must never decide anything: which call, with which operands, is the
//! business of the script and of the operations.
//!
//! Who keeps memory sound: a system call may write wherever its operands point. Operands come from two
//! places. The operations pass the address and the length of a live buffer, taken side by side at the call
//! (`kernel.rs`). The script passes words that the suite wrote: integers, the pointer 8, which never maps
//! (below `mmap_min_addr`), and arena allocations that are never freed. A script that says `munmap` on the
//! program's own text gets what it asked for, in a process that exists to be broken.

use core::arch::{asm, naked_asm};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Bytes of static memory for operands. BSS: costs nothing until it is touched.
pub(crate) const ARENA_BYTES: usize = 512 * 1024;

/// Exit code of a bug in the probe: not an error number, because children hand theirs over as exit code.
const INTERNAL_ERROR: i32 = 254;

/// Bytes of stack for a thread or a child that does not return to the caller's frame.
const STACK_BYTES: usize = 16 * 1024;

#[repr(C, align(4096))]
struct Shared<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: the arena is reached only through `arena`, which hands it out once; the stack only by the one
// thread that `spawn_thread` starts and waits for. The program has no other threads.
unsafe impl<const N: usize> Sync for Shared<N> {}

static ARENA: Shared<ARENA_BYTES> = Shared(UnsafeCell::new([0; ARENA_BYTES]));
static STACK: Shared<STACK_BYTES> = Shared(UnsafeCell::new([0; STACK_BYTES]));
static ARENA_TAKEN: AtomicBool = AtomicBool::new(false);

/// The static memory below 4 GiB, zeroed, aligned to a page. `None` from the second call on.
pub(crate) fn arena() -> Option<&'static mut [u8]> {
    if ARENA_TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: the flag makes this the only reference that is ever made to the arena.
    Some(unsafe { &mut *ARENA.0.get() })
}

/// Entry of the program. The kernel jumps here with the stack pointer at argc.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {start}", "ud2", start = sym start)
}

extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: `_start` passes the initial stack pointer; the kernel puts there argc, argc pointers, a null,
    // the environment's pointers and a null (System V ABI, "Initial Process Stack").
    let (args, environment) = unsafe {
        let argc = *stack;
        let argv = stack.add(1).cast::<*const u8>();
        (Strings(argv), Strings(argv.add(argc + 1)))
    };
    exit(crate::engine::main(args, environment))
}

/// A null-terminated vector of C strings on the initial stack: arguments or environment.
#[derive(Clone, Copy)]
pub(crate) struct Strings(*const *const u8);

impl Strings {
    /// The pointer itself, for execve.
    pub(crate) fn address(self) -> usize {
        self.0 as usize
    }
}

impl Iterator for Strings {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        // SAFETY: `start` made the pointer; it advances by one only past an entry that was not null, so it
        // never leaves the vector. The strings live as long as the process and nobody writes to them.
        unsafe {
            let string = *self.0;
            if string.is_null() {
                return None;
            }
            self.0 = self.0.add(1);
            Some(core::slice::from_raw_parts(string, strlen(string)))
        }
    }
}

/// One native system call. Returns what the kernel returns: -4095..=-1 is an error number.
///
/// Not inlined: the x32 and the 64-bit operands of the script must reach the kernel as they are.
#[inline(never)]
pub(crate) fn syscall(number: usize, operands: [usize; 6]) -> isize {
    let result: isize;
    let [a, b, c, d, e, f] = operands;
    // SAFETY: see the module header for what the kernel may write to. The instruction itself clobbers only
    // rcx and r11; memory is clobbered by default, so nothing is cached across the call.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number.cast_signed() => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

/// One system call through the 32-bit entry, with the numbers of i386. Pointers must lie below 4 GiB: the
/// arena does, the stack does not. Where the kernel has no 32-bit entry, this raises SIGSEGV.
///
/// Returns what [`syscall`] would: an error is negative, a result (an address above 2 GiB, say) is not.
#[inline(never)]
pub(crate) fn syscall32(number: u32, operands: [u32; 6]) -> isize {
    let result: u32;
    let [a, b, c, d, e, f] = operands;
    // SAFETY: as `syscall`. rbx belongs to LLVM and rbp may be the frame pointer: both are put back before
    // the block ends. The push is allowed because the block does not claim `nostack`. Kernels before 4.19 clear
    // r8 to r11 on this entry.
    unsafe {
        asm!(
            "xchg rbx, r12",
            "push rbp",
            "mov ebp, r13d",
            "int 0x80",
            "pop rbp",
            "xchg rbx, r12",
            inlateout("r12") u64::from(a) => _,
            inlateout("r13") u64::from(f) => _,
            inlateout("eax") number => result,
            in("ecx") b, in("edx") c, in("esi") d, in("edi") e,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    match result.cast_signed() {
        error @ -4095..=-1 => error as isize,
        _ => result as isize,
    }
}

/// `exit_group`.
pub(crate) fn exit(code: i32) -> ! {
    loop {
        syscall(231, [code.cast_unsigned() as usize, 0, 0, 0, 0, 0]);
    }
}

/// Starts a thread by clone(2) or clone3(2) that stores 1 to a static word and exits, and waits until the
/// kernel has cleared its thread id. Returns the thread id and the word, or the negated error of clone.
pub(crate) fn spawn_thread(flags: usize, by_clone3: bool) -> Result<(isize, u32), isize> {
    static RAN: AtomicU32 = AtomicU32::new(0);
    static TID: AtomicU32 = AtomicU32::new(0);
    RAN.store(0, Ordering::SeqCst);
    TID.store(1, Ordering::SeqCst);
    let base = STACK.0.get() as usize;
    let word = TID.as_ptr() as usize;
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
    let arguments = [flags, 0, word, word, 0, base, STACK_BYTES, 0];
    let operands = if by_clone3 {
        [435, arguments.as_ptr() as usize, size_of_val(&arguments), 0, 0, 0]
    } else {
        [56, flags, base + STACK_BYTES, word, word, 0]
    };
    let [number, a, b, c, d, e] = operands;
    let result: isize;
    // SAFETY: the new thread has a stack of its own that no other thread uses, touches only `RAN`, and leaves by
    // exit(2) inside this block: it never returns into a frame of the caller.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov dword ptr [{ran}], 1",
            "xor edi, edi",
            "mov eax, 60",
            "syscall",
            "ud2",
            "2:",
            ran = in(reg) RAN.as_ptr(),
            inlateout("rax") number.cast_signed() => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            // `out`, not `lateout`: the pointer `ran` is read after the kernel has clobbered these two.
            out("rcx") _, out("r11") _,
        );
    }
    if result < 0 {
        return Err(result);
    }
    // CLONE_CHILD_CLEARTID wakes this futex with value 0; a change between load and wait gives EAGAIN.
    loop {
        let seen = TID.load(Ordering::SeqCst);
        if seen == 0 {
            return Ok((result, RAN.load(Ordering::SeqCst)));
        }
        syscall(202, [word, 0, seen as usize, 0, 0, 0]);
    }
}

/// Starts a thread that only waits, until its process ends. Returns the negated error of clone.
pub(crate) fn spawn_waiting_thread() -> Result<(), isize> {
    // CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM
    const FLAGS: usize = 0x0005_0f00;
    let stack = STACK.0.get() as usize + STACK_BYTES;
    let result: isize;
    // SAFETY: the new thread only calls pause(2), which uses no stack, and never leaves this block; so any number of them
    // may have the same stack pointer.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "3:",
            "mov eax, 34",
            "syscall",
            "jmp 3b",
            "2:",
            inlateout("rax") 56_isize => result,
            in("rdi") FLAGS, in("rsi") stack, in("rdx") 0, in("r10") 0, in("r8") 0,
            out("rcx") _, out("r11") _,
        );
    }
    if result < 0 { Err(result) } else { Ok(()) }
}

/// Writes to each page of a fresh anonymous mapping, private or shared, calls `then`, and unmaps it. Returns the negated
/// error of mmap.
pub(crate) fn touch(length: usize, shared: bool, then: impl FnOnce()) -> Result<(), isize> {
    const MMAP: usize = 9;
    const MUNMAP: usize = 11;
    const READ_WRITE: usize = 3;
    const ANONYMOUS: usize = 0x20;
    let kind = if shared { 1 } else { 2 };
    let address = syscall(MMAP, [0, length, READ_WRITE, ANONYMOUS | kind, usize::MAX, 0]);
    if (-4095..0).contains(&address) {
        return Err(address);
    }
    for offset in (0..length).step_by(4096) {
        // SAFETY: the kernel has just made this mapping where nothing was, the byte lies in it, and no reference to it exists.
        unsafe { (address.cast_unsigned() as *mut u8).add(offset).write_volatile(1) };
    }
    then();
    syscall(MUNMAP, [address.cast_unsigned(), length, 0, 0, 0, 0]);
    Ok(())
}

/// Maps `length` bytes of `fd` from `offset`, shared and writable, wherever the kernel likes: io_uring refuses a
/// given address. The mapping stays until the process ends.
pub(crate) fn map_shared(fd: usize, length: usize, offset: usize) -> Result<&'static mut [u8], isize> {
    const MMAP: usize = 9;
    const READ_WRITE: usize = 3;
    const SHARED_POPULATE: usize = 0x1 | 0x8000;
    let address = syscall(MMAP, [0, length, READ_WRITE, SHARED_POPULATE, fd, offset]);
    if (-4095..0).contains(&address) {
        return Err(address);
    }
    // SAFETY: the kernel has just made this mapping of `length` bytes at a place where nothing was, so no other
    // reference exists; nobody unmaps it. The kernel writes to it only while it executes a system call of this
    // thread (there is no SQPOLL thread), which the compiler takes for a change of all memory.
    Ok(unsafe { core::slice::from_raw_parts_mut(address.cast_unsigned() as *mut u8, length) })
}

/// The address of a value that the kernel is going to fill in.
pub(crate) fn address_of<T>(value: &mut T) -> usize {
    core::ptr::from_mut(value).expose_provenance()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let text = b"palisade-probe: internal error at line ";
    syscall(1, [2, text.as_ptr() as usize, text.len(), 0, 0, 0]);
    let mut digits = crate::buffer::Buffer::<64>::new();
    if let Some(place) = info.location() {
        digits.push_unsigned(u64::from(place.line()));
        digits.push(b" of ");
        digits.push(place.file().as_bytes());
    }
    digits.push(b"\n");
    let line = digits.as_slice();
    syscall(1, [2, line.as_ptr() as usize, line.len(), 0, 0, 0]);
    exit(INTERNAL_ERROR)
}

// What the compiler expects from a C library. Assembly or volatile reads, so that no loop is recognised
// as the very function that it implements. SAFETY of all: the contract of the C function, kept by the compiler.

/// core was built with unwinding; with `panic=abort` nobody calls this.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: C contract: both ranges are valid and do not overlap.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= count {
        // SAFETY: `to` does not lie inside the source, so a forward copy never overwrites unread bytes.
        return unsafe { memcpy(to, from, count) };
    }
    // SAFETY: C contract; from the end downwards, and the direction flag is clear again afterwards.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") count => _,
            inout("rdi") to.wrapping_add(count).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(count).wrapping_sub(1) => _, options(nostack));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
    // SAFETY: C contract: `count` bytes at `to` are writable.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("eax") value,
            options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    for offset in 0..count {
        // SAFETY: C contract: both ranges have `count` readable bytes.
        let (a, b) = unsafe { (left.add(offset).read_volatile(), right.add(offset).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: same contract.
    unsafe { memcmp(left, right, count) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: C contract: the string ends in NUL, and no byte behind it is read.
    while unsafe { string.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
