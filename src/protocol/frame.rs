//! Frames: a big-endian `u32` length, then that many bytes of MessagePack. Splits a stream of bytes into frames and
//! prefixes bodies with lengths. Never looks into a body.

use std::fmt;

/// Bytes of the length prefix.
pub const HEADER_LEN: usize = 4;

/// The exclusive upper bound of a frame's length (16 MiB), whatever the limits say. So the first byte of every
/// header is 0x00, and anything else is another protocol (HTTP, TLS, text).
pub const MAX_FRAME_CEILING: usize = 1 << 24;

/// Why a stream of bytes is not a stream of frames. Each error closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The first byte of a header is not 0x00: this is another protocol.
    Foreign(u8),
    /// The header announced more bytes than `limit`. Nothing was allocated for it.
    TooLarge {
        /// The announced length.
        announced: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The header announced fewer bytes than the shortest message (one array of one element).
    TooShort(usize),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Foreign(byte) => write!(
                f,
                "the first byte is 0x{byte:02x}, not 0x00; {} This port expects Callboard's length-prefixed \
                 MessagePack (see docs/PROTOCOL.md)",
                match byte {
                    0x16 => "this looks like TLS, which is not supported.",
                    b'A'..=b'Z' => "this looks like HTTP or text.",
                    _ => "this is another protocol.",
                }
            ),
            Self::TooLarge { announced, limit } => write!(
                f,
                "a frame of {announced} bytes was announced, the limit is {limit} (max_frame)"
            ),
            Self::TooShort(n) => write!(f, "a frame of {n} bytes is too short to hold a message"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Reserves the length prefix at the end of `out`; returns its position for [`end_frame`].
pub fn begin_frame(out: &mut Vec<u8>) -> usize {
    let mark = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    mark
}

/// Writes the length of everything appended since [`begin_frame`] into the prefix.
///
/// # Panics
/// If the frame is 16 MiB or longer, which the limits rule out.
pub fn end_frame(out: &mut [u8], mark: usize) {
    let len = out.len() - mark - HEADER_LEN;
    assert!(
        len < MAX_FRAME_CEILING,
        "a frame of {len} bytes breaks the protocol"
    );
    out[mark..mark + HEADER_LEN].copy_from_slice(&(len as u32).to_be_bytes());
}

/// Splits a connection's incoming bytes into frame bodies.
///
/// Whole frames are returned as slices of the caller's buffer; only a frame that arrives in pieces is copied. The
/// copy grows with the received bytes, never with the announced length, and is freed once the frame was read: an
/// idle connection owns no memory.
#[derive(Debug, Default)]
pub struct Inbox {
    partial: Vec<u8>,
    /// The last call returned the frame in `partial`, which is to be freed.
    handed_out: bool,
}

impl Inbox {
    /// The next whole frame body from the copy and `input`, which is advanced. `None` means that all of `input` was
    /// consumed and no frame is complete.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        limit: usize,
    ) -> Result<Option<&'a [u8]>, FrameError> {
        if self.handed_out {
            self.partial = Vec::new();
            self.handed_out = false;
        }
        if self.partial.is_empty() {
            if let Some(len) = body_len(input, limit)? {
                let end = HEADER_LEN + len;
                if input.len() >= end {
                    let body = &input[HEADER_LEN..end];
                    *input = &input[end..];
                    return Ok(Some(body));
                }
            }
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        }
        self.top_up(input, HEADER_LEN);
        let Some(len) = body_len(&self.partial, limit)? else {
            return Ok(None);
        };
        self.top_up(input, HEADER_LEN + len);
        if self.partial.len() < HEADER_LEN + len {
            return Ok(None);
        }
        self.handed_out = true;
        Ok(Some(&self.partial[HEADER_LEN..]))
    }

    /// The frame that the last call returned was not handled: the next call returns it again. Returns whether it is in
    /// the copy; if not, it is still in the caller's buffer, which is not to be advanced.
    pub fn put_back(&mut self) -> bool {
        std::mem::take(&mut self.handed_out)
    }

    fn top_up(&mut self, input: &mut &[u8], target: usize) {
        let missing = target.saturating_sub(self.partial.len()).min(input.len());
        self.partial.extend_from_slice(&input[..missing]);
        *input = &input[missing..];
    }

    /// Size of the unfinished frame; 0 between frames.
    #[must_use]
    pub fn held(&self) -> usize {
        if self.handed_out {
            0
        } else {
            self.partial.len()
        }
    }

    /// The announced length of the unfinished frame, once its header is complete.
    #[must_use]
    pub fn announced(&self) -> Option<usize> {
        if self.handed_out {
            return None;
        }
        let header = self.partial.first_chunk::<HEADER_LEN>()?;
        Some(u32::from_be_bytes(*header) as usize)
    }
}

