//! What /proc/self/mountinfo says. Paths are compared as the kernel prints them, with `\040` for a space.

use crate::buffer::{Buffer, Path};
use crate::call::Call;
use crate::kernel::{Answer, EINVAL, ENOENT, Errno};
use crate::stream;

/// Most mount points that `mountinfo_missing` can leave out.
const EXEMPT: usize = 16;

/// One line: id parent device root point options [optional...] - type source super.
struct Mount<'l> {
    head: &'l [u8],
    tail: &'l [u8],
}

impl<'l> Mount<'l> {
    fn parse(line: &'l [u8]) -> Option<Self> {
        let at = line.windows(3).position(|window| window == b" - ")?;
        Some(Self { head: &line[..at], tail: &line[at + 3..] })
    }

    fn head(&self, index: usize) -> &'l [u8] {
        self.head.split(|byte| *byte == b' ').nth(index).unwrap_or(b"")
    }

    fn tail(&self, index: usize) -> &'l [u8] {
        self.tail.splitn(3, |byte| *byte == b' ').nth(index).unwrap_or(b"")
    }

    fn point(&self) -> &'l [u8] {
        self.head(4)
    }

    fn has_option(&self, flag: &[u8]) -> bool {
        self.head(5).split(|byte| *byte == b',').any(|option| option == flag)
    }

    fn has_optional(&self, tag: &[u8]) -> bool {
        self.head.split(|byte| *byte == b' ').skip(6).any(|field| field.starts_with(tag))
    }

    fn field(&self, name: &[u8]) -> Option<&'l [u8]> {
        Some(match name {
            b"id" => self.head(0),
            b"parent" => self.head(1),
            b"device" => self.head(2),
            b"root" => self.head(3),
            b"options" => self.head(5),
            b"optional" => self.head.splitn(7, |byte| *byte == b' ').nth(6).unwrap_or(b""),
            b"type" => self.tail(0),
            b"source" => self.tail(1),
            b"super" => self.tail(2),
            _ => return None,
        })
    }
}

fn each_mount(visit: &mut dyn FnMut(&Mount<'_>)) -> Result<(), Errno> {
    let mut path = Path::of(&[b"/proc/self/mountinfo"]);
    stream::each_line(path.terminated(), &mut |line| {
        if let Some(mount) = Mount::parse(line) {
            visit(&mount);
        }
    })
}

/// Reports the points of the mounts that `chosen` says yes to.
fn report(call: &mut Call<'_>, chosen: &dyn Fn(&Mount<'_>) -> bool) -> Answer {
    let mut count = 0;
    each_mount(&mut |mount| {
        if chosen(mount) {
            count += 1;
            call.data.push_item(b"\n", mount.point());
        }
    })?;
    Ok(count)
}

pub(super) fn mountinfo_missing(call: &mut Call<'_>) -> Answer {
    let flag = call.text(0)?;
    let exempt = call.texts::<EXEMPT>(1)?;
    report(call, &|mount| {
        let left_out = exempt.iter().flatten().any(|point| point.bytes() == mount.point());
        !left_out && !mount.has_option(flag.bytes())
    })
}

pub(super) fn mountinfo_optional(call: &mut Call<'_>) -> Answer {
    let tag = call.text(0)?;
    report(call, &|mount| mount.has_optional(tag.bytes()))
}

pub(super) fn mountinfo_points(call: &mut Call<'_>) -> Answer {
    report(call, &|_| true)
}

pub(super) fn mountinfo_field(call: &mut Call<'_>) -> Answer {
    let (point, name) = (call.text(0)?, call.text(1)?);
    let mut value = Buffer::<2048>::new();
    let (mut known, mut count) = (true, 0);
    each_mount(&mut |mount| {
        if mount.point() == point.bytes() {
            count += 1;
            value.clear();
            match mount.field(name.bytes()) {
                Some(text) => value.push(text),
                None => known = false,
            }
        }
    })?;
    call.data.push(value.as_slice());
    match (known, count) {
        (false, _) => Err(EINVAL),
        (true, 0) => Err(ENOENT),
        (true, count) => Ok(count),
    }
}
