//! Rules of the house: how the files of `src` import each other, how long a line may be, and what the README may show.

mod guides;
mod imports;
mod paths;
mod picture;

use imports::{Import, imports};
use picture::{Folder, folders};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Sources = BTreeMap<String, String>;

#[test]
fn an_import_names_the_module_that_defines_the_thing() {
    let imports = imports(&sources());
    let detours: String = imports.iter().filter_map(detour).collect();
    assert!(detours.is_empty(), "an import has to name the module that defines the thing:\n{detours}");
}

#[test]
fn imports_do_not_run_in_a_circle() {
    let sources = sources();
    let circles = circles(&sources);
    assert!(circles.is_empty(), "imports run in a circle:\n{circles}");
}

#[test]
fn the_picture_of_imports_is_that_of_the_code() {
    let drawing = drawing(&sources());
    let page = read(&root().join("ARCHITECTURE.md"));
    let (_, section) = page.split_once("\n## The picture of imports\n").expect("the page has this section");
    let picture = section.split("```").nth(1).expect("the section has a block");
    assert!(picture == format!("text\n{drawing}"), "ARCHITECTURE.md has to show this picture:\n```text\n{drawing}```");
}

#[test]
fn a_line_has_at_most_120_columns() {
    let folders =
        ["src", "tests", "examples", "benches", "fuzz/src", "fuzz/fuzz_targets"].map(|name| root().join(name));
    let mut long = String::new();
    for path in folders.iter().filter(|folder| folder.is_dir()).flat_map(|folder| files(folder, &["rs", "lua", "sql"]))
    {
        for (number, line) in read(&path).lines().enumerate().filter(|(_, line)| line.chars().count() > 120) {
            let name = path.strip_prefix(root()).expect("it is in the repository");
            long += &format!("  {}:{}: {} columns\n", name.display(), number + 1, line.chars().count());
        }
    }
    assert!(long.is_empty(), "a line has at most 120 columns:\n{long}");
}

#[test]
fn a_listing_that_names_an_example_is_its_file() {
    for (example, listing) in listings(&read(&root().join("README.md"))) {
        assert!(listing == read(&root().join(&example)), "the README's listing of {example} differs from the file");
    }
    let in_docs = |line: &str| format!("//! {line}").trim_end().to_owned() + "\n";
    let first: String = read(&root().join("examples/first.rs")).lines().map(in_docs).collect();
    assert!(read(&root().join("src/lib.rs")).contains(&first), "src/lib.rs has to show examples/first.rs:\n{first}");
}

#[test]
fn the_badges_of_the_readme_are_true() {
    let (readme, manifest) = (read(&root().join("README.md")), read(&root().join("Cargo.toml")));
    let value = |name: &str| {
        let line = manifest.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
        line.unwrap_or_else(|| panic!("Cargo.toml says {name}")).trim_end_matches('"').to_owned()
    };
    let licence = value("license").replace("OR", "or");
    let texts = [format!("Rust {} or later", value("rust-version")), licence, "unsafe code is forbidden".to_owned()];
    let badges = [
        format!("rust-{}%2B-", value("rust-version")),
        format!("licence-{}-", value("license").replace('-', "--").replace(" OR ", "_or_")),
        "unsafe-forbidden-".to_owned(),
    ];
    for (text, badge) in texts.iter().zip(badges) {
        assert!(readme.contains(&format!("![{text}](https://img.shields.io/badge/{badge}")), "{text}: {badge}");
    }
    assert!(read(&root().join("src/lib.rs")).contains("#![forbid(unsafe_code)]"));
}

