//! Bytes of an input read as choices. It never runs out: behind the end all choices are 0. The meaning of
//! the bytes is the corpus's format, so what is read in which order is not to be changed lightly.

pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `n`, which is at most 256.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    /// Two numbers below `n`, which is at most 16, in one byte.
    pub fn two_below(&mut self, n: usize) -> (usize, usize) {
        let both = usize::from(self.byte());
        (both % n, both / n % n)
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// So many bytes, or those that there are.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Bytes with their length in one byte before them.
    pub fn short(&mut self) -> &'a [u8] {
        let n = usize::from(self.byte());
        self.take(n)
    }

    /// Bytes with their length in two bytes before them.
    pub fn long(&mut self) -> &'a [u8] {
        let n = usize::from(self.byte()) << 8 | usize::from(self.byte());
        self.take(n)
    }

    /// A number: small, at an edge, or any.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=199 => u64::from(small),
            200..=209 => u64::MAX,
            210..=219 => u64::MAX - 1,
            220..=229 => 1 << 32,
            230..=239 => (1 << 53) + 1,
            _ => self
                .take(8)
                .iter()
                .fold(0, |n, &byte| n << 8 | u64::from(byte)),
        }
    }

    /// Bytes, few that are chosen or many of one kind, so that short inputs reach the limits.
    pub fn bytes(&mut self) -> Vec<u8> {
        match self.byte() {
            n @ 0..=31 => self.take(usize::from(n)).to_vec(),
            n @ 32..=127 => vec![n; 60],
            n @ 128..=191 => vec![n & 0x7f; 500],
            n @ 192..=223 => vec![n & 0x7f; 2_000],
            n @ 224..=247 => vec![n & 0x7f; 5_000],
            n @ 248..=252 => vec![n & 0x7f; 33_000],
            n => vec![n & 0x7f; 70_000],
        }
    }
}
