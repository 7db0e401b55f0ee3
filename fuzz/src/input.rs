//! Reads numbers, choices and bytes from an input.

/// Reads an input from its beginning. Past its end there are zeros.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_used_up(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn bit(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// At most this many bytes.
    pub(crate) fn bytes(&mut self, many: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(many.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let bytes = self.bytes(if end <= 256 { 1 } else { 4 });
        bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)) % end
    }

    pub(crate) fn pick<'t, T>(&mut self, things: &'t [T]) -> &'t T {
        &things[self.below(things.len())]
    }

    /// Gives a 64-bit number. It is often an edge case, such as the largest one.
    pub(crate) fn integer(&mut self) -> i64 {
        const EDGES: [i64; 12] = [
            0,
            1,
            -1,
            i64::MAX,
            i64::MIN,
            i64::MAX - 1,
            1 << 53,
            (1 << 53) + 1,
            1 << 60,
            1_790_000_000_000,
            253_402_300_800_000,
            u32::MAX as i64,
        ];
        match self.byte() {
            edge if usize::from(edge) < 4 * EDGES.len() => EDGES[usize::from(edge) % EDGES.len()],
            _ => self.bytes(8).iter().fold(0, |number, byte| number << 8 | i64::from(*byte)),
        }
    }
}