#[test]
fn the_tests_that_contributing_names_for_promises_are_there() {
    let page = read(&root().join("CONTRIBUTING.md"));
    let (_, table) = page.split_once("\n## Which test keeps which promise\n").expect("the page has this section");
    let names: Vec<&str> = table.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        let file = |module: &str| match module.strip_prefix("examples::") {
            Some(module) => root().join("examples/tests/it").join(module.replace("::", "/") + ".rs"),
            None => root().join("tests/it").join(module.replace("::", "/") + ".rs"),
        };
        let (module, test) = name.rsplit_once("::").expect("a test is in a module");
        let is_there = file(name).is_file() || read(&file(module)).contains(&format!("fn {test}("));
        assert!(is_there, "CONTRIBUTING.md names {name}, and there is no such test");
    }
}

#[test]
fn no_dependency_needs_a_later_rust_than_the_library_says() {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--all-features", "--locked", "--filter-platform", &platform])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let version = |package: &serde_json::Value| -> Option<Vec<u32>> {
        package["rust_version"].as_str()?.split('.').map(|number| number.parse().ok()).collect()
    };
    let own = packages.iter().find(|package| package["name"] == env!("CARGO_PKG_NAME")).and_then(version);
    let own = own.expect("the library says which Rust it needs");
    let later = packages.iter().filter(|package| version(package).is_some_and(|version| version[..2] > own[..2]));
    let later: Vec<_> = later.map(|package| format!("{} {}", package["name"], package["version"])).collect();
    assert!(later.is_empty() && packages.len() > 50, "these need a later Rust than {own:?}: {later:?}");
}

fn detour(import: &Import) -> Option<String> {
    let Import { from, line, path, detour, .. } = import;
    Some(format!("  src/{from}:{line} names {} instead of {path}\n", detour.as_ref()?))
}

fn circles(sources: &Sources) -> String {
    folders_of(sources, &imports(sources)).iter().flat_map(Folder::circles).collect()
}

fn drawing(sources: &Sources) -> String {
    folders_of(sources, &imports(sources)).iter().map(Folder::drawing).collect()
}

fn folders_of<'a>(sources: &'a Sources, imports: &'a [Import]) -> Vec<Folder<'a>> {
    folders(&sources.keys().map(String::as_str).collect::<Vec<_>>(), imports)
}