/// Reads the header at the start of `bytes`; `None` while it is incomplete.
fn body_len(bytes: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    match bytes.first() {
        None => return Ok(None),
        Some(0) => {}
        Some(&byte) => return Err(FrameError::Foreign(byte)),
    }
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let announced = u32::from_be_bytes(*header) as usize;
    if announced > limit {
        return Err(FrameError::TooLarge { announced, limit });
    }
    if announced < 2 {
        return Err(FrameError::TooShort(announced));
    }
    Ok(Some(announced))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut inbox = Inbox::default();
        let mut out = Vec::new();
        for chunk in chunks {
            let mut input = *chunk;
            while let Some(frame) = inbox.next(&mut input, 100)? {
                out.push(frame.to_vec());
            }
            assert!(input.is_empty());
        }
        Ok(out)
    }

    fn stream() -> (Vec<u8>, Vec<Vec<u8>>) {
        let bodies: Vec<Vec<u8>> = vec![vec![1, 2], vec![3; 100], vec![4, 5, 6], vec![0; 9]];
        let mut bytes = Vec::new();
        for body in &bodies {
            let mark = begin_frame(&mut bytes);
            bytes.extend_from_slice(body);
            end_frame(&mut bytes, mark);
        }
        (bytes, bodies)
    }

    #[test]
    fn every_split_into_two_reads_gives_the_same_frames() {
        let (bytes, bodies) = stream();
        for at in 0..=bytes.len() {
            let (a, b) = bytes.split_at(at);
            assert_eq!(frames(&[a, b]).unwrap(), bodies, "split at {at}");
        }
    }

    #[test]
    fn single_bytes_give_the_same_frames() {
        let (bytes, bodies) = stream();
        let singles: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(frames(&singles).unwrap(), bodies);
    }

    #[test]
    fn a_frame_that_is_put_back_comes_again() {
        let (bytes, bodies) = stream();
        for at in 0..=bytes.len() {
            let mut inbox = Inbox::default();
            let mut out = Vec::new();
            let mut again = false;
            for chunk in [&bytes[..at], &bytes[at..]] {
                let mut input = chunk;
                loop {
                    let before = input;
                    let Some(frame) = inbox.next(&mut input, 100).unwrap() else {
                        break;
                    };
                    again = !again;
                    if !again {
                        out.push(frame.to_vec());
                    } else if !inbox.put_back() {
                        input = before;
                    }
                }
            }
            assert_eq!(out, bodies, "split at {at}");
        }
    }

    #[test]
    fn memory_is_given_back_between_frames() {
        let mut inbox = Inbox::default();
        let mut input: &[u8] = &[0, 0, 0, 3, 1];
        assert!(inbox.next(&mut input, 100).unwrap().is_none());
        assert_eq!((inbox.held(), inbox.announced()), (5, Some(3)));
        let mut input: &[u8] = &[2, 3];
        assert_eq!(inbox.next(&mut input, 100).unwrap(), Some(&[1, 2, 3][..]));
        let mut input: &[u8] = &[];
        assert!(inbox.next(&mut input, 100).unwrap().is_none());
        assert_eq!((inbox.held(), inbox.partial.capacity()), (0, 0));
    }

    #[test]
    fn a_length_over_the_limit_is_refused_on_its_header_alone() {
        let limit = FrameError::TooLarge {
            announced: 101,
            limit: 100,
        };
        assert_eq!(frames(&[&[0, 0, 0, 101]]), Err(limit));
        assert_eq!(frames(&[&[0], &[0], &[0], &[101]]), Err(limit));
    }

    #[test]
    fn a_stranger_is_known_by_its_first_byte() {
        assert_eq!(frames(&[b"G"]), Err(FrameError::Foreign(b'G')));
        assert_eq!(frames(&[&[0x16, 3, 1]]), Err(FrameError::Foreign(0x16)));
    }

    #[test]
    fn an_empty_frame_is_refused() {
        assert_eq!(frames(&[&[0, 0, 0, 0]]), Err(FrameError::TooShort(0)));
        assert_eq!(frames(&[&[0, 0, 0, 1, 0x90]]), Err(FrameError::TooShort(1)));
    }
}
