//! Draws the modules of each folder in layers, and finds the circles of imports that stand against it.

use super::imports::Import;
use std::collections::{BTreeMap, BTreeSet};

/// A folder and the imports between its modules. A module is a file, or an inner folder together with the file of its
/// name. The file of the folder's own name counts as one of its modules.
pub(super) struct Folder<'a> {
    /// Such as `store/`; empty for `src` itself.
    name: &'a str,
    /// For each module those that it imports.
    modules: BTreeMap<String, BTreeMap<String, Vec<&'a Import>>>,
}

/// All folders. An import stands in the innermost one that has both files.
pub(super) fn folders<'a>(files: &[&'a str], imports: &'a [Import]) -> Vec<Folder<'a>> {
    let inner = files.iter().flat_map(|file| file.match_indices('/').map(|(slash, _)| &file[..=slash]));
    let names: BTreeSet<&str> = inner.chain([""]).collect();
    let folder = |name| {
        let mut modules: BTreeMap<_, BTreeMap<_, Vec<_>>> = BTreeMap::new();
        modules.extend(files.iter().filter_map(|file| Some((module_in(&names, name, file)?, BTreeMap::new()))));
        for import in imports {
            let [from, to] = [&import.from, &import.to].map(|file| module_in(&names, name, file));
            if let (Some(from), Some(to)) = (from, to)
                && from != to
            {
                modules.entry(from).or_default().entry(to).or_default().push(import);
            }
        }
        Folder { name, modules }
    };
    names.iter().map(|name| folder(*name)).collect()
}

/// The module of a folder that a file belongs to.
fn module_in(folders: &BTreeSet<&str>, folder: &str, file: &str) -> Option<String> {
    let own = format!("{}.rs", folder.trim_end_matches('/'));
    if file == own {
        return Some(own.rsplit('/').next()?.to_owned());
    }
    let inside = file.strip_prefix(folder)?;
    let inner = format!("{}/", inside.split('/').next()?.trim_end_matches(".rs"));
    let is_folder = folders.contains(&*format!("{folder}{inner}"));
    Some(if is_folder { inner } else { inside.to_owned() })
}

impl Folder<'_> {
    /// A line for each layer, from the top down. A module stands above all modules that it imports, so those in a
    /// circle, and those above them, have no layer.
    pub(super) fn drawing(&self) -> String {
        let (mut layers, mut placed) = (Vec::new(), BTreeSet::new());
        loop {
            let is_next = |module: &str| {
                !placed.contains(module) && self.modules[module].keys().all(|module| placed.contains(&**module))
            };
            let layer: Vec<&str> = self.modules.keys().map(String::as_str).filter(|module| is_next(module)).collect();
            if layer.is_empty() {
                break;
            }
            placed.extend(layer.iter().copied());
            layers.push(format!("    {}\n", layer.join("  ")));
        }
        layers.reverse();
        format!("src/{}\n{}", self.name, layers.concat())
    }

    /// Each set of modules that import each other, with the imports that make it so.
    pub(super) fn circles(&self) -> Vec<String> {
        let mut circles = Vec::new();
        for first in self.modules.keys() {
            let circle: Vec<&str> =
                self.below(first).into_iter().filter(|module| self.below(module).contains(&**first)).collect();
            if circle.first() == Some(&&**first) {
                circles.push(self.circle(&circle));
            }
        }
        circles
    }

    fn circle(&self, modules: &[&str]) -> String {
        let mut names: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for from in modules {
            for import in modules.iter().filter_map(|to| self.modules[*from].get(*to)).flatten() {
                let name = import.path.rsplit("::").next().unwrap_or_default();
                names.entry((&import.from, &import.to)).or_default().insert(name);
            }
        }
        let mut text = format!("in src/{} these import each other: {}\n", self.name, modules.join(", "));
        for ((from, to), names) in names {
            text += &format!("  src/{from} -> src/{to}: {}\n", Vec::from_iter(names).join(", "));
        }
        text
    }

    /// All modules that a module imports, by itself or through others.
    fn below(&self, module: &str) -> BTreeSet<&str> {
        let (mut below, mut left) = (BTreeSet::new(), vec![module]);
        while let Some(module) = left.pop() {
            for next in self.modules[module].keys() {
                if below.insert(&**next) {
                    left.push(next);
                }
            }
        }
        below
    }
}
