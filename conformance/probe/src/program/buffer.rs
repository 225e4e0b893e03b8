//! Text of bounded length without a heap: output lines, paths, the data of an observation.
//!
//! What does not fit is dropped: an observation is cut off, it never fails.

/// Bytes on the stack, at most `N`.
pub(crate) struct Buffer<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

/// A path of /proc with a pid, a tid and a name in it.
pub(crate) type Path = Buffer<320>;

impl<const N: usize> Buffer<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut buffer = Self::new();
        for part in parts {
            buffer.push(part);
        }
        buffer
    }

    fn end(&mut self) -> End<'_> {
        End { bytes: &mut self.bytes, length: &mut self.length }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.end().push(bytes);
    }

    /// In decimal.
    pub(crate) fn push_unsigned(&mut self, value: u64) {
        self.end().push_unsigned(value);
    }

    /// In decimal.
    pub(crate) fn push_signed(&mut self, value: i64) {
        if value < 0 {
            self.push(b"-");
        }
        self.push_unsigned(value.unsigned_abs());
    }

    /// `0x` and the digits without leading zeros.
    pub(crate) fn push_hex(&mut self, value: u64) {
        self.push(b"0x");
        self.end().push_hex_digits(value);
    }

    /// Two digits a byte, nothing between them.
    pub(crate) fn push_hex_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.push(&[hex_digit(byte >> 4), hex_digit(*byte)]);
        }
    }

    /// An error number as a value among others: `errno=13`.
    pub(crate) fn push_errno(&mut self, errno: u16) {
        self.push(b"errno=");
        self.push_unsigned(u64::from(errno));
    }

    /// `item`, with `separator` before it unless it is the first.
    pub(crate) fn push_item(&mut self, separator: &[u8], item: &[u8]) {
        if self.length > 0 {
            self.push(separator);
        }
        self.push(item);
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    /// Drops all but the last `count` bytes.
    pub(crate) fn keep_last(&mut self, count: usize) {
        let start = self.length.saturating_sub(count);
        self.bytes.copy_within(start..self.length, 0);
        self.length -= start;
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    /// The same bytes with a NUL behind them, for the kernel. The last byte of a full buffer gives way.
    pub(crate) fn terminated(&mut self) -> Terminated<'_> {
        self.length = self.length.min(N - 1);
        self.bytes[self.length] = 0;
        Terminated { with_nul: &self.bytes[..=self.length] }
    }
}

/// The part of a buffer that does not depend on its size: one copy in the image instead of one for each size.
struct End<'b> {
    bytes: &'b mut [u8],
    length: &'b mut usize,
}

impl End<'_> {
    #[inline(never)]
    fn push(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(*self.length).zip(bytes) {
            *place = *byte;
            *self.length += 1;
        }
    }

    #[inline(never)]
    fn push_unsigned(&mut self, value: u64) {
        let mut rest = value;
        let mut digits = [0_u8; 20];
        let mut count = 0;
        for place in digits.iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        self.push(digits.get(20 - count..).unwrap_or(&[]));
    }

    #[inline(never)]
    fn push_hex_digits(&mut self, value: u64) {
        let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
        for place in (0..digits).rev() {
            self.push(&[hex_digit((value >> (place * 4)) as u8)]);
        }
    }
}

fn hex_digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

/// Bytes that end in NUL. NUL inside is allowed: the name of an abstract socket begins with one.
#[derive(Clone, Copy)]
pub(crate) struct Terminated<'b> {
    with_nul: &'b [u8],
}

impl<'b> Terminated<'b> {
    /// `None` unless the last byte is NUL.
    pub(crate) fn new(with_nul: &'b [u8]) -> Option<Self> {
        (with_nul.last() == Some(&0)).then_some(Self { with_nul })
    }

    /// Without the NUL at the end.
    pub(crate) fn bytes(self) -> &'b [u8] {
        &self.with_nul[..self.with_nul.len() - 1]
    }

    pub(crate) fn address(self) -> usize {
        self.with_nul.as_ptr() as usize
    }
}
