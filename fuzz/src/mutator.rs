//! Changes of good inputs, by chance.

/// Makes inputs: with the same seed the same ones in the same order.
pub(crate) struct Mutator {
    state: u64,
    seeds: Vec<Vec<u8>>,
}

impl Mutator {
    pub(crate) fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Mutator {
        Mutator { state: seed, seeds }
    }

    pub(crate) fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.any_seed();
        for _ in 0..1 + self.below(6) {
            self.change(&mut input);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let length = self.below(24).min(input.len() - at);
        match self.below(12) {
            0 | 1 if at < input.len() => input[at] = self.number() as u8,
            2 | 3 if at < input.len() => input[at] ^= 1 << self.below(8),
            // A digit, or a letter of base64.
            4 if at < input.len() => input[at] = self.printable(),
            5 => input.insert(at, self.printable()),
            6 => input.truncate(at),
            7 => drop(input.drain(at..at + length)),
            8 => input.extend_from_within(at..at + length),
            9 => {
                let new: Vec<u8> = (0..self.below(24)).map(|_| self.number() as u8).collect();
                drop(input.splice(at..at, new));
            }
            10 => {
                let other = self.any_seed();
                let from = self.below(other.len() + 1);
                drop(input.splice(at..at + length, other[from..].iter().copied()));
            }
            _ => {
                let new: Vec<u8> = (0..1 + self.below(40)).map(|_| self.number() as u8).collect();
                input.extend(new);
            }
        }
    }

    fn any_seed(&mut self) -> Vec<u8> {
        let number = self.below(self.seeds.len());
        self.seeds[number].clone()
    }

    fn printable(&mut self) -> u8 {
        b' ' + self.below(95) as u8
    }

    fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// SplitMix64.
    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
