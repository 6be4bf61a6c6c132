//! Choices out of bytes: whoever changes the bytes changes what happens, and a shorter input is a shorter story.

use bytes::Bytes;

/// Reads choices off bytes. When they are used up every choice is the first.
pub(crate) struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        first
    }

    /// A number below `bound`, which is at most 256.
    pub(crate) fn pick(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    /// One in `of`.
    pub(crate) fn once_in(&mut self, of: usize) -> bool {
        self.pick(of) == of - 1
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Mostly small, sometimes anything.
    pub(crate) fn number(&mut self) -> u32 {
        match self.byte() {
            byte @ 0..=0xef => u32::from(byte % 32),
            0xf0..=0xf7 => u32::MAX - u32::from(self.byte() % 4),
            _ => u32::from(self.short()) << 16 | u32::from(self.short()),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        [self.byte(); N]
    }

    /// Some bytes, mostly few.
    pub(crate) fn bytes(&mut self) -> Bytes {
        let len = match self.byte() {
            byte @ 0..=0xdf => usize::from(byte % 8),
            byte @ 0xe0..=0xfb => usize::from(byte),
            _ => usize::from(self.short()),
        };
        Bytes::from(vec![self.byte(); len])
    }

    /// Up to `most` bytes as they stand.
    pub(crate) fn raw(&mut self, most: usize) -> &'a [u8] {
        let len = self.pick(most.min(255) + 1).min(self.rest.len());
        let (raw, rest) = self.rest.split_at(len);
        self.rest = rest;
        raw
    }
}
