//! Parts that the examples with pages share: the command line, and a little HTTP and HTML.

mod browser;
mod form;
mod http;
mod options;
mod page;
mod secret;
mod temporary_folder;

pub use browser::device_name;
pub use form::{Form, field, form, read_form};
pub use http::{Response, header, path, request_header, script, text};
pub use options::{Failure, Options, fail, parse, without_login};
pub use page::{escape, is_damage, not_found, notice, out_of_date, page, page_with_script, refusal, see_other};
pub use secret::secret;
pub use temporary_folder::TemporaryFolder;
