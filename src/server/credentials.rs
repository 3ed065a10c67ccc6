//! The credentials file: finds it, checks its owner and mode, reads it whole or not at all. `principals.rs`
//! interprets the contents.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::principals::{self, CredentialsFault};
use crate::engine::Credentials;

/// The largest size of the file, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// Directory in which a service manager puts secrets.
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Name of the engine's file there.
const NAME: &str = "callboard-credentials";

/// Mode bits that let the group or others read or write.
const OTHERS: u32 = 0o066;

/// The most faults reported at once.
const FAULTS_TOLD: usize = 10;

/// A file that defines who may connect, with which rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsFile {
    path: PathBuf,
    /// The service manager controls who may read it.
    managed: bool,
}

impl CredentialsFile {
    /// The file at this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let directory = env::var_os(DIRECTORY).filter(|it| !it.is_empty());
        let managed = directory.is_some_and(|it| path.starts_with(it));
        Self { path, managed }
    }

    /// The file `callboard-credentials` that the service manager passed (systemd's LoadCredential=), if it passed
    /// one.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let directory = env::var_os(DIRECTORY).filter(|it| !it.is_empty())?;
        let path = Path::new(&directory).join(NAME);
        path.exists().then(|| Self::new(path))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads and parses the file.
    pub fn read(&self) -> Result<Credentials, CredentialsError> {
        let failed = |error| CredentialsError::Read(self.path.clone(), error);
        let file = File::open(&self.path).map_err(failed)?;
        // Of the opened file, not of a file that may have taken its path since.
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(CredentialsError::NotAFile(self.path.clone()));
        }
        if !self.managed {
            self.check_guard(metadata.mode(), metadata.uid())?;
        }
        let mut text = String::new();
        let read = file.take(BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(failed)?;
        if text.len() as u64 > BYTES_MAX {
            return Err(CredentialsError::TooLarge(self.path.clone()));
        }
        principals::read(&text)
            .map_err(|faults| CredentialsError::Faults(self.path.clone(), faults))
    }

    fn check_guard(&self, mode: u32, owner: u32) -> Result<(), CredentialsError> {
        let path = self.path.clone();
        if owner != 0 && owner != geteuid().as_raw() {
            return Err(CredentialsError::Owner(path, owner));
        }
        if mode & OTHERS != 0 {
            return Err(CredentialsError::Mode(path, mode & 0o7777));
        }
        Ok(())
    }
}

/// Why a credentials file cannot be used.
#[derive(Debug)]
pub enum CredentialsError {
    /// It cannot be read, or is not UTF-8.
    Read(PathBuf, io::Error),
    /// It is a directory, a pipe or the like.
    NotAFile(PathBuf),
    /// Users other than its owner may read or write it; its mode.
    Mode(PathBuf, u32),
    /// Its owner is neither root nor the user who reads it; the owner.
    Owner(PathBuf, u32),
    /// It is larger than 1 MiB.
    TooLarge(PathBuf),
    /// Its contents have these faults.
    Faults(PathBuf, Vec<CredentialsFault>),
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::NotAFile(path) => write!(f, "{} is not a file", path.display()),
            Self::Mode(path, mode) => write!(
                f,
                "{0} may be read or written by users other than its owner (mode {mode:04o}); `chmod 600 {0}` \
                 fixes that",
                path.display()
            ),
            Self::Owner(path, owner) => write!(
                f,
                "{} belongs to user {owner}; it must belong to root or to the user who reads it",
                path.display()
            ),
            Self::TooLarge(path) => write!(
                f,
                "{} is larger than {BYTES_MAX} bytes, the limit for a credentials file",
                path.display()
            ),
            Self::Faults(path, faults) => {
                write!(f, "{}: ", path.display())?;
                for (index, fault) in faults.iter().take(FAULTS_TOLD).enumerate() {
                    write!(f, "{}{fault}", if index > 0 { "; " } else { "" })?;
                }
                match faults.len().saturating_sub(FAULTS_TOLD) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }
    }
}

impl std::error::Error for CredentialsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_others_may_read_or_write_is_refused_and_says_how_to_mend_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.toml");
        fs::write(&path, "[principals.a]\n").unwrap();
        let file = CredentialsFile::new(&path);
        for (mode, good) in [
            (0o600, true),
            (0o400, true),
            (0o700, true),
            (0o640, false),
            (0o620, false),
            (0o604, false),
            (0o602, false),
            (0o644, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match file.read() {
                Ok(_) => assert!(good, "{mode:o}"),
                Err(error) => {
                    assert!(!good, "{mode:o}: {error}");
                    let told = error.to_string();
                    assert!(told.contains(&format!("{mode:04o}")) && told.contains("chmod 600"));
                }
            }
        }
    }

    #[test]
    fn a_file_of_somebody_else_is_refused() {
        let file = CredentialsFile {
            path: "somewhere".into(),
            managed: false,
        };
        let us = geteuid().as_raw();
        assert!(file.check_guard(0o600, 0).is_ok() && file.check_guard(0o600, us).is_ok());
        let error = file.check_guard(0o600, us + 1).unwrap_err();
        assert!(error.to_string().contains(&format!("user {}", us + 1)));
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let read = |path: &Path| CredentialsFile::new(path).read().unwrap_err();
        assert!(matches!(read(dir.path()), CredentialsError::NotAFile(_)));
        let path = dir.path().join("large");
        assert!(matches!(read(&path), CredentialsError::Read(..)));
        fs::write(&path, "#".repeat(BYTES_MAX as usize + 1)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read(&path), CredentialsError::TooLarge(_)));
        fs::write(&path, "#".repeat(BYTES_MAX as usize)).unwrap();
        assert!(CredentialsFile::new(&path).read().is_ok());
        // A file that is no text is not taken for an empty one.
        fs::write(&path, b"[principals.\xff]").unwrap();
        assert!(matches!(read(&path), CredentialsError::Read(..)));
    }
}
