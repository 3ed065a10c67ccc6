//! Cuts a stream of bytes into messages, whatever the reads made of it. Whole messages are handed on where they lie;
//! only the beginning of an unfinished message is copied and kept. Knows no protocol.

use super::Fault;

#[derive(Default)]
pub(crate) struct Carry {
    held: Vec<u8>,
}

impl Carry {
    /// Shows `message` what there is, again and again: it takes one message from the front and says how long that
    /// was, or `None` while the message is not whole.
    pub(crate) fn cut(
        &mut self,
        bytes: &[u8],
        mut message: impl FnMut(&[u8]) -> Result<Option<usize>, Fault>,
    ) -> Result<(), Fault> {
        let mut all = |bytes: &[u8]| {
            let mut used = 0;
            while used < bytes.len() {
                match message(&bytes[used..])? {
                    Some(length) => used += length,
                    None => break,
                }
            }
            Ok::<usize, Fault>(used)
        };
        if self.held.is_empty() {
            let used = all(bytes)?;
            self.held.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        let used = all(&self.held)?;
        self.held.drain(..used);
        if self.held.is_empty() {
            // With thousands of connections, none keeps the buffer that one large message needed.
            self.held = Vec::new();
        }
        Ok(())
    }
}

/// The end of the line that some bytes begin with, its CRLF included.
pub(super) fn line_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some(at + 2)
}

/// A decimal number and nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_bytes_give_the_same_messages() {
        let stream = b"one\r\nfour\r\n\r\nlast\r\n";
        for size in 1..=stream.len() {
            let (mut carry, mut found) = (Carry::default(), Vec::new());
            for piece in stream.chunks(size) {
                let cut = carry.cut(piece, |bytes| {
                    let end = line_end(bytes);
                    found.extend(end.map(|end| bytes[..end].to_vec()));
                    Ok(end)
                });
                cut.unwrap();
            }
            assert_eq!(found.concat(), stream);
            assert_eq!(found.len(), 4);
            assert!(carry.held.is_empty());
        }
    }
}
