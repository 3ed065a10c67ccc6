//! The file that tells where the engine listens: one address a line, written as a whole or not at all, and removed at a
//! clean end. The log tells the same at `info`, but a log level hides it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use callboard::address::Address;

/// A written file. Its drop removes it, unless it is another engine's by then.
#[derive(Debug)]
pub(super) struct PortFile {
    path: PathBuf,
    text: String,
}

impl PortFile {
    /// Writes the addresses. A reader finds the earlier file or this one, and never a part.
    pub(super) fn write(path: &Path, addresses: &[Address]) -> Result<Self, PortFileError> {
        let lines: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let text = lines.join("\n") + "\n";
        // Beside it: a file can be renamed within a file system only.
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let written = fs::write(&beside, &text).and_then(|()| fs::rename(&beside, path));
        if let Err(error) = written {
            // There may be nothing to remove.
            let _ = fs::remove_file(&beside);
            return Err(PortFileError {
                path: path.to_owned(),
                error,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }
}

impl Drop for PortFile {
    fn drop(&mut self) {
        let is_own = fs::read_to_string(&self.path).is_ok_and(|text| text == self.text);
        if is_own && let Err(error) = fs::remove_file(&self.path) {
            let file = self.path.display();
            log::warn!("cannot remove the port file {file}: {error}");
        }
    }
}

/// The file cannot be written.
#[derive(Debug)]
pub(super) struct PortFileError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for PortFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot write the port file {}: {}",
            self.path.display(),
            self.error
        )
    }
}

impl std::error::Error for PortFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
