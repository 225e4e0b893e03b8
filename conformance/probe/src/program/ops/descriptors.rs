//! What the process was born with: descriptors and the working directory.

use crate::buffer::Path;
use crate::call::Call;
use crate::directory;
use crate::kernel::{self, Answer, Fd, O_CLOEXEC, O_DIRECTORY, O_RDONLY, nr};

/// Where /proc is not there, descriptors are looked for one by one up to this number.
const HIGHEST: Fd = 4096;

pub(super) fn scan_fds(call: &mut Call<'_>) -> Answer {
    let mut count = 0;
    each_fd(&mut |fd| {
        if fd > 2 {
            count += 1;
            let mut target = [0; 256];
            let length = kernel::readlink(path_of(fd).terminated(), &mut target).unwrap_or(0);
            call.data.push_item(b"\n", b"");
            call.data.push_unsigned(fd as u64);
            call.data.push(b"->");
            call.data.push(if length == 0 { b"?" } else { &target[..length] });
        }
    });
    Ok(count)
}

pub(super) fn fd_dirs(call: &mut Call<'_>) -> Answer {
    const AT_EMPTY_PATH: usize = 0x1000;
    let mut count = 0;
    let mut empty = Path::new();
    each_fd(&mut |fd| {
        if kernel::stat_at(fd, empty.terminated(), AT_EMPTY_PATH).is_ok_and(|stat| stat.is_directory()) {
            count += 1;
            call.data.push_item(b",", b"");
            call.data.push_unsigned(fd as u64);
        }
    });
    Ok(count)
}

pub(super) fn cwd(call: &mut Call<'_>) -> Answer {
    const GETCWD: usize = 79;
    let mut text = [0_u8; 2048];
    let length = kernel::call(GETCWD, [text.as_mut_ptr() as usize, text.len()])?;
    let text = &text[..length.saturating_sub(1)];
    call.data.push(text);
    Ok(text.len() as i64)
}

/// Every open descriptor but the one that is used to look.
fn each_fd(visit: &mut dyn FnMut(Fd)) {
    let mut path = Path::of(&[b"/proc/self/fd"]);
    let Ok(own) = kernel::open(path.terminated(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) else {
        for fd in 0..HIGHEST {
            const F_GETFD: usize = 1;
            if kernel::call(nr::FCNTL, [fd, F_GETFD]).is_ok() {
                visit(fd);
            }
        }
        return;
    };
    // An error in the middle leaves what was seen until then; /proc/self/fd gives none.
    let _ = directory::walk(own, &mut |name| {
        let fd = crate::decode::integer(name).and_then(|fd| Fd::try_from(fd).ok());
        if let Some(fd) = fd.filter(|fd| *fd != own) {
            visit(fd);
        }
        Ok(())
    });
    kernel::close(own);
}

fn path_of(fd: Fd) -> Path {
    let mut path = Path::of(&[b"/proc/self/fd/"]);
    path.push_unsigned(fd as u64);
    path
}
