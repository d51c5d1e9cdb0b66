//! Bytes on their way in one direction.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, read, retry_on_intr, write};

/// How many bytes are under way at most: four times what a pseudo terminal gives at once.
const CAPACITY: usize = 16 * 1024;

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing at the moment.
    Nothing,
    /// Nothing any more.
    End,
}

/// A bounded buffer that is filled when it is empty, so that a reader who stops also stops the writer.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    /// What is under way: from here…
    start: usize,
    /// …to here.
    end: usize,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; CAPACITY].into_boxed_slice(), start: 0, end: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads once, in place of what was there: only to be called when [empty](Self::is_empty).
    pub(super) fn fill(&mut self, from: BorrowedFd<'_>) -> Result<Filled, Errno> {
        debug_assert!(self.is_empty());
        match retry_on_intr(|| read(from, &mut *self.bytes)) {
            Ok(0) => Ok(Filled::End),
            Ok(count) => {
                (self.start, self.end) = (0, count);
                Ok(Filled::Bytes(count))
            }
            Err(Errno::AGAIN) => Ok(Filled::Nothing),
            Err(errno) => Err(errno),
        }
    }

    /// Writes once, at most so many bytes; where nothing is taken at the moment, nothing happens.
    pub(super) fn drain(&mut self, to: BorrowedFd<'_>, at_most: usize) -> Result<(), Errno> {
        let end = self.end.min(self.start.saturating_add(at_most));
        match retry_on_intr(|| write(to, &self.bytes[self.start..end])) {
            Ok(count) => self.start += count,
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_pieces_and_in_order() {
        let (out_of_one, into_one) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let (out_of_other, into_other) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        write(&into_one, b"abcdef").unwrap();
        let mut buffer = Buffer::new();
        assert_eq!(buffer.fill(out_of_one.as_fd()), Ok(Filled::Bytes(6)));
        buffer.drain(into_other.as_fd(), 4).unwrap();
        assert!(!buffer.is_empty());
        buffer.drain(into_other.as_fd(), 4).unwrap();
        assert!(buffer.is_empty());
        let mut got = [0; 8];
        assert_eq!(read(&out_of_other, &mut got).unwrap(), 6);
        assert_eq!(&got[..6], b"abcdef");
        assert_eq!(buffer.fill(out_of_one.as_fd()), Ok(Filled::Nothing));
        drop(into_one);
        assert_eq!(buffer.fill(out_of_one.as_fd()), Ok(Filled::End));
    }

    #[test]
    fn a_reader_who_stops_loses_nothing() {
        let (out, into) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        while write(&into, &[b'x'; 4096]).is_ok() {}
        let (source, into_source) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        write(&into_source, b"last").unwrap();
        let mut buffer = Buffer::new();
        buffer.fill(source.as_fd()).unwrap();
        buffer.drain(into.as_fd(), usize::MAX).unwrap();
        assert!(!buffer.is_empty(), "the pipe is full");
        let mut swallowed = vec![0; 1 << 20];
        let before = read(&out, &mut swallowed).unwrap();
        assert!(before > 0);
        buffer.drain(into.as_fd(), usize::MAX).unwrap();
        assert!(buffer.is_empty());
    }
}