/// The examples that are named in the paragraph right above a block of Rust, and the block.
fn listings(page: &str) -> Vec<(String, String)> {
    let mut listings = Vec::new();
    let mut rest = page;
    while let Some((text, block)) = rest.split_once("\n```rust") {
        let (_, block) = block.split_once('\n').expect("a block has lines");
        let (listing, after) = block.split_once("```\n").expect("a block ends");
        let paragraph = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
        let example = paragraph.split('`').find(|name| name.starts_with("examples/"));
        listings.extend(example.map(|example| (example.to_owned(), listing.to_owned())));
        rest = after;
    }
    listings
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of `src`, by their names within it.
fn sources() -> Sources {
    let src = root().join("src");
    let name = |path: &Path| path.strip_prefix(&src).expect("it is in src").to_str().expect("it is UTF-8").to_owned();
    files(&src, &["rs"]).iter().map(|path| (name(path), read(path))).collect()
}

fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files.extend(self::files(&path, extensions));
        } else if path.extension().is_some_and(|extension| extensions.iter().any(|one| extension == *one)) {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rules are tried out on crates of a few lines.
mod on_small_crates {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Sources {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn paths_of(file: &str, sources: &Sources) -> Vec<(usize, String)> {
        imports(sources).into_iter().filter(|import| import.from == file).map(|it| (it.line, it.path)).collect()
    }

    #[test]
    fn every_form_of_import_is_found() {
        let sources = sources(&[
            ("lib.rs", "mod error; mod random; mod store;"),
            ("error.rs", ""),
            ("random.rs", ""),
            (
                "store.rs",
                "pub(crate) mod keys;
                 pub(in crate::error) use crate::{error::{Error as Fault, Kind::*}, random};
                 pub use self::keys::{
                     self, field,
                 };
                 use keys::value;
                 fn f<'a>(c: char) -> crate::error::Kind { keys::of::<crate::random::Bytes>(c != '\"') }
                 mod inner { use super::super::random; use super::own; use ::random::not_ours; }
                 pub use self::keys::last;
                 fn g() -> impl Sized + use<> { random::bytes(); Of::<u8>::keys::none(); none.keys::<u8>() }",
            ),
            ("store/keys.rs", "use super::*;"),
        ]);
        let found = paths_of("store.rs", &sources);
        let expected = [
            (2, "crate::error::Error"),
            (2, "crate::error::Kind"),
            (2, "crate::random"),
            (4, "crate::store::keys"),
            (4, "crate::store::keys::field"),
            (6, "crate::store::keys::value"),
            (7, "crate::error::Kind"),
            (7, "crate::store::keys::of"),
            (7, "crate::random::Bytes"),
            (8, "crate::random"),
            (9, "crate::store::keys::last"),
        ];
        assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
        assert_eq!(paths_of("store/keys.rs", &sources), [(1, "crate::store".to_owned())]);
    }

    #[test]
    fn a_module_that_a_use_item_names_leads_on_to_other_files() {
        let store = ("store.rs", "mod keys;");
        let code = ("a.rs", "use crate::store as place; fn f() { place::keys::field(); place::own(); }");
        let found = paths_of("a.rs", &sources(&[("lib.rs", ""), store, ("store/keys.rs", ""), code]));
        assert_eq!(found, [(1, "crate::store".to_owned()), (1, "crate::store::keys::field".to_owned())]);
    }

    #[test]
    fn comments_texts_and_tests_have_no_imports() {
        let code = r####"
            //! [`crate::b`]
            /* use crate::b; /* use crate::b; */ use crate::b; */
            const A: &str = "use crate::b; \"use crate::b;";
            const B: &[u8] = br#"use crate::b; "use crate::b;"#;
            const C: [char; 3] = ['"', '\'', '\\'];
            #[cfg(test)]
            use crate::b::only_for_tests;
            #[cfg(all(test, unix))]
            #[expect(dead_code)]
            fn only_for_tests(_: [u8; 2]) { crate::b::f() }
            #[cfg(test)]
            mod tests { use crate::b; mod inner { use crate::b; } }
            #[cfg(not(test))]
            use crate::b::found;
            const D: [u8; 2] = [b'"', b'\''];
        "####;
        let found = paths_of("a.rs", &sources(&[("lib.rs", ""), ("a.rs", code), ("b.rs", "")]));
        assert_eq!(found, [(15, "crate::b::found".to_owned())]);
    }

    #[test]
    fn a_program_of_the_package_stands_above_the_library() {
        let sources = sources(&[
            ("lib.rs", "pub mod store; pub use store::Store;"),
            ("store.rs", ""),
            ("bin/tool/main.rs", "mod list; mod output; use crate::list::run; fn main() { list::go() }"),
            ("bin/tool/list.rs", "use crate::output::Output; use multi_process_session::{Store, store::Scan};"),
            ("bin/tool/output.rs", ""),
        ]);
        let list = |line, path: &str| (line, path.to_owned());
        assert_eq!(
            paths_of("bin/tool/main.rs", &sources),
            [list(1, "crate::bin::tool::list::run"), list(1, "crate::bin::tool::list::go")]
        );
        assert_eq!(
            paths_of("bin/tool/list.rs", &sources),
            [
                list(1, "crate::bin::tool::output::Output"),
                list(1, "multi_process_session::Store"),
                list(1, "multi_process_session::store::Scan"),
            ]
        );
        assert!(imports(&sources).iter().all(|import| detour(import).is_none()));
        let expected = "src/
    bin/
    lib.rs
    store.rs
src/bin/
    tool/
src/bin/tool/
    main.rs
    list.rs
    output.rs
";
        assert_eq!(drawing(&sources), expected);
    }

    #[test]
    fn a_detour_is_found() {
        let sources = sources(&[
            ("lib.rs", "mod error; mod store; pub use error::Error;"),
            ("error.rs", "pub use std::io::Error as IoError; pub struct Error;"),
            ("store.rs", "pub(crate) use crate::Error; use crate::error::IoError; macro_rules! size { } use size;"),
            ("store/memory.rs", "use super::{Error, size};"),
        ]);
        let detours: Vec<_> = imports(&sources).iter().filter_map(detour).collect();
        assert_eq!(
            detours,
            [
                "  src/store.rs:1 names crate::Error instead of crate::error::Error\n",
                "  src/store.rs:1 names crate::error::IoError instead of std::io::Error\n",
                "  src/store/memory.rs:1 names crate::store::Error instead of crate::error::Error\n",
            ]
        );
    }

    #[test]
    fn a_circle_of_files_is_found() {
        let sources = sources(&[
            ("lib.rs", "mod a; mod b; mod c; use a::A;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::{c, d};"),
            ("c.rs", "fn f() { crate::a::one(); crate::a::two() }"),
            ("d.rs", ""),
        ]);
        assert_eq!(
            circles(&sources),
            "in src/ these import each other: a.rs, b.rs, c.rs\n  \
             src/a.rs -> src/b.rs: B\n  src/b.rs -> src/c.rs: c\n  src/c.rs -> src/a.rs: one, two\n"
        );
    }

    #[test]
    fn a_child_may_import_its_parent_and_the_parent_its_child_but_not_both() {
        let lib = ("lib.rs", "mod session;");
        let up = ("session/save.rs", "use super::Session;");
        assert_eq!(circles(&sources(&[lib, ("session.rs", "mod save;"), up])), "");
        assert_eq!(circles(&sources(&[lib, ("session.rs", "mod save; use save::Sent;"), ("session/save.rs", "")])), "");
        assert_eq!(
            circles(&sources(&[lib, ("session.rs", "mod save; use save::Sent;"), up])),
            "in src/session/ these import each other: save.rs, session.rs\n  \
             src/session.rs -> src/session/save.rs: Sent\n  src/session/save.rs -> src/session.rs: Session\n"
        );
    }

    #[test]
    fn a_circle_of_folders_is_found_where_the_files_have_none() {
        let sources = sources(&[
            ("lib.rs", ""),
            ("servers/pool.rs", "use crate::wire::socket;"),
            ("servers/node.rs", ""),
            ("wire/socket.rs", ""),
            ("wire/failure.rs", "use crate::servers::node::Node;"),
        ]);
        assert_eq!(
            circles(&sources),
            "in src/ these import each other: servers/, wire/\n  \
             src/servers/pool.rs -> src/wire/socket.rs: socket\n  src/wire/failure.rs -> src/servers/node.rs: Node\n"
        );
    }

    #[test]
    fn a_module_stands_above_all_that_it_imports() {
        let sources = sources(&[
            ("lib.rs", "pub use manager::Manager;"),
            ("manager.rs", "use crate::{session::Session, error::Error};"),
            ("session.rs", "use crate::store::Store;"),
            ("session/flash.rs", "use super::Session;"),
            ("store.rs", "use crate::error::Error; mod memory; mod redis;"),
            ("store/memory.rs", "use super::Store;"),
            ("store/redis.rs", "use super::Store; use keys::Keys;"),
            ("store/redis/keys.rs", "use crate::error::Error;"),
            ("error.rs", ""),
            ("random.rs", ""),
        ]);
        let expected = "src/
    lib.rs
    manager.rs
    session/
    store/
    error.rs  random.rs
src/session/
    flash.rs
    session.rs
src/store/
    memory.rs  redis/
    store.rs
src/store/redis/
    redis.rs
    keys.rs
";
        assert_eq!(drawing(&sources), expected);
    }

    #[test]
    fn a_listing_belongs_to_the_example_that_the_paragraph_above_names() {
        let page =
            "`examples/a.rs`\n\nThis is\n`examples/b.rs`:\n\n```rust,no_run\nb\n```\n\nOther:\n\n```rust\nc\n```\n";
        assert_eq!(listings(page), [("examples/b.rs".to_owned(), "b\n".to_owned())]);
    }
}
