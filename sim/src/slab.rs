//! A pool of cells with numbers. Cells are taken from segments of a fixed size, so that a growing pool copies
//! nothing, and the cell freed last is used first, while it is still in the cache.

use core::fmt;

/// Cells in one segment.
const SEGMENT: usize = 1 << 10;

/// A pool of `T`s.
pub(crate) struct Slab<T> {
    segments: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { segments: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// Puts a value into a cell and says which.
    ///
    /// # Panics
    /// If 2^32 cells are taken, long after memory is.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(at) = self.free.pop() {
            self.segments[at as usize / SEGMENT][at as usize % SEGMENT] = Some(value);
            return at;
        }
        if self.segments.last().is_none_or(|last| last.len() == SEGMENT) {
            self.segments.push(Vec::with_capacity(SEGMENT));
        }
        let segment = self.segments.len() - 1;
        let cells = &mut self.segments[segment];
        cells.push(Some(value));
        u32::try_from(segment * SEGMENT + cells.len() - 1).expect("fewer than 2^32 cells")
    }

    /// Takes the value out and frees the cell.
    pub(crate) fn take(&mut self, at: u32) -> Option<T> {
        let value = self.segments.get_mut(at as usize / SEGMENT)?.get_mut(at as usize % SEGMENT)?.take()?;
        self.free.push(at);
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        self.segments.get(at as usize / SEGMENT)?.get(at as usize % SEGMENT)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.segments.get_mut(at as usize / SEGMENT)?.get_mut(at as usize % SEGMENT)?.as_mut()
    }

    /// How many bytes the pool holds, freed cells included.
    pub(crate) fn bytes(&self) -> usize {
        self.segments.len() * SEGMENT * size_of::<Option<T>>() + self.free.capacity() * 4
    }

    /// How many cells are taken.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slab({} taken, {} free)", self.len, self.free.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_cell_is_used_again_and_its_old_value_is_gone() {
        let mut slab = Slab::new();
        let cells: Vec<_> = (0..3000).map(|i| slab.insert(i)).collect();
        assert_eq!(slab.take(cells[17]), Some(17));
        assert_eq!(slab.take(cells[17]), None);
        assert_eq!(slab.get(cells[17]), None);
        assert_eq!(slab.insert(99), cells[17]);
        assert_eq!(slab.len(), 3000);
        assert_eq!(slab.get(2999), Some(&2999));
        assert_eq!(slab.get(1 << 20), None);
    }
}
