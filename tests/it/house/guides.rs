//! Rules for the pages of the guides. They are read on GitHub as well as in the documentation.

use super::{files, listings, read, root, sources};
use std::collections::{BTreeMap, BTreeSet};

const DOCUMENTATION: &str = "https://docs.rs/multi-process-session/latest/multi_process_session/";

#[test]
fn every_page_is_a_module_of_the_guides() {
    let guide = read(&root().join("src/guide.rs"));
    for (name, _) in pages() {
        let module = name.trim_end_matches(".md").replace('-', "_");
        assert!(guide.contains(&format!("include_str!(\"../docs/{name}\")")), "src/guide.rs does not show {name}");
        assert!(guide.contains(&format!("| [`{module}`] |")), "the table of src/guide.rs does not name {module}");
    }
}

#[test]
fn a_link_leads_to_the_same_place_on_github_and_in_the_documentation() {
    let pages = pages();
    let links = definitions(&read(&root().join("src/guide/links.md")));
    let mut used = BTreeSet::new();
    for (name, page) in &pages {
        for (label, address) in definitions(page) {
            let path = links.get(&label).unwrap_or_else(|| panic!("{name}: src/guide/links.md has to define {label}"));
            assert!(leads_to(&address, path), "{name}: {address} is not {path}");
            used.insert(label);
        }
        for label in links.keys() {
            let link = format!("[{label}]");
            let is_used = page.split(&link).skip(1).any(|after| !after.starts_with(['[', '(']));
            assert!(!is_used || page.contains(&format!("\n{link}: ")), "{name} has to define {label}");
        }
    }
    let unused: Vec<_> = links.keys().filter(|label| !used.contains(*label)).collect();
    assert!(unused.is_empty() && used.len() > 50, "no page uses these of src/guide/links.md: {unused:?}");
}

#[test]
fn a_link_to_a_section_finds_it() {
    let pages = pages();
    for (name, page) in &pages {
        let own = page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).map(|anchor| (&**name, anchor));
        let definitions = definitions(page);
        let others = definitions.values().filter_map(|address| address.split_once('#'));
        for (target, anchor) in own.chain(others.filter(|(target, _)| !target.starts_with("https"))) {
            let mut lines = pages.get(target).into_iter().flat_map(|page| page.lines());
            let found = lines.any(|line| slug(line).as_deref() == Some(anchor));
            assert!(found, "{name}: {target} has no section #{anchor}");
        }
    }
}

#[test]
fn a_listing_is_shown_as_a_whole() {
    for (name, page) in pages() {
        let blocks = page.split("\n```rust").skip(1).filter_map(|block| block.split("\n```").next());
        let hidden = blocks.flat_map(str::lines).find(|line| *line == "#" || line.starts_with("# "));
        assert_eq!(hidden, None, "{name}: GitHub shows a line that the documentation hides");
        for (example, listing) in listings(&page) {
            assert!(listing == read(&root().join(&example)), "{name}: the listing of {example} is not the file");
        }
    }
}

#[test]
fn a_line_of_a_page_has_at_most_120_columns() {
    for (name, page) in pages() {
        let is_prose = |line: &str| !line.starts_with('|') && !line.starts_with('[');
        let long = page.lines().find(|line| is_prose(line) && line.chars().count() > 120);
        assert_eq!(long, None, "{name}");
    }
}

/// The pages by their file names.
fn pages() -> BTreeMap<String, String> {
    let name = |path: &std::path::Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    files(&root().join("docs"), &["md"]).iter().map(|path| (name(path), read(path))).collect()
}

/// The definitions of links, by their labels.
fn definitions(page: &str) -> BTreeMap<String, String> {
    let definition = |line: &str| {
        let (label, address) = line.strip_prefix('[')?.split_once("]: ")?;
        Some((label.to_owned(), address.to_owned()))
    };
    page.lines().filter_map(definition).collect()
}

/// Returns whether an address leads to this path of the documentation.
fn leads_to(address: &str, path: &str) -> bool {
    if let Some(page) = path.strip_prefix("crate::guide::") {
        let (module, anchor) = page.split_at(page.find('#').unwrap_or(page.len()));
        return address == format!("{}.md{anchor}", module.replace('_', "-"));
    }
    // `struct.Session.html#method.save` is `Session::save`.
    let Some((item, member)) = address.strip_prefix(DOCUMENTATION).and_then(|page| page.split_once(".html")) else {
        return false;
    };
    let (folder, item) = item.rsplit_once('/').unwrap_or(("", item));
    let Some((kind, name)) = item.split_once('.') else { return false };
    let is_there = sources().values().any(|source| source.contains(&format!("pub {kind} {name}")));
    let names = [folder, name, member.rsplit('.').next().unwrap_or_default()];
    let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    is_there && path == format!("crate::{}", names.join("::"))
}

/// The anchor of a heading, as GitHub and rustdoc make it.
fn slug(line: &str) -> Option<String> {
    let heading = line.strip_prefix("##")?.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
}
