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

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(N - self.length);
        self.bytes[self.length..self.length + count].copy_from_slice(&bytes[..count]);
        self.length += count;
    }

    pub(crate) fn push_unsigned(&mut self, value: u64) {
        let mut digits = [0_u8; 20];
        let mut start = digits.len();
        let mut rest = value;
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push(&digits[start..]);
    }

    pub(crate) fn push_signed(&mut self, value: i64) {
        if value < 0 {
            self.push(b"-");
        }
        self.push_unsigned(value.unsigned_abs());
    }

    /// `0x` and the digits without leading zeros.
    pub(crate) fn push_hex(&mut self, value: u64) {
        self.push(b"0x");
        let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
        for place in (0..digits).rev() {
            self.push(&[hex_digit((value >> (place * 4)) as u8)]);
        }
    }

    /// Two digits a byte, nothing between them.
    pub(crate) fn push_hex_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.push(&[hex_digit(byte >> 4), hex_digit(*byte)]);
        }
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

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The same bytes with a NUL behind them, for the kernel. The last byte of a full buffer gives way.
    pub(crate) fn terminated(&mut self) -> Terminated<'_> {
        self.length = self.length.min(N - 1);
        self.bytes[self.length] = 0;
        Terminated { with_nul: &self.bytes[..=self.length] }
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
