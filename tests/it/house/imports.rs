//! Finds the file that each import of a crate leads to.

use super::paths::{Kind, Path, paths};
use std::collections::BTreeMap;

/// A path in one file that leads to another one. Files are named as in `src`: `store/redis.rs`.
#[derive(Debug, PartialEq)]
pub(super) struct Import {
    pub(super) from: String,
    pub(super) line: usize,
    /// The path to the module that defines the thing, and the thing: `crate::error::Error`.
    pub(super) path: String,
    /// The file of that module.
    pub(super) to: String,
    /// The path as it is written, if that leads to a module which only imports the thing itself: `crate::Error`.
    pub(super) detour: Option<String>,
}

/// All imports of a crate, whose files are given by name.
pub(super) fn imports(sources: &BTreeMap<String, String>) -> Vec<Import> {
    let mut modules = Modules::default();
    for file in sources.keys() {
        modules.files.insert(module_of(file), file.clone());
    }
    let paths: Vec<(&String, Path)> =
        sources.iter().flat_map(|(file, source)| paths(source).into_iter().map(move |path| (file, path))).collect();
    // A path of a macro that has a name to be filled in leads nowhere yet.
    let paths: Vec<_> = paths
        .into_iter()
        .filter(|(_, path)| path.segments != ["crate"] && path.segments.iter().all(|name| name != "$"))
        .collect();
    for (file, path) in &paths {
        // A path of one segment hands on a macro of the file itself, or names a crate.
        if let (Kind::Use(Some(name)), [], [_, _, ..]) = (&path.kind, &path.inside[..], &path.segments[..]) {
            let thing = modules.absolute(file, path).ok_or_else(|| path.segments.join("::"));
            modules.names.insert(((*file).clone(), name.clone()), thing);
        }
    }
    paths.iter().filter_map(|(file, path)| modules.import(file, path)).collect()
}

/// The modules around a file's items: `["store", "redis"]` for `store/redis.rs`, none for `lib.rs`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    match path.strip_suffix("/main").filter(|_| root_of(file).len() > 1) {
        Some(folder) => folder.split('/').map(str::to_owned).collect(),
        None if path == "lib" => Vec::new(),
        None => path.split('/').map(str::to_owned).collect(),
    }
}

/// The module that `crate` means in a file: `["bin", "mps"]` in `bin/mps/list.rs`, which belongs to a program.
fn root_of(file: &str) -> Vec<String> {
    match file.split('/').collect::<Vec<_>>()[..] {
        ["bin", program, _, ..] => vec!["bin".to_owned(), program.to_owned()],
        _ => Vec::new(),
    }
}

/// Returns whether a program of this package imports something of the library by this path. It sees what `lib.rs`
/// shows.
fn is_of_library(file: &str, path: &Path) -> bool {
    !root_of(file).is_empty() && path.segments[0] == env!("CARGO_PKG_NAME").replace('-', "_")
}

/// A path from the crate's root on, or one that leads out of the crate.
type Thing = Result<Vec<String>, String>;

#[derive(Default)]
struct Modules {
    files: BTreeMap<Vec<String>, String>,
    /// What the `use` items of a file name.
    names: BTreeMap<(String, String), Thing>,
}

impl Modules {
    fn import(&self, file: &str, path: &Path) -> Option<Import> {
        if is_of_library(file, path) {
            let shown = path.segments.join("::");
            let (from, to) = (file.to_owned(), "lib.rs".to_owned());
            return Some(Import { from, line: path.line, path: shown, to, detour: None });
        }
        let written = self.absolute(file, path).or_else(|| self.by_name(file, path))?;
        let named = self.split(&written).0;
        let (defined, to, detour) = match self.origin(&written) {
            None => (shown(&written), named, None),
            Some(Ok(origin)) => (shown(&origin), self.split(&origin).0, Some(shown(&written))),
            Some(Err(outside)) => (outside, named, Some(shown(&written))),
        };
        let import = Import { from: file.to_owned(), line: path.line, path: defined, to: to.to_owned(), detour };
        (named != file).then_some(import)
    }

    /// The path from the crate's root on; `None` if it leads out of the crate, or begins with a name.
    fn absolute(&self, file: &str, path: &Path) -> Option<Vec<String>> {
        let mut module = module_of(file);
        module.extend_from_slice(&path.inside);
        let mut rest = &path.segments[..];
        while let [first, after @ ..] = rest {
            match first.as_str() {
                "crate" => module = root_of(file),
                "self" => {}
                "super" => drop(module.pop()),
                _ => break,
            }
            rest = after;
        }
        if rest.len() == path.segments.len()
            && let [first, after @ ..] = rest
        {
            module.push(first.clone());
            self.files.get(&module)?;
            rest = after;
        }
        module.extend_from_slice(rest);
        Some(module)
    }

    /// The same for a path that begins with a name which a `use` item gives, and goes on to another file.
    fn by_name(&self, file: &str, path: &Path) -> Option<Vec<String>> {
        let (first, rest) = path.segments.split_first()?;
        let named = self.names.get(&(file.to_owned(), first.clone()))?.as_ref().ok()?;
        let absolute = [named, rest].concat();
        (self.split(&absolute).0 != self.split(named).0).then_some(absolute)
    }

    /// The file that holds the start of a path, and what is left of the path.
    fn split<'a>(&self, path: &'a [String]) -> (&str, &'a [String]) {
        let split = (0..=path.len()).rev().find(|&length| self.files.contains_key(&path[..length]));
        let (module, rest) = path.split_at(split.expect("lib.rs is a file"));
        (&self.files[module], rest)
    }

    /// What a path leads to, if the module that it names only imports that.
    fn origin(&self, path: &[String]) -> Option<Thing> {
        let (file, rest) = self.split(path);
        let (name, after) = rest.split_first()?;
        let thing = self.names.get(&(file.to_owned(), name.clone()))?;
        let Ok(thing) = thing.as_ref().map(|thing| [thing, after].concat()) else { return Some(thing.clone()) };
        Some(self.origin(&thing).unwrap_or(Ok(thing)))
    }
}

fn shown(path: &[String]) -> String {
    format!("crate::{}", path.join("::"))
}
