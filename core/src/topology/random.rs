//! The randomness of an overlay, small enough that a million of them fit into one machine.

use core::convert::Infallible;
use core::fmt;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng, TryRng};

/// The generator of one overlay on one node: seeded from the node and the overlay, so that one overlay never changes
/// what another draws.
///
/// It draws the very numbers of ChaCha8 under its seed (Bernstein 2008), and keeps where in that stream it is instead
/// of the next 256 bytes of it: draws are rare here, and nodes are many.
#[derive(Clone)]
pub struct Rng {
    seed: [u8; 32],
    /// How many words of the stream were drawn.
    drawn: u64,
}

impl Rng {
    fn draw<R>(&mut self, one: impl FnOnce(&mut ChaCha8Rng) -> R) -> R {
        let mut stream = ChaCha8Rng::from_seed(self.seed);
        stream.set_word_pos(self.drawn.into());
        let drawn = one(&mut stream);
        self.drawn = stream.get_word_pos() as u64;
        drawn
    }

    /// A secret for the keyed tables of whoever draws from here; no draw.
    pub(crate) fn table_key(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.seed;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl SeedableRng for Rng {
    type Seed = [u8; 32];

    fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.draw(ChaCha8Rng::next_u32))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.draw(ChaCha8Rng::next_u64))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        self.draw(|stream| stream.fill_bytes(to));
        Ok(())
    }
}

/// Says nothing of the seed: what is drawn next is a secret.
impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rng({} words drawn)", self.drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_draws_what_chacha8_draws() {
        let (mut rng, mut stream) = (Rng::from_seed([7; 32]), ChaCha8Rng::from_seed([7; 32]));
        for round in 0..1000 {
            match round % 3 {
                0 => assert_eq!(rng.next_u32(), stream.next_u32()),
                1 => assert_eq!(rng.next_u64(), stream.next_u64()),
                _ => {
                    let (mut one, mut other) = ([0; 37], [0; 37]);
                    rng.fill_bytes(&mut one);
                    stream.fill_bytes(&mut other);
                    assert_eq!(one, other);
                }
            }
        }
    }
}
