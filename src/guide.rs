//! The guides: how to run sessions in production, and recipes.
//!
//! This module holds no code. Its pages are the files in the folder `docs` of the repository.
//!
//! | page | what it says |
//! |---|---|
//! | [`promises`] | what the library promises, and what it does not |
//! | [`durability`] | which changes survive a crash, a power loss or a failover |
//! | [`redis`] | Redis in production: settings, rights, connections, Sentinels, clusters |
//! | [`sqlite`] | SQLite in production: the folder, backups, a deleted file, a full disk |
//! | [`forks`] | processes that fork |
//! | [`operating`] | the program `mps`: look into a store, end sessions, check a store, move to another one |
//! | [`errors`] | each error, and what a handler does with it |
//! | [`after_login`] | "remember me", polling, streams, limits of devices, roles, and more |
//! | [`recipes`] | proxies, frames, health checks, metrics, tests, and more |
//! | [`coming_from`] | the npm module, express-session and `rouille::session`, call by call |

// A page links to the documentation by its address, so that its links work on GitHub too. Here, `guide/links.md` comes
// before the page. The first definition of a link counts, so rustdoc checks these links and keeps them within the
// documentation. A page whose listings need a feature is tested with that feature only.

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("../docs/promises.md")]
pub mod promises {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("../docs/durability.md")]
pub mod durability {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("../docs/redis.md")]
pub mod redis {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("../docs/sqlite.md")]
pub mod sqlite {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("../docs/operating.md")]
pub mod operating {}

#[cfg_attr(any(not(doctest), feature = "sqlite"), doc = include_str!("guide/links.md"))]
#[cfg_attr(any(not(doctest), feature = "sqlite"), doc = include_str!("../docs/forks.md"))]
pub mod forks {}

#[cfg_attr(any(not(doctest), feature = "tiny_http"), doc = include_str!("guide/links.md"))]
#[cfg_attr(any(not(doctest), feature = "tiny_http"), doc = include_str!("../docs/errors.md"))]
pub mod errors {}

#[cfg_attr(any(not(doctest), feature = "seal"), doc = include_str!("guide/links.md"))]
#[cfg_attr(any(not(doctest), feature = "seal"), doc = include_str!("../docs/after-login.md"))]
pub mod after_login {}

#[cfg_attr(any(not(doctest), all(feature = "test-util", feature = "tiny_http")), doc = include_str!("guide/links.md"))]
#[cfg_attr(
    any(not(doctest), all(feature = "test-util", feature = "tiny_http")),
    doc = include_str!("../docs/recipes.md")
)]
pub mod recipes {}

#[doc = include_str!("guide/links.md")]
#[doc = include_str!("../docs/coming-from.md")]
pub mod coming_from {}
