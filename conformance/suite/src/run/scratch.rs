//! What a runtime has for itself beside the workload's directory: a bundle, a configuration, a state directory.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::no_fork_meanwhile;
use crate::adapters::{Invocation, Item};
use crate::lab::world::BASE;

/// The directory of one run, of which nothing is left when it is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

/// Where the run with this nonce has it, whether or not it asks for one.
pub(crate) fn directory(nonce: &str) -> PathBuf {
    Path::new(BASE).join("runtimes").join(nonce)
}

impl Scratch {
    /// Makes what the invocation wants to find there.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn with(nonce: &str, invocation: &Invocation) -> io::Result<Self> {
        let scratch = Self(directory(nonce));
        for item in &invocation.items {
            match item {
                Item::Directory(path) => fs::create_dir_all(path)?,
                Item::File(path, content) => {
                    path.parent().map_or(Ok(()), fs::create_dir_all)?;
                    let _alone = no_fork_meanwhile();
                    fs::write(path, content)?;
                }
                Item::Link(path, target) => {
                    path.parent().map_or(Ok(()), fs::create_dir_all)?;
                    symlink(target, path)?;
                }
            }
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be taken away goes with the lab.
        let _ = fs::remove_dir_all(&self.0);
    }
}
