//! Lists that every turn fills and empties keep their memory, as long as it is little: most turns need little, and
//! one that needs much must not leave it behind.

/// Bytes that such a list keeps, at most.
const BYTES_KEPT: usize = 16 * 1024;

/// The list, emptied, for the next turn.
pub(super) fn kept<T>(mut list: Vec<T>) -> Vec<T> {
    if list.capacity() * size_of::<T>() > BYTES_KEPT {
        return Vec::new();
    }
    list.clear();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_is_kept_and_much_is_not() {
        assert!(kept(vec![1_u64; 100]).capacity() >= 100);
        assert!(kept(vec![1_u64; 100]).is_empty());
        assert_eq!(kept(vec![1_u64; 10_000]).capacity(), 0);
    }
}
