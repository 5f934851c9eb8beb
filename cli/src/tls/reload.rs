//! The files of TLS, which are read again while connections stand.

use std::{fmt, path::PathBuf};

use crate::{failure::Failure, notices, warnings};

/// The files of one side of TLS.
pub(crate) struct Reload {
    files: Vec<PathBuf>,
    read: Box<dyn Fn() -> Result<(), Failure> + Send>,
}

impl Reload {
    /// What reads `files`, and has new connections use them, or changes nothing; `None` if there are none.
    pub(super) fn of<'a>(
        files: impl IntoIterator<Item = &'a Option<PathBuf>>,
        read: impl Fn() -> Result<(), Failure> + Send + 'static,
    ) -> Option<Self> {
        let files: Vec<PathBuf> = files.into_iter().flatten().cloned().collect();
        (!files.is_empty()).then(|| Self { files, read: Box::new(read) })
    }

    /// Reads them again, and tells how that went.
    fn read(&self) {
        match (self.read)() {
            Ok(()) => notices::tell(format_args!("new connections use {self} as they are now")),
            Err(why) => warnings::warn(format_args!("new connections use {self} as they were"), why),
        }
    }
}

/// Reads all files again, and tells how that went.
pub(crate) fn read_again(reloads: &[Reload]) {
    if reloads.is_empty() {
        notices::tell("SIGHUP changes nothing: there are no files of TLS to read again");
    }
    reloads.iter().for_each(Reload::read);
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, file) in self.files.iter().enumerate() {
            let before = if number == 0 { "" } else { ", " };
            write!(f, "{before}{}", file.display())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("files", &self.files).finish_non_exhaustive()
    }
}
