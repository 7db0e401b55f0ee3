//! The HTML of the example `prefork`.

use crate::{KILL, VISITS, is_ours, plain};
use multi_process_session::{Error, Session};
use site::{Response, escape, form, page};
use std::fmt::Write;
use std::process;

/// `workers` are those that answered the last visits, the newest first.
pub(crate) fn home(session: &mut Session, notice: &str, workers: &[u32]) -> Result<Response, Error> {
    let title = format!("Visit {}, answered by worker {}", session.get::<i64>(VISITS)?.unwrap_or(0), process::id());
    let (workers, values) = (chips(workers), values(session)?);
    let kill = form(session, KILL, r#"<button class="danger">Kill a worker</button>"#);
    let set = form(
        session,
        "/set",
        r#"<label>Key <input name="key" required autocomplete="off"></label>
<label>Value <input name="value" autocomplete="off"></label>
<button>Set</button>"#,
    );
    let end = form(session, "/end", "<button>Start over</button>");
    let body = format!(
        r#"<p class="soft">Several processes answer here, and each knows your session. Reload to meet another one.</p>
{notice}<div class="row"><a class="button main" href="/">Reload</a>
{kill}</div>
<section>
<h2>Who answered your last visits</h2>
<ol class="chips">
{workers}</ol>
</section>
<section>
<h2>What your session holds</h2>
{values}{set}</section>
{end}<p class="soft">The routes of the npm module's README are here too:
<code>/set-session?key=name&amp;value=Ada</code>, <code>/get-session?key=name</code>, <code>/clear-session</code>.</p>
"#
    );
    Ok(page(200, &title, &body))
}

fn chips(workers: &[u32]) -> String {
    let mut chips = String::new();
    for (age, worker) in workers.iter().enumerate() {
        let current = if age == 0 { r#" aria-current="true""# } else { "" };
        let hue = worker % 360 * 137 % 360; // far from that of the next worker
        let _ = writeln!(chips, "<li style=\"--hue: {hue}\"{current}>{worker}</li>");
    }
    chips
}

fn values(session: &Session) -> Result<String, Error> {
    let mut rows = String::new();
    for key in session.keys().into_iter().filter(|key| !is_ours(key)) {
        let value = plain(&session.get(key)?.unwrap_or_default());
        let _ = writeln!(rows, "<div><dt>{}</dt><dd>{}</dd></div>", escape(key), escape(&value));
    }
    Ok(match rows.as_str() {
        "" => "<p class=\"soft\">Nothing yet. Set a value, and every worker shows it.</p>\n".to_owned(),
        rows => format!("<dl>\n{rows}</dl>\n"),
    })
}
