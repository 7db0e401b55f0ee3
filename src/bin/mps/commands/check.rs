//! `mps check`.

use crate::escape::escaped;
use crate::failure::Failure;
use crate::opened::Opened;
use crate::output::Output;
use multi_process_session::store::{Finding, Verdict};
use serde_json::json;

pub(crate) fn run(opened: &Opened, output: &mut Output) -> Result<(), Failure> {
    let findings = opened.store.findings(&opened.namespace, &opened.call()?).map_err(|error| opened.failed(&error))?;
    let printed = findings.iter().try_for_each(|finding| print(finding, output)).and_then(|()| output.flush());
    // What is wrong matters more than that nobody reads the output.
    match findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count() {
        0 => printed,
        1 => Err(Failure::Found("1 setting is wrong".to_owned())),
        wrong => Err(Failure::Found(format!("{wrong} settings are wrong"))),
    }
}

fn print(Finding { verdict, what, found, advice }: &Finding, output: &mut Output) -> Result<(), Failure> {
    let verdict = match verdict {
        Verdict::Good => "good",
        Verdict::Risky => "risky",
        Verdict::Wrong => "wrong",
        Verdict::Unknown => "unknown",
    };
    output.print(
        || json!({ "verdict": verdict, "what": what, "found": found, "advice": advice }),
        || {
            let advice = if advice.is_empty() { String::new() } else { format!(". {}", escaped(advice)) };
            let found = if found.is_empty() { "not known".to_owned() } else { escaped(found) };
            format!("{verdict:7}  {}: {found}{advice}", escaped(what))
        },
    )
}
