//! C programs on the system's libevent, built on the spot.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A C program, built and able to run. Without arguments it prints the version of the library.
#[derive(Debug)]
pub struct Libevent {
    program: PathBuf,
    /// Of the library.
    pub version: String,
}

impl Libevent {
    /// Builds the program `name` from `source` in `folder`, with `CC` or `cc`, on the first of the libraries that there is.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn build(name: &str, source: &str, folder: &Path) -> Result<Self, String> {
        Self::build_with(&env::var("CC").unwrap_or_else(|_| "cc".to_owned()), name, source, folder)
    }

    /// Runs the program, once arguments are added.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::new(&self.program)
    }

    fn build_with(compiler: &str, name: &str, text: &str, folder: &Path) -> Result<Self, String> {
        let (source, program) = (folder.join(name).with_extension("c"), folder.join(name));
        fs::write(&source, text).map_err(|why| format!("cannot write {}: {why}", source.display()))?;
        let mut said = String::new();
        for library in LIBRARIES {
            let mut command = Command::new(compiler);
            command.args(["-std=gnu11", "-O2", "-o"]).arg(&program).arg(&source).arg(library);
            let built = command.output().map_err(|why| format!("cannot run {compiler}: {why}"))?;
            if built.status.success() {
                return Self::known(program);
            }
            said = String::from_utf8_lossy(&built.stderr).trim().to_owned();
        }
        Err(format!("{compiler} finds no libevent: {}", said.lines().next().unwrap_or_default()))
    }

    fn known(program: PathBuf) -> Result<Self, String> {
        let output = Command::new(&program).output();
        let output = output.map_err(|why| format!("cannot run {}: {why}", program.display()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || version.is_empty() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(Self { program, version })
    }
}

/// What the linker may find: with the headers installed, and without them, where only the soname is there.
const LIBRARIES: [&str; 3] = ["-levent_core", "-l:libevent_core-2.1.so.7", "-l:libevent-2.1.so.7"];

#[cfg(test)]
mod tests {
    use super::*;

    /// `false` and `true` are compilers that find nothing, and that make nothing.
    #[test]
    fn what_is_missing_is_told() {
        let folder = env::temp_dir().join(format!("libevent-{}", std::process::id()));
        fs::create_dir(&folder).expect("a folder of its own");
        let told = ["no-such-compiler", "false", "true"]
            .map(|compiler| Libevent::build_with(compiler, "nothing", "int main;", &folder));
        fs::remove_dir_all(&folder).expect("it is there");
        for (told, begin) in
            told.into_iter().zip(["cannot run no-such", "false finds no libevent", "cannot run /"])
        {
            assert!(told.as_ref().is_err_and(|why| why.starts_with(begin)), "{told:?}");
        }
    }
}
